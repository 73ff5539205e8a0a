//! Rows A of the fault matrix: spawn, death, respawn.

use std::process::Command;

use session_tests::faults::{Need, row};
use session_tests::running::{Start, signal_pid};

const HOLDS: &str = env!("CARGO_BIN_EXE_holds");

#[test]
fn a04_a_lack_of_descriptors_is_retried() {
    row(&[Need::Program("prlimit")], || {
        let mut session = Start::config(r#""restart":{"minDelaySeconds":0.1}"#).run(HOLDS);
        let worker = session.expect_spawn();
        session.expect_ready();
        let limit = |limit: &str| {
            let pid = session.child.id().to_string();
            let status = Command::new("prlimit")
                .args(["--pid", &pid, limit])
                .status()
                .unwrap();
            assert!(status.success());
        };
        limit("--nofile=8:1024");
        signal_pid(worker, "KILL");
        session.expect("the worker could not be started: ");
        session.expect("crash report, generation 2: ");
        let pid = session.child.id().to_string();
        let status = Command::new("prlimit")
            .args(["--pid", &pid, "--nofile=1024:1024"])
            .status()
            .unwrap();
        assert!(status.success());
        session.expect_spawn();
        session.expect_ready();
        session.enter("exit clean");
        assert_eq!(session.wait().0.code(), Some(0));
    });
}
