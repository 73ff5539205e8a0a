//! Rows G of the fault matrix: configuration. What is said of each mistake is tested with the
//! fixtures in `session/src/config/tests.rs`; here a real program meets them.
#![cfg(target_os = "linux")]

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use session_tests::faults::{Need, row};
use session_tests::inject::{from_the_start, until};
use session_tests::processes::{hidden_in, resources};
use session_tests::running::{Running, Start, folder};

const SICK: &str = env!("CARGO_BIN_EXE_sick");
/// Of a debug build on a machine that does much else; a release build takes a tenth of it.
const QUICK: Duration = Duration::from_secs(2);

/// What a program does that is to refuse its configuration; it has two seconds for it.
#[track_caller]
fn run(config: &Path) -> Output {
    let begun = Instant::now();
    let output = Command::new("timeout")
        .args(["10", SICK])
        .env("SESSION_CONFIG", config)
        .current_dir(config.parent().unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        begun.elapsed() < QUICK,
        "{}: {:?}",
        config.display(),
        begun.elapsed()
    );
    output
}

/// Exit 78 before anything is bound or spawned, and a harmless word; that word.
#[track_caller]
fn is_refused(config: &Path) -> String {
    let output = run(config);
    let mut told = String::from_utf8(output.stdout).unwrap();
    told.push_str(&String::from_utf8(output.stderr).unwrap());
    let name = config.display();
    assert_eq!(output.status.code(), Some(78), "{name}: {told}");
    assert!(!told.contains("spawned"), "{name}: {told}");
    assert!(told.len() < 64 * 1024, "{name}: {} bytes", told.len());
    for line in told.lines() {
        assert_eq!(hidden_in(line), None, "{name}: {line:?}");
    }
    told
}

fn ends(mut session: Running) -> String {
    session.enter("exit clean");
    assert_eq!(session.wait().0.code(), Some(0));
    session.rest()
}

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../session/fixtures/config");
    let entries = fs::read_dir(root.join(kind)).unwrap().flatten();
    let paths = entries.map(|entry| entry.path().canonicalize().unwrap());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect()
}

#[test]
fn g01_a_configuration_that_is_refused_starts_nothing() {
    row(&[], || {
        let files = fixtures("refuse");
        assert!(files.len() >= 150, "{}", files.len());
        for file in files {
            let told = is_refused(&file);
            let expected = fs::read_to_string(file.with_extension("expect")).unwrap();
            let first = expected.lines().next().unwrap();
            let (_, fault) = first.split_once("config.json:").unwrap();
            assert!(told.contains(fault), "{}: {told}", file.display());
        }
    });
}

#[test]
fn g02_what_is_false_or_zero_on_purpose_is_kept() {
    row(&[], || {
        // No output, no grace, no delay: each of them is 0 or false, and is not the default.
        let config = r#""showServerOutput":false,"pollingFailureTolerance":0,
            "stop":{"graceSeconds":0},"restart":{"minDelaySeconds":0,"maxDelaySeconds":0,"jitter":0},
            "app":{"zero":0,"false":false,"empty":""}"#;
        let mut session = Start::config(config).run(SICK);
        session.expect_ready();
        let mut worker = session.worker(None);
        for _ in 0..8 {
            session_tests::running::signal_pid(worker, "KILL");
            worker = session.worker(Some(worker));
        }
        let log = ends(session);
        assert!(!log.contains("starting the next worker in"), "{log}");
    });
}

#[test]
fn g03_files_of_any_kind_and_size_are_answered_at_once() {
    row(&[], || {
        let room = folder();
        let write = |name: &str, bytes: &[u8]| {
            let path = room.join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let wide =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        let good = r#"{ "pollingRoute": "/" }"#;
        let keys: String = (0..1_000_000).fold(String::from("{"), |all, key| {
            all + &format!("{}\"k{key}\":1", if key == 0 { "" } else { "," })
        }) + "}";
        let deep = format!("{{\"app\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for path in [
            write("utf-16", &wide(&format!("\u{feff}{good}"))),
            write("latin-1", b"{ \"masterIdentifier\": \"caf\xe9\" }"),
            write("deep", deep.as_bytes()),
            write("keys", keys.as_bytes()),
            write("nothing", b""),
            write("zeros", &[0; 4096]),
        ] {
            is_refused(&path);
        }
        let huge = write("huge", b"");
        fs::File::options()
            .write(true)
            .open(&huge)
            .unwrap()
            .set_len(100 << 20)
            .unwrap();
        assert!(is_refused(&huge).contains("expected at most"));
        // A byte order mark and line ends of either kind do no harm.
        for text in [format!("\u{feff}{good}"), good.replace(' ', "\r\n")] {
            let path = write("accepted", text.as_bytes());
            let session = Start::default()
                .environment("SESSION_CONFIG", path.to_str().unwrap())
                .args(&["dies"]);
            let mut session = session.run(SICK);
            session.expect_spawn();
            let used = resources(session.child.id());
            assert!(used.peak_kib < 16 * 1024, "{used:?}");
            ends(session);
        }
        fs::remove_dir_all(room).unwrap();
    });
}

#[test]
fn g04_what_is_no_ordinary_file_is_refused_at_once() {
    row(&[], || {
        let room = folder();
        let at = |name: &str| room.join(name);
        assert!(
            Command::new("mkfifo")
                .arg(at("fifo"))
                .status()
                .unwrap()
                .success()
        );
        fs::create_dir(at("folder")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("gone", at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for (name, why) in [
            ("fifo", "a FIFO"),
            ("folder", "a directory"),
            ("zero", "a character device"),
            (
                "dangling",
                "a symbolic link to `gone`, which does not exist",
            ),
            ("loop", "Too many levels of symbolic links"),
        ] {
            let told = is_refused(&at(name));
            assert!(told.contains(why), "{told}");
        }
        fs::write(at("foreign"), "{}").unwrap();
        fs::set_permissions(at("foreign"), Permissions::from_mode(0o666)).unwrap();
        let mut session = Start::default()
            .environment("SESSION_CONFIG", at("foreign").to_str().unwrap())
            .args(&["dies"])
            .run(SICK);
        session.expect("can be changed by everyone");
        session.expect_spawn();
        ends(session);
        fs::remove_dir_all(room).unwrap();
    });
}

/// Has the process this file open, as the system names it?
fn has_open(pid: u32, file: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target == file)
}

#[test]
fn g04_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was() {
    row(&[Need::Program("strace")], || {
        // What differs stands at both ends, too far apart for one read.
        let version = format!(
            r#""masterIdentifier":"before","app":"{}","workerIdentifier":"before-worker""#,
            "x".repeat(64 * 1024)
        );
        // The first read of that file has happened, and takes its time to come back.
        let mut args = from_the_start("read", "delay_exit=1000000:when=1");
        args.extend(["-P", "session.config.json", SICK].map(str::to_owned));
        let mut command = Command::new("strace");
        command.args(args);
        let mut session = Start::config(&version).run_piped(command);
        let folder = session.folder().canonicalize().unwrap();
        let [file, next] = ["session.config.json", "next"].map(|name| folder.join(name));
        let monitor = session.child.id();
        until("it has the file open", || has_open(monitor, &file));
        let other = fs::read_to_string(&file).unwrap();
        fs::write(&next, other.replace("before", "afterwards")).unwrap();
        fs::rename(&next, &file).unwrap();
        let replaced = PathBuf::from(format!("{} (deleted)", file.display()));
        assert!(has_open(monitor, &replaced), "it had read it before");
        session.expect("before: spawned new");
        session.expect("before-worker: listening on");
        let log = ends(session);
        assert!(!log.contains("afterwards"), "{log}");
    });
}

#[test]
fn g05_a_file_that_is_not_there_and_a_value_that_is_none_change_nothing() {
    row(&[], || {
        let room = folder();
        let told = is_refused(&room.join("gone"));
        assert!(told.contains("No such file"), "{told}");
        let who = "session: the configuration that SESSION_CONFIG names is not valid";
        assert!(told.contains(who), "{told}");
        // Without a name for it, there are the defaults, and that is told.
        let mut command = Command::new(SICK);
        command.arg("dies");
        let start = Start::config(r#""restart":{"minDelaySeconds":0.2}"#);
        let mut session = start.run_piped(command);
        session.expect_spawn();
        fs::remove_file(session.folder().join("session.config.json")).unwrap();
        ends(session);
        let mut bare = Command::new(SICK)
            .arg("dies")
            .current_dir(&room)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines =
            std::io::BufRead::lines(std::io::BufReader::new(bare.stdout.take().unwrap()));
        let mut told = String::new();
        // Until then a signal finds the system's own answer to it.
        while !told.contains("spawned new server worker") {
            told.push_str(&lines.next().unwrap().unwrap());
        }
        assert!(told.contains("session.config.json"), "{told}");
        session_tests::running::signal_pid(bare.id(), "TERM");
        assert_eq!(bare.wait().unwrap().code(), Some(0));
        // At run time a value that is none leaves all as it was, and so does a port that is taken.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut session = Start::default().args(&["held"]).run(SICK);
        session.expect_ready();
        for line in ["set server port 70000 true", "set polling 0 true"] {
            session.enter(line);
            session.expect("expected ");
        }
        session.enter(&format!("set server port {port} true"));
        session.expect(&format!("port {port} is held by pid"));
        assert!(session.get("/").contains(" 200 "));
        session.enter("status");
        session.expect("restarts: 0");
        ends(session);
        fs::remove_dir_all(room).unwrap();
    });
}

#[test]
fn g06_neither_names_nor_the_environment_can_inject_anything() {
    row(&[], || {
        let room = folder();
        for (name, text) in [
            ("crlf", r#"{ "pollingRoute": "/\r\nX: y" }"#),
            ("authority", r#"{ "pollingRoute": "@127.0.0.1:9/" }"#),
            ("umlaut", r#"{ "pollingRoute": "/ä" }"#),
            ("escape", r#"{ "masterIdentifier": "\u001b[2J" }"#),
            ("bell", "{ \"workerIdentifier\": \"\\u0007\" }"),
        ] {
            fs::write(room.join(name), text).unwrap();
            is_refused(&room.join(name));
        }
        // These are routes of the worker itself, however they look.
        for route in ["//elsewhere/", "/#fragment", "/@127.0.0.1:9/"] {
            let config = format!(r#""pollingRoute":"{route}""#);
            let mut session = Start::config(&config).run(SICK);
            session.expect("`GET ");
            ends(session);
        }
        let mut command = Command::new(SICK);
        command
            .env("LONG", "x".repeat(120_000))
            .env(
                OsString::from_vec(b"RAW".to_vec()),
                OsString::from_vec(vec![0xff, 0xfe]),
            )
            .env("SESSION_LOG", "\u{1b}[2J")
            .env("NOTIFY_SOCKET", "/nowhere")
            .env("LISTEN_FDS", "999999999999")
            .env("LISTEN_PID", "\u{1b}[2J");
        for number in 0..8 {
            command.env(format!("LONG_{number}"), "x".repeat(120_000));
        }
        let mut session = Start::default().run_piped(command);
        let worker = session.expect_spawn();
        session.expect_ready();
        let environment = fs::read(format!("/proc/{worker}/environ")).unwrap();
        let has = |name: &[u8]| environment.windows(name.len()).any(|part| part == name);
        assert!(has(b"RAW=\xff\xfe") && has(b"LONG_7="));
        assert!(!has(b"NOTIFY_SOCKET=") && !has(b"LISTEN_FDS="));
        let log = ends(session);
        for line in log.lines() {
            assert_eq!(hidden_in(line), None, "{line:?}");
        }
        // A marker by hand makes no worker, and no monitor either.
        let output = Command::new(SICK)
            .env("SESSION_WORKER", "\u{1b}[2J")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!told.contains('\u{1b}'), "{told:?}");
        fs::remove_dir_all(room).unwrap();
    });
}
