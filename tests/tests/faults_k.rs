//! Rows K of the fault matrix: the session key.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;

use session_tests::faults::row;
use session_tests::running::{PATIENCE, Running, Start, expect_gone, signal_pid};

const HOSTILE: &str = env!("CARGO_BIN_EXE_hostile");
const SICK: &str = env!("CARGO_BIN_EXE_sick");
const CONFIG: &str = r#""stop":{"graceSeconds":0.5},"restart":{"minDelaySeconds":0}"#;

#[track_caller]
fn keyed() -> (Running, String) {
    let mut session = Start::config(CONFIG).args(&["well", "keyed"]).run(SICK);
    session.expect_ready();
    let path = session.folder().join("key");
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(&path) {
            Ok(key) if key.len() == 36 => return (session, key),
            _ => assert!(std::time::Instant::now() < deadline, "no key"),
        }
    }
}

#[track_caller]
fn is_answered(session: &Running, method: &str, headers: &str, status: &str) {
    let answer = session.ask(method, "/kill", headers).unwrap();
    assert!(answer.contains(status), "{method}: {answer}");
}

fn offer(key: &str) -> String {
    format!("X-Session-Key: {key}\r\n")
}

#[test]
fn k01_nothing_but_the_key_of_this_session_ends_it() {
    row(&[], || {
        let (mut first, old) = keyed();
        first.enter("exit clean");
        assert_eq!(first.wait().0.code(), Some(0));
        let (mut session, key) = keyed();
        // A window is a second, and has room for ten guesses.
        let wrong = [
            String::new(),
            offer(""),
            offer("x"),
            offer(&"x".repeat(1024 * 1024)),
            offer(&old),
            offer(&key.to_uppercase().replace('-', "_")),
            offer(&key[1..]),
            offer(&format!("{key}{key}")),
        ];
        for headers in &wrong {
            is_answered(&session, "POST", headers, " 403 ");
        }
        // As a link, a prefetch or a preview would do it.
        for method in ["GET", "HEAD", "OPTIONS"] {
            is_answered(&session, method, &offer(&key), " 405 ");
        }
        session.expect("a wrong session key was offered");
        // A new worker knows the same key: it belongs to the session.
        let worker = session.worker(None);
        signal_pid(worker, "KILL");
        session.worker(Some(worker));
        let deadline = std::time::Instant::now() + PATIENCE;
        while !session
            .ask("POST", "/kill", &offer(&key))
            .unwrap()
            .contains(" 200 ")
        {
            // The guesses of this second are used up.
            assert!(std::time::Instant::now() < deadline);
        }
        assert_eq!(session.wait().0.code(), Some(0));
        let log = session.rest();
        assert!(log.contains("killed by key"), "{log}");
        for secret in [&old, &key] {
            assert!(!log.contains(secret.as_str()), "{log}");
        }
    });
}

#[test]
fn k01_without_a_key_there_is_none_to_be_right() {
    row(&[], || {
        let mut session = Start::config(CONFIG).args(&["well"]).run(SICK);
        session.expect_ready();
        for key in [
            "",
            "x",
            "00000000-0000-4000-8000-000000000000",
            "null",
            "undefined",
        ] {
            is_answered(&session, "POST", &offer(key), " 403 ");
        }
        session.enter("exit clean");
        assert_eq!(session.wait().0.code(), Some(0));
    });
}

fn processes() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// All of its memory that can be written, read as a debugger would.
fn memory_has(pid: u32, text: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    maps.lines().any(|line| {
        let mut words = line.split(' ');
        let (Some(range), Some(rights)) = (words.next(), words.next()) else {
            return false;
        };
        if !rights.starts_with("rw") {
            return false;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        memory.seek(SeekFrom::Start(from)).is_ok()
            && memory.read_exact(&mut bytes).is_ok()
            && contains(&bytes, text)
    })
}

#[test]
fn k02_the_key_is_found_nowhere_but_in_its_monitor() {
    row(&[], || {
        let config =
            format!(r#"{CONFIG},"readiness":"call","pollingRoute":null,"showServerOutput":true"#);
        let mut session = Start::config(&config)
            .args(&["escapes", "keyed"])
            .run(HOSTILE);
        session.expect("distributed session key to recipients");
        session.expect("crash report, generation 1: ");
        session.expect_all(&["distributed crash notification", "ready"]);
        session.enter("reports");
        session.expect("its last output:");
        session.enter("status");
        session.expect("dropped: ");
        let key = fs::read_to_string(session.folder().join("key")).unwrap();
        let mode = fs::metadata(session.folder().join("key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!((key.len(), mode & 0o777), (36, 0o600));

        let monitor = session.child.id();
        let others: Vec<u32> = processes()
            .into_iter()
            .filter(|pid| ![monitor, std::process::id()].contains(pid))
            .collect();
        assert_eq!(others.len(), 1, "its worker: {others:?}");
        for pid in processes() {
            for file in ["environ", "cmdline", "comm", "stat", "maps"] {
                let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                assert!(!contains(&bytes, &key), "/proc/{pid}/{file}");
            }
        }
        // The test can see it where it is, so it would see it elsewhere too.
        assert!(memory_has(monitor, &key));
        for pid in &others {
            assert!(!memory_has(*pid, &key), "process {pid} knows the key");
        }
        for entry in fs::read_dir(session.folder()).unwrap().flatten() {
            if entry.file_name() != "key" {
                let bytes = fs::read(entry.path()).unwrap();
                assert!(!contains(&bytes, &key), "{:?}", entry.path());
            }
        }
        session.enter("exit clean");
        assert_eq!(session.wait().0.code(), Some(0));
        expect_gone(others[0], PATIENCE);
        let log = session.rest();
        assert!(!log.contains(&key), "{log}");
    });
}
