//! Rows C of the fault matrix: health.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use session_tests::faults::{Need, row};
use session_tests::processes::resources;
use session_tests::running::{PATIENCE, Running, Start, expect_gone, signal_pid};

const HOSTILE: &str = env!("CARGO_BIN_EXE_hostile");
const SICK: &str = env!("CARGO_BIN_EXE_sick");
const CONFIG: &str = r#""pollingIntervalSeconds":1,"pollingTimeoutSeconds":0.3,
    "stop":{"graceSeconds":0.2},"restart":{"minDelaySeconds":0}"#;

fn start(illness: &str, members: &str) -> (Running, u32) {
    let mut session = Start::config(&format!("{CONFIG}{members}"))
        .args(&[illness])
        .run(SICK);
    let worker = session.expect_spawn();
    (session, worker)
}

#[track_caller]
fn ends(mut session: Running) -> String {
    session.enter("exit clean");
    assert_eq!(session.wait().0.code(), Some(0));
    session.rest()
}

/// Ready first, then ill, and replaced once for it.
#[track_caller]
fn is_replaced(illness: &str, failure: &str) -> String {
    let (mut session, worker) = start(illness, r#","pollingFailureTolerance":1"#);
    session.expect_ready();
    session.expect(&format!(
        "the server has encountered 1 of 1 tolerable failures: {failure}"
    ));
    session.expect(&format!(
        "the server failed 2 probes in a row and is replaced: {failure}"
    ));
    session.expect_spawn();
    // The report and the next worker's readiness come in any order.
    session.worker(Some(worker));
    expect_gone(worker, PATIENCE);
    let log = ends(session);
    assert_eq!(log.matches("is replaced").count(), 1, "{log}");
    let report = format!("crash report, generation 1: failed probe: {failure}");
    assert!(log.contains(&report), "{log}");
    log
}

#[test]
fn c01_a_server_that_accepts_and_never_answers_is_replaced() {
    row(&[], || {
        is_replaced("silent", "no answer within 0.3 s");
    });
}

#[test]
fn c02_a_deadlocked_worker_is_replaced() {
    row(&[], || {
        is_replaced("deadlock", "no answer within 0.3 s");
    });
}

#[test]
fn c02_a_spinning_worker_is_replaced() {
    row(&[], || {
        is_replaced("spin", "no answer within 0.3 s");
    });
}

#[test]
fn c02_a_worker_that_does_not_even_end_is_ended_step_by_step() {
    row(&[], || {
        let config = r#""readiness":"call","pollingIntervalSeconds":1,"stop":{"graceSeconds":0.2}"#;
        let mut session = Start::config(config).args(&["immortal"]).run(HOSTILE);
        let worker = session.expect_spawn();
        let refused = format!("connection refused at 127.0.0.1:{}", session.port);
        session.expect(&format!(
            "the server failed a probe and is replaced: {refused}"
        ));
        session.expect("still runs after its grace period; sending SIGTERM");
        session.expect("still runs 1 s after SIGTERM; sending SIGKILL");
        session.expect(&format!("failed probe: {refused} (made to leave: SIGKILL)"));
        expect_gone(worker, PATIENCE);
        ends(session);
    });
}

#[test]
fn c02_a_worker_that_is_wedged_from_the_start_is_replaced() {
    row(&[], || {
        let (mut session, worker) = start("deadlock!", r#","startupTimeoutSeconds":1"#);
        session.expect("the server was not ready within 1 s: no answer");
        session.expect_spawn();
        session.expect_ready();
        expect_gone(worker, PATIENCE);
        ends(session);
    });
}

#[test]
fn c03_one_failure_in_three_is_tolerated() {
    row(&[], || {
        let (mut session, worker) = start("flapping", r#","pollingFailureTolerance":1"#);
        session.expect_ready();
        for _ in 0..2 {
            session.expect("1 of 1 tolerable failures: `GET /` answered 503");
            session.expect("the server answers again");
        }
        session.enter("status");
        session.expect(&format!("pid: {worker}"));
        session.expect("restarts: 0");
        let log = ends(session);
        assert!(!log.contains("is replaced"), "{log}");
    });
}

#[test]
fn c04_a_worker_that_never_becomes_healthy_is_a_failed_start() {
    row(&[], || {
        let (mut session, _) = start("refusing!", r#","startupTimeoutSeconds":1"#);
        session.expect("not healthy yet: `GET /` answered 503");
        session.expect("the server was not ready within 1 s: `GET /` answered 503");
        session.expect_spawn();
        session.expect("crash report, generation 1: failed start: ");
        ends(session);
    });
}

/// Somebody else who answers on the port: this test. It tells how many came.
fn stranger(port: u16) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let visitors = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&visitors);
    thread::spawn(move || {
        for mut visitor in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = visitor.read(&mut [0; 1024]);
            let _ = visitor.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    visitors
}

#[test]
fn c05_a_stranger_on_the_port_is_never_healthy_and_is_named() {
    row(&[], || {
        let (mut session, worker) = start("unbound", r#","startupTimeoutSeconds":1"#);
        let visitors = stranger(session.port);
        let held = format!(
            "port {} is held by pid {} (",
            session.port,
            std::process::id()
        );
        session.expect(&format!("not healthy yet: {held}"));
        session.expect(&format!("the server was not ready within 1 s: {held}"));
        expect_gone(worker, PATIENCE);
        let log = ends(session);
        assert!(!log.contains("listening on"), "{log}");
        assert!(visitors.load(Ordering::SeqCst) > 0);
    });
}

#[test]
fn c05_a_port_that_is_taken_is_told_with_who_holds_it() {
    row(&[], || {
        for illness in ["well", "held"] {
            let taken = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = taken.local_addr().unwrap().port();
            let mut session = Start::config(r#""restart":{"minDelaySeconds":0.5}"#)
                .args(&[illness])
                .run_at(SICK, port);
            session.expect_spawn();
            if illness == "held" {
                session.expect(&format!(
                    "port {port} is held by pid {} (",
                    std::process::id()
                ));
            }
            session.expect("crash report, generation 1: ");
            // It comes by itself once the port is free.
            drop(taken);
            session.expect_ready();
            ends(session);
        }
    });
}

#[test]
fn c06_an_answer_without_end_costs_bounded_time_and_memory() {
    row(&[], || {
        for (illness, failure) in [
            ("drip", "no answer within 0.3 s"),
            (
                "endless-head",
                "the head of the answer is longer than 16384 bytes",
            ),
        ] {
            is_replaced(illness, failure);
        }
        // This one is healthy by its head, and nobody waits for the ten gigabytes.
        let (mut session, _) = start("endless-body!", "");
        session.expect_ready();
        let deadline = Instant::now() + Duration::from_secs(3);
        while let Some(line) = session.line_until(deadline) {
            assert!(!line.contains("failures"), "{line}");
        }
        let used = resources(session.child.id());
        assert!(used.peak_kib < 32 * 1024, "{used:?}");
        ends(session);
    });
}

#[test]
fn c07_a_redirect_and_the_environment_lead_a_probe_nowhere() {
    row(&[], || {
        let trap = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = trap.local_addr().unwrap().port();
        drop(trap);
        let visitors = stranger(port);
        let url = format!("http://127.0.0.1:{port}/");
        let mut start = Start::config(CONFIG)
            .args(&["redirect"])
            .environment("TRAP", &url);
        for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
            start = start.environment(name, &url);
        }
        let mut session = start.environment("MINREQ_TIMEOUT", "0").run(SICK);
        session.expect_ready();
        session.expect(
            "the server failed a probe and is replaced: `GET /` answered 302; set pollingRoute to \
             a route that answers 2xx",
        );
        session.expect_ready();
        ends(session);
        assert_eq!(visitors.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn c08_what_is_no_http_is_no_health_and_acts_on_nobody() {
    row(&[], || {
        let log = is_replaced("junk", "malformed answer: ");
        assert!(!log.contains('\u{1b}'), "{log}");
    });
}

/// In a network namespace, after these commands.
fn in_a_network(start: &Start, set_up: &str) -> Running {
    let mut command = Command::new("unshare");
    let script = format!("set -e; {set_up}; exec \"$0\" \"$@\"");
    command
        .args(["--net", "--mount", "sh", "-c", &script, SICK])
        .args(&start.args);
    start.run_piped(command)
}

#[test]
fn c09_no_name_is_looked_up_and_either_kind_of_loopback_will_do() {
    row(&[Need::Program("ip")], || {
        let no_names = "mount --bind /dev/null /etc/hosts; mount --bind /dev/null /etc/resolv.conf";
        let only_six = "ip link set lo up; ip addr del 127.0.0.1/8 dev lo";
        let only_four = "ip link set lo up; ip addr del ::1/128 dev lo";
        for (members, set_up) in [(r#","host":"::1""#, only_six), ("", only_four)] {
            let start = Start::config(&format!("{CONFIG}{members}")).args(&["well"]);
            let mut session = in_a_network(&start, &format!("{no_names}; {set_up}"));
            session.expect_ready();
            let log = ends(session);
            assert!(!log.contains("failures"), "{log}");
        }
    });
}

/// `clock_gettime` with the wall clock moved by what the file says.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    int outcome = (int)syscall(SYS_clock_gettime, id, at);
    const char *path = getenv("CLOCK_OFFSET");
    if (outcome == 0 && path && id == CLOCK_REALTIME) {
        FILE *file = fopen(path, "re");
        long seconds = 0;
        if (file) {
            if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
            fclose(file);
        }
        at->tv_sec += seconds;
    }
    return outcome;
}
"#;

/// A library for `LD_PRELOAD`.
fn preload(source: &str) -> String {
    let folder = session_tests::running::folder();
    let (code, library) = (folder.join("preload.c"), folder.join("preload.so"));
    fs::write(&code, source).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &code])
        .status();
    assert!(built.unwrap().success());
    library.into_os_string().into_string().unwrap()
}

#[test]
fn c10_a_wall_clock_that_jumps_moves_only_the_stamps() {
    row(&[Need::Program("cc")], || {
        let mut session = Start::config(CONFIG)
            .args(&["well"])
            .environment("LD_PRELOAD", &preload(CLOCK))
            .environment("CLOCK_OFFSET", "offset")
            .run(SICK);
        let mut worker = session.expect_spawn();
        session.expect_ready();
        const YEAR: i64 = 365 * 24 * 3600;
        for offset in [3600, -3600, 10 * YEAR, -10 * YEAR, 0] {
            // In one step: a half-written file is another time.
            let folder = session.folder();
            fs::write(folder.join("new"), offset.to_string()).unwrap();
            fs::rename(folder.join("new"), folder.join("offset")).unwrap();
            signal_pid(worker, "KILL");
            let begun = Instant::now();
            let line = session.expect("has exited: SIGKILL");
            worker = session.expect_spawn();
            session.expect_ready();
            assert!(begun.elapsed() < Duration::from_secs(5), "{line}");
            let year = line.split(' ').nth(3).unwrap().parse::<i64>().unwrap();
            assert!((year - this_year() - offset / YEAR).abs() <= 1, "{line}");
        }
        let log = ends(session);
        assert!(!log.contains("failures"), "{log}");
    });
}

fn this_year() -> i64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    1970 + i64::try_from(now.as_secs() / 31_556_952).unwrap()
}

#[test]
fn c11_a_network_that_is_down_says_nothing_of_the_server() {
    row(&[Need::Program("ip"), Need::Program("nsenter")], || {
        let start = Start::config(CONFIG).args(&["well"]);
        let mut session = in_a_network(&start, "ip link set lo up");
        session.expect_ready();
        let set_lo = |state: &str| {
            let pid = session.child.id().to_string();
            let mut command = Command::new("nsenter");
            command.args(["--target", &pid, "--net", "ip", "link", "set", "lo", state]);
            assert!(command.status().unwrap().success());
        };
        set_lo("down");
        session.expect("cannot probe the server, which says nothing about its health: ");
        let deadline = Instant::now() + Duration::from_secs(3);
        while let Some(line) = session.line_until(deadline) {
            assert!(!line.contains("replaced"), "{line}");
        }
        let pid = session.child.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--net", "ip", "link", "set", "lo", "up"]);
        assert!(command.status().unwrap().success());
        session.enter("status");
        session.expect("restarts: 0");
        ends(session);
    });
}

#[test]
fn c11_a_lack_of_descriptors_or_ports_says_nothing_of_the_server() {
    row(&[Need::Program("ip"), Need::Program("prlimit")], || {
        let few_ports =
            "ip link set lo up; echo '60000 60001' > /proc/sys/net/ipv4/ip_local_port_range";
        let start = Start::config(CONFIG).args(&["well"]);
        let mut session = in_a_network(&start, few_ports);
        session.expect_ready();
        let pid = session.child.id().to_string();
        let limit = |limit: &str| {
            let status = Command::new("prlimit")
                .args(["--pid", &pid, limit])
                .status();
            assert!(status.unwrap().success());
        };
        limit("--nofile=4:1024");
        session.expect("cannot probe the server, which says nothing about its health: ");
        limit("--nofile=1024:1024");
        session.enter("status");
        session.expect("restarts: 0");
        let log = ends(session);
        assert!(!log.contains("replaced"), "{log}");
    });
}

#[test]
fn c12_the_answer_of_a_later_worker_is_none_to_an_earlier_probe() {
    row(&[], || {
        // The stopped worker's probe waits in the queue of a socket of that worker's own; the one
        // after it is judged by its own answers.
        let (mut session, worker) = start("held", "");
        session.expect_ready();
        signal_pid(worker, "STOP");
        session.expect("the server failed a probe and is replaced: ");
        session.expect_spawn();
        session.expect_ready();
        let deadline = Instant::now() + Duration::from_secs(2);
        while let Some(line) = session.line_until(deadline) {
            assert!(!line.contains("failures"), "{line}");
            assert!(!line.contains("replaced"), "{line}");
        }
        ends(session);
    });
}
