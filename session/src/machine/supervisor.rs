//! The session's state, and what each event makes of it.

use super::backoff::{Failures, Next};
use super::generation::{Phase, Worker, earliest};
use super::reload::{Beside, Companion};
use super::{
    Action, Asker, CauseKind, Event, Exit, FINAL_CODES, GAVE_UP_CODE, Generation,
    HANDLERS_BEYOND_GRACE, HANDLERS_FORCED, How, Jitter, Leaving, Notice, Policy, Polling,
    Restarts, SIGNAL_DEBOUNCE, Time, UNKILLABLE_CODE,
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
    how: How,
    code: u8,
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

    /// The worker is dead and everything it had to say is in: what now?
    fn ended(&mut self, now: Time, generation: Generation, out: &mut Vec<Action>) {
        if self.beside.is(generation) {
            self.companion_ended(now, out);
        } else {
            self.active_ended(now, out);
        }
    }

    fn active_ended(&mut self, now: Time, out: &mut Vec<Action>) {
        let Slot::Occupied(worker) = std::mem::replace(&mut self.slot, Slot::Empty) else {
            return;
        };
        let Phase::Dead { exit, jitter, .. } = worker.phase else {
            return;
        };
        match (self.want, worker.crash()) {
            (Want::Stop(_) | Want::Finished, crash) => {
                report(&worker, crash, out);
                self.finish_if_over(out);
            }
            (Want::Run, None) => self.replace(now, out),
            (Want::Run, crash @ Some(cause)) => match self.final_code(exit, cause) {
                Some(Final { code, is_crash }) => {
                    report(&worker, crash.filter(|_| is_crash), out);
                    out.push(Action::Tell(Notice::EndedByItself { exit }));
                    self.close(now, code, out);
                }
                None => {
                    report(&worker, crash, out);
                    let stable = worker
                        .ready_for
                        .is_some_and(|ready_for| ready_for >= self.policy.backoff.stable);
                    self.back_off(now, stable, jitter, out);
                }
            },
        }
    }

    /// Does the session end with this worker, and with which code?
    fn final_code(&self, exit: Exit, cause: CauseKind) -> Option<Final> {
        let by_itself = cause == CauseKind::Exit;
        if let Exit::Code(code) = exit
            && by_itself
            && !self.ever_ready
            && FINAL_CODES.contains(&code)
        {
            return Some(Final {
                code,
                is_crash: false,
            });
        }
        match self.policy.restarts {
            Restarts::Always => None,
            Restarts::OnFailure if by_itself && exit == Exit::Code(0) => Some(Final {
                code: 0,
                is_crash: false,
            }),
            Restarts::OnFailure => None,
            Restarts::Never => Some(Final {
                code: shell_code(exit),
                is_crash: !(by_itself && exit == Exit::Code(0)),
            }),
        }
    }

    fn back_off(&mut self, now: Time, stable: bool, jitter: Jitter, out: &mut Vec<Action>) {
        let policy = &self.policy;
        match self
            .failures
            .count(now, stable, &policy.backoff, policy.limit, jitter)
        {
            Next::GiveUp { failures, within } => {
                out.push(Action::Tell(Notice::GaveUp { failures, within }));
                self.close(now, GAVE_UP_CODE, out);
            }
            Next::Restart { delay } if delay.is_zero() || self.beside.has_heir() => {
                self.replace(now, out);
            }
            Next::Restart { delay } => {
                out.push(Action::Tell(Notice::RestartingIn { delay }));
                self.slot = Slot::BackingOff { until: now + delay };
            }
        }
    }

    /// By the worker that is starting already, if there is one.
    fn replace(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.promote(now, out) {
            out.push(Action::Tell(Notice::RestartingAtOnce));
            self.spawn(out);
        }
    }

    fn stop(&mut self, now: Time, how: How, code: u8, asker: Asker, out: &mut Vec<Action>) {
        match self.want {
            Want::Run => {
                out.push(Action::Tell(Notice::Stopping { how }));
                self.accept_stop(now, how, code, out);
            }
            Want::Stop(stop) => self.escalate(now, stop, how, asker, out),
            Want::Finished => {}
        }
    }

    /// The session ends without its worker, which is gone already.
    fn close(&mut self, now: Time, code: u8, out: &mut Vec<Action>) {
        self.accept_stop(now, How::Clean, code, out);
    }

    fn accept_stop(&mut self, now: Time, how: How, code: u8, out: &mut Vec<Action>) {
        let within = match how {
            How::Clean => self.policy.grace + HANDLERS_BEYOND_GRACE,
            How::Force => HANDLERS_FORCED,
        };
        self.want = Want::Stop(Stop {
            how,
            code,
            accepted: now,
            handlers: Some(now + within),
        });
        out.push(Action::RunExitHandlers { within });
        if let Slot::BackingOff { .. } = self.slot {
            self.slot = Slot::Empty;
        }
        self.all_leave(now, how, out);
        self.finish_if_over(out);
    }

    /// A second request makes a stop a forced one; none makes it gentler.
    fn escalate(&mut self, now: Time, stop: Stop, how: How, asker: Asker, out: &mut Vec<Action>) {
        let same_request = match asker {
            Asker::Signal => now < stop.accepted + SIGNAL_DEBOUNCE,
            // The exit handlers of a worker may well ask for what is happening already. A terminal
            // goes away once and is told of twice: by its shell, which hands the hang-up on, and
            // by the system, when that shell has ended in its own time.
            Asker::Worker | Asker::HangUp => how == How::Clean,
            Asker::Operator => false,
        };
        if same_request || stop.how == How::Force {
            return;
        }
        out.push(Action::Tell(Notice::Forcing));
        let forced = now + HANDLERS_FORCED;
        let handlers = stop.handlers.map(|deadline| deadline.min(forced));
        self.want = Want::Stop(Stop {
            how: How::Force,
            handlers,
            ..stop
        });
        self.all_leave(now, How::Force, out);
        self.finish_if_over(out);
    }

    fn all_leave(&mut self, now: Time, how: How, out: &mut Vec<Action>) {
        if let Slot::Occupied(worker) = &mut self.slot {
            worker.leave(now, Leaving::Stop, how, &self.policy, out);
        }
        if let Some(worker) = self.beside.worker_mut() {
            worker.leave(now, Leaving::Stop, how, &self.policy, out);
        }
    }

    fn restart(&mut self, now: Time, how: How, out: &mut Vec<Action>) {
        match self.want {
            Want::Run => {}
            Want::Stop(_) | Want::Finished => {
                out.push(Action::Tell(Notice::AlreadyStopping));
                return;
            }
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

    fn handlers_done(&mut self, out: &mut Vec<Action>) {
        match &mut self.want {
            Want::Run | Want::Finished => {}
            Want::Stop(stop) => {
                stop.handlers = None;
                self.finish_if_over(out);
            }
        }
    }

    /// A stop is over when the monitor's handlers are done and no worker is left that could be
    /// waited for.
    pub(super) fn finish_if_over(&mut self, out: &mut Vec<Action>) {
        let Want::Stop(stop) = self.want else { return };
        if stop.handlers.is_some() {
            return;
        }
        let active = match &self.slot {
            Slot::Empty => None,
            Slot::BackingOff { .. } => return,
            Slot::Occupied(worker) => Some(worker),
        };
        let mut code = stop.code;
        for worker in active.into_iter().chain(self.beside.worker()) {
            if worker.phase != Phase::Unkillable {
                return;
            }
            code = UNKILLABLE_CODE;
        }
        self.want = Want::Finished;
        out.push(Action::Finish { code });
    }
}

/// How a session ends with its worker.
struct Final {
    code: u8,
    is_crash: bool,
}

pub(super) fn report(worker: &Worker, crash: Option<CauseKind>, out: &mut Vec<Action>) {
    let generation = worker.generation;
    out.extend(crash.map(|cause| Action::Report { generation, cause }));
}

fn shell_code(exit: Exit) -> u8 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(number) => number.saturating_add(128),
        Exit::Unknown => 1,
    }
}
