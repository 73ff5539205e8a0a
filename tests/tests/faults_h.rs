//! Rows H of the fault matrix: hooks, panics, crash reports.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use session_tests::faults::{Need, row};
use session_tests::processes::{hidden_in, resources};
use session_tests::running::{Running, Start, folder};

const SICK: &str = env!("CARGO_BIN_EXE_sick");
const CONFIG: &str = r#""stop":{"graceSeconds":0.5},"restart":{"minDelaySeconds":0}"#;

fn start(args: &[&str]) -> Running {
    let mut session = Start::config(CONFIG).args(args).run(SICK);
    session.expect_ready();
    session
}

#[track_caller]
fn ends(mut session: Running) -> String {
    session.enter("exit clean");
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(4), "{took:?}");
    session.rest()
}

/// One visit, one report with this in it, and the next worker.
#[track_caller]
fn reports(route: &str, cause: &str) -> String {
    let mut session = start(&["well", "reports"]);
    let worker = session.worker(None);
    let _ = session.ask("GET", route, "");
    session.expect(cause);
    session.worker(Some(worker));
    session.expect("distributed crash notification to recipients");
    let reports = fs::read_to_string(session.folder().join("reports")).unwrap();
    let log = ends(session);
    let (json, _) = reports.split_once('\n').unwrap();
    let report: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(report["generation"], 1, "{json}");
    assert_eq!(log.matches("crash report, ").count(), 1, "{log}");
    reports
}

#[test]
fn h01_a_panic_of_any_thread_ends_the_worker() {
    row(&[], || {
        let report = reports("/panic", "a visitor's (exit code 101)");
        assert!(report.contains("panic in thread `visitor`"), "{report}");
    });
}

#[test]
fn h02_a_panic_whose_unwinding_would_panic_too_is_told_as_the_first() {
    row(&[], || {
        // The thread is stopped where it panicked, so the second one never comes.
        let report = reports("/panic-twice", "the first of two (exit code 101)");
        assert!(!report.contains("the second of two"), "{report}");
    });
}

#[test]
fn h02_a_panic_in_the_panic_hook_is_told_by_its_end() {
    row(&[], || {
        let report = reports("/panic-in-the-hook", "crash report, generation 1: ");
        assert!(report.contains("SIGABRT"), "{report}");
        assert!(report.contains("in the hook"), "{report}");
    });
}

#[test]
fn h03_hooks_that_fail_or_panic_are_told_and_delay_nothing() {
    row(&[], || {
        let mut session = start(&["well", "broken-hooks", "keyed-not"]);
        let mut worker = session.worker(None);
        let before = resources(session.child.id());
        for generation in 1..=30 {
            session_tests::running::signal_pid(worker, "KILL");
            session.expect(&format!("(generation {generation}) has exited: SIGKILL"));
            worker = session.worker(Some(worker));
        }
        let after = resources(session.child.id());
        // Where a probe of a dead worker is under way, a second thread probes the next one.
        assert!(after.threads <= before.threads + 1, "{before:?} {after:?}");
        let log = ends(session);
        assert!(
            log.contains("distribution of session key failed: no mail today"),
            "{log}"
        );
        let told =
            r"distribution of crash notification failed: it panicked: no mail \x1b[2J at all";
        assert!(log.contains(told), "{log}");
        assert!(log.contains("no mail either"), "{log}");
    });
}

#[test]
fn h04_a_report_is_bounded_literal_and_without_secrets() {
    row(&[], || {
        let secret = "correct-horse-battery-staple";
        for (route, cause) in [
            ("/panic-at-length", "$& $` {} {0} xxx"),
            ("/garble", "exit code 3"),
        ] {
            let mut session = Start::config(CONFIG)
                .args(&["well", "reports", "keyed"])
                .environment("DATABASE_PASSWORD", secret)
                .run(SICK);
            session.expect_ready();
            let worker = session.worker(None);
            let _ = session.ask("GET", route, "");
            session.expect(cause);
            session.worker(Some(worker));
            session.expect("distributed crash notification to recipients");
            session.enter("reports");
            let reports = fs::read_to_string(session.folder().join("reports")).unwrap();
            let key = fs::read_to_string(session.folder().join("key")).unwrap();
            let log = ends(session);
            // Message, backtrace and 64 KiB of output, once as JSON and once in words.
            assert!(reports.len() < 1024 * 1024, "{}", reports.len());
            let (json, words) = reports.split_once('\n').unwrap();
            for text in [json, words, &log] {
                assert!(!text.contains(secret) && !text.contains(key.trim()));
            }
            assert!(words.contains(cause), "{words}");
            for line in words.lines().chain(log.lines()) {
                let line = line.replace('\t', "");
                assert_eq!(hidden_in(&line), None, "{line:?}");
            }
            if route == "/garble" {
                assert!(words.contains(r"last words: \xff\xfe\x1b[2J"), "{words}");
            }
        }
    });
}

/// As a program whose destructors wait for each other.
const DESTRUCTOR: &str = r#"
#include <stdlib.h>
#include <unistd.h>
__attribute__((destructor)) static void hang(void) {
    if (getenv("SESSION_WORKER")) for (;;) pause();
}
"#;

#[test]
fn h05_an_exit_that_hangs_is_ended_in_its_time() {
    row(&[Need::Program("cc")], || {
        let room = folder();
        let (code, library) = (room.join("hang.c"), room.join("hang.so"));
        fs::write(&code, DESTRUCTOR).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"]).args([&library, &code]);
        assert!(cc.status().unwrap().success());
        let mut session = Start::config(CONFIG)
            .args(&["well"])
            .environment("LD_PRELOAD", library.to_str().unwrap())
            .run(SICK);
        session.expect_ready();
        let log = ends(session);
        assert!(log.contains("has exited: SIGKILL"), "{log}");
        fs::remove_dir_all(room).unwrap();
    });
}
