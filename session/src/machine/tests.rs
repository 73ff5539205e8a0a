//! The supervisor under a clock that the test holds.

use std::time::Duration;

use super::*;

const POLICY: Policy = Policy {
    readiness: Readiness::Probe,
    startup_timeout: Duration::from_secs(60),
    grace: Duration::from_secs(10),
    polling: Some(Polling {
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
    }),
    tolerance: 1,
    restarts: Restarts::Always,
    backoff: Backoff {
        min: ms(100),
        max: Duration::from_secs(30),
        jitter_permille: 200,
        stable: Duration::from_secs(10),
    },
    limit: None,
};
/// The middle: a delay without a swing.
const MIDDLE: Jitter = Jitter(u16::MAX / 2 + 1);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[derive(Clone)]
struct Sim {
    supervisor: Supervisor,
    now: Time,
}

impl Sim {
    #[track_caller]
    fn new(policy: Policy) -> Sim {
        let (supervisor, first) = Supervisor::start(policy);
        assert_eq!(first, [Action::Spawn { generation: 1 }]);
        Sim {
            supervisor,
            now: Duration::ZERO,
        }
    }

    fn generation(&self) -> Generation {
        self.supervisor.snapshot().generation
    }

    fn send(&mut self, event: Event) -> Vec<Action> {
        self.supervisor.handle(self.now, event)
    }

    #[track_caller]
    fn event(&mut self, event: Event, want: &[Action]) {
        assert_eq!(self.send(event), want, "{event:?}");
    }

    /// Jumps from deadline to deadline.
    fn pass(&mut self, time: Duration) -> Vec<Action> {
        let until = self.now + time;
        let mut out = Vec::new();
        while let Some(at) = self.supervisor.next_deadline().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            out.extend(self.supervisor.handle_timeout(self.now));
            assert!(
                self.supervisor
                    .next_deadline()
                    .is_none_or(|next| next > self.now),
                "a deadline stays due: the driver would spin"
            );
        }
        self.now = until;
        out
    }

    #[track_caller]
    fn advance(&mut self, time: Duration, want: &[Action]) {
        assert_eq!(self.pass(time), want);
    }

    fn exit(&mut self, exit: Exit) -> Vec<Action> {
        let generation = self.generation();
        let mut out = self.send(Event::ChannelClosed { generation });
        out.extend(self.send(Event::Exited {
            generation,
            exit,
            jitter: MIDDLE,
        }));
        out
    }

    /// From a spawn to a worker that is ready.
    #[track_caller]
    fn become_ready(&mut self) {
        let generation = self.generation();
        let _ = self.send(Event::Spawned { generation });
        let _ = self.send(Event::Hello { generation });
        self.advance(
            FIRST_PROBE,
            &[Action::Probe {
                generation,
                timeout: Duration::from_secs(5),
            }],
        );
        self.event(
            Event::Probed {
                generation,
                verdict: Verdict::Healthy,
            },
            &[Action::Tell(Notice::Ready { generation })],
        );
    }

    fn ready(policy: Policy) -> Sim {
        let mut sim = Sim::new(policy);
        sim.become_ready();
        sim
    }

    fn stop(&mut self, how: How, asker: Asker) -> Vec<Action> {
        self.send(Event::Stop {
            how,
            code: 7,
            asker,
        })
    }
}

fn reports(actions: &[Action]) -> Vec<CauseKind> {
    let report = |action: &Action| match action {
        Action::Report { cause, .. } => Some(*cause),
        Action::Spawn { .. }
        | Action::Probe { .. }
        | Action::AskToExit { .. }
        | Action::Terminate { .. }
        | Action::Kill { .. }
        | Action::RunExitHandlers { .. }
        | Action::Tell(_)
        | Action::Finish { .. } => None,
    };
    actions.iter().filter_map(report).collect()
}

#[test]
fn a_crash_loop_doubles_its_delays_and_a_stable_run_starts_them_anew() {
    let mut sim = Sim::new(POLICY);
    for (failure, delay) in [
        100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000,
    ]
    .into_iter()
    .enumerate()
    {
        let generation = failure as u64 + 1;
        assert_eq!(sim.generation(), generation);
        let _ = sim.send(Event::Spawned { generation });
        let out = sim.exit(Exit::Code(3));
        assert_eq!(reports(&out), [CauseKind::Exit]);
        assert_eq!(
            out.last(),
            Some(&Action::Tell(Notice::RestartingIn { delay: ms(delay) }))
        );
        assert_eq!(sim.pass(ms(delay) - ms(1)), []);
        sim.advance(
            ms(1),
            &[Action::Spawn {
                generation: generation + 1,
            }],
        );
    }
    sim.become_ready();
    let _ = sim.pass(POLICY.backoff.stable);
    let generation = sim.generation();
    assert!(sim.exit(Exit::Signal(9)).contains(&Action::Spawn {
        generation: generation + 1
    }));
    let _ = sim.send(Event::Spawned {
        generation: generation + 1,
    });
    let out = sim.exit(Exit::Signal(9));
    assert_eq!(
        out.last(),
        Some(&Action::Tell(Notice::RestartingIn { delay: ms(100) }))
    );
}

#[test]
fn jitter_swings_a_delay_to_either_side_and_no_further() {
    for (jitter, delay) in [(0, 80), (u16::MAX, 120)] {
        let mut sim = Sim::new(POLICY);
        sim.event(
            Event::SpawnFailed {
                generation: 1,
                jitter: Jitter(jitter),
            },
            &[
                Action::Report {
                    generation: 1,
                    cause: CauseKind::SpawnError,
                },
                Action::Tell(Notice::RestartingIn { delay: ms(delay) }),
            ],
        );
    }
}

#[test]
fn a_minimum_of_nothing_never_waits() {
    let backoff = Backoff {
        min: Duration::ZERO,
        ..POLICY.backoff
    };
    let mut sim = Sim::new(Policy { backoff, ..POLICY });
    for generation in 1..50 {
        let _ = sim.send(Event::Spawned { generation });
        assert!(sim.exit(Exit::Code(1)).contains(&Action::Spawn {
            generation: generation + 1
        }));
    }
}

#[test]
fn final_codes_end_a_session_that_was_never_ready_and_no_other() {
    for code in 0..=u8::MAX {
        let mut sim = Sim::new(POLICY);
        let _ = sim.send(Event::Spawned { generation: 1 });
        let out = sim.exit(Exit::Code(code));
        let ends = FINAL_CODES.contains(&code);
        assert_eq!(reports(&out).is_empty(), ends, "{code}");
        assert_eq!(sim.supervisor.state() == State::Closing, ends, "{code}");
        if ends {
            assert_eq!(sim.send(Event::HandlersDone), [Action::Finish { code }]);
        }
        let mut sim = Sim::ready(POLICY);
        assert_eq!(
            reports(&sim.exit(Exit::Code(code))),
            [CauseKind::Exit],
            "{code}"
        );
    }
}

#[test]
fn policies_decide_whether_and_with_which_code_a_session_ends() {
    for (restarts, exit, end) in [
        (Restarts::Always, Exit::Code(0), None),
        (Restarts::OnFailure, Exit::Code(0), Some(0)),
        (Restarts::OnFailure, Exit::Code(1), None),
        (Restarts::OnFailure, Exit::Signal(11), None),
        (Restarts::Never, Exit::Code(0), Some(0)),
        (Restarts::Never, Exit::Code(9), Some(9)),
        (Restarts::Never, Exit::Signal(11), Some(139)),
    ] {
        let mut sim = Sim::ready(Policy { restarts, ..POLICY });
        let out = sim.exit(exit);
        let clean_end = end.is_some() && exit == Exit::Code(0);
        assert_eq!(
            reports(&out).len(),
            usize::from(!clean_end),
            "{restarts:?} {exit:?}"
        );
        match end {
            Some(code) => assert_eq!(sim.send(Event::HandlersDone), [Action::Finish { code }]),
            None => assert_eq!(sim.supervisor.state(), State::BackingOff),
        }
    }
}

#[test]
fn a_session_gives_up_after_so_many_failures_within_the_window_only() {
    let limit = Some(Limit {
        failures: 3,
        within: Duration::from_secs(60),
    });
    let fail = |sim: &mut Sim| {
        let generation = sim.generation();
        let _ = sim.send(Event::Spawned { generation });
        let out = sim.exit(Exit::Code(3));
        let _ = sim.pass(Duration::from_secs(10));
        out
    };
    let mut sim = Sim::new(Policy { limit, ..POLICY });
    let _ = fail(&mut sim);
    let _ = fail(&mut sim);
    let gave_up = Action::Tell(Notice::GaveUp {
        failures: 3,
        within: Duration::from_secs(60),
    });
    assert!(fail(&mut sim).contains(&gave_up));
    let mut sim = Sim::new(Policy { limit, ..POLICY });
    for _ in 0..20 {
        assert!(!fail(&mut sim).contains(&gave_up));
        let _ = sim.send(Event::Spawned {
            generation: sim.generation(),
        });
        let _ = sim.send(Event::Hello {
            generation: sim.generation(),
        });
        let _ = sim.pass(Duration::from_secs(25));
    }
}

#[test]
fn quick_probes_double_to_a_second_and_a_start_has_a_deadline() {
    let mut sim = Sim::new(POLICY);
    let _ = sim.send(Event::Spawned { generation: 1 });
    let _ = sim.send(Event::Hello { generation: 1 });
    let probe = [Action::Probe {
        generation: 1,
        timeout: Duration::from_secs(5),
    }];
    for delay in [20, 40, 80, 160, 320, 640, 1000, 1000] {
        assert_eq!(sim.pass(ms(delay - 1)), []);
        sim.advance(ms(1), &probe);
        sim.event(
            Event::Probed {
                generation: 1,
                verdict: Verdict::Unhealthy,
            },
            &[],
        );
    }
    let mut sim = Sim::new(POLICY);
    let _ = sim.send(Event::Spawned { generation: 1 });
    let _ = sim.send(Event::Hello { generation: 1 });
    let _ = sim.pass(POLICY.startup_timeout - ms(1));
    assert_eq!(sim.supervisor.state(), State::Starting);
    let out = sim.pass(ms(1));
    assert!(
        out.contains(&Action::AskToExit {
            generation: 1,
            why: Leaving::NotReady
        }),
        "{out:?}"
    );
    assert_eq!(reports(&sim.exit(Exit::Code(0))), [CauseKind::FailedStart]);
}

#[test]
fn no_hello_in_time_is_killed_and_told_as_a_failed_handshake() {
    let mut sim = Sim::new(POLICY);
    let _ = sim.send(Event::Spawned { generation: 1 });
    assert_eq!(sim.pass(HANDSHAKE_TIMEOUT - ms(1)), []);
    sim.advance(
        ms(1),
        &[
            Action::Tell(Notice::NoHandshake { generation: 1 }),
            Action::Kill { generation: 1 },
        ],
    );
    assert_eq!(
        reports(&sim.exit(Exit::Signal(9))),
        [CauseKind::NoHandshake]
    );
}

#[test]
fn readiness_is_what_the_configuration_says() {
    for (readiness, hello, word) in [
        (Readiness::Hello, State::Ready, State::Ready),
        (Readiness::Call, State::Starting, State::Ready),
        (Readiness::Probe, State::Starting, State::Starting),
    ] {
        let mut sim = Sim::new(Policy {
            readiness,
            ..POLICY
        });
        let _ = sim.send(Event::Spawned { generation: 1 });
        let _ = sim.send(Event::Hello { generation: 1 });
        assert_eq!(sim.supervisor.state(), hello);
        let _ = sim.send(Event::Ready { generation: 1 });
        assert_eq!(sim.supervisor.state(), word);
    }
}

#[test]
fn only_failures_in_a_row_count_and_what_cannot_be_asked_does_not() {
    let mut sim = Sim::ready(POLICY);
    let mut probed = |verdict| {
        let _ = sim.pass(Duration::from_secs(30));
        let _ = sim.send(Event::Probed {
            generation: 1,
            verdict,
        });
        sim.supervisor.state()
    };
    for _ in 0..5 {
        assert_eq!(probed(Verdict::Unhealthy), State::Ready);
        assert_eq!(probed(Verdict::Healthy), State::Ready);
        assert_eq!(probed(Verdict::CannotProbe), State::Ready);
    }
    assert_eq!(probed(Verdict::Unhealthy), State::Ready);
    assert_eq!(probed(Verdict::CannotProbe), State::Ready);
    assert_eq!(probed(Verdict::Unhealthy), State::Draining);
    assert_eq!(reports(&sim.exit(Exit::Code(0))), [CauseKind::FailedProbe]);
}

#[test]
fn a_probe_that_does_not_come_back_does_not_end_probing() {
    let mut sim = Sim::ready(POLICY);
    let out = sim.pass(Duration::from_secs(30) * 3);
    assert!(out.contains(&Action::Tell(Notice::ProbeLost { generation: 1 })));
    assert!(
        out.iter()
            .filter(|action| matches!(action, Action::Probe { .. }))
            .count()
            >= 2
    );
}

#[test]
fn the_ladder_has_its_times_and_its_last_rung() {
    let mut sim = Sim::ready(POLICY);
    assert_eq!(
        sim.stop(How::Clean, Asker::Operator),
        [
            Action::Tell(Notice::Stopping { how: How::Clean }),
            Action::RunExitHandlers {
                within: POLICY.grace + HANDLERS_BEYOND_GRACE
            },
            Action::AskToExit {
                generation: 1,
                why: Leaving::Stop
            },
        ]
    );
    sim.event(Event::HandlersDone, &[]);
    assert_eq!(sim.pass(POLICY.grace - ms(1)), []);
    let told = |notice| Action::Tell(notice);
    sim.advance(
        ms(1),
        &[
            told(Notice::Terminating { generation: 1 }),
            Action::Terminate { generation: 1 },
        ],
    );
    assert_eq!(sim.pass(TERMINATE - ms(1)), []);
    sim.advance(
        ms(1),
        &[
            told(Notice::Killing { generation: 1 }),
            Action::Kill { generation: 1 },
        ],
    );
    assert_eq!(sim.pass(REAP - ms(1)), []);
    sim.advance(
        ms(1),
        &[
            told(Notice::Unkillable { generation: 1 }),
            Action::Finish {
                code: UNKILLABLE_CODE,
            },
        ],
    );
}

#[test]
fn an_unkillable_worker_has_no_successor_before_it_is_gone() {
    let mut sim = Sim::ready(POLICY);
    let _ = sim.send(Event::Restart { how: How::Force });
    let _ = sim.pass(REAP);
    assert_eq!(sim.supervisor.state(), State::Unkillable);
    assert_eq!(sim.pass(Duration::from_secs(86_400)), []);
    sim.event(
        Event::Restart { how: How::Force },
        &[Action::Tell(Notice::CannotRestart)],
    );
    assert!(
        sim.exit(Exit::Signal(9))
            .contains(&Action::Spawn { generation: 2 })
    );
}

#[test]
fn a_second_request_forces_and_signals_too_close_are_one() {
    for (after, asker, forced) in [
        (ms(0), Asker::Signal, false),
        (SIGNAL_DEBOUNCE - ms(1), Asker::Signal, false),
        (SIGNAL_DEBOUNCE, Asker::Signal, true),
        (ms(0), Asker::Operator, true),
        (ms(5000), Asker::Worker, false),
    ] {
        let mut sim = Sim::ready(POLICY);
        let _ = sim.stop(How::Clean, Asker::Signal);
        let _ = sim.pass(after);
        let out = sim.stop(How::Clean, asker);
        assert_eq!(
            out.contains(&Action::Kill { generation: 1 }),
            forced,
            "{after:?} {asker:?}"
        );
        let _ = sim.send(Event::HandlersDone);
        assert!(
            sim.exit(Exit::Code(0))
                .contains(&Action::Finish { code: 7 })
        );
    }
    let mut sim = Sim::ready(POLICY);
    let _ = sim.stop(How::Clean, Asker::Signal);
    assert!(
        sim.stop(How::Force, Asker::Worker)
            .contains(&Action::Kill { generation: 1 })
    );
    assert_eq!(sim.stop(How::Clean, Asker::Operator), []);
    let out = sim.pass(HANDLERS_FORCED);
    assert_eq!(out, [Action::Tell(Notice::HandlersOverdue)]);
}

#[test]
fn a_stop_ends_a_backoff_at_once_and_nothing_is_spawned_after_it() {
    let mut sim = Sim::new(POLICY);
    let _ = sim.send(Event::Spawned { generation: 1 });
    let _ = sim.exit(Exit::Code(3));
    assert_eq!(sim.supervisor.state(), State::BackingOff);
    let _ = sim.stop(How::Clean, Asker::Operator);
    assert_eq!(sim.send(Event::HandlersDone), [Action::Finish { code: 7 }]);
    assert_eq!(sim.pass(Duration::from_secs(3600)), []);
}

#[test]
fn planned_ends_are_no_crashes_and_cost_no_backoff() {
    for how in [How::Clean, How::Force] {
        let mut sim = Sim::ready(POLICY);
        let _ = sim.send(Event::Restart { how });
        let out = sim.exit(Exit::Signal(9));
        assert_eq!(reports(&out), []);
        assert!(out.contains(&Action::Spawn { generation: 2 }));
    }
}

#[test]
fn a_crash_in_progress_stays_one_when_the_session_stops() {
    let mut sim = Sim::ready(POLICY);
    let _ = sim.send(Event::Crashing { generation: 1 });
    let _ = sim.stop(How::Clean, Asker::Operator);
    assert_eq!(reports(&sim.exit(Exit::Code(101))), [CauseKind::Told]);
}

#[test]
fn exit_and_end_of_channel_are_awaited_in_either_order_but_not_for_long() {
    let exited = Event::Exited {
        generation: 1,
        exit: Exit::Signal(9),
        jitter: MIDDLE,
    };
    let closed = Event::ChannelClosed { generation: 1 };
    for (first, second) in [(exited, closed), (closed, exited)] {
        let mut sim = Sim::ready(POLICY);
        assert_eq!(reports(&sim.send(first)), []);
        assert_eq!(reports(&sim.send(second)), [CauseKind::Exit]);
    }
    let mut sim = Sim::ready(POLICY);
    let _ = sim.send(exited);
    assert_eq!(sim.pass(SETTLE - ms(1)), []);
    assert_eq!(reports(&sim.pass(ms(1))), [CauseKind::Exit]);
}

#[test]
fn a_worker_that_closes_its_channel_and_lives_on_is_replaced() {
    let mut sim = Sim::ready(POLICY);
    sim.event(Event::ChannelClosed { generation: 1 }, &[]);
    assert_eq!(sim.pass(CHANNEL_LOST - ms(1)), []);
    sim.advance(
        ms(1),
        &[
            Action::Tell(Notice::ChannelLost { generation: 1 }),
            Action::Terminate { generation: 1 },
        ],
    );
    assert!(
        sim.pass(POLICY.grace)
            .contains(&Action::Kill { generation: 1 })
    );
    let out = sim.send(Event::Exited {
        generation: 1,
        exit: Exit::Signal(9),
        jitter: MIDDLE,
    });
    assert_eq!(reports(&out), [CauseKind::ChannelLost]);
}

#[test]
fn a_new_interval_counts_now_or_from_the_next_worker_on() {
    let (interval, timeout) = (Duration::from_secs(2), Duration::from_secs(1));
    for (now, first) in [(true, interval), (false, Duration::from_secs(30))] {
        let mut sim = Sim::ready(POLICY);
        sim.event(
            Event::SetPolling {
                interval,
                timeout,
                now,
            },
            &[],
        );
        assert_eq!(sim.pass(first - ms(1)), []);
        assert!(matches!(sim.pass(ms(1))[..], [Action::Probe { .. }]));
    }
}

/// Every kind of event, with the generation that is there now.
const KINDS: usize = 15;

fn kinds(generation: Generation) -> [Event; KINDS] {
    [
        Event::Spawned { generation },
        Event::SpawnFailed {
            generation,
            jitter: MIDDLE,
        },
        Event::Hello { generation },
        Event::HandshakeFailed { generation },
        Event::Ready { generation },
        Event::Crashing { generation },
        Event::ChannelClosed { generation },
        Event::Exited {
            generation,
            exit: Exit::Signal(9),
            jitter: MIDDLE,
        },
        Event::Probed {
            generation,
            verdict: Verdict::Healthy,
        },
        Event::Stop {
            how: How::Clean,
            code: 7,
            asker: Asker::Operator,
        },
        Event::Stop {
            how: How::Force,
            code: 7,
            asker: Asker::Operator,
        },
        Event::Restart { how: How::Clean },
        Event::Restart { how: How::Force },
        Event::SetPolling {
            interval: ms(2000),
            timeout: ms(1000),
            now: true,
        },
        Event::HandlersDone,
    ]
}

/// A kind that is missing above does not compile here.
fn kind(event: Event) -> usize {
    match event {
        Event::Spawned { .. } => 0,
        Event::SpawnFailed { .. } => 1,
        Event::Hello { .. } => 2,
        Event::HandshakeFailed { .. } => 3,
        Event::Ready { .. } => 4,
        Event::Crashing { .. } => 5,
        Event::ChannelClosed { .. } => 6,
        Event::Exited { .. } => 7,
        Event::Probed { .. } => 8,
        Event::Stop {
            how: How::Clean, ..
        } => 9,
        Event::Stop {
            how: How::Force, ..
        } => 10,
        Event::Restart { how: How::Clean } => 11,
        Event::Restart { how: How::Force } => 12,
        Event::SetPolling { .. } => 13,
        Event::HandlersDone => 14,
    }
}

/// A session in that state.
fn in_state(state: State) -> Sim {
    match state {
        State::Spawning => Sim::new(POLICY),
        State::Handshaking => {
            let mut sim = in_state(State::Spawning);
            let _ = sim.send(Event::Spawned { generation: 1 });
            sim
        }
        State::Starting => {
            let mut sim = in_state(State::Handshaking);
            let _ = sim.send(Event::Hello { generation: 1 });
            let _ = sim.pass(FIRST_PROBE);
            sim
        }
        State::Ready => {
            let mut sim = Sim::ready(POLICY);
            let _ = sim.pass(Duration::from_secs(30));
            sim
        }
        State::Draining => after(State::Ready, Event::Restart { how: How::Clean }),
        State::Terminating => {
            let mut sim = in_state(State::Draining);
            let _ = sim.pass(POLICY.grace);
            sim
        }
        State::Killing => after(State::Ready, Event::Restart { how: How::Force }),
        State::Unkillable => {
            let mut sim = in_state(State::Killing);
            let _ = sim.pass(REAP);
            sim
        }
        State::Dead => after(
            State::Ready,
            Event::Exited {
                generation: 1,
                exit: Exit::Signal(9),
                jitter: MIDDLE,
            },
        ),
        State::BackingOff => {
            let mut sim = in_state(State::Handshaking);
            let _ = sim.exit(Exit::Code(3));
            sim
        }
        State::Closing => after(
            State::BackingOff,
            Event::Stop {
                how: How::Clean,
                code: 7,
                asker: Asker::Operator,
            },
        ),
        State::Finished => after(State::Closing, Event::HandlersDone),
    }
}

fn after(state: State, event: Event) -> Sim {
    let mut sim = in_state(state);
    let _ = sim.send(event);
    sim
}

/// For every state: what each kind of event makes of it. The length of a row is checked by the
/// compiler, so no pair can be without an answer.
#[rustfmt::skip]
fn rows() -> [(State, [State; KINDS]); 12] {
    use State::*;
    [
        //               Spawned      SpawnFailed HelloSaid   NoHandshake Ready       Crashing    ChannelClosed Exited   Healthy     StopClean    StopForce Restart     RestartForce SetPolling   HandlersDone
        (Spawning,    [Handshaking, BackingOff,  Spawning,    Spawning,    Spawning,    Spawning,    Spawning,    Dead,     Spawning,    Draining,    Killing,  Draining,    Killing,     Spawning,    Spawning]),
        (Handshaking, [Handshaking, Handshaking, Starting,    Killing,     Handshaking, Draining,    Handshaking, Dead,     Handshaking, Draining,    Killing,  Draining,    Killing,     Handshaking, Handshaking]),
        (Starting,    [Starting,    Starting,    Starting,    Starting,    Starting,    Draining,    Starting,    Dead,     Ready,       Draining,    Killing,  Draining,    Killing,     Starting,    Starting]),
        (Ready,       [Ready,       Ready,       Ready,       Ready,       Ready,       Draining,    Ready,       Dead,     Ready,       Draining,    Killing,  Draining,    Killing,     Ready,       Ready]),
        (Draining,    [Draining,    Draining,    Draining,    Draining,    Draining,    Draining,    Draining,    Dead,     Draining,    Draining,    Killing,  Killing,     Killing,     Draining,    Draining]),
        (Terminating, [Terminating, Terminating, Terminating, Terminating, Terminating, Terminating, Terminating, Dead,     Terminating, Terminating, Killing,  Killing,     Killing,     Terminating, Terminating]),
        (Killing,     [Killing,     Killing,     Killing,     Killing,     Killing,     Killing,     Killing,     Dead,     Killing,     Killing,     Killing,  Killing,     Killing,     Killing,     Killing]),
        (Unkillable,  [Unkillable,  Unkillable,  Unkillable,  Unkillable,  Unkillable,  Unkillable,  Unkillable,  Dead,     Unkillable,  Unkillable,  Unkillable, Unkillable, Unkillable,   Unkillable,  Unkillable]),
        (Dead,        [Dead,        Dead,        Dead,        Dead,        Dead,        Dead,        Spawning,    Dead,     Dead,        Dead,        Dead,     Dead,        Dead,        Dead,        Dead]),
        (BackingOff,  [BackingOff,  BackingOff,  BackingOff,  BackingOff,  BackingOff,  BackingOff,  BackingOff,  BackingOff, BackingOff, Closing,    Closing,  Spawning,    Spawning,    BackingOff,  BackingOff]),
        (Closing,     [Closing,     Closing,     Closing,     Closing,     Closing,     Closing,     Closing,     Closing,  Closing,     Closing,     Closing,  Closing,     Closing,     Closing,     Finished]),
        (Finished,    [Finished;    KINDS]),
    ]
}

#[test]
fn every_event_in_every_state_has_its_row() {
    let mut seen = Vec::new();
    for (state, row) in rows() {
        assert!(!seen.contains(&state), "{state:?} has two rows");
        seen.push(state);
        for (index, want) in row.into_iter().enumerate() {
            let mut sim = in_state(state);
            assert_eq!(sim.supervisor.state(), state);
            let event = kinds(sim.generation())[index];
            assert_eq!(kind(event), index);
            let _ = sim.send(event);
            assert_eq!(sim.supervisor.state(), want, "{event:?} in {state:?}");
        }
    }
}

#[test]
fn an_event_of_another_generation_changes_nothing() {
    for (state, _) in rows() {
        let sim = in_state(state);
        for stale in [0, sim.generation() + 1] {
            for event in kinds(stale).into_iter().take(9) {
                let mut twin = sim.clone();
                assert_eq!(twin.send(event), [], "{event:?} in {state:?}");
                assert_eq!(twin.supervisor, sim.supervisor);
            }
        }
    }
}

/// What must hold in every order of events.
#[derive(Default)]
struct Witness {
    stopped: bool,
    finished: bool,
    handlers: u32,
    alive: Option<Generation>,
    reported: Vec<Generation>,
}

impl Witness {
    fn see(&mut self, actions: &[Action]) {
        for action in actions {
            assert!(!self.finished, "{action:?} after the end");
            match *action {
                Action::Spawn { generation } => {
                    assert!(!self.stopped, "a spawn after a stop");
                    assert_eq!(self.alive.replace(generation), None, "two workers");
                }
                Action::Report { generation, .. } => {
                    assert!(
                        !self.reported.contains(&generation),
                        "two reports of one end"
                    );
                    self.reported.push(generation);
                }
                Action::RunExitHandlers { .. } => {
                    self.handlers += 1;
                    self.stopped = true;
                }
                Action::Finish { .. } => self.finished = true,
                Action::Probe { generation, .. }
                | Action::AskToExit { generation, .. }
                | Action::Terminate { generation }
                | Action::Kill { generation } => {
                    assert_eq!(
                        self.alive,
                        Some(generation),
                        "{action:?} of a reaped worker"
                    );
                }
                Action::Tell(_) => {}
            }
        }
        assert!(self.handlers <= 1, "exit handlers ran twice");
    }
}

#[test]
fn invariants_hold_in_random_orders_and_every_stop_comes_to_its_end() {
    let (sequences, events) = if cfg!(miri) { (20, 40) } else { (20_000, 60) };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap() % below
    };
    for _ in 0..sequences {
        let limit = (draw(2) == 0).then_some(Limit {
            failures: 3,
            within: ms(5000),
        });
        let restarts = [Restarts::Always, Restarts::OnFailure, Restarts::Never][draw(3)];
        let mut sim = Sim::new(Policy {
            limit,
            restarts,
            ..POLICY
        });
        let mut witness = Witness {
            alive: Some(1),
            ..Witness::default()
        };
        for _ in 0..events {
            let before = sim.supervisor.state();
            let event = kinds(sim.generation())[draw(KINDS)];
            let is_death = matches!(event, Event::Exited { .. } | Event::SpawnFailed { .. });
            if is_death && !matches!(before, State::Dead) {
                // The driver reaps before it tells.
                let fails = matches!(event, Event::SpawnFailed { .. });
                if fails == (before == State::Spawning) {
                    witness.alive = None;
                } else {
                    continue;
                }
            }
            witness.see(&sim.send(event));
            let time = ms([0, 1, 30, 700, 12_000][draw(5)]);
            let until = sim.now + time;
            while let Some(at) = sim.supervisor.next_deadline().filter(|&at| at <= until) {
                sim.now = sim.now.max(at);
                witness.see(&sim.supervisor.handle_timeout(sim.now));
            }
            sim.now = until;
        }
        witness.see(&sim.stop(How::Force, Asker::Operator));
        witness.see(&sim.send(Event::HandlersDone));
        let generation = sim.generation();
        if !matches!(sim.supervisor.state(), State::Dead | State::Finished) {
            witness.alive = None;
            witness.see(&sim.send(Event::Exited {
                generation,
                exit: Exit::Signal(9),
                jitter: MIDDLE,
            }));
        }
        while let Some(at) = sim.supervisor.next_deadline() {
            sim.now = sim.now.max(at);
            witness.see(&sim.supervisor.handle_timeout(sim.now));
        }
        assert_eq!(sim.supervisor.state(), State::Finished);
    }
}
