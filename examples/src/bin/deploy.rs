//! A server that a new build takes over from while clients are there. `deploy.sh`, in the folder of
//! the examples, does it all:
//!
//! ```text
//! $ sh examples/deploy.sh
//! version 1 serves; version 2 is built, put in its place, and asked for
//! 1473 requests: 612 answered by version 1, 861 by version 2, 0 failed
//! ```
//!
//! Which version it is, is fixed when it is built: `DEPLOY_VERSION=2 cargo build --bin deploy`.
//! `deploy visit PORT FILE` is the client: it asks again and again until the file is there, and
//! prints the count above.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use session::{Session, Worker};
use session_examples::{answer, serve};

const VERSION: &str = match option_env!("DEPLOY_VERSION") {
    Some(version) => version,
    None => "1",
};
/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["visit", port, until] => match visit(port, Path::new(until)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = io::stderr().write_all(format!("deploy: {error}\n").as_bytes());
                ExitCode::FAILURE
            }
        },
        // What `#[session::main]` expands to.
        _ => Session::new(|worker| work(&worker))
            .describe(|outcome| outcome.as_ref().err().map(ToString::to_string))
            .launch(),
    }
}

fn work(worker: &Worker) -> Result<(), Box<dyn Error>> {
    let server = worker.listener("server")?;
    let text = format!("version {VERSION}\n");
    serve(&server, |_request, stream| answer(stream, 200, &text));
    Ok(())
}

/// One visitor after another, each on a connection of its own.
fn visit(port: &str, until: &Path) -> Result<(), Box<dyn Error>> {
    let port = port.parse()?;
    let mut answered: BTreeMap<String, u64> = BTreeMap::new();
    let mut failed = 0;
    while !until.exists() {
        match ask(port) {
            Ok(version) => *answered.entry(version).or_default() += 1,
            Err(error) => {
                failed += 1;
                io::stderr().write_all(format!("failed: {error}\n").as_bytes())?;
            }
        }
    }
    let count = answered.values().sum::<u64>() + failed;
    let by: Vec<String> = answered
        .iter()
        .map(|(version, count)| format!("{count} answered by {version}"))
        .collect();
    let line = format!("{count} requests: {}, {failed} failed\n", by.join(", "));
    io::stdout().write_all(line.as_bytes())?;
    Ok(())
}

/// The version that answered, in full.
fn ask(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: deploy\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let version = answer
        .strip_prefix("HTTP/1.1 200 ")
        .and_then(|rest| rest.split_once("\r\n\r\n"))
        .and_then(|(_, body)| body.strip_suffix('\n'));
    match version {
        Some(version) => Ok(version.to_owned()),
        None => Err(io::Error::other(format!(
            "expected a version, found {answer:?}"
        ))),
    }
}
