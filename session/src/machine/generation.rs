//! The life of one worker, from spawn to death.

use std::time::Duration;

use super::probing::Probes;
use super::{
    Action, CHANNEL_LOST, Exit, Generation, HANDSHAKE_TIMEOUT, Jitter, Leaving, Notice, Policy,
    SETTLE, Serving, Time,
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
    pub(super) accompanied: bool,
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
}

pub(crate) fn earliest<const N: usize>(deadlines: [Option<Time>; N]) -> Option<Time> {
    deadlines.into_iter().flatten().min()
}
