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

    /// Has a thread ready for one more worker; `false` if there may be no more.
    pub(super) fn make_room(&mut self) -> Result<bool> {
        if self.threads.iter().any(Watcher::is_free) {
            return Ok(true);
        }
        if self.threads.len() >= MAX_WORKERS {
            return Ok(false);
        }
        let runner = Runner::start(self.name, 1)
            .map_err(Error::os("start a thread that watches workers"))?;
        self.threads.push(Watcher {
            runner,
            is_busy: Arc::default(),
        });
        Ok(true)
    }

    /// Looks on a thread that is free, and tells the owner what was seen. `false`: none is free.
    pub(super) fn watch(&self, look: impl FnOnce() -> Input + Send + 'static) -> bool {
        let free = self.threads.iter().find(|watcher| watcher.is_free());
        free.is_some_and(|watcher| watcher.watch(look, self.inbox.clone()))
    }
}

impl Watcher {
    fn is_free(&self) -> bool {
        !self.is_busy.load(Ordering::SeqCst)
    }

    fn watch(
        &self,
        look: impl FnOnce() -> Input + Send + 'static,
        inbox: Sender<Box<Input>>,
    ) -> bool {
        self.is_busy.store(true, Ordering::SeqCst);
        let is_busy = Arc::clone(&self.is_busy);
        self.runner.offer(move || {
            let seen = look();
            // Before the owner learns it, who may start the next one at once.
            is_busy.store(false, Ordering::SeqCst);
            // An inbox that is gone belongs to a session that is over.
            let _ = inbox.send(Box::new(seen));
        })
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
            assert!(crew.make_room().unwrap());
            let closed = closed.clone();
            assert!(crew.watch(move || {
                let _ = closed.recv();
                Input::Died { generation }
            }));
        }
        assert!(!crew.make_room().unwrap(), "a third worker");
        assert!(!crew.watch(|| Input::Signal));
        drop(gate);
        for _ in 0..2 {
            let seen = told.recv_timeout(SOON).unwrap();
            assert!(matches!(*seen, Input::Died { .. }), "{seen:?}");
            assert!(crew.make_room().unwrap());
        }
        assert_eq!(crew.threads.len(), MAX_WORKERS);
        assert!(crew.watch(|| Input::Signal));
        assert!(matches!(*told.recv_timeout(SOON).unwrap(), Input::Signal));
    }
}
