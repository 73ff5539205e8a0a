//! Rows J of the fault matrix: handing on of listening sockets. Most are in `held.rs` and in
//! `zero_downtime.rs` of the examples.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use session_tests::faults::{Need, row};
use session_tests::inject::{children_of, descriptors, send, until};
use session_tests::running::{Running, Start, free_port};

const FAULTY: &str = env!("CARGO_BIN_EXE_faulty");
const LIMITED: &str = r#""restart":{"minDelaySeconds":0.01,"maxFailures":2}"#;

#[track_caller]
fn ends(mut session: Running) {
    session.enter("exit clean");
    assert_eq!(session.wait().0.code(), Some(0));
}

#[test]
fn j03_what_a_worker_starts_has_no_socket_of_the_session() {
    row(&[], || {
        let mut session = Start::default().run(FAULTY);
        let worker = session.expect_spawn();
        session.expect_ready();
        for route in ["/child", "/escape"] {
            session.get(route);
        }
        // What the launcher of all this has left open goes through, to any process.
        let mut other = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = children_of(worker);
        assert_eq!(started.len(), 2);
        for (pid, _) in started {
            // Each reads files of its own when it starts.
            until("it has what any other has", || {
                descriptors(pid) == descriptors(other.id())
            });
            send(pid, Signal::SIGKILL);
        }
        other.kill().unwrap();
        other.wait().unwrap();
        ends(session);
    });
}

/// What its descriptors lead to, without the streams that it writes to.
fn targets(pid: u32) -> BTreeSet<PathBuf> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let others = open.filter(|entry| !["1", "2"].iter().any(|fd| entry.file_name() == *fd));
    others
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .collect()
}

#[test]
fn j03_a_worker_has_no_descriptor_of_the_monitor() {
    row(&[], || {
        let mut session = Start::config(r#""restart":{"minDelaySeconds":0}"#).run(FAULTY);
        let mut worker = session.expect_spawn();
        session.expect_ready();
        session.get("/");
        let first = descriptors(worker);
        for _ in 0..20 {
            send(worker, Signal::SIGKILL);
            worker = session.expect_spawn();
            session.expect_ready();
        }
        session.get("/");
        assert_eq!(descriptors(worker), first);
        // What the launcher of all this has left open goes through, to any process.
        let own = &targets(worker) - &targets(std::process::id());
        let both = &own & &targets(session.child.id());
        assert_eq!(both.len(), 1, "the held listener alone: {both:?}");
        ends(session);
    });
}

#[test]
fn j05_a_port_that_is_taken_is_told_with_who_has_it() {
    row(&[], || {
        let mut start = Start::config(LIMITED);
        start.config += r#","pollingRoute":null"#;
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let script = format!(
            "sed -i 's/\"server\":[0-9]*/\"server\":{port}/' session.config.json && exec \"$0\""
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script, FAULTY]);
        let mut session = start.run_piped(command);
        assert_eq!(session.wait().0.code(), Some(75));
        let log = session.rest();
        assert!(log.contains("Address already in use"), "{log}");
        assert!(
            log.contains(&format!("pid {} (", std::process::id())),
            "{log}"
        );
    });
}

#[test]
fn j05_a_port_that_may_not_be_bound_and_an_address_that_is_not_here_are_told() {
    let needs = [Need::Program("setpriv")];
    row(&needs, || {
        let nobody = "chmod 777 . && exec 9<\"$0\" && exec setpriv --reuid 65534 --clear-groups \
            --bounding-set=-all --inh-caps=-all /proc/self/fd/9";
        let privileged = "sed -i 's/\"server\":[0-9]*/\"server\":80/' session.config.json && ";
        for (config, script, told) in [
            (
                r#""allowPrivilegedPorts":true"#,
                format!("{privileged}{nobody}"),
                "Permission denied",
            ),
            (
                r#""host":"192.0.2.1""#,
                "exec \"$0\"".to_owned(),
                "Cannot assign requested address",
            ),
        ] {
            let config = format!(r#"{LIMITED},"pollingRoute":null,{config}"#);
            let mut command = Command::new("sh");
            command.args(["-c", &script, FAULTY]);
            let mut session = Start::config(&config).run_piped(command);
            assert_eq!(session.wait().0.code(), Some(75), "{}", session.so_far());
            let log = session.rest();
            assert!(log.contains(told), "{told}: {log}");
        }
    });
}

#[test]
fn j05_a_change_to_a_port_that_is_taken_changes_nothing() {
    row(&[], || {
        let mut session = Start::default().run(FAULTY);
        let worker = session.expect_spawn();
        session.expect_ready();
        let taken = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let port = taken.local_addr().unwrap().port();
        for restart in ["true", "false"] {
            session.enter(&format!("set server port {port} {restart}"));
            session.expect("Address already in use");
        }
        assert_eq!(session.worker(None), worker);
        let environment = fs::read(format!("/proc/{worker}/environ")).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains("LISTEN_"));
        ends(session);
    });
}
