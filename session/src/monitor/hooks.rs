//! The program's own code in the monitor: none of it runs on the thread that supervises.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::input::Input;
use crate::error::{Error, Result};
use crate::log::{Line, Log, Who};
use crate::repl::{Args, CommandId, Table};
use crate::report::{CrashReport, ExitReason};

/// The most jobs that wait for one thread of user code: crashes come no faster than restarts,
/// and an operator types no faster than this.
pub(super) const MAX_WAITING: usize = 16;

type KeyHook = Box<dyn FnOnce(&str) -> Result<()> + Send>;
type CrashHook = Box<dyn Fn(&CrashReport) -> Result<()> + Send>;
type ExitHandler = Box<dyn FnOnce(&ExitReason) + Send>;
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
        f.debug_struct("Registered").field("commands", &self.commands).finish_non_exhaustive()
    }
}

/// A named thread that does jobs one at a time. One that hangs holds up its own kind only.
#[derive(Debug)]
pub(super) struct Runner<J> {
    jobs: Option<Sender<J>>,
    unfinished: Arc<AtomicUsize>,
}

impl<J: Send + 'static> Runner<J> {
    /// A runner that nobody will give a job to: it has no thread.
    pub(super) fn none() -> Runner<J> {
        Runner { jobs: None, unfinished: Arc::default() }
    }

    pub(super) fn start(name: &str, mut work: impl FnMut(J) + Send + 'static) -> Result<Runner<J>> {
        let (sender, jobs): (Sender<J>, Receiver<J>) = bounded(MAX_WAITING);
        let unfinished = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&unfinished);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                for job in jobs {
                    work(job);
                    counter.fetch_sub(1, Ordering::SeqCst);
                }
            })
            .map_err(Error::os("start a thread for the program's own code"))?;
        Ok(Runner { jobs: Some(sender), unfinished })
    }

    /// Never blocks; `false` if too much waits already, or there is no thread.
    pub(super) fn offer(&self, job: J) -> bool {
        let Some(jobs) = &self.jobs else { return false };
        self.unfinished.fetch_add(1, Ordering::SeqCst);
        let taken = jobs.try_send(job).is_ok();
        if !taken {
            self.unfinished.fetch_sub(1, Ordering::SeqCst);
        }
        taken
    }

    pub(super) fn is_there(&self) -> bool {
        self.jobs.is_some()
    }

    /// Waits, at the very end of the session, until all jobs are done or the time is over.
    pub(super) fn finish(&self, within: Duration) {
        let deadline = Instant::now() + within;
        while self.unfinished.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// One thing to tell a hook.
#[derive(Debug)]
pub(super) enum HookJob {
    Key(String),
    Crash(Box<CrashReport>),
}

/// The thread of the key hook and the crash hooks; none if there are no hooks.
pub(super) fn hook_runner(
    on_key: Option<KeyHook>,
    on_crash: Vec<CrashHook>,
    log: Log,
) -> Result<Runner<HookJob>> {
    if on_key.is_none() && on_crash.is_empty() {
        return Ok(Runner::none());
    }
    let mut on_key = on_key;
    Runner::start("session-hooks", move |job| match job {
        HookJob::Key(key) => {
            if let Some(hook) = on_key.take() {
                tell(&log, "session key", caught(|| hook(&key)));
            }
        }
        HookJob::Crash(report) => {
            for hook in &on_crash {
                tell(&log, "crash notification", caught(|| hook(&report)));
            }
        }
    })
}

fn tell(log: &Log, what: &str, outcome: Result<(), String>) {
    let line = Line::new(Who::Monitor);
    log.line(&match outcome {
        Ok(()) => line.good(format_args!("distributed {what} to recipients")),
        Err(why) => line.bad(format_args!("distribution of {what} failed: ")).plain(why),
    });
}

/// The thread of the operator's own commands; none if there are none.
pub(super) fn action_runner(
    actions: Vec<CommandAction>,
    log: Log,
) -> Result<Runner<(CommandId, Args)>> {
    if actions.is_empty() {
        return Ok(Runner::none());
    }
    Runner::start("session-actions", move |(CommandId(index), args): (CommandId, Args)| {
        let Some(action) = actions.get(index) else { return };
        let line = Line::new(Who::Monitor);
        log.line(&match caught(|| action(&args)) {
            Ok(()) => line.good("command completed"),
            Err(why) => line.bad("command failed: ").plain(why),
        });
    })
}

/// Runs every exit handler on a thread of its own, and tells the owner when the last is done.
/// `false`: there are none.
pub(super) fn run_exit_handlers(
    handlers: Vec<ExitHandler>,
    reason: &ExitReason,
    inbox: &Sender<Input>,
    log: &Log,
) -> bool {
    if handlers.is_empty() {
        return false;
    }
    let left = Arc::new(AtomicUsize::new(handlers.len()));
    for (index, handler) in handlers.into_iter().enumerate() {
        let done = LastOne { left: Arc::clone(&left), inbox: inbox.clone() };
        let (reason, log_there) = (reason.clone(), log.clone());
        let started = thread::Builder::new().name(format!("session-exit-{index}")).spawn(move || {
            let _done = done;
            if let Err(why) = caught(|| { handler(&reason); Ok(()) }) {
                log_there.line(&Line::new(Who::Monitor).bad("an exit handler failed: ").plain(why));
            }
        });
        if let Err(error) = started {
            log.line(&Line::new(Who::Monitor).bad("an exit handler could not be started: ").plain(error));
        }
    }
    true
}

/// Whoever drops the last of these tells the owner, however its handler ended.
struct LastOne {
    left: Arc<AtomicUsize>,
    inbox: Sender<Input>,
}

impl Drop for LastOne {
    fn drop(&mut self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // The owner is there, or the process is at its end.
            let _ = self.inbox.send(Input::HandlersDone);
        }
    }
}

/// The outcome of user code, a panic included, as text.
pub(super) fn caught(code: impl FnOnce() -> Result<()>) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(outcome) => outcome.map_err(|error| error.chain()),
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            Err(format!("it panicked: {}", text.unwrap_or_else(|| "no message".to_owned())))
        }
    }
}
