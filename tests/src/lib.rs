//! Support for the process tests.

pub mod mini_monitor;
pub mod running;
