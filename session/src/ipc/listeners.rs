//! Listeners for user messages, and what they are given.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::message::{Outcome, check_name, to_args};
use super::peer::Peer;
use crate::error::{Error, Result};

/// A message from the other process, as its listeners get it.
///
/// It is cheap to clone, and may be moved to another thread to be answered later. A request that
/// nobody has answered when its last clone is dropped is answered with "no reply".
#[derive(Clone, Debug)]
pub struct Message {
    name: Arc<str>,
    args: Arc<Value>,
    generation: u64,
    request: Option<Arc<Request>>,
}

/// The duty to answer, once.
#[derive(Debug)]
struct Request {
    id: u64,
    peer: Peer,
    answered: AtomicBool,
}

impl Message {
    pub(crate) fn new(name: &str, args: Value, generation: u64) -> Message {
        Message {
            name: name.into(),
            args: Arc::new(args),
            generation,
            request: None,
        }
    }

    pub(crate) fn request(name: &str, args: Value, id: u64, peer: Peer) -> Message {
        let generation = peer.generation;
        let request = Arc::new(Request {
            id,
            peer,
            answered: AtomicBool::new(false),
        });
        Message {
            request: Some(request),
            ..Message::new(name, args, generation)
        }
    }

    /// The name it was sent under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its arguments.
    #[must_use]
    pub fn args(&self) -> &Value {
        &self.args
    }

    /// Its arguments as a type of the program's own.
    ///
    /// # Errors
    /// [`Error::Json`] if they do not fit that type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&*self.args).map_err(Error::Json)
    }

    /// The generation of the worker that sent it, or, in a worker, its own.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Does somebody wait for an answer?
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.request.is_some()
    }

    /// Answers a request. The first answer counts; an answer to a message that is no request,
    /// or to a request answered before, does nothing.
    ///
    /// # Errors
    /// If the answer cannot be turned into JSON, is too long, or the asker is gone.
    pub fn reply(&self, answer: impl Serialize) -> Result<()> {
        match self.claim() {
            None => Ok(()),
            Some(request) => {
                let outcome = to_args(&answer)
                    .map(Outcome::Answer)
                    .unwrap_or_else(refused);
                match request.peer.answer(request.id, outcome) {
                    Err(error @ Error::TooLong { .. }) => {
                        request.peer.answer(request.id, refused(error))
                    }
                    other => other,
                }
            }
        }
    }

    /// Answers a request with an error, which the asker gets as [`Error::Refused`].
    ///
    /// # Errors
    /// As [`reply`](Message::reply).
    pub fn refuse(&self, reason: impl fmt::Display) -> Result<()> {
        match self.claim() {
            None => Ok(()),
            Some(request) => request.peer.answer(request.id, refused(reason)),
        }
    }

    fn claim(&self) -> Option<&Request> {
        self.request
            .as_deref()
            .filter(|request| !request.answered.swap(true, Ordering::SeqCst))
    }
}

pub(crate) fn refused(reason: impl fmt::Display) -> Outcome {
    Outcome::Refused(
        super::message::bounded(&reason.to_string(), super::message::MAX_TEXT).into_owned(),
    )
}

impl Drop for Request {
    fn drop(&mut self) {
        if !*self.answered.get_mut() {
            // The asker may be gone; then nobody waits.
            let _ = self.peer.answer(self.id, Outcome::NoReply);
        }
    }
}

/// Names one listener, so that it can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

type Listener = Arc<dyn Fn(&Message) + Send + Sync>;

/// The listeners of one process, by name, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Listeners {
    table: RwLock<HashMap<String, Vec<(ListenerId, Listener)>>>,
    last_id: AtomicU64,
}

/// The most listeners under all names: more is a leak of the caller's.
pub(crate) const MAX_LISTENERS: usize = 4096;

impl Listeners {
    pub(crate) fn add(
        &self,
        name: &str,
        listener: impl Fn(&Message) + Send + Sync + 'static,
    ) -> Result<ListenerId> {
        check_name(name)?;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.values().map(Vec::len).sum::<usize>() >= MAX_LISTENERS {
            return Err(Error::Invalid(format!(
                "expected at most {MAX_LISTENERS} listeners, found one more for `{name}`"
            )));
        }
        let id = ListenerId(self.last_id.fetch_add(1, Ordering::Relaxed));
        table
            .entry(name.to_owned())
            .or_default()
            .push((id, Arc::new(listener)));
        Ok(id)
    }

    /// `false`: it was removed before.
    pub(crate) fn remove(&self, id: ListenerId) -> bool {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let before: usize = table.values().map(Vec::len).sum();
        table.retain(|_, listeners| {
            listeners.retain(|(other, _)| *other != id);
            !listeners.is_empty()
        });
        table.values().map(Vec::len).sum::<usize>() < before
    }

    pub(crate) fn clear(&self, name: &str) {
        self.table
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    /// Would anybody hear a message of this name?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(name)
    }

    /// Runs every listener of the message's name, isolated from one another; tells how many
    /// there were and how many panicked. A listener may add and remove listeners meanwhile.
    pub(crate) fn tell(&self, message: &Message) -> Told {
        let listeners = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            table.get(message.name()).cloned().unwrap_or_default()
        };
        let panicked = listeners
            .iter()
            .filter(|(_, listener)| catch_unwind(AssertUnwindSafe(|| listener(message))).is_err())
            .count();
        Told {
            listeners: listeners.len(),
            panicked,
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) listeners: usize,
    pub(crate) panicked: usize,
}
