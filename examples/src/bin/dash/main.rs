//! A server that is looked after: its key, its backups, its operator, its last words.
//!
//! ```text
//! $ DASH_KEY_FILE=/tmp/dash.key DASH_BACKUP_DIR=/tmp cargo run --bin dash
//! $ curl -N http://127.0.0.1:3000/events                             is told when the server ends
//! $ curl -X POST 'http://127.0.0.1:3000/backup?name=monday'          written by the monitor
//! $ curl -X POST -H "X-Session-Key: $(cat /tmp/dash.key)" http://127.0.0.1:3000/kill
//! ```
//!
//! In the first terminal type `backup friday`, `debug active root`, `pull`, and `help`.

mod keep;

use std::error::Error;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use session::{ExitReason, Worker};
use session_examples::{Request, answer, serve};

/// A backup is a small file: whatever takes longer is a disk in trouble.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The most listeners to events: the rest of the connections is for everybody else.
const MAX_LISTENERS: usize = 64;
/// How long one listener may keep the last word from the others.
const LAST_WORD: Duration = Duration::from_millis(100);
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Connection: close\r\n\r\ndata: welcome\n\n";

#[session::main(monitor = keep::set_up)]
fn main(worker: Worker) -> Result<(), Box<dyn Error>> {
    let events = Events::default();
    let audience = events.clone();
    worker.on_exit(move |reason| audience.farewell(reason))?;
    let audience = events.clone();
    worker.on("debug", move |message| {
        // A monitor that is gone needs no answer.
        let _ = message.reply(json!({ "listeners": audience.lock().len() }));
    })?;
    let server = worker.listener("server")?;
    serve(&server, move |request, stream| {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/") => answer(stream, 200, "dash is up\n"),
            ("GET", "/events") => events.attend(stream),
            ("POST", "/backup") => back_up(&worker, request, stream),
            ("POST", "/kill") => kill(&worker, request, stream),
            (_, "/" | "/events" | "/backup" | "/kill") => answer(stream, 405, "not like this\n"),
            _ => answer(stream, 404, "there is nothing here\n"),
        }
    });
    Ok(())
}

fn back_up(worker: &Worker, request: &Request, stream: &mut TcpStream) -> io::Result<()> {
    let Some(name) = request.query("name") else {
        return answer(stream, 400, "expected /backup?name=…\n");
    };
    match worker.request("backup", name, BACKUP_TIMEOUT) {
        Ok(saved) => answer(stream, 200, &format!("{saved}\n")),
        Err(session::Error::Refused { reason }) => answer(stream, 400, &format!("{reason}\n")),
        Err(error) => answer(stream, 503, &format!("{error}\n")),
    }
}

fn kill(worker: &Worker, request: &Request, stream: &mut TcpStream) -> io::Result<()> {
    if !request
        .header("X-Session-Key")
        .is_some_and(|key| worker.authorize(key))
    {
        return answer(stream, 403, "this is not the key\n");
    }
    // First the answer: afterwards this process may be gone.
    let told = answer(stream, 200, "the session ends\n");
    // It fails only if there is no monitor any more, and then this worker is ending already.
    let _ = worker.kill("killed by key", true, 0);
    told
}

/// The clients that are told when the server ends.
#[derive(Clone, Default)]
struct Events {
    audience: Arc<Mutex<Vec<TcpStream>>>,
}

impl Events {
    /// Stays until the client goes.
    fn attend(&self, stream: &mut TcpStream) -> io::Result<()> {
        let listener = stream.try_clone()?;
        let client = stream.peer_addr()?;
        stream.set_write_timeout(Some(LAST_WORD))?;
        let mut audience = self.lock();
        if audience.len() >= MAX_LISTENERS {
            drop(audience);
            return answer(stream, 503, "too many listeners\n");
        }
        // Under the lock, so that no farewell comes before it; a new connection takes it at once.
        stream.write_all(HEAD)?;
        audience.push(listener);
        drop(audience);
        stream.set_read_timeout(None)?;
        let gone = io::copy(&mut &*stream, &mut io::sink());
        self.lock()
            .retain(|other| other.peer_addr().is_ok_and(|address| address != client));
        gone.map(drop)
    }

    fn farewell(&self, reason: &ExitReason) {
        // An event ends at a line break.
        let reason = reason.to_string().replace(['\r', '\n'], " ");
        let event = format!("data: server is going down: {reason}\n\n");
        for mut listener in self.lock().drain(..) {
            // Who does not take it has gone, or is too slow to be told.
            let _ = listener.write_all(event.as_bytes());
            // Nothing more comes, and nobody stays for it: who attends is let go.
            let _ = listener.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.audience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
