//! One call makes a session of a program: it finds out which process this is, and runs its part.

pub(crate) mod role;

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Termination};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::monitor::{self, Monitor, MonitorHandle, MonitorPlan};
use crate::sys;
use crate::worker::{self, Worker, WorkerPlan};
use role::Role;

/// What the main thread of most programs has.
pub const DEFAULT_STACK: usize = 8 * 1024 * 1024;
/// Less would not carry a panic's own report.
pub const MIN_STACK: usize = 64 * 1024;
/// More is a mistake in the unit.
pub const MAX_STACK: usize = 1024 * 1024 * 1024;

/// A program that keeps itself alive.
///
/// [`launch`](Session::launch) makes the process the **monitor**, which runs the same executable
/// again as its **worker**; in the worker the very same call runs `work`. What
/// `#[session::main]` expands to is nothing but this.
///
/// ```no_run
/// use std::io::Write;
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     session::Session::new(|worker| {
///         for mut visitor in worker.listener("server")?.incoming().flatten() {
///             // The monitor's probes are among them: without a 2xx nobody is ready.
///             let _ = visitor.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n");
///         }
///         Ok::<(), session::Error>(())
///     })
///     .launch()
/// }
/// ```
#[must_use = "a session does nothing until it is launched"]
pub struct Session<T> {
    plan: WorkerPlan<T>,
    setup: Option<Setup>,
}

type Setup = Box<dyn FnOnce(&mut Monitor) -> Result<()>>;

/// Which panics end the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PanicPolicy {
    /// A panic on any thread: what it was working on may be left half done.
    #[default]
    Any,
    /// A panic on the main thread only, for servers that catch the panics of their requests. A
    /// program that is built with `panic = "abort"` ends by any panic all the same.
    Main,
}

impl<T: Termination + 'static> Session<T> {
    /// A session whose worker runs `work` as its main.
    pub fn new(work: impl FnOnce(Worker) -> T + Send + 'static) -> Session<T> {
        Session {
            plan: WorkerPlan {
                work: Box::new(work),
                describe: |_| None,
                config: None,
                panic: PanicPolicy::default(),
                stack: DEFAULT_STACK,
            },
            setup: None,
        }
    }

    /// How to tell an error that `work` returns; `None` for a value that is no error. The text
    /// goes into the crash report. (`#[session::main]` sets this for every `Result`.)
    ///
    /// ```no_run
    /// # fn serve() -> Result<(), std::io::Error> { Ok(()) }
    /// session::Session::new(|_worker| serve())
    ///     .describe(|outcome| outcome.as_ref().err().map(|error| format!("{error:?}")))
    ///     .launch();
    /// ```
    pub fn describe(mut self, describe: fn(&T) -> Option<String>) -> Session<T> {
        self.plan.describe = describe;
        self
    }

    /// Sets the monitor up, before its first worker starts. If it returns an error, there is no
    /// session, and the process ends with exit code 70.
    ///
    /// ```no_run
    /// session::Session::new(|_worker| ())
    ///     .monitor(|_monitor| {
    ///         // Hooks, commands and listeners are registered here.
    ///         let _banner = std::fs::read_to_string("banner.txt")?;
    ///         Ok::<(), Box<dyn std::error::Error>>(())
    ///     })
    ///     .launch();
    /// ```
    pub fn monitor<R: Outcome>(
        mut self,
        setup: impl FnOnce(&mut Monitor) -> R + 'static,
    ) -> Session<T> {
        self.setup = Some(Box::new(|monitor| setup(monitor).into_result()));
        self
    }

    /// Where the configuration is, instead of `session.config.json` in the working directory.
    pub fn config(mut self, path: impl Into<PathBuf>) -> Session<T> {
        self.plan.config = Some(path.into());
        self
    }

    /// Which panics end the worker: those on [any](PanicPolicy::Any) thread, if this is not called.
    pub fn panic(mut self, policy: PanicPolicy) -> Session<T> {
        self.plan.panic = policy;
        self
    }

    /// The stack of the thread that `work` runs on, in bytes: 64 KiB to 1 GiB, 8 MiB if this is
    /// not called.
    pub fn stack(mut self, bytes: usize) -> Session<T> {
        self.plan.stack = bytes;
        self
    }

    /// Runs the session, or the worker's part of it, until it is over. Whatever stood in the way
    /// is told on standard error.
    ///
    /// The exit code is to be what `main` returns: the worker's is that of `work`.
    pub fn launch(self) -> ExitCode {
        self.try_launch().unwrap_or_else(|error| {
            // One write, so that the line stays whole beside other processes' output. If it
            // fails, the exit code is left to tell.
            let _ = io::stderr().write_all(format!("session: {}\n", error.chain()).as_bytes());
            ExitCode::from(error.exit_code())
        })
    }

    /// As [`launch`](Session::launch), and hands an error to the caller.
    ///
    /// # Errors
    /// - [`Error::AlreadyLaunched`]: this process has launched a session before; that one goes on.
    /// - [`Error::Invalid`]: the stack is out of its range.
    /// - [`Error::Role`]: the process is marked as a worker, but no monitor stands behind the
    ///   mark, or the monitor is of another build; or `SESSION_DISABLE` has no meaning.
    /// - [`Error::Config`], [`Error::Setup`], [`Error::Os`]: what the monitor, or the worker's
    ///   start, met.
    pub fn try_launch(self) -> Result<ExitCode> {
        static LAUNCHED: AtomicBool = AtomicBool::new(false);
        check_stack(self.plan.stack)?;
        if LAUNCHED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyLaunched);
        }
        sys::clear_mask();
        match role::find()? {
            Role::Worker { monitor } => worker::run(self.plan, monitor),
            #[cfg(feature = "webhook")]
            Role::Courier { monitor } => crate::courier::run(monitor),
            Role::Disabled => worker::run_disabled(self.plan),
            Role::Monitor { depth } => monitor::run(MonitorPlan {
                setup: self.setup,
                config: self.plan.config,
                depth,
            }),
        }
    }
}

impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("config", &self.plan.config)
            .field("panic", &self.plan.panic)
            .field("stack", &self.plan.stack)
            .finish_non_exhaustive()
    }
}

fn check_stack(bytes: usize) -> Result<()> {
    if (MIN_STACK..=MAX_STACK).contains(&bytes) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "expected a stack of {MIN_STACK} to {MAX_STACK} bytes, found {bytes}"
    )))
}

/// The worker of this process, from anywhere in the program.
///
/// ```no_run
/// # fn render() -> session::Result<()> {
/// session::worker()?.log("rendering")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::NotWorker`] in the monitor, and before the launch.
pub fn worker() -> Result<Worker> {
    worker::current()
}

/// The monitor of this process, from anywhere in the program.
///
/// # Errors
/// [`Error::NotMonitor`] in the worker, and before the launch; [`Error::NoMonitor`] with
/// `SESSION_DISABLE=1`.
pub fn monitor() -> Result<MonitorHandle> {
    match worker::current() {
        Ok(worker) if worker.is_disabled() => Err(Error::NoMonitor),
        Ok(_) => Err(Error::NotMonitor),
        Err(_) => monitor::current(),
    }
}

/// Ends the session, from the monitor or from the worker: gracefully, or at once. The monitor ends
/// with `code`.
///
/// ```no_run
/// # fn main() -> session::Result<()> {
/// session::kill("the licence has run out", true, 3)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::NotWorker`] before the launch; in the worker [`Error::PeerDied`] if the monitor is
/// gone.
pub fn kill(reason: &str, graceful: bool, code: u8) -> Result<()> {
    match (worker::current(), monitor::current()) {
        (Ok(worker), _) => worker.kill(reason, graceful, code),
        (Err(_), Ok(monitor)) => monitor.kill(reason, graceful, code),
        (Err(error), Err(_)) => Err(error),
    }
}

/// What the program's own code in the monitor may return (the function that sets it up, its hooks
/// and its commands): `()`, or a `Result<(), E>` whose error can be displayed.
#[diagnostic::on_unimplemented(
    message = "code that runs in the monitor cannot return `{Self}`",
    label = "expected `()`, or a `Result<(), E>` whose `E` can be displayed"
)]
pub trait Outcome: sealed::Sealed {
    #[doc(hidden)]
    fn into_result(self) -> Result<()>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}

impl Outcome for () {
    fn into_result(self) -> Result<()> {
        Ok(())
    }
}

impl<E: fmt::Display + 'static> Outcome for Result<(), E> {
    fn into_result(self) -> Result<()> {
        self.map_err(|error| Error::Setup(in_full(&error)))
    }
}

/// An error with its causes, where its type shows them.
fn in_full<E: fmt::Display + 'static>(error: &E) -> String {
    let any: &dyn Any = error;
    if let Some(error) = any.downcast_ref::<Error>() {
        return error.chain();
    }
    let first = any
        .downcast_ref::<Box<dyn StdError>>()
        .map(|error| &**error)
        .or_else(|| {
            let error = any.downcast_ref::<Box<dyn StdError + Send + Sync>>()?;
            Some(&**error as &dyn StdError)
        });
    let mut text = format!("{error:#}");
    let mut cause = first.and_then(StdError::source);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// For the code that `#[session::main]` writes.
#[doc(hidden)]
pub mod __private {
    use std::fmt;

    /// Tells the error of a `Result` by its own method; every other type falls to [`NoError`].
    #[derive(Debug)]
    pub struct Told<'a, T>(pub &'a T);

    impl<T, E: fmt::Debug> Told<'_, Result<T, E>> {
        /// The error as `main` would tell it.
        #[must_use]
        pub fn error_text(&self) -> Option<String> {
            self.0.as_ref().err().map(|error| format!("{error:?}"))
        }
    }

    /// A value that is no error.
    pub trait NoError {
        /// Nothing to tell.
        fn error_text(&self) -> Option<String> {
            None
        }
    }

    impl<T> NoError for Told<'_, T> {}
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::__private::{NoError as _, Told};
    use super::*;

    #[test]
    fn only_the_error_of_a_result_is_told() {
        let told = |value: Result<(), &str>| Told(&value).error_text();
        assert_eq!(told(Err("no disk")), Some("\"no disk\"".into()));
        assert_eq!(told(Ok(())), None);
        assert_eq!(Told(&()).error_text(), None);
        assert_eq!(Told(&ExitCode::from(3)).error_text(), None);
        let code: std::result::Result<ExitCode, fmt::Error> = Err(fmt::Error);
        assert_eq!(Told(&code).error_text(), Some("Error".into()));
    }

    #[test]
    fn set_up_may_return_nothing_or_any_error_that_displays() {
        #[track_caller]
        fn told(outcome: impl Outcome, expected: &str) {
            let error = outcome.into_result().unwrap_err();
            assert!(matches!(error, Error::Setup(_)));
            assert_eq!(error.to_string(), expected);
        }
        assert!(().into_result().is_ok());
        assert!(Ok::<(), String>(()).into_result().is_ok());
        told(Err("no banner"), "no banner");
        told(Err(String::from("no banner")), "no banner");
        let os = || Error::Os {
            doing: "open the banner",
            source: io::Error::other("no disk"),
        };
        told(Err(os()), "could not open the banner: no disk");
        let boxed: Box<dyn StdError> = Box::new(os());
        told(Err(boxed), "could not open the banner: no disk");
        let shared: Box<dyn StdError + Send + Sync> = Box::new(os());
        told(Err(shared), "could not open the banner: no disk");
    }

    #[test]
    fn a_stack_has_bounds() {
        for bytes in [MIN_STACK, DEFAULT_STACK, MAX_STACK] {
            assert!(check_stack(bytes).is_ok());
        }
        for bytes in [0, MIN_STACK - 1, MAX_STACK + 1, usize::MAX] {
            let text = check_stack(bytes).unwrap_err().to_string();
            assert!(text.contains(&format!("found {bytes}")), "{text}");
        }
    }
}
