//! How a worker's own end is told: panics, and what comes out of the user's main.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::{ExitCode, Termination};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::ending::Ending;
use super::exit;
use super::shared::Shared;
use crate::ipc::codec::encode;
use crate::ipc::message::{Crash, MAX_BACKTRACE, MAX_CRASH, Text, ToMonitor, bounded};
use crate::launch::PanicPolicy;
use crate::report::Panic;

/// How long a panic waits for its turn to write; past that, the exit status and the output tell.
const PANIC_LOCK_TIMEOUT: Duration = Duration::from_millis(100);
/// What Rust itself ends with after a panic.
pub(super) const PANIC_CODE: u8 = 101;
/// In such a program the process is gone as soon as a panic hook returns.
pub(super) const ABORTS: bool = cfg!(panic = "abort");

thread_local! {
    static IS_MAIN: Cell<bool> = const { Cell::new(false) };
    /// The hook has seen this thread's panic, and there is nothing more to tell of it.
    static SEEN: Cell<bool> = const { Cell::new(false) };
}

/// Runs the user's main on this thread, and makes the process end when it is over.
pub(super) fn run_main<T: Termination>(
    shared: &Shared,
    main: impl FnOnce() -> T,
    describe: fn(&T) -> Option<String>,
) {
    IS_MAIN.set(true);
    // What tells the value is the user's code too: `Debug`, `Termination`, and the value's `Drop`.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let value = main();
        let error = describe(&value);
        (value.report(), error)
    }));
    match outcome {
        Ok((code, error)) => main_returned(shared, code, error),
        Err(payload) => main_panicked(shared, &*payload),
    }
}

fn main_returned(shared: &Shared, code: ExitCode, error: Option<String>) {
    let error = error.map(|text| bounded(&text, MAX_CRASH).into_owned());
    if let Some(text) = error.clone()
        && shared.endings.first().is_none()
        && !shared.endings.has_panic()
    {
        // `report` has put it on standard error too; the monitor keeps the tail of that.
        let _ = shared.say(&ToMonitor::Crash(Crash::MainError(Text { text })));
    }
    shared.endings.main_is_over(code);
    // A panic came first, and its report is on the way: that is how this worker ends.
    if !shared.endings.has_panic() {
        shared.end(Ending::Returned { error });
    }
}

fn main_panicked(shared: &Shared, payload: &(dyn Any + Send)) {
    shared.endings.main_is_over(PANIC_CODE.into());
    if SEEN.get() {
        return;
    }
    // The user's own hook stands in place of ours: where it happened is not known any more.
    let panic = describe(payload, None);
    if shared.endings.claim_panic() {
        write_within(shared, Crash::Panic(panic.clone()));
        shared.end(Ending::Panicked(panic));
    }
}

/// Puts our hook before the one that is there, whose message still reaches standard error.
pub(super) fn install_hook(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| on_panic(&shared, &*previous, info)));
}

/// A panic in here cannot come back here: Rust aborts the process at once.
fn on_panic(shared: &Shared, previous: &dyn Fn(&PanicHookInfo<'_>), info: &PanicHookInfo<'_>) {
    let panic = describe(info.payload(), info.location());
    if exit::in_handler() {
        previous(info);
        if ABORTS {
            exit::abandon_handler(&panic.message);
            park_for_ever();
        }
        return;
    }
    let spares_threads = shared.policy == PanicPolicy::Main && !ABORTS;
    if spares_threads && !IS_MAIN.get() {
        return previous(info);
    }
    if !shared.endings.claim_panic() {
        return after_the_first(shared, &panic, || previous(info));
    }
    write_within(shared, Crash::Panic(panic.clone()));
    previous(info);
    if shared.link.is_some() {
        write_within(shared, backtrace());
    }
    if IS_MAIN.get() {
        shared.endings.main_is_over(PANIC_CODE.into());
    }
    shared.end(Ending::Panicked(panic));
    // What this thread left half done must not be seen by anybody as it unwinds.
    park_for_ever();
}

/// The process ends already: this panic is noted, and changes nothing.
fn after_the_first(shared: &Shared, panic: &Panic, previous: impl FnOnce()) {
    previous();
    shared.note(&format!("while this worker was ending: {panic}"));
    SEEN.set(true);
    if ABORTS {
        if IS_MAIN.get() {
            shared.endings.main_is_over(PANIC_CODE.into());
        }
        park_for_ever();
    }
}

fn describe(payload: &(dyn Any + Send), location: Option<&panic::Location<'_>>) -> Panic {
    let thread = thread::current();
    Panic {
        message: bounded(&exit::message_of(payload), MAX_CRASH).into_owned(),
        location: location.map(ToString::to_string),
        thread: thread.name().unwrap_or("unnamed").to_owned(),
        backtrace: None,
    }
}

fn backtrace() -> Crash {
    let text = Backtrace::force_capture().to_string();
    Crash::Backtrace(Text {
        text: bounded(&text, MAX_BACKTRACE).into_owned(),
    })
}

/// Writes what the monitor should know, unless others keep the channel busy.
fn write_within(shared: &Shared, crash: Crash) {
    if let Some(link) = &shared.link
        && let Ok(line) = encode(&ToMonitor::Crash(crash))
    {
        // If it fails, the exit status and the output are left to tell.
        let _ = link.channel.write_within(&line, PANIC_LOCK_TIMEOUT);
    }
}

fn park_for_ever() -> ! {
    loop {
        thread::park();
    }
}
