//! Handshake, readiness and probes.

use super::*;

fn probe(generation: Generation) -> Action {
    Action::Probe {
        generation,
        timeout: TIMEOUT,
    }
}

fn tolerant(tolerance: u32) -> Policy {
    Policy {
        tolerance,
        ..probing()
    }
}

/// A probe is sent at its time, and this comes back.
#[track_caller]
fn round(sim: &mut Sim, verdict: Verdict, want: &[Action]) {
    sim.exactly_after(INTERVAL, &[probe(1)]);
    sim.event(probed(1, verdict), want);
}

#[test]
fn each_readiness_has_its_own_word() {
    for readiness in [Readiness::Probe, Readiness::Call, Readiness::Hello] {
        let mut sim = Sim::handshaking(Policy {
            readiness,
            ..probing()
        });
        sim.event(says_ready(1), &[]);
        let ready = |is: bool| if is { vec![told_ready(1)] } else { vec![] };
        sim.event(hello(1), &ready(readiness == Readiness::Hello));
        sim.event(hello(1), &[]);
        sim.event(says_ready(1), &ready(readiness == Readiness::Call));
        sim.event(says_ready(1), &[]);
        if readiness == Readiness::Probe {
            sim.exactly_after(FIRST_PROBE, &[probe(1)]);
            sim.event(probed(1, Verdict::Healthy), &[told_ready(1)]);
        }
        assert_eq!(sim.state(), State::Ready, "{readiness:?}");
        sim.exactly_after(INTERVAL, &[probe(1)]);
    }
}

#[test]
fn quick_probes_double_up_to_a_second() {
    for verdict in [Verdict::Unhealthy, Verdict::CannotProbe] {
        let mut sim = Sim::starting(probing());
        for wait in [20, 40, 80, 160, 320, 640, 1000, 1000, 1000] {
            sim.exactly_after(ms(wait), &[probe(1)]);
            sim.event(probed(1, verdict), &[]);
        }
        assert_eq!(sim.state(), State::Starting);
    }
}

#[test]
fn a_worker_that_is_not_ready_in_time_has_to_go() {
    let mut sim = Sim::starting(policy());
    let late = tell(Notice::NotReadyInTime {
        generation: 1,
        after: STARTUP,
    });
    sim.exactly_after(STARTUP, &[late, ask(1, Leaving::NotReady)]);
    sim.event(says_ready(1), &[]);
    let found = sim.end(Exit::Code(0), MIDDLE);
    assert_eq!(found, [report(1, CauseKind::FailedStart), told_delay(MIN)]);
}

#[test]
fn a_ready_worker_has_no_startup_deadline() {
    let mut sim = Sim::ready(policy());
    sim.advance(STARTUP * 1000, &[]);
    assert_eq!(sim.state(), State::Ready);
}

#[test]
fn no_hello_in_time_or_a_wrong_one_is_killed() {
    let want = [tell(Notice::NoHandshake { generation: 1 }), kill(1)];
    let mut late = Sim::handshaking(policy());
    late.exactly_after(HANDSHAKE_TIMEOUT, &want);
    let mut wrong = Sim::handshaking(policy());
    wrong.event(Event::HandshakeFailed { generation: 1 }, &want);
    for mut sim in [late, wrong] {
        sim.event(hello(1), &[]);
        let found = sim.end(Exit::Signal(9), MIDDLE);
        assert_eq!(found, [report(1, CauseKind::NoHandshake), told_delay(MIN)]);
    }
}

#[test]
fn a_startup_deadline_before_the_handshakes_counts() {
    let after = secs(1);
    let mut sim = Sim::handshaking(Policy {
        startup_timeout: after,
        ..policy()
    });
    let late = tell(Notice::NotReadyInTime {
        generation: 1,
        after,
    });
    sim.exactly_after(after, &[late, ask(1, Leaving::NotReady)]);
}

#[test]
fn only_consecutive_failures_exceed_the_tolerance() {
    for tolerance in [0, 1, 2] {
        let mut sim = Sim::ready(tolerant(tolerance));
        for _ in 0..3 {
            for failures in 1..=tolerance {
                let told = Notice::Tolerated {
                    generation: 1,
                    failures,
                    tolerance,
                };
                round(&mut sim, Verdict::Unhealthy, &[tell(told)]);
            }
            let recovered = [tell(Notice::Recovered { generation: 1 })];
            let want: &[_] = if tolerance > 0 { &recovered } else { &[] };
            round(&mut sim, Verdict::Healthy, want);
        }
        for _ in 0..tolerance {
            sim.pass(INTERVAL);
            sim.quietly(probed(1, Verdict::Unhealthy));
        }
        let told = tell(Notice::Unhealthy {
            generation: 1,
            failures: tolerance + 1,
        });
        round(
            &mut sim,
            Verdict::Unhealthy,
            &[told, ask(1, Leaving::Unhealthy)],
        );
        // Stable by then: what counts is that it is told.
        let found = sim.end(Exit::Code(0), MIDDLE);
        assert_eq!(found[0], report(1, CauseKind::FailedProbe));
    }
}

#[test]
fn an_obstacle_of_our_own_never_counts_and_is_told_once() {
    let mut sim = Sim::ready(tolerant(1));
    let told = [tell(Notice::CannotProbe { generation: 1 })];
    round(&mut sim, Verdict::CannotProbe, &told);
    for _ in 0..10 {
        round(&mut sim, Verdict::CannotProbe, &[]);
    }
    round(&mut sim, Verdict::Healthy, &[]);
    round(&mut sim, Verdict::CannotProbe, &told);
    // Nor does it make consecutive failures less so.
    let tolerated = Notice::Tolerated {
        generation: 1,
        failures: 1,
        tolerance: 1,
    };
    round(&mut sim, Verdict::Unhealthy, &[tell(tolerated)]);
    round(&mut sim, Verdict::CannotProbe, &[]);
    sim.pass(INTERVAL);
    sim.quietly(probed(1, Verdict::Unhealthy));
    assert_eq!(sim.state(), State::Draining);
}

#[test]
fn a_lost_probe_is_told_and_another_follows() {
    let mut sim = Sim::ready(probing());
    sim.exactly_after(INTERVAL, &[probe(1)]);
    let lost = tell(Notice::ProbeLost { generation: 1 });
    sim.exactly_after(TIMEOUT + PROBE_OVERDUE, &[lost]);
    sim.event(probed(1, Verdict::Unhealthy), &[]);
    sim.exactly_after(INTERVAL, &[probe(1)]);
}

#[test]
fn a_lost_quick_probe_is_followed_by_a_quick_one() {
    let mut sim = Sim::starting(probing());
    sim.exactly_after(FIRST_PROBE, &[probe(1)]);
    let lost = tell(Notice::ProbeLost { generation: 1 });
    sim.exactly_after(TIMEOUT + PROBE_OVERDUE, &[lost]);
    sim.exactly_after(FIRST_PROBE, &[probe(1)]);
}

#[test]
fn the_interval_runs_from_probe_to_probe() {
    let mut sim = Sim::ready(probing());
    sim.exactly_after(INTERVAL, &[probe(1)]);
    sim.advance(secs(2), &[]);
    sim.event(probed(1, Verdict::Healthy), &[]);
    sim.exactly_after(INTERVAL - secs(2), &[probe(1)]);
}

#[test]
fn a_verdict_after_the_decision_changes_nothing() {
    let mut sim = Sim::ready(probing());
    sim.exactly_after(INTERVAL, &[probe(1)]);
    sim.quietly(restart(How::Clean));
    sim.event(probed(1, Verdict::Unhealthy), &[]);
    assert_eq!(sim.end(Exit::Code(0), MIDDLE), [AT_ONCE, spawn(2)]);
}

#[test]
fn a_verdict_that_nobody_asked_for_counts_not() {
    let mut sim = Sim::starting(probing());
    sim.event(probed(1, Verdict::Healthy), &[]);
    assert_eq!(sim.state(), State::Starting);
}

#[test]
fn a_new_interval_counts_now_or_from_the_next_worker_on() {
    let (interval, timeout) = (secs(7), secs(1));
    let next = |generation| Action::Probe {
        generation,
        timeout,
    };
    for now in [true, false] {
        let mut sim = Sim::ready(probing());
        sim.advance(secs(5), &[]);
        let event = Event::SetPolling {
            interval,
            timeout,
            now,
        };
        sim.event(event, &[]);
        if now {
            sim.exactly_after(interval, &[next(1)]);
        } else {
            sim.exactly_after(INTERVAL - secs(5), &[probe(1)]);
        }
        sim.event(probed(1, Verdict::Healthy), &[]);
        sim.quietly(restart(How::Force));
        sim.end(Exit::Signal(9), MIDDLE);
        sim.make_ready();
        sim.exactly_after(interval, &[next(2)]);
    }
}

#[test]
fn a_new_interval_waits_for_the_probe_in_flight() {
    let mut sim = Sim::ready(probing());
    sim.exactly_after(INTERVAL, &[probe(1)]);
    let (interval, timeout) = (secs(7), secs(1));
    let now = true;
    sim.event(
        Event::SetPolling {
            interval,
            timeout,
            now,
        },
        &[],
    );
    sim.event(probed(1, Verdict::Healthy), &[]);
    let generation = 1;
    sim.exactly_after(
        interval,
        &[Action::Probe {
            generation,
            timeout,
        }],
    );
}

#[test]
fn a_session_that_does_not_probe_never_starts_to() {
    let mut sim = Sim::ready(policy());
    let (interval, timeout) = (secs(7), secs(1));
    for now in [true, false] {
        let event = Event::SetPolling {
            interval,
            timeout,
            now,
        };
        sim.event(event, &[]);
    }
    sim.advance(secs(86_400), &[]);
}
