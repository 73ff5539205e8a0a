//! Stops: the ladder, escalation, the exit handlers and the code.

use super::*;

const STOPPING: Action = Action::Tell(Notice::Stopping { how: How::Clean });
const STOPPING_FORCE: Action = Action::Tell(Notice::Stopping { how: How::Force });
const FORCING: Action = Action::Tell(Notice::Forcing);

type Make = fn(Policy) -> Sim;

/// Every state with a worker that lives and may stay.
const ALIVE: [Make; 4] = [Sim::new, Sim::handshaking, Sim::starting, Sim::ready];

#[test]
fn a_clean_stop_climbs_the_ladder_at_its_times() {
    let mut sim = Sim::ready(policy());
    let begin = [STOPPING, HANDLERS_CLEAN, ask(1, Leaving::Stop)];
    sim.event(operator_stop(How::Clean), &begin);
    let told = tell(Notice::Terminating { generation: 1 });
    sim.exactly_after(GRACE, &[told, terminate(1)]);
    let told = tell(Notice::Killing { generation: 1 });
    sim.exactly_after(TERMINATE, &[told, kill(1)]);
    sim.event(Event::HandlersDone, &[]);
    let told = tell(Notice::Unkillable { generation: 1 });
    sim.exactly_after(REAP, &[told, Action::Finish { code: 71 }]);
    assert_eq!(sim.supervisor.next_deadline(), None);
}

/// The driver also wakes for what is due elsewhere.
#[test]
fn a_wake_before_a_deadline_climbs_no_rung() {
    let rungs: [Make; 6] = [
        Sim::handshaking,
        Sim::starting,
        Sim::draining,
        Sim::terminating,
        Sim::killing,
        Sim::dead,
    ];
    for make in rungs.into_iter().chain([Sim::backing_off, Sim::closing]) {
        let mut sim = make(policy());
        let (state, deadline) = (sim.state(), sim.supervisor.next_deadline().unwrap());
        for early in [sim.now, deadline - Duration::from_nanos(1)] {
            assert_eq!(sim.supervisor.handle_timeout(early), [], "{state:?}");
            assert_eq!(sim.state(), state);
        }
        sim.pass(deadline - sim.now);
        assert_ne!(sim.state(), state);
    }
}

#[test]
fn a_stop_is_over_when_worker_and_handlers_are() {
    for handlers_first in [true, false] {
        let mut sim = Sim::ready(policy());
        sim.quietly(stop(How::Clean, 7, Asker::Operator));
        if handlers_first {
            sim.event(Event::HandlersDone, &[]);
            let finish = [Action::Finish { code: 7 }];
            assert_eq!(sim.end(Exit::Code(0), MIDDLE), finish);
        } else {
            assert_eq!(sim.end(Exit::Code(0), MIDDLE), []);
            sim.event(Event::HandlersDone, &[Action::Finish { code: 7 }]);
        }
    }
}

#[test]
fn a_stop_from_any_living_state_ends_without_report_or_spawn() {
    for make in ALIVE {
        let mut sim = make(probing());
        let begin = [STOPPING, HANDLERS_CLEAN, ask(1, Leaving::Stop)];
        sim.event(operator_stop(How::Clean), &begin);
        sim.event(Event::HandlersDone, &[]);
        sim.event(hello(1), &[]);
        let finish = [Action::Finish { code: 0 }];
        assert_eq!(sim.end(Exit::Signal(15), MIDDLE), finish);

        let mut sim = make(probing());
        let begin = [STOPPING_FORCE, HANDLERS_FORCE, kill(1)];
        sim.event(operator_stop(How::Force), &begin);
        assert_eq!(sim.end(Exit::Signal(9), MIDDLE), []);
        sim.event(Event::HandlersDone, &[Action::Finish { code: 0 }]);
    }
}

#[test]
fn a_stop_reaches_a_worker_that_appears_after_it() {
    for (how, again) in [(How::Clean, ask(1, Leaving::Stop)), (How::Force, kill(1))] {
        let mut sim = Sim::new(policy());
        sim.quietly(operator_stop(how));
        sim.event(spawned(1), &[told_spawned(1), again]);
        sim.event(spawned(1), &[]);
    }
    let mut sim = Sim::new(policy());
    sim.quietly(operator_stop(How::Clean));
    sim.pass(GRACE);
    assert_eq!(sim.state(), State::Terminating);
    sim.event(spawned(1), &[told_spawned(1), terminate(1)]);
}

#[test]
fn a_spawn_that_fails_during_a_stop_ends_it() {
    for how in [How::Clean, How::Force] {
        let mut sim = Sim::new(policy());
        sim.quietly(stop(how, 4, Asker::Operator));
        sim.event(spawn_failed(1), &[report(1, CauseKind::SpawnError)]);
        sim.event(Event::HandlersDone, &[Action::Finish { code: 4 }]);
    }
}

/// A clean stop and a second request in each of its phases.
#[test]
fn a_second_request_escalates_in_every_phase() {
    for (wait, state) in [
        (Duration::ZERO, State::Draining),
        (GRACE, State::Terminating),
    ] {
        for how in [How::Clean, How::Force] {
            let mut sim = Sim::ready(policy());
            sim.quietly(operator_stop(How::Clean));
            sim.pass(wait);
            assert_eq!(sim.state(), state);
            sim.event(operator_stop(how), &[FORCING, kill(1)]);
            for _ in 0..3 {
                sim.event(operator_stop(how), &[]);
            }
            sim.exactly_after(HANDLERS_FORCED, &[tell(Notice::HandlersOverdue)]);
            let finish = [Action::Finish { code: 0 }];
            assert_eq!(sim.end(Exit::Signal(9), MIDDLE), finish);
        }
    }
    let mut sim = Sim::ready(policy());
    sim.quietly(operator_stop(How::Clean));
    sim.pass(GRACE + TERMINATE);
    sim.event(operator_stop(How::Clean), &[FORCING]);
    let mut sim = Sim::closing(policy());
    sim.event(operator_stop(How::Clean), &[FORCING]);
    let overdue = tell(Notice::HandlersOverdue);
    sim.exactly_after(HANDLERS_FORCED, &[overdue, Action::Finish { code: 0 }]);
}

#[test]
fn escalation_does_not_give_handlers_more_time() {
    let mut sim = Sim::closing(policy());
    let all = GRACE + HANDLERS_BEYOND_GRACE;
    sim.advance(all - ms(100), &[]);
    sim.event(operator_stop(How::Force), &[FORCING]);
    let overdue = tell(Notice::HandlersOverdue);
    sim.exactly_after(ms(100), &[overdue, Action::Finish { code: 0 }]);
}

#[test]
fn nothing_makes_a_stop_gentler() {
    let mut sim = Sim::ready(policy());
    sim.quietly(operator_stop(How::Force));
    for asker in [Asker::Signal, Asker::HangUp, Asker::Operator, Asker::Worker] {
        sim.advance(ms(30), &[]);
        sim.event(stop(How::Clean, 9, asker), &[]);
        assert_eq!(sim.state(), State::Killing);
    }
}

#[test]
fn signals_close_together_are_one() {
    let nano = Duration::from_nanos(1);
    for (apart, forces) in [
        (Duration::ZERO, false),
        (SIGNAL_DEBOUNCE - nano, false),
        (SIGNAL_DEBOUNCE, true),
        (SIGNAL_DEBOUNCE + nano, true),
        (secs(5), true),
    ] {
        let mut sim = Sim::ready(policy());
        sim.quietly(stop(How::Clean, 0, Asker::Signal));
        sim.advance(apart, &[]);
        let want: &[_] = if forces { &[FORCING, kill(1)] } else { &[] };
        sim.event(stop(How::Clean, 0, Asker::Signal), want);
    }
}

#[test]
fn a_terminal_that_goes_away_makes_no_stop_harder() {
    for first in [Asker::Signal, Asker::HangUp, Asker::Operator] {
        let mut sim = Sim::ready(policy());
        sim.quietly(stop(How::Clean, 0, first));
        for _ in 0..3 {
            sim.advance(ms(300), &[]);
            sim.event(stop(How::Clean, 0, Asker::HangUp), &[]);
        }
        assert_eq!(sim.state(), State::Draining);
        // Whoever asks is still heard.
        sim.event(stop(How::Clean, 0, Asker::Signal), &[FORCING, kill(1)]);
    }
}

#[test]
fn a_stopping_worker_may_ask_for_what_happens_already() {
    let mut sim = Sim::ready(policy());
    sim.quietly(operator_stop(How::Clean));
    sim.advance(secs(1), &[]);
    sim.event(stop(How::Clean, 5, Asker::Worker), &[]);
    assert_eq!(sim.state(), State::Draining);
    sim.event(stop(How::Force, 5, Asker::Worker), &[FORCING, kill(1)]);
    sim.end(Exit::Signal(9), MIDDLE);
    sim.event(Event::HandlersDone, &[Action::Finish { code: 0 }]);
}

#[test]
fn the_first_code_is_kept() {
    let mut sim = Sim::ready(policy());
    sim.quietly(stop(How::Clean, 5, Asker::Worker));
    for (code, asker) in [(6, Asker::Operator), (7, Asker::Worker)] {
        sim.quietly(stop(How::Force, code, asker));
    }
    sim.end(Exit::Signal(9), MIDDLE);
    sim.event(Event::HandlersDone, &[Action::Finish { code: 5 }]);
}

#[test]
fn a_stop_shows_from_its_request_to_its_end() {
    let mut sim = Sim::ready(policy());
    let stopping = |sim: &Sim| sim.supervisor.snapshot().stopping;
    assert!(!stopping(&sim));
    sim.quietly(operator_stop(How::Clean));
    assert!(stopping(&sim));
    sim.end(Exit::Code(0), MIDDLE);
    sim.event(Event::HandlersDone, &[Action::Finish { code: 0 }]);
    assert!(stopping(&sim));
}

#[test]
fn a_stop_in_backoff_needs_no_worker() {
    for (how, begin) in [
        (How::Clean, [STOPPING, HANDLERS_CLEAN]),
        (How::Force, [STOPPING_FORCE, HANDLERS_FORCE]),
    ] {
        let mut sim = Sim::backing_off(policy());
        sim.event(operator_stop(how), &begin);
        sim.advance(MIN * 2, &[]);
        sim.event(Event::HandlersDone, &[Action::Finish { code: 0 }]);
        sim.advance(secs(86_400), &[]);
    }
}

#[test]
fn a_stop_does_not_hide_a_crash_in_progress() {
    type Begin = fn(&mut Sim);
    let rows: [(Begin, CauseKind); 4] = [
        (
            |sim| {
                sim.quietly(Event::Crashing { generation: 1 });
            },
            CauseKind::Told,
        ),
        (
            |sim| {
                sim.pass(INTERVAL);
                sim.quietly(probed(1, Verdict::Unhealthy));
            },
            CauseKind::FailedProbe,
        ),
        (
            |sim| {
                sim.quietly(closed(1));
                sim.pass(CHANNEL_LOST);
            },
            CauseKind::ChannelLost,
        ),
        (
            |sim| {
                sim.quietly(exited(1, Exit::Code(3)));
            },
            CauseKind::Exit,
        ),
    ];
    for (begin, cause) in rows {
        for how in [How::Clean, How::Force] {
            let mut sim = Sim::ready(probing());
            begin(&mut sim);
            sim.quietly(operator_stop(how));
            let mut found = sim.quietly(exited(1, Exit::Signal(9)));
            found.extend(sim.quietly(closed(1)));
            found.retain(|action| !matches!(action, Action::Tell(_)));
            assert_eq!(found, [report(1, cause)], "{how:?}");
            sim.event(Event::HandlersDone, &[Action::Finish { code: 0 }]);
        }
    }
}

#[test]
fn a_crash_during_a_stop_is_part_of_the_stop() {
    let mut sim = Sim::ready(policy());
    sim.quietly(operator_stop(How::Clean));
    sim.event(Event::Crashing { generation: 1 }, &[]);
    assert_eq!(sim.end(Exit::Signal(6), MIDDLE), []);
}

#[test]
fn an_unkillable_worker_does_not_hold_a_stop_up() {
    let mut sim = Sim::unkillable(policy());
    sim.event(
        stop(How::Clean, 3, Asker::Operator),
        &[STOPPING, HANDLERS_CLEAN],
    );
    sim.event(Event::HandlersDone, &[Action::Finish { code: 71 }]);
    // It is over: whatever still arrives has nobody to act on it.
    for late in [exited(1, Exit::Signal(9)), closed(1), restart(How::Clean)] {
        sim.event(late, &[]);
    }
    sim.advance(secs(86_400), &[]);

    let mut sim = Sim::unkillable(policy());
    sim.quietly(stop(How::Clean, 3, Asker::Operator));
    assert_eq!(sim.end(Exit::Signal(9), MIDDLE), []);
    sim.event(Event::HandlersDone, &[Action::Finish { code: 3 }]);
}

#[test]
fn handlers_that_are_overdue_are_told_and_left_behind() {
    for (how, within) in [
        (How::Clean, GRACE + HANDLERS_BEYOND_GRACE),
        (How::Force, HANDLERS_FORCED),
    ] {
        let mut sim = Sim::backing_off(policy());
        sim.quietly(operator_stop(how));
        let overdue = tell(Notice::HandlersOverdue);
        sim.exactly_after(within, &[overdue, Action::Finish { code: 0 }]);
    }
    // With a worker still there, the stop waits for that alone.
    let mut sim = Sim::ready(policy());
    sim.quietly(operator_stop(How::Force));
    sim.exactly_after(HANDLERS_FORCED, &[tell(Notice::HandlersOverdue)]);
    sim.event(Event::HandlersDone, &[]);
    let finish = [Action::Finish { code: 0 }];
    assert_eq!(sim.end(Exit::Signal(9), MIDDLE), finish);
}

#[test]
fn a_clean_stop_ends_within_grace_and_two_seconds() {
    let mut sim = Sim::ready(policy());
    let asked = sim.now;
    sim.quietly(operator_stop(How::Clean));
    while sim.state() != State::Killing || sim.now < asked + GRACE + HANDLERS_BEYOND_GRACE {
        sim.pass(ms(100));
    }
    let finish = [Action::Finish { code: 0 }];
    assert_eq!(sim.end(Exit::Signal(9), MIDDLE), finish);
    assert!(sim.now <= asked + GRACE + secs(2));
}
