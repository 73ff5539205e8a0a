//! A thread that does jobs, one at a time.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use crate::slot::Slot;
use crate::thread;

/// Whatever it is about, it has this one type: a channel's code is compiled for each type that it
/// carries.
type Job = Box<dyn FnOnce() + Send>;

/// A named thread, and the jobs that wait for it. One that hangs holds up its own kind only.
pub(crate) struct Runner {
    jobs: Sender<Job>,
    /// Full when the thread has done all its jobs and takes no more.
    ended: Arc<Slot<()>>,
}

impl Runner {
    /// At most so many jobs wait.
    pub(crate) fn start(name: &str, most: usize) -> io::Result<Runner> {
        let (jobs, given) = bounded::<Job>(most);
        let ended = Arc::new(Slot::empty());
        let end = Arc::clone(&ended);
        thread::start(name, move || {
            for job in given {
                job();
            }
            end.put(());
        })?;
        Ok(Runner { jobs, ended })
    }

    /// Never blocks; `false` if too much waits already.
    pub(crate) fn offer(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.jobs.try_send(Box::new(job)).is_ok()
    }

    /// At the very end of the session: waits until all jobs are done, or the time is over.
    pub(crate) fn finish(self, within: Duration) {
        drop(self.jobs);
        let _ = self.ended.take(within);
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::Receiver;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);
    const MOST: usize = 16;

    /// A runner whose first job waits until the gate is dropped.
    fn gated() -> (Runner, Sender<()>) {
        let (gate, closed) = bounded::<()>(0);
        let runner = Runner::start("test-runner", MOST).unwrap();
        assert!(runner.offer(move || {
            let _ = closed.recv();
        }));
        (runner, gate)
    }

    fn offer(runner: &Runner, count: usize) -> (usize, Receiver<usize>) {
        let (done, seen) = bounded(count);
        let taken = (0..count).filter(|job| {
            let (job, done) = (*job, done.clone());
            runner.offer(move || {
                let _ = done.send(job);
            })
        });
        (taken.count(), seen)
    }

    #[test]
    fn a_runner_takes_so_many_jobs_and_does_them_all_before_its_end() {
        let (runner, gate) = gated();
        let (taken, seen) = offer(&runner, 10_000);
        // The first may be under way already.
        assert!((MOST - 1..=MOST).contains(&taken), "{taken}");
        drop(gate);
        runner.finish(SOON);
        assert_eq!(seen.try_iter().count(), taken);
    }

    #[test]
    fn a_job_that_hangs_does_not_hold_up_the_end() {
        let (runner, _gate) = gated();
        let (taken, seen) = offer(&runner, 1);
        assert_eq!(taken, 1);
        runner.finish(Duration::from_millis(1));
        assert!(seen.is_empty());
    }
}
