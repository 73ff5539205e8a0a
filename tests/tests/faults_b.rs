//! Rows B of the fault matrix: stop and signals.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use session_tests::faults::{Need, row};
use session_tests::inject::{Dice, Footprint, Group, children_of, from_the_start, send, until};
use session_tests::processes::Process;
use session_tests::running::{PATIENCE, Running, Start, ask, expect_gone};

const FAULTY: &str = env!("CARGO_BIN_EXE_faulty");
const GRACE: &str = r#""restart":{"minDelaySeconds":0},"stop":{"graceSeconds":0.5}"#;
/// The grace period, the second after SIGTERM, and what a busy machine adds.
const LADDER: Duration = Duration::from_millis(2500);
const FORCED: Duration = Duration::from_millis(700);
const STRACE: Need = Need::Program("strace");

fn start(mode: &str) -> (Running, u32) {
    let mut session = Start::config(GRACE).file("mode", mode).run(FAULTY);
    let worker = session.expect_spawn();
    session.expect_ready();
    (session, worker)
}

#[track_caller]
fn expect_end(session: &mut Running, code: i32, within: Duration) {
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(code));
    assert!(took <= within, "took {took:?}, expected at most {within:?}");
}

/// The exit handlers that ran, in the order of their names.
fn ended(session: &Running) -> Vec<String> {
    let text = fs::read_to_string(session.folder().join("ended")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn b01_a_worker_whose_handlers_hang_is_gone_in_time_with_all_it_started() {
    row(&[], || {
        let (mut session, worker) = start("hang-exit ignore-term");
        let child = session.get("/child");
        let child = child.rsplit(' ').next().unwrap().trim().parse().unwrap();
        session.enter("exit clean");
        expect_end(&mut session, 0, LADDER);
        expect_gone(worker, Duration::from_millis(100));
        expect_gone(child, Duration::from_millis(100));
    });
}

#[test]
fn b01_a_worker_that_heeds_neither_its_channel_nor_sigterm_is_killed_in_time() {
    row(&[], || {
        let (mut session, worker) = start("");
        fs::write(session.folder().join("mode"), "mute ignore-term").unwrap();
        send(worker, Signal::SIGKILL);
        let worker = session.expect_spawn();
        until("it ignores SIGTERM", || {
            let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
            line.is_some_and(|bits| u64::from_str_radix(bits.trim(), 16).unwrap() & 1 << 14 != 0)
        });
        session.enter("exit clean");
        session.expect("sending SIGTERM");
        session.expect("sending SIGKILL");
        expect_end(&mut session, 0, LADDER);
        assert!(session.rest().contains("has exited: SIGKILL"));
    });
}

#[test]
fn b02_a_stopped_worker_is_ended_like_any_other() {
    row(&[], || {
        let (mut session, worker) = start("");
        send(worker, Signal::SIGSTOP);
        until("it is stopped", || {
            Process::of(worker).is_some_and(|process| process.state == 'T')
        });
        session.enter("exit clean");
        expect_end(&mut session, 0, LADDER);
        // SIGCONT lets it meet SIGTERM, and its handlers run.
        assert_eq!(ended(&session).len(), 2, "{:?}", ended(&session));
        let log = session.rest();
        assert!(!log.contains("sending SIGKILL"), "{log}");
        let told = "after its grace period (its process is stopped (T)); sending SIGTERM";
        assert!(log.contains(told), "{log}");
    });
}

#[test]
fn b02_a_stopped_worker_that_is_probed_is_said_to_be_stopped() {
    row(&[], || {
        let config = r#""restart":{"minDelaySeconds":0},"stop":{"graceSeconds":0.1},
            "pollingIntervalSeconds":1,"pollingTimeoutSeconds":0.2"#;
        let mut session = Start::config(config).run(FAULTY);
        let worker = session.expect_spawn();
        session.expect_ready();
        send(worker, Signal::SIGSTOP);
        let line = session.expect("is replaced: ");
        assert!(line.ends_with("; its process is stopped (T)"), "{line}");
        session.expect_ready();
        session.enter("reports 1");
        session.expect("; its process is stopped (T)");
        session.enter("exit clean");
        expect_end(&mut session, 0, LADDER);
    });
}

#[test]
fn b02_a_worker_that_is_stopped_and_traced_is_ended_too() {
    row(&[STRACE], || {
        let (mut session, worker) = start("hang-exit ignore-term");
        let mut tracer = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-p", &worker.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        until("it is traced", || {
            let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
            !status.contains("TracerPid:\t0\n")
        });
        send(worker, Signal::SIGSTOP);
        session.enter("exit clean");
        expect_end(&mut session, 0, LADDER);
        expect_gone(worker, Duration::from_millis(100));
        tracer.wait().unwrap();
    });
}

#[test]
fn b03_a_worker_that_cannot_be_killed_has_no_second_one_beside_it() {
    let needs = [Need::Path("/sys/fs/cgroup/freezer")];
    row(&needs, || {
        let group = Group::new("freezer");
        let (mut session, worker) = start("");
        group.set("cgroup.procs", &worker.to_string());
        group.set("freezer.state", "FROZEN");
        session.enter("restart force");
        session.expect("cannot be killed: it is stuck in the kernel");
        // It stays responsive.
        session.enter("status");
        session.expect("state: unkillable");
        session.enter("restart force");
        session.expect("the old worker cannot be killed, so no other can be started");
        assert_eq!(children_of(session.child.id()).len(), 1);
        group.set("freezer.state", "THAWED");
        session.expect("has exited: SIGKILL");
        let worker = session.expect_spawn();
        session.expect_ready();
        // And a stop ends nevertheless.
        group.set("cgroup.procs", &worker.to_string());
        group.set("freezer.state", "FROZEN");
        session.enter("exit force");
        session.expect("cannot be killed");
        expect_end(&mut session, 71, Duration::from_secs(1));
        group.set("freezer.state", "THAWED");
        expect_gone(worker, PATIENCE);
    });
}

/// By a command or by a signal.
fn ask_for(session: &mut Running, what: &str) {
    if what.starts_with(char::is_uppercase) {
        session.signal(what);
    } else {
        session.enter(what);
    }
}

#[test]
fn b04_whoever_asks_again_escalates_and_nothing_makes_a_stop_gentler() {
    row(&[], || {
        let pairs = [
            ("exit clean", Some("exit force")),
            ("exit clean", Some("TERM")),
            ("TERM", Some("INT")),
            ("TERM", Some("exit clean")),
            ("exit force\nexit clean", None),
            ("restart clean", Some("exit force")),
            ("reload", Some("exit force")),
        ];
        for (first, second) in pairs {
            let (mut session, worker) = start("hang-exit ignore-term");
            ask_for(&mut session, first);
            session.expect("ing ");
            // Signals that are closer than 25 ms are one.
            thread::sleep(Duration::from_millis(60));
            if let Some(second) = second {
                ask_for(&mut session, second);
            }
            let (status, took) = session.wait();
            assert_eq!(status.code(), Some(0), "{first}, {second:?}");
            assert!(took <= FORCED, "{first}, {second:?}: {took:?}");
            expect_gone(worker, Duration::from_millis(100));
            let log = session.rest();
            assert!(!log.contains("sending SIGTERM"), "{log}");
        }
    });
}

#[test]
fn b05_a_signal_at_any_instant_of_the_start_leaves_nobody_behind() {
    row(&[], || {
        for step in 0..50_u64 {
            let mut session = Start::config(GRACE).run(FAULTY);
            thread::sleep(Duration::from_millis(step));
            let signal = ["TERM", "INT"][usize::from(step % 2 == 1)];
            session.signal(signal);
            let (status, took) = session.wait();
            // Before there is a handler, there is no worker either.
            let is_default = status.code().is_none();
            assert!(is_default || status.code() == Some(0), "{step}: {status}");
            assert!(took < LADDER, "{step}: {took:?}");
            let log = session.rest();
            assert!(!is_default || !log.contains("spawned"), "{step}: {log}");
        }
    });
}

#[test]
fn b05_a_signal_while_a_worker_is_being_spawned_is_not_lost() {
    row(&[STRACE], || {
        // The process is there, and its parent does not know of it yet, for 300 ms.
        let mut args = from_the_start("clone,clone3,vfork", "delay_exit=80000");
        args.push(FAULTY.to_owned());
        for pause in [0, 20, 40, 60, 100] {
            let mut command = Command::new("strace");
            command.args(&args);
            let mut session = Start::config(GRACE).run_piped(command);
            let monitor = session.child.id();
            // (The one that traces is a child too, for a moment.)
            let is_worker = |&(pid, _): &(u32, char)| {
                let name = fs::read_to_string(format!("/proc/{pid}/comm"));
                name.is_ok_and(|name| name == "faulty\n")
            };
            until("it has a worker", || {
                children_of(monitor).iter().any(is_worker)
            });
            thread::sleep(Duration::from_millis(pause));
            session.signal("TERM");
            expect_end(&mut session, 0, PATIENCE);
        }
    });
}

#[test]
fn b06_exit_handlers_run_once_whatever_they_do_and_whoever_asks() {
    row(&[], || {
        for mode in [
            "",
            "panic-exit",
            "abort-exit",
            "exit-exit",
            "monitor-panic-exit",
        ] {
            let mut session = Start::config(GRACE).args(&[mode]).run(FAULTY);
            let worker = session.expect_spawn();
            session.expect_ready();
            // From three sources, as close as they come.
            let port = session.port;
            let visitor = thread::spawn(move || drop(ask(port, "GET", "/kill", "")));
            send(worker, Signal::SIGTERM);
            session.enter("restart clean");
            session.enter("set server port 1 true");
            visitor.join().unwrap();
            session.enter("exit clean");
            let (status, took) = session.wait();
            assert!(matches!(status.code(), Some(0 | 7)), "{mode}: {status}");
            assert!(took < LADDER, "{mode}: {took:?}");
            let ended = ended(&session);
            let log = session.rest();
            let of = |who: &str| ended.iter().filter(|line| line.starts_with(who)).count();
            assert_eq!(of("monitor: "), 1, "{mode}: {ended:?}\n{log}");
            // A second worker may have come before the stop; each has its own handlers.
            let workers = log.matches("spawned new").count();
            assert!(of("worker: ") <= workers, "{mode}: {ended:?}\n{log}");
        }
    });
}

#[test]
fn b07_a_storm_of_signals_loses_no_stop_and_leaves_nothing() {
    row(&[], || {
        let (mut session, worker) = start("");
        let monitor = session.child.id();
        let before = Footprint::of(monitor).unwrap();
        let harmless = [
            Signal::SIGCHLD,
            Signal::SIGWINCH,
            Signal::SIGPIPE,
            Signal::SIGURG,
            Signal::SIGCONT,
            Signal::SIGUSR1,
            Signal::SIGXFSZ,
        ];
        for round in 0..10_000 {
            assert!(send(monitor, harmless[round % harmless.len()]));
        }
        assert_eq!(session.worker(None), worker);
        until("nothing is left of it", || {
            let now = Footprint::of(monitor).unwrap();
            now.threads == before.threads && now.descriptors <= before.descriptors
        });
        let after = Footprint::of(monitor).unwrap();
        assert!(after.resident_kib < before.resident_kib + 1024, "{after:?}");
        // And one of those that end it, at a time when more come.
        let storm = thread::spawn(move || {
            for round in 0..2_000 {
                send(monitor, harmless[round % harmless.len()]);
            }
        });
        session.signal("TERM");
        expect_end(&mut session, 0, LADDER);
        storm.join().unwrap();
        assert_eq!(ended(&session).len(), 2);
    });
}

#[test]
fn b07_a_signal_to_reload_before_there_is_anything_to_reload_ends_nothing() {
    row(&[STRACE], || {
        let mut args = from_the_start("openat,open", "delay_enter=300000");
        args.extend(["-P", "session.config.json", FAULTY].map(str::to_owned));
        let mut command = Command::new("strace");
        command.args(args);
        let mut session = Start::config(GRACE).run_piped(command);
        session.expect("validating configuration...");
        for signal in [Signal::SIGUSR2, Signal::SIGUSR1, Signal::SIGXFSZ] {
            send(session.child.id(), signal);
        }
        session.expect_ready();
        session.enter("exit clean");
        expect_end(&mut session, 0, LADDER);
    });
}

#[test]
fn b07_a_hang_up_during_a_stop_does_not_cancel_it() {
    row(&[], || {
        let (mut session, _) = start("hang-exit");
        session.signal("TERM");
        session.expect("exiting session cleanly");
        thread::sleep(Duration::from_millis(60));
        for _ in 0..100 {
            send(session.child.id(), Signal::SIGHUP);
        }
        expect_end(&mut session, 0, LADDER);
    });
}

#[test]
fn b07_many_reloads_by_signal_are_one_or_a_few() {
    row(&[], || {
        let (mut session, _) = start("");
        for _ in 0..1_000 {
            send(session.child.id(), Signal::SIGUSR2);
        }
        session.expect("generation 2 has taken over");
        session.expect("(generation 1) has exited: exit code 0");
        session.signal("TERM");
        expect_end(&mut session, 0, LADDER);
        let log = session.rest();
        assert!(!log.contains("crash report"), "{log}");
    });
}

/// With a probe in flight most of the time, and no failure tolerated.
const WATCHED: &str = r#""pollingRoute":"/slow","pollingIntervalSeconds":1,
    "pollingTimeoutSeconds":0.9,"stop":{"graceSeconds":0.5}"#;

#[test]
fn b10_a_monitor_that_was_suspended_blames_no_worker() {
    row(&[], || {
        let dice = &mut Dice::new(10);
        let mut sessions: Vec<(Running, u32)> = (0..6)
            .map(|_| {
                let mut session = Start::config(WATCHED).run(FAULTY);
                let worker = session.expect_spawn();
                session.expect_ready();
                (session, worker)
            })
            .collect();
        for _ in 0..2 {
            for (session, _) in &sessions {
                thread::sleep(Duration::from_millis(dice.below(170)));
                send(session.child.id(), Signal::SIGSTOP);
            }
            thread::sleep(Duration::from_secs(2));
            for (session, _) in &sessions {
                send(session.child.id(), Signal::SIGCONT);
            }
        }
        let watched = Instant::now() + Duration::from_millis(1500);
        for (session, worker) in &mut sessions {
            while let Some(line) = session.line_until(watched) {
                assert!(!line.contains("failed a probe"), "{line}");
            }
            assert_eq!(session.worker(None), *worker);
        }
        for (mut session, _) in sessions {
            session.signal("TERM");
            expect_end(&mut session, 0, LADDER);
        }
    });
}

#[test]
fn b10_a_whole_session_that_was_suspended_goes_on() {
    row(&[], || {
        let mut session = Start::config(WATCHED).run(FAULTY);
        let worker = session.expect_spawn();
        session.expect_ready();
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(400));
            send(session.child.id(), Signal::SIGSTOP);
            send(worker, Signal::SIGSTOP);
            thread::sleep(Duration::from_millis(1500));
            send(worker, Signal::SIGCONT);
            send(session.child.id(), Signal::SIGCONT);
        }
        let watched = Instant::now() + Duration::from_millis(1500);
        while let Some(line) = session.line_until(watched) {
            assert!(!line.contains("failed a probe"), "{line}");
        }
        assert_eq!(session.worker(None), worker);
        session.signal("TERM");
        expect_end(&mut session, 0, LADDER);
    });
}

#[test]
fn b10_a_starved_session_is_not_taken_for_a_sick_one() {
    let needs = [Need::Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")];
    row(&needs, || {
        let group = Group::new("cpu");
        let config = r#""pollingIntervalSeconds":1,"pollingTimeoutSeconds":1"#;
        let mut session = Start::config(config).run_piped(group.command(FAULTY));
        let worker = session.expect_spawn();
        session.expect_ready();
        // A twentieth of a processor, for both.
        group.set("cpu.cfs_quota_us", "5000");
        let watched = Instant::now() + Duration::from_secs(5);
        while let Some(line) = session.line_until(watched) {
            assert!(!line.contains("is replaced"), "{line}");
        }
        assert_eq!(session.worker(None), worker);
        session.signal("TERM");
        expect_end(&mut session, 0, PATIENCE);
    });
}

#[test]
fn b11_the_first_reason_is_kept_and_there_is_one_end() {
    row(&[], || {
        let (mut session, _) = start("");
        let _ = session.ask("GET", "/kill-and-crash", "");
        expect_end(&mut session, 7, LADDER);
        let log = session.rest();
        assert_eq!(log.matches("reason: ").count(), 1, "{log}");
        assert!(log.contains("reason: a visitor"), "{log}");
        assert_eq!(log.matches("spawned new").count(), 1, "{log}");
        // Two who ask for different codes: the first one's is it.
        let (mut session, _) = start("hang-exit");
        session.get("/kill");
        session.expect("exiting session cleanly");
        session.enter("exit clean");
        expect_end(&mut session, 7, LADDER);
        let log = session.rest();
        assert_eq!(log.matches("reason: ").count(), 1, "{log}");
    });
}

#[test]
fn b12_as_process_1_it_is_a_session_like_any_other() {
    row(&[], || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", FAULTY]);
        let mut session = Start::config(GRACE).run_piped(command);
        session.expect_ready();
        let unshare = session.child.id();
        let monitor = children_of(unshare)[0].0;
        let worker = children_of(monitor)[0].0;
        session.get("/escape");
        let escaped = children_of(worker)[0].0;
        until("it has left the group", || {
            Process::of(escaped).is_some_and(|process| process.group == escaped)
        });
        // What nobody else waits for is left to process 1, and is not taken for a worker.
        send(worker, Signal::SIGKILL);
        session.expect("has exited: SIGKILL");
        session.expect_ready();
        until("it is left to process 1", || {
            Process::of(escaped).is_some_and(|process| process.parent == monitor)
        });
        send(escaped, Signal::SIGKILL);
        until("it is reaped", || Process::of(escaped).is_none());
        session.enter("status");
        session.expect("restarts: 1");
        send(monitor, Signal::SIGTERM);
        expect_end(&mut session, 0, LADDER);
        assert_eq!(ended(&session).len(), 2, "{:?}", ended(&session));
    });
}
