//! A server that keeps itself alive.
#![allow(dead_code, unused_imports)]

mod error;
mod ipc;
mod report;
mod sys;
mod text;

pub use crossbeam_channel;
pub use error::{Error, Result};
pub use ipc::listeners::{ListenerId, Message};
pub use report::{Cause, CrashReport, ExitReason, ExitStatus, Panic};
