//! How a worker leaves: by a ladder whose rungs have deadlines, and which nobody climbs down.

use std::time::Duration;

use super::generation::{Channel, Phase, Worker, earliest};
use super::{Action, CauseKind, How, Leaving, Notice, Policy, REAP, TERMINATE, Time};

impl Worker {
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
    pub(super) fn go(&mut self, now: Time, phase: Phase) {
        if let Phase::Ready { since } = self.phase {
            self.ready_for = Some(now.saturating_sub(since));
        }
        self.phase = phase;
    }

    pub(super) fn kill(&mut self, now: Time, out: &mut Vec<Action>) {
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

    pub(super) fn terminate(&mut self, now: Time, timeout: Duration, out: &mut Vec<Action>) {
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
    pub(super) fn give_up_on_handshake(&mut self, now: Time, out: &mut Vec<Action>) {
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
