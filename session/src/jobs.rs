//! A thread that does jobs, one at a time.

use std::fmt;
use std::io;

use crossbeam_channel::{Sender, bounded};

use crate::thread;

/// Whatever it is about, it has this one type: a channel's code is compiled for each type that it
/// carries.
type Job = Box<dyn FnOnce() + Send>;

/// A named thread, and the jobs that wait for it. One that hangs holds up its own kind only.
///
/// Once it is dropped the thread does the jobs that it has, and ends.
pub(crate) struct Runner {
    jobs: Sender<Job>,
}

impl Runner {
    /// At most so many jobs wait.
    pub(crate) fn start(name: &str, most: usize) -> io::Result<Runner> {
        Runner::start_with_end(name, most, Box::new(|| {}))
    }

    /// The last thing that the thread does is `at_end`.
    pub(crate) fn start_with_end(name: &str, most: usize, at_end: Job) -> io::Result<Runner> {
        let (jobs, given) = bounded::<Job>(most);
        thread::start(name, move || {
            for job in given {
                job();
            }
            at_end();
        })?;
        Ok(Runner { jobs })
    }

    /// Never blocks; `false` if too much waits already.
    pub(crate) fn offer(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.jobs.try_send(Box::new(job)).is_ok()
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::Receiver;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);
    const MOST: usize = 16;

    /// A runner whose first job waits until the gate is dropped, and what tells of its end.
    fn gated() -> (Runner, Sender<()>, Receiver<()>) {
        let (gate, closed) = bounded::<()>(0);
        let (end, ended) = bounded(1);
        let at_end = Box::new(move || {
            let _ = end.send(());
        });
        let runner = Runner::start_with_end("test-runner", MOST, at_end).unwrap();
        assert!(runner.offer(move || {
            let _ = closed.recv();
        }));
        (runner, gate, ended)
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
        let (runner, gate, ended) = gated();
        let (taken, seen) = offer(&runner, 10_000);
        // The first may be under way already.
        assert!((MOST - 1..=MOST).contains(&taken), "{taken}");
        drop(gate);
        drop(runner);
        ended.recv_timeout(SOON).unwrap();
        assert_eq!(seen.try_iter().count(), taken);
    }

    #[test]
    fn a_job_that_hangs_holds_up_nobody_who_drops_the_runner() {
        let (runner, gate, ended) = gated();
        let (taken, seen) = offer(&runner, 1);
        assert_eq!(taken, 1);
        drop(runner);
        assert!(seen.is_empty() && ended.is_empty());
        drop(gate);
        ended.recv_timeout(SOON).unwrap();
    }
}
