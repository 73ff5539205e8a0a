//! The thread that runs the listeners of user messages.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::Value;

use super::listeners::{Listeners, Message, Told};
use super::message;
use super::message::Outcome;
use super::peer::Peer;
use crate::thread;

/// The most messages that wait for the listeners: some hundredths of a second at full speed.
pub(crate) const MAX_QUEUED: usize = 16 * 1024;
/// The most bytes of arguments that wait: what a monitor of under a megabyte can afford.
pub(crate) const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// Hears what came of each message; for the log.
pub(crate) type Observer = Box<dyn Fn(&Message, Told) + Send>;

/// Hands messages from the reader, which never waits, to the listeners, which may.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    queue: Sender<Job>,
    shared: Arc<Shared>,
    started: AtomicBool,
    jobs: Receiver<Job>,
}

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Job {
    /// Arguments are parsed by the listeners' thread, off the reader's path.
    Foreign {
        message: message::Message,
        peer: Peer,
    },
    /// The library's own word to listeners of a built-in name.
    Own(Message),
}

impl Dispatcher {
    pub(crate) fn new() -> Dispatcher {
        let (queue, jobs) = bounded(MAX_QUEUED);
        Dispatcher {
            queue,
            shared: Arc::default(),
            started: AtomicBool::new(false),
            jobs,
        }
    }

    /// Starts the thread; once it runs, later calls do nothing.
    pub(crate) fn start(&self, listeners: Arc<Listeners>, observe: Observer) -> io::Result<()> {
        if self.started.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let (jobs, shared) = (self.jobs.clone(), Arc::clone(&self.shared));
        let spawned = thread::start("session-messages", move || {
            for job in jobs {
                if let Some(message) = shared.open(job) {
                    let told = listeners.tell(&message);
                    observe(&message, told);
                }
            }
        });
        // A system short of threads may have one when it is asked again.
        self.started.store(spawned.is_ok(), Ordering::SeqCst);
        spawned
    }

    /// Never blocks. A message that finds the queue full is dropped and counted; a request is
    /// answered "busy".
    pub(crate) fn offer(&self, message: message::Message, peer: &Peer) {
        let size = message.args.get().len();
        let id = message.id;
        let queued = self.shared.bytes.fetch_add(size, Ordering::Relaxed);
        let fits = queued + size <= MAX_QUEUED_BYTES;
        if fits
            && self
                .queue
                .try_send(Job::Foreign {
                    message,
                    peer: peer.clone(),
                })
                .is_ok()
        {
            return;
        }
        self.shared.bytes.fetch_sub(size, Ordering::Relaxed);
        match id {
            // The asker may be gone; then nobody waits.
            Some(id) => drop(peer.answer(id, Outcome::Busy)),
            None => drop(self.shared.dropped.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// As [`offer`](Dispatcher::offer), for the library's own messages.
    pub(crate) fn tell(&self, name: &str, args: Value, generation: u64) {
        if self
            .queue
            .try_send(Job::Own(Message::new(name, args, generation)))
            .is_err()
        {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many messages were dropped since this was last asked.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.shared.dropped.swap(0, Ordering::Relaxed)
    }
}

impl Shared {
    fn open(&self, job: Job) -> Option<Message> {
        match job {
            Job::Own(message) => Some(message),
            Job::Foreign { message, peer } => {
                self.bytes
                    .fetch_sub(message.args.get().len(), Ordering::Relaxed);
                let args = serde_json::from_str(message.args.get());
                match (args, message.id) {
                    (Ok(args), Some(id)) => Some(Message::request(&message.name, args, id, peer)),
                    (Ok(args), None) => Some(Message::new(&message.name, args, peer.generation)),
                    // Well-formed JSON that no `Value` can hold: a number that is too large.
                    (Err(error), Some(id)) => {
                        let _ = peer.answer(id, Outcome::Refused(error.to_string()));
                        None
                    }
                    (Err(_), None) => {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                        None
                    }
                }
            }
        }
    }
}
