//! Requests that wait for their answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::message::Outcome;
use crate::error::{Error, Result};
use crate::slot::Slot;

/// The most requests in flight from one side to the other: each holds a thread of the asker.
pub(crate) const MAX_PENDING: usize = 1024;

/// Every request completes exactly once: by its reply, its timeout, or the peer's death.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    waiting: HashMap<u64, Arc<Answer>>,
    closed: bool,
}

/// Where the one who asked waits; an error says that nobody is there to answer.
type Answer = Slot<Result<Outcome>>;

/// One request that was sent; dropping it forgets the request.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    pub(crate) id: u64,
    answer: Arc<Answer>,
    pending: &'a Pending,
}

impl Pending {
    pub(crate) fn register(&self) -> Result<Ticket<'_>> {
        let mut table = self.lock();
        if table.closed {
            return Err(Error::PeerDied);
        }
        if table.waiting.len() >= MAX_PENDING {
            return Err(Error::Busy);
        }
        table.last_id += 1;
        let id = table.last_id;
        let answer = Arc::new(Slot::empty());
        table.waiting.insert(id, Arc::clone(&answer));
        Ok(Ticket {
            id,
            answer,
            pending: self,
        })
    }

    /// Gives the answer to whoever waits for it. `false`: nobody does (any more), or it was
    /// answered before.
    pub(crate) fn complete(&self, id: u64, outcome: Outcome) -> bool {
        let waiting = self.lock().waiting.remove(&id);
        waiting.is_some_and(|answer| {
            answer.put(Ok(outcome));
            true
        })
    }

    /// The peer is gone: whoever waits learns it at once, and nobody can wait any more.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        for (_, answer) in table.waiting.drain() {
            answer.put(Err(Error::PeerDied));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing can panic while the lock is held, so the table is whole in any case.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    pub(crate) fn wait(self, name: &str, timeout: Duration) -> Result<Value> {
        let outcome = self.answer.take(timeout);
        match outcome.unwrap_or(Err(Error::Timeout(timeout)))? {
            Outcome::Answer(args) => serde_json::from_str(args.get()).map_err(Error::Json),
            Outcome::Refused(reason) => Err(Error::Refused { reason }),
            Outcome::NoReply => Err(Error::NoReply {
                name: name.to_owned(),
            }),
            Outcome::Busy => Err(Error::Busy),
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.pending.lock().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_request_completes_exactly_once() {
        let pending = Pending::default();
        let ticket = pending.register().unwrap();
        let id = ticket.id;
        assert!(!pending.complete(id + 1, Outcome::Busy), "of no request");
        assert!(pending.complete(id, Outcome::Refused("no".to_owned())));
        assert!(!pending.complete(id, Outcome::Busy), "a duplicate");
        assert!(matches!(ticket.wait("x", SOON), Err(Error::Refused { reason }) if reason == "no"));
    }

    #[test]
    fn what_is_not_answered_times_out_and_is_forgotten() {
        let pending = Pending::default();
        let ticket = pending.register().unwrap();
        let id = ticket.id;
        assert!(matches!(
            ticket.wait("x", Duration::ZERO),
            Err(Error::Timeout(_))
        ));
        assert!(
            !pending.complete(id, Outcome::Busy),
            "a reply after the timeout"
        );
    }

    #[test]
    fn a_dead_peer_ends_every_request_and_takes_no_more() {
        let pending = Pending::default();
        let tickets: Vec<_> = (0..3).map(|_| pending.register().unwrap()).collect();
        pending.close();
        for ticket in tickets {
            assert!(matches!(ticket.wait("x", SOON), Err(Error::PeerDied)));
        }
        assert!(matches!(pending.register(), Err(Error::PeerDied)));
    }

    #[test]
    fn the_number_in_flight_is_bounded() {
        let pending = Pending::default();
        let mut tickets: Vec<_> = (0..MAX_PENDING)
            .map(|_| pending.register().unwrap())
            .collect();
        for _ in 0..1000 {
            assert!(matches!(pending.register(), Err(Error::Busy)));
        }
        tickets.pop();
        assert!(pending.register().is_ok());
    }
}
