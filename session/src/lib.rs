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
//!
//! #[session::main]
//! fn main(worker: session::Worker) -> Result<(), Box<dyn std::error::Error>> {
//!     let server = worker.listener("server")?; // the monitor holds the socket
//!     for mut visitor in server.incoming().flatten() {
//!         // A client that has gone away is no reason to end: an error of `main` is a crash.
//!         let _ = visitor.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n");
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
//! - Requests that a worker had accepted when it crashed are lost. A worker that binds its own
//!   port leaves nobody to accept while it is gone: connections are refused.
//! - A process that leaves the worker's process group outlives it.
//! - Under `panic = "abort"` a panic of the program's own code *in the monitor* ends the monitor.
//! - Other processes of the same user, and root, are not defended against.
//!
//! # Zero downtime
//!
//! [`Worker::listener`] gives a [`Listener`] on a socket that the *monitor* has bound and holds
//! for the whole session. While a worker is dead or being replaced, connections wait in the
//! kernel's queue (4,096 of them, where the system allows it), and the next worker accepts them.
//!
//! | what happens | connections refused | requests that fail |
//! | --- | --- | --- |
//! | the worker is killed or crashes | none | those it had accepted and not answered |
//! | `restart clean` | none | none, if the worker drains; they wait for the next one |
//! | `reload` | none | none, if the worker drains |
//! | a new build is put in the program's place, then `reload` | none | none; if the build is broken, it is refused |
//!
//! **Draining.** When a worker is asked to end, [`Listener::incoming`] ends by itself: what waits
//! in the queue is left to the next worker. The program answers whom it has accepted and returns
//! from `main`; the grace period (`stop.graceSeconds`) is the limit. A worker that ends with
//! requests in hand fails those.
//!
//! **`reload`**, by the operator, [`MonitorHandle::reload`] or SIGUSR2: the next generation starts
//! beside the one that serves. When it is ready it takes over, and the old one drains. If it is
//! not ready within `startupTimeoutSeconds`, or dies, it is ended, the old one stays untouched,
//! and the log says why, with the last output of the new one. If the old one dies meanwhile, the
//! new one takes its place as it is. While one reload is under way, or its old worker drains,
//! another one is refused.
//!
//! **Who is ready.** Each generation also gets a private listener on loopback, which
//! [`Listener::incoming`] serves beside the public one. The monitor probes that one, so a verdict
//! is about this generation and no other. A worker that takes the socket for itself
//! ([`Listener::into_std`], for async servers) is probed at the public port while it is alone.
//! While another worker is beside it, an answer there may be the other's: then it is not probed,
//! and it takes over only once it has called [`Worker::ready`].
//!
//! **New builds.** What runs is pinned: after a crash the same image is started again, whatever
//! has become of the file, and the log says once that the two differ. `reload` and `restart` look
//! at the path that the program was started from. If another file is there by now (a symlink may
//! have been switched), it is opened once and has to shake hands before anything that serves is
//! told to stop; only then do later spawns run it. A file that is cut short, not executable, of
//! another program or of another protocol is refused. Arguments and environment stay those of the
//! monitor, which itself goes on with the build that it was started from.
//!
//! **Service managers.** Sockets passed by `LISTEN_FDS` are adopted when their name
//! (`LISTEN_FDNAMES`) is that of a configured port; a single one without a name is taken for
//! `server`. They are then held like any other.
//!
//! What is not guaranteed: requests that a worker had accepted when it crashed; long connections
//! (WebSockets, downloads) beyond the grace period; and answers in time, when nobody comes up:
//! clients wait in the queue, they are not told to try elsewhere.
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
//! # Who is told of a crash
//!
//! The log, the hooks of [`Monitor::on_crash`], listeners of `notify_crash`, and the URL in
//! `notify.webhook`, to which the report is posted as JSON: the first crash of an episode at once,
//! then the 2nd, 4th, 8th, …, and the recovery once a worker has been ready for
//! `restart.stableSeconds`. A *courier*, a third process of the same executable, delivers one
//! message at a time and is killed after 10 s, so no server at the other end can touch the
//! monitor or delay a restart. The README has the members of a message.
//!
//! # Features
//!
//! - `webhook`, on by default: `notify.webhook` takes an `http://` URL.
//! - `webhook-https`: and an `https://` one (about 1.7 MB more).
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
//! started from the path of the executable, and a stranger on the port is not recognised. What a
//! worker leaves behind outside its process group goes to process 1 there, on Linux to the monitor.
//! `SESSION_DISABLE=1` runs the program's main with no monitor, for debuggers.

#[cfg(not(unix))]
compile_error!(
    "session needs Unix: on Windows the channel (a socket pair as standard input), process groups \
     and SIGTERM are missing so far"
);

/// The programs of the README, which have to compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod __fuzz;
#[cfg(all(test, not(miri)))]
mod bounds;
mod config;
#[cfg(feature = "webhook")]
mod courier;
mod error;
mod ipc;
mod jobs;
mod launch;
mod log;
mod machine;
mod monitor;
mod near;
mod output;
mod probe;
mod process_table;
mod repl;
mod report;
mod slot;
mod sys;
mod text;
mod thread;
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
