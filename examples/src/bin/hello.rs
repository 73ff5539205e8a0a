//! The smallest real server: one that comes back by itself, and whose clients do not notice.
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
//! The monitor holds the socket: while a worker is dead or being replaced, connections wait for
//! the next one. The first terminal takes commands: `reload` starts the next generation beside
//! this one and moves over without a failed request, `help` tells the others, `exit clean` ends.

use std::error::Error;
use std::process;

use session::Worker;
use session_examples::{answer, serve};

#[session::main]
fn main(worker: Worker) -> Result<(), Box<dyn Error>> {
    let server = worker.listener("server")?;
    let text = format!(
        "hello from pid {}, generation {}\n",
        process::id(),
        worker.generation()
    );
    serve(&server, |_request, stream| answer(stream, 200, &text));
    Ok(())
}
