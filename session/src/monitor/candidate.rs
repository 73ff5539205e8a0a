//! Does a file that was put in the program's place speak with this monitor? Asked before anything
//! that serves is told to stop.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::errand::{self, Errand};
use super::input::Input;
use super::spawn::{self, Program, Spawner};
use crate::error::{Error, Result};
use crate::ipc::codec::{LineBuffer, decode};
use crate::ipc::message::{PROTOCOL, ToMonitor};
use crate::machine::HANDSHAKE_TIMEOUT;
use crate::sys::{self, Interest, Poll};
use crate::thread;

/// What waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Restart(crate::machine::How),
    Reload,
}

/// A check that is under way.
#[derive(Debug)]
pub(super) struct Check {
    errand: Errand,
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
        let errand = Errand::default();
        let shared = errand.clone();
        thread::start("session-check", move || {
            let answer = handshake(&spawner, &welcome, &shared).map(|()| program);
            let _ = inbox.send(Box::new(Input::Checked { answer, order }));
        })
        .map_err(Error::os("start the thread that checks a new program"))?;
        Ok(Check { errand })
    }

    /// The session ends, and nothing of it may be left: its process is ended, or never started.
    pub(super) fn abandon(&self) {
        self.errand.abandon();
    }
}

fn handshake(spawner: &Spawner, welcome: &[u8], errand: &Errand) -> Result<(), String> {
    let (mut ours, theirs) = spawn::channel().map_err(|error| error.to_string())?;
    ours.write_all(welcome).map_err(|error| error.to_string())?;
    let process = errand.start(|| spawner.spawn(theirs))?;
    let answer = hello(&mut ours, process.pid);
    errand.end(process.pid);
    answer.map_err(|why| match errand::last_words(process) {
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
