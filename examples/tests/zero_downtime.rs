//! Clients under load while workers are killed, replaced and reloaded, with real signals and real
//! sockets.
//!
//! The form that always runs is short. The long one (200 kills, 200 reloads, 50 restarts):
//!
//! ```text
//! $ SESSION_LOAD=full cargo test --release -p session-examples --test zero_downtime -- --nocapture
//! ```

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use session_tests::load::{Failure, Load, Tally};
use session_tests::running::{Running, Start, folder, signal_pid};

const HELLO: &str = env!("CARGO_BIN_EXE_hello");
const PER_SECOND: u32 = 500;
const NO_DELAY: &str = r#""restart":{"minDelaySeconds":0}"#;

/// So many in the short form, so many in the long one.
fn times(short: u64, long: u64) -> u64 {
    match std::env::var_os("SESSION_LOAD") {
        Some(form) if form == "full" => long,
        _ => short,
    }
}

fn hello() -> (Running, u32) {
    let mut session = Start::config(NO_DELAY).run(HELLO);
    let worker = session.expect_spawn();
    session.expect_ready();
    (session, worker)
}

fn print(what: &str, tally: &Tally) {
    let line = format!("{what}: {tally}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

#[test]
fn a_killed_worker_costs_no_refused_connection() {
    let kills = times(15, 200);
    let (mut session, mut worker) = hello();
    let load = Load::start(session.port, PER_SECOND);
    load.expect_answers_of(1);
    for generation in 2..=kills + 1 {
        signal_pid(worker, "KILL");
        worker = session.expect_spawn();
        load.expect_answers_of(generation);
    }
    let tally = load.stop();
    print(&format!("{kills} kills"), &tally);
    assert_eq!(tally.failed(Failure::Refused), 0, "{tally}");
    assert_eq!(tally.failed(Failure::ConnectReset), 0, "{tally}");
    // What is left are requests that a worker had accepted when it was killed.
    assert_eq!(tally.failed_in_all(), tally.failed(Failure::Cut), "{tally}");
    assert!(tally.failed_in_all() <= 2 * kills, "{tally}");
    assert_eq!(tally.generations.len() as u64, kills + 1, "{tally}");
}

#[test]
fn a_reload_fails_no_request() {
    let reloads = times(15, 200);
    let (mut session, _) = hello();
    let load = Load::start(session.port, PER_SECOND);
    load.expect_answers_of(1);
    for generation in 2..=reloads + 1 {
        session.enter("reload");
        session.expect(&format!("generation {generation} has taken over"));
        session.expect(&format!(
            "(generation {}) has exited: exit code 0",
            generation - 1
        ));
        load.expect_answers_of(generation);
    }
    let tally = load.stop();
    print(&format!("{reloads} reloads"), &tally);
    assert_eq!(tally.failed_in_all(), 0, "{tally}");
    assert_eq!(tally.generations.len() as u64, reloads + 1, "{tally}");
}

#[test]
fn a_clean_restart_fails_no_request() {
    let restarts = times(10, 50);
    let (mut session, _) = hello();
    let load = Load::start(session.port, PER_SECOND);
    load.expect_answers_of(1);
    for generation in 2..=restarts + 1 {
        session.enter("restart clean");
        session.expect_spawn();
        load.expect_answers_of(generation);
    }
    let tally = load.stop();
    print(&format!("{restarts} restarts"), &tally);
    assert_eq!(tally.failed_in_all(), 0, "{tally}");
    assert_eq!(tally.generations.len() as u64, restarts + 1, "{tally}");
}

#[test]
fn clients_of_a_stopped_worker_are_answered_by_the_next() {
    const CLIENTS: usize = 50;
    let (mut session, worker) = hello();
    signal_pid(worker, "STOP");
    let mut clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut client = TcpStream::connect(("127.0.0.1", session.port)).unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            client
        })
        .collect();
    signal_pid(worker, "KILL");
    session.expect_spawn();
    let answered = clients
        .iter_mut()
        .filter_map(|client| {
            let mut answer = String::new();
            client.read_to_string(&mut answer).ok()?;
            answer.contains(", generation 2\n").then_some(())
        })
        .count();
    assert!(answered >= CLIENTS - 1, "{answered} of {CLIENTS}");
}

#[test]
fn a_signal_reloads_as_well() {
    let (mut session, _) = hello();
    session.signal("USR2");
    session.expect("generation 2 has taken over");
    session.expect("(generation 1) has exited: exit code 0");
    assert!(session.get("/").contains("generation 2"));
}

/// A copy of `hello` at a path that others can be put at.
struct Deployed {
    folder: PathBuf,
    program: PathBuf,
}

impl Deployed {
    fn new() -> Deployed {
        let folder = folder();
        let program = folder.join("hello");
        fs::copy(HELLO, &program).unwrap();
        Deployed { folder, program }
    }

    fn run(&self) -> Running {
        let mut session = Start::config(NO_DELAY).run(self.program.to_str().unwrap());
        session.expect_spawn();
        session.expect_ready();
        session
    }

    /// As a deploy does it: written beside, then renamed over.
    fn replace(&self, contents: &[u8], mode: u32) {
        let next = self.folder.join("next");
        fs::write(&next, contents).unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(&next, &self.program).unwrap();
    }

    fn replace_by_itself(&self) {
        self.replace(&fs::read(HELLO).unwrap(), 0o755);
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What is no program of this session, each in a way of its own.
fn bad_programs() -> Vec<(&'static str, Vec<u8>, u32)> {
    let good = fs::read(HELLO).unwrap();
    // All that is behind may be there to debug with.
    let truncated = good[..64 * 1024].to_vec();
    vec![
        ("truncated", truncated, 0o755),
        ("not executable", good, 0o644),
        (
            "foreign",
            b"#!/bin/sh\necho I am another program\nexit 0\n".to_vec(),
            0o755,
        ),
        (
            "no program",
            b"\x7fELF and nothing behind it".to_vec(),
            0o755,
        ),
        ("empty", Vec::new(), 0o755),
    ]
}

#[test]
fn a_bad_program_is_refused_and_the_old_worker_serves_on() {
    let deployed = Deployed::new();
    let mut session = deployed.run();
    let load = Load::start(session.port, PER_SECOND);
    load.expect_answers_of(1);
    for (what, contents, mode) in bad_programs() {
        deployed.replace(&contents, mode);
        session.enter("restart clean");
        let refusal = session.expect("the new program is refused, and the one that runs stays: ");
        session.enter("reload");
        session.expect("the reload failed");
        assert!(!refusal.ends_with(": "), "{what}: {refusal}");
    }
    let tally = load.stop();
    print("bad programs", &tally);
    assert_eq!(tally.failed_in_all(), 0, "{tally}");
    assert_eq!(tally.generations.len(), 1, "{tally}");
    // And a good one is taken.
    deployed.replace_by_itself();
    session.enter("reload");
    session.expect("workers are started from the new program from now on");
    session.enter("exit clean");
    session.wait();
    // Nobody is advised to do what is being done.
    let log = session.rest();
    assert!(!log.contains("moves to it"), "{log}");
}

#[test]
fn a_crash_never_picks_up_a_new_file() {
    let deployed = Deployed::new();
    let mut session = deployed.run();
    deployed.replace(b"#!/bin/sh\nexit 1\n", 0o755);
    crash(&mut session, 1, Some("is not the one that runs"));
    crash(&mut session, 2, None);
    fs::remove_file(&deployed.program).unwrap();
    crash(&mut session, 3, Some("is gone"));
    // After an accepted reload the same holds for the image that was accepted.
    deployed.replace_by_itself();
    session.enter("reload");
    session.expect("workers are started from the new program from now on");
    session.expect("has exited: exit code 0");
    deployed.replace(b"", 0o644);
    crash(&mut session, 5, Some("is not the one that runs"));
    crash(&mut session, 6, None);
}

/// Kills the worker of this generation, and waits until the next one answers.
fn crash(session: &mut Running, generation: u64, told: Option<&str>) {
    signal_pid(pid(&session.get("/")), "KILL");
    if let Some(told) = told {
        session.expect(told);
    }
    session.expect_spawn();
    let deadline = Instant::now() + Duration::from_secs(10);
    let next = format!("generation {}\n", generation + 1);
    while !session.get("/").ends_with(&next) {
        assert!(Instant::now() < deadline, "expected {next}");
    }
}

/// The pid in an answer of `hello`'s.
fn pid(answer: &str) -> u32 {
    let (_, after) = answer.split_once("pid ").unwrap();
    after.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn a_program_that_may_not_be_executed_any_more_still_comes_back() {
    let deployed = Deployed::new();
    let mut session = deployed.run();
    fs::set_permissions(&deployed.program, fs::Permissions::from_mode(0o644)).unwrap();
    signal_pid(pid(&session.get("/")), "KILL");
    session.expect("workers are started from a copy of it in memory");
    session.expect_spawn();
    session.expect_ready();
    assert!(session.get("/").contains("generation 2"));
}

#[test]
fn a_link_that_is_switched_is_a_new_program() {
    let deployed = Deployed::new();
    let other = Deployed::new();
    let link = deployed.folder.join("current");
    std::os::unix::fs::symlink(&deployed.program, &link).unwrap();
    let mut session = Start::config(NO_DELAY).run(link.to_str().unwrap());
    session.expect_ready();
    session.enter("reload");
    let line = session.expect(" has taken over");
    assert!(line.contains("generation 2"));
    session.expect("(generation 1) has exited");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&other.program, &link).unwrap();
    session.enter("restart clean");
    session.expect("workers are started from the new program from now on");
    let worker = session.expect_spawn();
    assert_eq!(
        fs::canonicalize(format!("/proc/{worker}/exe")).unwrap(),
        fs::canonicalize(&other.program).unwrap()
    );
}

fn descriptors(pid: u32) -> Vec<String> {
    let folder = Path::new("/proc").join(pid.to_string()).join("fd");
    let mut found: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|target| {
            let target = target.to_string_lossy().into_owned();
            target.split(':').next().unwrap().to_owned()
        })
        .collect();
    found.sort();
    found
}

/// Of the monitor and of its worker.
fn tables(session: &Running, worker: u32) -> [Vec<String>; 2] {
    [descriptors(session.child.id()), descriptors(worker)]
}

#[test]
fn reloads_leave_no_descriptor_behind() {
    let reloads = times(10, 1000);
    let (mut session, worker) = hello();
    // The connection of a probe may be among them: the fewest that were ever there are the measure.
    let mut fewest = tables(&session, worker);
    let counts = |tables: &[Vec<String>; 2]| tables.each_ref().map(Vec::len);
    for generation in 2..=reloads + 1 {
        session.enter("reload");
        let worker = session.expect_spawn();
        session.expect(&format!("generation {generation} has taken over"));
        session.expect(&format!("(generation {}) has exited", generation - 1));
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let now = tables(&session, worker);
            if (0..2).all(|process| counts(&now)[process] <= counts(&fewest)[process]) {
                fewest = now;
                break;
            }
            assert!(Instant::now() < deadline, "{fewest:?}, then {now:?}");
        }
    }
}
