#[path = "../recorder.rs"]
mod recorder;

#[session::main(crate = recorder, config = "etc/server.json")]
fn main(record: recorder::Worker) {
    assert_eq!(record.config.as_deref(), Some("etc/server.json"));
    assert_eq!(record.calls, 1);
}
