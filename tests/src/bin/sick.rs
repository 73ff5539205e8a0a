//! A server that is ill, in the way that its first argument names.
//!
//! It binds its own port, as a server of the seed does. The first worker answers its first request,
//! so that it is ready, and is ill from then on; those after it are well. With `!` behind the name
//! it is ill from its first request on. The routes are for tests that want something to happen at
//! their word. The arguments after the first are for the monitor: `keyed`, `broken-hooks`,
//! `many-reports`.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{env, hint, panic, thread};

use session::{Monitor, Worker};
use session_tests::processes::Process;

/// The most of a head that is read: a key of a megabyte is among what is offered.
const MAX_HEAD: u64 = 4 * 1024 * 1024;

type Outcome = Result<(), Box<dyn Error>>;

#[session::main(monitor = set_up)]
fn main(worker: Worker) -> Outcome {
    let illness = env::args().nth(1).unwrap_or_default();
    let (name, from_the_start) = match illness.strip_suffix('!') {
        Some(name) => (name, true),
        None => (illness.as_str(), false),
    };
    match name {
        "unbound" => sleep_for_ever(),
        "dies" => return Err("it cannot live".into()),
        "held" => return serve_held(&worker),
        _ => {}
    }
    let server = TcpListener::bind((worker.host(), worker.port("server")?))?;
    let ward = Arc::new(Ward {
        name: name.to_owned(),
        well: worker.generation() > 1 && name != "flapping",
        requests: AtomicU64::new(u64::from(from_the_start)),
        lock: Mutex::default(),
        worker,
    });
    for visitor in server.incoming() {
        let (visitor, ward) = (visitor?, Arc::clone(&ward));
        thread::Builder::new()
            .name("visitor".into())
            .spawn(move || drop(ward.visit(visitor)))?;
    }
    Ok(())
}

fn serve_held(worker: &Worker) -> Outcome {
    for visitor in worker.listener("server")?.incoming() {
        let mut visitor = visitor?;
        // A client that is not heard out is reset.
        if read_head(&visitor).is_ok() {
            let _ = answer(&mut visitor, 200, &format!("pid {}\n", process::id()));
        }
    }
    Ok(())
}

struct Ward {
    name: String,
    well: bool,
    requests: AtomicU64,
    lock: Mutex<()>,
    worker: Worker,
}

impl Ward {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visit(&self, mut visitor: TcpStream) -> io::Result<()> {
        let (method, route, key) = read_head(&visitor)?;
        if route != "/" {
            return self.obey(&mut visitor, &method, &route, key);
        }
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        if self.well || number == 0 {
            let body = format!("pid {}\n", process::id());
            return answer(&mut visitor, 200, &body);
        }
        self.ail(&mut visitor, number)
    }

    fn ail(&self, visitor: &mut TcpStream, number: u64) -> io::Result<()> {
        match self.name.as_str() {
            "silent" => sleep_for_ever(),
            "deadlock" => {
                // Once; from then on nobody gets the lock.
                let _held = self.lock();
                sleep_for_ever()
            }
            "spin" => {
                for _ in 0..2 {
                    thread::spawn(|| {
                        loop {
                            hint::spin_loop();
                        }
                    });
                }
                let _held = self.lock();
                loop {
                    hint::spin_loop();
                }
            }
            "flapping" if number % 3 != 2 => answer(visitor, 200, "well\n"),
            "flapping" | "refusing" => answer(visitor, 503, "ill\n"),
            "redirect" => {
                let trap = env::var("TRAP").unwrap_or_default();
                let head =
                    format!("HTTP/1.1 302 Found\r\nLocation: {trap}\r\nContent-Length: 0\r\n\r\n");
                visitor.write_all(head.as_bytes())
            }
            "endless-head" => {
                visitor.write_all(b"HTTP/1.1 200 OK\r\n")?;
                for_ever(visitor, b"X-More: and more and more\r\n", Duration::ZERO)
            }
            "drip" => {
                visitor.write_all(b"HTTP/1.1 200 OK\r\nX-More: ")?;
                for_ever(visitor, b"m", Duration::from_millis(20))
            }
            "endless-body" => {
                visitor.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")?;
                for_ever(visitor, &[b'x'; 64 * 1024], Duration::ZERO)
            }
            "junk" => visitor.write_all(b"\0\xff\x1b]0;t\x07 200 OK\r\n\r\n"),
            _ => answer(visitor, 200, &format!("pid {}\n", process::id())),
        }
    }

    fn obey(
        &self,
        visitor: &mut TcpStream,
        method: &str,
        route: &str,
        key: Option<String>,
    ) -> io::Result<()> {
        match route {
            "/panic" => panic!("a visitor's"),
            "/panic-twice" => {
                // While this ends, a thread that is not stopped would go on.
                let slowly = |_: &_| thread::sleep(Duration::from_millis(300));
                drop(self.worker.on_exit(slowly));
                let _second = PanicsOnDrop;
                panic!("the first of two")
            }
            "/panic-in-the-hook" => {
                panic::set_hook(Box::new(|_| panic!("in the hook")));
                panic!("for the hook")
            }
            "/panic-at-length" => panic!("$& $` {{}} {{0}} {}", "x".repeat(10_000_000)),
            "/leave-children" => {
                // Out of this worker's group, and with its output.
                let child = Command::new("setsid").args(["sleep", "1000"]).spawn()?;
                while Process::of(child.id()).is_some_and(|process| process.group != child.id()) {
                    thread::sleep(Duration::from_millis(1));
                }
                process::exit(3)
            }
            "/return" => process::exit(0),
            "/shout" => shout(self.name == "loud-binary"),
            "/garble" => {
                io::stderr().write_all(b"last words: \xff\xfe\x1b[2J\x00\n")?;
                process::exit(3)
            }
            "/ask" => self.ask(visitor),
            "/kill" if method == "POST" => {
                if !key.is_some_and(|key| self.worker.authorize(&key)) {
                    return answer(visitor, 403, "this is not the key\n");
                }
                answer(visitor, 200, "the session ends\n")?;
                drop(self.worker.kill("killed by key", true, 0));
                Ok(())
            }
            "/kill" => answer(visitor, 405, "not like this\n"),
            _ => answer(visitor, 404, "there is nothing here\n"),
        }
    }

    /// What becomes of requests to listeners of the monitor that fail.
    fn ask(&self, visitor: &mut TcpStream) -> io::Result<()> {
        let ask = |name| {
            let outcome = self.worker.request(name, (), Duration::from_millis(500));
            format!("{name}: {outcome:?}\n")
        };
        let told: String = ["panics", "silent", "once", "once", "hangs", "nobody"]
            .map(ask)
            .concat();
        answer(visitor, 200, &told)
    }
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("the second of two");
    }
}

fn shout(binary: bool) -> io::Result<()> {
    const MEBIBYTE: usize = 1024 * 1024;
    let mebibytes = if env::var_os("SESSION_SOAK").is_some() {
        100
    } else {
        12
    };
    let piece: Vec<u8> = match binary {
        true => (0..=255_u8).cycle().take(MEBIBYTE).collect(),
        false => vec![b'x'; MEBIBYTE],
    };
    let mut out = io::stdout().lock();
    for _ in 0..mebibytes {
        out.write_all(&piece)?;
    }
    out.write_all(b"\nthe end of it\n")?;
    out.flush()
}

fn sleep_for_ever() -> ! {
    loop {
        thread::park();
    }
}

fn for_ever(visitor: &mut TcpStream, piece: &[u8], pause: Duration) -> io::Result<()> {
    loop {
        visitor.write_all(piece)?;
        thread::sleep(pause);
    }
}

/// Method, route, and the session key if one is offered.
fn read_head(visitor: &TcpStream) -> io::Result<(String, String, Option<String>)> {
    let mut lines = BufReader::new(visitor.take(MAX_HEAD)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (method, route) = (words.next(), words.next());
    let mut key = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("X-Session-Key:") {
            key = Some(value.trim().to_owned());
        }
    }
    Ok((method.unwrap_or_default(), route.unwrap_or_default(), key))
}

fn answer(visitor: &mut TcpStream, status: u16, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        visitor,
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

// In the monitor.

fn set_up(monitor: &mut Monitor) -> session::Result<()> {
    let has = |wanted: &str| env::args().skip(2).any(|arg| arg == wanted);
    if has("keyed") {
        monitor.on_key(|key| {
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            options.open("key")?.write_all(key.as_bytes())
        });
    }
    if has("broken-hooks") {
        monitor.on_key(|_| -> io::Result<()> { Err(io::Error::other("no mail today")) });
        monitor.on_crash(|_| -> io::Result<()> { panic!("no mail \u{1b}[2J at all") });
        monitor.on_exit(|_| panic!("no mail either"));
    }
    if has("reports") {
        monitor.on_crash(|report| {
            let mut options = OpenOptions::new();
            let mut file = options.append(true).create(true).open("reports")?;
            writeln!(file, "{}", serde_json::to_string(report)?)?;
            write!(file, "{report}")
        });
    }
    monitor.on("panics", |_| panic!("a listener's"))?;
    monitor.on("silent", |_| {})?;
    let handle = monitor.handle();
    let count = Arc::new(AtomicU64::new(0));
    monitor.on("once", move |message| {
        // A listener that adds another while it is told.
        let _ = handle.on("late", |_| {});
        let told = count.fetch_add(1, Ordering::SeqCst);
        drop(message.reply(told));
    })?;
    monitor.on("hangs", |_| sleep_for_ever())?;
    monitor.command("panic", |_| -> io::Result<()> { panic!("an action's") })?;
    monitor.command("fail", |_| -> io::Result<()> {
        Err(io::Error::other("no \u{1b}[2J disk"))
    })?;
    monitor.command("hang", |_| -> io::Result<()> { sleep_for_ever() })?;
    let handle = monitor.handle();
    monitor.command("say <word>", move |args| {
        handle.log(format!("said {}", args.get("word").unwrap_or_default()));
    })
}
