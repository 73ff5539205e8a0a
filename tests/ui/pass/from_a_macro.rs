#[path = "../recorder.rs"]
mod recorder;

macro_rules! start {
    ($stack:expr, $monitor:path, $record:ident, $body:block) => {
        #[session::main(crate = recorder, stack = $stack, monitor = $monitor)]
        fn main($record: recorder::Worker) $body
    };
}

start!(65_536, self::customise, record, {
    assert_eq!(record.stack, Some(65_536));
    assert_eq!(record.monitor, Some("customised"));
});

fn customise(monitor: &mut recorder::Monitor) {
    monitor.note = Some("customised");
}
