//! A server that keeps itself alive.

#[allow(dead_code, unused_imports)]
mod config;
#[allow(dead_code)]
mod near;
