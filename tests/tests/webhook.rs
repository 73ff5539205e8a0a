//! Crashes that are told to a webhook, whatever the server at its other end does.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use session_tests::processes::working_in;
use session_tests::running::{PATIENCE, Running, Start, expect_gone, free_port, signal_pid};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hooked");
/// A secret, as chat services have one in their URLs.
const TOKEN: &str = "hook-token-4711";
/// What the README says of a courier.
const DELIVERY_LIMIT: Duration = Duration::from_secs(10);
const GOOD: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// A server at the other end.
struct Hook {
    port: u16,
    /// Each request, in full.
    requests: Receiver<String>,
}

impl Hook {
    /// Reads each request and does this with its connection.
    fn new(mut answer: impl FnMut(TcpStream) + Send + 'static) -> Hook {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let (sender, requests) = channel();
        thread::spawn(move || {
            for visitor in server.incoming().map_while(Result::ok) {
                if sender.send(read_request(&visitor)).is_err() {
                    return;
                }
                answer(visitor);
            }
        });
        Hook { port, requests }
    }

    fn answering(answer: &'static [u8]) -> Hook {
        Hook::new(move |mut visitor| drop(visitor.write_all(answer)))
    }

    /// Connections stay open, and nothing comes.
    fn silent() -> Hook {
        let mut open = Vec::new();
        Hook::new(move |visitor| open.push(visitor))
    }

    fn config(&self) -> String {
        config(self.port)
    }

    #[track_caller]
    fn request(&self) -> String {
        self.requests.recv_timeout(PATIENCE).unwrap()
    }

    #[track_caller]
    fn message(&self) -> Value {
        let request = self.request();
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }
}

/// Restarts at once; ready with the handshake, stable at once.
fn config(port: u16) -> String {
    format!(
        r#""pollingRoute":null,"restart":{{"minDelaySeconds":0,"stableSeconds":0}},
        "stop":{{"graceSeconds":0.5}},
        "notify":{{"webhook":"http://127.0.0.1:{port}/crash?token={TOKEN}"}}"#
    )
}

fn read_request(visitor: &TcpStream) -> String {
    let mut reader = BufReader::new(visitor);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = reader.read_exact(&mut body);
    head + &String::from_utf8(body).unwrap()
}

/// A session whose worker has just been killed; the pid of the next.
fn killed(hook_config: &str) -> (Running, u32) {
    let mut session = Start::config(hook_config).run(PROGRAM);
    let pid = session.expect_spawn();
    session.expect("ready");
    signal_pid(pid, "KILL");
    let next = session.expect_spawn();
    (session, next)
}

/// The one process of the session that is neither its monitor nor this worker.
#[track_caller]
fn courier(session: &Running, worker: u32) -> u32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let family = working_in(session.folder());
        let own = [session.child.id(), worker];
        let mut others = family.iter().filter(|process| !own.contains(&process.pid));
        if let (Some(courier), None) = (others.next(), others.next()) {
            assert_eq!(courier.group, courier.pid, "{courier:?}");
            return courier.pid;
        }
        assert!(Instant::now() < deadline, "{family:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn expect_empty(session: &Running) {
    let deadline = Instant::now() + PATIENCE;
    while !working_in(session.folder()).is_empty() {
        let left = working_in(session.folder());
        assert!(Instant::now() < deadline, "left behind: {left:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// So many processes have run the user's main: a courier does not.
fn mains(session: &Running) -> usize {
    let mains = fs::read_to_string(session.folder().join("mains")).unwrap();
    mains.lines().count()
}

#[test]
fn a_crash_and_the_recovery_arrive_as_json_without_secrets() {
    let hook = Hook::answering(GOOD);
    let mut session = Start::config(&hook.config())
        .args(&["1"])
        .environment("HOOKED_SECRET", "environment-4711")
        .run(PROGRAM);
    let request = hook.request();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let first = format!("POST /crash?token={TOKEN} HTTP/1.1");
    assert_eq!(head.lines().next(), Some(&*first));
    assert!(head.contains("Content-Type: application/json"), "{head}");
    let message: Value = serde_json::from_str(body).unwrap();
    assert_eq!(message["event"], "crashed");
    assert_eq!(message["program"], "hooked");
    assert_eq!(message["crashes"], 1);
    let text = message["text"].as_str().unwrap();
    assert_eq!(text, "hooked crashed (generation 1): exit code 3");
    let report = &message["report"];
    assert_eq!(report["generation"], 1);
    assert_eq!(report["cause"], "exit");
    assert_eq!(report["status"]["code"], 3);
    let output = report["output"].as_str().unwrap();
    assert_eq!(
        output,
        "words of generation 1\n\"quoted\" \u{1b}[31mred\u{7}\n"
    );
    let report: session::CrashReport = serde_json::from_value(report.clone()).unwrap();
    assert_eq!(report.summary(), "exit code 3");
    let key = fs::read_to_string(session.folder().join("key")).unwrap();
    for secret in [key.as_str(), "environment-4711", "SESSION_WORKER"] {
        assert!(!request.contains(secret), "{secret}: {request}");
    }
    session.expect("distributed crash notification to the webhook");
    let message = hook.message();
    assert_eq!(message["event"], "recovered");
    assert_eq!(message["crashes"], 1);
    assert_eq!(message["report"], Value::Null);
    session.expect("distributed notification of the recovery to the webhook");
    session.enter("exit clean");
    assert_eq!(session.wait().0.code(), Some(0));
    let log = session.rest();
    assert!(!log.contains(TOKEN), "{log}");
    assert_eq!(mains(&session), 2);
    assert!(hook.requests.try_recv().is_err());
}

#[test]
fn whatever_it_answers_is_told_and_harms_nobody() {
    for (answer, told) in [
        (&b"HTTP/1.1 500 No\r\n\r\n"[..], "it answered 500"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
            "it answered 302; redirects are not followed",
        ),
        (b"HTTP/1.1 199 Early\r\n\r\n", "it answered 199"),
        (b"", "it gave no HTTP answer"),
        (b"\0\x1b[31mred\n\n", "it gave no HTTP answer"),
        (b"HTTP/1.1 \xff\xfe\r\n\r\n", "invalid utf-8"),
        (
            b"HTTP/1.1 204 \r\nContent-Length: x\r\n\r\n",
            "non-usize content length",
        ),
    ] {
        let hook = Hook::answering(answer);
        let (mut session, _) = killed(&hook.config());
        let line = session.expect("distribution of crash notification to the webhook failed: ");
        assert!(line.contains(told), "{line}");
        session.enter("status");
        session.expect("state: ready");
        session.expect("restarts: 1");
    }
}

#[test]
fn nobody_there_is_told() {
    let (mut session, _) = killed(&config(free_port()));
    let line = session.expect("distribution of crash notification to the webhook failed: ");
    assert!(line.contains("Connection refused"), "{line}");
}

/// The client counts the room for headers below zero by such a line. Where that is checked it
/// panics, else it reads on; either way nobody but the courier is touched.
#[test]
fn the_header_that_the_client_cannot_count_ends_the_courier_at_most() {
    let hook = Hook::new(|mut visitor| {
        let line = "x".repeat(8_191);
        let _ = write!(visitor, "HTTP/1.1 200 OK\r\n{line}\n\r\n");
    });
    let (mut session, _) = killed(&hook.config());
    let line = session.expect(" crash notification ");
    let is_told = line.contains("overflow") || line.contains("distributed crash notification");
    assert!(is_told, "{line}");
    session.enter("status");
    session.expect("state: ready");
}

/// Behind such a line the client has no bound on headers any more, and the courier has its own.
#[test]
fn headers_without_end_take_no_more_than_the_courier_may_have() {
    let hook = Hook::new(|mut visitor| {
        let line = "x".repeat(8_191);
        let _ = write!(visitor, "HTTP/1.1 200 OK\r\n{line}\n");
        let header = format!("a: {}\r\n", "y".repeat(8_000));
        while visitor.write_all(header.as_bytes()).is_ok() {}
    });
    let (mut session, _) = killed(&hook.config());
    let line = session.expect("distribution of crash notification to the webhook failed: ");
    let is_told = ["overflow", "memory allocation", "no answer within 10 s"]
        .iter()
        .any(|told| line.contains(told));
    assert!(is_told, "{line}");
    session.enter("status");
    session.expect("state: ready");
}

#[test]
fn endless_answers_are_not_read() {
    for (head, told) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "distributed crash notification"),
        (
            "HTTP/1.1 200 OK\r\nX: ",
            "the headers' total size surpassed",
        ),
        ("HTTP/1.1 ", "the status line length surpassed"),
    ] {
        let hook = Hook::new(move |mut visitor| {
            let _ = visitor.write_all(head.as_bytes());
            while visitor.write_all(&[b'x'; 4096]).is_ok() {}
        });
        let (mut session, _) = killed(&hook.config());
        let line = session.expect("crash notification to the webhook");
        assert!(line.contains(told), "{line}");
    }
}

#[test]
fn who_never_answers_is_given_up_and_delays_nobody() {
    let hook = Hook::silent();
    let mut session = Start::config(&hook.config()).run(PROGRAM);
    let pid = session.expect_spawn();
    session.expect("ready");
    let start = Instant::now();
    signal_pid(pid, "KILL");
    let worker = session.expect_spawn();
    hook.request();
    let courier = courier(&session, worker);
    // More crashes meanwhile: workers come back at once, and no second courier is sent.
    let mut worker = worker;
    for _ in 0..5 {
        session.expect("ready");
        signal_pid(worker, "KILL");
        worker = session.expect_spawn();
    }
    assert!(
        start.elapsed() < DELIVERY_LIMIT / 2,
        "{:?}",
        start.elapsed()
    );
    assert!(hook.requests.try_recv().is_err());
    for file in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/{courier}/{file}")).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(TOKEN), "{file}: {text}");
    }
    session
        .expect("distribution of crash notification to the webhook failed: no answer within 10 s");
    let took = start.elapsed();
    assert!(
        took >= DELIVERY_LIMIT && took < 2 * DELIVERY_LIMIT,
        "{took:?}"
    );
    expect_gone(courier, PATIENCE);
    // Then the next, with the count of all that have come since.
    let message = hook.message();
    assert_eq!(message["event"], "escalated");
    assert_eq!(message["crashes"], 6);
    // A worker may be killed before its main has begun.
    assert!(mains(&session) <= 7);
}

#[test]
fn fifty_crashes_are_few_messages_and_one_recovery() {
    let hook = Hook::answering(GOOD);
    // Each is ready before it crashes, but not for so long.
    let config = hook
        .config()
        .replace("\"stableSeconds\":0", "\"stableSeconds\":1");
    let mut session = Start::config(&config).args(&["50"]).run(PROGRAM);
    session.expect("(generation 51)");
    let mut counts = Vec::new();
    loop {
        let message = hook.message();
        let crashes = message["crashes"].as_u64().unwrap();
        counts.push(crashes);
        match message["event"].as_str().unwrap() {
            "crashed" => assert_eq!(counts.len(), 1),
            "escalated" => {
                let generation = message["report"]["generation"].as_u64().unwrap();
                assert!(generation >= crashes, "{generation} {crashes}");
            }
            "recovered" => break,
            other => panic!("{other}"),
        }
    }
    // 1, 2, 4, 8, 16, 32 or thereabouts, and the recovery.
    assert!((3..=7).contains(&counts.len()), "{counts:?}");
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!(counts.last(), Some(&50));
    session.expect("distributed notification of the recovery to the webhook");
}

#[test]
fn a_stop_ends_in_time_and_leaves_no_courier() {
    for (how, within) in [("clean", 2_500), ("force", 500)] {
        let hook = Hook::silent();
        let (mut session, worker) = killed(&hook.config());
        hook.request();
        let courier = courier(&session, worker);
        session.expect("ready");
        session.enter(&format!("exit {how}"));
        let (status, took) = session.wait();
        assert_eq!(status.code(), Some(0), "{how}");
        // With room for a machine that does much else.
        let most = Duration::from_millis(within + 1_500);
        assert!(took < most, "{how}: {took:?}");
        expect_gone(courier, PATIENCE);
        expect_empty(&session);
        let log = session.rest();
        assert!(
            log.contains("failed: the session ended first"),
            "{how}: {log}"
        );
    }
}

#[test]
fn who_asks_again_does_not_wait_for_the_courier() {
    let hook = Hook::silent();
    let config = hook.config().replace("0.5", "3600");
    let (mut session, worker) = killed(&config);
    hook.request();
    let courier = courier(&session, worker);
    session.expect("ready");
    session.signal("TERM");
    expect_gone(worker, PATIENCE);
    assert!(session.child.try_wait().unwrap().is_none());
    // Two signals at almost the same time are one.
    thread::sleep(Duration::from_millis(60));
    let start = Instant::now();
    session.signal("TERM");
    session.wait();
    assert!(
        start.elapsed() < DELIVERY_LIMIT / 2,
        "{:?}",
        start.elapsed()
    );
    expect_gone(courier, PATIENCE);
}

#[test]
fn a_session_that_ends_by_itself_tells_its_last_crash() {
    let hook = Hook::answering(GOOD);
    let config = hook
        .config()
        .replace("\"stableSeconds\":0", "\"maxFailures\":3");
    let mut session = Start::config(&config).args(&["50"]).run(PROGRAM);
    assert_eq!(session.wait().0.code(), Some(75));
    let messages: Vec<Value> = hook
        .requests
        .try_iter()
        .map(|request| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap())
        .collect();
    let last = messages.last().unwrap();
    assert_eq!(last["event"], "ended");
    let reports = last["report"]["generation"].as_u64();
    assert_eq!(last["crashes"].as_u64(), reports);
    let log = session.rest();
    assert!(
        log.contains("distributed notification of the end to the webhook"),
        "{log}"
    );
    expect_empty(&session);
}

#[test]
fn a_session_of_one_worker_tells_its_crash_once() {
    let hook = Hook::answering(GOOD);
    let config = hook
        .config()
        .replace("\"minDelaySeconds\":0", "\"policy\":\"never\"");
    let mut session = Start::config(&config).args(&["1"]).run(PROGRAM);
    assert_eq!(session.wait().0.code(), Some(3));
    let message = hook.message();
    assert_eq!(message["event"], "ended");
    assert_eq!(message["crashes"], 1);
    let text = message["text"].as_str().unwrap();
    assert_eq!(
        text,
        "hooked is down, and is not restarted any more: 1 crash, the last (generation 1): exit code 3"
    );
    assert!(hook.requests.try_recv().is_err());
}

#[test]
fn a_monitor_that_is_killed_leaves_no_courier() {
    let hook = Hook::silent();
    let (mut session, worker) = killed(&hook.config());
    hook.request();
    let courier = courier(&session, worker);
    session.signal("KILL");
    session.wait();
    expect_gone(courier, PATIENCE);
    expect_empty(&session);
}

#[test]
fn the_environment_changes_nothing() {
    let hook = Hook::new(|mut visitor| {
        // Later than the timeout that the client would take from the environment.
        thread::sleep(Duration::from_millis(1_500));
        let _ = visitor.write_all(GOOD);
    });
    let proxy = format!("http://127.0.0.1:{}", free_port());
    let mut session = Start::config(&hook.config())
        .args(&["1"])
        .environment("MINREQ_TIMEOUT", "1")
        .environment("http_proxy", &proxy)
        .environment("ALL_PROXY", &proxy)
        .run(PROGRAM);
    session.expect("distributed crash notification to the webhook");
}

#[test]
fn a_courier_made_by_hand_starts_nothing() {
    let own = "SESSION_WORKER=1:$$:0:$(stat -Lc %d:%i \"$0\"):courier \"$0\"; exit $?";
    for (script, why) in [
        (own, "a courier of process "),
        (own, "but its standard input is no socket"),
        (
            "SESSION_WORKER=1:1:0:$(stat -Lc %d:%i \"$0\"):courier exec \"$0\"",
            "a courier of process 1, but its parent is ",
        ),
        (
            "SESSION_WORKER=1:$$:0:7:7:courier exec \"$0\"",
            "but it runs another program",
        ),
        (
            "SESSION_WORKER=1:$$:0:7:7:Courier exec \"$0\"",
            "expected SESSION_WORKER as a monitor of protocol 1 sets it",
        ),
    ] {
        let mut command = Command::new("sh");
        command.args(["-c", script, PROGRAM]);
        let mut session = Start::config("\"pollingRoute\":null").run_piped(command);
        assert_eq!(session.wait().0.code(), Some(64), "{script}");
        let said = session.rest();
        assert!(said.contains(why), "{script}: {said}");
        assert!(working_in(session.folder()).is_empty(), "{script}");
        assert!(!session.folder().join("mains").exists(), "{script}");
    }
}
