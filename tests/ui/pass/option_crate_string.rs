#[path = "../recorder.rs"]
mod recorder;

#[session::main(crate = "self::recorder")]
fn main(record: recorder::Worker) {
    assert_eq!(record.calls, 0);
}
