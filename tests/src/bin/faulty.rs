//! A server that can go wrong in the ways of the fault matrix, for `faults_{a,b,i}.rs` and
//! `soak.rs`. What is wrong with it are the words in the file `mode` of its folder when it starts,
//! so that two generations can differ, or its arguments where there is no such file.
//!
//! - `mute`, `garbled`, `late`: says nothing to its monitor, says nonsense, says hello after 300 ms;
//! - `exit=N`, `abort`: ends like that at once; `codes`: see [`end_by_number`];
//! - `hang-exit`, `panic-exit`, `abort-exit`, `exit-exit`: an exit handler that does that;
//! - `ignore-term`: SIGTERM is ignored;
//! - `monitor-panic-exit`: an exit handler of the monitor's panics;
//! - `own-child`: the monitor has a child of the program's own, with the command `own` to wait for it.
//!
//! Each exit handler that runs is written down in the file `ended`. A route does what its name in
//! [`visit`] says.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{self, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs, iter, thread};

use nix::sys::signal::{SigHandler, Signal, raise, signal};
use session::{Monitor, Session, Worker};

type Outcome = Result<ExitCode, Box<dyn Error>>;

/// What comes of a request that is never answered.
const NEVER: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let words = words();
    if env::var_os("SESSION_WORKER").is_some() {
        greet_badly(&words);
    }
    Session::new(move |worker| run(&worker, &words))
        .monitor(set_up)
        .launch()
}

fn words() -> Vec<String> {
    let words = fs::read_to_string("mode")
        .unwrap_or_else(|_| env::args().skip(1).collect::<Vec<_>>().join(" "));
    words.split_whitespace().map(str::to_owned).collect()
}

fn has(words: &[String], word: &str) -> bool {
    words.iter().any(|found| found == word)
}

/// Before the library has this process.
fn greet_badly(words: &[String]) {
    if has(words, "late") {
        thread::sleep(Duration::from_millis(300));
    }
    if has(words, "garbled") {
        let channel = io::stdin().as_fd().try_clone_to_owned();
        let written = channel.and_then(|channel| {
            UnixStream::from(channel).write_all(b"\xff{\"hello\":\nHTTP/1.1 200 OK\r\n\r\n")
        });
        assert!(written.is_ok(), "{written:?}");
    }
    if has(words, "mute") || has(words, "garbled") {
        if has(words, "ignore-term") {
            let ignored = ignore_term();
            assert!(ignored.is_ok(), "{ignored:?}");
        }
        park();
    }
}

fn park() -> ! {
    loop {
        thread::park();
    }
}

fn set_up(monitor: &mut Monitor) -> session::Result<()> {
    let panics = has(&words(), "monitor-panic-exit");
    monitor.on_exit(|reason| trace(&format!("monitor: {reason}")));
    if panics {
        monitor.on_exit(|_| panic!("the monitor's own handler"));
    }
    if has(&words(), "own-child") {
        have_a_child(monitor)?;
    }
    let handle = monitor.handle();
    monitor.command("ask", move |_| {
        handle.log("asking");
        let outcome = handle.request("never", (), NEVER);
        handle.log(format_args!("asked: {outcome:?}"));
    })
}

/// It is dead long before anybody asks, and is a child of the thread that is to supervise.
fn have_a_child(monitor: &mut Monitor) -> session::Result<()> {
    let child = Mutex::new(Command::new("sh").args(["-c", "exit 3"]).spawn());
    let handle = monitor.handle();
    monitor.command("own", move |_| {
        let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
        let status = match &mut *child {
            Ok(child) => child.wait(),
            Err(error) => Err(error.kind().into()),
        };
        handle.log(format_args!("own child: {status:?}"));
    })
}

fn trace(what: &str) {
    let file = OpenOptions::new().create(true).append(true).open("ended");
    let written = file.and_then(|mut file| file.write_all(format!("{what}\n").as_bytes()));
    assert!(written.is_ok(), "{written:?}");
}

fn run(worker: &Worker, words: &[String]) -> Outcome {
    for word in words {
        match word.as_str() {
            "abort" => process::abort(),
            "codes" => return end_by_number(worker.generation()),
            "ignore-term" => ignore_term()?,
            "hang-exit" => drop(worker.on_exit(|_| park())?),
            "panic-exit" => drop(worker.on_exit(|_| panic!("the worker's own handler"))?),
            "abort-exit" => drop(worker.on_exit(|_| process::abort())?),
            "exit-exit" => drop(worker.on_exit(|_| process::exit(9))?),
            _ => {
                if let Some(code) = word.strip_prefix("exit=") {
                    return Ok(ExitCode::from(code.parse::<u8>()?));
                }
            }
        }
    }
    worker.on_exit(|reason| trace(&format!("worker: {reason}")))?;
    worker.on("never", |_| park())?;
    let listener = worker.listener("server")?;
    for mut visitor in listener.incoming().flatten() {
        // A client that says nothing, or does not listen, is no reason to end.
        let _ = visit(worker, &mut visitor);
    }
    Ok(ExitCode::SUCCESS)
}

/// Generation 1 to 256 end with the codes 0 to 255, those that follow by the signals 1 to 64.
fn end_by_number(generation: u64) -> Outcome {
    if let Ok(code) = u8::try_from(generation - 1) {
        return Ok(ExitCode::from(code));
    }
    let number = (generation - 256).to_string();
    // Twice: what the runtime wants to know of SIGSEGV and SIGBUS, it asks the first one.
    for _ in 0..2 {
        Command::new("kill")
            .args([&format!("-{number}"), &process::id().to_string()])
            .status()?;
    }
    park();
}

#[allow(unsafe_code)]
fn ignore_term() -> nix::Result<()> {
    // SAFETY: no handler of ours is installed, so none can run where it must not.
    unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.map(drop)
}

/// One request. All of its head is read: an answer that comes before that may be lost with what
/// was not.
fn visit(worker: &Worker, visitor: &mut TcpStream) -> io::Result<()> {
    visitor.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 * 1024 {
        match visitor.read(&mut piece)? {
            0 => return Ok(()),
            count => head.extend_from_slice(&piece[..count]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default();
    let body = match path {
        "/abort" => process::abort(),
        "/panic" => panic!("a panic of a visitor"),
        "/stop-itself" => told(raise(Signal::SIGSTOP)),
        "/hang" => park(),
        "/kill" => told(worker.kill("a visitor", true, 7)),
        "/kill-and-crash" => {
            drop(worker.kill("a visitor", true, 7));
            panic!("and a panic at once");
        }
        "/output" => write_much(),
        "/flood" => told((0..20_000).try_for_each(|number| worker.send("flood", number))),
        "/eat" => eat(),
        "/slow" => {
            thread::sleep(Duration::from_millis(300));
            "slow".into()
        }
        "/child" => start(Command::new("sleep").arg("1000")),
        "/escape" => start(Command::new("setsid").args(["sleep", "1000"])),
        _ => format!(
            "hello from pid {}, generation {}",
            process::id(),
            worker.generation()
        ),
    };
    write!(
        visitor,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}\n",
        body.len() + 1
    )
}

fn told<E: std::fmt::Display>(outcome: Result<(), E>) -> String {
    outcome.map_or_else(|error| error.to_string(), |()| "done".into())
}

/// A process that nobody waits for.
fn start(command: &mut Command) -> String {
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    started.map_or_else(
        |error| error.to_string(),
        |child| format!("child {}", child.id()),
    )
}

fn write_much() -> String {
    let line: Vec<u8> = iter::repeat_n(b'x', 127).chain([b'\n']).collect();
    let all = line.repeat(8 * 1024);
    told(io::stdout().write_all(&all))
}

/// Takes memory until there is no more.
fn eat() -> String {
    loop {
        Vec::leak(vec![1_u8; 1024 * 1024]);
    }
}
