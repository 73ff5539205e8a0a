//! What the owner does to the outside, and its clock: all in one place, so that a test can be the
//! outside.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::input::Input;
use super::outbox::Outbox;
use super::sources::io::{Connection, Io};
use super::sources::prober::{Job, Probers};
use super::sources::waiter::Waiters;
use super::spawn::{self, Spawner};
use crate::error::{Error, Result};
use crate::ipc::message::{ToWorker, Welcome};
use crate::ipc::peer::Peer;
use crate::machine::Generation;
use crate::process_table::{self, Stat};
use crate::report::ExitStatus;
use crate::sys::{self, Usage};

/// The outside, as the owner's loop meets it. Nothing here blocks but [`wait`](World::wait).
pub(super) trait World: fmt::Debug {
    /// Monotonic time.
    fn now(&self) -> Instant;

    /// The next that comes in, or [`Timeout`](RecvTimeoutError::Timeout) at the deadline.
    fn wait(
        &mut self,
        inbox: &Receiver<Box<Input>>,
        deadline: Option<Instant>,
    ) -> Result<Box<Input>, RecvTimeoutError>;

    /// Starts a worker. The welcome is in its channel before it runs, so it never waits for it.
    fn spawn(&mut self, spawner: &Spawner, welcome: Welcome) -> Result<Started>;

    /// Asks a worker whether it is healthy; [`Input::Probed`] is to come.
    fn probe(&mut self, job: Job);

    /// SIGTERM and SIGCONT to a group whose leader is not reaped.
    fn terminate(&mut self, pid: u32);

    /// SIGKILL to a group whose leader is not reaped.
    fn kill(&mut self, pid: u32);

    /// Of a worker that is known to be dead.
    fn reap(&mut self, pid: u32) -> (ExitStatus, Usage);

    /// A child of this thread that is dead and not reaped, be it a worker or an orphan.
    fn dead_child(&mut self) -> Option<u32>;

    /// `true` if it was dead, and is reaped now.
    fn reap_if_dead(&mut self, pid: u32) -> bool;

    /// The children of this thread, dead ones too, as far as they can be told.
    fn children(&self) -> Vec<u32>;

    /// What a process is called and does.
    fn look_at(&self, pid: u32) -> Option<Stat>;

    /// The worker is dead: its output has this long to end.
    fn drain(&mut self, generation: Generation, within: Duration);
}

/// A worker that has just been started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) peer: Peer,
    /// `None`: no descriptor can be handed to it.
    pub(super) outbox: Option<Arc<Outbox>>,
}

/// The real one: processes, sockets, threads.
#[derive(Debug)]
pub(super) struct Real {
    pub(super) waiters: Waiters,
    pub(super) probers: Probers,
    pub(super) io: Io,
}

impl World for Real {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(
        &mut self,
        inbox: &Receiver<Box<Input>>,
        deadline: Option<Instant>,
    ) -> Result<Box<Input>, RecvTimeoutError> {
        match deadline {
            Some(at) => inbox.recv_deadline(at),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn spawn(&mut self, spawner: &Spawner, welcome: Welcome) -> Result<Started> {
        let generation = welcome.generation;
        let (ours, theirs) = spawn::channel().map_err(Error::os("make a socket pair"))?;
        let ours = Arc::new(ours);
        let outbox = Arc::new(Outbox::new(Arc::clone(&ours), self.io.waker));
        let peer = Peer::new(generation, Arc::clone(&outbox) as Arc<_>);
        peer.write(&ToWorker::Welcome(welcome))?;
        let waiter = self.waiters.free()?;
        let spawned = spawner
            .spawn(theirs)
            .map_err(Error::os("start a process"))?;
        waiter.watch(generation, spawned.pid);
        self.io.add(Connection::new(
            peer.clone(),
            ours,
            Arc::clone(&outbox),
            spawned.stdout,
            spawned.stderr,
        ));
        Ok(Started {
            pid: spawned.pid,
            peer,
            outbox: Some(outbox),
        })
    }

    fn probe(&mut self, job: Job) {
        self.probers.ask(job);
    }

    fn terminate(&mut self, pid: u32) {
        sys::terminate_group(pid);
    }

    fn kill(&mut self, pid: u32) {
        sys::kill_group(pid);
    }

    fn reap(&mut self, pid: u32) -> (ExitStatus, Usage) {
        sys::reap(pid)
    }

    fn dead_child(&mut self) -> Option<u32> {
        sys::dead_child()
    }

    fn reap_if_dead(&mut self, pid: u32) -> bool {
        sys::reap_if_dead(pid)
    }

    fn children(&self) -> Vec<u32> {
        process_table::children_of_this_thread()
    }

    fn look_at(&self, pid: u32) -> Option<Stat> {
        process_table::look_at(pid)
    }

    fn drain(&mut self, generation: Generation, within: Duration) {
        self.io.drain(generation, within);
    }
}
