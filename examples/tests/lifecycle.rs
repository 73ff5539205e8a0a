//! Workers that die, and what the monitor makes of it.

use std::time::Duration;

use session_tests::running::{PATIENCE, Running, Start, ask, expect_gone, signal_pid};

const CHAOS: &str = env!("CARGO_BIN_EXE_chaos");
const HELLO: &str = env!("CARGO_BIN_EXE_hello");
/// Restarts at once, so that a test with many of them is short.
const AT_ONCE: &str = r#""restart":{"minDelaySeconds":0}"#;

fn chaos(config: &str) -> (Running, u32) {
    let mut session = Start::config(config).run(CHAOS);
    let pid = session.expect_spawn();
    session.expect_ready();
    (session, pid)
}

#[test]
fn a_killed_worker_comes_back_fifty_times_and_each_time_it_is_said_why() {
    let mut session = Start::config(AT_ONCE).run(HELLO);
    let mut pid = session.expect_spawn();
    for generation in 1..=50 {
        assert!(session.get("/").contains("200 OK"));
        signal_pid(pid, "KILL");
        session.expect(&format!("(generation {generation}) has exited: SIGKILL"));
        let next = session.expect_spawn();
        assert_ne!(pid, next);
        pid = next;
    }
    session.expect_ready();
    session.enter("reports");
    for generation in 35..=50 {
        session.expect(&format!("generation {generation} (pid "));
    }
    session.enter("status");
    session.expect("state: ready");
    session.expect("generation: 51");
    session.expect("restarts: 50");
    session.expect("last exit: SIGKILL");
}

#[test]
fn every_way_to_die_has_its_cause_in_the_log_and_one_report() {
    for (route, cause) in [
        ("/panic", "a panic of a visitor (exit code 101)"),
        ("/panic-main", "(exit code 101)"),
        ("/abort", "crash report, generation 1: SIGABRT"),
        ("/null", "crash report, generation 1: SIGSEGV"),
        ("/overflow", "crash report, generation 1: SIGABRT"),
        ("/exit?code=3", "crash report, generation 1: exit code 3"),
    ] {
        let (mut session, _) = chaos(AT_ONCE);
        let _ = session.ask("GET", route, "");
        session.expect(cause);
        session.expect_ready();
        session.enter("exit clean");
        assert_eq!(session.wait().0.code(), Some(0), "{route}");
        let log = session.rest();
        assert_eq!(log.matches("crash report, ").count(), 1, "{route}:\n{log}");
    }
}

#[test]
fn the_last_output_is_complete_even_after_100_kb_and_an_abort() {
    let (mut session, _) = chaos(AT_ONCE);
    let _ = session.ask("GET", "/output?kb=100", "");
    session.expect("crash report, generation 1: SIGABRT");
    session.expect(" lines before, see `reports`");
    // 16 lines to the kilobyte, counted from 0: this is the very last.
    session.expect(" 1599 ");
    session.enter("reports 1");
    session.expect("its last output:");
    // The 64 KiB that are kept are the last 1008 lines or so; none of them is missing.
    for line in 600..1600 {
        session.expect(&format!(" {line} "));
    }
}

#[test]
fn a_stopped_worker_is_seen_by_its_probes_and_replaced() {
    let config = r#""pollingIntervalSeconds":1,"pollingTimeoutSeconds":0.3,"pollingFailureTolerance":1,
        "stop":{"graceSeconds":0.2}"#;
    let (mut session, pid) = chaos(config);
    signal_pid(pid, "STOP");
    session.expect("the server has encountered 1 of 1 tolerable failures");
    session.expect("failed 2 probes in a row and is replaced");
    session.expect("crash report, generation 1: failed probe");
    session.expect_ready();
    expect_gone(pid, PATIENCE);
}

#[test]
fn a_worker_that_never_listens_is_a_failed_start() {
    let config = r#""startupTimeoutSeconds":1,"stop":{"graceSeconds":0.1}"#;
    let mut session = Start::config(config).args(&["--never-listen"]).run(CHAOS);
    session.expect("was not ready within 1 s");
    let refused = format!("connection refused at 127.0.0.1:{}", session.port);
    session.expect(&format!(
        "crash report, generation 1: failed start: not ready in time: {refused} (made to leave: "
    ));
}

#[test]
fn a_crash_loop_slows_down_and_gives_up_where_that_is_asked() {
    let config = r#""restart":{"minDelaySeconds":0.01,"maxFailures":4}"#;
    let mut session = Start::config(config).args(&["--exit", "3"]).run(CHAOS);
    let (status, _) = session.wait();
    assert_eq!(status.code(), Some(75));
    let log = session.rest();
    assert_eq!(log.matches("spawned new server worker").count(), 4, "{log}");
    assert_eq!(log.matches("crash report, ").count(), 4, "{log}");
    assert!(log.contains("giving up: 4 failures"), "{log}");
}

#[test]
fn a_program_that_does_what_it_is_asked_and_ends_is_not_started_again() {
    for (args, code) in [
        (&["--version"][..], 0),
        (&["--exit", "2"], 2),
        (&["--exit", "78"], 78),
    ] {
        let mut session = Start::default().args(args).run(CHAOS);
        let (status, _) = session.wait();
        assert_eq!(status.code(), Some(code), "{args:?}");
        let log = session.rest();
        assert_eq!(log.matches("spawned new server worker").count(), 1, "{log}");
        assert!(!log.contains("crash report"), "{log}");
        assert_eq!(log.contains("\nchaos 0."), args[0] == "--version", "{log}");
    }
}

#[test]
fn policies_end_the_session_with_the_code_of_the_worker() {
    for (policy, code) in [("never", 3), ("on-failure", 0)] {
        let config = format!(r#""restart":{{"policy":"{policy}"}}"#);
        let code_text = code.to_string();
        let mut session = Start::config(&config)
            .args(&["--exit-after-ready", &code_text])
            .run(CHAOS);
        assert_eq!(session.wait().0.code(), Some(code), "{policy}");
    }
}

#[test]
fn nothing_of_the_worker_outlives_it_and_nothing_of_the_session_its_monitor() {
    let (mut session, pid) = chaos(r#""stop":{"graceSeconds":1}"#);
    let grandchild = session.get("/grandchild");
    let grandchild: u32 = grandchild
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .next_back()
        .unwrap();
    session.child.kill().unwrap();
    session.wait();
    let within = Duration::from_secs(3);
    expect_gone(pid, within);
    expect_gone(grandchild, within);
    assert!(
        ask(session.port, "GET", "/", "").is_err(),
        "the port is still held"
    );
}

#[test]
fn a_worker_may_have_to_die_with_its_monitor() {
    // With `drain` it would have ten seconds, as its exit handler does not come back.
    let config = r#""stop":{"graceSeconds":10},"worker":{"dieWithMonitor":"kill"}"#;
    let (mut session, first) = chaos(config);
    signal_pid(first, "KILL");
    let pid = session.expect_spawn();
    session.expect_ready();
    session.get("/hang-exit");
    session.child.kill().unwrap();
    session.wait();
    expect_gone(pid, Duration::from_secs(1));
    assert!(
        ask(session.port, "GET", "/", "").is_err(),
        "the port is still held"
    );
}

#[test]
fn messages_that_nobody_listens_for_are_told_by_name() {
    let (mut session, _) = chaos(AT_ONCE);
    let _ = session.ask("GET", "/flood?n=3", "");
    session.expect("nobody listens for `flood`: 1 message dropped");
    session.expect("nobody listens for `flood`: 2 messages dropped");
    session.enter("status");
    session.expect("dropped: ");
}
