//! The state of the session, for `status` and for the program's own code.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::rounded_seconds;

/// What the session is doing, as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// In one word: `starting`, `ready`, `stopping`, `backing off`, …
    pub state: String,
    /// Of the active worker, or of the last one while there is none.
    pub generation: u64,
    /// A second worker beside it, while one takes over from the other.
    pub companion: Option<String>,
    /// Its process id, while it runs.
    pub pid: Option<u32>,
    /// How long it has been running.
    pub uptime: Option<Duration>,
    /// How often a worker was started after the first.
    pub restarts: u64,
    /// How the last worker that ended did so.
    pub last_exit: Option<String>,
    /// What the last probe found, with its latency.
    pub last_probe: Option<Probed>,
    /// How long until the session acts by itself: a probe, a restart, the end of a grace period.
    pub next_deadline: Option<Duration>,
    /// Messages, lines and reports that were dropped because a queue was full.
    pub dropped: u64,
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Probed {
    /// Its verdict, in words.
    pub verdict: String,
    /// How long the answer took.
    pub latency: Duration,
    /// How long ago it was.
    pub ago: Duration,
}

impl Status {
    /// As lines of `name: value`.
    pub(super) fn lines(&self) -> Vec<String> {
        let seconds = |time: Duration| format!("{} s", rounded_seconds(time, 1));
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        let probe = self.last_probe.as_ref().map(|probe| {
            let latency = rounded_seconds(probe.latency.saturating_mul(1000), 1);
            format!(
                "{} ({latency} ms, {} ago)",
                probe.verdict,
                seconds(probe.ago)
            )
        });
        let mut lines = vec![
            format!("state: {}", self.state),
            format!("pid: {}", or_none(self.pid.map(|pid| pid.to_string()))),
            format!("generation: {}", self.generation),
            format!("uptime: {}", or_none(self.uptime.map(seconds))),
            format!("restarts: {}", self.restarts),
            format!("last exit: {}", or_none(self.last_exit.clone())),
            format!("last probe: {}", or_none(probe)),
            format!(
                "next deadline: {}",
                or_none(self.next_deadline.map(|at| format!("in {}", seconds(at))))
            ),
            format!("dropped: {}", self.dropped),
        ];
        if let Some(companion) = &self.companion {
            lines.insert(1, format!("beside it: {companion}"));
        }
        lines
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}
