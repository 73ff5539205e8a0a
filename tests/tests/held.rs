//! Held listeners and reloads, each outcome with real processes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use session_tests::running::{
    PATIENCE, Running, Start, ask, expect_gone, folder, free_port, signal_pid,
};

const HOLDS: &str = env!("CARGO_BIN_EXE_holds");
const NO_DELAY: &str = r#""restart":{"minDelaySeconds":0}"#;

fn start(config: &str) -> (Running, u32) {
    let mut session = Start::config(config).run(HOLDS);
    let worker = session.expect_spawn();
    session.expect_ready();
    (session, worker)
}

/// For the workers to come.
fn set_mode(session: &Running, mode: &str) {
    fs::write(session.folder().join("mode"), mode).unwrap();
}

#[track_caller]
fn expect_generation(session: &mut Running, generation: u64) {
    let deadline = Instant::now() + PATIENCE;
    let wanted = format!("generation {generation}\n");
    loop {
        let answer = session.get("/");
        if answer.ends_with(&wanted) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "expected {wanted}, found {answer}"
        );
    }
}

#[test]
fn a_new_worker_that_is_broken_changes_nothing_and_its_last_words_are_told() {
    let (mut session, _) = start(NO_DELAY);
    set_mode(&session, "broken");
    session.enter("reload");
    session.expect("reloading: generation 2 starts beside");
    session.expect("(generation 2) has exited: exit code 3");
    session.expect("the reload failed");
    session.expect("there is no database");
    expect_generation(&mut session, 1);
    // And nothing is left in the way of the next one.
    set_mode(&session, "serve");
    session.enter("reload");
    session.expect("generation 3 has taken over");
    session.expect("(generation 1) has exited: exit code 0");
    expect_generation(&mut session, 3);
}

#[test]
fn a_new_worker_that_is_not_ready_in_time_is_ended_and_the_old_one_stays() {
    let config = r#""startupTimeoutSeconds":1,"stop":{"graceSeconds":1}"#;
    let (mut session, _) = start(config);
    set_mode(&session, "hang");
    session.enter("reload");
    session.expect_spawn();
    session.enter("status");
    session.expect("state: ready");
    session.expect("beside it: generation 2 starts and is to take over");
    // Once its time is over it may be gone at once.
    session.enter("reload");
    session.expect("a reload is under way");
    session.expect("was not ready within 1 s");
    session.expect("the reload failed");
    expect_generation(&mut session, 1);
}

#[test]
fn the_new_worker_takes_the_place_of_an_old_one_that_dies_meanwhile() {
    let (mut session, old) = start(NO_DELAY);
    set_mode(&session, "hang");
    session.enter("reload");
    let new = session.expect_spawn();
    signal_pid(old, "KILL");
    session.expect("(generation 1) has exited: SIGKILL");
    session.expect("generation 2 has taken over");
    // It hangs: whoever ends it gets the next one, which serves.
    set_mode(&session, "serve");
    signal_pid(new, "KILL");
    session.expect("(generation 2) has exited: SIGKILL");
    session.expect_spawn();
    expect_generation(&mut session, 3);
}

#[test]
fn a_stop_during_a_reload_ends_both() {
    let (mut session, _) = start(r#""stop":{"graceSeconds":1}"#);
    set_mode(&session, "hang");
    session.enter("reload");
    session.expect_spawn();
    session.enter("exit clean");
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_worker_that_binds_its_own_port_is_not_reloaded() {
    let mut session = Start::config(NO_DELAY).file("mode", "own").run(HOLDS);
    session.expect_ready();
    session.enter("reload");
    session.expect("this worker binds its own port; use `restart clean`");
    expect_generation(&mut session, 1);
}

#[test]
fn a_worker_that_accepts_by_itself_takes_over_by_its_own_word_alone() {
    let config = r#""startupTimeoutSeconds":1,"stop":{"graceSeconds":0.2}"#;
    let mut session = Start::config(config).file("mode", "std").run(HOLDS);
    session.expect_ready();
    session.enter("reload");
    session.expect("generation 2 has taken over");
    session.expect("(generation 1) has exited");
    expect_generation(&mut session, 2);
    // The old one answers at the public port, which says nothing about the new one.
    set_mode(&session, "silent");
    session.enter("reload");
    session.expect("was not ready within 1 s");
    session.expect("the reload failed");
    expect_generation(&mut session, 2);
}

#[test]
fn a_listener_that_a_worker_has_shut_down_or_made_blocking_is_repaired() {
    let (mut session, mut worker) = start(NO_DELAY);
    for (generation, route, repair) in [
        (1, "/shutdown", "had been shut down, and listens again"),
        (
            2,
            "/block",
            "had been made blocking, and is non-blocking again",
        ),
    ] {
        expect_generation(&mut session, generation);
        session.get(route);
        signal_pid(worker, "KILL");
        session.expect(repair);
        worker = session.expect_spawn();
        expect_generation(&mut session, generation + 1);
    }
}

#[test]
fn a_port_is_changed_by_binding_the_new_one_first() {
    let (mut session, _) = start(NO_DELAY);
    let (old, new) = (session.port, free_port());
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    session.enter(&format!("set server port {taken_port} true"));
    let refusal = session.expect("Address already in use");
    // This test holds it, and says so.
    assert!(
        refusal.contains(&format!("{}", std::process::id())),
        "{refusal}"
    );
    expect_generation(&mut session, 1);
    session.enter(&format!("set server port {new} true"));
    session.expect(&format!("the port `server` is {new} from now on"));
    session.port = new;
    expect_generation(&mut session, 2);
    assert!(ask(old, "GET", "/", "").is_err());
}

#[test]
fn listeners_have_names_and_an_address_of_either_kind() {
    let admin = free_port();
    let mut session = Start::config(r#""host":"::1","restart":{"minDelaySeconds":0}"#)
        .port("admin", admin)
        .run(HOLDS);
    session.expect_ready();
    let visit = |port: u16| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("::1", port)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(visit(session.port).contains("server of pid"));
    assert!(visit(admin).contains("admin of pid"));
    session.enter("reload");
    session.expect("(generation 1) has exited: exit code 0");
    assert!(visit(admin).contains("generation 2"));
}

/// Binds a port, and becomes the monitor with that socket as descriptor 3, as a service manager
/// would do it.
const PASS: &str = "
import os, socket, sys
port, names, pid, program = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', port))
s.listen(64)
os.dup2(s.fileno(), 3) # which leaves it as it is if it was 3
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES=names, LISTEN_PID=str(os.getpid()) if pid == 'own' else pid)
os.execv(program, [program])
";

fn passed(names: &str, pid: &str) -> (Running, u16) {
    let passed = free_port();
    let port = passed.to_string();
    let args = ["-c", PASS, &port, names, pid, HOLDS];
    let session = Start::config(NO_DELAY).args(&args).run("python3");
    (session, passed)
}

#[test]
fn a_socket_of_the_service_manager_is_adopted_by_its_name_and_passed_no_further() {
    for names in ["server", ""] {
        let (mut session, passed) = passed(names, "own");
        session.expect(&format!(
            "the listener `server` was passed by the service manager, at port {passed}"
        ));
        let worker = session.expect_spawn();
        session.port = passed;
        session.expect(&format!("listening on {passed}"));
        expect_generation(&mut session, 1);
        let environment = fs::read(Path::new("/proc").join(worker.to_string()).join("environ"));
        let environment = String::from_utf8_lossy(&environment.unwrap()).into_owned();
        assert!(!environment.contains("LISTEN_"), "{environment}");
        signal_pid(worker, "KILL");
        expect_generation(&mut session, 2);
    }
}

#[test]
fn a_socket_that_is_meant_for_another_process_or_for_no_port_is_not_adopted() {
    for (names, pid, told) in [
        ("server", "1", "expected LISTEN_PID to be this process"),
        ("server", "x", "expected LISTEN_PID to be this process"),
        ("other", "own", "expected the name of a port (server)"),
    ] {
        let (mut session, _) = passed(names, pid);
        session.expect(told);
        session.expect_ready();
        expect_generation(&mut session, 1);
    }
}

#[test]
fn a_new_worker_is_probed_itself_and_not_the_old_one_in_its_stead() {
    let (mut session, _) = start(r#""startupTimeoutSeconds":1,"stop":{"graceSeconds":1}"#);
    // Both accept at the public port, and the old one answers well.
    set_mode(&session, "sick");
    session.enter("reload");
    session.expect("answered 503");
    session.expect("was not ready within 1 s");
    session.expect("the reload failed");
    session.expect("crash report, generation 2: failed start");
    expect_generation(&mut session, 1);
}

#[test]
fn the_program_itself_can_ask_for_a_reload() {
    let (mut session, _) = start("");
    session.enter("again");
    session.expect("generation 2 has taken over");
    expect_generation(&mut session, 2);
}

#[test]
fn who_comes_while_no_worker_is_there_waits_for_the_next_one() {
    let (mut session, worker) = start(r#""restart":{"minDelaySeconds":0.3,"jitter":0}"#);
    set_mode(&session, "broken");
    signal_pid(worker, "KILL");
    session.expect("starting the next worker in 0.300 s");
    let port = session.port;
    let client = std::thread::spawn(move || ask(port, "GET", "/", ""));
    session.expect("starting the next worker in 0.600 s");
    set_mode(&session, "serve");
    let answer = client.join().unwrap().unwrap();
    assert!(answer.ends_with("generation 3\n"), "{answer}");
}

/// `holds`, at a path where another program can be put.
struct Deployed(PathBuf);

impl Deployed {
    fn start() -> (Running, Deployed) {
        let deployed = Deployed(folder());
        fs::copy(HOLDS, deployed.program()).unwrap();
        let mut session = Start::config(NO_DELAY).run(deployed.program().to_str().unwrap());
        session.expect_ready();
        (session, deployed)
    }

    fn program(&self) -> PathBuf {
        self.0.join("holds")
    }

    fn replace(&self, program: &str) {
        let next = self.0.join("next");
        fs::copy(program, &next).unwrap();
        fs::rename(&next, self.program()).unwrap();
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const FOREIGN: &str = env!("CARGO_BIN_EXE_foreign");

#[test]
fn a_program_of_another_protocol_is_refused() {
    let (mut session, deployed) = Deployed::start();
    deployed.replace(FOREIGN);
    let why = "expected protocol 1, found 99: restart the monitor to move to this build";
    session.enter("restart clean");
    session.expect(why);
    session.enter("reload");
    session.expect(why);
    session.expect("the reload failed");
    expect_generation(&mut session, 1);
}

#[test]
fn a_program_that_is_still_being_written_is_refused() {
    let (mut session, deployed) = Deployed::start();
    deployed.replace(HOLDS);
    let program = deployed.program();
    let writer = fs::OpenOptions::new().append(true).open(program).unwrap();
    session.enter("restart clean");
    session.expect("Text file busy");
    session.enter("reload");
    session.expect("Text file busy");
    session.expect("the reload failed");
    expect_generation(&mut session, 1);
    drop(writer);
    session.enter("reload");
    session.expect("workers are started from the new program from now on");
}

#[test]
fn a_stop_does_not_wait_for_a_program_that_is_being_checked_and_leaves_it_not_behind() {
    let (mut session, deployed) = Deployed::start();
    deployed.replace(FOREIGN);
    set_mode(&session, "mute");
    session.enter("restart clean");
    let file = session.folder().join("pid");
    let deadline = Instant::now() + PATIENCE;
    let pid: u32 = loop {
        if let Ok(pid) = fs::read_to_string(&file).unwrap_or_default().parse() {
            break pid;
        }
        assert!(Instant::now() < deadline, "it was not started");
    };
    session.enter("exit clean");
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
    expect_gone(pid, Duration::from_secs(2));
}

#[test]
fn a_new_program_that_was_never_ready_is_not_what_comes_back() {
    let (mut session, deployed) = Deployed::start();
    let inode = |pid: u32| fs::metadata(format!("/proc/{pid}/exe")).unwrap().ino();
    let served = fs::metadata(deployed.program()).unwrap().ino();
    deployed.replace(HOLDS);
    set_mode(&session, "hang");
    session.enter("reload");
    let new = session.expect_spawn();
    assert_ne!(inode(new), served);
    session.expect("lifecycle phase (hanging)");
    signal_pid(pid(&session.get("/")), "KILL");
    session.expect("generation 2 has taken over");
    set_mode(&session, "serve");
    signal_pid(new, "KILL");
    let next = session.expect_spawn();
    assert_eq!(inode(next), served);
    expect_generation(&mut session, 3);
}

/// The pid in an answer of `holds`.
fn pid(answer: &str) -> u32 {
    let (_, after) = answer.split_once("pid ").unwrap();
    after.split(',').next().unwrap().parse().unwrap()
}
