//! The `#[session::main]` attribute of the `session` crate, which re-exports it: depend on that one.

mod args;
mod entry;

use proc_macro::TokenStream;

/// Makes a program keep itself alive: it starts as a monitor, which runs the same program again as
/// a worker, and the worker runs this function.
///
/// The example compiles where the `session` crate is; its documentation has it in full.
///
/// ```ignore
/// use session::{Monitor, Worker};
///
/// #[session::main(monitor = customise, stack = 16_777_216)]
/// fn main(worker: Worker) -> Result<(), Box<dyn std::error::Error>> {
///     for stream in worker.listener("server")?.incoming().flatten() {
///         serve(stream);
///     }
///     Ok(())
/// }
///
/// fn customise(monitor: &mut Monitor) {
///     monitor.on_crash(|report| tell_somebody(report));
/// }
/// ```
///
/// # Forms
///
/// The function is called `main` and is a plain one: not async, const, unsafe or extern, and not
/// generic. It is `fn main()` or `fn main(worker: session::Worker)`, where the pattern is up to you,
/// and returns any [`Termination`](std::process::Termination). If that is a `Result`, its error goes
/// into the crash report. Attributes, visibility and documentation stay on `main`, which both the
/// monitor and the worker enter; the body runs in the worker alone.
///
/// A server that is async starts its runtime inside of `main`, for example with
/// `tokio::runtime::Runtime::new()?.block_on(serve())`.
///
/// # Options
///
/// Each at most once, in any order.
///
/// | option | value | without it |
/// | --- | --- | --- |
/// | `monitor = path::to::function` | a function that customises the monitor: it takes `&mut Monitor` and returns nothing or a `Result` | the monitor is as configured |
/// | `config = "path"` | the configuration file | `session.config.json` in the working directory |
/// | `panic = "any"` or `"main"` | the threads whose panic ends the worker | `"any"` |
/// | `stack = bytes` | the stack of the thread that runs `main`, an integer literal from 65536 (64 KiB) to 1073741824 (1 GiB) | 8 MiB |
/// | `crate = path` or `"path"` | where the `session` crate is, if it was renamed or re-exported | `::session` |
///
/// # Expansion
///
/// All behaviour is in the library, and whatever the attribute does can be written by hand. The
/// example above becomes
///
/// ```ignore
/// fn main() -> std::process::ExitCode {
///     use ::session as __session;
///     fn __session_main(worker: Worker) -> Result<(), Box<dyn std::error::Error>> {
///         // The body, as it was written.
///     }
///     let session = __session::Session::new(|worker| __session_main(worker));
///     let session = __session::Session::describe(session, |outcome| {
///         // The text of the error, if the outcome is a `Result` that has one.
///     });
///     let session = __session::Session::monitor(session, customise);
///     let session = __session::Session::stack(session, 16777216);
///     __session::Session::launch(session)
/// }
/// ```
///
/// # Errors
///
/// Every fault is told at once, each at the word that is at fault and with what to write instead.
/// What is wrong inside the body, or with a type, is told by the compiler as it would be without the
/// attribute.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    entry::rewrite(options.into(), item.into()).into()
}
