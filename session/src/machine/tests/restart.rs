//! Restarts that an operator asks for.

use super::*;

const RESTARTING: Action = Action::Tell(Notice::Restarting { how: How::Clean });
const FORCED: Action = Action::Tell(Notice::Restarting { how: How::Force });

#[test]
fn a_restart_replaces_the_worker_without_report_or_delay() {
    for make in [Sim::new, Sim::handshaking, Sim::starting, Sim::ready] {
        for (how, want) in [
            (How::Clean, [RESTARTING, ask(1, Leaving::Restart)]),
            (How::Force, [FORCED, kill(1)]),
        ] {
            let mut sim = make(policy());
            sim.event(restart(how), &want);
            let found = sim.end(Exit::Signal(9), MIDDLE);
            assert_eq!(found, [AT_ONCE, spawn(2)]);
            sim.make_ready();
        }
    }
}

#[test]
fn a_second_restart_forces_the_first() {
    for how in [How::Clean, How::Force] {
        for make in [Sim::draining, Sim::terminating] {
            let mut sim = make(policy());
            sim.event(restart(how), &[FORCED, kill(1)]);
            sim.event(restart(how), &[tell(Notice::AlreadyRestarting)]);
            let found = sim.end(Exit::Signal(9), MIDDLE);
            assert_eq!(found, [AT_ONCE, spawn(2)]);
        }
    }
}

#[test]
fn a_clean_restart_climbs_the_ladder() {
    let mut sim = Sim::draining(policy());
    let told = tell(Notice::Terminating { generation: 1 });
    sim.exactly_after(GRACE, &[told, terminate(1)]);
    let told = tell(Notice::Killing { generation: 1 });
    sim.exactly_after(TERMINATE, &[told, kill(1)]);
}

#[test]
fn a_restart_in_backoff_waits_no_longer() {
    for how in [How::Clean, How::Force] {
        let mut sim = Sim::backing_off(policy());
        sim.event(restart(how), &[AT_ONCE, spawn(2)]);
        sim.advance(MIN * 2, &[]);
    }
}

#[test]
fn a_stop_beats_a_restart() {
    for make in [Sim::closing, |policy| {
        let mut sim = Sim::ready(policy);
        sim.quietly(operator_stop(How::Clean));
        sim
    }] {
        let mut sim = make(policy());
        sim.event(restart(How::Clean), &[tell(Notice::AlreadyStopping)]);
    }
    let mut sim = Sim::draining(policy());
    sim.quietly(operator_stop(How::Clean));
    assert_eq!(sim.end(Exit::Code(0), MIDDLE), []);
    sim.event(Event::HandlersDone, &[Action::Finish { code: 0 }]);
}

#[test]
fn a_restart_makes_no_planned_end_of_a_crash() {
    let mut sim = Sim::ready(policy());
    sim.quietly(Event::Crashing { generation: 1 });
    sim.event(restart(How::Clean), &[FORCED, kill(1)]);
    let found = sim.end(Exit::Signal(9), MIDDLE);
    assert_eq!(found, [report(1, CauseKind::Told), told_delay(MIN)]);
}

#[test]
fn a_spawn_that_fails_during_a_restart_is_retried() {
    for how in [How::Clean, How::Force] {
        let mut sim = Sim::new(policy());
        sim.quietly(restart(how));
        let want = [report(1, CauseKind::SpawnError), told_delay(MIN)];
        sim.event(spawn_failed(1), &want);
        sim.exactly_after(MIN, &[spawn(2)]);
    }
}
