//! What a probe can find, and the words it is told in.

use std::fmt;
use std::io;
use std::time::Duration;

use super::head::Malformed;
use crate::text::seconds;

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A 2xx.
    Healthy,
    /// The server was asked and did not answer well.
    Unhealthy(Failure),
    /// The monitor could not ask, which says nothing about the server.
    Inconclusive(Obstacle),
    /// Another process listens on the port.
    Stranger(Holder),
}

/// Why a server counts as unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    Refused,
    TimedOut(Phase),
    Reset,
    /// The connection ended before the head of the answer did.
    Closed,
    /// A whole answer that is neither a 2xx nor a 3xx.
    Status(u16),
    Redirect(u16),
    Malformed(Malformed),
    /// The head of the answer is longer than a probe reads.
    HeadTooLong,
}

/// What the probe was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Connect,
    Send,
    Answer,
}

/// Why the monitor could not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Obstacle {
    /// The monitor or the machine is out of descriptors.
    TooManyFiles,
    /// The kernel is out of memory for sockets.
    NoBuffers,
    /// No local port or address is left to ask from.
    NoAddress,
    NetworkDown,
    /// The monitor itself slept through the deadline.
    Lagged,
    /// Another error number of the system.
    Other(i32),
}

/// Who listens on the port instead of the worker, as far as it can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) port: u16,
    pub(crate) pid: Option<u32>,
    /// The name of the process, escaped and short.
    pub(crate) name: Option<String>,
}

impl Verdict {
    /// The verdict with the route and the timeout of the probe that gave it.
    pub(crate) fn words(&self, route: &str, timeout: Duration) -> String {
        match self {
            Self::Unhealthy(failure) => failure.words(route, timeout),
            Self::Healthy | Self::Inconclusive(_) | Self::Stranger(_) => self.to_string(),
        }
    }
}

impl Failure {
    /// The failure with the route and the timeout of the probe that met it.
    pub(crate) fn words(self, route: &str, timeout: Duration) -> String {
        match self {
            Self::Status(_) | Self::Redirect(_) => format!("`GET {route}` {self}"),
            Self::TimedOut(phase) => format!("{phase} within {} s", seconds(timeout)),
            Self::Refused | Self::Reset | Self::Closed => self.to_string(),
            Self::Malformed(_) | Self::HeadTooLong => self.to_string(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Unhealthy(failure) => failure.fmt(f),
            Self::Inconclusive(obstacle) => obstacle.fmt(f),
            Self::Stranger(holder) => holder.fmt(f),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut(phase) => write!(f, "{phase} in time"),
            Self::Reset => f.write_str("connection reset"),
            Self::Closed => f.write_str("connection closed before the answer was complete"),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Redirect(status) => {
                write!(
                    f,
                    "answered {status}; set pollingRoute to a route that answers 2xx"
                )
            }
            Self::Malformed(malformed) => write!(f, "malformed answer: {malformed}"),
            Self::HeadTooLong => {
                write!(
                    f,
                    "the head of the answer is longer than {} bytes",
                    super::MAX_READ
                )
            }
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection",
            Self::Send => "the request was not taken",
            Self::Answer => "no answer",
        })
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot probe: ")?;
        match self {
            Self::TooManyFiles => f.write_str("too many open files"),
            Self::NoBuffers => f.write_str("no memory for sockets"),
            Self::NoAddress => f.write_str("no local address or port is free"),
            Self::NetworkDown => f.write_str("the network is down"),
            Self::Lagged => f.write_str("the monitor was suspended past the deadline"),
            Self::Other(0) => f.write_str("an error without a number"),
            Self::Other(errno) => write!(f, "{}", io::Error::from_raw_os_error(*errno)),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} is held by ", self.port)?;
        match (self.pid, &self.name) {
            (Some(pid), Some(name)) => write!(f, "pid {pid} ({name})"),
            (Some(pid), None) => write!(f, "pid {pid}"),
            (None, _) => f.write_str("another process that the monitor may not see"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_told_in_words() {
        let holder = |pid, name: Option<&str>| {
            Verdict::Stranger(Holder {
                port: 3000,
                pid,
                name: name.map(str::to_owned),
            })
        };
        let unhealthy = Verdict::Unhealthy;
        let cases = [
            (Verdict::Healthy, "healthy"),
            (unhealthy(Failure::Refused), "connection refused"),
            (
                unhealthy(Failure::TimedOut(Phase::Connect)),
                "no connection within 2.5 s",
            ),
            (
                unhealthy(Failure::TimedOut(Phase::Send)),
                "the request was not taken within 2.5 s",
            ),
            (
                unhealthy(Failure::TimedOut(Phase::Answer)),
                "no answer within 2.5 s",
            ),
            (unhealthy(Failure::Reset), "connection reset"),
            (
                unhealthy(Failure::Closed),
                "connection closed before the answer was complete",
            ),
            (unhealthy(Failure::Status(500)), "`GET /up` answered 500"),
            (
                unhealthy(Failure::Redirect(302)),
                "`GET /up` answered 302; set pollingRoute to a route that answers 2xx",
            ),
            (
                unhealthy(Failure::Malformed(Malformed::Nul)),
                "malformed answer: found a NUL byte in the head",
            ),
            (
                unhealthy(Failure::HeadTooLong),
                "the head of the answer is longer than 16384 bytes",
            ),
            (
                Verdict::Inconclusive(Obstacle::TooManyFiles),
                "cannot probe: too many open files",
            ),
            (
                holder(Some(4711), Some("nginx")),
                "port 3000 is held by pid 4711 (nginx)",
            ),
            (holder(Some(4711), None), "port 3000 is held by pid 4711"),
            (
                holder(None, None),
                "port 3000 is held by another process that the monitor may not see",
            ),
        ];
        for (verdict, expected) in cases {
            assert_eq!(verdict.words("/up", Duration::from_millis(2500)), expected);
        }
        assert_eq!(
            Failure::TimedOut(Phase::Answer).to_string(),
            "no answer in time"
        );

        // The words for a number are the system's own.
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let told = Obstacle::Other(libc::EACCES).to_string();
        assert_eq!(told, format!("cannot probe: {denied}"));
        let nameless = Obstacle::Other(0).to_string();
        assert_eq!(nameless, "cannot probe: an error without a number");
    }
}
