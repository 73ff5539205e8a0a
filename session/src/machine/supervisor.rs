//! The session's state, and what each event makes of it.

use super::backoff::Failures;
use super::generation::{Phase, Worker, earliest};
use super::reload::{Beside, Companion};
use super::{
    Action, CauseKind, Event, Generation, How, Jitter, Leaving, Notice, Policy, Polling, Time,
};

/// The pure supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Supervisor {
    pub(super) policy: Policy,
    pub(super) want: Want,
    pub(super) slot: Slot,
    pub(super) beside: Beside,
    /// Of the newest worker.
    pub(super) generation: Generation,
    /// Of the active worker, or of the one before while there is none.
    pub(super) active: Generation,
    pub(super) failures: Failures,
    /// Some worker of this session has been ready.
    pub(super) ever_ready: bool,
}

/// What the session is to be doing; a fact's counterpart is in [`Slot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Want {
    Run,
    Stop(Stop),
    /// [`Action::Finish`] is out.
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stop {
    pub(super) how: How,
    pub(super) code: u8,
    pub(super) accepted: Time,
    /// By when the monitor's exit handlers must be done; `None` once they are.
    pub(super) handlers: Option<Time>,
}

/// Where the active worker lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Empty,
    BackingOff { until: Time },
    Occupied(Worker),
}

/// The state in one word, for `status` and for the table of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Spawning,
    Handshaking,
    Starting,
    Ready,
    Draining,
    Terminating,
    Killing,
    Unkillable,
    Dead,
    BackingOff,
    /// Nothing runs but the monitor's own exit handlers.
    Closing,
    Finished,
}

impl Phase {
    pub(super) fn state(self) -> State {
        match self {
            Phase::Spawning => State::Spawning,
            Phase::Handshaking { .. } => State::Handshaking,
            Phase::Starting => State::Starting,
            Phase::Ready { .. } => State::Ready,
            Phase::Draining { .. } => State::Draining,
            Phase::Terminating { .. } => State::Terminating,
            Phase::Killing { .. } => State::Killing,
            Phase::Unkillable => State::Unkillable,
            Phase::Dead { .. } => State::Dead,
        }
    }
}

/// What `status` needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) state: State,
    /// Of the active worker, or of the one before while there is none.
    pub(crate) generation: Generation,
    pub(crate) companion: Option<(Generation, Companion)>,
    pub(crate) stopping: bool,
    pub(crate) next_deadline: Option<Time>,
}

impl Supervisor {
    /// A session begins, with its first worker.
    #[must_use]
    pub(crate) fn start(policy: Policy) -> (Supervisor, Vec<Action>) {
        let mut supervisor = Supervisor {
            policy,
            want: Want::Run,
            slot: Slot::Empty,
            beside: Beside::Nobody,
            generation: 0,
            active: 0,
            failures: Failures::default(),
            ever_ready: false,
        };
        let mut out = Vec::new();
        supervisor.spawn(&mut out);
        (supervisor, out)
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        if self.want == Want::Finished {
            return out;
        }
        match event {
            Event::Spawned { generation } => self.spawned(now, generation, &mut out),
            Event::SpawnFailed { generation, jitter } => {
                self.spawn_failed(now, generation, jitter, &mut out);
            }
            Event::Hello { generation } => {
                self.with_worker(now, generation, &mut out, |worker, policy, out| {
                    worker.hello(now, policy, out);
                });
            }
            Event::HandshakeFailed { generation } => {
                self.with_worker(now, generation, &mut out, |worker, _, out| {
                    worker.handshake_failed(now, out);
                });
            }
            Event::Ready { generation } => {
                self.with_worker(now, generation, &mut out, |worker, policy, out| {
                    worker.says_ready(now, policy, out);
                });
            }
            Event::Serves {
                generation,
                serving,
            } => self.with_worker(now, generation, &mut out, |worker, policy, out| {
                worker.serves(now, serving, policy, out);
            }),
            Event::Crashing { generation } => {
                self.with_worker(now, generation, &mut out, |worker, policy, _| {
                    worker.crashing(now, policy);
                });
            }
            Event::ChannelClosed { generation } => {
                let worker = self.worker(generation);
                if worker.is_some_and(|worker| worker.channel_closed(now)) {
                    self.ended(now, generation, &mut out);
                }
            }
            Event::Exited {
                generation,
                exit,
                jitter,
            } => {
                let worker = self.worker(generation);
                if worker.is_some_and(|worker| worker.exited(now, exit, jitter, &mut out)) {
                    self.ended(now, generation, &mut out);
                }
            }
            Event::Probed {
                generation,
                verdict,
            } => self.with_worker(now, generation, &mut out, |worker, policy, out| {
                worker.probed(now, verdict, policy, out);
            }),
            Event::Stop { how, code, asker } => self.stop(now, how, code, asker, &mut out),
            Event::Restart { how } => self.restart(now, how, &mut out),
            Event::Reload => self.reload(now, &mut out),
            Event::SetPolling {
                interval,
                timeout,
                now: at_once,
            } => {
                self.set_polling(now, Polling { interval, timeout }, at_once);
            }
            Event::HandlersDone => self.handlers_done(&mut out),
        }
        out
    }

    /// Everything that is due by now. Events that came before must be handled first, so that one
    /// that arrived in time beats its deadline.
    #[must_use]
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Vec<Action> {
        let mut out = Vec::new();
        if self.want == Want::Finished {
            return out;
        }
        match &mut self.slot {
            Slot::Empty => {}
            Slot::BackingOff { until } => {
                if *until <= now {
                    self.spawn(&mut out);
                }
            }
            Slot::Occupied(worker) => {
                if worker.handle_timeout(now, &self.policy, &mut out) {
                    let generation = worker.generation;
                    self.ended(now, generation, &mut out);
                }
            }
        }
        if let Some(worker) = self.beside.worker_mut() {
            if worker.handle_timeout(now, &self.policy, &mut out) {
                let generation = worker.generation;
                self.ended(now, generation, &mut out);
            }
            self.accompany_active(now, &mut out);
        }
        if let Want::Stop(stop) = &mut self.want
            && stop.handlers.is_some_and(|deadline| deadline <= now)
        {
            stop.handlers = None;
            out.push(Action::Tell(Notice::HandlersOverdue));
        }
        self.finish_if_over(&mut out);
        out
    }

    #[must_use]
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        if self.want == Want::Finished {
            return None;
        }
        let slot = match &self.slot {
            Slot::Empty => None,
            Slot::BackingOff { until } => Some(*until),
            Slot::Occupied(worker) => worker.next_deadline(),
        };
        let handlers = match self.want {
            Want::Run | Want::Finished => None,
            Want::Stop(stop) => stop.handlers,
        };
        let beside = self.beside.worker().and_then(Worker::next_deadline);
        earliest([slot, beside, handlers])
    }

    #[must_use]
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            state: self.state(),
            generation: self.active,
            companion: self.beside.companion(),
            stopping: self.want != Want::Run,
            next_deadline: self.next_deadline(),
        }
    }

    #[must_use]
    pub(crate) fn state(&self) -> State {
        if self.want == Want::Finished {
            return State::Finished;
        }
        match &self.slot {
            Slot::Empty => State::Closing,
            Slot::BackingOff { .. } => State::BackingOff,
            Slot::Occupied(worker) => worker.phase.state(),
        }
    }

    /// The living (or just dead) worker of that generation; events of any other are stale.
    fn worker(&mut self, generation: Generation) -> Option<&mut Worker> {
        match &mut self.slot {
            Slot::Occupied(worker) if worker.generation == generation => Some(worker),
            Slot::Occupied(_) | Slot::Empty | Slot::BackingOff { .. } => self
                .beside
                .worker_mut()
                .filter(|worker| worker.generation == generation),
        }
    }

    fn with_worker(
        &mut self,
        now: Time,
        generation: Generation,
        out: &mut Vec<Action>,
        act: impl FnOnce(&mut Worker, &Policy, &mut Vec<Action>),
    ) {
        let policy = self.policy;
        if let Some(worker) = self.worker(generation) {
            act(worker, &policy, out);
            self.take_over_if_ready(now, out);
            self.ever_ready |= self.state() == State::Ready;
        }
    }

    /// A new worker, and the action that makes its process.
    pub(super) fn new_worker(&mut self, accompanied: bool, out: &mut Vec<Action>) -> Worker {
        self.generation += 1;
        let generation = self.generation;
        out.push(Action::Spawn { generation });
        Worker::new(generation, accompanied, &self.policy)
    }

    pub(super) fn spawn(&mut self, out: &mut Vec<Action>) {
        let accompanied = self.beside.can_answer();
        let worker = self.new_worker(accompanied, out);
        self.active = worker.generation;
        self.slot = Slot::Occupied(worker);
    }

    fn spawned(&mut self, now: Time, generation: Generation, out: &mut Vec<Action>) {
        self.with_worker(now, generation, out, |worker, policy, out| {
            worker.spawned(now, policy, out);
        });
    }

    fn spawn_failed(
        &mut self,
        now: Time,
        generation: Generation,
        jitter: Jitter,
        out: &mut Vec<Action>,
    ) {
        let worker = self.worker(generation);
        if !worker.is_some_and(|worker| worker.can_fail_to_spawn()) {
            return;
        }
        out.push(Action::Report {
            generation,
            cause: CauseKind::SpawnError,
        });
        if self.beside.is(generation) {
            self.companion_is_gone(now, out);
            return;
        }
        self.slot = Slot::Empty;
        match self.want {
            Want::Run => self.back_off(now, false, jitter, out),
            Want::Stop(_) | Want::Finished => self.finish_if_over(out),
        }
    }

    /// `false`, and told: once a stop is accepted no worker follows another.
    pub(super) fn may_replace(&self, out: &mut Vec<Action>) -> bool {
        match self.want {
            Want::Run => true,
            Want::Stop(_) | Want::Finished => {
                out.push(Action::Tell(Notice::AlreadyStopping));
                false
            }
        }
    }

    fn restart(&mut self, now: Time, how: How, out: &mut Vec<Action>) {
        if !self.may_replace(out) {
            return;
        }
        match &mut self.slot {
            Slot::Empty => {}
            Slot::BackingOff { .. } => {
                out.push(Action::Tell(Notice::RestartingAtOnce));
                self.spawn(out);
            }
            Slot::Occupied(worker) => match worker.phase {
                Phase::Spawning
                | Phase::Handshaking { .. }
                | Phase::Starting
                | Phase::Ready { .. } => {
                    out.push(Action::Tell(Notice::Restarting { how }));
                    worker.leave(now, Leaving::Restart, how, &self.policy, out);
                }
                Phase::Draining { .. } | Phase::Terminating { .. } => {
                    out.push(Action::Tell(Notice::Restarting { how: How::Force }));
                    worker.leave(now, Leaving::Restart, How::Force, &self.policy, out);
                }
                Phase::Killing { .. } | Phase::Dead { .. } => {
                    out.push(Action::Tell(Notice::AlreadyRestarting));
                }
                Phase::Unkillable => out.push(Action::Tell(Notice::CannotRestart)),
            },
        }
    }

    fn set_polling(&mut self, now: Time, polling: Polling, at_once: bool) {
        if self.policy.polling.is_none() {
            return;
        }
        self.policy.polling = Some(polling);
        if !at_once {
            return;
        }
        if let Slot::Occupied(worker) = &mut self.slot {
            worker.set_polling(now, polling);
        }
        if let Some(worker) = self.beside.worker_mut() {
            worker.set_polling(now, polling);
        }
    }
}
