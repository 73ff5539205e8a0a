//! A thread that writes lines, so that whoever has something to say never waits for a terminal.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::queue::{Origin, Queue};
use super::sink::{Pen, Sink};
use crate::thread;

/// Lines that never got out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Gave way in a full queue, or came after the writer was closed.
    pub(crate) dropped: u64,
    /// The stream did not take them.
    pub(crate) failed: u64,
}

/// One stream, its queue and its thread. Without lines the thread sleeps and never wakes.
///
/// The thread is not joined: it may sit in a write to a terminal that is stalled for good.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is a line to write, or the writer was closed.
    work: Condvar,
    /// All that was pushed has been written.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    lost: Lost,
    /// Lost lines that the reader has not been told about.
    untold: u64,
    writing: bool,
    closed: bool,
    ended: bool,
}

/// What the thread writes next.
struct Job {
    /// So many lines are missing before this one.
    untold: u64,
    line: Box<[u8]>,
}

impl Writer {
    /// Starts the thread. `notice` makes the line which says that so many lines were lost.
    pub(crate) fn start(
        name: &str,
        sink: impl Sink + Send + 'static,
        notice: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Self {
            shared: Arc::clone(&shared),
        };
        thread::start(name, move || {
            block_terminal_signals();
            run(&shared, Pen::new(sink), notice);
        })?;
        Ok(writer)
    }

    /// Takes a whole line, its newline included. Never waits for the stream.
    pub(crate) fn push(&self, line: Vec<u8>) {
        self.shared.push(line.into_boxed_slice(), Origin::Monitor);
    }

    /// Like [`push`](Self::push), for a line of a worker's output: when the queue is full these go
    /// before the monitor's own.
    pub(crate) fn push_raw(&self, line: Vec<u8>) {
        self.shared.push(line.into_boxed_slice(), Origin::Output);
    }

    /// Waits until all that was pushed is written; false when the time was over first.
    pub(crate) fn flush(&self, within: Duration) -> bool {
        let state = self.shared.lock();
        let (_state, waited) = self
            .shared
            .idle
            .wait_timeout_while(state, within, |state| !state.is_idle())
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    pub(crate) fn lost(&self) -> Lost {
        self.shared.lock().lost
    }

    /// Takes no more lines. Those in the queue are still written, then the thread ends.
    pub(crate) fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// The state is whole between any two statements, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Box<[u8]>, origin: Origin) {
        let mut state = self.lock();
        let dropped = if state.closed {
            1
        } else {
            state.queue.push(line, origin)
        };
        state.lost.dropped += dropped;
        state.untold += dropped;
        drop(state);
        self.work.notify_one();
    }

    /// Blocks until there is a line; `None` when the writer is closed and all lines are written.
    fn next(&self) -> Option<Job> {
        let state = self.lock();
        let mut state = self
            .work
            .wait_while(state, |state| state.queue.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let line = state.queue.pop()?;
        state.writing = true;
        Some(Job {
            untold: std::mem::take(&mut state.untold),
            line,
        })
    }

    /// Takes in how the job went.
    fn finish(&self, untold: u64, written: bool) {
        let mut state = self.lock();
        state.writing = false;
        if !written {
            state.lost.failed += 1;
            state.untold += untold + 1;
        }
        if state.is_idle() {
            self.idle.notify_all();
        }
    }

    fn end(&self) {
        self.lock().ended = true;
        self.idle.notify_all();
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.writing && self.closed == self.ended
    }
}

fn run<S: Sink>(shared: &Shared, mut pen: Pen<S>, notice: impl Fn(u64) -> Vec<u8>) {
    let tell = |pen: &mut Pen<S>, untold| match untold {
        0 => Ok(()),
        _ => pen.write_line(&notice(untold)),
    };
    while let Some(Job { untold, line }) = shared.next() {
        // A stream that refuses the notice is spared the line, so it is asked once per line.
        let written = tell(&mut pen, untold).and_then(|()| pen.write_line(&line));
        shared.finish(untold, written.is_ok());
    }
    let untold = shared.lock().untold;
    // Nobody is left to hear of it should the last notice fail; `lost` still has the count.
    let _ = tell(&mut pen, untold);
    shared.end();
}

/// In the background of a terminal with `tostop` a write would stop the whole process; with SIGTTOU
/// blocked it goes through. SIGPIPE stays an error even if the program has made it deadly again.
/// The mask is this thread's own, and no thread or process is started from here.
fn block_terminal_signals() {
    let signals = SigSet::from_iter([Signal::SIGTTOU, Signal::SIGPIPE]);
    // Fails only for an unknown way of setting a mask.
    let _ = signals.thread_block();
}

// Miri has no signal masks, so it cannot start a writer; the queue and the pen are tested under it.
#[cfg(all(test, not(miri)))]
#[path = "writer_tests.rs"]
mod tests;
