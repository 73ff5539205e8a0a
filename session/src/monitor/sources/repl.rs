//! Reads what the operator types, or what is piped in.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::Duration;

use crossbeam_channel::Sender;
use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::ipc::codec::{BadLine, LineBuffer};
use crate::monitor::input::Input;
use crate::repl::MAX_LINE;
use crate::sys::{self, Interest, Poll};
use crate::thread;

/// How often a session in the background looks whether it may read the terminal: the system
/// tells nobody when that changes.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(in crate::monitor) fn start(inbox: Sender<Box<Input>>) -> Result<()> {
    thread::start("session-repl", move || {
        // A read from the background must fail instead of stopping the whole process.
        sys::block_in_this_thread(&[Signal::SIGTTIN]);
        read_lines(&inbox);
    })
    .map_err(Error::os("start the thread that reads commands"))
}

/// Ends at the end of the input, and ends nothing else.
fn read_lines(inbox: &Sender<Box<Input>>) {
    let stdin = io::stdin();
    let terminal = stdin.is_terminal();
    let mut lines = LineBuffer::with_limit(MAX_LINE);
    let mut bytes = [0; 4096];
    loop {
        match terminal.then(sys::in_foreground) {
            None | Some(Some(true)) => {}
            Some(Some(false)) => {
                std::thread::sleep(LOOK_AGAIN);
                continue;
            }
            Some(None) => return,
        }
        let mut ready = [Poll::new(stdin.as_fd(), Interest::Read)];
        if sys::poll(&mut ready, None).is_err() {
            return;
        }
        if terminal && sys::in_foreground() != Some(true) {
            continue;
        }
        match sys::read(stdin.as_fd(), &mut bytes) {
            // The foreground was lost between the look and the read.
            Err(_) if terminal && sys::in_foreground() == Some(false) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => break,
            Ok(count) => lines.feed(&bytes[..count], |line| pass_on(&line, inbox)),
        }
    }
    if let Some(bad) = lines.finish() {
        // `printf 'exit clean'` has no newline, and means it.
        match bad {
            BadLine::Cut(line) => pass_on(&Ok(&line), inbox),
            other => pass_on(&Err(other), inbox),
        }
    }
}

fn pass_on(line: &Result<&[u8], BadLine>, inbox: &Sender<Box<Input>>) {
    // The owner always reads its inbox, so this waits for microseconds; and if it is gone, the
    // session is over.
    let _ = inbox.send(Box::new(match line {
        Ok(line) => {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            Input::Line(crate::text::lossy(line).into_owned())
        }
        Err(_) => Input::LineTooLong,
    }));
}
