//! Rows D of the fault matrix: the channel. Most of them are in `hostile.rs`.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use session_tests::faults::{Need, row};
use session_tests::processes::{resources, working_in};
use session_tests::running::{PATIENCE, Running, Start, expect_gone, signal_pid};

const HOSTILE: &str = env!("CARGO_BIN_EXE_hostile");
const SICK: &str = env!("CARGO_BIN_EXE_sick");
const CONFIG: &str = r#""stop":{"graceSeconds":0.5},"restart":{"minDelaySeconds":0}"#;

#[track_caller]
fn ends(mut session: Running) -> String {
    session.enter("exit clean");
    assert_eq!(session.wait().0.code(), Some(0));
    session.rest()
}

#[test]
fn d03_calls_that_a_signal_interrupts_are_made_again() {
    row(&[Need::Program("strace")], || {
        let config = format!(r#"{CONFIG},"readiness":"call","pollingRoute":null"#);
        let mut session = Start::config(&config).args(&["bad-lines"]).run(HOSTILE);
        let mut worker = session.expect_spawn();
        session.expect(" bad lines)");
        // Every second call of each kind that moves bytes, in every thread of the monitor, and in
        // nothing that it starts: the loader of a program knows no second try.
        let tasks = format!("/proc/{}/task", session.child.id());
        let threads = fs::read_dir(tasks).unwrap().flatten();
        let threads = threads.flat_map(|thread| ["-p".into(), thread.file_name()]);
        let calls = "read,write,recvfrom,sendto,sendmsg,poll,ppoll,waitid";
        let mut strace = Command::new("strace")
            .args(["-o", "/dev/null"])
            .args(threads)
            .args(["-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error=EINTR:when=1+2")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        for _ in 0..3 {
            signal_pid(worker, "KILL");
            session.expect("has exited: SIGKILL");
            worker = session.expect_spawn();
            session.expect("__server__: ready");
            session.enter("send 3");
            session.expect("0 of 3 letters refused");
        }
        signal_pid(strace.id(), "INT");
        strace.wait().unwrap();
        let log = ends(session);
        assert!(!log.contains("a line of"), "{log}");
    });
}

#[test]
fn d07_a_grandchild_that_keeps_the_output_holds_up_nothing() {
    row(&[], || {
        let mut session = Start::config(CONFIG).run(SICK);
        let mut worker = session.expect_spawn();
        session.expect_ready();
        let before = resources(session.child.id());
        for generation in 1..=5 {
            let begun = Instant::now();
            let _ = session.ask("GET", "/leave-children", "");
            session.expect(&format!(
                "(generation {generation}) has exited: exit code 3"
            ));
            session.expect_spawn();
            // The next worker does not wait for the output, and the report waits half a second.
            session.expect(&format!(
                "crash report, generation {generation}: exit code 3"
            ));
            assert!(
                begun.elapsed() < Duration::from_secs(3),
                "{:?}",
                begun.elapsed()
            );
            worker = session.worker(Some(worker));
        }
        // What is read of the dead ends within half a second of each death.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = resources(session.child.id());
            if now.fds <= before.fds && now.threads <= before.threads {
                break;
            }
            assert!(Instant::now() < deadline, "{before:?} {now:?}");
        }
        let folder = session.folder().to_owned();
        let kept: Vec<u32> = working_in(&folder)
            .iter()
            .filter(|process| process.pid != worker && process.pid != session.child.id())
            .map(|process| process.pid)
            .collect();
        assert_eq!(kept.len(), 5, "{kept:?}");
        for pid in kept {
            signal_pid(pid, "KILL");
            expect_gone(pid, PATIENCE);
        }
        ends(session);
    });
}

#[test]
fn d09_a_listener_that_fails_costs_its_asker_an_answer_and_nobody_else_anything() {
    row(&[], || {
        let mut session = Start::config(CONFIG).run(SICK);
        session.expect_ready();
        let told = session.ask("GET", "/ask", "").unwrap();
        for outcome in [
            "panics: Err(no listener answered the request `panics`)",
            "silent: Err(no listener answered the request `silent`)",
            "once: Ok(Number(0))",
            "once: Ok(Number(1))",
            "hangs: Err(no answer within 0.5 s)",
        ] {
            assert!(told.contains(outcome), "{told}");
        }
        session.expect("1 listener panicked on the message panics");
        session.enter("status");
        session.expect("state: ready");
        let (took, log) = {
            session.enter("exit clean");
            let (status, took) = session.wait();
            assert_eq!(status.code(), Some(0));
            (took, session.rest())
        };
        assert!(took < Duration::from_secs(3), "{took:?}: {log}");
    });
}
