//! When the next worker starts, and when to give up.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Backoff, Jitter, Limit, Time};

/// How the failures so far weigh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Failures {
    /// Since the last stable worker.
    pub(super) consecutive: u32,
    /// The times of those that the limit counts, oldest first.
    pub(super) recent: VecDeque<Time>,
}

/// What follows from one more failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Restart { delay: Duration },
    GiveUp { failures: u32, within: Duration },
}

impl Failures {
    /// One more worker ended that nobody had asked to end. `stable`: it had been ready for long
    /// enough, so this failure is the first of its kind.
    pub(crate) fn count(
        &mut self,
        now: Time,
        stable: bool,
        backoff: &Backoff,
        limit: Option<Limit>,
        jitter: Jitter,
    ) -> Next {
        if let Some(limit) = limit
            && let Some(failures) = self.over(limit, now)
        {
            return Next::GiveUp {
                failures,
                within: limit.within,
            };
        }
        if stable {
            self.consecutive = 0;
            return Next::Restart {
                delay: Duration::ZERO,
            };
        }
        self.consecutive = self.consecutive.saturating_add(1);
        Next::Restart {
            delay: backoff.delay(self.consecutive, jitter),
        }
    }

    fn over(&mut self, limit: Limit, now: Time) -> Option<u32> {
        self.recent.push_back(now);
        while self
            .recent
            .front()
            .is_some_and(|&at| at + limit.within <= now)
        {
            self.recent.pop_front();
        }
        // As many as the limit are in the window now, so the deque never grows beyond it.
        let failures = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        (failures >= limit.failures).then_some(failures)
    }
}

impl Backoff {
    /// Doubles from `min` to `max`; a `min` of 0 never waits.
    fn delay(&self, consecutive: u32, jitter: Jitter) -> Duration {
        // A factor beyond 2^31 only matters for the cap, which is below 2^31 milliseconds.
        let doublings = consecutive.saturating_sub(1).min(31);
        let delay = self.min.saturating_mul(1 << doublings).min(self.max);
        // From 1 - jitter to 1 + jitter, in millionths.
        let swing = i64::from(jitter.0) * 2 * 1000 / i64::from(u16::MAX) - 1000;
        let millionths = 1_000_000 + swing * i64::from(self.jitter_permille);
        let nanos = delay.as_nanos() * u128::try_from(millionths).unwrap_or(0) / 1_000_000;
        u64::try_from(nanos).map_or(self.max, Duration::from_nanos)
    }
}
