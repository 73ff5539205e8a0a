//! A server that keeps itself alive.

#[allow(dead_code)]
mod probe;
