//! Reloads: what makes the incoming worker ready, what takes over from what, and every way in
//! which one of the two fails meanwhile.

use super::*;

const FORCING: Action = Action::Tell(Notice::Forcing);
const STOPPING: Action = Action::Tell(Notice::Stopping { how: How::Clean });
const STOPPING_FORCE: Action = Action::Tell(Notice::Stopping { how: How::Force });
const RESTARTING: Action = Action::Tell(Notice::Restarting { how: How::Clean });
const RESTARTING_FORCE: Action = Action::Tell(Notice::Restarting { how: How::Force });
const ALREADY_RELOADING: Action = Action::Tell(Notice::AlreadyReloading);
const ALREADY_RESTARTING: Action = Action::Tell(Notice::AlreadyRestarting);
const CANNOT_RESTART: Action = Action::Tell(Notice::CannotRestart);
const CANNOT_RELOAD: Action = Action::Tell(Notice::CannotReload);

fn policy_of(readiness: Readiness) -> Policy {
    Policy {
        readiness,
        ..probing()
    }
}

fn told_reloading(generation: Generation) -> Action {
    tell(Notice::Reloading { generation })
}

fn told_failed(generation: Generation) -> Action {
    tell(Notice::ReloadFailed { generation })
}

fn taken_over(generation: Generation) -> [Action; 2] {
    [
        Action::TakeOver { generation },
        tell(Notice::TookOver { generation }),
    ]
}

fn probe(generation: Generation) -> Action {
    Action::Probe {
        generation,
        timeout: TIMEOUT,
    }
}

fn told_unkillable(generation: Generation) -> Action {
    tell(Notice::Unkillable { generation })
}

impl Sim {
    /// Ready, and it accepts as `serving` says.
    fn serving(policy: Policy, serving: Serving) -> Sim {
        let mut sim = Sim::ready(policy);
        sim.event(serves(1, serving), &[]);
        sim
    }

    /// Worker 2 was asked for, beside worker 1.
    fn reloading(policy: Policy, serving: Serving) -> Sim {
        let mut sim = Sim::serving(policy, serving);
        sim.event(Event::Reload, &[told_reloading(2), spawn(2)]);
        assert_eq!(sim.companion(), Some((2, Companion::Incoming)));
        assert_eq!((sim.state(), sim.generation()), (State::Ready, 1));
        sim
    }

    /// Worker 2 has said hello, beside worker 1.
    fn incoming(policy: Policy, serving: Serving) -> Sim {
        let mut sim = Sim::reloading(policy, serving);
        sim.event(spawned(2), &[told_spawned(2)]);
        sim.event(hello(2), &[]);
        sim
    }

    /// Worker 2 is the active one, and worker 1 drains.
    fn outgoing(policy: Policy, serving: Serving) -> Sim {
        let mut sim = Sim::incoming(policy, serving);
        sim.quietly(says_ready(2));
        assert_eq!(sim.companion(), Some((1, Companion::Outgoing)));
        assert_eq!((sim.state(), sim.generation()), (State::Ready, 2));
        sim
    }

    /// SIGKILL does not end worker 1, from which worker 2 has taken over.
    fn outgoing_unkillable(policy: Policy, serving: Serving) -> Sim {
        let mut sim = Sim::outgoing(policy, serving);
        let told = sim.pass(GRACE + TERMINATE + REAP);
        assert!(told.contains(&told_unkillable(1)));
        sim
    }

    /// SIGKILL does not end worker 2, which never said hello beside worker 1.
    fn incoming_unkillable(policy: Policy, serving: Serving) -> Sim {
        let mut sim = Sim::reloading(policy, serving);
        sim.quietly(spawned(2));
        let told = sim.pass(HANDSHAKE_TIMEOUT + REAP);
        assert!(told.contains(&told_unkillable(2)));
        sim
    }

    fn companion(&self) -> Option<(Generation, Companion)> {
        self.supervisor.snapshot().companion
    }

    /// Worker `generation` ends, and so does its channel; what follows?
    fn dies(&mut self, generation: Generation, exit: Exit) -> Vec<Action> {
        let found = self.quietly(exited(generation, exit));
        assert_eq!(found, [told_exit(generation, exit)]);
        self.quietly(closed(generation))
    }
}

#[test]
fn a_new_worker_takes_over_once_a_probe_of_it_alone_is_healthy() {
    let mut sim = Sim::serving(probing(), Serving::Private);
    sim.event(Event::Reload, &[told_reloading(2), spawn(2)]);
    sim.event(spawned(2), &[told_spawned(2)]);
    sim.event(hello(2), &[]);
    sim.event(serves(2, Serving::Private), &[]);
    sim.advance(Duration::ZERO, &[probe(2)]);
    assert_eq!((sim.state(), sim.generation()), (State::Ready, 1));
    let [over, told] = taken_over(2);
    let want = [told_ready(2), over, told, ask(1, Leaving::Restart)];
    sim.event(probed(2, Verdict::Healthy), &want);
    assert_eq!((sim.state(), sim.generation()), (State::Ready, 2));
    assert_eq!(sim.companion(), Some((1, Companion::Outgoing)));
    // A planned end: no report, and nobody is started for it.
    assert_eq!(sim.dies(1, Exit::Code(0)), []);
    assert_eq!(sim.companion(), None);
    sim.exactly_after(INTERVAL, &[probe(2)]);
    sim.event(probed(2, Verdict::Healthy), &[]);
    sim.event(Event::Reload, &[told_reloading(3), spawn(3)]);
}

/// What an incoming worker says in turn, and which of its words takes over.
#[test]
fn what_makes_an_incoming_worker_ready() {
    use Readiness::{Call, Hello, Probe};
    use Serving::{Held, Own, Private};
    let (word, private) = (says_ready(2), serves(2, Private));
    let healthy = probed(2, Verdict::Healthy);
    let held = serves(2, Held);
    let rows: &[(Readiness, &[Event], bool)] = &[
        // It cannot be told from the active one, so its word has to do.
        (Probe, &[word], true),
        (Probe, &[held, word], true),
        (Probe, &[held, healthy], false),
        (Probe, &[private, word], false),
        (Probe, &[private, healthy], true),
        (Probe, &[private, probed(2, Verdict::Unhealthy)], false),
        (Call, &[held, private, healthy], false),
        (Call, &[word], true),
        (Call, &[held, word], true),
        (Call, &[private, word], true),
        // The handshake alone is too little beside a worker that serves.
        (Hello, &[], false),
        (Hello, &[held], false),
        (Hello, &[serves(2, Own)], false),
        (Hello, &[word], true),
        (Hello, &[held, word], true),
        (Hello, &[private], true),
        (Hello, &[held, private], true),
    ];
    for &(readiness, words, takes_over) in rows {
        for serving in [Held, Private] {
            let mut sim = Sim::incoming(policy_of(readiness), serving);
            let (last, before) = words
                .split_last()
                .map_or((None, words), |(l, b)| (Some(l), b));
            for &event in before {
                sim.event(event, &[]);
                sim.pass(Duration::ZERO);
            }
            let found = last.map_or(vec![], |&event| sim.quietly(event));
            let [over, told] = taken_over(2);
            let want = [told_ready(2), over, told, ask(1, Leaving::Restart)];
            let want: &[_] = if takes_over { &want } else { &[] };
            assert_eq!(found, want, "{readiness:?}, {words:?}");
        }
    }
}

#[test]
fn an_incoming_worker_is_never_probed_where_the_active_one_may_answer() {
    for readiness in [Readiness::Probe, Readiness::Call, Readiness::Hello] {
        for serving in [Serving::Own, Serving::Held] {
            let mut sim = Sim::incoming(policy_of(readiness), Serving::Private);
            sim.event(serves(2, serving), &[]);
            let found = sim.pass(STARTUP + GRACE + TERMINATE + REAP);
            assert!(!found.contains(&probe(2)), "{readiness:?}, {serving:?}");
        }
    }
}

#[test]
fn the_active_workers_probes_pause_while_another_may_answer() {
    let mut sim = Sim::serving(probing(), Serving::Held);
    sim.advance(INTERVAL, &[probe(1)]);
    sim.event(Event::Reload, &[told_reloading(2), spawn(2)]);
    // What was in flight may be answered by the new one: it counts for nobody.
    sim.event(probed(1, Verdict::Unhealthy), &[]);
    sim.quietly(spawned(2));
    sim.quietly(hello(2));
    let found = sim.pass(STARTUP - ms(1));
    assert_eq!(found, []);
    sim.dies(2, Exit::Code(1));
    sim.exactly_after(INTERVAL, &[probe(1)]);
    sim.event(
        probed(1, Verdict::Unhealthy),
        &[
            tell(Notice::Unhealthy {
                generation: 1,
                failures: 1,
            }),
            ask(1, Leaving::Unhealthy),
        ],
    );
}

#[test]
fn an_active_worker_that_is_probed_alone_stays_probed() {
    let mut sim = Sim::reloading(
        Policy {
            startup_timeout: INTERVAL * 2,
            ..probing()
        },
        Serving::Private,
    );
    sim.quietly(spawned(2));
    sim.quietly(hello(2));
    sim.exactly_after(INTERVAL, &[probe(1)]);
    let told = tell(Notice::Unhealthy {
        generation: 1,
        failures: 1,
    });
    sim.event(
        probed(1, Verdict::Unhealthy),
        &[told, ask(1, Leaving::Unhealthy)],
    );
    // It was about to be replaced, and the one that replaces it is there.
    let mut want = vec![report(1, CauseKind::FailedProbe)];
    want.extend(taken_over(2));
    assert_eq!(sim.dies(1, Exit::Code(1)), want);
    sim.advance(Duration::ZERO, &[probe(2)]);
}

#[test]
fn a_worker_that_took_over_is_probed_once_nobody_else_may_answer() {
    for readiness in [Readiness::Probe, Readiness::Call, Readiness::Hello] {
        let mut sim = Sim::outgoing(policy_of(readiness), Serving::Held);
        sim.advance(GRACE - ms(1), &[]);
        assert_eq!(sim.dies(1, Exit::Code(0)), []);
        sim.exactly_after(INTERVAL, &[probe(2)]);
    }
}

/// It has said that it is ready, and only then begins to accept.
#[test]
fn a_private_listener_after_the_ready_word_brings_the_probes_back() {
    for readiness in [Readiness::Probe, Readiness::Call, Readiness::Hello] {
        let mut sim = Sim::outgoing(policy_of(readiness), Serving::Private);
        sim.event(serves(2, Serving::Private), &[]);
        assert_eq!(sim.dies(1, Exit::Code(0)), []);
        sim.exactly_after(INTERVAL, &[probe(2)]);

        let mut sim = Sim::reloading(policy_of(readiness), Serving::Held);
        sim.event(serves(1, Serving::Private), &[]);
        sim.event(
            spawn_failed(2),
            &[report(2, CauseKind::SpawnError), told_failed(2)],
        );
        sim.exactly_after(INTERVAL, &[probe(1)]);
    }
}

#[test]
fn an_active_worker_that_starts_is_asked_again_when_it_is_alone() {
    let mut sim = Sim::starting(probing());
    sim.event(serves(1, Serving::Held), &[]);
    sim.event(Event::Reload, &[told_reloading(2), spawn(2)]);
    sim.advance(secs(1), &[]);
    sim.event(
        spawn_failed(2),
        &[report(2, CauseKind::SpawnError), told_failed(2)],
    );
    sim.advance(Duration::ZERO, &[probe(1)]);
    sim.event(probed(1, Verdict::Healthy), &[told_ready(1)]);
}

#[test]
fn an_incoming_worker_that_is_not_ready_in_time_has_to_go() {
    for exits_at in [GRACE / 2, GRACE + TERMINATE / 2, GRACE + TERMINATE] {
        let mut sim = Sim::incoming(policy(), Serving::Held);
        let told = tell(Notice::NotReadyInTime {
            generation: 2,
            after: STARTUP,
        });
        sim.exactly_after(STARTUP, &[told, ask(2, Leaving::NotReady)]);
        // Too late: it is on its way out.
        sim.event(says_ready(2), &[]);
        let mut want = vec![];
        if exits_at >= GRACE {
            want.extend([tell(Notice::Terminating { generation: 2 }), terminate(2)]);
        }
        if exits_at >= GRACE + TERMINATE {
            want.extend([tell(Notice::Killing { generation: 2 }), kill(2)]);
        }
        sim.advance(exits_at, &want);
        let want = [report(2, CauseKind::FailedStart), told_failed(2)];
        assert_eq!(sim.dies(2, Exit::Code(1)), want);
        assert_eq!((sim.state(), sim.generation()), (State::Ready, 1));
        sim.event(Event::Reload, &[told_reloading(3), spawn(3)]);
    }
}

/// Ways in which an incoming worker fails, the cause of the one report, and whether it has to be
/// killed for it.
#[test]
fn a_reload_that_fails_costs_one_report_and_nothing_else() {
    type Fail = fn(&mut Sim);
    let rows: [(Fail, CauseKind); 6] = [
        (|_| {}, CauseKind::Exit),
        (|sim| drop(sim.quietly(hello(2))), CauseKind::Exit),
        (
            |sim| {
                sim.quietly(hello(2));
                sim.quietly(Event::Crashing { generation: 2 });
            },
            CauseKind::Told,
        ),
        (
            |sim| {
                let told = tell(Notice::NoHandshake { generation: 2 });
                sim.event(Event::HandshakeFailed { generation: 2 }, &[told, kill(2)]);
            },
            CauseKind::NoHandshake,
        ),
        (
            |sim| {
                let told = tell(Notice::NoHandshake { generation: 2 });
                sim.exactly_after(HANDSHAKE_TIMEOUT, &[told, kill(2)]);
            },
            CauseKind::NoHandshake,
        ),
        (
            |sim| {
                sim.event(closed(2), &[]);
                let told = tell(Notice::ChannelLost { generation: 2 });
                sim.exactly_after(CHANNEL_LOST, &[told, terminate(2)]);
            },
            CauseKind::ChannelLost,
        ),
    ];
    // Not even policies that end a session, or a limit of one, are about an incoming worker.
    for restarts in [Restarts::Always, Restarts::OnFailure, Restarts::Never] {
        for (fail, cause) in rows {
            for exit in [Exit::Code(0), Exit::Code(2), Exit::Signal(9)] {
                let policy = Policy {
                    restarts,
                    limit: Some(Limit {
                        failures: 1,
                        within: secs(60),
                    }),
                    ..policy()
                };
                let mut sim = Sim::reloading(policy, Serving::Held);
                sim.quietly(spawned(2));
                fail(&mut sim);
                let mut found = sim.quietly(exited(2, exit));
                found.extend(sim.quietly(closed(2)));
                let want = [told_exit(2, exit), report(2, cause), told_failed(2)];
                assert_eq!(found, want, "{cause:?}, {exit:?}");
                assert_eq!(sim.companion(), None);
                sim.advance(secs(86_400), &[]);
                assert_eq!((sim.state(), sim.generation()), (State::Ready, 1));
            }
        }
    }
}

#[test]
fn a_spawn_that_fails_fails_the_reload() {
    let mut sim = Sim::reloading(policy(), Serving::Held);
    let want = [report(2, CauseKind::SpawnError), told_failed(2)];
    sim.event(spawn_failed(2), &want);
    sim.event(spawn_failed(2), &[]);
    sim.event(Event::Reload, &[told_reloading(3), spawn(3)]);
}

#[test]
fn a_failed_reload_counts_for_no_backoff() {
    let mut sim = Sim::reloading(policy(), Serving::Held);
    for generation in 2..6 {
        sim.quietly(spawn_failed(generation));
        sim.quietly(Event::Reload);
    }
    sim.quietly(spawn_failed(6));
    let want = [report(1, CauseKind::Exit), told_delay(MIN)];
    assert_eq!(sim.dies(1, Exit::Code(1)), want);
}

#[test]
fn one_reload_at_a_time() {
    let mut sim = Sim::reloading(policy(), Serving::Held);
    for event in [spawned(2), hello(2)] {
        sim.event(Event::Reload, &[ALREADY_RELOADING]);
        sim.quietly(event);
    }
    sim.event(Event::Reload, &[ALREADY_RELOADING]);
    sim.quietly(says_ready(2));
    sim.quietly(serves(2, Serving::Held));
    for (wait, acts) in [(GRACE, 2), (TERMINATE, 2)] {
        sim.event(Event::Reload, &[ALREADY_RELOADING]);
        assert_eq!(sim.pass(wait).len(), acts);
    }
    sim.event(Event::Reload, &[ALREADY_RELOADING]);
    assert_eq!(sim.dies(1, Exit::Signal(9)), []);
    sim.event(Event::Reload, &[told_reloading(3), spawn(3)]);
}

#[test]
fn a_reload_in_backoff_waits_for_nobody() {
    let mut sim = Sim::backing_off(policy());
    sim.event(Event::Reload, &[AT_ONCE, spawn(2)]);
    sim.advance(MIN * 2, &[]);
    assert_eq!(sim.companion(), None);

    let mut sim = Sim::outgoing(policy(), Serving::Held);
    sim.dies(2, Exit::Code(1));
    assert_eq!(sim.state(), State::BackingOff);
    sim.event(Event::Reload, &[AT_ONCE, spawn(3)]);
    assert_eq!(sim.companion(), Some((1, Companion::Outgoing)));
    sim.event(Event::Reload, &[ALREADY_RELOADING]);
}

#[test]
fn a_worker_that_binds_its_own_port_cannot_be_reloaded() {
    for make in [Sim::new, Sim::handshaking, Sim::starting, Sim::ready] {
        let mut sim = make(policy());
        sim.event(serves(1, Serving::Own), &[]);
        sim.event(Event::Reload, &[CANNOT_RELOAD]);
        assert_eq!(sim.companion(), None);
    }
}

#[test]
fn a_reload_of_a_worker_that_leaves_is_no_reload() {
    for (make, told) in [
        (Sim::draining as fn(Policy) -> Sim, ALREADY_RESTARTING),
        (Sim::terminating, ALREADY_RESTARTING),
        (Sim::killing, ALREADY_RESTARTING),
        (Sim::dead, ALREADY_RESTARTING),
        (Sim::unkillable, CANNOT_RESTART),
    ] {
        for serving in [Serving::Own, Serving::Held, Serving::Private] {
            let mut sim = make(policy());
            sim.quietly(serves(1, serving));
            sim.event(Event::Reload, &[told]);
            assert_eq!(sim.companion(), None);
        }
    }
}

#[test]
fn a_reload_during_a_stop_is_too_late() {
    for make in [Sim::incoming, Sim::outgoing] {
        let mut sim = make(policy(), Serving::Held);
        sim.quietly(operator_stop(How::Clean));
        sim.event(Event::Reload, &[tell(Notice::AlreadyStopping)]);
    }
}

#[test]
fn a_stop_during_a_reload_ends_both() {
    for (how, begin) in [
        (
            How::Clean,
            [
                STOPPING,
                HANDLERS_CLEAN,
                ask(1, Leaving::Stop),
                ask(2, Leaving::Stop),
            ],
        ),
        (
            How::Force,
            [STOPPING_FORCE, HANDLERS_FORCE, kill(1), kill(2)],
        ),
    ] {
        for (first, second) in [(1, 2), (2, 1)] {
            let mut sim = Sim::incoming(policy(), Serving::Held);
            sim.event(stop(how, 7, Asker::Operator), &begin);
            // Neither takes over from the other now.
            sim.event(says_ready(2), &[]);
            sim.event(Event::HandlersDone, &[]);
            assert_eq!(sim.dies(first, Exit::Signal(9)), []);
            let finish = [Action::Finish { code: 7 }];
            assert_eq!(sim.dies(second, Exit::Signal(9)), finish);
        }
    }
}

#[test]
fn a_stop_while_the_old_worker_drains_ends_both() {
    for (how, begin) in [
        (
            How::Clean,
            &[STOPPING, HANDLERS_CLEAN, ask(2, Leaving::Stop)][..],
        ),
        (
            How::Force,
            &[STOPPING_FORCE, HANDLERS_FORCE, kill(2), kill(1)],
        ),
    ] {
        for (first, second) in [(1, 2), (2, 1)] {
            let mut sim = Sim::outgoing(policy(), Serving::Held);
            sim.event(operator_stop(how), begin);
            assert_eq!(sim.dies(first, Exit::Signal(9)), []);
            sim.event(Event::HandlersDone, &[]);
            let finish = [Action::Finish { code: 0 }];
            assert_eq!(sim.dies(second, Exit::Signal(9)), finish);
        }
    }
}

#[test]
fn a_second_stop_kills_both() {
    let mut sim = Sim::incoming(policy(), Serving::Held);
    sim.quietly(operator_stop(How::Clean));
    sim.event(operator_stop(How::Clean), &[FORCING, kill(1), kill(2)]);
    let mut sim = Sim::outgoing(policy(), Serving::Held);
    sim.quietly(operator_stop(How::Clean));
    sim.event(operator_stop(How::Force), &[FORCING, kill(2), kill(1)]);
}

#[test]
fn a_stop_with_either_worker_unkillable_ends_with_71() {
    for unkillable in [1, 2] {
        for make in [Sim::incoming, Sim::outgoing] {
            let mut sim = make(policy(), Serving::Held);
            sim.quietly(operator_stop(How::Force));
            sim.quietly(Event::HandlersDone);
            assert_eq!(sim.dies(3 - unkillable, Exit::Signal(9)), []);
            let want = [told_unkillable(unkillable), Action::Finish { code: 71 }];
            sim.exactly_after(REAP, &want);
        }
    }
    let mut sim = Sim::incoming(policy(), Serving::Held);
    sim.quietly(operator_stop(How::Force));
    sim.quietly(Event::HandlersDone);
    let want = [
        told_unkillable(1),
        told_unkillable(2),
        Action::Finish { code: 71 },
    ];
    sim.exactly_after(REAP, &want);
}

/// Beside it, only its own end is waited for.
#[test]
fn a_stop_in_backoff_ends_the_worker_that_drains() {
    let mut sim = Sim::outgoing(policy(), Serving::Held);
    sim.dies(2, Exit::Code(1));
    sim.event(operator_stop(How::Clean), &[STOPPING, HANDLERS_CLEAN]);
    sim.event(Event::HandlersDone, &[]);
    assert_eq!(sim.dies(1, Exit::Code(0)), [Action::Finish { code: 0 }]);
}

#[test]
fn the_incoming_worker_takes_the_place_of_an_active_one_that_crashes() {
    type Get = fn(&mut Sim);
    let so_far: [Get; 3] = [
        |_| {},
        |sim| drop(sim.quietly(spawned(2))),
        |sim| {
            sim.quietly(spawned(2));
            sim.quietly(hello(2));
        },
    ];
    for get in so_far {
        for serving in [Serving::Held, Serving::Private] {
            let mut sim = Sim::reloading(policy(), serving);
            get(&mut sim);
            let mut want = vec![report(1, CauseKind::Exit)];
            want.extend(taken_over(2));
            assert_eq!(sim.dies(1, Exit::Signal(11)), want);
            assert_eq!(sim.generation(), 2);
            assert_eq!(sim.companion(), None);
            sim.quietly(spawned(2));
            sim.quietly(hello(2));
            sim.event(says_ready(2), &[told_ready(2)]);
            // The crash before counts, so this one is the second.
            let want = [report(2, CauseKind::Exit), told_delay(MIN * 2)];
            assert_eq!(sim.dies(2, Exit::Code(1)), want);
        }
    }
}

#[test]
fn a_promoted_worker_is_ready_as_if_it_had_always_been_alone() {
    // The handshake was too little while it was accompanied.
    let mut sim = Sim::incoming(policy_of(Readiness::Hello), Serving::Held);
    let [over, told] = taken_over(2);
    let want = [report(1, CauseKind::Exit), over, told, told_ready(2)];
    assert_eq!(sim.dies(1, Exit::Code(1)), want);
    sim.exactly_after(INTERVAL, &[probe(2)]);

    let mut sim = Sim::reloading(policy_of(Readiness::Hello), Serving::Held);
    sim.quietly(spawned(2));
    sim.dies(1, Exit::Code(1));
    sim.event(hello(2), &[told_ready(2)]);

    let mut sim = Sim::incoming(policy_of(Readiness::Probe), Serving::Held);
    sim.dies(1, Exit::Code(1));
    sim.advance(Duration::ZERO, &[probe(2)]);
    sim.event(probed(2, Verdict::Healthy), &[told_ready(2)]);

    let mut sim = Sim::reloading(policy_of(Readiness::Probe), Serving::Held);
    sim.quietly(spawned(2));
    sim.dies(1, Exit::Code(1));
    sim.event(hello(2), &[]);
    sim.exactly_after(FIRST_PROBE, &[probe(2)]);
}

#[test]
fn a_crash_during_a_reload_counts_for_the_limit() {
    let limit = Some(Limit {
        failures: 1,
        within: secs(60),
    });
    let mut sim = Sim::incoming(Policy { limit, ..policy() }, Serving::Held);
    let gave_up = tell(Notice::GaveUp {
        failures: 1,
        within: secs(60),
    });
    let want = [
        report(1, CauseKind::Exit),
        gave_up,
        HANDLERS_CLEAN,
        ask(2, Leaving::Stop),
    ];
    assert_eq!(sim.dies(1, Exit::Code(1)), want);
    sim.event(Event::HandlersDone, &[]);
    assert_eq!(sim.dies(2, Exit::Code(0)), [Action::Finish { code: 75 }]);
}

#[test]
fn a_policy_that_ends_the_session_ends_it_during_a_reload_too() {
    for (restarts, exit, code) in [
        (Restarts::Never, Exit::Code(3), 3),
        (Restarts::OnFailure, Exit::Code(0), 0),
    ] {
        // However far the new one is when that is decided.
        for is_ready in [false, true] {
            let mut sim = Sim::incoming(
                Policy {
                    restarts,
                    ..policy()
                },
                Serving::Held,
            );
            sim.event(exited(1, exit), &[told_exit(1, exit)]);
            if is_ready {
                sim.event(says_ready(2), &[told_ready(2)]);
            }
            let mut want = vec![
                tell(Notice::EndedByItself { exit }),
                HANDLERS_CLEAN,
                ask(2, Leaving::Stop),
            ];
            if code != 0 {
                want.insert(0, report(1, CauseKind::Exit));
            }
            sim.event(closed(1), &want);
            sim.event(Event::HandlersDone, &[]);
            assert_eq!(sim.dies(2, Exit::Code(0)), [Action::Finish { code }]);
        }
    }
}

#[test]
fn a_worker_that_is_ready_while_the_active_one_is_dead_waits_for_the_decision() {
    let mut sim = Sim::incoming(policy(), Serving::Held);
    sim.quietly(exited(1, Exit::Code(1)));
    sim.event(says_ready(2), &[told_ready(2)]);
    let [over, told] = taken_over(2);
    sim.exactly_after(SETTLE, &[report(1, CauseKind::Exit), over, told]);
    assert_eq!((sim.state(), sim.generation()), (State::Ready, 2));
    assert_eq!(sim.companion(), None);
    // The crash of the old one was the first.
    let want = [report(2, CauseKind::Exit), told_delay(MIN * 2)];
    assert_eq!(sim.dies(2, Exit::Code(1)), want);
}

#[test]
fn the_incoming_worker_takes_the_place_of_one_that_is_restarted() {
    for (how, want) in [
        (How::Clean, [RESTARTING, ask(1, Leaving::Restart)]),
        (How::Force, [RESTARTING_FORCE, kill(1)]),
    ] {
        let mut sim = Sim::incoming(policy(), Serving::Held);
        sim.event(restart(how), &want);
        assert_eq!(sim.dies(1, Exit::Signal(9)), taken_over(2));
        assert_eq!(sim.state(), State::Starting);

        // It may well be ready before the old one is gone.
        let mut sim = Sim::incoming(policy(), Serving::Held);
        sim.event(restart(how), &want);
        let [over, told] = taken_over(2);
        sim.event(says_ready(2), &[told_ready(2), over, told]);
        assert_eq!(sim.companion(), Some((1, Companion::Outgoing)));
        assert_eq!(sim.dies(1, Exit::Signal(9)), []);
    }
}

#[test]
fn a_restart_while_the_old_worker_drains_starts_a_third_beside_it() {
    let mut sim = Sim::outgoing(policy(), Serving::Held);
    sim.event(restart(How::Clean), &[RESTARTING, ask(2, Leaving::Restart)]);
    assert_eq!(sim.dies(2, Exit::Code(0)), [AT_ONCE, spawn(3)]);
    assert_eq!(sim.companion(), Some((1, Companion::Outgoing)));
}

/// Nothing may be expected of it, and to wait for its end could take the whole grace period.
#[test]
fn an_incoming_worker_that_leaves_or_is_dead_takes_nobodys_place() {
    type Fail = fn(&mut Sim);
    let rows: [(Fail, CauseKind); 3] = [
        (|sim| drop(sim.pass(STARTUP)), CauseKind::FailedStart),
        (
            |sim| drop(sim.quietly(Event::Crashing { generation: 2 })),
            CauseKind::Told,
        ),
        (
            |sim| drop(sim.quietly(exited(2, Exit::Code(1)))),
            CauseKind::Exit,
        ),
    ];
    // No worker lives long enough to be stable here.
    let mut policy = policy();
    policy.backoff.stable = STARTUP * 2;
    for (fail, cause) in rows {
        let mut sim = Sim::incoming(policy, Serving::Held);
        fail(&mut sim);
        let want = [report(1, CauseKind::Exit), told_delay(MIN)];
        let mut crashed = sim.clone();
        let found = if cause == CauseKind::Exit {
            // Both die within the time for last words.
            crashed.quietly(exited(1, Exit::Code(1)));
            crashed.quietly(closed(1))
        } else {
            crashed.dies(1, Exit::Code(1))
        };
        assert_eq!(found, want, "{cause:?}");
        assert_eq!(crashed.companion(), Some((2, Companion::Incoming)));
        // What is told of the active worker is not told of the one beside it.
        assert_eq!(
            (crashed.state(), crashed.generation()),
            (State::BackingOff, 1)
        );

        sim.quietly(restart(How::Force));
        assert_eq!(sim.dies(1, Exit::Signal(9)), [AT_ONCE, spawn(3)]);
        let mut found = sim.quietly(exited(2, Exit::Code(1)));
        found.retain(|action| !matches!(action, Action::Tell(Notice::Exited { .. })));
        found.extend(sim.quietly(closed(2)));
        assert_eq!(found, [report(2, cause), told_failed(2)]);
        assert_eq!((sim.generation(), sim.companion()), (3, None));
    }
}

#[test]
fn an_incoming_worker_that_fails_while_the_active_one_is_dead() {
    let mut sim = Sim::incoming(policy(), Serving::Held);
    sim.quietly(exited(1, Exit::Code(1)));
    let want = [report(2, CauseKind::Exit), told_failed(2)];
    assert_eq!(sim.dies(2, Exit::Code(1)), want);
    sim.event(closed(1), &[report(1, CauseKind::Exit), told_delay(MIN)]);
    sim.exactly_after(MIN, &[spawn(3)]);
}

#[test]
fn a_worker_that_crashes_right_after_it_took_over_is_replaced_after_a_delay() {
    let mut sim = Sim::outgoing(probing(), Serving::Held);
    let want = [report(2, CauseKind::Exit), told_delay(MIN)];
    assert_eq!(sim.dies(2, Exit::Code(1)), want);
    sim.exactly_after(MIN, &[spawn(3)]);
    assert_eq!(sim.companion(), Some((1, Companion::Outgoing)));
    // The old one still answers on the public port.
    sim.quietly(spawned(3));
    sim.quietly(hello(3));
    sim.advance(secs(2), &[]);
    assert_eq!(sim.dies(1, Exit::Code(0)), []);
    sim.advance(Duration::ZERO, &[probe(3)]);
    sim.event(probed(3, Verdict::Healthy), &[told_ready(3)]);
}

#[test]
fn an_old_worker_that_crashes_while_it_drains_was_leaving_anyway() {
    let mut sim = Sim::outgoing(policy(), Serving::Held);
    sim.event(Event::Crashing { generation: 1 }, &[]);
    assert_eq!(sim.dies(1, Exit::Signal(6)), []);
    // One that had begun to crash before is told of, and no more follows.
    let mut sim = Sim::incoming(policy(), Serving::Held);
    sim.quietly(Event::Crashing { generation: 1 });
    let [over, told] = taken_over(2);
    sim.event(says_ready(2), &[told_ready(2), over, told]);
    assert_eq!(sim.dies(1, Exit::Signal(6)), [report(1, CauseKind::Told)]);
    assert_eq!((sim.state(), sim.generation()), (State::Ready, 2));
}

/// It can answer nobody, so it hinders nothing but the next reload.
#[test]
fn an_old_worker_that_is_unkillable_hinders_the_next_reload_only() {
    for readiness in [Readiness::Probe, Readiness::Call, Readiness::Hello] {
        let mut sim = Sim::outgoing_unkillable(policy_of(readiness), Serving::Held);
        sim.quietly(serves(2, Serving::Held));
        sim.event(Event::Reload, &[CANNOT_RESTART]);
        sim.exactly_after(INTERVAL, &[probe(2)]);
        let mut freed = sim.clone();
        freed.quietly(exited(1, Exit::Signal(9)));
        freed.event(Event::Reload, &[ALREADY_RELOADING]);
        sim.event(probed(2, Verdict::Healthy), &[]);
        let mut stopped = sim.clone();
        stopped.quietly(operator_stop(How::Clean));
        stopped.quietly(Event::HandlersDone);
        let finish = [Action::Finish { code: 71 }];
        assert_eq!(stopped.dies(2, Exit::Code(0)), finish);
        // A restart goes on as ever, and what follows is ready as ever.
        sim.quietly(restart(How::Clean));
        assert_eq!(sim.dies(2, Exit::Code(0)), [AT_ONCE, spawn(3)]);
        sim.make_ready();
        assert_eq!(sim.dies(1, Exit::Signal(9)), []);
        sim.quietly(serves(3, Serving::Held));
        sim.event(Event::Reload, &[told_reloading(4), spawn(4)]);
    }
}

#[test]
fn an_active_worker_that_is_unkillable_can_be_taken_over_from() {
    let mut sim = Sim::reloading(probing(), Serving::Held);
    sim.quietly(restart(How::Force));
    sim.pass(REAP);
    assert_eq!(sim.state(), State::Unkillable);
    sim.quietly(spawned(2));
    sim.quietly(hello(2));
    let [over, told] = taken_over(2);
    sim.event(says_ready(2), &[told_ready(2), over, told]);
    sim.exactly_after(INTERVAL, &[probe(2)]);
}

#[test]
fn an_incoming_worker_that_is_unkillable_hinders_the_next_reload_only() {
    for readiness in [Readiness::Probe, Readiness::Call, Readiness::Hello] {
        let mut sim = Sim::incoming_unkillable(policy_of(readiness), Serving::Held);
        sim.event(Event::Reload, &[CANNOT_RESTART]);
        sim.exactly_after(INTERVAL, &[probe(1)]);
        sim.event(probed(1, Verdict::Healthy), &[]);
        // A normal respawn: nobody else is there who could serve.
        assert_eq!(
            sim.dies(1, Exit::Code(1)),
            [report(1, CauseKind::Exit)]
                .into_iter()
                .chain([AT_ONCE, spawn(3)])
                .collect::<Vec<_>>()
        );
        sim.make_ready();
        assert_eq!(sim.generation(), 3);
        let want = [report(2, CauseKind::NoHandshake), told_failed(2)];
        assert_eq!(sim.dies(2, Exit::Signal(9)), want);
    }
}

/// The order is none that the driver makes, and still it is no reload that failed.
#[test]
fn an_old_worker_that_never_existed_fails_no_reload() {
    let mut sim = Sim::new(policy());
    sim.quietly(serves(1, Serving::Held));
    sim.event(Event::Reload, &[told_reloading(2), spawn(2)]);
    sim.quietly(spawned(2));
    sim.quietly(hello(2));
    sim.quietly(says_ready(2));
    sim.event(spawn_failed(1), &[report(1, CauseKind::SpawnError)]);
    assert_eq!((sim.generation(), sim.companion()), (2, None));
}

#[test]
fn a_worker_that_serves_before_its_hello_is_ready_with_it() {
    let mut sim = Sim::reloading(policy_of(Readiness::Hello), Serving::Held);
    sim.quietly(spawned(2));
    sim.event(serves(2, Serving::Private), &[]);
    let [over, told] = taken_over(2);
    let want = [told_ready(2), over, told, ask(1, Leaving::Restart)];
    sim.event(hello(2), &want);
}

#[test]
fn a_new_polling_interval_reaches_both() {
    let mut sim = Sim::incoming(probing(), Serving::Private);
    let polling = Event::SetPolling {
        interval: secs(7),
        timeout: secs(1),
        now: true,
    };
    sim.event(polling, &[]);
    let probe = |generation| Action::Probe {
        generation,
        timeout: secs(1),
    };
    sim.event(serves(2, Serving::Private), &[]);
    sim.advance(Duration::ZERO, &[probe(2)]);
    sim.dies(2, Exit::Code(1));
    sim.exactly_after(secs(7), &[probe(1)]);
}

#[test]
fn a_worker_beside_one_that_drains_is_accompanied_from_its_first_moment() {
    let no_delay = Backoff {
        min: Duration::ZERO,
        ..policy().backoff
    };
    let mut sim = Sim::outgoing(
        Policy {
            backoff: no_delay,
            ..policy_of(Readiness::Hello)
        },
        Serving::Held,
    );
    let want = [report(2, CauseKind::Exit), AT_ONCE, spawn(3)];
    assert_eq!(sim.dies(2, Exit::Code(1)), want);
    sim.quietly(spawned(3));
    sim.event(hello(3), &[]);
    sim.event(says_ready(3), &[told_ready(3)]);
}

/// Being alone has made it ready, and it is a ready worker like any other.
#[test]
fn a_worker_that_its_promotion_made_ready_ends_no_session_by_its_code() {
    let mut sim = Sim::handshaking(policy_of(Readiness::Hello));
    sim.quietly(serves(1, Serving::Held));
    sim.event(Event::Reload, &[told_reloading(2), spawn(2)]);
    sim.quietly(spawned(2));
    sim.quietly(hello(2));
    let [over, told] = taken_over(2);
    let want = [report(1, CauseKind::Exit), over, told, told_ready(2)];
    assert_eq!(sim.dies(1, Exit::Signal(9)), want);
    let want = [report(2, CauseKind::Exit), told_delay(MIN * 2)];
    assert_eq!(sim.dies(2, Exit::Code(0)), want);
}

/// It answers no more, so the probe that begins before its last words are in is no other's.
#[test]
fn a_dead_worker_accompanies_nobody() {
    let mut sim = Sim::outgoing_unkillable(probing(), Serving::Held);
    sim.advance(INTERVAL, &[probe(2)]);
    sim.event(probed(2, Verdict::Healthy), &[]);
    sim.advance(INTERVAL - ms(50), &[]);
    sim.quietly(exited(1, Exit::Signal(9)));
    sim.exactly_after(ms(50), &[probe(2)]);
    sim.advance(SETTLE, &[]);
    assert_eq!(sim.companion(), None);
    let told = tell(Notice::Unhealthy {
        generation: 2,
        failures: 1,
    });
    let want = [told, ask(2, Leaving::Unhealthy)];
    sim.event(probed(2, Verdict::Unhealthy), &want);
}

/// A worker could put its probes off for ever, or have itself probed as fast as it talks.
#[test]
fn saying_where_it_serves_moves_no_probe_of_a_worker() {
    let mut sim = Sim::ready(probing());
    sim.advance(INTERVAL - ms(1), &[]);
    for serving in [Serving::Held, Serving::Private, Serving::Private] {
        sim.event(serves(1, serving), &[]);
    }
    sim.exactly_after(ms(1), &[probe(1)]);

    let mut sim = Sim::starting(probing());
    sim.event(serves(1, Serving::Private), &[]);
    sim.advance(Duration::ZERO, &[probe(1)]);
    sim.event(probed(1, Verdict::Unhealthy), &[]);
    sim.event(serves(1, Serving::Private), &[]);
    sim.exactly_after(FIRST_PROBE * 2, &[probe(1)]);
}
