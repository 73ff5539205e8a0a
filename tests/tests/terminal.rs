//! The monitor at a terminal: in its foreground and background, and when it goes away.
#![cfg(target_os = "linux")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use session_tests::processes::{Process, expect_idle};
use session_tests::running::{PATIENCE, Running, Start, expect_gone, signal_pid};

const PROGRAM: &str = env!("CARGO_BIN_EXE_leaves_traces");
const CONFIG: &str = r#""stop":{"graceSeconds":1},"restart":{"minDelaySeconds":0}"#;
const GRACE: Duration = Duration::from_secs(1);
const CLEAN: Duration = Duration::from_secs(3);
/// Half a second, and what the machine takes to notice.
const FORCED: Duration = Duration::from_millis(700);
const SIGNAL: &str = "a signal";
const HANG_UP: &str = "a hang-up";
const INTERACTIVE: [&str; 4] = ["bash", "--norc", "--noprofile", "-i"];

fn start(command: &[&str], args: &[&str]) -> (Running, u32) {
    let session = Start::config(CONFIG).args(args).run_on_terminal(command);
    let worker = session.worker(None);
    (session, worker)
}

/// The exit handlers that ran, in the order of their names.
fn traces(session: &Running) -> Vec<String> {
    let text = fs::read_to_string(session.folder().join("ended")).unwrap_or_default();
    let mut traces: Vec<String> = text.lines().map(str::to_owned).collect();
    traces.sort();
    traces
}

#[track_caller]
fn each_handler_ran_once(session: &Running, reason: &str) {
    let why = format!("the session stops: {reason}");
    assert_eq!(
        traces(session),
        [format!("monitor: {why}"), format!("worker: {why}")]
    );
}

/// Watches a process for some time: it is not stopped, and costs nothing.
#[track_caller]
fn is_idle(pid: u32, during: Duration) {
    expect_idle(&[pid], during);
}

#[track_caller]
fn comes_back(session: &Running, worker: u32) -> u32 {
    signal_pid(worker, "KILL");
    session.worker(Some(worker))
}

#[test]
fn a_terminal_that_goes_away_ends_the_session_cleanly() {
    for args in [&[][..], &["hang"]] {
        let (mut session, worker) = start(&[PROGRAM], args);
        session.hang_up();
        let (status, took) = session.wait();
        assert_eq!(status.code(), Some(0), "{args:?}");
        assert!(took <= CLEAN, "{args:?}: took {took:?}");
        expect_gone(worker, PATIENCE);
        each_handler_ran_once(&session, HANG_UP);
    }
}

#[test]
fn a_shell_that_goes_away_with_its_terminal_ends_the_session_cleanly() {
    // The shell passes the hang-up on, and then the system tells it once more.
    for _ in 0..5 {
        let mut session = Start::config(CONFIG).run_on_terminal(&INTERACTIVE);
        session.enter(PROGRAM);
        let worker = session.worker(None);
        let monitor = Process::of(worker).unwrap().parent;
        assert_ne!(monitor, session.child.id());
        session.hang_up();
        let took = expect_gone(monitor, CLEAN);
        assert!(took <= CLEAN, "{took:?}");
        expect_gone(worker, PATIENCE);
        each_handler_ran_once(&session, HANG_UP);
    }
}

#[test]
fn a_shell_that_takes_its_time_to_go_away_makes_the_end_no_harder() {
    let mut session = Start::config(CONFIG).run_on_terminal(&INTERACTIVE);
    session.enter("trap 'sleep 0.3' EXIT");
    session.enter(&format!("{PROGRAM} hang"));
    let worker = session.worker(None);
    let monitor = Process::of(worker).unwrap().parent;
    session.hang_up();
    // The shell's own end is the second hang-up, and nobody's impatience.
    let took = expect_gone(monitor, CLEAN);
    assert!(took >= GRACE / 2, "the handler had only {took:?}");
    expect_gone(worker, PATIENCE);
    each_handler_ran_once(&session, HANG_UP);
}

#[test]
fn a_stalled_terminal_takes_ctrl_c_and_may_go_away() {
    // As after Ctrl-S, with a worker that writes on.
    let config = format!(r#"{CONFIG},"showServerOutput":true"#);
    for hangs_up in [false, true] {
        let mut session = Start::config(&config)
            .args(&["loud"])
            .run_on_stalled_terminal(&[PROGRAM]);
        let worker = session.worker(None);
        let worker = comes_back(&session, worker);
        if hangs_up {
            session.hang_up();
        } else {
            session.enter_raw("\x03");
        }
        let (status, took) = session.wait();
        assert_eq!(status.code(), Some(0));
        assert!(took <= CLEAN, "took {took:?}");
        expect_gone(worker, PATIENCE);
        each_handler_ran_once(&session, if hangs_up { HANG_UP } else { SIGNAL });
    }
}

#[test]
fn under_nohup_the_session_outlives_its_terminal() {
    let ignoring = ["sh", "-c", "trap '' HUP; exec \"$0\"", PROGRAM];
    for command in [&["nohup", PROGRAM][..], &ignoring] {
        let (mut session, worker) = start(command, &[]);
        let monitor = session.child.id();
        session.hang_up();
        is_idle(monitor, Duration::from_secs(1));
        session.signal("HUP");
        let worker = comes_back(&session, worker);
        assert!(traces(&session).is_empty(), "{command:?}");
        session.signal("TERM");
        let (status, took) = session.wait();
        assert_eq!(status.code(), Some(0), "{command:?}");
        assert!(took <= CLEAN, "{command:?}: took {took:?}");
        expect_gone(worker, PATIENCE);
        each_handler_ran_once(&session, SIGNAL);
    }
}

#[test]
fn ctrl_c_ends_the_session_cleanly_and_reaches_the_monitor_alone() {
    let (mut session, worker) = start(&[PROGRAM], &[]);
    assert_eq!(Process::of(worker).unwrap().group, worker);
    session.enter_raw("\x03");
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took <= CLEAN, "{took:?}");
    expect_gone(worker, PATIENCE);
    // A worker that is signalled itself gives that as its reason.
    each_handler_ran_once(&session, SIGNAL);
    let log = session.rest();
    assert!(log.contains("has exited: exit code 0"), "{log}");
    assert!(!log.contains("crash report"), "{log}");
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_exit_handlers() {
    let (mut session, worker) = start(&[PROGRAM], &["hang"]);
    session.enter_raw("\x03");
    session.expect("exiting session cleanly");
    thread::sleep(Duration::from_millis(60)); // Two that are closer than 25 ms are one.
    session.enter_raw("\x03");
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took <= FORCED, "{took:?}");
    expect_gone(worker, PATIENCE);
}

#[test]
fn in_the_background_it_supervises_and_in_the_foreground_it_obeys() {
    let mut session = Start::config(CONFIG).run_on_terminal(&INTERACTIVE);
    session.enter("stty tostop");
    session.enter(&format!("{PROGRAM} &"));
    let worker = session.worker(None);
    session.expect_ready();
    let monitor = Process::of(worker).unwrap();
    let monitor = Process::of(monitor.parent).unwrap();
    assert_ne!(i64::from(monitor.group), monitor.foreground);
    is_idle(monitor.pid, Duration::from_secs(2));
    // What is typed ahead is another's: it may lie there, readable, and is not for the monitor.
    session.enter("until test -e go; do sleep 0.1; done");
    // (Written so that its echo is not its outcome.)
    session.enter("echo not for ${NOBODY:-it}");
    // It lies there for all of this time, however often one looks.
    is_idle(monitor.pid, Duration::from_millis(1500));
    fs::write(session.folder().join("go"), "").unwrap();
    session.expect("not for it");
    comes_back(&session, worker);
    // The log goes on although `tostop` is set.
    session.expect_spawn();
    session.expect_ready();
    is_idle(monitor.pid, Duration::from_millis(300));
    session.enter("fg");
    let deadline = Instant::now() + PATIENCE;
    while Process::of(monitor.pid).unwrap().foreground != i64::from(monitor.group) {
        assert!(Instant::now() < deadline, "it does not come to the front");
        thread::sleep(Duration::from_millis(5));
    }
    session.enter("status");
    session.expect("restarts: 1");
    session.enter("exit clean");
    expect_gone(monitor.pid, CLEAN);
    session.enter("echo it ended with $?.");
    session.expect("it ended with 0.");
}
