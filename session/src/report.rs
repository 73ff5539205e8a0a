//! Why a worker ended: what handlers, hooks, the log and `reports` are told.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sys;
use crate::text::rounded_seconds;

/// How a process ended, as its parent learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It exited by itself with this code (0–255).
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether the system wrote a core file.
        core_dumped: bool,
    },
    /// The system could not tell: somebody else reaped it.
    Unknown,
}

impl ExitStatus {
    /// Exit code 0.
    #[must_use]
    pub fn is_clean(self) -> bool {
        self == ExitStatus::Code(0)
    }

    /// The exit code a shell would show: the code itself, or 128 + the signal's number.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        let code = match self {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal { number, .. } => 128 + number,
            ExitStatus::Unknown => 1,
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ExitStatus::Code(code) => write!(f, "exit code {code}"),
            ExitStatus::Signal {
                number,
                core_dumped,
            } => {
                f.write_str(&sys::signal_name(number))?;
                if core_dumped {
                    f.write_str(" (core dumped)")
                } else {
                    Ok(())
                }
            }
            ExitStatus::Unknown => f.write_str("exit status unknown"),
        }
    }
}

/// A panic, as the worker's panic hook saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// The panic message.
    pub message: String,
    /// `file:line:column`, where it is known.
    pub location: Option<String>,
    /// The name of the thread that panicked.
    pub thread: String,
    /// The backtrace, where there was time to take one.
    pub backtrace: Option<String>,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panic in thread `{}`", self.thread)?;
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What made a worker end although nobody had asked it to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// A thread panicked.
    Panic(Panic),
    /// The program's main returned an error; this is its text.
    MainError(String),
    /// It ended by a signal or with an exit code, without a word.
    Exit,
    /// It did not answer its probes any more; this is the last failure.
    FailedProbe(String),
    /// It was not ready within `startupTimeoutSeconds`, or its handshake failed.
    FailedStart(String),
    /// It closed its channel to the monitor and lived on.
    ChannelLost,
    /// It could not be started at all.
    SpawnError(String),
}

/// The report of one crash: exactly one for each end of a worker that nobody had asked for.
///
/// It carries no secrets: neither the environment nor the session key. Text that came from the
/// worker is escaped where it is displayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CrashReport {
    /// Which worker it was: the first has generation 1.
    pub generation: u64,
    /// Its process id; 0 if it never had one.
    pub pid: u32,
    /// What made it end.
    pub cause: Cause,
    /// How it ended; `None` if it never ran.
    pub status: Option<ExitStatus>,
    /// When it ended, in seconds since the Unix epoch.
    pub at_unix_seconds: u64,
    /// How long it ran.
    pub uptime: Duration,
    /// How often a worker of this session had been restarted before.
    pub restarts: u64,
    /// The last 64 KiB that it wrote to its standard output and standard error.
    pub output: String,
    /// How many bytes of output came before that and are not here.
    pub output_dropped: u64,
    /// Processor time, user and system, of the worker.
    pub cpu_time: Duration,
    /// Its peak resident memory in bytes; 0 where the system does not tell.
    pub peak_memory: u64,
}

impl CrashReport {
    /// The cause in one line, with the exit status where that says more.
    #[must_use]
    pub fn summary(&self) -> String {
        let status = self.status.map(|status| status.to_string());
        // How it ended says more, unless it is what the monitor made of it.
        let (text, by_itself) = match &self.cause {
            Cause::Panic(panic) => (panic.to_string(), true),
            Cause::MainError(error) => (format!("main returned an error: {error}"), true),
            Cause::Exit => return status.unwrap_or_else(|| ExitStatus::Unknown.to_string()),
            Cause::FailedProbe(failure) => (format!("failed probe: {failure}"), false),
            Cause::FailedStart(failure) => (format!("failed start: {failure}"), false),
            Cause::ChannelLost => ("it closed its channel to the monitor".to_owned(), false),
            Cause::SpawnError(error) => {
                return crate::text::escape(&format!("could not be started: {error}")).into_owned();
            }
        };
        let text = crate::text::escape(&text).into_owned();
        match status {
            Some(status) if by_itself => format!("{text} ({status})"),
            Some(status) => format!("{text} (made to leave: {status})"),
            None => text,
        }
    }

    /// At most this many of the last lines of output, escaped, oldest first; and how many are
    /// kept that come before them.
    pub(crate) fn last_lines(&self, most: usize) -> (usize, Vec<String>) {
        let lines: Vec<&str> = self.output.lines().collect();
        let before = lines.len().saturating_sub(most);
        let last = lines[before..]
            .iter()
            .map(|line| crate::text::escape(line).into_owned());
        (before, last.collect())
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "generation {} (pid {}) crashed after {} s: {}",
            self.generation,
            self.pid,
            rounded_seconds(self.uptime, 3),
            self.summary()
        )?;
        write!(
            f,
            "  restarts before: {}, cpu time: {} s, peak memory: {} KiB",
            self.restarts,
            rounded_seconds(self.cpu_time, 3),
            self.peak_memory / 1024
        )?;
        if let Cause::Panic(Panic {
            backtrace: Some(backtrace),
            ..
        }) = &self.cause
        {
            write!(f, "\n  backtrace:")?;
            for line in backtrace.lines() {
                write!(f, "\n    {}", crate::text::escape(line))?;
            }
        }
        if !self.output.is_empty() {
            write!(f, "\n  its last output:")?;
        }
        if self.output_dropped > 0 {
            let dropped = crate::text::count(self.output_dropped, "byte");
            write!(f, "\n    … {dropped} before, not kept")?;
        }
        for line in self.last_lines(usize::MAX).1 {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// Why an exit handler runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExitReason {
    /// The session stops; this is the reason that was given.
    Stop(String),
    /// This worker is replaced by a new one.
    Restart,
    /// The program's main has returned.
    Finished,
    /// The program's main has returned an error; this is its text.
    MainError(String),
    /// A thread of this worker panicked.
    Panic(Panic),
    /// The monitor found this worker unhealthy: it failed its probes, or was not ready in time.
    Unhealthy(String),
    /// SIGTERM or SIGINT was sent to this process itself.
    Signal(String),
    /// The monitor is gone.
    MonitorGone,
    /// The session gave up after a crash loop, or ended with its worker (told to the monitor's
    /// own handlers).
    Ended(String),
}

impl ExitReason {
    /// Did something go wrong? (The seed handed an error to its handlers, or none.)
    #[must_use]
    pub fn is_error(&self) -> bool {
        match self {
            ExitReason::Stop(_)
            | ExitReason::Restart
            | ExitReason::Finished
            | ExitReason::Signal(_) => false,
            ExitReason::MainError(_)
            | ExitReason::Panic(_)
            | ExitReason::Unhealthy(_)
            | ExitReason::MonitorGone
            | ExitReason::Ended(_) => true,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Stop(reason) => write!(f, "the session stops: {reason}"),
            ExitReason::Restart => f.write_str("this worker is replaced"),
            ExitReason::Finished => f.write_str("main has returned"),
            ExitReason::MainError(error) => write!(f, "main returned an error: {error}"),
            ExitReason::Panic(panic) => panic.fmt(f),
            ExitReason::Unhealthy(why) => write!(f, "the monitor found it unhealthy: {why}"),
            ExitReason::Signal(name) => write!(f, "{name} was sent to this process"),
            ExitReason::MonitorGone => f.write_str("the monitor is gone"),
            ExitReason::Ended(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(cause: Cause, status: Option<ExitStatus>) -> CrashReport {
        CrashReport {
            generation: 3,
            pid: 7,
            cause,
            status,
            at_unix_seconds: 0,
            uptime: Duration::from_millis(1500),
            restarts: 2,
            output: String::new(),
            output_dropped: 0,
            cpu_time: Duration::from_millis(20),
            peak_memory: 4096,
        }
    }

    #[test]
    fn the_summary_has_the_cause_and_how_it_ended() {
        let panic = Panic {
            message: "no disk".into(),
            location: Some("a.rs:1:2".into()),
            thread: "main".into(),
            backtrace: None,
        };
        let code = |code| Some(ExitStatus::Code(code));
        let killed = Some(ExitStatus::Signal {
            number: 9,
            core_dumped: false,
        });
        for (cause, status, expected) in [
            (
                Cause::Panic(panic),
                code(101),
                "panic in thread `main` at a.rs:1:2: no disk (exit code 101)",
            ),
            (
                Cause::MainError("no\nport".into()),
                code(1),
                r"main returned an error: no\nport (exit code 1)",
            ),
            (Cause::Exit, killed, "SIGKILL"),
            (Cause::Exit, None, "exit status unknown"),
            (
                Cause::FailedProbe("connection reset".into()),
                killed,
                "failed probe: connection reset (made to leave: SIGKILL)",
            ),
            (
                Cause::FailedStart("not ready in time: connection refused".into()),
                code(0),
                "failed start: not ready in time: connection refused (made to leave: exit code 0)",
            ),
            (
                Cause::ChannelLost,
                killed,
                "it closed its channel to the monitor (made to leave: SIGKILL)",
            ),
            (
                Cause::SpawnError("no\x1bmemory".into()),
                None,
                r"could not be started: no\x1bmemory",
            ),
        ] {
            assert_eq!(report(cause, status).summary(), expected);
        }
    }

    #[test]
    fn the_last_lines_say_how_many_come_before() {
        let mut report = report(Cause::Exit, None);
        assert_eq!(report.last_lines(40), (0, Vec::new()));
        // Far above, and not too far for an interpreter.
        let far = if cfg!(miri) { 100 } else { 4000 };
        for (lines, before) in [(39, 0), (40, 0), (41, 1), (far, far - 40)] {
            report.output = (0..lines).map(|line| format!("{line}\x07\n")).collect();
            let (found, last) = report.last_lines(40);
            assert_eq!((found, last.len()), (before, lines - before));
            assert_eq!(last.first(), Some(&format!(r"{before}\x07")));
            assert_eq!(last.last(), Some(&format!(r"{}\x07", lines - 1)));
        }
    }

    #[test]
    fn in_full_it_tells_what_of_the_output_is_missing() {
        let mut report = report(Cause::Exit, Some(ExitStatus::Code(3)));
        let head = "generation 3 (pid 7) crashed after 1.500 s: exit code 3\n  \
                    restarts before: 2, cpu time: 0.020 s, peak memory: 4 KiB";
        assert_eq!(report.to_string(), head);
        report.output = "a\nb\n".into();
        let output = "\n  its last output:";
        assert_eq!(report.to_string(), format!("{head}{output}\n    a\n    b"));
        for (bytes, told) in [(1, "1 byte"), (2, "2 bytes")] {
            report.output_dropped = bytes;
            assert_eq!(
                report.to_string(),
                format!("{head}{output}\n    … {told} before, not kept\n    a\n    b")
            );
        }
    }
}
