//! What an operator types, as values: a line becomes tokens, tokens fit a usage line, and what fits
//! is a typed command. Nothing here reads, prints, waits or acts.

mod args;
mod builtin;
mod fault;
mod line;
mod table;
#[cfg(test)]
mod tests;
mod usage;

pub use args::{ArgError, Args};
pub(crate) use builtin::Command;
pub(crate) use line::MAX_LINE;
pub(crate) use table::{CommandId, Resolved, Table};
