#[path = "../recorder.rs"]
mod recorder;

#[session::main(crate = recorder, stack = 0x1_0000)]
fn main(record: recorder::Worker) {
    assert_eq!(record.stack, Some(65_536));
    assert_eq!(record.calls, 1);
}
