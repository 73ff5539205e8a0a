//! Waits for workers to die, and leaves them unreaped: only the owner signals and reaps, so no
//! signal can meet a reused pid.

use crossbeam_channel::Sender;

use super::crew::{Crew, Free, MAX_WORKERS};
use crate::error::{Error, Result};
use crate::machine::Generation;
use crate::monitor::input::Input;
use crate::sys;

#[derive(Debug)]
pub(in crate::monitor) struct Waiters(Crew);

impl Waiters {
    pub(in crate::monitor) fn start(inbox: Sender<Box<Input>>) -> Result<Waiters> {
        Crew::start("session-wait", inbox).map(Waiters)
    }

    /// One for a worker that is yet to be started: afterwards it must not fail.
    pub(in crate::monitor) fn free(&mut self) -> Result<Waiter<'_>> {
        self.0.free()?.map(Waiter).ok_or_else(|| {
            Error::Invalid(format!(
                "expected at most {MAX_WORKERS} workers at once, found one more"
            ))
        })
    }
}

/// A thread that is free to wait for a worker.
pub(in crate::monitor) struct Waiter<'a>(Free<'a>);

impl Waiter<'_> {
    pub(in crate::monitor) fn watch(self, generation: Generation, pid: u32) {
        self.0.watch(move || {
            // Dead, or not ours to wait for: reaping tells which.
            let _ = sys::observe_death(pid);
            Input::Died { generation }
        });
    }
}
