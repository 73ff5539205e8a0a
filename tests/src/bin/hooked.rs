//! A program whose crashes are told to a webhook. `hooked N` exits with code 3 in its first N
//! generations; after that, and without N, it stays until it is asked to end.
//!
//! The monitor writes the session key to the file `key`. Every process that runs the user's main
//! adds a line to `mains`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::process::{self, ExitCode};

use session::{Monitor, Worker};

#[session::main(monitor = customise)]
fn main(worker: Worker) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut mains = OpenOptions::new().create(true).append(true).open("mains")?;
    mains.write_all(format!("{}\n", process::id()).as_bytes())?;
    let mut out = io::stdout().lock();
    out.write_all(format!("words of generation {}\n", worker.generation()).as_bytes())?;
    out.write_all(b"\"quoted\" \x1b[31mred\x07\n")?;
    let crashes = std::env::args().nth(1).map_or(Ok(0), |arg| arg.parse())?;
    if worker.generation() <= crashes {
        return Ok(ExitCode::from(3));
    }
    let _ = worker.stopping().recv();
    Ok(ExitCode::SUCCESS)
}

fn customise(monitor: &mut Monitor) {
    monitor.on_key(|key| fs::write("key", key));
}
