//! A server that keeps itself alive.
