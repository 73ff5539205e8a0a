//! What only shows in numbers and in time: ten thousand deaths, ends at any instant, and a random
//! fault every few seconds under a steady load.
//!
//! The form that always runs takes some seconds. `SESSION_SOAK` makes it longer:
//!
//! | value | kills | random ends | chaos | takes |
//! | --- | --- | --- | --- | --- |
//! | (none) | 300 | 40 | 10 s | 12 s |
//! | `minute` | 2,000 | 400 | 1 minute | 2 minutes |
//! | `full` | 10,000 | 2,000 | 5 minutes | 10 minutes |
//! | `hours` | 10,000 | 2,000 | 2 hours | 2 hours |
//! | `day` | 10,000 | 2,000 | 24 hours | a day |
//!
//! ```text
//! $ SESSION_SOAK=full cargo test --release -p session-tests --test soak -- --test-threads 1
//! $ SESSION_SOAK=hours cargo test --release -p session-tests --test soak chaos
//! $ SESSION_SOAK_SEED=4711 SESSION_SOAK_ROUND=12 cargo test -p session-tests --test soak ends
//! ```
//!
//! What is done at random follows from a seed, which is printed and can be given; of the ends, one
//! round can be done alone.
#![cfg(target_os = "linux")]

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use session_tests::faults::row_within;
use session_tests::inject::{Dice, Footprint, children_of, send, until};
use session_tests::load::{self, Failure, Load};
use session_tests::processes::working_in;
use session_tests::running::{Running, Start, ask};

const FAULTY: &str = env!("CARGO_BIN_EXE_faulty");

/// How much is done.
struct Form {
    kills: u64,
    ends: u64,
    chaos: Duration,
    /// Between two faults, in milliseconds.
    pause: (u64, u64),
}

fn form() -> Form {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let long = |chaos| Form {
        kills: 10_000,
        ends: 2_000,
        chaos,
        pause: (1_000, 5_000),
    };
    match std::env::var("SESSION_SOAK").as_deref() {
        Err(_) | Ok("") => Form {
            kills: 300,
            ends: 40,
            chaos: Duration::from_secs(10),
            pause: (300, 1_000),
        },
        Ok("minute") => Form {
            kills: 2_000,
            ends: 400,
            ..long(minutes(1))
        },
        Ok("full") => long(minutes(5)),
        Ok("hours") => long(minutes(120)),
        Ok("day") => long(minutes(24 * 60)),
        Ok(other) => panic!("expected minute, full, hours or day, found {other}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap())
}

fn seed() -> u64 {
    number("SESSION_SOAK_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000)
}

/// Shown even if the test passes.
fn tell(what: &str) {
    let line = format!("\nsoak: {what}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

// Kills

/// Before they are counted: what is there to stay has come by then.
const WARM_UP: u64 = 100;

#[test]
fn a14_ten_thousand_deaths_leave_nothing_behind() {
    let kills = form().kills;
    row_within(Duration::from_secs(300), &[], || {
        let config = r#""restart":{"minDelaySeconds":0},"pollingRoute":null"#;
        let mut session = Start::config(config).run(FAULTY);
        let monitor = session.child.id();
        let mut worker = session.expect_spawn();
        kill(&mut session, &mut worker, WARM_UP);
        let before = settled(monitor);
        let started = Instant::now();
        kill(&mut session, &mut worker, kills);
        let took = started.elapsed();
        until("as many descriptors and threads as before", || {
            let now = settled(monitor);
            now.descriptors == before.descriptors && now.threads == before.threads
        });
        let after = settled(monitor);
        tell(&format!(
            "{kills} kills in {:.1} s: {before:?}, then {after:?}",
            took.as_secs_f64()
        ));
        assert_eq!(after.zombies, 0);
        let grown = after.resident_kib.saturating_sub(before.resident_kib);
        assert!(grown < 1024, "grown by {grown} KiB");
        assert!(
            kills < 10_000 || took < Duration::from_secs(120),
            "{took:?}"
        );
        session.enter("status");
        session.expect(&format!("restarts: {}", WARM_UP + kills));
        session.enter("exit clean");
        assert_eq!(session.wait().0.code(), Some(0));
        let log = session.rest();
        assert_eq!(
            log.matches("has exited: SIGKILL").count() as u64,
            WARM_UP + kills
        );
    });
}

/// Every third one before it has said hello, as far as that can be met.
fn kill(session: &mut Running, worker: &mut u32, times: u64) {
    for time in 0..times {
        if time % 3 != 0 {
            session.expect("__server__: ready");
        }
        assert!(send(*worker, Signal::SIGKILL));
        session.expect("has exited: SIGKILL");
        *worker = session.expect_spawn();
    }
}

fn settled(monitor: u32) -> Footprint {
    loop {
        let seen = Footprint::of(monitor).unwrap();
        thread::sleep(Duration::from_millis(50));
        if Footprint::of(monitor) == Some(seen) {
            return seen;
        }
    }
}

// Ends

const LANES: u64 = 4;
/// The grace period of 0.3 s, the second after SIGTERM, and what a busy machine adds.
const GONE: Duration = Duration::from_secs(5);

#[test]
fn ends_at_random_instants_leave_nobody_behind() {
    let ends = form().ends;
    row_within(Duration::from_secs(1_800), &[], || {
        let seed = seed();
        let started = Instant::now();
        let rounds = match number("SESSION_SOAK_ROUND") {
            Some(round) => round..round + 1,
            None => 0..ends,
        };
        let next = AtomicU64::new(rounds.start);
        let slowest = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..LANES {
                scope.spawn(|| {
                    loop {
                        let round = next.fetch_add(1, Ordering::Relaxed);
                        if !rounds.contains(&round) {
                            return;
                        }
                        let took = end(seed, round).as_millis();
                        slowest.fetch_max(u64::try_from(took).unwrap(), Ordering::Relaxed);
                    }
                });
            }
        });
        tell(&format!(
            "{} ends at random instants (seed {seed}) in {:.1} s, the slowest was over after {} ms",
            rounds.end - rounds.start,
            started.elapsed().as_secs_f64(),
            slowest.load(Ordering::Relaxed)
        ));
    });
}

/// Starts a session and ends its monitor; how long it took until nobody was left.
fn end(seed: u64, round: u64) -> Duration {
    let dice = &mut Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(round));
    let modes = ["", "hang-exit ignore-term", "exit=3", "late", "panic-exit"];
    let mode = modes[usize::try_from(dice.below(modes.len() as u64)).unwrap()];
    let signal =
        [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGINT][usize::try_from(dice.below(3)).unwrap()];
    let after = Duration::from_micros(dice.below(120_000));
    let command = ["", "reload", "restart clean", "restart force", "exit clean"]
        [usize::try_from(dice.below(5)).unwrap()];
    let what =
        format!("seed {seed}, round {round}: `{mode}`, `{command}`, {signal} after {after:?}");
    let config = r#""restart":{"minDelaySeconds":0.01,"maxDelaySeconds":0.05},
        "stop":{"graceSeconds":0.3}"#;
    let mut session = Start::config(config).args(&[mode]).run(FAULTY);
    if !command.is_empty() {
        session.enter(command);
    }
    thread::sleep(after);
    send(session.child.id(), signal);
    let sent = Instant::now();
    let (status, _) = session.wait();
    let is_default = status.signal() == Some(signal as i32);
    // A loop of crashes before anything was ready may end a session by itself, but not with these.
    assert!(is_default || status.code() == Some(0), "{what}: {status}");
    loop {
        let left = working_in(session.folder());
        if left.is_empty() {
            break;
        }
        assert!(
            sent.elapsed() < GONE,
            "{what}: left behind: {left:?}\n{}",
            session.so_far()
        );
        thread::sleep(Duration::from_millis(2));
    }
    let took = sent.elapsed();
    assert!(took < GONE, "{what}: {took:?}");
    let log = session.rest();
    if let Some((_, after)) = log.split_once("exiting session") {
        assert!(!after.contains("spawned"), "{what}\n{log}");
    }
    assert!(!log.contains("panicked at session"), "{what}\n{log}");
    took
}

// Chaos

const CHAOS: &str = r#""restart":{"minDelaySeconds":0.05,"maxDelaySeconds":0.2},
    "pollingIntervalSeconds":1,"pollingTimeoutSeconds":0.5,"startupTimeoutSeconds":3,
    "stop":{"graceSeconds":0.5}"#;
/// A probe that fails, the grace period, the second after SIGTERM, a start; and a busy machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How long after `reload` a second worker may be there: its start, then the old one's ladder.
const RELOAD_TAKES: Duration = Duration::from_secs(8);
const PER_SECOND: u32 = 100;
/// A second worker's, a probe's and a check's, beyond what is there to stay.
const MORE_DESCRIPTORS: usize = 16;
/// Sixteen reports with their output are kept, and a tail for each worker.
const MORE_KIB: u64 = 8 * 1024;

const FAULTS: [&str; 14] = [
    "kill",
    "stop",
    "term",
    "panic",
    "abort",
    "output",
    "flood",
    "hang",
    "reload",
    "restart clean",
    "restart force",
    "suspend",
    "signals",
    "nothing",
];

struct Chaos {
    session: Running,
    seed: u64,
    before: Footprint,
    last_reload: Option<Instant>,
    done: Vec<String>,
}

#[test]
fn chaos_never_keeps_a_worker_from_answering() {
    let Form { chaos, pause, .. } = form();
    row_within(chaos * 2 + Duration::from_secs(120), &[], || {
        let seed = seed();
        let dice = &mut Dice::new(seed);
        let mut session = Start::config(CHAOS).run(FAULTY);
        session.expect_ready();
        let load = Load::start(session.port, PER_SECOND);
        load.expect_answers_of(1);
        let before = settled(session.child.id());
        let mut run = Chaos {
            session,
            seed,
            before,
            last_reload: None,
            done: Vec::new(),
        };
        let end = Instant::now() + chaos;
        let mut slowest = (Duration::ZERO, "");
        while Instant::now() < end {
            let fault = FAULTS[usize::try_from(dice.below(FAULTS.len() as u64)).unwrap()];
            run.bring_about(fault, dice);
            let took = run.expect_answer();
            slowest = slowest.max((took, fault));
            let pause = pause.0 + dice.below(pause.1 - pause.0);
            run.watch(Instant::now() + Duration::from_millis(pause));
        }
        let tally = load.stop();
        run.expect_answer();
        let after = run.expect_as_before();
        tell(&format!(
            "chaos of {chaos:?} (seed {seed}): {} faults, the slowest answer came {:.1} s after \
             `{}`; {tally}; {before:?}, then {after:?}",
            run.done.len(),
            slowest.0.as_secs_f64(),
            slowest.1,
        ));
        assert_eq!(tally.failed(Failure::Refused), 0, "seed {seed}: {tally}");
        assert_eq!(
            tally.failed(Failure::ConnectReset),
            0,
            "seed {seed}: {tally}"
        );
        assert_eq!(tally.failed(Failure::Wrong), 0, "seed {seed}: {tally}");
        run.session.enter("exit clean");
        assert_eq!(run.session.wait().0.code(), Some(0));
    });
}

impl Chaos {
    fn monitor(&self) -> u32 {
        self.session.child.id()
    }

    /// Those that run, or are stopped.
    fn workers(&self) -> Vec<u32> {
        let children = children_of(self.monitor()).into_iter();
        let mut pids: Vec<u32> = children
            .filter(|&(_, state)| !matches!(state, 'Z' | 'X'))
            .map(|(pid, _)| pid)
            .collect();
        pids.sort_unstable();
        pids
    }

    fn bring_about(&mut self, fault: &str, dice: &mut Dice) {
        self.done.push(fault.to_owned());
        let signal = |signal| {
            // None may be there just now.
            if let Some(&worker) = self.workers().last() {
                send(worker, signal);
            }
        };
        match fault {
            "kill" => signal(Signal::SIGKILL),
            "stop" => signal(Signal::SIGSTOP),
            "term" => signal(Signal::SIGTERM),
            "panic" | "abort" | "output" | "flood" | "hang" => self.visit(fault),
            "suspend" => {
                send(self.monitor(), Signal::SIGSTOP);
                thread::sleep(Duration::from_millis(dice.below(1_500)));
                send(self.monitor(), Signal::SIGCONT);
            }
            "signals" => {
                for _ in 0..500 {
                    send(self.monitor(), Signal::SIGCHLD);
                    send(self.monitor(), Signal::SIGWINCH);
                }
            }
            "nothing" => {}
            _ => {
                if fault == "reload" {
                    self.last_reload = Some(Instant::now());
                }
                self.session.enter(fault);
            }
        }
    }

    /// Not waited for: some routes never answer.
    fn visit(&self, route: &str) {
        let (port, route) = (self.session.port, format!("/{route}"));
        thread::spawn(move || drop(ask(port, "GET", &route, "")));
        // It gets there before the next question.
        thread::sleep(Duration::from_millis(50));
    }

    fn expect_answer(&mut self) -> Duration {
        let asked = Instant::now();
        loop {
            let deadline = Instant::now() + Duration::from_secs(1);
            if load::get(self.session.port, deadline).is_ok() {
                return asked.elapsed();
            }
            self.check();
            let is_over = asked.elapsed() > ANSWERS_WITHIN;
            self.hold(!is_over, "nobody answers");
        }
    }

    /// Looks each second, and once at the end.
    fn watch(&mut self, until: Instant) {
        loop {
            self.check();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(Duration::from_secs(1)));
        }
    }

    fn check(&mut self) {
        let ended = self.session.child.try_wait().unwrap();
        self.hold(ended.is_none(), &format!("the monitor ended: {ended:?}"));
        let workers = self.workers();
        let reloads = self
            .last_reload
            .is_some_and(|at| at.elapsed() < RELOAD_TAKES);
        let most = if reloads { 2 } else { 1 };
        self.hold(workers.len() <= most, &format!("workers: {workers:?}"));
        let is_reaped = (0..100).any(|_| {
            let now = Footprint::of(self.monitor()).unwrap();
            thread::sleep(Duration::from_millis(if now.zombies > 0 { 10 } else { 0 }));
            now.zombies == 0
        });
        self.hold(is_reaped, "zombies");
        let now = Footprint::of(self.monitor()).unwrap();
        let (fds, kib) = (self.before.descriptors, self.before.resident_kib);
        self.hold(
            now.descriptors <= fds + MORE_DESCRIPTORS && now.resident_kib <= kib + MORE_KIB,
            &format!("{:?}, then {now:?}", self.before),
        );
    }

    /// Once all is quiet.
    fn expect_as_before(&mut self) -> Footprint {
        let deadline = Instant::now() + 2 * RELOAD_TAKES;
        loop {
            let now = settled(self.monitor());
            if now.descriptors <= self.before.descriptors && self.workers().len() == 1 {
                return now;
            }
            self.hold(
                Instant::now() < deadline,
                &format!("{:?}, then {now:?}", self.before),
            );
        }
    }

    #[track_caller]
    fn hold(&mut self, holds: bool, what: &str) {
        if holds {
            return;
        }
        let log = self.session.so_far();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(200)..].join("\n");
        panic!(
            "seed {}: {what}\nfaults: {:?}\n{last}",
            self.seed, self.done
        );
    }
}
