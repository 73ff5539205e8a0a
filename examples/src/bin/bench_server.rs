//! The worker of the benchmark: it tells who it is and when its main began.
//!
//! ```text
//! $ cargo run --release --bin bench_server
//! $ curl http://127.0.0.1:3000
//! {"pid":4711,"start_ns":81234567890}
//! ```
//!
//! One thread and one connection at a time, as the other workers of the benchmark, on the port
//! `server` of the configuration.

use std::error::Error;
use std::io::{self, Write};
use std::net::TcpStream;
use std::process;

use nix::time::{ClockId, clock_gettime};
use session::Worker;
use session_examples::Request;

#[session::main]
fn main(worker: Worker) -> Result<(), Box<dyn Error>> {
    let start = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let start_ns = start.tv_sec() * 1_000_000_000 + start.tv_nsec();
    let body = format!("{{\"pid\":{},\"start_ns\":{start_ns}}}", process::id());
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let server = worker.listener("server")?;
    // It ends when this worker is to end, and the answer in hand is finished by then.
    for mut stream in server.incoming().flatten() {
        // What goes wrong with one connection is over with it.
        let _ = tell(&mut stream, &answer);
    }
    Ok(())
}

fn tell(stream: &mut TcpStream, answer: &str) -> io::Result<()> {
    Request::read(stream)?;
    stream.write_all(answer.as_bytes())
}
