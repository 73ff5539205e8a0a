//! Rows I of the fault matrix: limits and environment.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use session_tests::faults::{Need, row};
use session_tests::inject::{Group, Window, from_the_start, send};
use session_tests::running::{Running, Start};

const FAULTY: &str = env!("CARGO_BIN_EXE_faulty");
const AT_ONCE: &str = r#""restart":{"minDelaySeconds":0.05,"maxDelaySeconds":0.1},
    "stop":{"graceSeconds":0.3}"#;
const STRACE: Need = Need::Program("strace");
const PRLIMIT: Need = Need::Program("prlimit");
const SETPRIV: Need = Need::Program("setpriv");
const ENDS_WITHIN: Duration = Duration::from_secs(3);

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(args[0]);
    command.args(&args[1..]);
    command
}

fn shell(script: &str, args: &[&str]) -> Command {
    let mut command = command(&["sh", "-c", script]);
    command.args(args);
    command
}

/// It serves, a worker that dies is replaced, and it ends as it is told to.
#[track_caller]
fn lives(session: &mut Running) {
    let worker = session.expect_spawn();
    session.expect_ready();
    send(worker, Signal::SIGKILL);
    session.expect("has exited: SIGKILL");
    session.expect_spawn();
    session.expect_ready();
    ends(session);
}

#[track_caller]
fn ends(session: &mut Running) {
    session.enter("exit clean");
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < ENDS_WITHIN, "{took:?}");
}

/// A folder that `nobody` may write to, as the one that its session runs in.
fn as_nobody(limits: &[&str]) -> Running {
    let mut args = vec![
        "setpriv",
        "--reuid",
        "65534",
        "--clear-groups",
        "--no-new-privs",
    ];
    args.extend(["prlimit"]);
    args.extend(limits);
    // The way to the program may be closed to others; what is open already is not.
    let mut script = command(&["sh", "-c", "chmod 777 . && exec 9<\"$0\" && exec \"$@\""]);
    script.arg(FAULTY).args(args).arg("/proc/self/fd/9");
    Start::config(AT_ONCE).run_piped(script)
}

/// Some machines allow no more than they have.
fn may(limit: &str) -> bool {
    let status = command(&["prlimit", limit, "true"]).status();
    status.unwrap().success()
}

#[test]
fn i01_few_descriptors_are_enough_and_many_cost_nothing() {
    row(&[PRLIMIT], || {
        // As many as there may be.
        for limit in ["--nofile=24:24", "--nofile=1048576:1048576"] {
            if !may(limit) {
                continue;
            }
            let started = Instant::now();
            let limited = command(&["prlimit", limit, FAULTY]);
            let mut session = Start::config(AT_ONCE).run_piped(limited);
            lives(&mut session);
            assert!(started.elapsed() < Duration::from_secs(3), "{limit}");
        }
    });
}

#[test]
fn i01_too_few_descriptors_are_told() {
    row(&[PRLIMIT], || {
        for limit in 3..16 {
            let limited = format!("--nofile={limit}:{limit}");
            let limited = command(&["prlimit", &limited, FAULTY]);
            let mut session = Start::config(AT_ONCE).run_piped(limited);
            let deadline = Instant::now() + ENDS_WITHIN;
            let told = loop {
                match session.line_until(deadline) {
                    Some(line) if line.contains("listening") => break None,
                    // The loader of the program, before there is a main, has its own words.
                    Some(line) if line.contains("ile") && line.contains(": ") => break Some(line),
                    Some(_) => {}
                    None => panic!("{limit}: not a word\n{}", session.so_far()),
                }
            };
            if let Ok(Some(status)) = session.child.try_wait() {
                assert!(told.is_some() && !status.success(), "{limit}: {status}");
                continue;
            }
            session.signal("TERM");
            let (status, took) = session.wait();
            assert!(took < ENDS_WITHIN, "{limit}: {status}, {took:?}");
        }
    });
}

/// By that user: another one may lack the right.
fn limit_of_nobody(session: &Running, limit: &str) {
    let monitor = session.child.id().to_string();
    let status = command(&["setpriv", "--reuid", "65534", "--clear-groups", "prlimit"])
        .args(["--pid", &monitor, limit])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn i01_a_lack_of_processes_for_this_user_is_retried() {
    row(&[PRLIMIT, SETPRIV], || {
        // The user may have others elsewhere: a limit of 1 is reached by any of its threads.
        let mut session = as_nobody(&["--nproc=4096:4096"]);
        let worker = session.expect_spawn();
        session.expect_ready();
        limit_of_nobody(&session, "--nproc=1:4096");
        send(worker, Signal::SIGKILL);
        session.expect("the worker could not be started: ");
        limit_of_nobody(&session, "--nproc=4096:4096");
        session.expect_spawn();
        session.expect_ready();
        ends(&mut session);
    });
}

#[test]
fn i01_a_group_that_may_have_no_more_processes_is_no_end() {
    let needs = [Need::Path("/sys/fs/cgroup/pids")];
    row(&needs, || {
        let group = Group::new("pids");
        let mut session = Start::config(AT_ONCE).run_piped(group.command(FAULTY));
        let worker = session.expect_spawn();
        session.expect_ready();
        group.set("pids.max", "2");
        send(worker, Signal::SIGKILL);
        session.expect("the worker could not be started: ");
        session.expect("Resource temporarily unavailable");
        group.set("pids.max", "max");
        session.expect_spawn();
        session.expect_ready();
        ends(&mut session);
        drop(session);
    });
}

#[test]
fn i01_little_address_space_is_enough_or_is_told() {
    row(&[PRLIMIT], || {
        let mut session =
            Start::config(AT_ONCE).run_piped(command(&["prlimit", "--as=200000000", FAULTY]));
        lives(&mut session);
    });
}

#[test]
fn i02_a_file_system_that_cannot_be_written_is_enough() {
    row(&[], || {
        let script = "mount --bind . . && mount -o remount,ro,bind . && cd . && cd \"$PWD\" && \
            ! touch it 2>/dev/null && mount -t tmpfs -o size=0,ro none /tmp/none 2>/dev/null; \
            exec \"$0\"";
        let mut command = command(&["unshare", "--mount"]);
        command.args(["sh", "-c", script, FAULTY]);
        let mut session = Start::config(AT_ONCE).run_piped(command);
        let worker = session.expect_spawn();
        session.expect_ready();
        let file = Path::new("/proc").join(worker.to_string()).join("cwd/new");
        assert!(fs::write(file, "").is_err(), "it can be written");
        send(worker, Signal::SIGKILL);
        session.expect_spawn();
        session.expect_ready();
        session.enter("exit force");
        assert_eq!(session.wait().0.code(), Some(0));
    });
}

#[test]
fn i02_without_proc_it_runs_and_says_so_once() {
    row(&[], || {
        let script =
            "while umount -l /proc 2>/dev/null; do :; done; ! test -e /proc/self && exec \"$0\"";
        let mut command = command(&["unshare", "--mount"]);
        command.args(["sh", "-c", script, FAULTY]);
        let mut session = Start::config(AT_ONCE).run_piped(command);
        lives(&mut session);
        let log = session.rest();
        assert_eq!(log.matches("there is no /proc").count(), 1, "{log}");
    });
}

#[test]
fn i02_a_working_directory_that_is_gone_is_no_reason_to_end() {
    row(&[], || {
        let mut session = Start::config(AT_ONCE).run(FAULTY);
        let worker = session.expect_spawn();
        session.expect_ready();
        fs::remove_dir_all(session.folder()).unwrap();
        send(worker, Signal::SIGKILL);
        session.expect("has exited: SIGKILL");
        session.expect_spawn();
        session.expect_ready();
        session.enter("reload");
        session.expect("has taken over");
        session.enter("exit force");
        assert_eq!(session.wait().0.code(), Some(0));
    });
}

#[test]
fn i02_any_umask_and_a_relative_path_are_fine() {
    row(&[], || {
        for umask in ["000", "077", "777"] {
            // By a path that means nothing to anybody else.
            let script = format!("cp \"$0\" ./here && umask {umask} && exec ./here");
            let mut session = Start::config(AT_ONCE).run_piped(shell(&script, &[FAULTY]));
            session.expect_spawn();
            session.expect_ready();
            session.enter("reload");
            session.expect("generation 2 has taken over");
            session.expect("(generation 1) has exited");
            let made = fs::read_dir(session.folder()).unwrap().flatten();
            for file in made {
                let mode = file.metadata().unwrap().permissions().mode() & 0o777;
                let name = file.file_name().into_string().unwrap();
                // What the program itself wrote is its own business.
                let known = ["here", "session.config.json", "ended"];
                assert!(known.contains(&name.as_str()), "{name} {mode:o}");
            }
            session.enter("exit force");
            assert_eq!(session.wait().0.code(), Some(0), "{umask}");
        }
    });
}

#[test]
fn i03_calls_that_a_sandbox_does_not_know_are_not_needed() {
    row(&[STRACE], || {
        // An old kernel, and a filter that lets no thread be made by `clone3`.
        for (calls, fault) in [
            ("clone3", "error=ENOSYS"),
            ("pidfd_open,pidfd_send_signal", "error=ENOSYS"),
            ("memfd_create,close_range", "error=EPERM"),
        ] {
            let trace = format!("trace={calls}");
            let inject = format!("inject={calls}:{fault}");
            let mut session = Start::config(AT_ONCE).run_piped(command(&[
                "strace",
                "-D",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &trace,
                "-e",
                &inject,
                FAULTY,
            ]));
            lives(&mut session);
        }
    });
}

#[test]
fn i03_a_filter_that_refuses_new_threads_and_processes_is_told_as_what_it_is() {
    row(&[STRACE], || {
        // The C library knows another call only for one that is not there, and so there is no
        // thread: one error, before anything is bound or started.
        let mut args = from_the_start("clone3,clone", "error=EPERM");
        args.push(FAULTY.to_owned());
        let mut strace = Command::new("strace");
        strace.args(args);
        let mut session = Start::config(AT_ONCE).run_piped(strace);
        assert_eq!(session.wait().0.code(), Some(77));
        let told = session.rest();
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.starts_with("session: could not start "), "{told}");
        assert!(told.contains("Operation not permitted"), "{told}");
        // One that comes while the session runs costs a restart like any other obstacle, and is
        // not mistaken for a file that may not be executed.
        let mut session = Start::config(AT_ONCE).run(FAULTY);
        let worker = session.expect_spawn();
        session.expect_ready();
        let window = Window::open(session.child.id(), "clone3,clone", "error=EPERM");
        send(worker, Signal::SIGKILL);
        for _ in 0..3 {
            let line = session.expect("the worker could not be started: ");
            assert!(line.contains("Operation not permitted"), "{line}");
            session.expect("starting the next worker in ");
        }
        window.close();
        session.expect_spawn();
        session.expect_ready();
        ends(&mut session);
        let log = session.rest();
        assert!(!log.contains("executed"), "{log}");
    });
}

#[test]
fn i03_without_privileges_it_is_a_session_like_any_other() {
    row(&[PRLIMIT, SETPRIV], || {
        let mut session = as_nobody(&["--core=0"]);
        lives(&mut session);
    });
}
