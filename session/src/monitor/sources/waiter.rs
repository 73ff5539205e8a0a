//! Waits for workers to die, and leaves them unreaped: only the owner signals and reaps, so no
//! signal can meet a reused pid.

use crossbeam_channel::Sender;

use super::crew::{Crew, MAX_WORKERS};
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

    /// Has a thread ready for one more worker, before there is one.
    pub(in crate::monitor) fn make_room(&mut self) -> Result<()> {
        if self.0.make_room()? {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "expected at most {MAX_WORKERS} workers at once, found one more"
        )))
    }

    /// `false`: no thread is free, which [`make_room`](Waiters::make_room) rules out.
    pub(in crate::monitor) fn watch(&self, generation: Generation, pid: u32) -> bool {
        self.0.watch(move || {
            // Dead, or not ours to wait for: reaping tells which.
            let _ = sys::observe_death(pid);
            Input::Died { generation }
        })
    }
}
