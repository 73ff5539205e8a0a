//! Rows A of the fault matrix: spawn, death, respawn.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use session_tests::faults::{Need, row};
use session_tests::inject::{
    Group, Window, children_of, descriptors, from_the_start, limit, send, until,
};
use session_tests::processes::Process;
use session_tests::running::{PATIENCE, Running, Start, expect_gone, folder};

const FAULTY: &str = env!("CARGO_BIN_EXE_faulty");
const HOLDS: &str = env!("CARGO_BIN_EXE_holds");
const AT_ONCE: &str = r#""restart":{"minDelaySeconds":0},"stop":{"graceSeconds":0.3}"#;
const STRACE: Need = Need::Program("strace");

fn start(config: &str) -> (Running, u32) {
    let mut session = Start::config(config).run(FAULTY);
    let worker = session.expect_spawn();
    session.expect_ready();
    (session, worker)
}

fn set_mode(session: &Running, mode: &str) {
    fs::write(session.folder().join("mode"), mode).unwrap();
}

#[track_caller]
fn expect_end(mut session: Running, code: i32) -> String {
    session.enter("exit clean");
    assert_eq!(session.wait().0.code(), Some(code));
    session.rest()
}

/// The pid in an answer like `child 4711`.
fn pid_in(answer: &str) -> u32 {
    let digits = answer.split(|letter: char| !letter.is_ascii_digit());
    digits
        .filter_map(|part| part.parse().ok())
        .next_back()
        .unwrap()
}

#[test]
fn a01_a_worker_killed_at_any_point_is_replaced() {
    row(&[], || {
        // Before its hello, which the first ones say late, during the handshake, before it serves,
        // and after.
        let mut session = Start::config(AT_ONCE).args(&["late"]).run(FAULTY);
        for step in 0..60 {
            if step == 10 {
                set_mode(&session, "");
            }
            let worker = session.expect_spawn();
            thread::sleep(Duration::from_millis(step));
            assert!(send(worker, Signal::SIGKILL));
            let generation = step + 1;
            session.expect(&format!(
                "process id {worker} (generation {generation}) has exited: SIGKILL"
            ));
        }
        // While it drains.
        session.expect_ready();
        set_mode(&session, "hang-exit");
        session.enter("restart clean");
        let draining = session.expect_spawn();
        session.expect_ready();
        session.enter("restart clean");
        session.expect("restarting the worker cleanly");
        assert!(send(draining, Signal::SIGKILL));
        session.expect("has exited: SIGKILL");
        session.expect_ready();
        let log = expect_end(session, 0);
        assert_eq!(log.matches("crash report, ").count(), 60, "{log}");
    });
}

#[test]
fn a01_a_request_to_a_worker_that_dies_ends_at_once() {
    row(&[], || {
        let (mut session, worker) = start(AT_ONCE);
        session.enter("ask");
        session.expect("asking");
        // It is on its way, or there.
        thread::sleep(Duration::from_millis(50));
        send(worker, Signal::SIGKILL);
        let killed = Instant::now();
        session.expect("asked: Err(the other process ended before it answered)");
        assert!(killed.elapsed() < Duration::from_secs(1));
        expect_end(session, 0);
    });
}

#[test]
fn a02_every_way_to_die_at_once_is_within_the_budget() {
    row(&[], || {
        let modes = ["exit=0", "exit=1", "abort"];
        // Those that are never ready, and those that are by their handshake.
        for (mode, route) in modes
            .into_iter()
            .flat_map(|mode| [(mode, r#""/""#), (mode, "null")])
        {
            let config = format!(
                r#""restart":{{"minDelaySeconds":0.02,"jitter":0,"maxFailures":4}},"pollingRoute":{route}"#
            );
            let mut session = Start::config(&config).run(FAULTY);
            session.expect_spawn();
            session.expect("__server__: ");
            set_mode(&session, mode);
            let killed = pid_in(&session.get("/").replace(", generation 1", ""));
            send(killed, Signal::SIGKILL);
            assert_eq!(session.wait().0.code(), Some(75), "{mode}");
            let log = session.rest();
            assert_eq!(log.matches("spawned new").count(), 4, "{mode}: {log}");
            for delay in ["0.020", "0.040", "0.080"] {
                let line = format!("starting the next worker in {delay} s");
                assert_eq!(log.matches(&line).count(), 1, "{mode}: {log}");
            }
            assert!(log.contains("giving up: 4 failures"), "{mode}: {log}");
            let told = fs::read_to_string(session.folder().join("ended")).unwrap();
            let why = "monitor: the session gave up after a crash loop\n";
            assert_eq!(told.matches(why).count(), 1, "{mode}: {told}");
        }
    });
}

#[test]
fn a03_a_death_that_races_with_a_stop_starts_nothing() {
    row(&[], || {
        for round in 0..16 {
            let (mut session, worker) = start(AT_ONCE);
            let pause = Duration::from_micros(250 * (round / 4));
            match round % 4 {
                0 => {
                    session.enter("exit clean");
                    thread::sleep(pause);
                    send(worker, Signal::SIGKILL);
                }
                1 => {
                    send(worker, Signal::SIGKILL);
                    thread::sleep(pause);
                    session.enter("exit clean");
                }
                2 => {
                    session.enter("restart clean");
                    thread::sleep(pause);
                    session.signal("TERM");
                }
                _ => {
                    session.enter("reload");
                    thread::sleep(pause * 4);
                    send(worker, Signal::SIGKILL);
                    session.enter("exit clean");
                }
            }
            let (status, took) = session.wait();
            assert_eq!(status.code(), Some(0), "round {round}");
            assert!(took < Duration::from_secs(3), "round {round}: {took:?}");
            let log = session.rest();
            let (_, after) = log.split_once("exiting session").unwrap();
            assert!(!after.contains("spawned"), "round {round}: {log}");
        }
    });
}

/// Kills the worker while `fault` stands in the way of the next one; it comes by itself once the
/// fault is gone, and nothing is left of the attempts.
fn is_retried(told: &str, fault: impl FnOnce(u32) -> Box<dyn FnOnce()>) {
    let (mut session, worker) =
        start(r#""restart":{"minDelaySeconds":0.05,"maxDelaySeconds":0.2}"#);
    let monitor = session.child.id();
    let before = quiet_descriptors(monitor);
    let undo = fault(monitor);
    send(worker, Signal::SIGKILL);
    for generation in 2..5 {
        let line = session.expect("the worker could not be started: ");
        assert!(line.contains(told), "{line}");
        session.expect(&format!("crash report, generation {generation}: "));
        session.expect("starting the next worker in ");
    }
    undo();
    session.expect_spawn();
    session.expect_ready();
    until("as many descriptors as before", || {
        descriptors(monitor) == before
    });
    expect_end(session, 0);
}

/// Those that are there to stay, and not a probe's connection.
fn quiet_descriptors(pid: u32) -> std::collections::BTreeMap<String, usize> {
    loop {
        let seen = descriptors(pid);
        thread::sleep(Duration::from_millis(20));
        if descriptors(pid) == seen {
            return seen;
        }
    }
}

fn window(calls: &'static str, fault: &'static str) -> impl FnOnce(u32) -> Box<dyn FnOnce()> {
    move |monitor| {
        let window = Window::open(monitor, calls, fault);
        Box::new(move || window.close())
    }
}

#[test]
fn a04_a_lack_of_descriptors_is_retried() {
    row(&[Need::Program("prlimit")], || {
        is_retried("Too many open files", |monitor| {
            limit(monitor, "--nofile=8:1024");
            Box::new(move || limit(monitor, "--nofile=1024:1024"))
        });
    });
}

#[test]
fn a04_a_lack_of_processes_is_retried() {
    row(&[STRACE], || {
        is_retried(
            "Resource temporarily unavailable",
            window("clone,clone3,vfork,fork", "error=EAGAIN"),
        );
    });
}

#[test]
fn a04_a_lack_of_memory_for_processes_is_retried() {
    row(&[STRACE], || {
        is_retried(
            "Cannot allocate memory",
            window("clone,clone3,vfork,fork", "error=ENOMEM"),
        );
    });
}

#[test]
fn a04_a_lack_of_socket_pairs_is_retried() {
    row(&[STRACE], || {
        is_retried(
            "Too many open files in system",
            window("socketpair", "error=ENFILE"),
        );
    });
}

#[test]
fn a04_a_lack_of_pipes_is_retried() {
    row(&[STRACE], || {
        is_retried("Too many open files", window("pipe2", "error=EMFILE"));
    });
}

#[test]
fn a05_a_program_that_cannot_be_executed_is_retried() {
    row(&[STRACE], || {
        is_retried(
            "No such file or directory",
            window("execve,execveat", "error=ENOENT"),
        );
    });
}

#[test]
fn a06_a_worker_that_says_no_hello_is_replaced_and_can_be_stopped() {
    row(&[], || {
        let (mut session, worker) = start(AT_ONCE);
        set_mode(&session, "garbled");
        send(worker, Signal::SIGKILL);
        session.expect("did not complete its handshake");
        session.expect("crash report, generation 2: failed start");
        set_mode(&session, "mute");
        session.expect_spawn();
        // It stands in the way of no stop.
        session.enter("exit clean");
        let (status, took) = session.wait();
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(3), "{took:?}");
    });
}

#[test]
fn a06_a_worker_that_is_stopped_before_its_hello_is_replaced() {
    row(&[], || {
        let config = format!(r#"{AT_ONCE},"startupTimeoutSeconds":6"#);
        let mut session = Start::config(&config).args(&["late"]).run(FAULTY);
        let worker = session.expect_spawn();
        let spawned = Instant::now();
        send(worker, Signal::SIGSTOP);
        session.expect("did not complete its handshake");
        let took = spawned.elapsed();
        assert!((4..7).contains(&took.as_secs()), "{took:?}");
        session.expect("has exited: SIG");
        // And one that is only late is not.
        session.expect_spawn();
        session.expect_ready();
        let log = expect_end(session, 0);
        assert_eq!(log.matches("spawned new").count(), 2, "{log}");
    });
}

#[test]
fn a07_what_a_worker_leaves_in_its_group_goes_before_the_next_one_starts() {
    row(&[], || {
        let (mut session, worker) = start(AT_ONCE);
        let child = pid_in(session.get("/child").split("child").nth(1).unwrap());
        let escaped = pid_in(session.get("/escape").split("child").nth(1).unwrap());
        until("it has left the group", || {
            Process::of(escaped).is_some_and(|process| process.group == escaped)
        });
        send(worker, Signal::SIGKILL);
        session.expect_spawn();
        // Killed before the next one was started; dying takes a moment of its own.
        until("it is gone", || {
            Process::of(child).is_none_or(|process| process.state == 'Z')
        });
        session.expect_ready();
        // What has left the group is told, is left alone, and is reaped when it dies.
        session.expect(&format!(
            "1 process in no worker's group outlives whoever started it: pid {escaped} (sleep)"
        ));
        let process = Process::of(escaped).unwrap();
        assert_eq!(process.parent, session.child.id());
        assert_ne!(process.state, 'Z');
        let lines = session.get("/escape");
        let second = pid_in(lines.split("child").nth(1).unwrap());
        until("it has left the group", || {
            Process::of(second).is_some_and(|process| process.group == second)
        });
        session.enter("restart force");
        // Each is told once.
        session.expect(&format!("whoever started it: pid {second} (sleep)"));
        for orphan in [escaped, second] {
            send(orphan, Signal::SIGKILL);
            until("it is reaped", || Process::of(orphan).is_none());
        }
        assert_eq!(children_of(session.child.id()).len(), 1);
        expect_end(session, 0);
    });
}

#[test]
fn a07_a_child_of_the_monitors_own_is_left_to_it() {
    row(&[], || {
        let mut session = Start::config(AT_ONCE).args(&["own-child"]).run(FAULTY);
        let worker = session.expect_spawn();
        session.expect_ready();
        for _ in 0..20 {
            session.get("/escape");
        }
        send(worker, Signal::SIGKILL);
        session.expect("20 processes in no worker's group");
        let monitor = session.child.id();
        let orphans = children_of(monitor).into_iter().map(|(pid, _)| pid);
        for orphan in orphans.filter(|pid| Process::of(*pid).unwrap().group == *pid) {
            send(orphan, Signal::SIGKILL);
        }
        // Its status is the program's to read: who reaped it would take that away.
        session.enter("own");
        session.expect("own child: Ok(ExitStatus(unix_wait_status(768)))");
        expect_end(session, 0);
    });
}

#[test]
fn a08_a_pid_that_is_used_again_is_never_signalled() {
    let last = "/proc/sys/kernel/ns_last_pid";
    row(&[STRACE, Need::Path(last)], || {
        let (mut session, worker) =
            start(r#""restart":{"minDelaySeconds":20},"stop":{"graceSeconds":0.1}"#);
        // The monitor sits in the call that reaps while the decoy takes the place of the dead.
        let window = Window::open(session.child.id(), "wait4", "delay_exit=700000");
        send(worker, Signal::SIGKILL);
        until("it is reaped", || Process::of(worker).is_none());
        let deadline = Instant::now() + Duration::from_millis(600);
        let mut decoy = loop {
            fs::write(last, (worker - 1).to_string()).unwrap();
            let mut decoy = Command::new("sleep")
                .arg("1000")
                .process_group(0)
                .spawn()
                .unwrap();
            if decoy.id() == worker {
                break decoy;
            }
            decoy.kill().unwrap();
            decoy.wait().unwrap();
            assert!(Instant::now() < deadline, "no decoy");
        };
        session.expect("has exited: SIGKILL");
        window.close();
        session.enter("restart force");
        session.expect_spawn();
        session.enter("exit clean");
        session.enter("exit force");
        assert_eq!(session.wait().0.code(), Some(0));
        assert!(decoy.try_wait().unwrap().is_none(), "it was signalled");
        decoy.kill().unwrap();
        decoy.wait().unwrap();
    });
}

/// The bits of a line of `/proc/PID/status`.
fn bits(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

#[test]
fn a09_signals_that_a_launcher_blocked_or_ignored_work() {
    row(&[], || {
        let mut command = Command::new("env");
        command.args([
            "--ignore-signal=CHLD,TERM,INT,USR1",
            "--block-signal=TERM,INT,CHLD,USR2",
            FAULTY,
        ]);
        let mut session = Start::config(AT_ONCE).run_piped(command);
        let worker = session.expect_spawn();
        session.expect_ready();
        assert_eq!(bits(worker, "SigBlk:"), 0);
        let ignored = bits(worker, "SigIgn:");
        for signal in [Signal::SIGCHLD, Signal::SIGTERM] {
            assert_eq!(ignored & (1 << (signal as u64 - 1)), 0, "{signal}");
        }
        set_mode(&session, "exit=3");
        send(worker, Signal::SIGKILL);
        session.expect("has exited: SIGKILL");
        session.expect("has exited: exit code 3");
        set_mode(&session, "");
        session.expect_ready();
        session.signal("TERM");
        assert_eq!(session.wait().0.code(), Some(0));
    });
}

#[test]
fn a10_without_its_monitor_a_worker_ends_and_its_port_is_free() {
    row(&[], || {
        for mode in ["", "hang-exit ignore-term"] {
            let mut session = Start::config(AT_ONCE).file("mode", mode).run(FAULTY);
            let worker = session.expect_spawn();
            session.expect_ready();
            session.child.kill().unwrap();
            session.wait();
            let took = expect_gone(worker, Duration::from_secs(2));
            assert!(took < Duration::from_secs(1), "{took:?}");
            let ended = fs::read_to_string(session.folder().join("ended"));
            assert_eq!(ended.unwrap(), "worker: the monitor is gone\n", "{mode}");
            TcpListener::bind(("127.0.0.1", session.port)).unwrap();
        }
    });
}

#[test]
fn a11_a_thread_that_cannot_be_started_never_leaves_a_session_half_alive() {
    row(&[STRACE], || {
        let mut refused = 0;
        for nth in 1..=12 {
            let mut args = from_the_start("clone3,clone", &format!("error=EAGAIN:when={nth}"));
            args.push(FAULTY.to_owned());
            let mut command = Command::new("strace");
            command.args(args);
            let mut session = Start::config(AT_ONCE).run_piped(command);
            let deadline = Instant::now() + PATIENCE;
            let line = loop {
                let line = session.line_until(deadline).expect("a word");
                if ["session: ", "spawned", "could not be started"]
                    .iter()
                    .any(|word| line.contains(word))
                {
                    break line;
                }
            };
            if line.starts_with("session: ") {
                assert!(line.contains("could not "), "{nth}: {line}");
                assert_eq!(session.wait().0.code(), Some(71), "{nth}: {line}");
                refused += 1;
                continue;
            }
            session.expect_ready();
            expect_end(session, 0);
        }
        assert!(refused >= 6, "{refused}");
    });
}

#[test]
fn a11_no_thread_to_be_had_later_delays_nothing() {
    row(&[STRACE], || {
        let (mut session, worker) = start(AT_ONCE);
        let window = Window::open(session.child.id(), "clone3,clone", "error=EAGAIN");
        // It takes a second thread that waits.
        session.enter("reload");
        session.expect("the reload failed");
        window.close();
        assert_eq!(session.worker(None), worker);
        let window = Window::open(session.child.id(), "clone3,clone", "error=EAGAIN");
        session.enter("exit clean");
        let (status, took) = session.wait();
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(3), "{took:?}");
        window.close();
    });
}

#[test]
fn a11_a_thread_that_panics_ends_the_session_in_good_order() {
    row(&[STRACE], || {
        let (mut session, _) = start(AT_ONCE);
        let monitor = session.child.id();
        // The standard library panics where a sleep fails for no reason that it knows.
        let calls = "poll,ppoll,nanosleep,clock_nanosleep";
        let window = Window::of_thread(monitor, "session-io", calls, "error=EPERM");
        send(monitor, Signal::SIGCHLD);
        session.expect("the thread `session-io` of the monitor has failed");
        let (status, _) = session.wait();
        assert_eq!(status.code(), Some(70));
        drop(window);
        assert!(session.rest().contains("session ended with exit code 70"));
    });
}

/// The signals that end a process that has left them as they are, in a program in Rust.
fn deadly() -> impl Iterator<Item = i32> {
    // CHLD, CONT, URG, WINCH are ignored, PIPE too; STOP, TSTP, TTIN, TTOU stop it; 32 and 33
    // belong to the C library.
    let others = [13, 17, 18, 19, 20, 21, 22, 23, 28, 32, 33];
    (1..=64).filter(move |number| !others.contains(number))
}

#[test]
fn a12_every_exit_code_and_signal_is_told_as_it_is() {
    row(&[], || {
        let config = r#""restart":{"minDelaySeconds":0},"pollingRoute":null"#;
        let mut session = Start::config(config).args(&["codes"]).run(FAULTY);
        for code in 0..256 {
            let generation = code + 1;
            session.expect(&format!(
                "(generation {generation}) has exited: exit code {code}"
            ));
        }
        let mut worker = session.expect_spawn();
        for number in 1..=64 {
            let generation = number + 256;
            if !deadly().any(|deadly| deadly == number) {
                send(worker, Signal::SIGKILL);
                worker = session.expect_spawn();
                continue;
            }
            let name = Signal::try_from(number)
                .map_or_else(|_| format!("signal {number}"), |name| name.to_string());
            let line = session.expect(&format!("(generation {generation}) has exited: "));
            let told = line.split("has exited: ").nth(1).unwrap();
            assert_eq!(told.trim_end_matches(" (core dumped)"), name);
            worker = session.expect_spawn();
        }
        expect_end(session, 0);
    });
}

#[test]
fn a12_a_core_that_was_dumped_is_told() {
    row(&[Need::Program("prlimit")], || {
        let limited = |program: &[&str]| {
            let mut command = Command::new("prlimit");
            command.arg("--core=unlimited").args(program);
            command
        };
        let here = folder();
        let dumps = limited(&["sh", "-c", "kill -ABRT $$"])
            .current_dir(&here)
            .status()
            .unwrap()
            .core_dumped();
        let _ = fs::remove_dir_all(here);
        let config = r#""restart":{"policy":"never"}"#;
        let mut session = Start::config(config).run_piped(limited(&[FAULTY, "abort"]));
        let line = session.expect("has exited: SIGABRT");
        assert_eq!(line.ends_with("SIGABRT (core dumped)"), dumps, "{line}");
        assert_eq!(session.wait().0.code(), Some(128 + 6));
    });
}

#[test]
fn a13_a_worker_that_the_system_ends_for_its_memory_is_replaced() {
    let needs = [Need::Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")];
    row(&needs, || {
        let group = Group::new("memory");
        group.set("memory.limit_in_bytes", "60000000");
        let mut session = Start::config(AT_ONCE).run_piped(group.command(FAULTY));
        session.expect_ready();
        let _ = session.ask("GET", "/eat", "");
        session.expect("(generation 1) has exited: SIGKILL");
        session.expect_ready();
        let log = expect_end(session, 0);
        assert!(log.contains("crash report, generation 1: SIGKILL"), "{log}");
    });
}

#[test]
fn a15_a_second_session_at_the_same_port_is_told_who_has_it() {
    row(&[], || {
        let (mut first, worker) = start(AT_ONCE);
        let config = fs::read_to_string(first.folder().join("session.config.json")).unwrap();
        let config = config.replace(
            r#""minDelaySeconds":0"#,
            r#""minDelaySeconds":0,"maxFailures":2"#,
        );
        let here = folder();
        fs::write(here.join("session.config.json"), config).unwrap();
        let second = Command::new(FAULTY)
            .current_dir(&here)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&second.stdout).into_owned();
        assert_eq!(second.status.code(), Some(75), "{told}");
        assert!(told.contains("Address already in use"), "{told}");
        let holder = format!("pid {} (", first.child.id());
        assert!(told.contains(&holder), "{holder}: {told}");
        assert_eq!(first.worker(None), worker);
        first.enter("status");
        first.expect("restarts: 0");
        expect_end(first, 0);
        let _ = fs::remove_dir_all(here);
        assert!(
            children_of(std::process::id())
                .iter()
                .all(|&(_, state)| state == 'Z')
        );
    });
}

#[test]
fn a16_a_program_that_is_started_without_its_surroundings_is_a_monitor_of_its_own() {
    row(&[], || {
        let mut command = Command::new("env");
        command.args(["-i", HOLDS]);
        let mut session = Start::config(AT_ONCE).run_piped(command);
        session.expect_ready();
        assert_eq!(children_of(session.child.id()).len(), 1);
        expect_end(session, 0);
    });
}
