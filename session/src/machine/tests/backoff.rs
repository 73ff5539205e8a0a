//! When the next worker starts, and when to give up.

use super::*;

fn with_jitter(jitter_permille: u16) -> Policy {
    let policy = policy();
    Policy {
        backoff: Backoff {
            jitter_permille,
            ..policy.backoff
        },
        ..policy
    }
}

fn limited(failures: u32, within: Duration) -> Policy {
    Policy {
        limit: Some(Limit { failures, within }),
        ..policy()
    }
}

#[test]
fn delays_double_up_to_the_cap() {
    let rows = [
        (0, MIDDLE, [100, 200, 400, 800, 1600, 1600]),
        (0, Jitter(0), [100, 200, 400, 800, 1600, 1600]),
        (200, Jitter(0), [80, 160, 320, 640, 1280, 1280]),
        (200, Jitter(u16::MAX), [120, 240, 480, 960, 1920, 1920]),
        (1000, Jitter(u16::MAX), [200, 400, 800, 1600, 3200, 3200]),
    ];
    for (permille, jitter, delays) in rows {
        let mut sim = Sim::new(with_jitter(permille));
        for (generation, delay) in (1..).zip(delays) {
            let delay = ms(delay);
            let found = sim.crash_at_once(jitter);
            assert_eq!(
                found,
                [report(generation, CauseKind::Exit), told_delay(delay)],
                "{permille} per mille, {jitter:?}"
            );
            sim.exactly_after(delay, &[spawn(generation + 1)]);
        }
    }
}

#[test]
fn the_whole_swing_downwards_is_no_delay() {
    let mut sim = Sim::new(with_jitter(1000));
    let found = sim.crash_at_once(Jitter(0));
    assert_eq!(found, [report(1, CauseKind::Exit), AT_ONCE, spawn(2)]);
}

#[test]
fn thousands_of_failures_stay_at_the_cap() {
    let mut sim = Sim::new(policy());
    for _ in 0..200 {
        sim.crash_at_once(MIDDLE);
        sim.pass(MAX);
    }
    let found = sim.crash_at_once(MIDDLE);
    assert_eq!(found, [report(201, CauseKind::Exit), told_delay(MAX)]);
}

#[test]
fn a_stable_worker_is_replaced_at_once_and_counts_anew() {
    for (ready_for, stable) in [
        (STABLE - Duration::from_nanos(1), false),
        (STABLE, true),
        (STABLE * 100, true),
    ] {
        let mut sim = Sim::new(policy());
        for _ in 0..3 {
            sim.crash_at_once(MIDDLE);
            sim.pass(MAX);
        }
        sim.make_ready();
        sim.pass(ready_for);
        let found = sim.end(Exit::Signal(11), MIDDLE);
        let report = report(4, CauseKind::Exit);
        if !stable {
            assert_eq!(found, [report, told_delay(ms(800))], "{ready_for:?}");
            continue;
        }
        assert_eq!(found, [report, AT_ONCE, spawn(5)], "{ready_for:?}");
        let found = sim.crash_at_once(MIDDLE);
        assert_eq!(found[1], told_delay(MIN));
    }
}

#[test]
fn a_spawn_alone_makes_nothing_stable() {
    let mut sim = Sim::starting(policy());
    sim.pass(STABLE + secs(1));
    let found = sim.end(Exit::Code(1), MIDDLE);
    assert_eq!(found, [report(1, CauseKind::Exit), told_delay(MIN)]);
}

#[test]
fn a_failed_spawn_is_retried_like_a_crash() {
    let mut sim = Sim::new(policy());
    for (generation, delay) in (1..).zip([100, 200, 400]) {
        let want = [
            report(generation, CauseKind::SpawnError),
            told_delay(ms(delay)),
        ];
        sim.event(spawn_failed(generation), &want);
        sim.exactly_after(ms(delay), &[spawn(generation + 1)]);
    }
    sim.quietly(spawned(4));
    sim.event(spawn_failed(4), &[]);
    assert_eq!(sim.state(), State::Handshaking);
}

#[test]
fn gives_up_at_the_limit() {
    for failures in [1, 2, 5] {
        let mut sim = Sim::new(limited(failures, secs(60)));
        for _ in 1..failures {
            let found = sim.crash_at_once(MIDDLE);
            assert!(matches!(
                found[1],
                Action::Tell(Notice::RestartingIn { .. })
            ));
            sim.pass(MAX);
        }
        let gave_up = Notice::GaveUp {
            failures,
            within: secs(60),
        };
        let last = report(u64::from(failures), CauseKind::Exit);
        let found = sim.crash_at_once(MIDDLE);
        assert_eq!(found, [last, tell(gave_up), HANDLERS_CLEAN]);
        sim.event(Event::HandlersDone, &[Action::Finish { code: 75 }]);
    }
}

#[test]
fn spawn_failures_count_towards_the_limit() {
    let mut sim = Sim::new(limited(2, secs(60)));
    sim.quietly(spawn_failed(1));
    sim.pass(MAX);
    let found = sim.quietly(spawn_failed(2));
    assert_eq!(found[0], report(2, CauseKind::SpawnError));
    assert_eq!(found.last(), Some(&HANDLERS_CLEAN));
}

#[test]
fn failures_before_the_window_do_not_count() {
    let window = secs(60);
    for (pause, gives_up) in [
        (window - Duration::from_nanos(1), true),
        (window, false),
        (window * 10, false),
    ] {
        let mut sim = Sim::new(limited(2, window));
        sim.crash_at_once(MIDDLE);
        let first = sim.now;
        sim.pass(MAX);
        sim.quietly(spawned(2));
        sim.quietly(hello(2));
        sim.quietly(says_ready(2));
        sim.now = first + pause;
        let found = sim.end(Exit::Code(1), MIDDLE);
        assert_eq!(found.contains(&HANDLERS_CLEAN), gives_up, "{pause:?}");
    }
}

#[test]
fn planned_restarts_do_not_count() {
    let mut sim = Sim::new(limited(1, secs(60)));
    for _ in 0..5 {
        sim.make_ready();
        sim.quietly(restart(How::Clean));
        let next = sim.generation() + 1;
        assert_eq!(sim.end(Exit::Code(0), MIDDLE), [AT_ONCE, spawn(next)]);
    }
}
