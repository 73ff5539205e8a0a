//! Every order of events, breadth first: what the witness holds, it holds after each step.
//!
//! A short form runs always. The long form visits more than two million states, in a minute or
//! two:
//!
//! ```sh
//! SESSION_EXPLORE=full cargo test --release -p session --lib explore -- --nocapture
//! ```
//!
//! Two states are one if they differ only in the time of day, in generation numbers, and in ages
//! that no decision depends on any more. A step is what the driver can do: an event of a worker
//! that is there, a wish of somebody's, the next deadline, or a clock that is late. What broke is
//! told with the shortest way to it.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use super::witness::{Handlers, Held, Process, Seen, Witness};
use super::*;
use crate::machine::generation::{Channel, Phase, Worker};
use crate::machine::reload::Beside;
use crate::machine::supervisor::{Slot, Want};

const SHORT: usize = if cfg!(miri) { 50 } else { 8_000 };
const LONG: usize = 600_000;

/// All times are told as if it were this one.
const NOW: Time = secs(100_000);
/// So many failures in a row, and the delay grows no more.
const ENOUGH_FAILURES: u32 = 6;
/// A clock that is late is late for everything.
const LATE: Duration = secs(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Active,
    Companion,
}

/// What a worker does or has done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Spawned,
    SpawnFailed,
    Hello,
    HandshakeFailed,
    Ready,
    Held,
    Private,
    Crashing,
    Closed,
    ExitsWith0,
    Killed,
    Healthy,
    Unhealthy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Word(Who, Word),
    Session(Event),
    /// The next deadline.
    Due,
    Late,
}

/// In which of these states of its process a worker can say a word.
const WORDS: [(Word, Process); 13] = [
    (Word::Spawned, Process::Asked),
    (Word::SpawnFailed, Process::Asked),
    (Word::Hello, Process::Runs),
    (Word::HandshakeFailed, Process::Runs),
    (Word::Ready, Process::Runs),
    (Word::Held, Process::Runs),
    (Word::Private, Process::Runs),
    (Word::Crashing, Process::Runs),
    (Word::Closed, Process::Runs),
    (Word::ExitsWith0, Process::Runs),
    (Word::Killed, Process::Runs),
    (Word::Healthy, Process::Runs),
    (Word::Unhealthy, Process::Runs),
];

/// Lines and verdicts may arrive after the exit.
const LAST_WORDS: [Word; 3] = [Word::Closed, Word::Healthy, Word::Unhealthy];

const WISHES: [Event; 8] = [
    Event::Reload,
    Event::Restart { how: How::Clean },
    Event::Restart { how: How::Force },
    Event::Stop {
        how: How::Clean,
        code: 3,
        asker: Asker::Operator,
    },
    Event::Stop {
        how: How::Force,
        code: 4,
        asker: Asker::Operator,
    },
    Event::Stop {
        how: How::Clean,
        code: 0,
        asker: Asker::Signal,
    },
    Event::Stop {
        how: How::Clean,
        code: 5,
        asker: Asker::Worker,
    },
    Event::SetPolling {
        interval: secs(3),
        timeout: secs(1),
        now: true,
    },
];

/// Few, and each with its own readiness, delay, limit and end; times are short, so that the quick
/// probes of one start are few.
fn policies() -> [Policy; 4] {
    let call = Policy {
        readiness: Readiness::Call,
        startup_timeout: secs(2),
        grace: secs(1),
        polling: None,
        tolerance: 0,
        restarts: Restarts::Always,
        backoff: Backoff {
            min: MIN,
            max: MAX,
            jitter_permille: 0,
            stable: STABLE,
        },
        limit: None,
    };
    let polling = Some(Polling {
        interval: secs(3),
        timeout: secs(1),
    });
    let at_once = Backoff {
        min: Duration::ZERO,
        ..call.backoff
    };
    [
        call,
        Policy {
            readiness: Readiness::Probe,
            startup_timeout: ms(100),
            polling,
            tolerance: 1,
            backoff: at_once,
            ..call
        },
        Policy {
            readiness: Readiness::Hello,
            polling,
            limit: Some(Limit {
                failures: 2,
                within: secs(60),
            }),
            ..call
        },
        Policy {
            polling,
            restarts: Restarts::OnFailure,
            grace: Duration::ZERO,
            backoff: at_once,
            ..call
        },
    ]
}

impl Witness {
    fn generation(&self, who: Who) -> Option<Generation> {
        match who {
            Who::Active => self.active(),
            Who::Companion => self.companion(),
        }
        .map(|worker| worker.generation)
    }

    /// What can happen next.
    fn steps(&self, steps: &mut Vec<Step>) {
        steps.clear();
        for who in [Who::Active, Who::Companion] {
            let Some(seen) = self
                .generation(who)
                .and_then(|generation| self.seen(generation))
            else {
                continue;
            };
            let words = WORDS.iter().filter(|(word, process)| {
                *process == seen.process
                    || (seen.process == Process::Reaped && LAST_WORDS.contains(word))
            });
            steps.extend(words.map(|&(word, _)| Step::Word(who, word)));
        }
        steps.extend(WISHES.map(Step::Session));
        if self.handlers == Handlers::Running {
            steps.push(Step::Session(Event::HandlersDone));
        }
        if self.supervisor.next_deadline().is_some() {
            steps.push(Step::Due);
        }
        steps.push(Step::Late);
    }

    fn step(&mut self, step: Step) -> Held<Vec<Action>> {
        match step {
            Step::Word(who, word) => match self.generation(who) {
                Some(generation) => self.event(event(word, generation)),
                None => Ok(vec![]),
            },
            Step::Session(event) => self.event(event),
            Step::Due => self.due(),
            Step::Late => self.pass(LATE),
        }
    }

    /// Words of a worker that is not there change nothing.
    fn hears_no_stranger(&mut self, word: Word) -> Held {
        let before = self.supervisor.clone();
        let told = self.event(event(word, self.newest + 1))?;
        if !told.is_empty() || self.supervisor != before {
            return Err(format!("a stranger is heard: {word:?}"));
        }
        Ok(())
    }
}

fn event(word: Word, generation: Generation) -> Event {
    match word {
        Word::Spawned => spawned(generation),
        Word::SpawnFailed => spawn_failed(generation),
        Word::Hello => hello(generation),
        Word::HandshakeFailed => Event::HandshakeFailed { generation },
        Word::Ready => says_ready(generation),
        Word::Held => serves(generation, Serving::Held),
        Word::Private => serves(generation, Serving::Private),
        Word::Crashing => Event::Crashing { generation },
        Word::Closed => closed(generation),
        Word::ExitsWith0 => exited(generation, Exit::Code(0)),
        Word::Killed => exited(generation, Exit::Signal(9)),
        Word::Healthy => probed(generation, Verdict::Healthy),
        Word::Unhealthy => probed(generation, Verdict::Unhealthy),
    }
}

/// Times as of [`NOW`], generations without gaps, and no age beyond what decisions need.
struct Normal {
    now: Time,
    generations: [Generation; 3],
    stable: Duration,
    interval: Duration,
}

impl Normal {
    fn of(witness: &Witness) -> Normal {
        let policy = &witness.supervisor.policy;
        let present = |worker: Option<&Worker>| worker.map_or(0, |worker| worker.generation);
        let mut generations = [
            present(witness.active()),
            present(witness.companion()),
            witness.newest,
        ];
        generations.sort_unstable();
        Normal {
            now: witness.now,
            generations,
            stable: policy.backoff.stable,
            interval: policy
                .polling
                .map_or(Duration::ZERO, |polling| polling.interval),
        }
    }

    fn apply(&self, witness: &mut Witness) {
        let supervisor = &mut witness.supervisor;
        if let Want::Stop(stop) = &mut supervisor.want {
            stop.accepted = self.past(stop.accepted, SIGNAL_DEBOUNCE);
            self.some_future(&mut stop.handlers);
        }
        match &mut supervisor.slot {
            Slot::Empty => {}
            Slot::BackingOff { until } => *until = self.future(*until),
            Slot::Occupied(worker) => self.worker(worker),
        }
        match &mut supervisor.beside {
            Beside::Nobody => {}
            Beside::Incoming(worker) | Beside::Outgoing(worker) => self.worker(worker),
        }
        supervisor.generation = self.generation(supervisor.generation);
        supervisor.active = self.generation(supervisor.active);
        let failures = &mut supervisor.failures;
        failures.consecutive = failures.consecutive.min(ENOUGH_FAILURES);
        if let Some(limit) = supervisor.policy.limit {
            failures.recent.retain(|&at| at + limit.within > self.now);
            for at in &mut failures.recent {
                *at = self.past(*at, limit.within);
            }
        }
        for seen in witness.seen.iter_mut().flatten() {
            let Seen { generation, .. } = seen;
            *generation = self.generation(*generation);
        }
        witness.newest = self.generation(witness.newest);
        witness.now = NOW;
    }

    fn worker(&self, worker: &mut Worker) {
        worker.generation = self.generation(worker.generation);
        match &mut worker.phase {
            Phase::Spawning | Phase::Starting | Phase::Unkillable => {}
            Phase::Ready { since } => *since = self.past(*since, self.stable),
            Phase::Handshaking { deadline }
            | Phase::Draining { deadline }
            | Phase::Terminating { deadline }
            | Phase::Killing { deadline }
            | Phase::Dead { deadline, .. } => *deadline = self.future(*deadline),
        }
        // Once it leaves, nothing asks for these any more.
        let leaves = worker.leaving.is_some() || worker.is_dead();
        if leaves {
            worker.startup_deadline = None;
            worker.probes.next = None;
        }
        self.some_future(&mut worker.startup_deadline);
        self.some_future(&mut worker.probes.next);
        worker.ready_for = worker.ready_for.map(|age| age.min(self.stable));
        match &mut worker.channel {
            Channel::Open => {}
            Channel::Closed { deadline } if leaves => *deadline = NOW,
            Channel::Closed { deadline } => *deadline = self.future(*deadline),
        }
        if leaves {
            worker.probes.in_flight = None;
        }
        if let Some(flight) = &mut worker.probes.in_flight {
            flight.started = self.past(flight.started, self.interval);
            flight.overdue = self.future(flight.overdue);
        }
    }

    /// What is due is due, however late it is.
    fn future(&self, at: Time) -> Time {
        NOW + at.saturating_sub(self.now)
    }

    fn some_future(&self, at: &mut Option<Time>) {
        *at = at.map(|at| self.future(at));
    }

    fn past(&self, at: Time, matters: Duration) -> Time {
        NOW - self.now.saturating_sub(at).min(matters)
    }

    /// The newest is 9, and the others follow without a gap.
    fn generation(&self, of: Generation) -> Generation {
        let newer = self
            .generations
            .windows(2)
            .filter(|pair| pair[0] < pair[1] && pair[1] > of);
        9 - u64::try_from(newer.count()).unwrap_or(0)
    }
}

/// Multiplied and folded: quick, and good enough for some million states.
#[derive(Default)]
struct Folding(u64);

impl Hasher for Folding {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product =
            u128::from(self.0 ^ word ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93_u128;
        let [low, high] = [product, product >> 64].map(|half| half & u128::from(u64::MAX));
        self.0 = u64::try_from(low ^ high).unwrap_or(0).rotate_left(23) ^ word;
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write(&word.to_le_bytes());
    }
}

fn hash(witness: &Witness) -> u64 {
    let mut hasher = Folding::default();
    witness.hash(&mut hasher);
    hasher.finish()
}

/// How a state was reached first.
#[derive(Clone, Copy)]
struct Way {
    from: usize,
    step: Option<Step>,
}

struct Explored {
    states: usize,
    transitions: usize,
    depth: usize,
    /// There is no other state.
    complete: bool,
}

/// Nothing has happened.
const START: &[Step] = &[];
/// A reload has just begun: from here, few steps reach what takes many from the start.
const RELOAD: &[Step] = &[
    Step::Word(Who::Active, Word::Spawned),
    Step::Word(Who::Active, Word::Held),
    Step::Word(Who::Active, Word::Hello),
    Step::Word(Who::Active, Word::Ready),
    Step::Due,
    Step::Word(Who::Active, Word::Healthy),
    Step::Session(Event::Reload),
];

const STARTS: [&[Step]; 2] = [START, RELOAD];

/// From there on, until there is nothing new or `most` states are known.
fn explore(policy: Policy, most: usize) -> Explored {
    let mut known: HashSet<u64, BuildHasherDefault<Folding>> = HashSet::default();
    let (mut ways, mut next) = (Vec::new(), VecDeque::new());
    for first in STARTS {
        let mut start = Witness::new(policy);
        for &step in first {
            assert_eq!(start.step(step).err(), None);
        }
        let start = normal(start);
        known.insert(hash(&start));
        next.push_back((ways.len(), 0, start));
        ways.push(Way {
            from: ways.len(),
            step: None,
        });
    }
    let (mut steps, mut transitions, mut deepest) = (Vec::new(), 0, 0);
    while let Some((at, depth, state)) = next.pop_front() {
        if let Err(broken) = check_state(&state, at) {
            panic!("{broken}\n{}", trace(policy, &ways, at, None));
        }
        state.steps(&mut steps);
        for &step in &steps {
            let mut then = state.clone();
            if let Err(broken) = then.step(step) {
                panic!("{broken}\n{}", trace(policy, &ways, at, Some(step)));
            }
            transitions += 1;
            let then = normal(then);
            if ways.len() < most && known.insert(hash(&then)) {
                ways.push(Way {
                    from: at,
                    step: Some(step),
                });
                deepest = depth + 1;
                if !then.finished {
                    next.push_back((ways.len() - 1, depth + 1, then));
                }
            }
        }
    }
    Explored {
        states: ways.len(),
        transitions,
        depth: deepest,
        complete: ways.len() < most,
    }
}

fn normal(mut witness: Witness) -> Witness {
    Normal::of(&witness).apply(&mut witness);
    witness
}

/// What must hold of each state, whatever comes next: it can be ended, and it hears its own only.
fn check_state(state: &Witness, at: usize) -> Held {
    state.clone().force_to_the_end(false)?;
    state.clone().force_to_the_end(true)?;
    let (word, _) = WORDS[at % WORDS.len()];
    state.clone().hears_no_stranger(word)
}

/// The way to a state, told as it goes from the start.
fn trace(policy: Policy, ways: &[Way], mut at: usize, last: Option<Step>) -> String {
    let mut steps: Vec<Step> = last.into_iter().collect();
    while let Way {
        from,
        step: Some(step),
    } = ways[at]
    {
        steps.insert(0, step);
        at = from;
    }
    steps.splice(0..0, STARTS[at].iter().copied());
    let mut witness = Witness::new(policy);
    let mut text = format!("with {policy:?}\n");
    for step in steps {
        let before = witness.supervisor.snapshot();
        let found = witness.step(step);
        let at = witness.now - secs(1000);
        let _ = writeln!(
            text,
            "{at:>10.3?}  {:?} {} / {:?}  {step:?}\n            {found:?}",
            before.state, before.generation, before.companion
        );
    }
    let _ = write!(text, "{witness:?}");
    text
}

#[test]
fn what_must_hold_holds_in_every_order() {
    let is_long = std::env::var_os("SESSION_EXPLORE").is_some_and(|form| form == "full");
    let most = if is_long { LONG } else { SHORT };
    let mut states = 0;
    for policy in policies() {
        let found = explore(policy, most);
        println!(
            "{} states, {} transitions, {} deep{}",
            found.states,
            found.transitions,
            found.depth,
            if found.complete { ", and no other" } else { "" }
        );
        states += found.states;
    }
    println!("{states} states in all");
    assert!(states >= most * 4, "the space is smaller than it was");
}
