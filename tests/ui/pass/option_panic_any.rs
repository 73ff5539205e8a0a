#[path = "../recorder.rs"]
mod recorder;

#[session::main(crate = recorder, panic = "any")]
fn main(record: recorder::Worker) {
    assert_eq!(record.panic, Some(recorder::PanicPolicy::Any));
    assert_eq!(record.calls, 1);
}
