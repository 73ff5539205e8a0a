//! Rows E of the fault matrix: output and logs. `streams.rs` has those of the monitor's own streams.
//!
//! With `SESSION_SOAK` set to anything, the output of E06 is 100 MiB and E07 has 1000 crashes.
#![cfg(target_os = "linux")]

use std::env;
use std::time::{Duration, Instant};

use session_tests::faults::row;
use session_tests::processes::{hidden_in, resources};
use session_tests::running::{PATIENCE, Running, Start};

const SICK: &str = env!("CARGO_BIN_EXE_sick");
/// The queue of the log, a tail of output and what goes with them; idle it is 8 MiB.
const MAX_PEAK_KIB: u64 = 48 * 1024;

#[track_caller]
fn ends(mut session: Running) -> String {
    session.enter("exit clean");
    assert_eq!(session.wait().0.code(), Some(0));
    session.rest()
}

#[test]
fn e06_a_line_without_end_is_split_and_memory_stays_flat() {
    row(&[], || {
        for illness in ["loud-text", "loud-binary"] {
            let config = r#""showServerOutput":true,"pollingTimeoutSeconds":5"#;
            let mut session = Start::config(config).args(&[illness]).run(SICK);
            session.expect_ready();
            let port = session.port;
            let asking =
                std::thread::spawn(move || session_tests::running::ask(port, "GET", "/shout", ""));
            let deadline = Instant::now() + 2 * PATIENCE;
            let mut longest = 0;
            let (mut is_over, mut shown, mut dropped) = (false, 0, false);
            while !is_over {
                let line = session.line_until(deadline).expect("the end of the output");
                is_over = line == "the end of it";
                longest = longest.max(line.len());
                shown += line.len();
                dropped |= line.contains(" dropped");
                let hidden = line.replace('\t', "");
                assert_eq!(hidden_in(&hidden), None, "{line:?}");
            }
            // 8 KiB, of which each byte may take four to show.
            assert!(longest <= 4 * 8 * 1024, "{longest}");
            // All of it, or it was said that some is missing: the oldest, and never all.
            assert!(dropped || shown >= 12 * 1024 * 1024, "{shown}");
            assert!(shown >= 64 * 1024, "{shown}");
            let used = resources(session.child.id());
            assert!(used.peak_kib < MAX_PEAK_KIB, "{used:?}");
            drop(asking.join());
            ends(session);
        }
    });
}

#[test]
fn e07_a_flood_of_crashes_keeps_its_bounds() {
    row(&[], || {
        let crashes = match env::var_os("SESSION_SOAK") {
            Some(_) => 1000,
            None => 150,
        };
        let config = r#""restart":{"minDelaySeconds":0,"maxDelaySeconds":0}"#;
        // A session of before it was ready ends with some codes; 1 is none of them.
        let mut session = Start::config(config).args(&["dies"]).run(SICK);
        session.expect("crash report, generation 20: ");
        let before = resources(session.child.id());
        session.expect(&format!("crash report, generation {crashes}: "));
        let after = resources(session.child.id());
        assert!(after.fds <= before.fds + 4, "{before:?} {after:?}");
        assert!(after.threads <= before.threads + 1, "{before:?} {after:?}");
        assert!(after.kib <= before.kib + 2048, "{before:?} {after:?}");
        session.enter("reports");
        session.enter("exit clean");
        let (status, took) = session.wait();
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(5), "{took:?}");
        let log = session.rest();
        // Each report in full says when its worker lived.
        let kept = log.matches("its last output:").count();
        assert!((1..=16).contains(&kept), "{kept} reports are kept\n{log}");
    });
}
