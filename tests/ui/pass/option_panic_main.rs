#[path = "../recorder.rs"]
mod recorder;

#[session::main(crate = recorder, panic = "main")]
fn main(record: recorder::Worker) {
    assert_eq!(record.panic, Some(recorder::PanicPolicy::Main));
    assert_eq!(record.calls, 1);
}
