//! A server on held listeners, for the tests: what it does is in the file `mode` of its folder when
//! it starts, so that two generations can differ.
//!
//! - nothing, or `serve`: serves the ports `server` and, where there is one, `admin`;
//! - `broken`: says why, and ends with 3 before it serves;
//! - `hang`: says so, and never serves;
//! - `sick`: serves, and every answer is a 503;
//! - `own`: binds the port itself;
//! - `std`: accepts by itself, and says that it is ready; `silent`: the same, and does not say so.
//!
//! `GET /shutdown` shuts the held socket down, `GET /block` makes it block: for everyone.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, process, thread};

use session::{Listener, Monitor, Worker};

type Outcome = Result<ExitCode, Box<dyn Error>>;

#[session::main(monitor = set_up)]
fn main(worker: Worker) -> Outcome {
    let mode = fs::read_to_string("mode").unwrap_or_default();
    match mode.trim() {
        "broken" => {
            io::stderr().write_all(b"there is no database\n")?;
            Ok(ExitCode::from(3))
        }
        "hang" => {
            worker.lifecycle("hanging")?;
            loop {
                thread::park();
            }
        }
        "own" => {
            let server = TcpListener::bind((worker.host(), worker.port("server")?))?;
            accept(&worker, &server)
        }
        "std" | "silent" => {
            let server = worker.listener("server")?.into_std();
            if mode.trim() == "std" {
                worker.ready()?;
            }
            accept(&worker, &server)
        }
        "sick" => serve(&worker, "503 Sick"),
        _ => serve(&worker, "200 OK"),
    }
}

fn set_up(monitor: &mut Monitor) -> session::Result<()> {
    let handle = monitor.handle();
    monitor.command("again", move |_| handle.reload())
}

fn serve(worker: &Worker, status: &str) -> Outcome {
    let server = worker.listener("server")?;
    let admin = match worker.port("admin") {
        Ok(_) => Some(worker.listener("admin")?),
        Err(_) => None,
    };
    thread::scope(|scope| {
        if let Some(admin) = &admin {
            scope.spawn(|| visit(worker, admin, "admin", status));
        }
        visit(worker, &server, "server", status);
    });
    Ok(ExitCode::SUCCESS)
}

fn visit(worker: &Worker, listener: &Listener, name: &str, status: &str) {
    for mut visitor in listener.incoming().flatten() {
        let Ok(path) = path(&mut visitor) else {
            continue;
        };
        // Before the answer: whoever has that may end this process.
        if path != "/" {
            spoil(worker, name, &path);
        }
        let _ = answer(worker, &mut visitor, name, status);
    }
}

fn spoil(worker: &Worker, name: &str, path: &str) {
    // A copy of the descriptor is the same socket.
    let socket = worker
        .listener(name)
        .map(|listener| listener.into_std().as_fd().try_clone_to_owned());
    let Ok(Ok(socket)) = socket else { return };
    match path {
        "/shutdown" => drop(TcpStream::from(socket).shutdown(Shutdown::Both)),
        "/block" => drop(TcpListener::from(socket).set_nonblocking(false)),
        _ => {}
    }
}

fn accept(worker: &Worker, server: &TcpListener) -> Outcome {
    for visitor in server.incoming() {
        match visitor {
            Ok(mut visitor) => {
                if path(&mut visitor).is_ok() {
                    let _ = answer(worker, &mut visitor, "server", "200 OK");
                }
            }
            // A held socket does not block. A runtime would wait for it; this looks again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Of one request. Its head may come in parts, and what is left unread would cost the answer.
fn path(visitor: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        match visitor.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend_from_slice(&part[..count]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}

fn answer(worker: &Worker, visitor: &mut TcpStream, name: &str, status: &str) -> io::Result<()> {
    let body = format!(
        "{name} of pid {}, generation {}\n",
        process::id(),
        worker.generation()
    );
    write!(
        visitor,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
