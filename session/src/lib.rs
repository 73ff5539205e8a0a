//! A server that keeps itself alive.

#[allow(dead_code)]
mod near;
#[allow(dead_code, unused_imports)]
mod repl;

pub use repl::{ArgError, Args};
