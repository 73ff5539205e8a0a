//! The verbs of the channel, and what may be in them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::report::{ExitReason, Panic};

/// The number must be the same on both sides: a monitor does not speak with a worker of a build
/// whose messages may mean something else.
pub(crate) const PROTOCOL: u32 = 1;

/// What a worker may say. A user's message has a verb of its own, so it can imitate no other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ToMonitor {
    Hello {
        protocol: u32,
        generation: u64,
        pid: u32,
    },
    Ready(Nothing),
    Lifecycle(Text),
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
    /// Asks for the listener of a port; the descriptors are attached to the reply.
    Listen {
        id: u64,
        name: String,
    },
    /// It serves its private listener too, so it can be probed there.
    Serving(Nothing),
    Message(Message),
    Reply(Reply),
}

/// What the monitor may say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ToWorker {
    Welcome(Welcome),
    Exit { reason: ExitReason },
    Message(Message),
    Reply(Reply),
}

/// What both sides may say, written as either of the two above.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UserLine {
    Message(Message),
    Reply(Reply),
}

/// A user's message; with an `id` it is a request, and is answered exactly once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) args: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    pub(crate) id: u64,
    pub(crate) outcome: Outcome,
}

/// How a request ended on the other side.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Answer(Box<RawValue>),
    Refused(String),
    NoReply,
    Busy,
}

/// The answer to [`ToMonitor::Listen`]: so many descriptors come with its line. The first is the
/// public listener, the second a private one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Handed {
    pub(crate) fds: usize,
}

/// The worker is about to end by itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Crash {
    Panic(Panic),
    /// Sent after its panic: taking it can need longer than the worker may have.
    Backtrace(Text),
    MainError(Text),
}

/// A verb that says all by its name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// One type for all that carry a text alone: each type brings its own code that reads it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    pub(crate) text: String,
}

/// The settings of a worker: the first line that it reads.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Welcome {
    pub(crate) protocol: u32,
    pub(crate) generation: u64,
    pub(crate) host: IpAddr,
    pub(crate) ports: BTreeMap<String, u16>,
    pub(crate) grace_ms: u64,
    pub(crate) kill_with_monitor: bool,
    pub(crate) app: Box<RawValue>,
    /// Say hello and end: the monitor only wants to know whether this program speaks with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) check: bool,
}

/// The longest name of a message, in bytes: names are for a table of listeners, not for data.
pub(crate) const MAX_NAME: usize = 128;
/// The longest text of a `lifecycle`, or reason of a `kill`: one line of a log.
pub(crate) const MAX_TEXT: usize = 4 * 1024;
/// The longest panic message and error of main: a socket's buffer takes it in one write.
pub(crate) const MAX_CRASH: usize = 30 * 1024;
/// The longest backtrace: a deep recursion's is cut here.
pub(crate) const MAX_BACKTRACE: usize = 256 * 1024;
/// The longest session key that is worth comparing.
pub(crate) const MAX_OFFERED: usize = 256;

/// Names that belong to the built-in messages, as the seed has them.
pub(crate) const BUILT_IN_NAMES: [&str; 3] = ["kill", "notify_crash", "set_port"];

/// Refuses a name that no listener could sensibly be registered under.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let expected = if name.is_empty() || name.len() > MAX_NAME {
        "a message name of 1 to 128 bytes"
    } else if name.chars().any(char::is_control) {
        "a message name without control characters"
    } else {
        return Ok(());
    };
    Err(Error::BadName {
        name: crate::text::clip(name, MAX_NAME).into_owned(),
        expected,
    })
}

/// Refuses, besides, the names that only the library itself may send.
pub(crate) fn check_user_name(name: &str) -> Result<()> {
    check_name(name)?;
    if BUILT_IN_NAMES.contains(&name) {
        return Err(Error::BadName {
            name: name.to_owned(),
            expected: "a name that is not built in (kill, notify_crash, set_port)",
        });
    }
    Ok(())
}

/// Arguments as JSON on one line.
pub(crate) fn to_args(args: &impl Serialize) -> Result<Box<RawValue>> {
    let raw = serde_json::value::to_raw_value(args).map_err(Error::Json)?;
    // A `RawValue` of the user's may carry line ends between its tokens.
    if raw.get().contains(['\n', '\r']) {
        let value: serde_json::Value = serde_json::from_str(raw.get()).map_err(Error::Json)?;
        return serde_json::value::to_raw_value(&value).map_err(Error::Json);
    }
    Ok(raw)
}

/// At most `limit` bytes of a text that goes into a line of the channel.
pub(crate) fn bounded(text: &str, limit: usize) -> Cow<'_, str> {
    crate::text::clip(text, limit)
}
