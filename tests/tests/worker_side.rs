//! The worker's side of a session, against a monitor that is played by hand.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use session_tests::mini_monitor::{MiniMonitor, PATIENCE, Script, lives, marker, threads, welcome};

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

fn script(mode: &str) -> Script {
    Script::new(env!("CARGO_BIN_EXE_worker_probe"), mode)
}

fn with_grace(mode: &str, milliseconds: u64) -> Script {
    script(mode).welcome(Some(welcome(milliseconds).to_string()))
}

fn disabled(mode: &str) -> MiniMonitor {
    script(mode)
        .marker(None)
        .without_socket()
        .env("SESSION_DISABLE", "1")
        .start()
}

/// A probe that aborts when it panics is another build of it (see `Script::new`).
fn aborts() -> bool {
    std::env::var_os("SESSION_WORKER_PROBE").is_some()
}

#[track_caller]
fn ended_by_panic(status: ExitStatus) {
    if aborts() {
        assert_eq!(status.signal(), Some(SIGABRT), "{status}");
    } else {
        assert_eq!(status.code(), Some(101), "{status}");
    }
}

#[track_caller]
fn refused(script: Script, why: &str) {
    let mut worker = script.start();
    let status = worker.wait();
    let told = worker.stderr();
    assert_eq!(status.code(), Some(64), "{told}");
    assert!(told.starts_with("session: "), "{told}");
    assert!(told.contains(why), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

// Which process am I

#[test]
fn hello_comes_before_the_program_and_settings_reach_it() {
    let mut worker = script("settings").start();
    let hello = worker.expect("hello");
    assert_eq!(
        hello,
        json!({ "protocol": 1, "generation": 4, "pid": worker.pid() })
    );
    let seen: Value = serde_json::from_str(&worker.log()).unwrap();
    assert_eq!(seen["generation"], 4);
    assert_eq!(seen["host"], "127.0.0.1");
    assert_eq!(seen["port"], 3210);
    assert_eq!(seen["app"], json!({ "name": "probe" }));
    assert_eq!(seen["wrong"], true);
    let unknown = seen["unknown"].as_str().unwrap();
    assert!(unknown.contains("(server), found `metrics`"), "{unknown}");
    assert_eq!(seen["same"], true);
    let no_monitor = seen["no monitor"].as_str().unwrap();
    assert!(no_monitor.contains("expected the monitor process"));
    assert_eq!(seen["thread"], "main");
    // Linux keeps the first 15 bytes of a name.
    assert_eq!(seen["name"], "worker_probe");
    assert_eq!(worker.expect("ready"), json!({}));
    let port = worker.expect("set_port");
    assert_eq!(
        port,
        json!({ "name": "server", "port": 4000, "restart": true })
    );
    let polling = worker.expect("set_polling");
    assert_eq!(polling, json!({ "seconds": 2.5, "now": false }));
    let message = worker.expect("message");
    assert_eq!(
        message,
        json!({ "name": "visitors", "args": { "today": 17 } })
    );
    let kill = worker.expect("kill");
    assert_eq!(
        kill,
        json!({ "reason": "enough", "graceful": false, "code": 3 })
    );
}

#[test]
fn a_monitor_of_another_protocol_is_told_to_restart() {
    let mut other = welcome(1000);
    other["welcome"]["protocol"] = 2.into();
    other["welcome"]["news"] = json!([1, 2]);
    refused(
        script("code").welcome(Some(other.to_string())),
        "this build speaks protocol 1, the monitor 2: restart the monitor",
    );
}

#[test]
fn a_garbled_welcome_is_refused() {
    for line in ["\0\u{1b}[31m", "{}", "{\"welcome\":{\"protocol\":1}}"] {
        refused(
            script("code").welcome(Some(line.into())),
            "the monitor's welcome could not be read",
        );
    }
}

#[test]
fn a_welcome_is_waited_for_five_seconds() {
    let begun = Instant::now();
    refused(script("code").welcome(None), "welcome within 5 s");
    assert!(begun.elapsed() >= Duration::from_secs(5));
}

#[test]
fn a_marker_made_by_hand_is_refused() {
    let probe = script("code");
    let hand_made = marker(1, probe.program());
    refused(probe.marker(Some(hand_made)), "but its parent is");
    refused(
        script("code").without_socket(),
        "but its standard input is no socket",
    );
    refused(script("code").marker(Some("1:2:3".into())), "found `1:2:3`");
    refused(
        script("code").env("SESSION_DISABLE", "yes"),
        "expected SESSION_DISABLE as 1",
    );
}

#[test]
fn the_program_run_again_by_its_own_worker_is_refused() {
    let mut worker = script("rerun").greet();
    for why in ["but its standard input is no socket", "", ""] {
        let told = worker.log();
        assert!(told.starts_with("Some(64) session: "), "{told}");
        assert!(told.contains("set SESSION_DISABLE=1"), "{told}");
        let expected = match why {
            "" => "started again from inside of its own worker",
            _ => "SESSION_WORKER says that this is a worker of process",
        };
        assert!(told.contains(expected), "{told}");
    }
    worker.expect_log("Some(7) ");
}

#[test]
fn a_second_launch_is_an_error_and_kills_nothing() {
    let mut worker = script("twice").greet();
    let told = worker.log();
    assert!(told.contains("expected one launch per process"), "{told}");
    worker.ask_to_exit();
    assert_eq!(worker.wait().code(), Some(0));
}

#[test]
fn a_stack_that_is_too_small_is_told() {
    let mut worker = script("tiny-stack").start();
    assert_eq!(worker.wait().code(), Some(70));
    assert!(worker.stderr().contains("expected a stack of 65536"));
}

#[test]
fn children_see_neither_the_channel_nor_input() {
    let mut worker = script("children").greet();
    let seen = worker.log();
    assert_eq!(seen.lines().next().map(str::trim), Some("0"), "{seen}");
    assert!(!seen.contains("socket:"), "{seen}");
    worker.expect_log("own: \"\"");
}

// Listeners

fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn visit(listener: &TcpListener) -> TcpStream {
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[track_caller]
fn answered(mut visitor: TcpStream, expected: &str) {
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, expected);
}

/// Hands these over when the worker asks for the listener of its server.
fn hand_over(worker: &mut MiniMonitor, listeners: &[&TcpListener]) {
    let question = worker.expect("listen");
    assert_eq!(question["name"], "server");
    let fds: Vec<_> = listeners.iter().map(|listener| listener.as_fd()).collect();
    worker.hand_over(&question["id"], &fds);
}

#[test]
fn a_held_listener_is_served_until_the_worker_is_asked_to_stop() {
    let (public, private) = (listener(), listener());
    // It waits since before there was a worker.
    let early = visit(&public);
    let mut worker = script("visitors").greet();
    hand_over(&mut worker, &[&public, &private]);
    let address = public.local_addr().unwrap();
    worker.expect_log(&format!("listens at {address}"));
    let seen_by_child = worker.log();
    assert!(seen_by_child.contains(" -> "), "{seen_by_child}");
    assert!(!seen_by_child.contains("socket:"), "{seen_by_child}");
    worker.expect_log("own: \"\"");
    assert_eq!(worker.expect("serving"), json!({}));
    answered(early, "generation 4");
    answered(visit(&private), "generation 4");
    answered(visit(&public), "generation 4");

    worker.ask_to_exit();
    worker.expect_log("the queue is left to others");
    // No exit handler, no `stopping()`: it was waited for because it serves.
    assert_eq!(worker.wait().code(), Some(5));
    let mut late = visit(&public);
    let (mut served, _) = public.accept().unwrap();
    served.write_all(b"the next one").unwrap();
    drop(served);
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "the next one");
}

#[test]
fn a_worker_that_is_asked_to_stop_accepts_no_more_of_a_crowd() {
    let (public, private) = (listener(), listener());
    let crowd: Vec<_> = (0..100).map(|_| visit(&public)).collect();
    let mut worker = script("visitors").greet();
    hand_over(&mut worker, &[&public, &private]);
    while worker.next_line().0 != "serving" {}
    worker.ask_to_exit();
    assert_eq!(worker.wait().code(), Some(5));
    // Dropped at once: whoever was left reads nothing.
    let left = std::iter::from_fn(|| public.accept().ok()).count();
    let is_answered = |mut visitor: TcpStream| {
        let mut answer = String::new();
        visitor.read_to_string(&mut answer).is_ok() && answer == "generation 4"
    };
    let served = crowd.into_iter().map(is_answered).filter(|it| *it).count();
    assert_eq!(served + left, 100);
}

#[test]
fn a_worker_without_descriptors_tells_it_once_and_serves_later() {
    for (mode, before) in [("visitors-and-no-descriptors", 1), ("no-descriptors", 0)] {
        let public = listener();
        let limited = ["sh", "-c", "ulimit -n 40; exec \"$0\" \"$@\""];
        let mut worker = script(mode).through(&limited).greet();
        hand_over(&mut worker, &[&public]);
        let earlier: Vec<_> = (0..before).map(|_| visit(&public)).collect();
        for earlier in earlier {
            answered(earlier, "");
        }
        let waiting = visit(&public);
        let error = worker.log();
        assert!(error.contains("Too many open files"), "{error}");
        answered(waiting, "after all");
        worker.ask_to_exit();
        assert_eq!(worker.wait().code(), Some(6), "{}", worker.stderr());
    }
}

// Ends

#[test]
fn an_exit_message_runs_handlers_and_ends_with_0() {
    let mut worker = script("serve").greet();
    worker.expect_log("set up");
    worker.ask_to_exit();
    worker.expect_log("handler: the session stops: enough");
    assert_eq!(worker.wait().code(), Some(0));
    assert_eq!(worker.word(), "the session stops: enough\n");
    assert_eq!(worker.stdout(), "set up\na handler prints\n");
}

#[test]
fn an_exit_message_that_came_with_the_welcome_is_obeyed() {
    let text = format!(
        "{}\n{}",
        welcome(20_000),
        json!({ "exit": { "reason": "restart" } })
    );
    let mut worker = script("serve").welcome(Some(text)).greet();
    assert_eq!(worker.wait().code(), Some(0));
}

#[test]
fn a_second_ending_changes_nothing() {
    let mut worker = script("hang").greet();
    worker.expect_log("set up");
    worker.ask_to_exit();
    worker.expect_log("handler: the session stops: enough");
    worker.say(&json!({ "exit": { "reason": "restart" } }));
    worker.signal("TERM");
    worker.say(&json!({ "message": { "name": "nobody", "args": null, "id": 1 } }));
    // It still answers, and still waits for the handler that hangs.
    let reply = worker.expect("reply");
    assert_eq!(reply, json!({ "id": 1, "outcome": "no_reply" }));
    assert!(worker.is_running());
    assert_eq!(worker.word(), "the session stops: enough\n");
}

#[test]
fn a_handler_that_hangs_has_until_the_grace_deadline() {
    let mut worker = with_grace("hang", 300).greet();
    worker.expect_log("set up");
    let begun = Instant::now();
    worker.ask_to_exit();
    worker.expect_log("handler: the session stops: enough");
    worker.expect_log("1 exit handler had not ended within the grace period");
    assert_eq!(worker.wait().code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_handler_that_panics_is_told_and_the_others_run() {
    let mut worker = script("panic-at-the-end").greet();
    worker.expect_log("set up");
    worker.ask_to_exit();
    let mut told = [worker.log(), worker.log()];
    told.sort();
    assert_eq!(
        told,
        [
            "exit handler 1 panicked: no database",
            "handler: the session stops: enough"
        ]
    );
    assert_eq!(worker.wait().code(), Some(0));
    assert!(worker.stderr().contains("no database"));
}

#[test]
fn a_handler_that_comes_too_late_is_an_error() {
    let mut worker = script("late").greet();
    worker.expect("ready");
    worker.ask_to_exit();
    worker.expect_log("the session is stopping");
    assert_eq!(worker.wait().code(), Some(0));
}

#[test]
fn a_program_that_knows_how_to_stop_drains() {
    let mut worker = script("drain").greet();
    worker.expect_log("set up");
    worker.ask_to_exit();
    let mut told = [worker.log(), worker.log()];
    told.sort();
    assert_eq!(told, ["draining", "handler: the session stops: enough"]);
    assert_eq!(worker.wait().code(), Some(5));
    assert!(worker.word().contains("drained\n"));
}

#[test]
fn draining_ends_at_the_grace_deadline() {
    let mut worker = with_grace("never-drained", 300).greet();
    worker.expect_log("set up");
    let begun = Instant::now();
    worker.ask_to_exit();
    assert_eq!(worker.wait().code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_panic_while_draining_is_noted_and_ends_the_wait() {
    let mut worker = script("drain-with-a-panic").greet();
    worker.expect_log("set up");
    worker.ask_to_exit();
    let told = worker.log();
    assert!(
        told.starts_with("while this worker was ending: panic in thread `main` at "),
        "{told}"
    );
    assert_eq!(worker.wait().code(), Some(101));
}

#[test]
fn what_main_returns_is_the_exit_code() {
    let mut worker = script("code").greet();
    assert_eq!(worker.wait().code(), Some(7));
    assert_eq!(worker.rest(), Vec::<String>::new());
}

#[test]
fn an_error_of_main_is_told_twice_and_ends_with_1() {
    let mut worker = script("error").greet();
    let crash = worker.expect("crash");
    assert_eq!(crash, json!({ "main_error": { "text": "\"no disk\"" } }));
    assert_eq!(worker.wait().code(), Some(1));
    assert_eq!(worker.stderr(), "Error: \"no disk\"\n");
}

#[test]
fn sigterm_runs_handlers_and_stays_in_the_status() {
    let mut worker = script("serve").greet();
    worker.expect_log("set up");
    worker.signal("TERM");
    worker.expect_log("handler: SIGTERM was sent to this process");
    assert_eq!(worker.wait().signal(), Some(SIGTERM));
    assert_eq!(worker.word(), "SIGTERM was sent to this process\n");
}

#[test]
#[cfg(target_os = "linux")]
fn signals_that_a_launcher_blocked_or_ignored_work() {
    let env = ["env", "--ignore-signal=TERM", "--block-signal=TERM"];
    let mut worker = script("serve").through(&env).greet();
    worker.expect_log("set up");
    worker.signal("TERM");
    worker.expect_log("handler: SIGTERM was sent to this process");
    assert_eq!(worker.wait().signal(), Some(SIGTERM));
}

// The monitor is gone

#[test]
fn without_its_monitor_a_worker_runs_its_handlers_and_is_gone() {
    let mut worker = script("serve").greet();
    worker.expect_log("set up");
    worker.close();
    assert_eq!(worker.wait().signal(), Some(SIGKILL));
    assert_eq!(worker.word(), "the monitor is gone\n");
    // Its output had no reader any more, as far as it could know.
    assert_eq!(worker.stdout(), "set up\n");
}

#[test]
fn without_its_monitor_nothing_hangs_and_nothing_is_left() {
    let mut worker = with_grace("hang-with-a-grandchild", 300).greet();
    worker.expect_log("set up");
    let grandchild: u32 = worker.log().parse().unwrap();
    assert!(lives(grandchild));
    worker.close();
    assert_eq!(worker.wait().signal(), Some(SIGKILL));
    let deadline = Instant::now() + PATIENCE;
    while lives(grandchild) {
        assert!(Instant::now() < deadline, "the grandchild lives on");
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(worker.word(), "the monitor is gone\n");
}

#[test]
fn without_its_monitor_a_watchdog_sees_to_the_deadline() {
    let mut worker = script("hang").greet();
    worker.expect_log("set up");
    let watched = |worker: &MiniMonitor| {
        let names = threads(worker.pid());
        names.iter().any(|name| name == "session-watchdo")
    };
    assert!(!watched(&worker));
    worker.close();
    let deadline = Instant::now() + PATIENCE;
    while !watched(&worker) {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_monitor_that_vanishes_during_an_end_leaves_the_first_reason() {
    let mut worker = with_grace("hang", 500).greet();
    worker.expect_log("set up");
    worker.ask_to_exit();
    worker.expect_log("handler: the session stops: enough");
    worker.close();
    assert_eq!(worker.wait().signal(), Some(SIGKILL));
    assert_eq!(worker.word(), "the session stops: enough\n");
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_may_be_killed_with_its_monitor() {
    let mut hard = welcome(20_000);
    hard["welcome"]["kill_with_monitor"] = true.into();
    let spawning = thread::spawn(move || {
        let mut worker = script("serve").welcome(Some(hard.to_string())).greet();
        worker.expect_log("set up");
        worker
    });
    // The kernel watches the thread that spawned it.
    let mut worker = spawning.join().unwrap();
    assert_eq!(worker.wait().signal(), Some(SIGKILL));
    assert_eq!(worker.word(), "");
}

// Panics

#[track_caller]
fn is_reported(worker: &mut MiniMonitor, message: &str, thread: &str) {
    let panic = &worker.expect("crash")["panic"];
    assert_eq!(panic["message"], *message);
    assert_eq!(panic["thread"], *thread);
    let location = panic["location"].as_str().unwrap();
    assert!(location.contains("worker_probe.rs:"), "{location}");
    let backtrace = worker.expect("crash");
    let text = backtrace["backtrace"]["text"].as_str().unwrap();
    assert!(text.contains("worker_probe"), "{text}");
}

#[test]
fn a_panic_of_main_is_reported_and_ends_the_worker() {
    for mode in ["panic-in-main", "panic-in-main-policy-main"] {
        let mut worker = script(mode).greet();
        worker.expect_log("set up");
        is_reported(&mut worker, "no luck: 7", "main");
        let told = worker.log();
        assert!(
            told.starts_with("handler: panic in thread `main` at "),
            "{told}"
        );
        ended_by_panic(worker.wait());
        assert!(worker.stderr().contains("no luck: 7"));
    }
}

#[test]
fn a_panic_of_any_thread_does_the_same() {
    let mut worker = script("panic-in-a-thread").greet();
    worker.expect_log("set up");
    is_reported(&mut worker, "bad request", "visitor");
    assert!(worker.log().starts_with("handler: panic"));
    ended_by_panic(worker.wait());
}

#[test]
fn the_policy_main_spares_other_threads() {
    if aborts() {
        return;
    }
    let mut worker = script("panic-in-a-spared-thread").greet();
    worker.expect_log("spared: true");
    assert_eq!(worker.wait().code(), Some(0));
    assert!(worker.stderr().contains("bad request"));
}

#[test]
fn of_many_panics_one_is_reported_and_handlers_run_once() {
    let mut worker = script("many-panics").greet();
    let lines = worker.rest();
    ended_by_panic(worker.wait());
    let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(with("{\"crash\":{\"panic\""), 1, "{lines:#?}");
    assert_eq!(with("{\"crash\":{\"backtrace\""), 1, "{lines:#?}");
    assert_eq!(with("handler: panic"), 1, "{lines:#?}");
    assert_eq!(worker.word().lines().count(), 1);
}

#[test]
fn a_panic_decides_even_if_main_returns_before_its_report_is_complete() {
    let mut worker = script("panic-as-main-returns").greet();
    is_reported(&mut worker, "bad request", "visitor");
    ended_by_panic(worker.wait());
}

#[test]
fn a_panic_of_a_listener_follows_the_policy() {
    let mut worker = script("panic-in-a-listener").greet();
    worker.expect_log("set up");
    worker.expect("ready");
    worker.say(&json!({ "message": { "name": "greet", "args": null } }));
    is_reported(&mut worker, "no manners", "session-messages");
    assert!(worker.log().starts_with("handler: panic"));
    ended_by_panic(worker.wait());
}

#[test]
fn a_panic_of_main_is_reported_past_another_hook() {
    if aborts() {
        return;
    }
    let mut worker = script("panic-with-another-hook").greet();
    worker.expect_log("set up");
    let panic = &worker.expect("crash")["panic"];
    assert_eq!(panic["message"], "unseen");
    assert_eq!(panic["location"], Value::Null);
    worker.expect_log("handler: panic in thread `main`: unseen");
    assert_eq!(worker.wait().code(), Some(101));
}

#[test]
fn a_stack_overflow_is_told_as_one() {
    let mut worker = script("overflow").greet();
    assert_eq!(worker.wait().signal(), Some(SIGABRT));
    let told = worker.stderr();
    assert!(told.contains("main"), "{told}");
    assert!(told.contains("has overflowed its stack"), "{told}");
}

// Messages

#[test]
fn requests_are_answered_or_time_out_or_learn_of_a_death() {
    let mut worker = script("ask").greet();
    let echo = worker.expect("message");
    assert_eq!(echo["name"], "echo");
    let answer = json!({ "id": echo["id"], "outcome": { "answer": echo["args"] } });
    worker.say(&json!({ "reply": answer }));
    worker.expect_log("first: Ok(Object {\"a\": Number(1)})");
    let late = worker.expect("message");
    worker.expect_log("second: Err(no answer within 0.05 s)");
    // An answer that nobody waits for any more, and one that nobody ever asked for.
    for id in [&late["id"], &json!(999)] {
        worker.say(&json!({ "reply": { "id": id, "outcome": "no_reply" } }));
    }
    for expected in ["right", "wrong"] {
        let asked = worker.expect("authorize");
        assert_eq!(asked["offered"], expected);
        let outcome = json!({ "answer": expected == "right" });
        worker.say(&json!({ "reply": { "id": asked["id"], "outcome": outcome } }));
    }
    worker.expect_log("known: true false");
    worker.expect("message");
    worker.say_text("nonsense");
    let told = worker.log();
    assert!(told.starts_with("bad line 1 from the monitor: "), "{told}");
    worker.close();
    worker.wait();
    assert_eq!(worker.word(), "peer died\n");
}

#[test]
fn requests_to_the_worker_are_answered_at_once() {
    let mut worker = script("listen").greet();
    worker.expect("ready");
    let greet = json!({ "name": "greet", "args": "you", "id": 1 });
    worker.say(&json!({ "message": greet }));
    assert_eq!(
        worker.expect("reply"),
        json!({ "id": 1, "outcome": { "answer": "hello, \"you\"" } })
    );
    for (id, name) in [(2, "nobody"), (3, "gone"), (4, "cleared")] {
        worker.say(&json!({ "message": { "name": name, "args": null, "id": id } }));
        assert_eq!(
            worker.expect("reply"),
            json!({ "id": id, "outcome": "no_reply" })
        );
    }
    worker.say(&json!({ "message": { "name": "nobody", "args": null } }));
    worker.expect_log("message 1 from the monitor that no listener heard: `nobody`");
}

// SESSION_DISABLE=1

#[test]
fn disabled_it_runs_main_and_ends_with_its_code() {
    let mut worker = disabled("code");
    assert_eq!(worker.wait().code(), Some(7));
    let mut worker = disabled("error");
    assert_eq!(worker.wait().code(), Some(1));
    assert_eq!(worker.stderr(), "Error: \"no disk\"\n");
}

#[test]
fn disabled_it_stops_by_signals() {
    for (name, number) in [("TERM", SIGTERM), ("INT", 2)] {
        let mut worker = disabled("drain");
        worker.until_printed("set up");
        worker.signal(name);
        assert_eq!(worker.wait().signal(), Some(number));
        let word = worker.word();
        assert!(word.contains("drained\n"), "{word}");
        let reason = format!("SIG{name} was sent to this process\n");
        assert!(word.contains(&reason), "{word}");
    }
}

#[test]
fn disabled_a_second_signal_means_now() {
    let mut worker = disabled("hang");
    worker.until_printed("set up");
    worker.signal("INT");
    worker.until_printed("a handler prints");
    assert!(worker.is_running());
    worker.signal("INT");
    assert_eq!(worker.wait_within(Duration::from_secs(5)).signal(), Some(2));
}

#[test]
fn disabled_kill_ends_with_its_code() {
    let mut worker = disabled("kill");
    assert_eq!(worker.wait().code(), Some(9));
}

#[test]
fn disabled_a_panic_still_runs_the_handlers() {
    let mut worker = disabled("panic-in-main");
    ended_by_panic(worker.wait());
    assert!(worker.word().starts_with("panic in thread `main`"));
}
