//! How a worker gets ready and stays healthy: by its handshake, its own word, or its probes.

use super::generation::{Phase, Worker};
use super::{Action, How, Leaving, Notice, Policy, Polling, Readiness, Serving, Time, Verdict};

impl Worker {
    pub(crate) fn hello(&mut self, now: Time, policy: &Policy, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Handshaking { .. } => {
                self.phase = Phase::Starting;
                match policy.readiness {
                    // Beside another worker a handshake is too little: what follows may fail, and
                    // the other one would be gone.
                    Readiness::Hello if self.can_be_probed() => self.become_ready(now, out),
                    Readiness::Probe if self.can_be_probed() => self.probes.start_quick(now),
                    Readiness::Probe | Readiness::Call | Readiness::Hello => {}
                }
            }
            // A second hello, or one that crossed our decision.
            Phase::Spawning
            | Phase::Starting
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Terminating { .. }
            | Phase::Killing { .. }
            | Phase::Unkillable
            | Phase::Dead { .. } => {}
        }
    }

    pub(crate) fn handshake_failed(&mut self, now: Time, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Handshaking { .. } => self.give_up_on_handshake(now, out),
            Phase::Spawning
            | Phase::Starting
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Terminating { .. }
            | Phase::Killing { .. }
            | Phase::Unkillable
            | Phase::Dead { .. } => {}
        }
    }

    pub(crate) fn says_ready(&mut self, now: Time, policy: &Policy, out: &mut Vec<Action>) {
        match (self.phase, policy.readiness) {
            (Phase::Starting, Readiness::Call) => self.become_ready(now, out),
            // Beside another worker, the word of one that cannot be probed alone has to do.
            (Phase::Starting, Readiness::Probe | Readiness::Hello)
                if self.accompanied && self.serving != Serving::Private =>
            {
                self.become_ready(now, out);
            }
            // Otherwise its word counts only where the configuration says so.
            (Phase::Starting, Readiness::Probe | Readiness::Hello)
            | (
                Phase::Spawning
                | Phase::Handshaking { .. }
                | Phase::Ready { .. }
                | Phase::Draining { .. }
                | Phase::Terminating { .. }
                | Phase::Killing { .. }
                | Phase::Unkillable
                | Phase::Dead { .. },
                Readiness::Probe | Readiness::Call | Readiness::Hello,
            ) => {}
        }
    }

    /// It accepts on a held listener: by itself, or through ours, which also serves its private one.
    pub(crate) fn serves(
        &mut self,
        now: Time,
        serving: Serving,
        policy: &Policy,
        out: &mut Vec<Action>,
    ) {
        // It may say both, of two listeners, and the private one stays.
        let before = self.serving;
        self.serving = before.max(serving);
        // Said again it is no news: a worker is not to move its probes by talking.
        if self.serving == before || self.serving != Serving::Private {
            return;
        }
        match (self.phase, policy.readiness) {
            (Phase::Starting, Readiness::Probe) => self.probes.at_once(now),
            (Phase::Starting, Readiness::Hello) => self.become_ready(now, out),
            // Ready by its word, and accompanied, it could not be probed so far.
            (Phase::Ready { .. }, Readiness::Probe | Readiness::Call | Readiness::Hello) => {
                self.probes.resume(now);
            }
            (Phase::Starting, Readiness::Call)
            | (
                Phase::Spawning
                | Phase::Handshaking { .. }
                | Phase::Draining { .. }
                | Phase::Terminating { .. }
                | Phase::Killing { .. }
                | Phase::Unkillable
                | Phase::Dead { .. },
                Readiness::Probe | Readiness::Call | Readiness::Hello,
            ) => {}
        }
    }

    /// Another worker came beside it, or answers no more.
    pub(crate) fn set_accompanied(
        &mut self,
        now: Time,
        accompanied: bool,
        policy: &Policy,
        out: &mut Vec<Action>,
    ) {
        let before = std::mem::replace(&mut self.accompanied, accompanied);
        if before == accompanied || self.serving == Serving::Private {
            return;
        }
        if accompanied {
            self.probes.pause();
            return;
        }
        match (self.phase, policy.readiness) {
            (Phase::Starting, Readiness::Hello) => self.become_ready(now, out),
            (Phase::Starting, Readiness::Probe) => self.probes.at_once(now),
            (Phase::Ready { .. }, Readiness::Probe | Readiness::Call | Readiness::Hello) => {
                self.probes.resume(now);
            }
            (Phase::Starting, Readiness::Call)
            | (
                Phase::Spawning
                | Phase::Handshaking { .. }
                | Phase::Draining { .. }
                | Phase::Terminating { .. }
                | Phase::Killing { .. }
                | Phase::Unkillable
                | Phase::Dead { .. },
                Readiness::Probe | Readiness::Call | Readiness::Hello,
            ) => {}
        }
    }

    /// Would an answer be about this worker?
    fn can_be_probed(&self) -> bool {
        self.serving == Serving::Private || !self.accompanied
    }

    fn become_ready(&mut self, now: Time, out: &mut Vec<Action>) {
        self.phase = Phase::Ready { since: now };
        self.startup_deadline = None;
        if self.can_be_probed() {
            self.probes.next_interval(now);
        }
        out.push(Action::Tell(Notice::Ready {
            generation: self.generation,
        }));
    }

    pub(crate) fn probed(
        &mut self,
        now: Time,
        verdict: Verdict,
        policy: &Policy,
        out: &mut Vec<Action>,
    ) {
        let Some(started) = self.probes.take_in_flight() else {
            return;
        };
        match self.phase {
            Phase::Starting => self.probed_while_starting(now, verdict, out),
            Phase::Ready { .. } => {
                self.probes.interval_since(started, now);
                self.probed_while_ready(now, verdict, policy, out);
            }
            Phase::Spawning
            | Phase::Handshaking { .. }
            | Phase::Draining { .. }
            | Phase::Terminating { .. }
            | Phase::Killing { .. }
            | Phase::Unkillable
            | Phase::Dead { .. } => {}
        }
    }

    fn probed_while_starting(&mut self, now: Time, verdict: Verdict, out: &mut Vec<Action>) {
        match verdict {
            Verdict::Healthy => self.become_ready(now, out),
            Verdict::Unhealthy | Verdict::CannotProbe => self.probes.next_quick(now),
        }
    }

    fn probed_while_ready(
        &mut self,
        now: Time,
        verdict: Verdict,
        policy: &Policy,
        out: &mut Vec<Action>,
    ) {
        let generation = self.generation;
        match verdict {
            Verdict::Healthy => {
                if std::mem::take(&mut self.probes.failures) > 0 {
                    out.push(Action::Tell(Notice::Recovered { generation }));
                }
                self.probes.told_obstacle = false;
            }
            Verdict::CannotProbe => {
                if !std::mem::replace(&mut self.probes.told_obstacle, true) {
                    out.push(Action::Tell(Notice::CannotProbe { generation }));
                }
            }
            Verdict::Unhealthy => {
                self.probes.failures += 1;
                let (failures, tolerance) = (self.probes.failures, policy.tolerance);
                if failures <= tolerance {
                    out.push(Action::Tell(Notice::Tolerated {
                        generation,
                        failures,
                        tolerance,
                    }));
                } else {
                    out.push(Action::Tell(Notice::Unhealthy {
                        generation,
                        failures,
                    }));
                    self.leave(now, Leaving::Unhealthy, How::Clean, policy, out);
                }
            }
        }
    }

    /// A new polling interval for the rest of this worker's life.
    pub(crate) fn set_polling(&mut self, now: Time, polling: Polling) {
        let is_ready = matches!(self.phase, Phase::Ready { .. });
        self.probes.set_polling(now, polling, is_ready);
    }
}
