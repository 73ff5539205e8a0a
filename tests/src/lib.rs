//! Support for the process tests.

pub mod faults;
pub mod inject;
pub mod load;
pub mod mini_monitor;
pub mod processes;
pub mod running;
pub mod terminal;
