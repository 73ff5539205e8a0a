use super::*;
use crate::log::Log;

const G: u64 = 4;

fn words(notice: Notice, details: &Details) -> String {
    let (log, lines) = Log::memory();
    log.line(&line(notice, details));
    let lines = lines.lock().unwrap();
    lines.join("\n")
}

fn details() -> Details {
    Details {
        pid: 7,
        listening: Some(3000),
        failure: Some("connection refused".into()),
        greeted: true,
        halted: None,
        status: None,
    }
}

/// No wildcard: a new notice fails to compile until it has a number here, and then until the
/// table below has it too.
fn number(notice: Notice) -> usize {
    match notice {
        Notice::Spawned { .. } => 0,
        Notice::Ready { .. } => 1,
        Notice::Tolerated { .. } => 2,
        Notice::Recovered { .. } => 3,
        Notice::Unhealthy { .. } => 4,
        Notice::CannotProbe { .. } => 5,
        Notice::ProbeLost { .. } => 6,
        Notice::NotReadyInTime { .. } => 7,
        Notice::NoHandshake { .. } => 8,
        Notice::ChannelLost { .. } => 9,
        Notice::Terminating { .. } => 10,
        Notice::Killing { .. } => 11,
        Notice::Unkillable { .. } => 12,
        Notice::Exited { .. } => 13,
        Notice::RestartingAtOnce => 14,
        Notice::RestartingIn { .. } => 15,
        Notice::GaveUp { .. } => 16,
        Notice::EndedByItself { .. } => 17,
        Notice::Stopping { .. } => 18,
        Notice::Forcing => 19,
        Notice::Restarting { .. } => 20,
        Notice::AlreadyStopping => 21,
        Notice::AlreadyRestarting => 22,
        Notice::CannotRestart => 23,
        Notice::HandlersOverdue => 24,
        Notice::Reloading { .. } => 25,
        Notice::TookOver { .. } => 26,
        Notice::ReloadFailed { .. } => 27,
        Notice::AlreadyReloading => 28,
        Notice::CannotReload => 29,
    }
}

const NOTICES: usize = 30;

#[test]
fn every_notice_has_its_words() {
    let seconds = Duration::from_secs;
    let table = [
        (
            Notice::Spawned { generation: G },
            "__monitor__: spawned new server worker with process id 7 (generation 4)",
        ),
        (
            Notice::Ready { generation: G },
            "__server__: listening on 3000...",
        ),
        (
            Notice::Tolerated {
                generation: G,
                failures: 1,
                tolerance: 3,
            },
            "__server__: the server has encountered 1 of 3 tolerable failures: connection refused",
        ),
        (
            Notice::Recovered { generation: G },
            "__server__: the server answers again",
        ),
        (
            Notice::Unhealthy {
                generation: G,
                failures: 1,
            },
            "__monitor__: the server failed a probe and is replaced: connection refused",
        ),
        (
            Notice::Unhealthy {
                generation: G,
                failures: 2,
            },
            "__monitor__: the server failed 2 probes in a row and is replaced: connection refused",
        ),
        (
            Notice::CannotProbe { generation: G },
            "__monitor__: cannot probe the server, which says nothing about its health: connection refused",
        ),
        (
            Notice::ProbeLost { generation: G },
            "__monitor__: a probe did not come back; the next one is made",
        ),
        (
            Notice::NotReadyInTime {
                generation: G,
                after: Duration::from_millis(1500),
            },
            "__monitor__: the server was not ready within 1.5 s: connection refused",
        ),
        (
            Notice::NoHandshake { generation: G },
            "__monitor__: worker 7 did not complete its handshake: connection refused",
        ),
        (
            Notice::ChannelLost { generation: G },
            "__monitor__: worker 7 closed its channel and lives on; it is replaced",
        ),
        (
            Notice::Terminating { generation: G },
            "__monitor__: worker 7 still runs after its grace period; sending SIGTERM",
        ),
        (
            Notice::Killing { generation: G },
            "__monitor__: worker 7 still runs 1 s after SIGTERM; sending SIGKILL",
        ),
        (
            Notice::Unkillable { generation: G },
            "__monitor__: worker 7 cannot be killed: it is stuck in the kernel; no other is started before it is gone",
        ),
        (
            Notice::Exited {
                generation: G,
                exit: Exit::Code(3),
            },
            "__monitor__: server worker with process id 7 (generation 4) has exited: exit code 3",
        ),
        (
            Notice::RestartingAtOnce,
            "__monitor__: starting the next worker",
        ),
        (
            Notice::RestartingIn {
                delay: Duration::from_millis(100),
            },
            "__monitor__: starting the next worker in 0.100 s",
        ),
        (
            Notice::GaveUp {
                failures: 1,
                within: seconds(60),
            },
            "__monitor__: giving up: 1 failure within 60 s",
        ),
        (
            Notice::GaveUp {
                failures: 2,
                within: seconds(60),
            },
            "__monitor__: giving up: 2 failures within 60 s",
        ),
        (
            Notice::EndedByItself {
                exit: Exit::Signal(15),
            },
            "__monitor__: the session ends with its worker: SIGTERM",
        ),
        (
            Notice::Stopping { how: How::Clean },
            "__monitor__: exiting session cleanly",
        ),
        (
            Notice::Stopping { how: How::Force },
            "__monitor__: exiting session immediately",
        ),
        (
            Notice::Forcing,
            "__monitor__: asked again: exiting session immediately",
        ),
        (
            Notice::Restarting { how: How::Clean },
            "__monitor__: restarting the worker cleanly",
        ),
        (
            Notice::Restarting { how: How::Force },
            "__monitor__: restarting the worker immediately",
        ),
        (
            Notice::AlreadyStopping,
            "__monitor__: the session is stopping already",
        ),
        (
            Notice::AlreadyRestarting,
            "__monitor__: the worker is being replaced already",
        ),
        (
            Notice::CannotRestart,
            "__monitor__: the old worker cannot be killed, so no other can be started",
        ),
        (
            Notice::HandlersOverdue,
            "__monitor__: exit handlers of the monitor took too long and are left behind",
        ),
        (
            Notice::Reloading { generation: G },
            "__monitor__: reloading: generation 4 starts beside the worker that serves",
        ),
        (
            Notice::TookOver { generation: G },
            "__monitor__: generation 4 has taken over",
        ),
        (
            Notice::ReloadFailed { generation: G },
            "__monitor__: the reload failed: generation 4 did not get as far as taking over, and the worker that serves stays",
        ),
        (
            Notice::AlreadyReloading,
            "__monitor__: a reload is under way, or its old worker still drains; nothing was done",
        ),
        (
            Notice::CannotReload,
            "__monitor__: this worker binds its own port; use `restart clean`",
        ),
    ];
    let mut has_words = [false; NOTICES];
    for (notice, expected) in table {
        assert_eq!(words(notice, &details()), expected);
        has_words[number(notice)] = true;
    }
    assert_eq!(has_words, [true; NOTICES]);
}

#[test]
fn what_is_not_known_is_said_to_be_so() {
    let bare = Details::default();
    let unknown = Notice::Exited {
        generation: G,
        exit: Exit::Unknown,
    };
    assert!(words(unknown, &bare).ends_with("exit status unknown"));
    assert!(words(Notice::NoHandshake { generation: G }, &bare).ends_with("no more is known"));
    let ready = words(Notice::Ready { generation: G }, &bare);
    assert_eq!(ready, "__server__: ready");
}

#[test]
fn a_program_that_is_no_build_of_this_one_is_said_to_be_none() {
    let details = Details {
        greeted: false,
        ..details()
    };
    let told = words(Notice::ReloadFailed { generation: G }, &details);
    assert!(
        told.contains("generation 4 never said hello, as each build"),
        "{told}"
    );
}

#[test]
fn a_worker_that_was_stopped_is_said_to_be_so_where_its_grace_period_ends() {
    let details = Details {
        halted: Some("its process is stopped (T)"),
        ..details()
    };
    let told = words(Notice::Terminating { generation: G }, &details);
    assert!(
        told.contains("grace period (its process is stopped (T)); sending"),
        "{told}"
    );
}

#[test]
fn the_exact_end_goes_before_what_the_supervisor_knows() {
    let details = Details {
        status: Some(ExitStatus::Signal {
            number: 11,
            core_dumped: true,
        }),
        ..details()
    };
    let exited = Notice::Exited {
        generation: G,
        exit: Exit::Signal(11),
    };
    assert!(words(exited, &details).ends_with("has exited: SIGSEGV (core dumped)"));
}

#[test]
fn text_of_a_worker_cannot_act_on_the_terminal() {
    let details = Details {
        failure: Some("\x1b[2J\n".into()),
        ..details()
    };
    let told = words(Notice::CannotProbe { generation: G }, &details);
    assert!(told.ends_with(r"\x1b[2J\n"), "{told}");
}

#[test]
fn the_worker_beside_the_active_one_is_said_to_come_or_to_go() {
    let told = [Companion::Incoming, Companion::Outgoing].map(|each| companion((G, each)));
    assert_eq!(
        told,
        [
            "generation 4 starts and is to take over",
            "generation 4 drains"
        ]
    );
}

#[test]
fn states_have_names_of_their_own_where_an_operator_cares() {
    let all = [
        State::Spawning,
        State::Handshaking,
        State::Starting,
        State::Ready,
        State::Draining,
        State::Terminating,
        State::Killing,
        State::Unkillable,
        State::Dead,
        State::BackingOff,
        State::Closing,
        State::Finished,
    ];
    let mut names: Vec<&str> = all.map(|each| state(each, false)).to_vec();
    names.push(state(State::Draining, true));
    let before = names.len();
    names.sort_unstable();
    names.dedup();
    // The first three are one.
    assert_eq!(names.len(), before - 2, "{names:?}");
}
