//! Programs that start themselves or each other: one monitor for each program, and never a bomb.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use session_tests::processes::{Process, working_in};
use session_tests::running::{PATIENCE, Running, Start, expect_gone, folder, signal_pid};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nests");
const CONFIG: &str = r#""pollingRoute":null,"restart":{"minDelaySeconds":0},
    "stop":{"graceSeconds":0.5}"#;
/// Where the count of processes has settled, it stays: a bomb would have grown by far.
const SETTLED: Duration = Duration::from_millis(500);
/// A monitor and its worker.
const SESSION: usize = 2;

/// Copies are other programs: each has a file of its own.
struct Programs(PathBuf);

impl Programs {
    fn new(names: &[&str]) -> Programs {
        let folder = folder();
        for name in names {
            // Not by this process: a file that it has open for writing, and with it for a moment
            // every child it is starting, cannot be executed.
            let copied = Command::new("cp")
                .arg(PROGRAM)
                .arg(folder.join(name))
                .status();
            assert!(copied.unwrap().success());
        }
        Programs(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn told(session: &Running) -> String {
    fs::read_to_string(session.folder().join("told")).unwrap_or_default()
}

/// Waits for a line that a worker has written with this text in it.
#[track_caller]
fn expect_told(session: &Running, text: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = told(session);
        if let Some(line) = told.lines().find(|line| line.contains(text)) {
            return line.to_owned();
        }
        assert!(Instant::now() < deadline, "expected `{text}`:\n{told}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// So many processes are there now, and are still when some time has passed.
#[track_caller]
fn expect_family(session: &Running, count: usize) -> Vec<Process> {
    let deadline = Instant::now() + PATIENCE;
    while working_in(session.folder()).len() != count {
        let family = working_in(session.folder());
        assert!(Instant::now() < deadline, "expected {count}: {family:?}");
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(SETTLED);
    let family = working_in(session.folder());
    assert_eq!(family.len(), count, "{family:?}");
    family
}

#[track_caller]
fn ends_with_all(mut session: Running) {
    session.signal("TERM");
    assert_eq!(session.wait().0.code(), Some(0));
    let deadline = Instant::now() + PATIENCE;
    while !working_in(session.folder()).is_empty() {
        let left = working_in(session.folder());
        assert!(Instant::now() < deadline, "left behind: {left:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_worker_that_runs_its_own_program_again_is_told_what_to_do_instead() {
    let without = ["env", "-u", "SESSION_WORKER", PROGRAM, "stay"];
    let shell = ["sh", "-c", "\"$0\" stay; exit $?", PROGRAM];
    let bare = [
        "sh",
        "-c",
        "env -i sh -c '\"$0\" stay; exit $?' \"$0\"; exit $?",
        PROGRAM,
    ];
    for command in [&[PROGRAM, "stay"][..], &shell, &without, &bare] {
        let args: Vec<&str> = ["run"].iter().chain(command).copied().collect();
        let session = Start::config(CONFIG).args(&args).run(PROGRAM);
        let line = expect_told(&session, "ended: ");
        assert!(line.contains("exit status: 64"), "{command:?}: {line}");
        assert!(
            line.contains("set SESSION_DISABLE=1"),
            "{command:?}: {line}"
        );
        expect_family(&session, SESSION);
        assert_eq!(told(&session).matches("up generation=").count(), 1);
        ends_with_all(session);
    }
}

#[test]
fn with_the_library_off_it_may_run_its_own_program_again() {
    let session = Start::config(CONFIG)
        .args(&["run", "env", "SESSION_DISABLE=1", PROGRAM, "stay"])
        .run(PROGRAM);
    // The second is a plain process of the same program: nobody supervises it.
    expect_family(&session, SESSION + 1);
    assert_eq!(told(&session).matches("up generation=").count(), 2);
    ends_with_all(session);
}

#[test]
fn another_program_below_a_worker_is_a_session_of_its_own() {
    let programs = Programs::new(&["inner"]);
    let session = Start::config(CONFIG)
        .args(&["run", &programs.path("inner"), "stay"])
        .run(PROGRAM);
    let family = expect_family(&session, 2 * SESSION);
    let outer = session.child.id();
    let of = |parent: u32| family.iter().find(|process| process.parent == parent);
    let worker = of(outer).unwrap().pid;
    let inner_monitor = of(worker).unwrap().pid;
    let inner_worker = of(inner_monitor).unwrap().pid;
    // The inner monitor supervises by itself.
    signal_pid(inner_worker, "KILL");
    let line = expect_told(&session, "up generation=2");
    assert!(!line.starts_with(&format!("pid={worker} ")), "{line}");
    let family = expect_family(&session, 2 * SESSION);
    assert!(family.iter().any(|process| process.pid == inner_monitor));
    assert!(family.iter().any(|process| process.pid == worker));
    // With its worker's group the outer monitor ends what runs in it, and so the inner session.
    signal_pid(worker, "KILL");
    expect_gone(inner_monitor, PATIENCE);
    expect_family(&session, 2 * SESSION);
    ends_with_all(session);
}

#[test]
fn sessions_in_one_another_end_at_the_fifth() {
    let names = ["a", "b", "c", "d", "e"];
    let programs = Programs::new(&names);
    let paths = names.map(|name| programs.path(name));
    let mut args = vec!["run"];
    for path in &paths[..4] {
        args.extend([path.as_str(), "run"]);
    }
    args.extend([paths[4].as_str(), "stay"]);
    let session = Start::config(CONFIG).args(&args).run(PROGRAM);
    let line = expect_told(&session, "ended: ");
    assert!(line.contains("exit status: 64"), "{line}");
    assert!(line.contains("expected at most 4 sessions"), "{line}");
    expect_family(&session, 5 * SESSION);
    ends_with_all(session);
}

#[test]
fn two_programs_that_start_each_other_end_at_the_fifth_too() {
    let programs = Programs::new(&["a", "b"]);
    let (a, b) = (programs.path("a"), programs.path("b"));
    let args = [
        "run", &a, "run", &b, "run", &a, "run", &b, "run", &a, "stay",
    ];
    let session = Start::config(CONFIG).args(&args).run(PROGRAM);
    let line = expect_told(&session, "ended: ");
    assert!(line.contains("exit status: 64"), "{line}");
    ends_with_all(session);
}

#[test]
fn a_marker_made_by_hand_starts_nothing() {
    let own = "SESSION_WORKER=1:$$:0:$(stat -Lc %d:%i \"$0\") \"$0\" stay; exit $?";
    for (script, why) in [
        (own, "its standard input is no socket"),
        (
            "SESSION_WORKER=1:1:0:$(stat -Lc %d:%i \"$0\") exec \"$0\" stay",
            "says that this is a worker of process 1, but its parent is ",
        ),
        (
            "SESSION_WORKER=1 exec \"$0\" stay",
            "expected SESSION_WORKER as a monitor of protocol 1 sets it, found `1`",
        ),
        ("SESSION_WORKER= exec \"$0\" stay", "found ``"),
        (
            "SESSION_WORKER=1:$$:9:7:7 exec \"$0\" stay",
            "expected at most 4 sessions",
        ),
    ] {
        let mut command = Command::new("sh");
        command.args(["-c", script, PROGRAM]);
        let mut session = Start::config(CONFIG).run_piped(command);
        assert_eq!(session.wait().0.code(), Some(64), "{script}");
        let said = session.rest();
        assert!(said.contains(why), "{script}: {said}");
        assert!(said.contains("SESSION_DISABLE=1"), "{script}: {said}");
        assert_eq!(said.lines().count(), 1, "{script}: {said}");
        assert!(working_in(session.folder()).is_empty(), "{script}");
        assert_eq!(told(&session), "", "{script}");
    }
}

#[test]
fn the_marker_of_another_program_makes_a_monitor() {
    let mut command = Command::new("sh");
    let script = "SESSION_WORKER=1:$PPID:0:7:7 exec \"$0\" stay";
    command.args(["-c", script, PROGRAM]);
    let session = Start::config(CONFIG).run_piped(command);
    expect_told(&session, "up generation=1");
    expect_family(&session, SESSION);
    ends_with_all(session);
}
