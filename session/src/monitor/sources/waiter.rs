//! Waits for workers to die, and leaves them unreaped: only the owner signals and reaps, so no
//! signal can meet a reused pid.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Sender, bounded};

use crate::error::{Error, Result};
use crate::machine::Generation;
use crate::monitor::input::Input;
use crate::{sys, thread};

/// So many workers can be there at once: an active one, and one that comes or goes beside it.
const MAX_WORKERS: usize = 2;

/// One thread for each worker that there can be. Each is started when it is first needed, and
/// stays: a new thread would cost every restart its start.
#[derive(Debug)]
pub(in crate::monitor) struct Waiters {
    inbox: Sender<Input>,
    threads: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    jobs: Sender<(Generation, u32)>,
    is_busy: Arc<AtomicBool>,
}

impl Waiters {
    pub(in crate::monitor) fn start(inbox: Sender<Input>) -> Result<Waiters> {
        let first = Waiter::start(inbox.clone())?;
        Ok(Waiters {
            inbox,
            threads: vec![first],
        })
    }

    /// Has a thread ready for one more worker, before there is one.
    pub(in crate::monitor) fn make_room(&mut self) -> Result<()> {
        if self.threads.iter().any(Waiter::is_free) {
            return Ok(());
        }
        if self.threads.len() >= MAX_WORKERS {
            return Err(Error::Invalid(format!(
                "expected at most {MAX_WORKERS} workers at once, found one more"
            )));
        }
        self.threads.push(Waiter::start(self.inbox.clone())?);
        Ok(())
    }

    /// `false`: no thread is free, which [`make_room`](Waiters::make_room) rules out.
    pub(in crate::monitor) fn watch(&self, generation: Generation, pid: u32) -> bool {
        self.threads
            .iter()
            .find(|waiter| waiter.is_free())
            .is_some_and(|waiter| waiter.watch(generation, pid))
    }
}

impl Waiter {
    fn start(inbox: Sender<Input>) -> Result<Waiter> {
        let (jobs, watched) = bounded::<(Generation, u32)>(1);
        let is_busy = Arc::new(AtomicBool::new(false));
        let busy = Arc::clone(&is_busy);
        thread::start("session-wait", move || {
            for (generation, pid) in watched {
                // Dead, or not ours to wait for: reaping tells which.
                let _ = sys::observe_death(pid);
                // Before the owner learns it, who may start the next one at once.
                busy.store(false, Ordering::SeqCst);
                if inbox.send(Input::Died { generation }).is_err() {
                    return;
                }
            }
        })
        .map_err(Error::os("start the thread that waits for workers"))?;
        Ok(Waiter { jobs, is_busy })
    }

    fn is_free(&self) -> bool {
        !self.is_busy.load(Ordering::SeqCst)
    }

    fn watch(&self, generation: Generation, pid: u32) -> bool {
        self.is_busy.store(true, Ordering::SeqCst);
        self.jobs.try_send((generation, pid)).is_ok()
    }
}
