//! A session that runs under a test: its log line by line, its port, its end.
//!
//! Nothing here sleeps and hopes: everything waits for an event, and every wait has a deadline.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// Longer than anything here takes, even on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A monitor, started in a folder of its own.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub child: Child,
    /// The port of its configuration.
    pub port: u16,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: String,
    folder: PathBuf,
}

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

    /// Runs `program` on a free port.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run(&self, program: &str) -> Running {
        let port = free_port();
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
        let mut child = Command::new(program)
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                    if sender
                        .send(String::from_utf8_lossy(&line).into_owned())
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        Running {
            child,
            port,
            stdin,
            lines,
            seen: String::new(),
            folder,
        }
    }
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
                panic!("the monitor did not end; the log:\n{}", self.rest_now());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn rest_now(&mut self) -> String {
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

/// One request to a port of loopback.
///
/// # Errors
/// As the socket tells them.
pub fn ask(port: u16, method: &str, route: &str, headers: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "{method} {route} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"
    )?;
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
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().next());
        if !matches!(state, Some(state) if state != "Z" && state != "X") {
            return start.elapsed();
        }
        assert!(
            start.elapsed() < within,
            "process {pid} is still there: {stat}"
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

/// A new folder of this test's own.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn folder() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = env::temp_dir().join(format!("session-test-{}-{count}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}
