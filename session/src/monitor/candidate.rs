//! Does a file that was put in the program's place speak with this monitor? Asked before anything
//! that serves is told to stop.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;

use super::input::Input;
use super::spawn::{self, Program, Spawned, Spawner};
use crate::error::{Error, Result};
use crate::ipc::codec::{LineBuffer, decode};
use crate::ipc::message::{PROTOCOL, ToMonitor};
use crate::machine::HANDSHAKE_TIMEOUT;
use crate::sys::{self, Interest, Poll};
use crate::thread;

/// The most output of a refused program that is told: its last words are about the refusal.
const MAX_OUTPUT: usize = 2 * 1024;

/// What waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Restart(crate::machine::How),
    Reload,
}

/// A check that is under way.
#[derive(Debug)]
pub(super) struct Check {
    process: Arc<Mutex<Process>>,
}

/// The process that is checked, as far as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    ToCome,
    /// Not reaped, so the pid is its own.
    Unreaped(u32),
    Gone,
}

impl Check {
    /// Checks the program on a thread of its own, and tells the owner.
    pub(super) fn start(
        program: Arc<Program>,
        spawner: Spawner,
        welcome: Vec<u8>,
        order: Order,
        inbox: Sender<Box<Input>>,
    ) -> Result<Check> {
        let process = Arc::new(Mutex::new(Process::ToCome));
        let shared = Arc::clone(&process);
        thread::start("session-check", move || {
            let answer = handshake(&spawner, &welcome, &shared).map(|()| program);
            let _ = inbox.send(Box::new(Input::Checked { answer, order }));
        })
        .map_err(Error::os("start the thread that checks a new program"))?;
        Ok(Check { process })
    }

    /// The session ends, and nothing of it may be left: its process is ended, or never started.
    pub(super) fn abandon(&self) {
        let mut process = lock(&self.process);
        match *process {
            Process::Unreaped(pid) => sys::kill_group(pid),
            Process::ToCome => *process = Process::Gone,
            Process::Gone => {}
        }
    }
}

fn lock(process: &Mutex<Process>) -> MutexGuard<'_, Process> {
    // Nothing can panic while the lock is held.
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

fn handshake(spawner: &Spawner, welcome: &[u8], shared: &Mutex<Process>) -> Result<(), String> {
    let (mut ours, theirs) = spawn::channel().map_err(|error| error.to_string())?;
    ours.write_all(welcome).map_err(|error| error.to_string())?;
    let process = start(spawner, theirs, shared)?;
    let answer = hello(&mut ours, process.pid);
    end(process.pid, shared);
    answer.map_err(|why| match last_words(process) {
        words if words.is_empty() => why,
        words => format!("{why}; it said: {words}"),
    })
}

/// Its first line, if that is a hello of this protocol.
fn hello(channel: &mut UnixStream, pid: u32) -> Result<(), String> {
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let mut lines = LineBuffer::default();
    let mut scratch = [0; 1024];
    let mut first = None;
    while first.is_none() {
        let mut wait = [Poll::new(channel.as_fd(), Interest::Read)];
        sys::poll(&mut wait, Some(deadline)).map_err(|error| error.to_string())?;
        if !wait[0].readable() {
            return Err(format!(
                "expected a hello within {} s, found nothing",
                HANDSHAKE_TIMEOUT.as_secs()
            ));
        }
        let read = lines.read_from(channel, &mut scratch, |line| {
            first.get_or_insert_with(|| line.and_then(decode::<ToMonitor>));
        });
        match read {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    match first {
        Some(Ok(ToMonitor::Hello {
            protocol: PROTOCOL,
            pid: theirs,
            ..
        })) if theirs == pid => Ok(()),
        Some(Ok(ToMonitor::Hello { protocol, .. })) if protocol != PROTOCOL => Err(format!(
            "expected protocol {PROTOCOL}, found {protocol}: restart the monitor to move to this build"
        )),
        Some(_) => Err("its first message was no hello".to_owned()),
        None => Err("it ended without a hello".to_owned()),
    }
}

fn start(spawner: &Spawner, channel: OwnedFd, shared: &Mutex<Process>) -> Result<Spawned, String> {
    let mut process = lock(shared);
    if *process == Process::Gone {
        return Err("the session ends".to_owned());
    }
    let spawned = spawner
        .spawn(channel)
        .map_err(|error| format!("it cannot be started: {error}"))?;
    *process = Process::Unreaped(spawned.pid);
    Ok(spawned)
}

fn end(pid: u32, shared: &Mutex<Process>) {
    sys::kill_group(pid);
    let _ = sys::observe_death(pid);
    let mut process = lock(shared);
    let _ = sys::reap(pid);
    *process = Process::Gone;
}

fn last_words(process: Spawned) -> String {
    let mut words = read_now(process.stdout);
    words.extend(read_now(process.stderr));
    let start = words.len().saturating_sub(MAX_OUTPUT);
    let text = String::from_utf8_lossy(&words[start..]);
    crate::text::escape(text.trim()).replace("\\n", " / ")
}

/// What is there now: a process that left the group may hold the pipe for ever.
fn read_now(pipe: OwnedFd) -> Vec<u8> {
    let mut words = Vec::new();
    if sys::set_nonblocking(pipe.as_fd()).is_ok() {
        let limit = 32 * MAX_OUTPUT as u64;
        let _ = std::fs::File::from(pipe)
            .take(limit)
            .read_to_end(&mut words);
    }
    words
}
