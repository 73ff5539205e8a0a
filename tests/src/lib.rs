//! Support for the process tests.

pub mod load;
pub mod mini_monitor;
pub mod processes;
pub mod running;
pub mod terminal;
