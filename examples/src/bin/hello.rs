//! The smallest real server: one that comes back by itself.
//!
//! ```text
//! $ cargo run --bin hello
//! $ curl http://127.0.0.1:3000        in a second terminal
//! hello from pid 4711, generation 1
//! $ kill -9 4711                      watch the first terminal
//! $ curl http://127.0.0.1:3000
//! hello from pid 4720, generation 2
//! ```
//!
//! The first terminal takes commands: `help` tells them, `exit clean` ends the session.

use std::error::Error;
use std::net::TcpListener;
use std::process;

use session::Worker;
use session_examples::{answer, serve};

#[session::main]
fn main(worker: Worker) -> Result<(), Box<dyn Error>> {
    let server = TcpListener::bind((worker.host(), worker.port("server")?))?;
    let text = format!(
        "hello from pid {}, generation {}\n",
        process::id(),
        worker.generation()
    );
    serve(&server, move |_request, stream| answer(stream, 200, &text))
}
