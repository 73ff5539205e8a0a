//! Rows F of the fault matrix: what is typed, and where.
#![cfg(target_os = "linux")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use session_tests::faults::row;
use session_tests::processes::{expect_idle, hidden_in, resources};
use session_tests::running::{Running, Start};

const SICK: &str = env!("CARGO_BIN_EXE_sick");
const CONFIG: &str = r#""stop":{"graceSeconds":0.5},"restart":{"minDelaySeconds":0}"#;

fn start() -> Running {
    let mut session = Start::config(CONFIG).run(SICK);
    session.expect_ready();
    session
}

#[track_caller]
fn ends(mut session: Running) -> String {
    session.enter("exit clean");
    assert_eq!(session.wait().0.code(), Some(0));
    session.rest()
}

#[test]
fn f01_the_end_of_input_at_a_terminal_ends_the_typing_and_nothing_else() {
    row(&[], || {
        let mut session = Start::config(CONFIG).run_on_terminal(&[SICK]);
        session.expect_ready();
        session.enter_raw("\x04");
        expect_idle(&[session.child.id()], Duration::from_secs(1));
        let worker = session.worker(None);
        session_tests::running::signal_pid(worker, "KILL");
        session.worker(Some(worker));
        session.signal("TERM");
        assert_eq!(session.wait().0.code(), Some(0));
    });
}

/// None of these is a command, though each is close to one.
const NEAR_MISSES: [&str; 62] = [
    "exit",
    "exit unclean",
    "exit cleanly",
    "exit clean now",
    "exit  clean  x",
    "exit CLEAN",
    "Exit clean",
    "EXIT FORCE",
    "exitclean",
    "exit-clean",
    "exit clea",
    "exit forced",
    "exit force!",
    "quit",
    "stop",
    "restart",
    "restart unclean",
    "restart now",
    "restart clean force",
    "restarts clean",
    "reload now",
    "reload clean",
    "reloads",
    "set",
    "set polling",
    "set polling 5",
    "set polling -5 true",
    "set polling +5 true",
    "set polling 0 true",
    "set polling 0.5 true",
    "set polling 5x true",
    "set polling 1e3 true",
    "set polling NaN true",
    "set polling inf true",
    "set polling 86401 true",
    "set polling \u{663} true",
    "set polling 5 yes",
    "set polling 5 TRUE",
    "set polling 5 true true",
    "set poll 5 true",
    "set server port 9999x true",
    "set server port 80800 true",
    "set server port 0 true",
    "set server port 80 true",
    "set server port -1 true",
    "set server port 0x1000 true",
    "set server port 04000 true",
    "set server port 4000.0 true",
    "set server port 4000 maybe",
    "set server port true 4000",
    "set s3rver port 4000 true",
    "set __proto__ port 4000 true",
    "set server ports 4000 true",
    "status now",
    "statuses",
    "reports -1",
    "reports x",
    "reports 1 2",
    "help me please",
    "say",
    "say one two",
    "exit \"clean",
];

#[test]
fn f03_near_misses_are_refused_and_do_nothing() {
    row(&[], || {
        let mut session = start();
        let port = session.port;
        let worker = session.worker(None);
        for line in NEAR_MISSES {
            session.enter(line);
            // Each is answered with one line at least, and then the next command is.
            let answer = session.line_until(Instant::now() + Duration::from_secs(10));
            let answer = answer.unwrap_or_else(|| panic!("`{line}` is not answered"));
            for done in [
                "exiting",
                "restarting",
                "reloading",
                "is changed",
                "said",
                "state:",
            ] {
                assert!(!answer.contains(done), "`{line}`: {answer}");
            }
            session.enter("say marker");
            session.expect("said marker");
            session.expect("command completed");
        }
        session.enter("status");
        session.expect("state: ready");
        session.expect("restarts: 0");
        assert_eq!(session.port, port);
        assert_eq!(session.worker(None), worker);
        ends(session);
    });
}

#[test]
fn f04_lines_of_any_length_and_kind_are_refused_and_the_next_one_works() {
    row(&[], || {
        let mut session = start();
        session.enter_raw(&"x".repeat(5000));
        session.enter("");
        session.expect("line");
        let piece = "exit clean ".repeat(100_000);
        for _ in 0..24 {
            session.enter_raw(&piece);
        }
        session.enter("");
        for line in [
            "exit\0clean",
            "\u{1b}[2Jexit clean",
            "exit clean\u{202e}",
            "\u{7}",
            "\u{9b}2J",
        ] {
            session.enter(line);
        }
        session.enter("say after");
        session.expect("said after");
        let used = resources(session.child.id());
        assert!(used.peak_kib < 24 * 1024, "{used:?}");
        let log = ends(session);
        for line in log.lines() {
            assert_eq!(hidden_in(line), None, "{line:?}");
        }
        assert_eq!(log.matches("exiting session").count(), 1, "{log}");
    });
}

#[test]
fn f05_an_action_that_fails_is_told_and_one_that_hangs_holds_up_no_stop() {
    row(&[], || {
        let mut session = start();
        session.enter("panic");
        session.expect("command failed: it panicked: an action's");
        session.enter("fail");
        session.expect(r"command failed: no \x1b[2J disk");
        session.enter("say still");
        session.expect("said still");
        session.enter("hang");
        // One that hangs holds up its own kind, up to a bound, and then it is said.
        for _ in 0..40 {
            session.enter("say later");
        }
        session.expect("busy: too many commands wait for one that has not ended");
        session.enter("status");
        session.expect("state: ready");
        session.enter("exit force");
        let (status, took) = session.wait();
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
}

#[test]
fn f06_a_script_that_is_piped_in_is_done_in_its_order() {
    row(&[], || {
        let mut session = start();
        let mut script = String::new();
        for number in 0..12 {
            let _ = writeln!(script, "say number-{number}\r");
        }
        session.enter_raw(&script);
        for number in 0..12 {
            session.expect(&format!("said number-{number}"));
        }
        // The last line has no end but that of the input.
        session.enter_raw("exit clean");
        session.end_input();
        assert_eq!(session.wait().0.code(), Some(0));
    });
}

#[test]
fn f06_what_is_pasted_into_a_terminal_that_changes_its_size_is_done_in_its_order() {
    row(&[], || {
        let mut session = Start::config(CONFIG).run_on_terminal(&[SICK]);
        session.expect_ready();
        let mut paste = String::new();
        for number in 0..12 {
            let _ = writeln!(paste, "say number-{number}");
        }
        session.enter_raw(&paste);
        for number in 0..12 {
            session.signal("WINCH");
            session.expect(&format!(": said number-{number}"));
        }
        ends(session);
    });
}
