//! The program's own code in the monitor hangs; the session does not.

use std::time::Duration;

use session_tests::running::{PATIENCE, Running, Start, expect_gone, signal_pid};

const CONFIG: &str = r#""pollingRoute":null,"restart":{"minDelaySeconds":0},
    "stop":{"graceSeconds":0.5}"#;

fn start() -> (Running, u32) {
    let mut session = Start::config(CONFIG).run(env!("CARGO_BIN_EXE_hangs"));
    let pid = session.expect_spawn();
    session.expect("ready");
    (session, pid)
}

#[track_caller]
fn expect_end(mut session: Running, pid: u32, within: Duration) {
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took <= within, "took {took:?}, expected at most {within:?}");
    expect_gone(pid, PATIENCE);
}

#[test]
fn no_hook_listener_or_command_delays_a_restart_or_a_forced_stop() {
    let (mut session, mut pid) = start();
    session.enter("hang");
    session.enter("hang");
    for _ in 0..20 {
        signal_pid(pid, "KILL");
        session.expect("has exited: SIGKILL");
        pid = session.expect_spawn();
    }
    session.enter("status");
    session.expect("restarts: 20");
    session.enter("exit clean");
    session.expect("exiting session cleanly");
    session.enter("exit force");
    expect_end(session, pid, Duration::from_millis(500));
}

#[test]
fn a_clean_stop_takes_its_grace_period_and_no_more_than_two_seconds_beside() {
    let (mut session, pid) = start();
    session.enter("hang");
    session.enter("exit clean");
    expect_end(session, pid, Duration::from_millis(500 + 2000));
}
