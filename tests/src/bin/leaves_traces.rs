//! A server that writes down each exit handler that runs, in the file `ended` of its folder.
//!
//! With `hang` the worker's handler does not come back; with `loud` the worker writes without end.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use session::{Monitor, Worker};

/// Of a client that says nothing.
const PATIENCE: Duration = Duration::from_millis(200);

#[session::main(monitor = set_up)]
fn main(worker: Worker) -> Result<(), Box<dyn Error>> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let hangs = mode == "hang";
    worker.on_exit(move |reason| {
        trace(&format!("worker: {reason}"));
        if hangs {
            thread::sleep(Duration::MAX);
        }
    })?;
    if mode == "loud" {
        thread::spawn(be_loud);
    }
    let server = TcpListener::bind((worker.host(), worker.port("server")?))?;
    for client in server.incoming() {
        let _ = answer(&mut client?);
    }
    Ok(())
}

fn set_up(monitor: &mut Monitor) {
    monitor.on_exit(|reason| trace(&format!("monitor: {reason}")));
}

fn trace(what: &str) {
    let file = OpenOptions::new().create(true).append(true).open("ended");
    let written = file.and_then(|mut file| file.write_all(format!("{what}\n").as_bytes()));
    assert!(written.is_ok(), "{written:?}");
}

fn be_loud() {
    let line = [b'x'; 1023].into_iter().chain([b'\n']);
    let line: Vec<u8> = line.collect();
    while io::stdout().write_all(&line).is_ok() {
        // Fast enough to fill every pipe, and leaves some of the processor to the test.
        thread::sleep(Duration::from_micros(200));
    }
}

fn answer(client: &mut TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let _ = client.read(&mut [0; 4096])?;
    let body = format!("pid {}\n", std::process::id());
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
