//! How one worker takes over from another that still serves.
//!
//! The new one starts beside the active one. Once it is ready it becomes the active one, and the
//! old one drains. Until then nothing that happens to it touches the active one; and if the active
//! one dies meanwhile, the new one, which is on its way already, takes its place as it is.

use super::ended::report;
use super::generation::{Phase, Worker};
use super::supervisor::{Slot, Supervisor, Want};
use super::{Action, Generation, How, Leaving, Notice, Serving, Time};

/// The worker beside the active one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Beside {
    Nobody,
    /// It is to take over once it is ready.
    Incoming(Worker),
    /// It drains: its successor is the active one.
    Outgoing(Worker),
}

/// What the worker beside the active one is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Companion {
    Incoming,
    Outgoing,
}

impl Beside {
    pub(super) fn worker(&self) -> Option<&Worker> {
        match self {
            Beside::Nobody => None,
            Beside::Incoming(worker) | Beside::Outgoing(worker) => Some(worker),
        }
    }

    pub(super) fn worker_mut(&mut self) -> Option<&mut Worker> {
        match self {
            Beside::Nobody => None,
            Beside::Incoming(worker) | Beside::Outgoing(worker) => Some(worker),
        }
    }

    pub(super) fn is(&self, generation: Generation) -> bool {
        self.worker()
            .is_some_and(|worker| worker.generation == generation)
    }

    /// Is there one that can take the active one's place? Not one that has to go itself: to wait
    /// for its end may take the whole grace period.
    pub(super) fn has_heir(&self) -> bool {
        match self {
            Beside::Incoming(worker) => worker.leaving.is_none() && !worker.is_dead(),
            Beside::Nobody | Beside::Outgoing(_) => false,
        }
    }

    /// May there be answers from it where the active one accepts?
    pub(super) fn can_answer(&self) -> bool {
        self.worker()
            .is_some_and(|worker| !worker.is_unkillable() && !worker.is_dead())
    }

    pub(super) fn companion(&self) -> Option<(Generation, Companion)> {
        match self {
            Beside::Nobody => None,
            Beside::Incoming(worker) => Some((worker.generation, Companion::Incoming)),
            Beside::Outgoing(worker) => Some((worker.generation, Companion::Outgoing)),
        }
    }

    fn take(&mut self) -> Beside {
        std::mem::replace(self, Beside::Nobody)
    }
}

impl Supervisor {
    pub(super) fn reload(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.may_replace(out) {
            return;
        }
        match &mut self.slot {
            Slot::Empty => {}
            // Nobody serves, so there is nobody to wait for.
            Slot::BackingOff { .. } => {
                out.push(Action::Tell(Notice::RestartingAtOnce));
                self.spawn(out);
            }
            // There is one that nothing can end, and two is all there may be.
            Slot::Occupied(_) if self.beside.worker().is_some_and(Worker::is_unkillable) => {
                out.push(Action::Tell(Notice::CannotRestart));
            }
            Slot::Occupied(_) if self.beside.worker().is_some() => {
                out.push(Action::Tell(Notice::AlreadyReloading));
            }
            Slot::Occupied(worker) => match worker.phase {
                Phase::Spawning
                | Phase::Handshaking { .. }
                | Phase::Starting
                | Phase::Ready { .. } => {
                    if worker.serving == Serving::Own {
                        out.push(Action::Tell(Notice::CannotReload));
                    } else {
                        self.begin_reload(now, out);
                    }
                }
                Phase::Draining { .. }
                | Phase::Terminating { .. }
                | Phase::Killing { .. }
                | Phase::Dead { .. } => out.push(Action::Tell(Notice::AlreadyRestarting)),
                Phase::Unkillable => out.push(Action::Tell(Notice::CannotRestart)),
            },
        }
    }

    fn begin_reload(&mut self, now: Time, out: &mut Vec<Action>) {
        let generation = self.generation + 1;
        out.push(Action::Tell(Notice::Reloading { generation }));
        self.beside = Beside::Incoming(self.new_worker(true, out));
        self.accompany_active(now, out);
    }

    /// Tells the active worker whether somebody is beside it.
    pub(super) fn accompany_active(&mut self, now: Time, out: &mut Vec<Action>) {
        let accompanied = self.beside.can_answer();
        if let Slot::Occupied(worker) = &mut self.slot {
            worker.set_accompanied(now, accompanied, &self.policy, out);
            self.ever_ready |= worker.is_ready();
        }
    }

    pub(super) fn take_over_if_ready(&mut self, now: Time, out: &mut Vec<Action>) {
        // What its death means is decided in a moment, and with it who follows: a policy that ends
        // the session, or a limit, is not to depend on which of the two was faster.
        if matches!(&self.slot, Slot::Occupied(worker) if worker.is_dead()) {
            return;
        }
        match self.beside.take() {
            Beside::Incoming(worker) if worker.is_ready() => self.take_over(now, worker, out),
            other @ (Beside::Nobody | Beside::Incoming(_) | Beside::Outgoing(_)) => {
                self.beside = other;
            }
        }
    }

    fn take_over(&mut self, now: Time, heir: Worker, out: &mut Vec<Action>) {
        self.succeed(heir.generation, out);
        match std::mem::replace(&mut self.slot, Slot::Occupied(heir)) {
            Slot::Empty | Slot::BackingOff { .. } => {}
            Slot::Occupied(mut old) => {
                old.leave(now, Leaving::Restart, How::Clean, &self.policy, out);
                self.beside = Beside::Outgoing(old);
                self.accompany_active(now, out);
            }
        }
    }

    /// The active worker is gone; the incoming one is it now, however far it is.
    /// `false`: there is none.
    pub(super) fn promote(&mut self, now: Time, out: &mut Vec<Action>) -> bool {
        if !self.beside.has_heir() {
            return false;
        }
        let Beside::Incoming(heir) = self.beside.take() else {
            return false;
        };
        self.succeed(heir.generation, out);
        self.slot = Slot::Occupied(heir);
        self.accompany_active(now, out);
        true
    }

    fn succeed(&mut self, generation: Generation, out: &mut Vec<Action>) {
        self.active = generation;
        out.push(Action::TakeOver { generation });
        out.push(Action::Tell(Notice::TookOver { generation }));
    }

    /// The worker beside the active one is dead, and what it had to say is in.
    pub(super) fn companion_ended(&mut self, now: Time, out: &mut Vec<Action>) {
        if let Some(worker) = self.beside.worker() {
            report(worker, worker.crash(), out);
        }
        self.companion_is_gone(now, out);
    }

    pub(super) fn companion_is_gone(&mut self, now: Time, out: &mut Vec<Action>) {
        match (self.want, self.beside.take()) {
            (Want::Run, Beside::Incoming(Worker { generation, .. })) => {
                out.push(Action::Tell(Notice::ReloadFailed { generation }));
            }
            (Want::Run, Beside::Nobody | Beside::Outgoing(_))
            | (Want::Stop(_) | Want::Finished, _) => {}
        }
        self.accompany_active(now, out);
        self.finish_if_over(out);
    }
}
