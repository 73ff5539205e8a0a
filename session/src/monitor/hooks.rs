//! The program's own code in the monitor: none of it runs on the thread that supervises.

use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::input::Input;
use crate::error::{Error, Result};
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

/// A named thread that does jobs one at a time. One that hangs holds up its own kind only.
#[derive(Debug)]
pub(super) struct Runner<J> {
    thread: Option<Thread<J>>,
}

#[derive(Debug)]
struct Thread<J> {
    jobs: Sender<J>,
    /// Disconnects when the thread has done all its jobs and takes no more.
    ended: Receiver<Infallible>,
}

impl<J: Send + 'static> Runner<J> {
    /// A runner that nobody will give a job to: it has no thread.
    pub(super) fn none() -> Runner<J> {
        Runner { thread: None }
    }

    pub(super) fn start(name: &str, mut work: impl FnMut(J) + Send + 'static) -> Result<Runner<J>> {
        let (jobs, given) = bounded::<J>(MAX_WAITING);
        let (end, ended) = bounded(0);
        thread::start(name, move || {
            let _end: Sender<Infallible> = end;
            for job in given {
                work(job);
            }
        })
        .map_err(Error::os("start a thread for the program's own code"))?;
        Ok(Runner {
            thread: Some(Thread { jobs, ended }),
        })
    }

    /// Never blocks; `false` if too much waits already, or there is no thread.
    pub(super) fn offer(&self, job: J) -> bool {
        let thread = self.thread.as_ref();
        thread.is_some_and(|thread| thread.jobs.try_send(job).is_ok())
    }

    pub(super) fn is_there(&self) -> bool {
        self.thread.is_some()
    }

    /// At the very end of the session: waits until all jobs are done, or the time is over.
    pub(super) fn finish(&mut self, within: Duration) {
        if let Some(Thread { jobs, ended }) = self.thread.take() {
            drop(jobs);
            let _ = ended.recv_timeout(within);
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
        Err(why) => line
            .bad(format_args!("distribution of {what} failed: "))
            .plain(why),
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
    Runner::start(
        "session-actions",
        move |(CommandId(index), args): (CommandId, Args)| {
            let Some(action) = actions.get(index) else {
                return;
            };
            let line = Line::new(Who::Monitor);
            log.line(&match caught(|| action(&args)) {
                Ok(()) => line.good("command completed"),
                Err(why) => line.bad("command failed: ").plain(why),
            });
        },
    )
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
    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    /// A runner whose first job waits until the gate is dropped, and what it has done.
    fn gated() -> (Runner<u32>, Sender<()>, Receiver<u32>) {
        let (gate, closed) = bounded::<()>(0);
        let (done, seen) = bounded(2 * MAX_WAITING);
        let runner = Runner::start("test-runner", move |job| {
            let _ = closed.recv();
            let _ = done.send(job);
        });
        (runner.unwrap(), gate, seen)
    }

    #[test]
    fn a_runner_takes_so_many_jobs_and_does_them_all_before_its_end() {
        let (mut runner, gate, seen) = gated();
        let taken = (0..10_000).filter(|job| runner.offer(*job)).count();
        // One may be under way already.
        assert!((MAX_WAITING..=MAX_WAITING + 1).contains(&taken), "{taken}");
        drop(gate);
        runner.finish(SOON);
        assert_eq!(seen.try_iter().count(), taken);
    }

    #[test]
    fn a_job_that_hangs_does_not_hold_up_the_end() {
        let (mut runner, _gate, seen) = gated();
        assert!(runner.offer(1));
        runner.finish(Duration::from_millis(1));
        assert!(seen.is_empty());
        let mut none = Runner::<u32>::none();
        assert!(!none.offer(1) && !none.is_there());
        none.finish(SOON);
    }

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
        assert!(matches!(told.recv_timeout(SOON), Ok(Input::HandlersDone)));
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
