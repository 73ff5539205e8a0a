//! The life of one worker, from spawn to death.

use std::time::Duration;

use super::probing::Probes;
use super::{
    Action, CHANNEL_LOST, CauseKind, Exit, Generation, HANDSHAKE_TIMEOUT, How, Jitter, Leaving,
    Notice, Policy, Polling, REAP, Readiness, SETTLE, Serving, TERMINATE, Time, Verdict,
};

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Asked for; the driver has not said yet what came of it.
    Spawning,
    /// It runs, and has not said hello.
    Handshaking {
        deadline: Time,
    },
    /// It has said hello, and is not ready.
    Starting,
    Ready {
        since: Time,
    },
    /// It has to go: asked to, or crashing by its own word.
    Draining {
        deadline: Time,
    },
    /// SIGTERM was sent.
    Terminating {
        deadline: Time,
    },
    /// SIGKILL was sent.
    Killing {
        deadline: Time,
    },
    /// SIGKILL did not end it.
    Unkillable,
    /// It is dead and reaped; its last words may be on their way.
    Dead {
        exit: Exit,
        jitter: Jitter,
        deadline: Time,
    },
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) generation: Generation,
    pub(crate) phase: Phase,
    /// Why it has to go; `None` while it may stay.
    pub(crate) leaving: Option<Leaving>,
    /// How long it was ready, once it is not any more: dying slowly makes nothing stable.
    pub(crate) ready_for: Option<Duration>,
    /// The driver has said that the process exists.
    exists: bool,
    pub(super) startup_deadline: Option<Time>,
    pub(super) channel: Channel,
    pub(super) serving: Serving,
    /// Another worker may answer on its public port: an answer there says nothing about it.
    accompanied: bool,
    pub(super) probes: Probes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    Open,
    /// Closed while the process lived; by the deadline it should be dead too.
    Closed {
        deadline: Time,
    },
}

impl Worker {
    pub(crate) fn new(generation: Generation, accompanied: bool, policy: &Policy) -> Worker {
        Worker {
            generation,
            phase: Phase::Spawning,
            leaving: None,
            ready_for: None,
            exists: false,
            startup_deadline: None,
            channel: Channel::Open,
            serving: Serving::Own,
            accompanied,
            probes: Probes::new(policy.polling),
        }
    }

    pub(crate) fn spawned(&mut self, now: Time, policy: &Policy, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.exists, true) {
            return;
        }
        let generation = self.generation;
        out.push(Action::Tell(Notice::Spawned { generation }));
        match self.phase {
            Phase::Spawning => {
                self.phase = Phase::Handshaking {
                    deadline: now + HANDSHAKE_TIMEOUT,
                };
                self.startup_deadline = Some(now + policy.startup_timeout);
            }
            // What it was told before it existed, it has not heard.
            Phase::Draining { .. } => {
                let why = self.leaving.unwrap_or(Leaving::Stop);
                out.push(Action::AskToExit { generation, why });
            }
            Phase::Terminating { .. } => out.push(Action::Terminate { generation }),
            Phase::Killing { .. } | Phase::Unkillable => out.push(Action::Kill { generation }),
            Phase::Handshaking { .. }
            | Phase::Starting
            | Phase::Ready { .. }
            | Phase::Dead { .. } => {}
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.phase, Phase::Dead { .. })
    }

    /// SIGKILL is pending and it is stuck in the kernel: no code of its own runs any more.
    pub(crate) fn is_unkillable(&self) -> bool {
        self.phase == Phase::Unkillable
    }

    /// Its process could not be made, and no other word of it has come: there is nothing to end.
    pub(crate) fn can_fail_to_spawn(&self) -> bool {
        !self.exists && !matches!(self.phase, Phase::Dead { .. })
    }

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

    /// The worker runs its exit handlers by itself; the ladder's first rung is already climbed.
    pub(crate) fn crashing(&mut self, now: Time, policy: &Policy) {
        match self.phase {
            Phase::Handshaking { .. } | Phase::Starting | Phase::Ready { .. } => {
                self.leaving = Some(Leaving::Crashing);
                self.go(
                    now,
                    Phase::Draining {
                        deadline: now + policy.grace,
                    },
                );
            }
            // It was leaving anyway, and stays as planned as it was.
            Phase::Spawning
            | Phase::Draining { .. }
            | Phase::Terminating { .. }
            | Phase::Killing { .. }
            | Phase::Unkillable
            | Phase::Dead { .. } => {}
        }
    }

    /// `true`: exit and end of channel are both in.
    pub(crate) fn channel_closed(&mut self, now: Time) -> bool {
        match self.channel {
            Channel::Open => {
                self.channel = Channel::Closed {
                    deadline: now + CHANNEL_LOST,
                }
            }
            Channel::Closed { .. } => {}
        }
        matches!(self.phase, Phase::Dead { .. })
    }

    /// `true`: exit and end of channel are both in.
    pub(crate) fn exited(
        &mut self,
        now: Time,
        exit: Exit,
        jitter: Jitter,
        out: &mut Vec<Action>,
    ) -> bool {
        match self.phase {
            Phase::Spawning
            | Phase::Handshaking { .. }
            | Phase::Starting
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Terminating { .. }
            | Phase::Killing { .. }
            | Phase::Unkillable => {
                self.go(
                    now,
                    Phase::Dead {
                        exit,
                        jitter,
                        deadline: now + SETTLE,
                    },
                );
                out.push(Action::Tell(Notice::Exited {
                    generation: self.generation,
                    exit,
                }));
                matches!(self.channel, Channel::Closed { .. })
            }
            Phase::Dead { .. } => false,
        }
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

    /// Starts the stop ladder, or climbs it. Nothing here climbs down, and the first reason
    /// stays, save that a stop or restart of the operator's makes no crash of a crash.
    pub(crate) fn leave(
        &mut self,
        now: Time,
        why: Leaving,
        how: How,
        policy: &Policy,
        out: &mut Vec<Action>,
    ) {
        let first = self.leaving.is_none();
        match (self.phase, how) {
            (
                Phase::Spawning | Phase::Handshaking { .. } | Phase::Starting | Phase::Ready { .. },
                How::Clean,
            ) => {
                self.leaving = Some(why);
                self.go(
                    now,
                    Phase::Draining {
                        deadline: now + policy.grace,
                    },
                );
                out.push(Action::AskToExit {
                    generation: self.generation,
                    why,
                });
            }
            (
                Phase::Spawning
                | Phase::Handshaking { .. }
                | Phase::Starting
                | Phase::Ready { .. }
                | Phase::Draining { .. }
                | Phase::Terminating { .. },
                How::Force,
            ) => {
                if first {
                    self.leaving = Some(why);
                }
                self.kill(now, out);
            }
            (Phase::Draining { .. } | Phase::Terminating { .. }, How::Clean)
            | (
                Phase::Killing { .. } | Phase::Unkillable | Phase::Dead { .. },
                How::Clean | How::Force,
            ) => {}
        }
    }

    /// To the next phase on its way out.
    fn go(&mut self, now: Time, phase: Phase) {
        if let Phase::Ready { since } = self.phase {
            self.ready_for = Some(now.saturating_sub(since));
        }
        self.phase = phase;
    }

    fn kill(&mut self, now: Time, out: &mut Vec<Action>) {
        self.go(
            now,
            Phase::Killing {
                deadline: now + REAP,
            },
        );
        out.push(Action::Kill {
            generation: self.generation,
        });
    }

    fn terminate(&mut self, now: Time, timeout: Duration, out: &mut Vec<Action>) {
        self.go(
            now,
            Phase::Terminating {
                deadline: now + timeout,
            },
        );
        out.push(Action::Terminate {
            generation: self.generation,
        });
    }

    /// It cannot be asked to exit: it does not listen yet.
    fn give_up_on_handshake(&mut self, now: Time, out: &mut Vec<Action>) {
        out.push(Action::Tell(Notice::NoHandshake {
            generation: self.generation,
        }));
        self.leaving = Some(Leaving::NoHandshake);
        self.kill(now, out);
    }

    /// `true`: it is dead, and its last words had their time.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Time,
        policy: &Policy,
        out: &mut Vec<Action>,
    ) -> bool {
        let generation = self.generation;
        match self.phase {
            Phase::Dead { deadline, .. } => return deadline <= now,
            Phase::Handshaking { deadline } if deadline <= now => {
                self.give_up_on_handshake(now, out);
            }
            Phase::Draining { deadline } if deadline <= now => {
                out.push(Action::Tell(Notice::Terminating { generation }));
                self.terminate(now, TERMINATE, out);
            }
            Phase::Terminating { deadline } if deadline <= now => {
                out.push(Action::Tell(Notice::Killing { generation }));
                self.kill(now, out);
            }
            Phase::Killing { deadline } if deadline <= now => {
                out.push(Action::Tell(Notice::Unkillable { generation }));
                self.phase = Phase::Unkillable;
            }
            Phase::Handshaking { .. } | Phase::Starting | Phase::Ready { .. } => {
                self.handle_timeout_alive(now, policy, out);
            }
            Phase::Spawning
            | Phase::Draining { .. }
            | Phase::Terminating { .. }
            | Phase::Killing { .. }
            | Phase::Unkillable => {}
        }
        false
    }

    fn handle_timeout_alive(&mut self, now: Time, policy: &Policy, out: &mut Vec<Action>) {
        let generation = self.generation;
        if let Channel::Closed { deadline } = self.channel
            && deadline <= now
        {
            out.push(Action::Tell(Notice::ChannelLost { generation }));
            self.leaving = Some(Leaving::ChannelLost);
            // No message reaches it any more, so the grace period begins with the signal.
            self.terminate(now, policy.grace, out);
            return;
        }
        if self
            .startup_deadline
            .is_some_and(|deadline| deadline <= now)
        {
            let after = policy.startup_timeout;
            out.push(Action::Tell(Notice::NotReadyInTime { generation, after }));
            self.startup_deadline = None;
            self.leave(now, Leaving::NotReady, How::Clean, policy, out);
            return;
        }
        self.handle_probe_timeout(now, out);
    }

    fn handle_probe_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        let generation = self.generation;
        let is_ready = matches!(self.phase, Phase::Ready { .. });
        if self.probes.lose_overdue(now, is_ready) {
            out.push(Action::Tell(Notice::ProbeLost { generation }));
        }
        if let Some(timeout) = self.probes.start_due(now) {
            out.push(Action::Probe {
                generation,
                timeout,
            });
        }
    }

    /// A new polling interval for the rest of this worker's life.
    pub(crate) fn set_polling(&mut self, now: Time, polling: Polling) {
        let is_ready = matches!(self.phase, Phase::Ready { .. });
        self.probes.set_polling(now, polling, is_ready);
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Spawning | Phase::Unkillable => None,
            Phase::Draining { deadline }
            | Phase::Terminating { deadline }
            | Phase::Killing { deadline }
            | Phase::Dead { deadline, .. } => Some(deadline),
            Phase::Handshaking { deadline } => earliest([Some(deadline), self.deadline_alive()]),
            Phase::Starting | Phase::Ready { .. } => self.deadline_alive(),
        }
    }

    fn deadline_alive(&self) -> Option<Time> {
        let lost = match self.channel {
            Channel::Open => None,
            Channel::Closed { deadline } => Some(deadline),
        };
        earliest([lost, self.startup_deadline, self.probes.next_deadline()])
    }

    /// The kind of crash that its end is; `None` if it was asked for.
    pub(crate) fn crash(&self) -> Option<CauseKind> {
        match self.leaving {
            Some(Leaving::Stop | Leaving::Restart) => None,
            None => Some(CauseKind::Exit),
            Some(Leaving::Unhealthy) => Some(CauseKind::FailedProbe),
            Some(Leaving::NotReady) => Some(CauseKind::FailedStart),
            Some(Leaving::NoHandshake) => Some(CauseKind::NoHandshake),
            Some(Leaving::Crashing) => Some(CauseKind::Told),
            Some(Leaving::ChannelLost) => Some(CauseKind::ChannelLost),
        }
    }
}

pub(crate) fn earliest<const N: usize>(deadlines: [Option<Time>; N]) -> Option<Time> {
    deadlines.into_iter().flatten().min()
}
