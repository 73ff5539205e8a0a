//! Support for the process tests.

pub mod load;
pub mod mini_monitor;
pub mod running;
