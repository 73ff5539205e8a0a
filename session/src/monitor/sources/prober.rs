//! Asks workers whether they are healthy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use crate::error::{Error, Result};
use crate::machine::Generation;
use crate::monitor::input::Input;
use crate::probe::{self, Target};
use crate::thread;

/// One probe to make.
#[derive(Debug)]
pub(in crate::monitor) struct Job {
    pub(in crate::monitor) generation: Generation,
    pub(in crate::monitor) target: Target,
    pub(in crate::monitor) timeout: Duration,
    /// Before its first success: the listening socket must belong to this process group.
    pub(in crate::monitor) group: Option<u32>,
}

/// A probe may wait for its whole timeout, and while one worker takes over from another, neither
/// is to wait for the other's. The second thread is started when it is first needed.
#[derive(Debug)]
pub(in crate::monitor) struct Probers {
    inbox: Sender<Input>,
    threads: Vec<Prober>,
}

/// The supervisor has one probe of each worker in flight, and there are two workers at most.
const MAX_PROBERS: usize = 2;

#[derive(Debug)]
struct Prober {
    jobs: Sender<Job>,
    is_busy: Arc<AtomicBool>,
}

impl Probers {
    pub(in crate::monitor) fn start(inbox: Sender<Input>) -> Result<Probers> {
        let first = Prober::start(inbox.clone())?;
        Ok(Probers {
            inbox,
            threads: vec![first],
        })
    }

    /// A probe that finds every thread busy is not made; the supervisor misses its outcome after a
    /// while, and tells.
    pub(in crate::monitor) fn ask(&mut self, job: Job) {
        if !self.threads.iter().any(Prober::is_free)
            && self.threads.len() < MAX_PROBERS
            && let Ok(another) = Prober::start(self.inbox.clone())
        {
            self.threads.push(another);
        }
        if let Some(free) = self.threads.iter().find(|prober| prober.is_free()) {
            free.ask(job);
        }
    }
}

impl Prober {
    fn start(inbox: Sender<Input>) -> Result<Prober> {
        let (jobs, asked) = bounded::<Job>(1);
        let is_busy = Arc::new(AtomicBool::new(false));
        let busy = Arc::clone(&is_busy);
        thread::start("session-probe", move || {
            for job in asked {
                let outcome = probe::run(&job.target, job.timeout, job.group);
                busy.store(false, Ordering::SeqCst);
                let generation = job.generation;
                let probed = Input::Probed {
                    generation,
                    outcome,
                };
                if inbox.send(probed).is_err() {
                    return;
                }
            }
        })
        .map_err(Error::os("start the thread that probes"))?;
        Ok(Prober { jobs, is_busy })
    }

    fn is_free(&self) -> bool {
        !self.is_busy.load(Ordering::SeqCst)
    }

    fn ask(&self, job: Job) {
        self.is_busy.store(true, Ordering::SeqCst);
        let _ = self.jobs.try_send(job);
    }
}
