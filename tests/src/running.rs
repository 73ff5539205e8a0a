//! A session that runs under a test: its log line by line, its port, its end.
//!
//! Nothing here sleeps and hopes: everything waits for an event, and every wait has a deadline.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use crate::processes::Process;
use crate::terminal::{self, HangUp};

/// Longer than anything here takes, even on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A monitor, started in a folder of its own.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub child: Child,
    /// The port of its configuration.
    pub port: u16,
    folder: PathBuf,
    stdin: Option<Box<dyn Input>>,
    lines: Receiver<String>,
    seen: String,
    terminal: Option<HangUp>,
}

/// Where its commands are typed.
trait Input: Write + std::fmt::Debug {}

impl<T: Write + std::fmt::Debug> Input for T {}

/// How to start one.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Members of the configuration, after `ports`.
    pub config: String,
    /// What the program is started with.
    pub args: Vec<String>,
    /// What is added to the environment.
    pub environment: Vec<(String, String)>,
    /// Ports beside `server`.
    pub ports: Vec<(String, u16)>,
    /// Files in its folder, with what is in them.
    pub files: Vec<(String, String)>,
    at: Option<u16>,
}

impl Start {
    /// With these members of the configuration.
    #[must_use]
    pub fn config(members: &str) -> Start {
        Start {
            config: members.to_owned(),
            ..Start::default()
        }
    }

    /// And these arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Start {
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
        self
    }

    /// And this variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Start {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// And this port.
    #[must_use]
    pub fn port(mut self, name: &str, port: u16) -> Start {
        self.ports.push((name.to_owned(), port));
        self
    }

    /// And this file.
    #[must_use]
    pub fn file(mut self, name: &str, contents: &str) -> Start {
        self.files.push((name.to_owned(), contents.to_owned()));
        self
    }

    /// Runs `program` on a free port, its streams piped.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run(&self, program: &str) -> Running {
        let mut command = Command::new(program);
        command.args(&self.args);
        self.run_piped(command)
    }

    /// The same on this port.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run_at(&self, program: &str, port: u16) -> Running {
        let mut start = self.clone();
        start.at = Some(port);
        start.run(program)
    }

    /// The same with a command that is made by hand; the arguments are its own business.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run_piped(&self, mut command: Command) -> Running {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = self.run_bare(command);
        let (sender, lines) = channel();
        let child = &mut running.child;
        read_lines(child.stdout.take().unwrap(), sender.clone());
        read_lines(child.stderr.take().unwrap(), sender);
        running.lines = lines;
        if let Some(stdin) = child.stdin.take() {
            running.stdin = Some(Box::new(stdin));
        }
        running
    }

    /// On a new terminal, whose session the program leads, as one that a terminal emulator starts.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run_on_terminal(&self, program: &[&str]) -> Running {
        let (terminal, command) = terminal::open(program);
        let mut running = self.run_terminal(command, &terminal);
        let (sender, lines) = channel();
        running.terminal = Some(terminal.read(sender));
        running.lines = lines;
        running
    }

    /// The same, and nobody ever reads what comes to the terminal.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run_on_stalled_terminal(&self, program: &[&str]) -> Running {
        let (terminal, command) = terminal::open(program);
        let mut running = self.run_terminal(command, &terminal);
        running.terminal = Some(terminal.stall());
        running
    }

    fn run_terminal(&self, mut command: Command, terminal: &terminal::Terminal) -> Running {
        command.env("NO_COLOR", "1").args(&self.args);
        let mut running = self.run_bare(command);
        running.stdin = Some(Box::new(terminal.keyboard()));
        running
    }

    /// With the streams that the command has. Its log is not seen.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run_bare(&self, mut command: Command) -> Running {
        let port = self.at.unwrap_or_else(free_port);
        let folder = folder();
        let members = if self.config.is_empty() {
            String::new()
        } else {
            format!(",{}", self.config)
        };
        let mut ports = format!("\"server\":{port}");
        for (name, port) in &self.ports {
            let _ = write!(ports, ",\"{name}\":{port}");
        }
        for (name, contents) in &self.files {
            fs::write(folder.join(name), contents).unwrap();
        }
        let config = format!("{{\"ports\":{{{ports}}}{members}}}");
        fs::write(folder.join("session.config.json"), config).unwrap();
        let child = command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&folder)
            .spawn()
            .unwrap();
        Running {
            child,
            port,
            folder,
            stdin: None,
            lines: channel().1,
            seen: String::new(),
            terminal: None,
        }
    }
}

/// Sends each line, until there are no more or nobody wants them.
pub(crate) fn read_lines(
    stream: impl Read + Send + 'static,
    lines: Sender<String>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if lines.send(line.trim_end_matches('\r').to_owned()).is_err() {
                return;
            }
        }
    })
}

impl Running {
    /// Types a line.
    ///
    /// # Panics
    /// If the monitor is gone.
    pub fn enter(&mut self, line: &str) {
        self.enter_raw(&format!("{line}\n"));
    }

    /// Types this and nothing behind it.
    ///
    /// # Panics
    /// If the monitor is gone.
    pub fn enter_raw(&mut self, text: &str) {
        self.stdin
            .as_mut()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// The end of what is typed.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// The terminal goes away, as when its window is closed.
    ///
    /// # Panics
    /// If there is none.
    pub fn hang_up(&mut self) {
        self.stdin = None;
        self.terminal.take().unwrap().now();
    }

    /// Waits for a line of the log that has this text in it.
    ///
    /// # Panics
    /// If it does not come.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let _ = writeln!(self.seen, "{line}");
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("expected `{text}`; the log:\n{}", self.seen)
                }
            }
        }
    }

    /// The next line of the log; `None` if there is none by then.
    pub fn line_until(&mut self, deadline: Instant) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = self.lines.recv_timeout(left).ok()?;
        let _ = writeln!(self.seen, "{line}");
        Some(line)
    }

    /// Waits for a line with each of these texts, in whatever order they come.
    ///
    /// # Panics
    /// If one does not come.
    #[track_caller]
    pub fn expect_all(&mut self, texts: &[&str]) {
        let mut awaited = texts.to_vec();
        while let Some(&first) = awaited.first() {
            // Any line will do, so that none is passed over.
            let line = self.expect("");
            let before = awaited.len();
            awaited.retain(|text| !line.contains(text));
            if awaited.len() == before && self.child.try_wait().unwrap().is_some() {
                self.expect(first);
            }
        }
    }

    /// Everything that the monitor has written, once it is gone.
    pub fn rest(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            let _ = writeln!(self.seen, "{line}");
        }
        self.seen.clone()
    }

    /// The pid of the next worker that is spawned.
    ///
    /// # Panics
    /// If none is.
    #[track_caller]
    pub fn expect_spawn(&mut self) -> u32 {
        let line = self.expect("spawned new server worker with process id ");
        let (_, after) = line.split_once("process id ").unwrap();
        after.split(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until the worker that has just been spawned is ready.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn expect_ready(&mut self) {
        self.expect("listening on ");
    }

    /// One request, answered or not.
    ///
    /// # Errors
    /// As the socket tells them.
    pub fn ask(&self, method: &str, route: &str, headers: &str) -> io::Result<String> {
        ask(self.port, method, route, headers)
    }

    /// Asks until there is an answer.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn get(&self, route: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask("GET", route, "") {
                Ok(answer) if !answer.is_empty() => return answer,
                _ if Instant::now() > deadline => panic!("no answer to GET {route}\n{}", self.seen),
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Where it runs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sends a signal to the monitor.
    pub fn signal(&self, signal: &str) {
        signal_pid(self.child.id(), signal);
    }

    /// Asks until a worker answers that is another process than `old`; its pid. (The programs
    /// here all say `pid N` first.)
    ///
    /// # Panics
    /// If none does.
    #[track_caller]
    pub fn worker(&self, old: Option<u32>) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask("GET", "/", "").unwrap_or_default();
            match pid_in(&answer) {
                Some(pid) if Some(pid) != old => return pid,
                _ if Instant::now() > deadline => panic!("no worker answers\n{}", self.seen),
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Waits for the monitor's end; how long that took.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn wait(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, start.elapsed());
            }
            if start.elapsed() > PATIENCE {
                panic!("the monitor did not end; the log:\n{}", self.so_far());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it has written so far.
    pub fn so_far(&mut self) -> String {
        while let Ok(line) = self.lines.try_recv() {
            let _ = writeln!(self.seen, "{line}");
        }
        self.seen.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A worker that is left sees the end of its channel, and ends by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn pid_in(answer: &str) -> Option<u32> {
    let (_, after) = answer.split_once("pid ")?;
    let digits = after
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

/// One request to a port of loopback.
///
/// # Errors
/// As the socket tells them.
pub fn ask(port: u16, method: &str, route: &str, headers: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    // In one piece: programs of these tests may take the first read for the whole head.
    let head = format!(
        "{method} {route} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// `signal` by its name, to a process of this test.
///
/// # Panics
/// If there is no `kill` command.
pub fn signal_pid(pid: u32, signal: &str) {
    Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status()
        .unwrap();
}

/// Waits until no such process is there, or only its zombie.
///
/// # Panics
/// If it stays.
#[track_caller]
pub fn expect_gone(pid: u32, within: Duration) -> Duration {
    let start = Instant::now();
    loop {
        let process = Process::of(pid);
        if process.is_none_or(|process| matches!(process.state, 'Z' | 'X')) {
            return start.elapsed();
        }
        assert!(
            start.elapsed() < within,
            "process {pid} is still there: {process:?}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// A port that nobody has now.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A new folder of this test's own. (The id of a process is no name for it: in a namespace of its
/// own, each has the same.)
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn folder() -> PathBuf {
    loop {
        let unique = RandomState::new().hash_one(process::id());
        let folder = env::temp_dir().join(format!("session-test-{unique:016x}"));
        match fs::create_dir(&folder) {
            Ok(()) => return folder,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}"),
        }
    }
}
