//! A process that runs beside the workers for one task: a thread of its own waits for it, and the
//! owner may end it.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::spawn::Spawned;
use crate::report::ExitStatus;
use crate::sys;

/// The most output of a process that failed which is told: its last words are about the failure.
const MAX_OUTPUT: usize = 2 * 1024;

/// Clones are the same errand: one for the thread that runs it, one for the owner.
#[derive(Clone, Debug, Default)]
pub(super) struct Errand {
    process: Arc<Mutex<Process>>,
}

/// The process, as far as it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Process {
    #[default]
    ToCome,
    /// Not reaped, so the pid is its own.
    Unreaped(u32),
    Gone,
}

impl Errand {
    /// Starts the process, unless the errand was abandoned before.
    pub(super) fn start(
        &self,
        spawn: impl FnOnce() -> io::Result<Spawned>,
    ) -> Result<Spawned, String> {
        let mut process = self.lock();
        if *process == Process::Gone {
            return Err("the session ends".to_owned());
        }
        let spawned = spawn().map_err(|error| format!("it cannot be started: {error}"))?;
        *process = Process::Unreaped(spawned.pid);
        Ok(spawned)
    }

    /// Ends the process with its group, if it still runs, and reaps it.
    pub(super) fn end(&self, pid: u32) -> ExitStatus {
        sys::kill_group(pid);
        let _ = sys::observe_death(pid);
        let mut process = self.lock();
        let (status, _) = sys::reap(pid);
        *process = Process::Gone;
        status
    }

    /// The session ends, and nothing of it may be left: the process is ended, or never started.
    pub(super) fn abandon(&self) {
        let mut process = self.lock();
        match *process {
            Process::Unreaped(pid) => sys::kill_group(pid),
            Process::ToCome => *process = Process::Gone,
            Process::Gone => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        // Nothing can panic while the lock is held.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it has written, on one line: standard output first.
pub(super) fn last_words(process: Spawned) -> String {
    let mut words = read_now(process.stdout);
    words.extend(read_now(process.stderr));
    let start = words.len().saturating_sub(MAX_OUTPUT);
    let text = String::from_utf8_lossy(&words[start..]);
    crate::text::escape(text.trim()).replace("\\n", " / ")
}

/// What is there now: a process that left the group may hold the pipe for ever.
fn read_now(pipe: OwnedFd) -> Vec<u8> {
    let mut words = Vec::new();
    if sys::set_nonblocking(pipe.as_fd()).is_ok() {
        let limit = 32 * MAX_OUTPUT as u64;
        let _ = std::fs::File::from(pipe)
            .take(limit)
            .read_to_end(&mut words);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_that_was_abandoned_is_never_started() {
        let errand = Errand::default();
        errand.clone().abandon();
        let started = errand.start(|| unreachable!("it is not to be spawned"));
        assert_eq!(started.map(drop), Err("the session ends".to_owned()));
        // Once more is no harm.
        errand.abandon();
    }

    #[test]
    fn one_that_could_not_be_started_may_be_tried_again() {
        let errand = Errand::default();
        for _ in 0..2 {
            let started = errand.start(|| Err(io::Error::other("no memory")));
            let why = "it cannot be started: no memory".to_owned();
            assert_eq!(started.map(drop), Err(why));
        }
        errand.abandon();
    }
}
