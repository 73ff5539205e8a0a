//! Everything that can reach the thread that owns the session.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::candidate::Order;
use super::spawn::Program;
use super::status::Status;
use crate::error::Result;
use crate::ipc::message::Crash;
use crate::machine::{Asker, Generation, How};
use crate::probe::Outcome;
use crate::report::CrashReport;

/// The most that can wait: sources that may not block drop (and count) what does not fit.
///
/// Each is boxed: a channel has room for all from the start, and without that this one would be a
/// third of the memory of an idle monitor.
pub(crate) const INBOX: usize = 1024;

/// One thing that happened outside, told by the source that saw it.
#[derive(Debug)]
pub(crate) enum Input {
    /// The process is dead, and not reaped.
    Died {
        generation: Generation,
    },
    /// The worker said something of the closed set of verbs.
    Said {
        generation: Generation,
        word: Word,
    },
    /// Its end of the channel is closed, and all it had said is in.
    ChannelClosed {
        generation: Generation,
    },
    /// Both its output streams are at their end, or their time is over; the tail is complete.
    OutputEnded {
        generation: Generation,
        tail: String,
        dropped: u64,
    },
    Probed {
        generation: Generation,
        outcome: Outcome,
    },
    /// A child that is dead may be none of the workers.
    ChildDied,
    /// A thread of the monitor has panicked.
    ThreadFailed(String),
    /// SIGINT or SIGTERM.
    Signal,
    /// SIGHUP.
    HangUp,
    /// The operator typed a line.
    Line(String),
    /// A line was too long to be one.
    LineTooLong,
    /// The exit handlers of the monitor have ended.
    HandlersDone,
    Stop {
        reason: String,
        how: How,
        code: u8,
        asker: Asker,
    },
    Restart {
        how: How,
    },
    Reload,
    /// A program that is to take the place of the one that runs has said hello, or has not.
    Checked {
        answer: std::result::Result<Arc<Program>, String>,
        order: Order,
    },
    /// What became of a message to the webhook.
    #[cfg(feature = "webhook")]
    Delivered(std::result::Result<(), String>),
    Ask {
        ask: Ask,
        reply: Sender<Answer>,
    },
}

/// What a worker can say to the owner.
#[derive(Debug)]
pub(crate) enum Word {
    Hello {
        protocol: u32,
        generation: u64,
        pid: u32,
    },
    /// The first line was no hello.
    NoHello(String),
    Ready,
    Lifecycle(String),
    Crash(Crash),
    SetPort {
        name: String,
        port: u64,
        restart: bool,
    },
    SetPolling {
        seconds: f64,
        now: bool,
    },
    Kill {
        reason: String,
        graceful: bool,
        code: u64,
    },
    Authorize {
        id: u64,
        offered: String,
    },
    Listen {
        id: u64,
        name: String,
    },
    Serving,
    /// Lines that were no messages, in all so far, and what was wrong with the last.
    Bad {
        count: u64,
        why: String,
    },
    /// Messages that have no listener, in all so far, and the name of the last.
    Unheard {
        count: u64,
        name: String,
    },
    /// Built-in messages beyond the rate, in all so far.
    TooMany {
        count: u64,
    },
    /// Messages for which the listeners' queue had no room.
    Dropped {
        count: u64,
    },
}

/// A question of the program's own code.
#[derive(Debug)]
pub(crate) enum Ask {
    SetPort {
        name: String,
        port: u64,
        restart: bool,
    },
    SetPolling {
        seconds: f64,
        now: bool,
    },
    Status,
    Reports,
}

/// What it is answered, by the kind of the question.
#[derive(Debug)]
pub(crate) enum Answer {
    Set(Result<()>),
    Status(Box<Status>),
    Reports(Vec<CrashReport>),
}

impl Answer {
    pub(crate) fn set(self) -> Option<Result<()>> {
        match self {
            Answer::Set(outcome) => Some(outcome),
            Answer::Status(_) | Answer::Reports(_) => None,
        }
    }
}
