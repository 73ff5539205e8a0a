//! What takes a minute, by the clock; all of it at the same time.

use std::thread;
use std::time::{Duration, Instant};

use session_tests::running::{Running, Start, signal_pid};

const CHAOS: &str = env!("CARGO_BIN_EXE_chaos");
const HELLO: &str = env!("CARGO_BIN_EXE_hello");
const MINUTE: Duration = Duration::from_secs(60);
/// 0.1 s, doubled up to 30 s: the 11th starts after 51.1 s; with all jitter the 12th just might.
const MOST_SPAWNS: usize = 12;
/// The delay swings by a fifth each way.
const JITTER: f64 = 0.2;
/// What a start and its report may add to a delay, on a machine that does much else.
const SLACK: Duration = Duration::from_millis(300);

#[test]
fn a_crash_loop_is_slow_and_gets_no_faster() {
    let begun = Instant::now();
    let mut session = Start::default().args(&["--exit", "3"]).run(CHAOS);
    let mut spawns = Vec::new();
    while let Some(line) = session.line_until(begun + MINUTE) {
        if line.contains("spawned new server worker") {
            spawns.push(Instant::now());
        }
    }
    assert!(begun.elapsed() >= MINUTE, "it ended: {}", session.rest());
    session.enter("exit clean");
    assert_eq!(session.wait().0.code(), Some(0));
    assert!((9..=MOST_SPAWNS).contains(&spawns.len()), "{spawns:?}");
    let gaps: Vec<Duration> = spawns.windows(2).map(|two| two[1] - two[0]).collect();
    for (at, gap) in gaps.iter().enumerate() {
        let expected = (0.1 * 2_f64.powi(i32::try_from(at).unwrap())).min(30.0);
        let least = Duration::from_secs_f64(expected * (1.0 - JITTER));
        let most = Duration::from_secs_f64(expected * (1.0 + JITTER)) + SLACK;
        assert!((least..=most).contains(gap), "gap {at}: {gaps:?}");
    }
}

#[test]
fn after_a_stable_worker_the_next_one_starts_at_once_and_the_backoff_anew() {
    let config =
        r#""restart":{"stableSeconds":1,"minDelaySeconds":2,"maxDelaySeconds":30,"jitter":0}"#;
    let mut session = Start::config(config).run(HELLO);
    let stable = Duration::from_millis(1200);
    let delay = Duration::from_secs(2);
    for _ in 0..2 {
        let pid = session.expect_spawn();
        session.expect_ready();
        thread::sleep(stable);
        let at_once = time_to_spawn(&mut session, pid);
        assert!(at_once.0 < SLACK, "{at_once:?}");
        // This one was not stable; and the one before was, so the delay is the first one again.
        session.expect_ready();
        let waited = time_to_spawn(&mut session, at_once.1);
        assert!(waited.0 >= delay, "{waited:?}");
        assert!(waited.0 < delay + SLACK, "{waited:?}");
        session.expect_ready();
        thread::sleep(stable);
        signal_pid(waited.1, "KILL");
    }
    // A restart that was asked for costs no delay either.
    session.expect_ready();
    session.enter("restart clean");
    let asked = Instant::now();
    session.expect_spawn();
    assert!(asked.elapsed() < Duration::from_secs(1));
}

/// Kills the worker: how long it takes until the next one is started, and its pid.
#[track_caller]
fn time_to_spawn(session: &mut Running, pid: u32) -> (Duration, u32) {
    let killed = Instant::now();
    signal_pid(pid, "KILL");
    let next = session.expect_spawn();
    (killed.elapsed(), next)
}
