//! The worker of the benchmark: it tells who it is and when its main began.
//!
//! ```text
//! $ PORT=3000 cargo run --release --bin bench_server
//! $ curl http://127.0.0.1:3000
//! {"pid":4711,"start_ns":81234567890}
//! ```
//!
//! One thread and one connection at a time, as the other workers of the benchmark. Without `PORT`
//! it serves on the port `server` of the configuration. When it ends it finishes the answer in hand.

use std::error::Error;
use std::io::{self, Write};
use std::mem;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use session::Worker;
use session_examples::Request;

/// How long to wait after `accept` failed, lest a lack of descriptors become a lack of processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    let server = bind(&worker)?;
    let in_hand = Arc::new(Mutex::new(()));
    let last = Arc::clone(&in_hand);
    // Once this handler has it, no further answer is begun.
    worker.on_exit(move |_reason| mem::forget(last.lock()))?;
    worker.ready()?;
    loop {
        // What goes wrong with one connection is over with it.
        let Ok((mut stream, _)) = server.accept() else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        let _busy = in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = tell(&mut stream, &answer);
    }
}

fn bind(worker: &Worker) -> Result<TcpListener, Box<dyn Error>> {
    Ok(match std::env::var("PORT") {
        Ok(port) => TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?,
        Err(_) => TcpListener::bind((worker.host(), worker.port("server")?))?,
    })
}

fn tell(stream: &mut TcpStream, answer: &str) -> io::Result<()> {
    Request::read(stream)?;
    stream.write_all(answer.as_bytes())
}
