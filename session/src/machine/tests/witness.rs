//! A session, and somebody who watches it: what must hold after every step, whatever came before.
//!
//! The witness keeps its own account of the processes and believes no field of the supervisor's
//! that it can work out itself. It is small and comparable, so that it can be part of a state.

use super::*;
use crate::machine::generation::{Phase, Worker};
use crate::machine::reload::Beside;
use crate::machine::supervisor::Slot;

/// From a forced stop on, no more wakes than this until the session is over: the handlers, and
/// for each of two workers its reaping and its last words.
const WAKES_TO_FINISH: usize = 5;
/// What is due is done within so many calls.
const MOST_CALLS: usize = 16;

/// What was broken, in words.
pub(super) type Held<T = ()> = Result<T, String>;

macro_rules! hold {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+));
        }
    };
}

/// A worker as the world sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub(super) generation: Generation,
    pub(super) process: Process,
    end: End,
    /// Started beside the active one, and has not taken over.
    incoming: bool,
    reload_failed: bool,
    reported: bool,
    unkillable: bool,
    serving: Serving,
    rank: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Process {
    Asked,
    Runs,
    NotMade,
    Reaped,
}

/// The first thing that made it leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    Stays,
    Planned,
    Unplanned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Handlers {
    NotRun,
    Running,
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Witness {
    pub(super) supervisor: Supervisor,
    pub(super) now: Time,
    /// A third one is there only for as long as one list of actions is read.
    pub(super) seen: [Option<Seen>; 3],
    pub(super) newest: Generation,
    stop_accepted: bool,
    pub(super) handlers: Handlers,
    pub(super) finished: bool,
}

impl Seen {
    fn new(generation: Generation, incoming: bool) -> Seen {
        Seen {
            generation,
            process: Process::Asked,
            end: End::Stays,
            incoming,
            reload_failed: false,
            reported: false,
            unkillable: false,
            serving: Serving::Own,
            rank: 0,
        }
    }

    /// There may be a process.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.process, Process::Asked | Process::Runs)
    }

    fn leaves(&mut self, end: End) {
        if self.end == End::Stays {
            self.end = end;
        }
    }
}

impl Witness {
    pub(super) fn new(policy: Policy) -> Witness {
        let (supervisor, _) = Supervisor::start(policy);
        Witness {
            supervisor,
            now: secs(1000),
            seen: [Some(Seen::new(1, false)), None, None],
            newest: 1,
            stop_accepted: false,
            handlers: Handlers::NotRun,
            finished: false,
        }
    }

    /// One event.
    pub(super) fn event(&mut self, event: Event) -> Held<Vec<Action>> {
        self.note(event);
        let actions = self.supervisor.handle(self.now, event);
        let asked = matches!(event, Event::Stop { .. } | Event::Restart { .. });
        self.check(asked, &actions)?;
        Ok(actions)
    }

    /// One look at the clock.
    pub(super) fn timeout(&mut self) -> Held<Vec<Action>> {
        let actions = self.supervisor.handle_timeout(self.now);
        self.check(false, &actions)?;
        Ok(actions)
    }

    /// Everything that is due, until nothing is.
    pub(super) fn pass(&mut self, wait: Duration) -> Held<Vec<Action>> {
        self.now += wait;
        let mut actions = Vec::new();
        for _ in 0..MOST_CALLS {
            actions.extend(self.timeout()?);
            match self.supervisor.next_deadline() {
                Some(deadline) if deadline <= self.now => {}
                Some(_) | None => return Ok(actions),
            }
        }
        Err("it wakes again and again".to_owned())
    }

    /// The next deadline.
    pub(super) fn due(&mut self) -> Held<Vec<Action>> {
        let deadline = self.supervisor.next_deadline();
        self.now = self.now.max(deadline.unwrap_or(self.now));
        self.timeout()
    }

    pub(super) fn force_to_the_end(&mut self, is_reaped: bool) -> Held {
        self.event(operator_stop(How::Force))?;
        for seen in self.seen.into_iter().flatten() {
            if is_reaped && seen.is_there() {
                self.event(exited(seen.generation, Exit::Signal(9)))?;
                self.event(closed(seen.generation))?;
            }
        }
        for _ in 0..WAKES_TO_FINISH {
            if self.supervisor.next_deadline().is_none() {
                break;
            }
            self.due()?;
        }
        hold!(self.finished, "a forced stop does not end");
        hold!(
            self.supervisor.next_deadline().is_none(),
            "it is over and has a deadline"
        );
        Ok(())
    }

    pub(super) fn active(&self) -> Option<&Worker> {
        match &self.supervisor.slot {
            Slot::Occupied(worker) => Some(worker),
            Slot::Empty | Slot::BackingOff { .. } => None,
        }
    }

    pub(super) fn companion(&self) -> Option<&Worker> {
        self.supervisor.beside.worker()
    }

    pub(super) fn seen(&self, generation: Generation) -> Option<&Seen> {
        let mut all = self.seen.iter().flatten();
        all.find(|seen| seen.generation == generation)
    }

    fn seen_mut(&mut self, generation: Generation) -> Option<&mut Seen> {
        let mut all = self.seen.iter_mut().flatten();
        all.find(|seen| seen.generation == generation)
    }

    /// What the event itself says about the world.
    fn note(&mut self, event: Event) {
        match event {
            Event::Stop { .. } => self.stop_accepted = true,
            Event::HandlersDone if self.handlers == Handlers::Running => {
                self.handlers = Handlers::Done;
            }
            Event::HandlersDone | Event::Restart { .. } | Event::Reload => {}
            Event::SetPolling { .. } => {}
            Event::Spawned { generation }
            | Event::SpawnFailed { generation, .. }
            | Event::Hello { generation }
            | Event::HandshakeFailed { generation }
            | Event::Ready { generation }
            | Event::Serves { generation, .. }
            | Event::Crashing { generation }
            | Event::ChannelClosed { generation }
            | Event::Exited { generation, .. }
            | Event::Probed { generation, .. } => {
                if let Some(seen) = self.seen_mut(generation) {
                    seen.note(event);
                }
            }
        }
    }

    fn check(&mut self, asked: bool, actions: &[Action]) -> Held {
        hold!(
            !self.finished || actions.is_empty(),
            "actions after the end"
        );
        for (at, &action) in actions.iter().enumerate() {
            self.action(asked, action, &actions[..at])?;
        }
        if self.finished {
            return Ok(());
        }
        self.check_ends(actions)?;
        self.check_present()?;
        self.check_progress()
    }

    fn there(&mut self, generation: Generation, action: Action) -> Held<&mut Seen> {
        match self.seen_mut(generation) {
            Some(seen) if seen.is_there() => Ok(seen),
            Some(_) | None => Err(format!("{action:?} of a worker that is not there")),
        }
    }

    fn action(&mut self, asked: bool, action: Action, before: &[Action]) -> Held {
        match action {
            Action::Spawn { generation } => self.spawned(generation, before)?,
            Action::Probe { generation, .. } => {
                let alone = self.is_alone(generation);
                let seen = self.there(generation, action)?;
                hold!(seen.end == End::Stays, "a probe of a worker that leaves");
                hold!(
                    alone || seen.serving == Serving::Private,
                    "a probe of worker {generation} that another one may answer"
                );
            }
            Action::AskToExit { generation, why } => {
                let planned = matches!(why, Leaving::Stop | Leaving::Restart);
                let end = if planned {
                    End::Planned
                } else {
                    End::Unplanned
                };
                self.there(generation, action)?.leaves(end);
            }
            Action::Terminate { generation } => {
                self.there(generation, action)?.leaves(End::Unplanned);
            }
            Action::Kill { generation } => {
                let end = if asked { End::Planned } else { End::Unplanned };
                self.there(generation, action)?.leaves(end);
            }
            Action::TakeOver { generation } => self.takes_over(generation, action)?,
            Action::Report { generation, .. } => {
                let Some(seen) = self.seen_mut(generation) else {
                    return Err(format!("{action:?} of nobody"));
                };
                hold!(!seen.reported, "{action:?} twice");
                seen.reported = true;
            }
            Action::RunExitHandlers { .. } => {
                hold!(self.handlers == Handlers::NotRun, "exit handlers run twice");
                self.handlers = Handlers::Running;
                self.stop_accepted = true;
            }
            Action::Tell(notice) => self.told(notice, before)?,
            Action::Finish { code } => self.finishes(code)?,
        }
        Ok(())
    }

    fn spawned(&mut self, generation: Generation, before: &[Action]) -> Held {
        hold!(!self.stop_accepted, "a spawn after a stop");
        hold!(
            generation == self.newest + 1,
            "worker {generation} is not the next one"
        );
        let there = self.seen.iter().flatten().filter(|seen| seen.is_there());
        hold!(there.count() < 2, "a third worker");
        self.newest = generation;
        let incoming = before.last() == Some(&tell(Notice::Reloading { generation }));
        let Some(free) = self.seen.iter_mut().find(|seen| seen.is_none()) else {
            return Err("more workers than there can be".to_owned());
        };
        *free = Some(Seen::new(generation, incoming));
        Ok(())
    }

    fn takes_over(&mut self, generation: Generation, action: Action) -> Held {
        hold!(!self.stop_accepted, "{action:?} after a stop");
        let seen = self.there(generation, action)?;
        hold!(seen.incoming, "{action:?} of one that is active already");
        hold!(seen.end == End::Stays, "{action:?} of one that leaves");
        seen.incoming = false;
        let old = self.seen.iter().flatten();
        hold!(
            old.clone().all(|old| old.generation == generation
                || !old.is_there()
                || old.end != End::Stays
                || self
                    .companion()
                    .is_some_and(|beside| beside.generation == old.generation)),
            "{action:?} and the old one is forgotten"
        );
        hold!(
            self.active()
                .is_some_and(|worker| worker.generation == generation),
            "{action:?}, and it is not the active one"
        );
        Ok(())
    }

    fn told(&mut self, notice: Notice, before: &[Action]) -> Held {
        match notice {
            Notice::Unkillable { generation } => {
                self.there(generation, tell(notice))?.unkillable = true;
            }
            Notice::TookOver { generation } => {
                let over = Action::TakeOver { generation };
                hold!(before.last() == Some(&over), "{notice:?} and it did not");
            }
            Notice::ReloadFailed { generation } => {
                let seen = self.seen_mut(generation);
                let first = seen.is_some_and(|seen| {
                    seen.incoming && !std::mem::replace(&mut seen.reload_failed, true)
                });
                hold!(first, "{notice:?} and it did not, or was told before");
            }
            Notice::HandlersOverdue => self.handlers = Handlers::Done,
            _ => {}
        }
        Ok(())
    }

    fn finishes(&mut self, code: u8) -> Held {
        hold!(!self.finished, "finished twice");
        hold!(
            self.handlers == Handlers::Done,
            "finished before the handlers"
        );
        self.finished = true;
        let mut there = self.seen.iter().flatten().filter(|seen| seen.is_there());
        let left = there.clone().next().is_some();
        hold!(
            there.all(|seen| seen.unkillable),
            "finished before a worker"
        );
        hold!(
            left == (code == UNKILLABLE_CODE),
            "finished with {code}, left behind: {left}"
        );
        Ok(())
    }

    /// Nobody else is there who could answer.
    fn is_alone(&self, generation: Generation) -> bool {
        let mut all = self.seen.iter().flatten();
        all.all(|seen| seen.generation == generation || !seen.is_there() || seen.unkillable)
    }

    /// Workers that the supervisor holds no more: were they gone, and reported as they should?
    fn check_ends(&mut self, actions: &[Action]) -> Held {
        let present = [self.active(), self.companion()].map(|worker| worker.map(|w| w.generation));
        let by_itself = actions
            .iter()
            .any(|action| matches!(action, Action::Tell(Notice::EndedByItself { .. })));
        for slot in &mut self.seen {
            let Some(seen) = *slot else { continue };
            if present.contains(&Some(seen.generation)) {
                continue;
            }
            hold!(!seen.is_there(), "a living worker is forgotten: {seen:?}");
            let planned = seen.process == Process::Reaped && seen.end == End::Planned;
            let waived = by_itself && !seen.incoming;
            hold!(
                seen.reported != planned || (waived && !seen.reported),
                "its report: {seen:?}"
            );
            hold!(
                seen.reload_failed || !seen.incoming || self.stop_accepted,
                "a reload that failed is not told: {seen:?}"
            );
            *slot = None;
        }
        // Equal accounts are to look equal.
        self.seen
            .sort_unstable_by_key(|seen| seen.map_or(Generation::MAX, |s| s.generation));
        Ok(())
    }

    /// Workers that the supervisor holds: are they what they seem, and do they only leave?
    fn check_present(&mut self) -> Held {
        hold!(self.seen[2].is_none(), "three workers");
        let incoming = matches!(self.supervisor.beside, Beside::Incoming(_));
        let active = self
            .active()
            .map(|worker| (worker.generation, worker.phase, false));
        let beside = self
            .companion()
            .map(|worker| (worker.generation, worker.phase, incoming));
        if let Some((generation, ..)) = active {
            let told = self.supervisor.snapshot().generation;
            hold!(
                told == generation,
                "worker {told} is told of as the active one"
            );
        }
        for (generation, phase, incoming) in active.into_iter().chain(beside) {
            let Some(seen) = self.seen_mut(generation) else {
                return Err(format!("worker {generation} was never asked for"));
            };
            hold!(seen.incoming == incoming, "its place: {seen:?}");
            let now = rank(phase);
            hold!(seen.rank <= now, "back to {phase:?}: {seen:?}");
            hold!(
                matches!(phase, Phase::Dead { .. }) == (seen.process == Process::Reaped),
                "in {phase:?}: {seen:?}"
            );
            seen.rank = now;
        }
        Ok(())
    }

    /// Is something sure to follow?
    fn check_progress(&self) -> Held {
        if self.stop_accepted {
            let mut there = self.seen.iter().flatten().filter(|seen| seen.is_there());
            hold!(
                there.all(|seen| seen.end != End::Stays),
                "one stays after a stop"
            );
        } else {
            hold!(self.supervisor.slot != Slot::Empty, "nobody is to come");
        }
        if let Some(worker) = self.active() {
            self.check_health(worker)?;
        }
        for worker in self.active().into_iter().chain(self.companion()) {
            let waits_for_others = matches!(
                worker.phase,
                Phase::Spawning | Phase::Ready { .. } | Phase::Unkillable
            );
            hold!(
                waits_for_others || worker.next_deadline().is_some(),
                "worker {} waits for ever in {:?}",
                worker.generation,
                worker.phase
            );
        }
        if let Beside::Incoming(worker) = &self.supervisor.beside
            && worker.is_ready()
        {
            let undecided = self.active().is_some_and(Worker::is_dead);
            hold!(undecided, "the new one is ready and does not take over");
        }
        Ok(())
    }

    /// A worker that can be told from all others is probed, and a handshake makes it ready.
    fn check_health(&self, worker: &Worker) -> Held {
        let Some(seen) = self.seen(worker.generation) else {
            return Err("an active worker that nobody saw".to_owned());
        };
        // One that is reaped counts until its last words are in.
        let companion = self
            .companion()
            .and_then(|beside| self.seen(beside.generation));
        let alone = companion.is_none_or(|beside| beside.unkillable && beside.is_there());
        let policy = &self.supervisor.policy;
        let probed = policy.polling.is_some() && (alone || seen.serving == Serving::Private);
        match worker.phase {
            Phase::Ready { .. } => hold!(
                !probed || worker.probes.next_deadline().is_some(),
                "worker {} is never probed again",
                worker.generation
            ),
            Phase::Starting => {
                let waits_for_hello = policy.readiness == Readiness::Hello && alone;
                hold!(!waits_for_hello, "a handshake is not enough");
                let waits_for_probe = policy.readiness == Readiness::Probe && probed;
                hold!(
                    !waits_for_probe || worker.probes.next_deadline().is_some(),
                    "worker {} waits for a probe that does not come",
                    worker.generation
                );
            }
            Phase::Spawning
            | Phase::Handshaking { .. }
            | Phase::Draining { .. }
            | Phase::Terminating { .. }
            | Phase::Killing { .. }
            | Phase::Unkillable
            | Phase::Dead { .. } => {}
        }
        Ok(())
    }
}

impl Seen {
    fn note(&mut self, event: Event) {
        match event {
            Event::Spawned { .. } if self.process == Process::Asked => {
                self.process = Process::Runs;
            }
            Event::SpawnFailed { .. } if self.process == Process::Asked => {
                self.process = Process::NotMade;
            }
            Event::Exited { .. } if self.is_there() => {
                self.process = Process::Reaped;
                self.leaves(End::Unplanned);
            }
            // Before its process exists it cannot have spoken.
            Event::Crashing { .. } if (HANDSHAKING..=READY).contains(&self.rank) => {
                self.leaves(End::Unplanned);
            }
            Event::Serves { serving, .. } => self.serving = self.serving.max(serving),
            _ => {}
        }
    }
}

const HANDSHAKING: u8 = 1;
const READY: u8 = 3;

/// How far a worker is; it never goes back.
fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Spawning => 0,
        Phase::Handshaking { .. } => HANDSHAKING,
        Phase::Starting => 2,
        Phase::Ready { .. } => READY,
        Phase::Draining { .. } => 4,
        Phase::Terminating { .. } => 5,
        Phase::Killing { .. } => 6,
        Phase::Unkillable => 7,
        Phase::Dead { .. } => 8,
    }
}
