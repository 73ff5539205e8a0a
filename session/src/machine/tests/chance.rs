//! Random sequences of events, and what must hold in all of them.

use super::*;

const SEQUENCES: u64 = if cfg!(miri) { 40 } else { 20_000 };
const EVENTS: usize = 60;
/// From a forced stop on, no more wakes than this until the session is over.
const WAKES_TO_FINISH: usize = 4;

/// Splitmix: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        let bound = u64::try_from(from.len()).unwrap_or(1);
        from[usize::try_from(self.below(bound)).unwrap_or(0)]
    }

    fn policy(&mut self) -> Policy {
        Policy {
            readiness: self.of(&[Readiness::Probe, Readiness::Call, Readiness::Hello]),
            grace: self.of(&[Duration::ZERO, ms(1), GRACE]),
            startup_timeout: self.of(&[ms(1), STARTUP]),
            tolerance: self.of(&[0, 1, 3]),
            restarts: self.of(&[Restarts::Always, Restarts::OnFailure, Restarts::Never]),
            backoff: Backoff {
                min: self.of(&[Duration::ZERO, MIN]),
                max: MAX,
                jitter_permille: self.of(&[0, 200, 1000]),
                stable: self.of(&[Duration::ZERO, STABLE]),
            },
            limit: self.of(&[None, Some(3), Some(10)]).map(|failures| Limit {
                failures,
                within: secs(60),
            }),
            ..self.of(&[policy(), probing()])
        }
    }

    fn wait(&mut self) -> Duration {
        self.of(&[
            Duration::ZERO,
            Duration::ZERO,
            ms(1),
            ms(24),
            ms(120),
            ms(600),
            secs(2),
            secs(11),
            secs(70),
        ])
    }

    fn event(&mut self, newest: Generation) -> Event {
        let generation = match self.below(8) {
            0 => newest.saturating_sub(1),
            1 => newest + 1,
            _ => newest,
        };
        let jitter = Jitter(self.of(&[0, 1, u16::MAX / 2, u16::MAX]));
        let how = self.of(&[How::Clean, How::Force]);
        match self.below(40) {
            0..8 => Event::Spawned { generation },
            8..14 => Event::Hello { generation },
            14..18 => Event::Ready { generation },
            18..24 => Event::Exited {
                generation,
                exit: self.of(&[
                    Exit::Code(0),
                    Exit::Code(1),
                    Exit::Code(64),
                    Exit::Signal(9),
                    Exit::Unknown,
                ]),
                jitter,
            },
            24..28 => Event::ChannelClosed { generation },
            28..33 => Event::Probed {
                generation,
                verdict: self.of(&[Verdict::Healthy, Verdict::Unhealthy, Verdict::CannotProbe]),
            },
            33 => Event::SpawnFailed { generation, jitter },
            34 => Event::HandshakeFailed { generation },
            35 => Event::Crashing { generation },
            36 => Event::Restart { how },
            37 => Event::SetPolling {
                interval: self.of(&[ms(1), secs(5)]),
                timeout: secs(1),
                now: how == How::Force,
            },
            38 => Event::HandlersDone,
            _ if self.below(4) > 0 => Event::HandlersDone,
            _ => Event::Stop {
                how,
                code: self.of(&[0, 5, 255]),
                asker: self.of(&[Asker::Signal, Asker::HangUp, Asker::Operator, Asker::Worker]),
            },
        }
    }
}

/// The newest worker as the world sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    None,
    Asked,
    Runs,
    Gone,
}

/// What has been seen of a session so far.
struct Witness {
    sim: Sim,
    process: Process,
    /// Did the operator ask for the end of the newest worker before anything else did?
    planned: bool,
    reports: u32,
    stop_accepted: bool,
    handlers: u32,
    finished: bool,
}

impl Witness {
    fn new(policy: Policy) -> Witness {
        Witness {
            sim: Sim::new(policy),
            process: Process::Asked,
            planned: false,
            reports: 0,
            stop_accepted: false,
            handlers: 0,
            finished: false,
        }
    }

    fn event(&mut self, event: Event) {
        let (before, generation) = (self.sim.state(), self.sim.generation());
        self.stop_accepted |= matches!(event, Event::Stop { .. });
        let failed = match event {
            Event::Spawned { generation: of } if of == generation => {
                if self.process == Process::Asked {
                    self.process = Process::Runs;
                }
                false
            }
            Event::SpawnFailed { generation: of, .. } if of == generation => {
                let failed = self.process == Process::Asked;
                if failed {
                    self.process = Process::None;
                }
                failed
            }
            Event::Exited { generation: of, .. } if of == generation => {
                if matches!(self.process, Process::Asked | Process::Runs) {
                    self.process = Process::Gone;
                }
                false
            }
            _ => false,
        };
        let actions = self.sim.quietly(event);
        let asked = matches!(event, Event::Stop { .. } | Event::Restart { .. });
        self.check(before, generation, asked, failed, &actions);
    }

    /// Everything that is due, until nothing is.
    fn time(&mut self, wait: Duration) {
        self.sim.now += wait;
        for _ in 0..12 {
            let (before, generation) = (self.sim.state(), self.sim.generation());
            let actions = self.sim.supervisor.handle_timeout(self.sim.now);
            self.check(before, generation, false, false, &actions);
            match self.sim.supervisor.next_deadline() {
                Some(deadline) if deadline <= self.sim.now => {}
                Some(_) | None => return,
            }
        }
        panic!("it wakes again and again in {:?}", self.sim.state());
    }

    fn check(
        &mut self,
        before: State,
        generation: Generation,
        asked: bool,
        spawn_failed: bool,
        actions: &[Action],
    ) {
        assert!(
            !self.finished || actions.is_empty(),
            "after the end: {actions:?}"
        );
        let after = self.sim.state();
        let same = generation == self.sim.generation();
        // It is leaving now: by whose wish?
        if let (Some(from), Some(to)) = (rank(before), rank(after))
            && same
        {
            assert!(from <= to, "from {before:?} back to {after:?}");
            if from < LEAVING && to >= LEAVING {
                self.planned = asked;
            }
        }
        let by_itself = actions
            .iter()
            .any(|action| matches!(action, Action::Tell(Notice::EndedByItself { .. })));
        for &action in actions {
            self.count(action, generation);
        }
        // Is the newest worker of before no more? (An unkillable one is only left behind.)
        let gone = !same || (rank(before).is_some() && rank(after).is_none());
        if gone
            && rank(before).is_some()
            && before != State::Unkillable
            && after_killing(before, after)
        {
            let want = u32::from(spawn_failed || !self.planned);
            assert!(
                self.reports == want || (by_itself && self.reports == 0),
                "{} reports of worker {generation}, expected {want}: {before:?} to {after:?}, {actions:?}",
                self.reports
            );
        }
        if !same {
            self.reports = 0;
            self.planned = false;
        }
    }

    fn count(&mut self, action: Action, generation: Generation) {
        assert!(!self.finished, "{action:?} after the end");
        match action {
            Action::Spawn { .. } => {
                assert!(!self.stop_accepted, "a spawn after a stop");
                let alone = matches!(self.process, Process::None | Process::Gone);
                assert!(alone, "a second worker");
                self.process = Process::Asked;
            }
            Action::Report { generation: of, .. } => {
                assert_eq!(of, generation);
                self.reports += 1;
                assert_eq!(self.reports, 1, "reported twice");
            }
            Action::RunExitHandlers { .. } => {
                self.handlers += 1;
                assert_eq!(self.handlers, 1, "exit handlers ran twice");
                self.stop_accepted = true;
            }
            Action::Finish { .. } => self.finished = true,
            Action::Probe { generation: of, .. }
            | Action::AskToExit { generation: of, .. }
            | Action::Terminate { generation: of }
            | Action::Kill { generation: of } => {
                assert_eq!(of, generation);
                assert_ne!(self.process, Process::Gone, "{action:?} of a dead worker");
            }
            Action::TakeOver { .. } | Action::Tell(_) => {}
        }
    }

    fn force_to_the_end(&mut self, is_reaped: bool) {
        self.event(operator_stop(How::Force));
        if is_reaped {
            let generation = self.sim.generation();
            self.event(exited(generation, Exit::Signal(9)));
            self.event(closed(generation));
        }
        for _ in 0..WAKES_TO_FINISH {
            let Some(deadline) = self.sim.supervisor.next_deadline() else {
                break;
            };
            self.time(deadline.saturating_sub(self.sim.now));
        }
        assert!(self.finished, "it hangs in {:?}", self.sim.state());
        assert_eq!(self.sim.supervisor.next_deadline(), None);
    }
}

/// From `Killing` to the end in one step a worker is given up, not gone.
fn after_killing(before: State, after: State) -> bool {
    !(before == State::Killing && after == State::Finished)
}

const LEAVING: u8 = 4;

/// How far a worker is on its way; `None` where there is none.
fn rank(state: State) -> Option<u8> {
    match state {
        State::Spawning => Some(0),
        State::Handshaking => Some(1),
        State::Starting => Some(2),
        State::Ready => Some(3),
        State::Draining => Some(LEAVING),
        State::Terminating => Some(5),
        State::Killing => Some(6),
        State::Unkillable => Some(7),
        State::Dead => Some(8),
        State::BackingOff | State::Closing | State::Finished => None,
    }
}

#[test]
fn what_must_hold_holds_in_random_sequences() {
    let mut reached = std::collections::HashSet::new();
    for seed in 0..SEQUENCES {
        let mut dice = Dice(seed);
        let mut witness = Witness::new(dice.policy());
        for _ in 0..EVENTS {
            let wait = dice.wait();
            witness.time(wait);
            let event = dice.event(witness.sim.generation());
            witness.event(event);
            reached.insert(witness.sim.state());
            if witness.finished && dice.below(4) == 0 {
                break;
            }
        }
        if !witness.finished {
            witness.force_to_the_end(dice.below(2) == 0);
        }
    }
    assert!(cfg!(miri) || reached.len() == 12, "reached {reached:?}");
}
