//! How a worker ends, and what its end means.

use super::*;

const ENDS: [Exit; 4] = [
    Exit::Code(1),
    Exit::Signal(9),
    Exit::Signal(11),
    Exit::Unknown,
];

#[test]
fn a_crash_is_reported_once_and_the_next_worker_follows() {
    for exit in ENDS {
        let mut sim = Sim::ready(policy());
        sim.event(exited(1, exit), &[told_exit(1, exit)]);
        sim.event(closed(1), &[report(1, CauseKind::Exit), told_delay(MIN)]);
        for late in [exited(1, exit), closed(1)] {
            sim.event(late, &[]);
        }
        sim.exactly_after(MIN, &[spawn(2)]);
    }
}

#[test]
fn exit_and_end_of_channel_in_either_order_or_alone() {
    let exit = Exit::Code(1);
    let end = [report(1, CauseKind::Exit), told_delay(MIN)];

    let mut sim = Sim::ready(policy());
    sim.event(closed(1), &[]);
    sim.advance(CHANNEL_LOST - Duration::from_nanos(1), &[]);
    let mut want = vec![told_exit(1, exit)];
    want.extend(end);
    sim.event(exited(1, exit), &want);

    let mut sim = Sim::ready(policy());
    sim.event(exited(1, exit), &[told_exit(1, exit)]);
    sim.advance(SETTLE - Duration::from_nanos(1), &[]);
    sim.event(closed(1), &end);

    let mut sim = Sim::ready(policy());
    sim.event(exited(1, exit), &[told_exit(1, exit)]);
    sim.exactly_after(SETTLE, &end);
    sim.event(closed(1), &[]);
}

#[test]
fn a_worker_without_its_channel_has_to_go() {
    let mut sim = Sim::ready(policy());
    sim.event(closed(1), &[]);
    sim.advance(ms(200), &[]);
    sim.event(closed(1), &[]);
    let lost = tell(Notice::ChannelLost { generation: 1 });
    sim.exactly_after(ms(300), &[lost, terminate(1)]);
    let killing = tell(Notice::Killing { generation: 1 });
    sim.exactly_after(GRACE, &[killing, kill(1)]);
    let exit = Exit::Signal(9);
    let want = [
        told_exit(1, exit),
        report(1, CauseKind::ChannelLost),
        told_delay(MIN),
    ];
    sim.event(exited(1, exit), &want);
}

#[test]
fn a_channel_that_closes_before_the_outcome_of_the_spawn_is_lost_too() {
    let mut sim = Sim::new(policy());
    sim.event(closed(1), &[]);
    sim.advance(secs(1), &[]);
    sim.event(spawned(1), &[told_spawned(1)]);
    let lost = tell(Notice::ChannelLost { generation: 1 });
    sim.advance(Duration::ZERO, &[lost, terminate(1)]);
}

#[test]
fn other_generations_are_not_heard() {
    let stale = |generation| {
        [
            spawned(generation),
            spawn_failed(generation),
            hello(generation),
            Event::HandshakeFailed { generation },
            says_ready(generation),
            Event::Crashing { generation },
            closed(generation),
            exited(generation, Exit::Code(0)),
            probed(generation, Verdict::Unhealthy),
        ]
    };
    let mut sim = Sim::backing_off(probing());
    for event in stale(1) {
        sim.event(event, &[]);
    }
    sim.advance(MIN, &[spawn(2)]);
    for step in 0..4 {
        let before = sim.supervisor.clone();
        for event in stale(1).into_iter().chain(stale(3)) {
            sim.event(event, &[]);
        }
        assert_eq!(sim.supervisor, before);
        match step {
            0 => sim.event(spawned(2), &[told_spawned(2)]),
            1 => sim.event(hello(2), &[]),
            _ => {
                sim.pass(FIRST_PROBE);
            }
        }
    }
}

#[test]
fn codes_that_end_a_session_that_was_never_ready() {
    for code in 0..=u8::MAX {
        let mut sim = Sim::starting(policy());
        let found = sim.end(Exit::Code(code), MIDDLE);
        if [0, 2, 64, 78].contains(&code) {
            let exit = Exit::Code(code);
            let ended = tell(Notice::EndedByItself { exit });
            assert_eq!(found, [ended, HANDLERS_CLEAN]);
            sim.event(Event::HandlersDone, &[Action::Finish { code }]);
        } else {
            let want = [report(1, CauseKind::Exit), told_delay(MIN)];
            assert_eq!(found, want, "code {code}");
        }
    }
}

#[test]
fn the_same_codes_restart_once_some_worker_was_ready() {
    for code in FINAL_CODES {
        let mut sim = Sim::ready(policy());
        let found = sim.end(Exit::Code(code), MIDDLE);
        assert_eq!(found, [report(1, CauseKind::Exit), told_delay(MIN)]);
        sim.pass(MIN);
        let found = sim.crash_at_once(MIDDLE);
        assert_eq!(found, [report(2, CauseKind::Exit), told_delay(MIN * 2)]);
        sim.pass(MIN * 2);
        sim.quietly(spawned(3));
        let found = sim.end(Exit::Code(code), MIDDLE);
        assert_eq!(found, [report(3, CauseKind::Exit), told_delay(MIN * 4)]);
    }
}

#[test]
fn a_final_code_after_an_announced_crash_is_a_crash() {
    for code in FINAL_CODES {
        let mut sim = Sim::starting(policy());
        sim.event(Event::Crashing { generation: 1 }, &[]);
        let found = sim.end(Exit::Code(code), MIDDLE);
        assert_eq!(found, [report(1, CauseKind::Told), told_delay(MIN)]);
    }
}

/// What a policy makes of the end of a ready worker: the session's code, and is it reported?
#[test]
fn policies_by_exit() {
    use Restarts::{Always, Never, OnFailure};
    let rows = [
        (Always, Exit::Code(0), None, true),
        (Always, Exit::Code(3), None, true),
        (Always, Exit::Signal(15), None, true),
        (OnFailure, Exit::Code(0), Some(0), false),
        (OnFailure, Exit::Code(2), None, true),
        (OnFailure, Exit::Code(255), None, true),
        (OnFailure, Exit::Signal(15), None, true),
        (OnFailure, Exit::Unknown, None, true),
        (Never, Exit::Code(0), Some(0), false),
        (Never, Exit::Code(3), Some(3), true),
        (Never, Exit::Code(255), Some(255), true),
        (Never, Exit::Signal(9), Some(137), true),
        (Never, Exit::Signal(15), Some(143), true),
        (Never, Exit::Signal(64), Some(192), true),
        (Never, Exit::Signal(u8::MAX), Some(255), true),
        (Never, Exit::Unknown, Some(1), true),
    ];
    for (restarts, exit, code, reported) in rows {
        let mut sim = Sim::ready(Policy {
            restarts,
            ..policy()
        });
        let found = sim.end(exit, MIDDLE);
        let at = format!("{restarts:?}, {exit:?}");
        let is_reported = found.contains(&report(1, CauseKind::Exit));
        assert_eq!(is_reported, reported, "{at}");
        match code {
            Some(code) => {
                assert!(found.contains(&HANDLERS_CLEAN), "{at}");
                sim.event(Event::HandlersDone, &[Action::Finish { code }]);
            }
            None => assert_eq!(sim.state(), State::BackingOff, "{at}"),
        }
    }
}

#[test]
fn an_announced_crash_is_never_a_clean_exit() {
    for (restarts, ends) in [(Restarts::OnFailure, false), (Restarts::Never, true)] {
        let mut sim = Sim::ready(Policy {
            restarts,
            ..policy()
        });
        sim.event(Event::Crashing { generation: 1 }, &[]);
        let found = sim.end(Exit::Code(0), MIDDLE);
        assert_eq!(found[0], report(1, CauseKind::Told), "{restarts:?}");
        assert_eq!(found.contains(&HANDLERS_CLEAN), ends, "{restarts:?}");
    }
}

#[test]
fn a_planned_end_is_no_exit_by_itself() {
    for restarts in [Restarts::OnFailure, Restarts::Never] {
        let mut sim = Sim::ready(Policy {
            restarts,
            ..policy()
        });
        sim.quietly(restart(How::Clean));
        assert_eq!(sim.end(Exit::Code(0), MIDDLE), [AT_ONCE, spawn(2)]);
    }
}

#[test]
fn a_worker_that_crashes_by_its_own_word_has_the_grace_period() {
    let mut sim = Sim::ready(policy());
    sim.event(Event::Crashing { generation: 1 }, &[]);
    sim.event(Event::Crashing { generation: 1 }, &[]);
    let told = tell(Notice::Terminating { generation: 1 });
    sim.exactly_after(GRACE, &[told, terminate(1)]);
    let told = tell(Notice::Killing { generation: 1 });
    sim.exactly_after(TERMINATE, &[told, kill(1)]);
    let found = sim.end(Exit::Signal(9), MIDDLE);
    assert_eq!(found[0], report(1, CauseKind::Told));
}

#[test]
fn an_unkillable_worker_is_told_and_has_no_second_one_beside_it() {
    let mut sim = Sim::killing(policy());
    let told = tell(Notice::Unkillable { generation: 1 });
    sim.exactly_after(REAP, &[told]);
    sim.advance(secs(86_400), &[]);
    sim.event(restart(How::Force), &[tell(Notice::CannotRestart)]);
    // It was asked to restart, so its end is no crash.
    let exit = Exit::Signal(9);
    sim.event(exited(1, exit), &[told_exit(1, exit)]);
    sim.event(closed(1), &[AT_ONCE, spawn(2)]);
}
