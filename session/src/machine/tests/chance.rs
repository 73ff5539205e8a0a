//! Random sequences of events, and what must hold in all of them.
//!
//! The form that always runs is 20,000 sequences of 80 events. The long one is 100,000 of 200:
//!
//! ```text
//! SESSION_EXPLORE=full cargo test --release -p session --lib chance
//! ```

use super::witness::Witness;
use super::*;

/// So many sequences, of so many events.
fn extent() -> (u64, usize) {
    if cfg!(miri) {
        return (40, 80);
    }
    match std::env::var_os("SESSION_EXPLORE") {
        Some(form) if form == "full" => (100_000, 200),
        _ => (20_000, 80),
    }
}

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

    /// Mostly of the two that may be there.
    fn generation(&mut self, of: &Witness) -> Generation {
        let active = of.active().map_or(of.newest, |worker| worker.generation);
        match self.below(16) {
            0 => of.newest.saturating_sub(1),
            1 => of.newest + 1,
            2..9 => active,
            _ => of.companion().map_or(active, |worker| worker.generation),
        }
    }

    /// What a worker says that comes up, or that it may be reloaded: chance alone rarely gets two
    /// of them as far as that one takes over.
    fn helpful(&mut self, of: &Witness) -> Option<Event> {
        let worker = match self.below(2) {
            0 => of.active(),
            _ => of.companion(),
        }?;
        let generation = worker.generation;
        Some(match worker.phase.state() {
            State::Spawning => spawned(generation),
            State::Handshaking => hello(generation),
            State::Starting => self.of(&[
                says_ready(generation),
                serves(generation, Serving::Private),
                probed(generation, Verdict::Healthy),
            ]),
            State::Ready => self.of(&[Event::Reload, serves(generation, Serving::Held)]),
            _ => return None,
        })
    }

    fn event(&mut self, of: &Witness) -> Event {
        if self.below(3) == 0
            && let Some(event) = self.helpful(of)
        {
            return event;
        }
        let generation = self.generation(of);
        let jitter = Jitter(self.of(&[0, 1, u16::MAX / 2, u16::MAX]));
        let how = self.of(&[How::Clean, How::Force]);
        match self.below(47) {
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
            39..43 => Event::Serves {
                generation,
                serving: self.of(&[Serving::Own, Serving::Held, Serving::Private]),
            },
            43..46 => Event::Reload,
            _ if self.below(4) > 0 => Event::HandlersDone,
            _ => Event::Stop {
                how,
                code: self.of(&[0, 5, 255]),
                asker: self.of(&[Asker::Signal, Asker::HangUp, Asker::Operator, Asker::Worker]),
            },
        }
    }
}

/// The state of the active worker, and the companion's place and phase.
type Reached = (State, Option<(Companion, State)>);

fn reached(of: &Witness) -> Reached {
    let beside = of.supervisor.snapshot().companion;
    let phase = of.companion().map(|worker| worker.phase.state());
    (
        of.supervisor.state(),
        beside.map(|(_, place)| place).zip(phase),
    )
}

#[test]
fn what_must_hold_holds_in_random_sequences() {
    let mut all = std::collections::HashSet::new();
    let (sequences, events) = extent();
    for seed in 0..sequences {
        let mut dice = Dice(seed);
        let mut witness = Witness::new(dice.policy());
        let mut told = Vec::new();
        let mut run = || -> witness::Held {
            for _ in 0..events {
                let wait = dice.wait();
                told.push(format!("{wait:?} pass"));
                witness.pass(wait)?;
                let event = dice.event(&witness);
                told.push(format!("{event:?}"));
                witness.event(event)?;
                all.insert(reached(&witness));
                if witness.finished && dice.below(4) == 0 {
                    break;
                }
            }
            if !witness.finished {
                witness.force_to_the_end(dice.below(2) == 0)?;
            }
            Ok(())
        };
        if let Err(broken) = run() {
            panic!("seed {seed}: {broken}\n{}\n{witness:?}", told.join("\n"));
        }
    }
    let states: std::collections::HashSet<_> = all.iter().map(|(state, _)| state).collect();
    assert!(cfg!(miri) || states.len() == 12, "reached {states:?}");
    let beside: std::collections::HashSet<_> = all.iter().filter_map(|at| at.1).collect();
    // Every phase of an incoming worker, and those of one that leaves.
    assert!(cfg!(miri) || beside.len() == 9 + 5, "reached {beside:?}");
}
