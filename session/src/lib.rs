//! A server that keeps itself alive.
#![allow(dead_code, unused_imports)]

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
pub use worker::Worker;
