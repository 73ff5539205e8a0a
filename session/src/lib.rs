//! A server that keeps itself alive: annotate `main`, and the program becomes a **monitor** that
//! runs the very same executable again as its **worker**, watches it, probes it, restarts it,
//! tells why it died, and takes commands from its operator. OS threads, no async runtime, no
//! service manager needed, and at home under one.
//!
//! ```text
//!   terminal, pipe, signals            HTTP probe on loopback
//!             │                    ┌───────────────────────────┐
//!        ┌────▼────┐  JSON lines   │                      ┌────▼────┐
//!        │ monitor ├───────────────┼── socket pair ───────┤ worker  │  your main
//!        │         │◄──────────────┴── stdout, stderr ────┤         │
//!        └─────────┘  the same executable, twice          └─────────┘
//! ```
//!
//! ```no_run
//! use std::io::Write;
//! use std::net::TcpListener;
//!
//! #[session::main]
//! fn main(worker: session::Worker) -> Result<(), Box<dyn std::error::Error>> {
//!     let server = TcpListener::bind((worker.host(), worker.port("server")?))?;
//!     for visitor in server.incoming() {
//!         visitor?.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n")?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Theory of operation
//!
//! One thread of the monitor owns a pure state machine, the *supervisor*, and alone starts,
//! signals and reaps workers. Sources are threads that only tell it what happened: a death, a
//! message, a probe's outcome, a signal, a line that was typed. Each worker has a *generation*,
//! and what concerns another one is ignored. A worker goes from spawn to handshake to ready; it
//! leaves by a ladder: exit message, grace period, SIGTERM, one second, SIGKILL to its process
//! group. When it ends and nobody had asked it to, there is exactly one [`CrashReport`], and the
//! next one starts: at once after a stable run, else after a delay that doubles.
//!
//! # Guarantees
//!
//! - Once a stop is accepted, no worker is started. A clean stop ends within the grace period
//!   and 2 s, a forced one within 500 ms, whatever handlers, commands and hooks do.
//! - Exit handlers run at most once, and exactly once on a clean stop.
//! - A crash loop never spins: delays grow to `restart.maxDelaySeconds`.
//! - No output, message, command or answer of a worker can make the monitor wait, grow without
//!   bound, or write control characters to the terminal.
//! - If the monitor is killed, the worker runs its exit handlers and is gone within its grace
//!   period, with its process group.
//!
//! # What is not guaranteed
//!
//! - Requests that a worker had accepted when it crashed are lost, and while no worker listens,
//!   connections are refused.
//! - A process that leaves the worker's process group outlives it.
//! - Under `panic = "abort"` a panic of the program's own code *in the monitor* ends the monitor.
//! - Other processes of the same user, and root, are not defended against.
//!
//! # Configuration
//!
//! `session.config.json` in the working directory, or the file that `SESSION_CONFIG` or
//! `#[session::main(config = "…")]` names. The README has the table of keys, and
//! `session.schema.json` beside this crate's sources is for editors. All faults are told at once.
//! Against the configurations of the system this one re-imagines, these are refused on purpose:
//! two equal ports, a route that does not start with `/` or has other than visible ASCII, ports
//! and tolerances that are no whole numbers, empty names and names with control characters, and
//! keys that are unknown or stand twice.
//!
//! # Exit codes of the monitor
//!
//! 0 clean · the `code` of a [`kill`] · the worker's own, where policy ends the session with it ·
//! 64 usage · 70 internal · 71 operating system · 75 gave up after a crash loop · 77 permission ·
//! 78 configuration.
//!
//! # Platforms
//!
//! Linux is where it is tested. macOS and FreeBSD compile; there, without `/proc`, workers are
//! started from the path of the executable, and a stranger on the port is not recognised.
//! `SESSION_DISABLE=1` runs the program's main with no monitor, for debuggers.

#[cfg(not(unix))]
compile_error!(
    "session needs Unix: on Windows the channel (a socket pair as standard input), process groups \
     and SIGTERM are missing so far"
);

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod __fuzz;
mod config;
mod error;
mod ipc;
mod launch;
mod log;
mod machine;
mod monitor;
mod near;
mod output;
mod probe;
mod repl;
mod report;
mod sys;
mod text;
mod worker;

pub use crossbeam_channel;
pub use error::{Error, Result};
pub use ipc::listeners::{ListenerId, Message};
#[doc(hidden)]
pub use launch::__private;
pub use launch::{
    DEFAULT_STACK, MAX_STACK, MIN_STACK, Outcome, PanicPolicy, Session, kill, monitor, worker,
};
pub use monitor::{Monitor, MonitorHandle, Probed, Status};
pub use repl::{ArgError, Args};
pub use report::{Cause, CrashReport, ExitReason, ExitStatus, Panic};
pub use session_macros::main;
pub use worker::{Incoming, Listener, Worker};
