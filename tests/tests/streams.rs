//! The monitor's own streams, in every state that a launcher may leave them in.
#![cfg(target_os = "linux")]

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use session_tests::processes::expect_idle;
use session_tests::running::{PATIENCE, Running, Start, expect_gone, signal_pid};

const PROGRAM: &str = env!("CARGO_BIN_EXE_leaves_traces");
const CONFIG: &str = r#""stop":{"graceSeconds":1},"restart":{"minDelaySeconds":0},
    "showServerOutput":true"#;
const CLEAN: Duration = Duration::from_secs(3);
/// How long a process that is to be idle is watched.
const WATCHED: Duration = Duration::from_secs(2);
/// Workers that are killed, each to be followed by one that answers.
const DEATHS: usize = 3;

fn loud() -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("loud").stdin(Stdio::null());
    command
}

/// Workers come back, and SIGTERM ends the session in its time.
#[track_caller]
fn goes_on_and_ends(mut session: Running) {
    let mut worker = session.worker(None);
    for _ in 0..DEATHS {
        signal_pid(worker, "KILL");
        worker = session.worker(Some(worker));
    }
    session.signal("TERM");
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took <= CLEAN, "took {took:?}");
    expect_gone(worker, PATIENCE);
    let ended = fs::read_to_string(session.folder().join("ended")).unwrap();
    assert_eq!(ended.lines().count(), 2, "{ended}");
}

/// Waits until a thread of the monitor sits in a write that nobody will take.
#[track_caller]
fn is_stuck(session: &Running) {
    let deadline = Instant::now() + PATIENCE;
    let tasks = format!("/proc/{}/task", session.child.id());
    let sits_in_write = |task: &Path| {
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        let call = fs::read_to_string(task.join("syscall")).unwrap_or_default();
        name.starts_with("session-stdout") && is_write(&call)
    };
    loop {
        let mut entries = fs::read_dir(&tasks).unwrap().flatten();
        if entries.any(|task| sits_in_write(&task.path())) {
            return;
        }
        assert!(Instant::now() < deadline, "its log is not stuck");
        thread::sleep(Duration::from_millis(10));
    }
}

/// `write` to descriptor 1, in the words of `/proc`: number of the call, then its arguments.
fn is_write(call: &str) -> bool {
    let number = if cfg!(target_arch = "x86_64") {
        "1"
    } else {
        "64"
    };
    call.starts_with(&format!("{number} 0x1 "))
}

#[test]
fn a_pipe_that_nobody_reads_stops_nothing() {
    let mut command = loud();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let session = Start::config(CONFIG).run_bare(command);
    session.worker(None);
    is_stuck(&session);
    goes_on_and_ends(session);
}

#[test]
fn a_reader_that_is_slow_misses_none_of_the_last_words() {
    let mut command = loud();
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut session = Start::config(CONFIG).run_bare(command);
    let worker = session.worker(None);
    is_stuck(&session);
    session.signal("TERM");
    expect_gone(worker, PATIENCE);
    // All that is left to be done is to tell it.
    thread::sleep(Duration::from_millis(250));
    let mut stdout = session.child.stdout.take().unwrap();
    let mut words = Vec::new();
    stdout.read_to_end(&mut words).unwrap();
    assert_eq!(session.wait().0.code(), Some(0));
    let words = String::from_utf8_lossy(&words);
    let last = words.lines().last().unwrap();
    assert!(last.ends_with("session ended with exit code 0"), "{last}");
}

#[test]
fn a_pipe_whose_reader_is_gone_stops_nothing() {
    let mut command = loud();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut session = Start::config(CONFIG).run_bare(command);
    drop(session.child.stdout.take());
    drop(session.child.stderr.take());
    goes_on_and_ends(session);
}

#[test]
fn a_terminal_that_nobody_reads_stops_nothing() {
    let session = Start::config(CONFIG)
        .args(&["loud"])
        .run_on_stalled_terminal(&[PROGRAM]);
    session.worker(None);
    is_stuck(&session);
    goes_on_and_ends(session);
}

#[test]
fn a_full_disk_stops_nothing() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = loud();
    command.stdout(full()).stderr(full());
    goes_on_and_ends(Start::config(CONFIG).run_bare(command));
}

#[test]
fn closed_streams_stop_nothing() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        for args in ["", "loud"] {
            let mut command = Command::new("sh");
            let script = format!("exec \"$0\" {args} {closed}");
            command
                .args(["-c", &script, PROGRAM])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            goes_on_and_ends(Start::config(CONFIG).run_bare(command));
        }
    }
}

#[test]
fn without_input_it_costs_nothing() {
    let start = |script: &str| {
        let mut command = Command::new("sh");
        command
            .args(["-c", script, PROGRAM])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Start::config(CONFIG).run_bare(command)
    };
    let sessions = [
        "exec \"$0\"",
        "exec \"$0\" <&-",
        "exec \"$0\" <&- >&- 2>&-",
        "exec \"$0\" <.",
        // Open for writing only: whoever reads it is refused.
        "exec \"$0\" 0>input",
    ];
    let sessions = sessions.map(start);
    let pids = sessions.each_ref().map(|session| {
        session.worker(None);
        session.child.id()
    });
    expect_idle(&pids, WATCHED);
    for session in sessions {
        goes_on_and_ends(session);
    }
}
