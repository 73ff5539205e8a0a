//! The named threads that watch the outside world and tell the owner. None of them acts.

mod crew;
pub(super) mod ear;
pub(super) mod io;
pub(super) mod prober;
pub(super) mod repl;
pub(super) mod signals;
pub(super) mod waiter;
