//! The channel between monitor and worker: JSON lines over a Unix socket pair.
//!
//! `message` has the closed set of verbs, `codec` turns bytes into lines and lines into verbs,
//! `pending` and `listeners` are what both sides need for user messages, and `dispatch` is the
//! thread that runs listeners. Who reads and writes the socket differs: the monitor's I/O thread
//! serves all generations and never blocks on one, the worker's serves one.

pub(crate) mod codec;
pub(crate) mod dispatch;
pub(crate) mod listeners;
pub(crate) mod message;
pub(crate) mod peer;
pub(crate) mod pending;
