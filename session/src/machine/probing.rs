//! When one worker is probed next, and what is in flight.

use std::time::Duration;

use super::{FIRST_PROBE, PROBE_OVERDUE, Polling, SLOWEST_QUICK_PROBE, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Probes {
    /// `None`: this worker is never probed.
    polling: Option<Polling>,
    /// The next quick probe's distance, until the worker is ready.
    quick: Duration,
    next: Option<Time>,
    in_flight: Option<InFlight>,
    pub(super) failures: u32,
    pub(super) told_obstacle: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct InFlight {
    started: Time,
    overdue: Time,
}

impl Probes {
    pub(super) fn new(polling: Option<Polling>) -> Probes {
        Probes {
            polling,
            quick: FIRST_PROBE,
            next: None,
            in_flight: None,
            failures: 0,
            told_obstacle: false,
        }
    }

    /// The first of the quick probes comes after a moment.
    pub(super) fn start_quick(&mut self, now: Time) {
        self.next = self.polling.map(|_| now + self.quick);
    }

    /// The worker has said that it serves: there is nothing to wait for.
    pub(super) fn at_once(&mut self, now: Time) {
        self.next = self.polling.map(|_| now);
    }

    /// The one before found no healthy server.
    pub(super) fn next_quick(&mut self, now: Time) {
        self.quick = (self.quick * 2).min(SLOWEST_QUICK_PROBE);
        self.next = Some(now + self.quick);
    }

    pub(super) fn next_interval(&mut self, now: Time) {
        self.next = self.polling.map(|polling| now + polling.interval);
    }

    /// The interval is from start to start, however long an answer takes.
    pub(super) fn interval_since(&mut self, started: Time, now: Time) {
        self.next = self
            .polling
            .map(|polling| (started + polling.interval).max(now));
    }

    /// What is in flight may be answered by somebody else: it does not count.
    pub(super) fn pause(&mut self) {
        self.next = None;
        self.in_flight = None;
    }

    pub(super) fn resume(&mut self, now: Time) {
        if self.next.is_none() && self.in_flight.is_none() {
            self.next_interval(now);
        }
    }

    /// The answer is in. When was it asked for? `None`: nobody asked.
    pub(super) fn take_in_flight(&mut self) -> Option<Time> {
        self.in_flight.take().map(|flight| flight.started)
    }

    /// A probe that is overdue will not come back. `true`: one was.
    pub(super) fn lose_overdue(&mut self, now: Time, is_ready: bool) -> bool {
        let Some(polling) = self.polling else {
            return false;
        };
        let lost = self.in_flight.is_some_and(|flight| flight.overdue <= now);
        if lost {
            self.in_flight = None;
            let wait = if is_ready {
                polling.interval
            } else {
                self.quick
            };
            self.next = Some(now + wait);
        }
        lost
    }

    /// Begins the probe that is due; its timeout.
    pub(super) fn start_due(&mut self, now: Time) -> Option<Duration> {
        let timeout = self.polling?.timeout;
        if self.in_flight.is_some() || self.next.is_none_or(|at| at > now) {
            return None;
        }
        self.next = None;
        self.in_flight = Some(InFlight {
            started: now,
            overdue: now + timeout + PROBE_OVERDUE,
        });
        Some(timeout)
    }

    pub(super) fn set_polling(&mut self, now: Time, polling: Polling, is_ready: bool) {
        if self.polling.is_none() {
            return;
        }
        self.polling = Some(polling);
        if is_ready && self.next.is_some() {
            self.next = Some(now + polling.interval);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let overdue = self.in_flight.map(|flight| flight.overdue);
        overdue.or(self.next)
    }
}
