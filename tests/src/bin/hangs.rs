//! A monitor whose own code hangs in every place where it may stand.

use std::thread;
use std::time::Duration;

use session::{ExitReason, Monitor, Worker};

#[session::main(monitor = set_up)]
fn main(worker: Worker) -> session::Result<()> {
    worker.send("hang", ())?;
    let _ = worker.request("hang", (), Duration::from_millis(1));
    worker.on_exit(|_: &ExitReason| for_ever())?;
    for_ever();
    Ok(())
}

fn set_up(monitor: &mut Monitor) -> session::Result<()> {
    monitor.on_key(|_| for_ever());
    monitor.on_crash(|_| for_ever());
    monitor.on_exit(|_| for_ever());
    monitor.on("hang", |_| for_ever())?;
    monitor.command("hang", |_| for_ever())
}

fn for_ever() {
    loop {
        thread::sleep(Duration::MAX);
    }
}
