//! Threads that each have their eye on one worker, and tell the owner what they saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;

use crate::error::{Error, Result};
use crate::jobs::Runner;
use crate::monitor::input::Input;

/// So many workers can be there at once: an active one, and one that comes or goes beside it.
pub(super) const MAX_WORKERS: usize = 2;

/// One thread for each worker that there can be. Each is started when it is first needed, and
/// stays: a new thread would cost every restart its start.
#[derive(Debug)]
pub(super) struct Crew {
    name: &'static str,
    inbox: Sender<Box<Input>>,
    threads: Vec<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    runner: Runner,
    is_busy: Arc<AtomicBool>,
}

impl Crew {
    pub(super) fn start(name: &'static str, inbox: Sender<Box<Input>>) -> Result<Crew> {
        let mut crew = Crew {
            name,
            inbox,
            threads: Vec::new(),
        };
        crew.make_room()?;
        Ok(crew)
    }

    /// A thread that is free for one more worker; `None` if there may be no more.
    pub(super) fn free(&mut self) -> Result<Option<Free<'_>>> {
        self.make_room()?;
        let inbox = &self.inbox;
        let free = self.threads.iter().find(|watcher| watcher.is_free());
        Ok(free.map(|watcher| Free { watcher, inbox }))
    }

    fn make_room(&mut self) -> Result<()> {
        if self.threads.iter().any(Watcher::is_free) || self.threads.len() >= MAX_WORKERS {
            return Ok(());
        }
        let runner = Runner::start(self.name, 1)
            .map_err(Error::os("start a thread that watches workers"))?;
        self.threads.push(Watcher {
            runner,
            is_busy: Arc::default(),
        });
        Ok(())
    }
}

impl Watcher {
    fn is_free(&self) -> bool {
        !self.is_busy.load(Ordering::SeqCst)
    }
}

/// A thread that nobody uses: only its owner gives it work, so it stays so until it is used.
pub(super) struct Free<'a> {
    watcher: &'a Watcher,
    inbox: &'a Sender<Box<Input>>,
}

impl Free<'_> {
    /// Looks, and tells the owner what was seen.
    pub(super) fn watch(self, look: impl FnOnce() -> Input + Send + 'static) {
        let inbox = self.inbox.clone();
        let is_busy = Arc::clone(&self.watcher.is_busy);
        is_busy.store(true, Ordering::SeqCst);
        // There is room for one job, and it has none.
        let _ = self.watcher.runner.offer(move || {
            let seen = look();
            // Before the owner learns it, who may start the next one at once.
            is_busy.store(false, Ordering::SeqCst);
            // An inbox that is gone belongs to a session that is over.
            let _ = inbox.send(Box::new(seen));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn each_worker_has_a_thread_and_a_thread_is_free_before_it_tells() {
        let (inbox, told) = bounded(4);
        let (gate, closed) = bounded::<()>(0);
        let mut crew = Crew::start("test-crew", inbox).unwrap();
        for generation in 1..=2 {
            let closed = closed.clone();
            crew.free().unwrap().unwrap().watch(move || {
                let _ = closed.recv();
                Input::Died { generation }
            });
        }
        assert!(crew.free().unwrap().is_none(), "a third worker");
        drop(gate);
        for _ in 0..2 {
            let seen = told.recv_timeout(SOON).unwrap();
            assert!(matches!(*seen, Input::Died { .. }), "{seen:?}");
            assert!(crew.free().unwrap().is_some());
        }
        assert_eq!(crew.threads.len(), MAX_WORKERS);
        crew.free().unwrap().unwrap().watch(|| Input::Signal);
        assert!(matches!(*told.recv_timeout(SOON).unwrap(), Input::Signal));
    }
}
