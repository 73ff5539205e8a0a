//! Threads of the library. All have a name, and nobody waits for one by its handle.

use std::io;
use std::thread::Builder;

pub(crate) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    start_boxed(Builder::new().name(name.to_owned()), Box::new(work))
}

/// The same, for a program's own code that may need much of a stack.
pub(crate) fn start_with_stack(
    name: &str,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let builder = Builder::new().name(name.to_owned()).stack_size(stack);
    start_boxed(builder, Box::new(work))
}

/// Boxed, so that the code which starts a thread is there once, not once for each closure.
fn start_boxed(builder: Builder, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    builder.spawn(work).map(drop)
}
