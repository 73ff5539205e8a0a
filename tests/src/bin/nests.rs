//! A worker that starts programs: `run PROGRAM ARGS…`, and then stays; `stay` only stays.
//!
//! What the started program says goes through; how it ends is told in the log, and written to the
//! file `told` of the folder, so that nothing is lost with a monitor of a monitor.

use std::env;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;

use session::Worker;

#[session::main]
fn main(worker: Worker) -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    tell(&format!("up generation={}", worker.generation()))?;
    match args.split_first() {
        Some((mode, [program, rest @ ..])) if mode == "run" => run(program, rest)?,
        Some((mode, [])) if mode == "stay" => {}
        _ => return Err(format!("expected `run PROGRAM ARGS…` or `stay`, found {args:?}").into()),
    }
    loop {
        thread::park();
    }
}

fn run(program: &str, args: &[String]) -> io::Result<()> {
    // Its input is the worker's: an empty pipe. Its errors are kept.
    let output = Command::new(program)
        .args(args)
        .stderr(Stdio::piped())
        .spawn()?
        .wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    tell(&format!("ended: {}: {}", output.status, said.trim_end()))
}

/// One write, so that lines of several processes stay whole.
fn tell(what: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open("told")?;
    file.write_all(format!("pid={} {what}\n", std::process::id()).as_bytes())
}
