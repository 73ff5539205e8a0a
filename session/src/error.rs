//! What can go wrong, for callers of the library.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The result of most calls into the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
///
/// `Display` tells this layer only; the cause, if there is one, is behind
/// [`source`](std::error::Error::source). `Debug` tells all of it in the same words, since that is what
/// the operator reads of an error that `main` returns.
#[non_exhaustive]
pub enum Error {
    /// A session was launched twice in one process.
    AlreadyLaunched,
    /// A function of the monitor was asked for in a process that is not the monitor.
    NotMonitor,
    /// A function of the worker was asked for in a process that is not the worker.
    NotWorker,
    /// The program runs with `SESSION_DISABLE=1`: there is no monitor to answer.
    NoMonitor,
    /// The other process ended, or closed its end of the channel.
    PeerDied,
    /// No answer came within the timeout.
    Timeout(Duration),
    /// The other process has too much to do: its queue of messages is full.
    Busy,
    /// The other process has no listener that answered the request.
    NoReply {
        /// The name of the request.
        name: String,
    },
    /// The listener answered the request with an error of its own.
    Refused {
        /// What the listener said.
        reason: String,
    },
    /// The name belongs to a built-in message, or is empty, too long, or has control characters.
    BadName {
        /// The name that was given.
        name: String,
        /// What a name must be.
        expected: &'static str,
    },
    /// The message is longer than a line of the channel may be.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// The arguments of a message could not be turned into JSON, or out of it.
    Json(serde_json::Error),
    /// No port of that name is configured.
    UnknownPort {
        /// The name that was given.
        name: String,
        /// The names that are configured.
        known: Vec<String>,
    },
    /// A value is out of its range, or is refused for what it is.
    Invalid(String),
    /// A usage line of a command is not well formed.
    Usage(String),
    /// The configuration is invalid, or could not be read; every fault is in the text.
    Config(String),
    /// This process was marked as a worker, but no monitor stands behind the mark.
    Role(String),
    /// The program's own set-up of the monitor failed.
    Setup(String),
    /// The session is stopping, or has stopped.
    Stopping,
    /// A port could not be bound.
    Bind {
        /// The name of the port.
        name: String,
        /// The address that was tried.
        address: SocketAddr,
        /// What stands in the way, and what to do about it, where that can be told.
        why: Option<String>,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system refused something.
    Os {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// The exit code that a process ends with when this error ends it (`sysexits.h`).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Role(_) | Error::Usage(_) => exit_code::USAGE,
            Error::Config(_) => exit_code::CONFIG,
            Error::Os { .. } | Error::Bind { .. } if self.is_permission_denied() => {
                exit_code::PERMISSION
            }
            Error::Os { .. } | Error::Bind { .. } => exit_code::OS,
            _ => exit_code::INTERNAL,
        }
    }

    fn is_permission_denied(&self) -> bool {
        matches!(self, Error::Os { source, .. } | Error::Bind { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// A file that may not be executed. What else is not permitted, a new process by a filter of
    /// system calls for one, has a number of its own.
    pub(crate) fn is_access_denied(&self) -> bool {
        matches!(self, Error::Os { source, .. } if source.raw_os_error() == Some(libc::EACCES))
    }

    pub(crate) fn os(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Os { doing, source }
    }

    /// The whole chain of causes on one line, joined by ": ".
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::AlreadyLaunched => f.write_str(
                "expected one launch per process, found a second: a session was launched here before",
            ),
            Error::NotMonitor => f.write_str(
                "expected the monitor process, found another: use the `monitor = …` function, or send the monitor a message",
            ),
            Error::NotWorker => f.write_str(
                "expected the worker process, found another: call this from the program's own main",
            ),
            Error::NoMonitor => f.write_str("there is no monitor: SESSION_DISABLE is set"),
            Error::PeerDied => f.write_str("the other process ended before it answered"),
            Error::Timeout(after) => write!(f, "no answer within {} s", crate::text::seconds(*after)),
            Error::Busy => f.write_str("the other process is busy: its queue of messages is full"),
            Error::NoReply { name } => write!(f, "no listener answered the request `{name}`"),
            Error::Refused { reason } => f.write_str(reason),
            Error::BadName { name, expected } => {
                write!(f, "expected {expected}, found `{}`", crate::text::escape(name))
            }
            Error::TooLong { length, limit } => write!(
                f,
                "expected a message of at most {limit} bytes, found {length}: send it in parts, or as a file"
            ),
            Error::Json(_) => f.write_str("the arguments are not what JSON can carry here"),
            Error::UnknownPort { name, known } => {
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                write!(
                    f,
                    "expected a configured port name ({}), found `{}`",
                    names.join(", "),
                    crate::text::escape(name)
                )?;
                match crate::near::near(name, &names) {
                    Some(near) => write!(f, ": did you mean `{near}`?"),
                    None => f.write_str(": add it under `ports` in the configuration"),
                }
            }
            Error::Invalid(text)
            | Error::Usage(text)
            | Error::Config(text)
            | Error::Role(text)
            | Error::Setup(text) => f.write_str(text),
            Error::Stopping => f.write_str("the session is stopping"),
            Error::Bind {
                name, address, why, ..
            } => {
                write!(f, "could not bind the port `{}` at {address}", crate::text::escape(name))?;
                why.iter().try_for_each(|why| write!(f, ": {why}"))
            }
            Error::Os { doing, .. } => write!(f, "could not {doing}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Json(error) => Some(error),
            Error::Os { source, .. } | Error::Bind { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The exit codes of the monitor, as `sysexits.h` names them.
pub(crate) mod exit_code {
    /// Wrong use: a marker without a monitor, a value of `SESSION_DISABLE` that means nothing.
    pub(crate) const USAGE: u8 = 64;
    /// The library, or the program's set-up of the monitor, is at fault.
    pub(crate) const INTERNAL: u8 = 70;
    /// The operating system refused something the session cannot do without.
    pub(crate) const OS: u8 = 71;
    /// Given up after a crash loop.
    pub(crate) const GAVE_UP: u8 = 75;
    /// Not permitted.
    pub(crate) const PERMISSION: u8 = 77;
    /// The configuration is invalid.
    pub(crate) const CONFIG: u8 = 78;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_main_returns_is_told_in_words_with_its_causes() {
        let error = Error::Os {
            doing: "open the banner",
            source: io::Error::other("no disk"),
        };
        assert_eq!(error.to_string(), "could not open the banner");
        assert_eq!(format!("{error:?}"), "could not open the banner: no disk");
    }

    #[test]
    fn a_port_name_that_is_almost_right_is_guessed() {
        let unknown = |name: &str| Error::UnknownPort {
            name: name.to_owned(),
            known: vec!["admin".to_owned(), "server".to_owned()],
        };
        assert_eq!(
            unknown("serve").to_string(),
            "expected a configured port name (admin, server), found `serve`: did you mean `server`?"
        );
        assert_eq!(
            unknown("metrics\x07").to_string(),
            "expected a configured port name (admin, server), found `metrics\\x07`: add it under \
             `ports` in the configuration"
        );
    }
}
