#[path = "../recorder.rs"]
mod recorder;

#[session::main(crate = recorder, monitor = ways::customise::<u8, u16>)]
fn main(record: recorder::Worker) {
    assert_eq!(record.monitor, Some("customised"));
    assert_eq!(record.calls, 1);
}

mod ways {
    pub fn customise<A, B>(monitor: &mut crate::recorder::Monitor) {
        monitor.note = Some("customised");
    }
}
