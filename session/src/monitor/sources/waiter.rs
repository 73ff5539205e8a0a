//! Waits for one worker at a time to die, and leaves it unreaped: only the owner signals and
//! reaps, so no signal can meet a reused pid.

use std::thread;

use crossbeam_channel::{Sender, bounded};

use crate::error::{Error, Result};
use crate::machine::Generation;
use crate::monitor::input::Input;
use crate::sys;

/// Long-lived: a thread for each worker would cost every restart its start.
#[derive(Debug)]
pub(in crate::monitor) struct Waiter {
    jobs: Sender<(Generation, u32)>,
}

impl Waiter {
    pub(in crate::monitor) fn start(inbox: Sender<Input>) -> Result<Waiter> {
        // One worker is watched while the owner can hand over the next.
        let (jobs, watched) = bounded::<(Generation, u32)>(1);
        thread::Builder::new()
            .name("session-wait".into())
            .spawn(move || {
                for (generation, pid) in watched {
                    // Dead, or not ours to wait for: reaping tells which.
                    let _ = sys::observe_death(pid);
                    if inbox.send(Input::Died { generation }).is_err() {
                        return;
                    }
                }
            })
            .map_err(Error::os("start the thread that waits for workers"))?;
        Ok(Waiter { jobs })
    }

    /// `false`: the thread still watches another one, which the supervisor rules out.
    pub(in crate::monitor) fn watch(&self, generation: Generation, pid: u32) -> bool {
        self.jobs.try_send((generation, pid)).is_ok()
    }
}
