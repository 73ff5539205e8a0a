//! What a worker that was taken over cannot do: `SECURITY.md` names these tests.
//!
//! `hostile` plays the worker by hand. Whatever it does, the monitor lives, obeys in its time, keeps
//! its bounds, says what it refused, and lets nothing reach its log unescaped.
//!
//! With `SESSION_SOAK` set to anything the endless line is a gigabyte long.
#![cfg(target_os = "linux")]

use std::fs;
use std::time::{Duration, Instant};

use session_tests::faults::row;
use session_tests::inject::until;
use session_tests::processes::{hidden_in, resources};
use session_tests::running::{PATIENCE, Running, Start, expect_gone};

const HOSTILE: &str = env!("CARGO_BIN_EXE_hostile");
const GRACE: f64 = 0.5;
/// Grace, a second of SIGTERM, and what the machine takes to notice.
const STOPS_WITHIN: Duration = Duration::from_secs(4);
/// An idle monitor has 20 descriptors, 10 threads and 8 MiB; a line and the bounded queues are more.
const MAX_FDS: usize = 32;
const MAX_THREADS: usize = 20;
const MAX_PEAK_KIB: u64 = 64 * 1024;

fn start(mode: &str, members: &str) -> Running {
    start_with(&[mode], members)
}

fn start_with(args: &[&str], members: &str) -> Running {
    let config = format!(
        r#""readiness":"call","pollingRoute":null,"restart":{{"minDelaySeconds":0}},
        "stop":{{"graceSeconds":{GRACE}}}{members}"#
    );
    Start::config(&config).args(args).run(HOSTILE)
}

/// The monitor answers, and has not grown.
#[track_caller]
fn lives(session: &mut Running) {
    session.enter("status");
    session.expect("state: ");
    let used = resources(session.child.id());
    assert!(used.fds <= MAX_FDS, "{used:?}");
    assert!(used.threads <= MAX_THREADS, "{used:?}");
    assert!(used.peak_kib <= MAX_PEAK_KIB, "{used:?}");
}

/// And it ends when it is asked to, whatever the worker does meanwhile; its log.
#[track_caller]
fn lives_and_ends(mut session: Running) -> String {
    lives(&mut session);
    session.enter("exit clean");
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took <= STOPS_WITHIN, "took {took:?}");
    let log = session.rest();
    expect_harmless(&log);
    log
}

#[track_caller]
fn expect_harmless(log: &str) {
    for line in log.lines() {
        assert_eq!(hidden_in(line), None, "{line:?}");
        assert!(!line.starts_with("[Fri, 31 Dec 1999"), "forged: {line}");
    }
}

#[test]
fn an_ordinary_worker_needs_less_than_the_bounds() {
    row(&[], || {
        let mut session = start("tame", "");
        session.expect("ready");
        lives_and_ends(session);
    });
}

#[test]
fn a_kill_without_the_right_is_refused() {
    row(&[], || {
        let mut session = start_with(
            &["kill", "without-the-right"],
            r#","worker":{"mayKill":false}"#,
        );
        session.expect("refused: `worker.mayKill` is false");
        session.expect("lifecycle phase (done)");
        let log = lives_and_ends(session);
        // The three codes that are no exit codes, and the one that is.
        assert_eq!(log.matches("refused: `worker.mayKill`").count(), 4, "{log}");
        assert!(log.contains("not understood"), "{log}");
    });
}

#[test]
fn a_kill_with_a_code_that_is_none_is_refused() {
    row(&[], || {
        let mut session = start("kill", "");
        session.expect("refused: expected an exit code from 0 to 255, found 256");
        session.expect("found 999");
        session.expect("found 18446744073709551615");
        session.expect("lifecycle phase (done)");
        lives_and_ends(session);
    });
}

#[test]
fn a_port_and_a_polling_interval_without_the_right_are_refused() {
    row(&[], || {
        let mut session = start_with(
            &["set-port", "without-the-right"],
            r#","worker":{"maySetPort":false}"#,
        );
        session.expect("lifecycle phase (done)");
        let log = lives_and_ends(session);
        let told = log.matches("refused: `worker.maySetPort` is false").count();
        assert_eq!(told, 12, "{log}");
        assert!(!log.contains("is changed"), "{log}");
    });
}

#[test]
fn a_port_or_an_interval_that_is_none_is_refused() {
    row(&[], || {
        let mut session = start("set-port", "");
        session.expect("lifecycle phase (done)");
        let log = lives_and_ends(session);
        assert!(!log.contains("is changed"), "{log}");
        assert!(!log.contains("restarting"), "{log}");
        assert!(log.contains("found `70000`"), "{log}");
    });
}

#[test]
fn planted_descriptors_are_dropped() {
    row(&[], || {
        let mut session = start("plant", "");
        session.expect("lifecycle phase (done)");
        lives_and_ends(session);
    });
}

/// While it goes on, a stop is obeyed in its time.
#[track_caller]
fn survives_a_flood(mode: &str, told: &[&str]) {
    let mut session = start(mode, "");
    for text in told {
        session.expect(text);
    }
    lives_and_ends(session);
}

#[test]
fn a_flood_of_good_lines_is_capped_and_told() {
    row(&[], || {
        let told = [
            "nobody listens for `nobody`",
            "dropped: they come too fast",
            "dropped: the listeners cannot keep up",
        ];
        for text in told {
            survives_a_flood("good-flood", &[text]);
        }
    });
}

#[test]
fn a_flood_of_bad_lines_is_counted_and_told() {
    row(&[], || {
        survives_a_flood("bad-flood", &["64 messages not understood"]);
    });
}

#[test]
fn a_flood_of_crashes_is_one_crash() {
    row(&[], || {
        for mode in ["crash-flood", "small-crash-flood"] {
            let mut session = start(mode, "");
            session.expect("crash event detected");
            session.expect("crash report, generation 1: ");
            let log = lives_and_ends(session);
            let reports = log.matches("crash report, generation 1: ").count();
            assert_eq!(reports, 1, "{mode}: {log}");
            // Two hundred words in a second are heard, and as many crashes beyond them.
            let told = log.matches("crash event detected").count();
            assert!(told < 2_000, "{mode}: told {told} times");
        }
    });
}

#[test]
fn listeners_that_are_asked_for_without_end_cost_nothing() {
    row(&[], || {
        let told = ["could not be handed over", "dropped: they come too fast"];
        survives_a_flood("listen", &told);
    });
}

#[test]
fn every_bad_line_is_skipped_and_the_next_one_is_heard() {
    row(&[], || {
        let mut session = start("bad-lines", "");
        let line = session.expect(" bad lines");
        let (_, after) = line.split_once("lifecycle phase (").unwrap();
        let count: usize = after.split(' ').next().unwrap().parse().unwrap();
        session.enter("status");
        let dropped = session.expect("dropped: ");
        let dropped: usize = dropped.rsplit(' ').next().unwrap().parse().unwrap();
        let log = lives_and_ends(session);
        assert!(count > 30, "{log}");
        // Counted at 1, 2, 4, 8, …, and there was one at least before each good line.
        assert!(dropped > count / 2, "{log}");
        for index in 0..count {
            assert!(log.contains(&format!("(good line {index})")), "{log}");
        }
    });
}

#[test]
fn who_serves_no_listener_of_the_monitor_gains_nothing_by_saying_so() {
    row(&[], || {
        let mut session = start("serving", "");
        session.expect("lifecycle phase (done)");
        // It binds its own port, so it cannot be replaced beside itself.
        session.enter("reload");
        session.expect("this worker binds its own port");
        lives_and_ends(session);
    });
}

#[test]
fn no_text_reaches_the_log_unescaped() {
    row(&[], || {
        for show in ["false", "true"] {
            let mut session = start("escapes", &format!(r#","showServerOutput":{show}"#));
            session.expect("crash report, generation 1: ");
            session.expect("ready");
            session.enter("reports");
            session.expect("its last output:");
            lives(&mut session);
            let file = session.folder().join("report-1");
            until("the hook has written it", || file.exists());
            let report = fs::read_to_string(file).unwrap();
            // The first line is its JSON, which has escapes of its own.
            let (_, report) = report.split_once('\n').unwrap();
            expect_harmless(report);
            let log = lives_and_ends(session);
            assert!(log.contains(r"\x1b[2J\x1b]0;t\x07"), "{log}");
            assert!(log.contains(r"\u{202e}"), "{log}");
        }
    });
}

#[test]
fn no_text_reaches_a_terminal_unescaped() {
    row(&[], || {
        let config = r#""readiness":"call","pollingRoute":null,"restart":{"minDelaySeconds":0},
            "showServerOutput":true"#;
        let mut session = Start::config(config)
            .args(&["escapes"])
            .run_on_terminal(&[HOSTILE]);
        session.expect("crash report, generation 1: ");
        session.expect("ready");
        session.enter("exit clean");
        assert_eq!(session.wait().0.code(), Some(0));
        // The terminal itself ends lines with a carriage return, which the harness takes away.
        expect_harmless(&session.rest());
    });
}

#[test]
fn a_hello_of_another_worker_is_none() {
    row(&[], || {
        for (mode, why) in [
            (
                "stale-generation",
                "it gave another generation or process id",
            ),
            (
                "coming-generation",
                "it gave another generation or process id",
            ),
            ("wrong-pid", "it gave another generation or process id"),
            ("other-protocol", "expected protocol 1, found 4294967295"),
            ("no-hello", "its first message was no hello"),
            ("garbled-hello", "expected a message of protocol 1"),
        ] {
            let mut session = start(mode, "");
            session.expect("did not complete its handshake: ");
            session.expect("(generation 2)");
            session.expect("ready");
            let log = lives_and_ends(session);
            assert!(log.contains(why), "{mode}: {log}");
        }
    });
}

#[test]
fn a_hello_that_never_ends_or_never_begins_is_waited_for_five_seconds() {
    row(&[], || {
        for mode in ["endless-hello", "silent"] {
            let mut session = start(mode, "");
            let begun = Instant::now();
            session.expect("did not complete its handshake: ");
            assert!(begun.elapsed() < Duration::from_secs(8), "{mode}");
            session.expect("ready");
            lives_and_ends(session);
        }
    });
}

#[test]
fn an_endless_line_costs_no_memory_and_the_next_one_is_heard() {
    row(&[], || {
        let mut session = start("huge-line", "");
        session.expect("expected a line of at most 1048576 bytes, found more");
        session.expect("lifecycle phase (done)");
        lives_and_ends(session);
    });
}

#[test]
fn half_a_line_before_a_death_is_told_with_its_length() {
    row(&[], || {
        let mut session = start("half-line", "");
        session.expect("found the end after ");
        session.expect("crash report, generation 1: exit code 3");
        session.expect("ready");
        lives_and_ends(session);
    });
}

#[test]
fn a_worker_that_closes_its_channel_and_lives_on_is_replaced() {
    row(&[], || {
        let mut session = start("close", "");
        let worker = session.expect_spawn();
        session.expect("closed its channel and lives on; it is replaced");
        session.expect_spawn();
        session.expect("crash report, generation 1: it closed its channel to the monitor");
        expect_gone(worker, PATIENCE);
        lives_and_ends(session);
    });
}

#[test]
fn a_worker_that_says_it_crashes_and_lives_on_is_made_to_leave() {
    row(&[], || {
        let mut session = start("crash-and-live", "");
        let worker = session.expect_spawn();
        session.expect("crash event detected");
        session.expect("sending SIGTERM");
        session.expect("(generation 2)");
        expect_gone(worker, PATIENCE);
        lives_and_ends(session);
    });
}

#[test]
fn a_worker_that_obeys_nothing_is_killed() {
    row(&[], || {
        let mut session = start("immortal", "");
        session.expect("lifecycle phase (done)");
        let log = lives_and_ends(session);
        assert!(
            log.contains("still runs 1 s after SIGTERM; sending SIGKILL"),
            "{log}"
        );
    });
}

#[test]
fn a_worker_that_never_reads_holds_up_nobody() {
    row(&[], || {
        let mut session = start("deaf", "");
        session.expect("lifecycle phase (done)");
        session.enter("send 100");
        // Two megabytes wait for it, and what the socket holds; the rest is refused at once.
        let line = session.expect(" of 100 letters refused");
        assert!(!line.contains(": 0 of"), "{line}");
        session.expect("command completed");
        lives_and_ends(session);
    });
}

#[test]
fn answers_that_nobody_waits_for_are_counted() {
    row(&[], || {
        let mut session = start("replies", "");
        session.expect("8 messages not understood, the last: ");
        session.expect("lifecycle phase (done)");
        lives_and_ends(session);
    });
}

#[test]
fn who_inherits_the_channel_of_a_dead_worker_is_not_heard() {
    row(&[], || {
        let mut session = start("heir", "");
        let worker = session.expect_spawn();
        session.expect(&format!(
            "process id {worker} (generation 1) has exited: exit code 3"
        ));
        session.expect_spawn();
        session.expect("crash report, generation 1: exit code 3");
        end_escaped("sleep 1000");
        let log = lives_and_ends(session);
        // What it says before the monitor knows of the death is the worker's, as far as one can tell.
        let (_, after) = log.split_once("(generation 1) has exited").unwrap();
        let (_, after) = after.split_once("(generation 2)").unwrap();
        assert!(!after.contains("from the grave"), "{log}");
    });
}

/// What has left its group and its session is nobody's business but this test's.
fn end_escaped(command: &str) {
    let wanted = command.replace(' ', "\0") + "\0";
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line == wanted.as_bytes() {
            let pid = entry.file_name().into_string().unwrap().parse().unwrap();
            session_tests::running::signal_pid(pid, "KILL");
        }
    }
}
