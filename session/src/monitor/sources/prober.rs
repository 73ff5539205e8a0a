//! Asks one worker at a time whether it is healthy.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use crate::error::{Error, Result};
use crate::machine::Generation;
use crate::monitor::input::Input;
use crate::probe::{self, Target};

/// One probe to make.
#[derive(Debug)]
pub(in crate::monitor) struct Job {
    pub(in crate::monitor) generation: Generation,
    pub(in crate::monitor) target: Target,
    pub(in crate::monitor) timeout: Duration,
    /// Before its first success: the listening socket must belong to this process group.
    pub(in crate::monitor) group: Option<u32>,
}

#[derive(Debug)]
pub(in crate::monitor) struct Prober {
    jobs: Sender<Job>,
}

impl Prober {
    pub(in crate::monitor) fn start(inbox: Sender<Input>) -> Result<Prober> {
        // The supervisor has one probe in flight; a second waits behind one that is overdue.
        let (jobs, asked) = bounded::<Job>(1);
        thread::Builder::new()
            .name("session-probe".into())
            .spawn(move || {
                for Job { generation, target, timeout, group } in asked {
                    let outcome = probe::run(&target, timeout, group);
                    if inbox.send(Input::Probed { generation, outcome }).is_err() {
                        return;
                    }
                }
            })
            .map_err(Error::os("start the thread that probes"))?;
        Ok(Prober { jobs })
    }

    /// A probe that finds the thread still busy is not made; the supervisor misses its outcome
    /// after a while, and tells.
    pub(in crate::monitor) fn ask(&self, job: Job) {
        let _ = self.jobs.try_send(job);
    }
}
