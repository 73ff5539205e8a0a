//! Threads of the library. All have a name, and nobody waits for one by its handle.

use std::io;
use std::sync::OnceLock;
use std::thread::Builder;

type OnFailure = Box<dyn Fn(&str) + Send + Sync>;

/// Whom to tell that a thread has panicked, by its name. Unset in a worker, which any panic ends.
static ON_FAILURE: OnceLock<OnFailure> = OnceLock::new();

/// From now on whoever fails is told of: a process that has lost one of its threads is half dead,
/// and must not go on as if it were not. The first call counts.
pub(crate) fn on_failure(tell: impl Fn(&str) + Send + Sync + 'static) {
    let _ = ON_FAILURE.set(Box::new(tell));
}

pub(crate) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let witness = Witness(name.to_owned());
    let work = move || {
        let _witness = witness;
        work();
    };
    start_boxed(Builder::new().name(name.to_owned()), Box::new(work))
}

/// A thread for a program's own code, which may need much of a stack.
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

/// Sees its thread end.
struct Witness(String);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(tell) = ON_FAILURE.get()
        {
            tell(&self.0);
        }
    }
}
