//! Ways to end a session: each in its time, by the clock, with nothing left running.

use std::process::Command;
use std::time::Duration;

use session_tests::running::{PATIENCE, Running, Start, expect_gone};

const CHAOS: &str = env!("CARGO_BIN_EXE_chaos");
const GRACE: Duration = Duration::from_secs(1);
const CONFIG: &str = r#""stop":{"graceSeconds":1}"#;
const CLEAN: Duration = Duration::from_secs(3);
const FORCED: Duration = Duration::from_millis(500);

fn start() -> (Running, u32) {
    let mut session = Start::config(CONFIG).run(CHAOS);
    let pid = session.expect_spawn();
    session.expect_ready();
    (session, pid)
}

#[track_caller]
fn expect_end(mut session: Running, pid: u32, within: Duration) -> String {
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took <= within, "took {took:?}, expected at most {within:?}");
    expect_gone(pid, PATIENCE);
    session.rest()
}

#[test]
fn clean_by_command_and_by_signal() {
    let (mut session, pid) = start();
    session.enter("exit clean");
    let log = expect_end(session, pid, GRACE);
    assert!(!log.contains("SIGTERM"), "{log}");
    for signal in ["TERM", "INT", "HUP"] {
        // Whoever runs the tests under `nohup` would hand that on.
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP", CHAOS]);
        let mut session = Start::config(CONFIG).run_piped(command);
        let pid = session.expect_spawn();
        session.expect_ready();
        session.signal(signal);
        expect_end(session, pid, GRACE);
    }
}

#[test]
fn the_end_of_input_ends_nothing() {
    let (mut session, pid) = start();
    session.end_input();
    session.get("/");
    session.signal("TERM");
    expect_end(session, pid, GRACE);
}

#[test]
fn a_piped_command_without_a_newline_is_obeyed() {
    let (mut session, pid) = start();
    session.enter_raw("exit clean");
    session.end_input();
    expect_end(session, pid, GRACE);
}

#[test]
fn a_hanging_exit_handler_costs_the_grace_period_and_no_more() {
    let (mut session, pid) = start();
    session.get("/hang-exit");
    session.enter("exit clean");
    expect_end(session, pid, CLEAN);
}

#[test]
fn a_worker_that_ignores_sigterm_ends_in_time_too() {
    let (mut session, pid) = start();
    session.get("/hang-exit");
    session.get("/ignore-term");
    session.enter("exit clean");
    expect_end(session, pid, CLEAN);
}

#[test]
fn force_is_obeyed_while_a_clean_exit_hangs() {
    let (mut session, pid) = start();
    session.get("/hang-exit");
    session.enter("exit clean");
    session.expect("exiting session cleanly");
    session.enter("exit force");
    expect_end(session, pid, FORCED);
}

#[test]
fn a_second_ctrl_c_forces() {
    let (mut session, pid) = start();
    session.get("/hang-exit");
    session.signal("INT");
    session.expect("exiting session cleanly");
    std::thread::sleep(Duration::from_millis(60)); // Two that are closer than 25 ms are one.
    session.signal("INT");
    expect_end(session, pid, FORCED);
}

#[test]
fn force_by_itself() {
    let (mut session, pid) = start();
    session.enter("exit force");
    expect_end(session, pid, FORCED);
}

#[test]
fn a_stop_during_the_backoff_is_over_at_once() {
    let config = r#""restart":{"minDelaySeconds":20,"maxDelaySeconds":20}"#;
    let mut session = Start::config(config).args(&["--exit", "3"]).run(CHAOS);
    session.expect("starting the next worker in");
    session.enter("exit clean");
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < FORCED, "{took:?}");
    assert_eq!(
        session.rest().matches("spawned new server worker").count(),
        1
    );
}
