//! A worker that was taken over: it speaks with its monitor by hand, and means harm.
//!
//! The monitor is an ordinary one. The first worker does what its first argument says; those after
//! it behave, so that a test can see the session go on. `keyed` as a second argument gives the
//! session a key, which the monitor writes to the file `key`.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::{self, Command, ExitCode, Stdio};
use std::time::Duration;
use std::{env, fs, net, thread};

use nix::sys::signal::{SigSet, Signal};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use session::{Monitor, Session};

/// What acts on a terminal, on the reading order or on the structure of a log, and a forged line.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;t\u{7}\u{1b}]52;c;QQ==\u{7}\u{9b}31m\u{7f}\u{8}\r\u{0}\u{202e}\u{2066}\
    \u{200b}\u{feff}\n[Fri, 31 Dec 1999 23:59:59 GMT] __monitor__: forged";
/// One message of the monitor to its worker, for `send`.
const LETTER: usize = 64 * 1024;

fn main() -> ExitCode {
    if env::var_os("SESSION_WORKER").is_none() {
        return Session::new(|_| ()).monitor(set_up).launch();
    }
    match Foe::meet().and_then(|foe| foe.play(&mode())) {
        Ok(code) => code,
        // The monitor has closed the channel: there is nobody left to harm.
        Err(_) => ExitCode::from(9),
    }
}

fn mode() -> String {
    env::args().nth(1).unwrap_or_default()
}

fn set_up(monitor: &mut Monitor) -> session::Result<()> {
    if env::args().nth(2).is_some_and(|second| second == "keyed") {
        monitor.on_key(|key| write_privately("key", key));
    }
    monitor.on_crash(|report| {
        let all = serde_json::to_string(report)? + &format!("\n{report}\n");
        let name = format!("report-{}", report.generation);
        // Whole, or not there: a test may look at any moment.
        fs::write("report", all)
            .and_then(|()| fs::rename("report", name))
            .map_err(serde_json::Error::io)
    });
    monitor.on("slow", |_| thread::sleep(Duration::from_millis(1)))?;
    monitor.on("ask", |message| drop(message.reply(message.args())))?;
    let handle = monitor.handle();
    monitor.command("send <count>", move |args| -> Result<(), String> {
        let count: usize = args.parse("count").map_err(|error| error.to_string())?;
        let letter = "x".repeat(LETTER);
        let refused = (0..count).filter(|_| handle.send("letter", &letter).is_err());
        handle.log(format!("{} of {count} letters refused", refused.count()));
        Ok(())
    })
}

fn write_privately(path: &str, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Both directions of the channel.
struct Foe {
    channel: UnixStream,
    lines: BufReader<UnixStream>,
    generation: u64,
}

type Played = io::Result<ExitCode>;

impl Foe {
    /// Takes the channel and reads the welcome.
    fn meet() -> io::Result<Foe> {
        let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let mut lines = BufReader::new(channel.try_clone()?);
        let mut welcome = String::new();
        lines.read_line(&mut welcome)?;
        let welcome: Value = serde_json::from_str(&welcome)?;
        Ok(Foe {
            channel,
            lines,
            generation: welcome["welcome"]["generation"]
                .as_u64()
                .unwrap_or_default(),
        })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.channel).write_all(bytes)
    }

    fn say(&self, verb: &Value) -> io::Result<()> {
        self.write(format!("{verb}\n").as_bytes())
    }

    fn hello(&self, generation: u64, pid: u32) -> io::Result<()> {
        self.say(&json!({ "hello": { "protocol": 1, "generation": generation, "pid": pid } }))
    }

    /// As every worker does it.
    fn greet(&self) -> io::Result<()> {
        self.hello(self.generation, process::id())?;
        self.say(&json!({ "ready": {} }))
    }

    /// Does what it is asked to: nothing, and then an end.
    fn behave(mut self) -> Played {
        let mut line = String::new();
        while self.lines.read_line(&mut line)? > 0 {
            if line.starts_with("{\"exit\"") {
                return Ok(ExitCode::SUCCESS);
            }
            line.clear();
        }
        Ok(ExitCode::SUCCESS)
    }

    fn play(self, mode: &str) -> Played {
        if self.generation > 1 || mode == "tame" {
            self.greet()?;
            return self.behave();
        }
        match mode {
            "stale-generation" => self.hello(0, process::id())?,
            "coming-generation" => self.hello(u64::MAX, process::id())?,
            "wrong-pid" => self.hello(1, 1)?,
            "other-protocol" => self.say(&json!({ "hello":
                { "protocol": u32::MAX, "generation": 1, "pid": process::id() } }))?,
            "no-hello" => self.say(&json!({ "ready": {} }))?,
            "garbled-hello" => self.write(EVIL.as_bytes())?,
            "silent" => {}
            "endless-hello" => loop {
                self.write(&[b'x'; 64 * 1024])?;
            },
            _ => {
                self.greet()?;
                return self.attack(mode);
            }
        }
        live_on()
    }

    fn attack(self, mode: &str) -> Played {
        match mode {
            "kill" => self.kill()?,
            "set-port" => self.set_port()?,
            "plant" => self.plant()?,
            "good-flood" => self.flood(
                [
                    json!({ "message": { "name": "slow", "args": [1, 2] } }),
                    json!({ "message": { "name": "nobody", "args": null } }),
                    json!({ "lifecycle": { "text": "x".repeat(8 * 1024) } }),
                    json!({ "message": { "name": "ask", "args": "x".repeat(1024), "id": 7 } }),
                    json!({ "ready": {} }),
                    json!({ "authorize": { "id": 8, "offered": "x".repeat(10_000) } }),
                ]
                .map(|verb| verb.to_string().into_bytes())
                .as_slice(),
            )?,
            "bad-flood" => self.flood(&bad_lines())?,
            "bad-lines" => self.each_bad_line()?,
            "crash-flood" | "small-crash-flood" => {
                let length = if mode == "crash-flood" { 900_000 } else { 9 };
                let crash = json!({ "crash": { "panic": { "message": "x".repeat(length),
                    "location": null, "thread": "x", "backtrace": null } } });
                self.flood(&[crash.to_string().into_bytes()])?;
            }
            "listen" => {
                for id in 0.. {
                    for name in ["server", "nobody", EVIL] {
                        self.say(&json!({ "listen": { "id": id, "name": name } }))?;
                    }
                }
            }
            "serving" => {
                for _ in 0..50 {
                    self.say(&json!({ "serving": {} }))?;
                }
                self.done()?;
            }
            "escapes" => return self.escape(),
            "huge-line" => self.huge_line()?,
            "half-line" => {
                self.write(b"{\"lifecycle\":{\"text\":\"")?;
                self.write(EVIL.as_bytes())?;
                return Ok(ExitCode::from(3));
            }
            "close" => self.channel.shutdown(net::Shutdown::Both)?,
            "deaf" => self.done()?,
            "replies" => self.replies()?,
            "heir" => return self.heir(),
            "crash-and-live" => {
                self.say(&json!({ "crash": { "main_error": { "text": EVIL } } }))?;
            }
            "immortal" => {
                // A thread that waits for nothing and takes no signal is all that there is.
                let mut all = SigSet::empty();
                all.add(Signal::SIGTERM);
                all.thread_block()?;
                self.done()?;
            }
            other => {
                let _ = writeln!(io::stderr(), "there is no mode `{other}`");
                return Ok(ExitCode::from(2));
            }
        }
        live_on()
    }

    /// It has said all it had to say.
    fn done(&self) -> io::Result<()> {
        self.say(&json!({ "lifecycle": { "text": "done" } }))
    }

    fn kill(&self) -> io::Result<()> {
        let kill = |code: &str| {
            format!(
                "{{\"kill\":{{\"reason\":{},\"graceful\":false,\"code\":{code}}}}}\n",
                json!(EVIL)
            )
        };
        for code in ["256", "999", "18446744073709551615", "-1", "1e999", "\"0\""] {
            self.write(kill(code).as_bytes())?;
        }
        if env::args().any(|arg| arg == "without-the-right") {
            self.write(kill("7").as_bytes())?;
        }
        // A message of the program cannot pass for the verb.
        for name in ["kill", "set_port", "notify_crash", "", "__proto__", EVIL] {
            self.say(&json!({ "message": { "name": name, "args": { "code": 7 } } }))?;
        }
        self.done()
    }

    fn set_port(&self) -> io::Result<()> {
        for (name, port) in [
            ("server", 0_u64),
            ("server", 80),
            ("server", 70_000),
            ("server", u64::MAX),
            ("__proto__", 4000),
            (EVIL, 4000),
        ] {
            self.say(&json!({ "set_port": { "name": name, "port": port, "restart": true } }))?;
        }
        for seconds in [0.0, -5.0, 0.5, 1e300] {
            self.say(&json!({ "set_polling": { "seconds": seconds, "now": true } }))?;
        }
        if env::args().any(|arg| arg == "without-the-right") {
            self.say(
                &json!({ "set_port": { "name": "server", "port": 40_000, "restart": true } }),
            )?;
            self.say(&json!({ "set_polling": { "seconds": 2, "now": true } }))?;
        }
        self.done()
    }

    /// Descriptors with every line, some with half a line, some with a single byte.
    fn plant(&self) -> io::Result<()> {
        let null = fs::File::open("/dev/null")?;
        let mine = null.as_fd();
        let whole = b"{\"message\":{\"name\":\"nobody\",\"args\":1}}\n".as_slice();
        // A multiple of three, so that the last line is whole.
        for count in 0..2001 {
            let piece = match count % 3 {
                0 => whole,
                1 => &whole[..whole.len() / 2],
                _ => &whole[whole.len() / 2..],
            };
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds = [mine; 16];
            control.push(SendAncillaryMessage::ScmRights(&fds));
            let bytes = [IoSlice::new(piece)];
            sendmsg(&self.channel, &bytes, &mut control, SendFlags::empty())?;
        }
        self.done()
    }

    /// For as long as anybody takes it.
    fn flood(&self, lines: &[Vec<u8>]) -> io::Result<()> {
        let burst: Vec<u8> = lines
            .iter()
            .cycle()
            .take(lines.len() * 8)
            .flat_map(|line| [line.as_slice(), b"\n"].concat())
            .collect();
        loop {
            self.write(&burst)?;
        }
    }

    /// After each of them a good line is as good as ever.
    fn each_bad_line(&self) -> io::Result<()> {
        for (index, line) in bad_lines().iter().enumerate() {
            self.write(line)?;
            self.write(b"\n")?;
            self.say(&json!({ "lifecycle": { "text": format!("good line {index}") } }))?;
        }
        self.say(&json!({ "lifecycle": { "text": format!("{} bad lines", bad_lines().len()) } }))
    }

    /// `SESSION_SOAK` makes it a gigabyte.
    fn huge_line(&self) -> io::Result<()> {
        let mebibytes = match env::var_os("SESSION_SOAK") {
            Some(_) => 1024,
            None => 96,
        };
        self.write(b"{\"lifecycle\":{\"text\":\"")?;
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..mebibytes {
            self.write(&piece)?;
        }
        self.write(b"\"}}\n")?;
        self.done()
    }

    /// Answers that nobody waits for.
    fn replies(&self) -> io::Result<()> {
        for id in [0, 1, 1, 1, u64::MAX] {
            self.say(&json!({ "reply": { "id": id, "outcome": { "answer": 1 } } }))?;
            self.say(&json!({ "reply": { "id": id, "outcome": "busy" } }))?;
        }
        self.done()
    }

    /// Every text that a worker can give, then its output, then an end.
    fn escape(&self) -> Played {
        self.say(&json!({ "lifecycle": { "text": EVIL } }))?;
        self.say(&json!({ "message": { "name": format!("x{EVIL}"), "args": EVIL } }))?;
        self.say(&json!({ "message": { "name": "\u{202e}nobody", "args": EVIL } }))?;
        self.say(&json!({ "listen": { "id": 1, "name": EVIL } }))?;
        self.say(&json!({ "authorize": { "id": 2, "offered": EVIL } }))?;
        self.say(&json!({ "set_port": { "name": EVIL, "port": 4000, "restart": false } }))?;
        self.say(&json!({ "reply": { "id": 3, "outcome": { "refused": EVIL } } }))?;
        self.write(EVIL.as_bytes())?;
        self.write(b"\xff\xfe\n")?;
        self.say(
            &json!({ "crash": { "panic": { "message": EVIL, "location": EVIL,
            "thread": EVIL, "backtrace": EVIL } } }),
        )?;
        self.say(&json!({ "crash": { "backtrace": { "text": EVIL } } }))?;
        for stream in [&mut io::stdout() as &mut dyn Write, &mut io::stderr()] {
            stream.write_all(EVIL.replace("[Fri", "> [Fri").as_bytes())?;
            stream.write_all(b"\xff\xfe\n")?;
            stream.flush()?;
        }
        Ok(ExitCode::from(101))
    }

    /// Leaves the channel and the output to a child that outlives it, and speaks in its name.
    fn heir(&self) -> Played {
        let script = "sleep 1000 & while :; do echo '{\"lifecycle\":{\"text\":\"from the grave\"}}' >&0 || exit; sleep 0.02; done";
        let mut command = Command::new("setsid");
        command
            .args(["sh", "-c", script])
            .stdin(Stdio::from(self.channel.as_fd().try_clone_to_owned()?));
        command.spawn()?;
        self.done()?;
        Ok(ExitCode::from(3))
    }
}

/// What is no message: each a line of its own.
fn bad_lines() -> Vec<Vec<u8>> {
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(100_000), close.repeat(100_000));
        format!("{{\"lifecycle\":{{\"text\":{open}1{close}}}}}").into_bytes()
    };
    let mut lines = vec![
        b"\0\0\0".to_vec(),
        b"\xff\xfe{\"ready\":{}}".to_vec(),
        b"\xef\xbb\xbf{\"ready\":{}}".to_vec(),
        EVIL.replace('\n', "").into_bytes(),
        vec![b'x'; 1024 * 1024 + 1],
        deep("[", "]"),
        deep("{\"a\":", "}"),
        vec![b'['; 500_000],
    ];
    lines.extend(
        [
            "",
            " ",
            "null",
            "[]",
            "{}",
            "{\"ready\":{}}{\"ready\":{}}",
            "{\"ready\":{},\"ready\":{}}",
            "{\"ready\":{\"x\":1}}",
            "{\"hello\":{\"protocol\":1,\"generation\":1,\"pid\":1}}",
            "{\"exit\":{\"reason\":\"restart\"}}",
            "{\"welcome\":{}}",
            "{\"__proto__\":{}}",
            "{\"constructor\":{}}",
            "{\"lifecycle\":{\"text\":\"\\ud800\"}}",
            "{\"lifecycle\":{\"text\":1e999}}",
            "{\"lifecycle\":{\"text\":\"x\",\"text\":\"y\"}}",
            "{\"set_polling\":{\"seconds\":1e999,\"now\":true}}",
            "{\"set_polling\":{\"seconds\":NaN,\"now\":true}}",
            "{\"kill\":{\"reason\":\"x\",\"graceful\":true,\"code\":-1}}",
            "{\"kill\":{\"reason\":\"x\",\"graceful\":\"true\",\"code\":0}}",
            "{\"kill\":null}",
            "{\"message\":{\"name\":\"kill\",\"args\":null}}",
            "{\"message\":{\"name\":\"\",\"args\":null}}",
            "{\"reply\":{\"id\":1,\"outcome\":\"busy\"}}",
            "{\"reply\":{\"id\":1,\"outcome\":{\"answer\":1,\"refused\":\"x\"}}}",
        ]
        .map(|line| line.as_bytes().to_vec()),
    );
    lines
}

fn live_on() -> ! {
    loop {
        thread::park();
    }
}
