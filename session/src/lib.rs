//! A server that keeps itself alive.

#[allow(dead_code)]
mod log;
#[allow(dead_code)]
mod output;
#[allow(dead_code)]
mod text;
