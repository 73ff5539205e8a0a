//! The program's own code in the monitor: none of it runs on the thread that supervises.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;

use super::input::Input;
use crate::error::{Error, Result};
use crate::jobs::Runner;
use crate::log::{Line, Log, Who};
use crate::repl::{Args, CommandId, Table};
use crate::report::{CrashReport, ExitReason};
use crate::thread;

/// The most jobs that wait for one thread of user code: crashes come no faster than restarts,
/// and an operator types no faster than this.
pub(super) const MAX_WAITING: usize = 16;

type KeyHook = Box<dyn FnOnce(&str) -> Result<()> + Send>;
type CrashHook = Box<dyn Fn(&CrashReport) -> Result<()> + Send>;
pub(super) type ExitHandler = Box<dyn FnOnce(&ExitReason) + Send>;
type CommandAction = Box<dyn Fn(&Args) -> Result<()> + Send>;

/// What the program has registered while it set the monitor up.
pub(super) struct Registered {
    pub(super) on_key: Option<KeyHook>,
    pub(super) on_crash: Vec<CrashHook>,
    pub(super) on_exit: Vec<ExitHandler>,
    pub(super) commands: Table,
    pub(super) actions: Vec<CommandAction>,
}

impl Registered {
    pub(super) fn new() -> Registered {
        Registered {
            on_key: None,
            on_crash: Vec::new(),
            on_exit: Vec::new(),
            commands: Table::new(),
            actions: Vec::new(),
        }
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("commands", &self.commands)
            .finish_non_exhaustive()
    }
}

/// The thread of the key hook and the crash hooks.
pub(super) struct Hooks {
    /// None if there are no hooks, or the session is over.
    runner: Option<Runner>,
    /// Locked by the runner's thread alone: they need not bear two calls at once.
    on_crash: Arc<Mutex<Vec<CrashHook>>>,
    log: Log,
}

impl Hooks {
    /// The key's hook is told at once. The owner learns when all is told, once it has closed them.
    pub(super) fn start(
        on_key: Option<(KeyHook, String)>,
        on_crash: Vec<CrashHook>,
        inbox: Sender<Box<Input>>,
        log: Log,
    ) -> Result<Hooks> {
        let is_needed = on_key.is_some() || !on_crash.is_empty();
        let tell_end = move || {
            let _ = inbox.send(Box::new(Input::HooksDone));
        };
        let start = || Runner::start_with_end("session-hooks", MAX_WAITING, Box::new(tell_end));
        let runner = is_needed
            .then(start)
            .transpose()
            .map_err(Error::os("start a thread for the program's own code"))?;
        if let (Some(runner), Some((hook, key))) = (&runner, on_key) {
            let log = log.clone();
            runner.offer(move || tell(&log, "session key", caught(|| hook(&key))));
        }
        Ok(Hooks {
            runner,
            on_crash: Arc::new(Mutex::new(on_crash)),
            log,
        })
    }

    /// Never blocks; `false` if too many reports wait already.
    pub(super) fn tell_crash(&self, report: &CrashReport) -> bool {
        let Some(runner) = &self.runner else {
            return true;
        };
        let (hooks, log, report) = (Arc::clone(&self.on_crash), self.log.clone(), report.clone());
        runner.offer(move || {
            for hook in lock(&hooks).iter() {
                tell(&log, "crash notification", caught(|| hook(&report)));
            }
        })
    }

    /// Nothing more is to be told; [`Input::HooksDone`] is to come. `false`: there are no hooks.
    pub(super) fn close(&mut self) -> bool {
        self.runner.take().is_some()
    }
}

/// The thread of the operator's own commands.
pub(super) struct Actions {
    /// None if there are no such commands.
    runner: Option<Runner>,
    /// Locked as the crash hooks are.
    actions: Arc<Mutex<Vec<CommandAction>>>,
    log: Log,
}

impl Actions {
    pub(super) fn start(actions: Vec<CommandAction>, log: Log) -> Result<Actions> {
        let is_needed = !actions.is_empty();
        Ok(Actions {
            runner: is_needed
                .then(|| Runner::start("session-actions", MAX_WAITING))
                .transpose()
                .map_err(Error::os("start a thread for the program's own code"))?,
            actions: Arc::new(Mutex::new(actions)),
            log,
        })
    }

    /// Never blocks; `false` if too many commands wait already.
    pub(super) fn run(&self, CommandId(index): CommandId, args: Args) -> bool {
        let Some(runner) = &self.runner else {
            return false;
        };
        let (actions, log) = (Arc::clone(&self.actions), self.log.clone());
        runner.offer(move || {
            let actions = lock(&actions);
            let Some(action) = actions.get(index) else {
                return;
            };
            let line = Line::new(Who::Monitor);
            log.line(&match caught(|| action(&args)) {
                Ok(()) => line.good("command completed"),
                Err(why) => line.bad("command failed: ").plain(why),
            });
        })
    }
}

fn lock<T>(code: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic of the code within is caught within.
    code.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(log: &Log, what: &str, outcome: Result<(), String>) {
    let line = Line::new(Who::Monitor);
    log.line(&match outcome {
        Ok(()) => line.good(format_args!("distributed {what} to recipients")),
        Err(why) => line
            .bad(format_args!("distribution of {what} failed: "))
            .plain(why),
    });
}

/// Runs every exit handler on a thread of its own, and tells the owner when the last is done.
/// `false`: there are none.
pub(super) fn run_exit_handlers(
    handlers: Vec<ExitHandler>,
    reason: &ExitReason,
    inbox: &Sender<Box<Input>>,
    log: &Log,
) -> bool {
    if handlers.is_empty() {
        return false;
    }
    let left = Arc::new(AtomicUsize::new(handlers.len()));
    for (index, handler) in handlers.into_iter().enumerate() {
        let done = LastOne {
            left: Arc::clone(&left),
            inbox: inbox.clone(),
        };
        let (reason, log_there) = (reason.clone(), log.clone());
        let started = thread::start(&format!("session-exit-{index}"), move || {
            let _done = done;
            if let Err(why) = caught(|| {
                handler(&reason);
                Ok(())
            }) {
                log_there.line(
                    &Line::new(Who::Monitor)
                        .bad("an exit handler failed: ")
                        .plain(why),
                );
            }
        });
        if let Err(error) = started {
            log.line(
                &Line::new(Who::Monitor)
                    .bad("an exit handler could not be started: ")
                    .plain(error),
            );
        }
    }
    true
}

/// Whoever drops the last of these tells the owner, however its handler ended.
struct LastOne {
    left: Arc<AtomicUsize>,
    inbox: Sender<Box<Input>>,
}

impl Drop for LastOne {
    fn drop(&mut self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // The owner is there, or the process is at its end.
            let _ = self.inbox.send(Box::new(Input::HandlersDone));
        }
    }
}

/// The outcome of user code, a panic included, as text.
pub(super) fn caught(code: impl FnOnce() -> Result<()>) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(outcome) => outcome.map_err(|error| error.chain()),
        Err(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            Err(format!(
                "it panicked: {}",
                text.unwrap_or_else(|| "no message".to_owned())
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn exit_handlers_run_once_each_and_one_that_panics_is_told() {
        let (log, lines) = Log::memory();
        let (inbox, told) = bounded(4);
        let (done, seen) = bounded(4);
        let handler = |number: u32| -> ExitHandler {
            let done = done.clone();
            Box::new(move |_| {
                let _ = done.send(number);
                assert_ne!(number, 2, "two is refused");
            })
        };
        let handlers = vec![handler(1), handler(2), handler(3)];
        assert!(run_exit_handlers(
            handlers,
            &ExitReason::Restart,
            &inbox,
            &log
        ));
        assert!(matches!(
            *told.recv_timeout(SOON).unwrap(),
            Input::HandlersDone
        ));
        let mut ran: Vec<u32> = seen.try_iter().collect();
        ran.sort_unstable();
        assert_eq!(ran, [1, 2, 3]);
        let lines = lines.lock().unwrap();
        assert!(
            lines.iter().any(|line| line.contains("two is refused")),
            "{lines:?}"
        );
        assert!(told.is_empty());
        assert!(!run_exit_handlers(
            Vec::new(),
            &ExitReason::Restart,
            &inbox,
            &log
        ));
    }
}
