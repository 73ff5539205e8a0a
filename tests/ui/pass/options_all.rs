#[path = "../recorder.rs"]
mod recorder;

#[session::main(
    stack = 1_048_576usize,
    panic = "main",
    config = r"session.json",
    monitor = customise,
    crate = recorder,
)]
fn main(record: recorder::Worker) {
    assert_eq!(record.monitor, Some("customised"));
    assert_eq!(record.config.as_deref(), Some("session.json"));
    assert_eq!(record.panic, Some(recorder::PanicPolicy::Main));
    assert_eq!(record.stack, Some(1_048_576));
    assert_eq!(record.calls, 4);
}

fn customise(monitor: &mut recorder::Monitor) -> Result<(), String> {
    monitor.note = Some("customised");
    Ok(())
}
