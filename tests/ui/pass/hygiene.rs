#[path = "../recorder.rs"]
mod recorder;

// Names that the expansion uses, each with another meaning.
mod std {}
struct Session;
struct ExitCode;
trait NoError {}

fn session(monitor: &mut recorder::Monitor) {
    monitor.note = Some("session");
}

#[session::main(crate = recorder, monitor = session)]
fn main(worker: recorder::Worker) {
    assert_eq!(worker.monitor, Some("session"));
    let _ = (Session, ExitCode, worker);
}

impl NoError for Session {}
