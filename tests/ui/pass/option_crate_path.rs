#[path = "../recorder.rs"]
mod recorder;

#[session::main(crate = crate::recorder)]
fn main(record: recorder::Worker) {
    assert_eq!(record.calls, 0);
}
