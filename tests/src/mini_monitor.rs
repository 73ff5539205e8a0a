//! A monitor played by hand: it does nothing that its test does not say.

use std::io::{BufRead, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};

/// Far more than anything here needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a worker is started with.
#[derive(Debug)]
pub struct Script {
    mode: String,
    program: PathBuf,
    welcome: Option<String>,
    marker: Option<String>,
    env: Vec<(&'static str, &'static str)>,
    socket: bool,
    through: Vec<&'static str>,
}

/// The monitor of one worker.
#[derive(Debug)]
pub struct MiniMonitor {
    child: Child,
    channel: Option<BufReader<UnixStream>>,
    room: PathBuf,
}

impl Script {
    /// Everything as a real monitor would do it.
    #[must_use]
    pub fn new(program: &str, mode: &str) -> Script {
        // Another build of the same program, for instance one that aborts when it panics.
        let program = env::var_os("SESSION_WORKER_PROBE").map_or(program.into(), PathBuf::from);
        Script {
            mode: mode.into(),
            marker: Some(marker(process::id(), &program)),
            program,
            welcome: Some(welcome(20_000).to_string()),
            env: Vec::new(),
            socket: true,
            through: Vec::new(),
        }
    }

    /// Another first line, or none.
    #[must_use]
    pub fn welcome(mut self, line: Option<String>) -> Script {
        self.welcome = line;
        self
    }

    /// Another marker, or none.
    #[must_use]
    pub fn marker(mut self, marker: Option<String>) -> Script {
        self.marker = marker;
        self
    }

    /// One variable more.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: &'static str) -> Script {
        self.env.push((name, value));
        self
    }

    /// Run by another program, which then executes the worker in its own place.
    #[must_use]
    pub fn through(mut self, program: &[&'static str]) -> Script {
        self.through = program.to_vec();
        self
    }

    /// Standard input is no socket.
    #[must_use]
    pub fn without_socket(mut self) -> Script {
        self.socket = false;
        self
    }

    /// The program that is run.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Starts the worker.
    #[must_use]
    pub fn start(self) -> MiniMonitor {
        static ROOMS: AtomicU32 = AtomicU32::new(0);
        let number = ROOMS.fetch_add(1, Ordering::SeqCst);
        let room = env::temp_dir().join(format!("session-worker-{}-{number}", process::id()));
        fs::create_dir_all(&room).unwrap();
        let output = |name: &str| Stdio::from(fs::File::create(room.join(name)).unwrap());
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        if let Some(line) = &self.welcome {
            (&ours).write_all(line.as_bytes()).unwrap();
            (&ours).write_all(b"\n").unwrap();
        }
        let stdin = match self.socket {
            true => Stdio::from(OwnedFd::from(theirs)),
            false => Stdio::null(),
        };
        let program = self.program.to_str().unwrap();
        let words = [self.through.as_slice(), &[program, &self.mode]].concat();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .arg(room.join("word"))
            .env_remove("SESSION_WORKER")
            .env_remove("SESSION_DISABLE")
            .envs(self.marker.iter().map(|marker| ("SESSION_WORKER", marker)))
            .envs(self.env)
            .stdin(stdin)
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .process_group(0);
        let child = command.spawn().unwrap();
        MiniMonitor {
            child,
            channel: Some(BufReader::new(ours)),
            room,
        }
    }

    /// Starts the worker and takes its hello.
    #[must_use]
    pub fn greet(self) -> MiniMonitor {
        let mut monitor = self.start();
        monitor.expect("hello");
        monitor
    }
}

impl MiniMonitor {
    /// The worker's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line, as its verb and what is in it.
    pub fn next_line(&mut self) -> (String, Value) {
        let mut line = String::new();
        let channel = self.channel.as_mut().unwrap();
        let count = channel.read_line(&mut line);
        assert!(
            matches!(count, Ok(count) if count > 0),
            "no line: {count:?}; {}",
            self.stderr()
        );
        let Value::Object(verbs) = serde_json::from_str(&line).unwrap() else {
            panic!("no verb: {line}");
        };
        verbs.into_iter().next().unwrap()
    }

    /// The next line, which is to have this verb.
    #[track_caller]
    pub fn expect(&mut self, verb: &str) -> Value {
        let (found, content) = self.next_line();
        assert_eq!(found, verb, "{content}; {}", self.stderr());
        content
    }

    /// The next line, which is to be this lifecycle text.
    #[track_caller]
    pub fn expect_log(&mut self, text: &str) {
        assert_eq!(self.expect("lifecycle")["text"], *text);
    }

    /// The next line, which is to be a lifecycle text.
    #[track_caller]
    pub fn log(&mut self) -> String {
        let content = self.expect("lifecycle");
        content["text"].as_str().unwrap().to_owned()
    }

    /// Lines until the channel is closed.
    pub fn rest(&mut self) -> Vec<String> {
        let channel = self.channel.as_mut().unwrap();
        channel.lines().map_while(Result::ok).collect()
    }

    /// Says one line.
    pub fn say(&mut self, verb: &Value) {
        self.say_text(&verb.to_string());
    }

    /// Says one line that may be no verb at all.
    pub fn say_text(&mut self, text: &str) {
        let mut socket = self.channel.as_ref().unwrap().get_ref();
        socket.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    /// Answers the request of that number with these descriptors.
    pub fn hand_over(&mut self, id: &Value, fds: &[BorrowedFd<'_>]) {
        let line = json!({ "reply": { "id": id, "outcome": { "answer": { "fds": fds.len() } } } });
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        let line = format!("{line}\n");
        let bytes = [IoSlice::new(line.as_bytes())];
        let socket = self.channel.as_ref().unwrap().get_ref();
        let sent = sendmsg(socket, &bytes, &mut control, SendFlags::empty());
        assert_eq!(sent.unwrap(), line.len());
    }

    /// Asks the worker to end.
    pub fn ask_to_exit(&mut self) {
        self.say(&json!({ "exit": { "reason": { "stop": "enough" } } }));
    }

    /// The monitor is gone.
    pub fn close(&mut self) {
        self.channel = None;
    }

    /// Sends a signal to the worker alone.
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status();
        assert!(status.unwrap().success());
    }

    /// How the worker ended.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_within(PATIENCE)
    }

    /// How the worker ended, which it must have done by then.
    #[track_caller]
    pub fn wait_within(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "still running; {}",
                self.stderr()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Is the worker running?
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the worker has written this line to its standard output.
    #[track_caller]
    pub fn until_printed(&self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.stdout().lines().any(|other| other == line) {
            assert!(Instant::now() < deadline, "{}", self.stderr());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What the worker wrote to its standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What the worker wrote to its standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// What the worker left in the file that it was given.
    #[must_use]
    pub fn word(&self) -> String {
        self.read("word")
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.room.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for MiniMonitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.room);
    }
}

/// What the monitor `pid` would mark a worker of this program with.
#[must_use]
pub fn marker(pid: u32, program: &Path) -> String {
    let data = fs::metadata(program).unwrap();
    format!("1:{pid}:0:{}:{}", data.dev(), data.ino())
}

/// The first line, with this grace period.
#[must_use]
pub fn welcome(grace_ms: u64) -> Value {
    json!({ "welcome": {
        "protocol": 1,
        "generation": 4,
        "host": "127.0.0.1",
        "ports": { "server": 3210 },
        "grace_ms": grace_ms,
        "kill_with_monitor": false,
        "app": { "name": "probe" },
    } })
}

/// The names of a process's threads, of which Linux keeps 15 bytes.
#[must_use]
pub fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// Is there such a process, other than as a zombie?
#[must_use]
pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}
