//! The other process, as user messages see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::codec::encode;
use super::message::{Message, Outcome, Reply, UserLine, check_user_name, to_args};
use super::pending::Pending;
use crate::error::Result;

/// Where lines to the other process go. Each is written whole, or not at all.
pub(crate) trait Wire: Send + Sync {
    fn write_line(&self, line: Vec<u8>) -> Result<()>;
}

/// A cheap handle on the other process of one generation.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) generation: u64,
    wire: Arc<dyn Wire>,
    pending: Arc<Pending>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Peer {
    pub(crate) fn new(generation: u64, wire: Arc<dyn Wire>) -> Peer {
        Peer {
            generation,
            wire,
            pending: Arc::default(),
        }
    }

    /// Serialises before any lock is taken, then writes one line.
    pub(crate) fn write(&self, verb: &impl Serialize) -> Result<()> {
        self.wire.write_line(encode(verb)?)
    }

    pub(crate) fn send(&self, name: &str, args: &impl Serialize) -> Result<()> {
        check_user_name(name)?;
        let message = Message {
            name: name.to_owned(),
            args: to_args(args)?,
            id: None,
        };
        self.write(&UserLine::Message(message))
    }

    pub(crate) fn request(
        &self,
        name: &str,
        args: &impl Serialize,
        timeout: Duration,
    ) -> Result<Value> {
        check_user_name(name)?;
        let args = to_args(args)?;
        self.ask(name, timeout, |id| {
            UserLine::Message(Message {
                name: name.to_owned(),
                args,
                id: Some(id),
            })
        })
    }

    /// Sends whatever verb carries the id, and waits for its reply.
    pub(crate) fn ask<V: Serialize>(
        &self,
        name: &str,
        timeout: Duration,
        verb: impl FnOnce(u64) -> V,
    ) -> Result<Value> {
        let ticket = self.pending.register()?;
        self.write(&verb(ticket.id))?;
        ticket.wait(name, timeout)
    }

    pub(crate) fn answer(&self, id: u64, outcome: Outcome) -> Result<()> {
        self.write(&UserLine::Reply(Reply { id, outcome }))
    }

    /// A reply came in. `false`: it was stale, a duplicate, or made up.
    pub(crate) fn complete(&self, reply: Reply) -> bool {
        self.pending.complete(reply.id, reply.outcome)
    }

    /// The other process is gone: every request to it ends now.
    pub(crate) fn close(&self) {
        self.pending.close();
    }
}
