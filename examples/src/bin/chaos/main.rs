//! A server with a route for every way to go down.
//!
//! ```text
//! $ cargo run --bin chaos
//! $ curl http://127.0.0.1:3000/null            or any route of `visit`, below
//! $ curl http://127.0.0.1:3000/                a moment later: the next generation answers
//! ```
//!
//! Watch what the monitor says of each end. `cargo run --bin chaos -- --exit 3`, `--never-listen`,
//! `--exit-after-ready 3` and `--version` are ways to fail at the start.

mod faults;

use std::error::Error;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{self, ExitCode};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use session::Worker;
use session_examples::{Request, answer, serve_for_ever};

use faults::Hurt;

/// From the first answer to a probe to the end that `--exit-after-ready` asks for: the monitor
/// has read it by then.
const READY_TAKES: Duration = Duration::from_millis(200);

/// What the thread of main is asked to do.
enum Ask {
    Panic,
    Exit(ExitCode),
}

#[session::main]
fn main(worker: Worker) -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut after_ready = None;
    match args[..] {
        [] => {}
        ["--exit", code] => return Ok(ExitCode::from(code.parse::<u8>()?)),
        ["--exit-after-ready", code] => after_ready = Some(ExitCode::from(code.parse::<u8>()?)),
        ["--never-listen"] => faults::sleep_for_ever(),
        ["--version"] => {
            io::stdout()
                .write_all(concat!("chaos ", env!("CARGO_PKG_VERSION"), "\n").as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => return Err(format!("expected one of the options above, found {args:?}").into()),
    }
    let server = TcpListener::bind((worker.host(), worker.port("server")?))?;
    worker.ready()?;
    let (ask, asked) = channel();
    thread::Builder::new()
        .name("server".into())
        .spawn(move || {
            let hurt = Hurt::default();
            serve_for_ever(&server, move |request, stream| {
                visit(&worker, &hurt, &ask, request, stream)?;
                if let Some(code) = after_ready {
                    thread::sleep(READY_TAKES);
                    let _ = ask.send(Ask::Exit(code));
                }
                Ok(())
            })
        })?;
    match asked.recv()? {
        Ask::Panic => panic!("a panic of main"),
        Ask::Exit(code) => Ok(code),
    }
}

fn visit(
    worker: &Worker,
    hurt: &Hurt,
    main: &Sender<Ask>,
    request: &Request,
    stream: &mut TcpStream,
) -> io::Result<()> {
    let done = match request.path.as_str() {
        "/" | "/health" => {
            hurt.check();
            format!(
                "chaos, pid {}, generation {}",
                process::id(),
                worker.generation()
            )
        }
        // These answer nothing: the connection ends with the process.
        "/abort" => process::abort(),
        "/exit" => process::exit(request.number("code").unwrap_or(1)),
        "/null" => faults::read_near_null(),
        "/output" => faults::write_and_abort(request.number("kb").unwrap_or(64)),
        "/overflow" => faults::overflow(0).to_string(),
        "/panic" => panic!("a panic of a visitor"),
        "/panic-main" => {
            let _ = main.send(Ask::Panic);
            faults::sleep_for_ever()
        }
        // After these it lives on, worse than before.
        "/deadlock" => told(hurt.deadlock(), "the locks will never be free again"),
        "/flood" => faults::flood(worker, request.number("n").unwrap_or(100_000)),
        "/grandchild" => faults::grandchild(),
        "/hang-exit" => told(
            worker.on_exit(|_reason| faults::sleep_for_ever()),
            "an exit handler will hang",
        ),
        "/hang-health" => {
            hurt.hang();
            "no probe will be answered".into()
        }
        "/ignore-term" => told(faults::ignore_term(), "SIGTERM is ignored"),
        "/leak" => faults::leak(request.number("mb").unwrap_or(10)),
        "/spin" => told(faults::spin(), "a core is busy"),
        _ => return answer(stream, 404, "there is no such way to go down\n"),
    };
    answer(stream, 200, &(done + "\n"))
}

fn told<T, E: std::fmt::Display>(outcome: Result<T, E>, done: &str) -> String {
    outcome.map_or_else(|error| error.to_string(), |_| done.to_owned())
}
