//! How a row of the fault matrix is run: in a pid namespace of its own, so that nothing can be left
//! behind, with a hard limit, and with what it printed shown when it fails.
//!
//! A row that this machine cannot run is skipped *loudly*: a line on standard error, which the test
//! harness does not swallow, and a line in the file that `SESSION_FAULT_SKIPS` names, so that a run
//! can count them. With `SESSION_FAULTS=strict` a skip is a failure.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, process, thread};

/// Set for the process that runs the body of a row: the name of that row's test.
const INSIDE: &str = "SESSION_FAULT_ROW";
/// No row takes longer, on a machine that does much else.
pub const LIMIT: Duration = Duration::from_secs(120);
/// How long processes of a row may take to be gone once its body is over.
const LEFTOVERS: Duration = Duration::from_secs(20);

/// What a row cannot do without, beside root and namespaces, which all need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A program, by its name.
    Program(&'static str),
    /// A file or folder that has to be there.
    Path(&'static str),
}

/// Runs one row. `needs` is what its injection takes.
///
/// # Panics
/// If the row fails, takes too long, or leaves a process behind.
pub fn row(needs: &[Need], body: impl FnOnce()) {
    row_within(LIMIT, needs, body);
}

/// The same with a limit of its own. Lines that the body begins with `soak: ` are shown.
///
/// # Panics
/// As [`row`].
pub fn row_within(limit: Duration, needs: &[Need], body: impl FnOnce()) {
    let name = thread::current().name().unwrap_or("main").to_owned();
    if env::var_os(INSIDE).is_some_and(|inside| *inside == *name) {
        body();
        expect_nobody_left();
        return;
    }
    if let Some(lack) = lacking(needs) {
        skip(&name, &lack);
        return;
    }
    run_inside(&name, limit);
}

fn run_inside(name: &str, limit: Duration) {
    let mut child = namespace()
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let streams = [read_all(child.stdout.take()), read_all(child.stderr.take())];
    let ended = wait(&mut child, limit);
    let told: String = streams
        .into_iter()
        .map(|stream| stream.join().unwrap())
        .collect();
    match ended {
        Some(status) => assert!(status.success(), "{name}: {status}\n{told}"),
        None => panic!("{name} took longer than {limit:?}\n{told}"),
    }
    assert!(
        told.contains("1 passed"),
        "expected one test of that name:\n{told}"
    );
    for line in told.lines().filter(|line| line.starts_with("soak: ")) {
        let _ = io::stdout().write_all(format!("{line}\n").as_bytes());
    }
}

fn read_all(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// `None`: it took too long, and was ended, with all that is in its namespace.
fn wait(child: &mut Child, limit: Duration) -> Option<process::ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// In its namespace a row is process 1: whatever else lives there, it has started.
fn expect_nobody_left() {
    let deadline = Instant::now() + LEFTOVERS;
    loop {
        let left = others();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind: {left:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The other processes that live, with their state and name.
fn others() -> Vec<String> {
    let me = process::id().to_string();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && *name != me)
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .filter(|stat| {
            let state = stat
                .rsplit(')')
                .next()
                .and_then(|rest| rest.split_whitespace().next());
            !matches!(state, Some("Z" | "X") | None)
        })
        .collect()
}

fn lacking(needs: &[Need]) -> Option<String> {
    if !has_namespaces() {
        return Some("root and pid namespaces (`unshare --pid --mount-proc`)".to_owned());
    }
    needs.iter().find_map(|need| match *need {
        Need::Program(name) => (!is_on_path(name)).then(|| format!("the program `{name}`")),
        Need::Path(path) => fs::metadata(path).is_err().then(|| format!("`{path}`")),
    })
}

/// To be followed by a program. What is started in the background by a script has SIGINT ignored,
/// and so have its children, until they say otherwise: then one that comes early is no signal.
fn namespace() -> Command {
    let mut command = Command::new("env");
    command
        .args(["--default-signal=INT,QUIT,TERM,HUP", "unshare"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

fn has_namespaces() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        namespace()
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn skip(name: &str, lack: &str) {
    let strict = env::var_os("SESSION_FAULTS").is_some_and(|value| value == "strict");
    assert!(!strict, "{name} needs {lack}, and no row may be skipped");
    let line = format!("SKIPPED {name}: this machine has not {lack}\n");
    // Not by a print macro: what those print in a test that passes is shown to nobody.
    let _ = io::stderr().write_all(line.as_bytes());
    if let Some(file) = env::var_os("SESSION_FAULT_SKIPS") {
        let opened = OpenOptions::new().create(true).append(true).open(file);
        let _ = opened.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
