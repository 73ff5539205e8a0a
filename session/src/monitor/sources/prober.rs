//! Asks workers whether they are healthy.

use std::time::Duration;

use crossbeam_channel::Sender;

use super::crew::Crew;
use crate::error::Result;
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

/// A probe may wait for its whole timeout, and while one worker takes over from another, neither
/// is to wait for the other's. The supervisor has one probe of each worker in flight.
#[derive(Debug)]
pub(in crate::monitor) struct Probers(Crew);

impl Probers {
    pub(in crate::monitor) fn start(inbox: Sender<Box<Input>>) -> Result<Probers> {
        Crew::start("session-probe", inbox).map(Probers)
    }

    /// A probe that finds every thread busy is not made; the supervisor misses its outcome after a
    /// while, and tells.
    pub(in crate::monitor) fn ask(&mut self, job: Job) {
        if let Ok(Some(free)) = self.0.free() {
            free.watch(move || Input::Probed {
                generation: job.generation,
                outcome: probe::run(&job.target, job.timeout, job.group),
            });
        }
    }
}
