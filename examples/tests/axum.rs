//! The async example: its runtime is its own business, its life is the monitor's.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use session_tests::load::Load;
use session_tests::running::{Start, ask};

/// `cargo test` builds the examples beside its own programs.
fn program() -> String {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/axum").to_str().unwrap().to_owned()
}

#[test]
fn a_panic_costs_one_request_and_a_restart_costs_none() {
    let mut session = Start::default().run(&program());
    let pid = session.expect_spawn();
    session.expect_ready();
    let answer = session.get("/");
    assert!(answer.contains("200 OK"), "{answer}");
    let _ = session.ask("GET", "/panic", "");
    assert!(
        session.get("/").contains("200 OK"),
        "the worker went down with one request"
    );
    let port = session.port;
    let slow = thread::spawn(move || ask(port, "GET", "/slow", ""));
    thread::sleep(Duration::from_millis(200)); // The request is under way; it takes a second.
    session.enter("restart clean");
    let slow = slow.join().unwrap().unwrap();
    assert!(slow.contains("200 OK"), "{slow}");
    assert_ne!(session.expect_spawn(), pid);
    session.enter("exit clean");
    let (status, _) = session.wait();
    assert_eq!(status.code(), Some(0));
    let log = session.rest();
    assert!(!log.contains("crash report"), "{log}");
}

#[test]
fn reloads_and_restarts_fail_no_request() {
    let mut session = Start::default().run(&program());
    session.expect_ready();
    let load = Load::start(session.port, 200);
    load.expect_answers_of(1);
    for (generation, command) in [(2, "reload"), (3, "reload"), (4, "restart clean")] {
        session.enter(command);
        load.expect_answers_of(generation);
        session.expect(&format!(
            "(generation {}) has exited: exit code 0",
            generation - 1
        ));
    }
    let tally = load.stop();
    assert_eq!(tally.failed_in_all(), 0, "{tally}");
    assert_eq!(tally.generations.len(), 4, "{tally}");
}
