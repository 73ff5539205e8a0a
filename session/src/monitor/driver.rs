//! The loop: waits for what happens, asks the supervisor, and does what it says.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::candidate::Check;
use super::handle::MonitorHandle;
use super::hooks::{Actions, ExitHandler, Hooks};
use super::input::Input;
use super::key::SessionKey;
use super::on_disk::OnDisk;
use super::orphans::Orphans;
use super::policy::policy;
use super::record::{Death, Record};
use super::sockets::Sockets;
use super::sources;
use super::sources::io::{self, Io};
use super::sources::prober::Probers;
use super::sources::signals::Signals;
use super::sources::waiter::Waiters;
use super::spawn::{Program, Recipe};
use super::webhook::Webhook;
use super::world::{Real, World};
use super::{LAST_FLUSH, LAST_FLUSH_FORCED};
use crate::config::Config;
use crate::error::{Result, exit_code};
use crate::ipc::dispatch::Dispatcher;
use crate::ipc::listeners::Listeners;
use crate::log::{Line, Log, Who};
use crate::machine::{
    Action, Asker, Event, Exit, Generation, HANDLERS_BEYOND_GRACE, How, Jitter, SIGNAL_DEBOUNCE,
    Supervisor, Time,
};
use crate::repl::{self, Command, Resolved, Table};
use crate::report::{CrashReport, ExitStatus};

/// The most inputs handled before deadlines are looked at again.
const BURST: usize = 64;
/// The crash reports that are kept.
pub(super) const MAX_REPORTS: usize = 16;
/// How long a finished session waits for the last output of its worker. Where a process holds the
/// output open, the reader hands over what it has at the end of the drain, and has to be waited for
/// a moment more: it is a thread that has yet to wake.
const LAST_OUTPUT: Duration = io::DRAIN.saturating_add(Duration::from_millis(250));
/// The same after a forced stop, which is to be over within half a second.
const LAST_OUTPUT_FORCED: Duration = Duration::from_millis(30);
/// How long a session that ends by itself waits for hooks that tell of the last crash.
const LAST_HOOKS: Duration = Duration::from_secs(2);

/// What the driver is made of.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) sockets: Sockets,
    pub(super) recipe: Recipe,
    pub(super) inbox: Receiver<Box<Input>>,
    pub(super) sender: Sender<Box<Input>>,
    pub(super) log: Log,
    pub(super) listeners: Arc<Listeners>,
    pub(super) handle: MonitorHandle,
    pub(super) key: Option<SessionKey>,
    pub(super) hooks: Hooks,
    pub(super) actions: Actions,
    pub(super) commands: Table,
    pub(super) on_exit: Vec<ExitHandler>,
}

/// Owns the session.
pub(super) struct Driver {
    pub(super) parts: Parts,
    pub(super) supervisor: Supervisor,
    first: Vec<Action>,
    pub(super) started: Instant,
    pub(super) world: Box<dyn World>,
    pub(super) dispatcher: Arc<OnceLock<Dispatcher>>,
    pub(super) on_disk: OnDisk,
    /// Another program than the one that runs, for the worker that is spawned next.
    pub(super) candidate: Option<Arc<Program>>,
    /// A program is being checked, and this is what waits for it.
    pub(super) check: Option<Check>,
    pub(super) webhook: Webhook,
    pub(super) orphans: Orphans,
    pub(super) records: Vec<Record>,
    pub(super) reports: VecDeque<CrashReport>,
    pub(super) restarts: u64,
    pub(super) stop_reason: Option<String>,
    stop_accepted: Option<Instant>,
    pub(super) forced: bool,
    /// It has lost one of its threads.
    is_broken: bool,
    /// The session ends with its worker, whose output is then its answer (`--version`).
    pub(super) ended_by_itself: bool,
    /// It ends because of a crash loop.
    pub(super) gave_up: bool,
    pub(super) finishing: Option<(u8, Instant)>,
    pub(super) last_exit: Option<String>,
    pub(super) last_probe: Option<(String, Duration, Instant)>,
    pub(super) dropped: u64,
    random: u64,
}

impl Driver {
    /// With all its sources.
    pub(super) fn start(parts: Parts, signals: Signals) -> Result<Driver> {
        let dispatcher: Arc<OnceLock<Dispatcher>> = Arc::default();
        let io = Io::start(
            parts.sender.clone(),
            parts.log.clone(),
            Arc::clone(&parts.listeners),
            Arc::clone(&dispatcher),
            parts.config.show_server_output,
            signals,
        )?;
        let waiters = Waiters::start(parts.sender.clone())?;
        let probers = Probers::start(parts.sender.clone())?;
        sources::repl::start(parts.sender.clone())?;
        let world = Real {
            waiters,
            probers,
            io,
        };
        Ok(Driver::new(parts, Box::new(world), dispatcher))
    }

    pub(super) fn new(
        parts: Parts,
        world: Box<dyn World>,
        dispatcher: Arc<OnceLock<Dispatcher>>,
    ) -> Driver {
        let mut seed = [0; 8];
        // Without randomness the delays of many monitors fall together, which is no reason to fail.
        let _ = getrandom::fill(&mut seed);
        let (supervisor, first) = Supervisor::start(policy(&parts.config));
        let webhook = Webhook::new(&parts.config);
        let orphans = Orphans::new(world.children());
        Driver {
            parts,
            supervisor,
            first,
            started: world.now(),
            world,
            dispatcher,
            on_disk: OnDisk::find(),
            candidate: None,
            check: None,
            webhook,
            orphans,
            records: Vec::new(),
            reports: VecDeque::new(),
            restarts: 0,
            stop_reason: None,
            stop_accepted: None,
            forced: false,
            is_broken: false,
            ended_by_itself: false,
            gave_up: false,
            finishing: None,
            last_exit: None,
            last_probe: None,
            dropped: 0,
            random: u64::from_ne_bytes(seed) | 1,
        }
    }

    pub(super) fn run(mut self) -> ExitCode {
        self.parts.handle.set_running();
        let first = std::mem::take(&mut self.first);
        self.perform_all(first);
        loop {
            if let Some(code) = self.finished() {
                return self.close(code);
            }
            let deadline = self.next_deadline();
            let received = self.world.wait(&self.parts.inbox, deadline);
            if matches!(received, Err(RecvTimeoutError::Disconnected)) {
                return self.close(exit_code::INTERNAL);
            }
            // 1. What came, came before the clock was read: an event that is in time beats its
            // deadline. 2. The burst is bounded, so that a busy inbox does not starve deadlines.
            let mut next = received.ok();
            for _ in 0..BURST {
                let Some(input) = next.or_else(|| self.parts.inbox.try_recv().ok()) else {
                    break;
                };
                next = None;
                self.take(*input);
            }
            let actions = self.supervisor.handle_timeout(self.now());
            self.perform_all(actions);
            self.reap_more_orphans();
            self.tell_webhook();
        }
    }

    pub(super) fn now(&self) -> Time {
        self.world.now().saturating_duration_since(self.started)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let supervisor = self.supervisor.next_deadline().map(|at| self.started + at);
        let last = match self.finishing {
            Some((_, deadline)) => Some(deadline),
            None => self.webhook.next_deadline().map(|at| self.started + at),
        };
        let orphans = self.orphans.has_more().then(|| self.world.now());
        [supervisor, last, orphans].into_iter().flatten().min()
    }

    /// Hands an event to the supervisor, and does what follows.
    pub(super) fn happen(&mut self, event: Event) {
        let actions = self.supervisor.handle(self.now(), event);
        self.perform_all(actions);
    }

    /// The outcome of an effect is handled before anything else can happen.
    pub(super) fn perform_all(&mut self, actions: Vec<Action>) {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            if let Some(event) = self.perform(action) {
                queue.extend(self.supervisor.handle(self.now(), event));
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Died { generation } => self.died(generation),
            Input::Said { generation, word } => self.said(generation, word),
            Input::ChannelClosed { generation } => {
                self.happen(Event::ChannelClosed { generation });
            }
            Input::OutputEnded {
                generation,
                tail,
                dropped,
            } => {
                if self.ended_by_itself && !self.parts.config.show_server_output {
                    for line in tail.lines() {
                        self.parts
                            .log
                            .output(crate::log::Stream::Stdout, line.as_bytes());
                    }
                }
                if let Some(record) = self.record(generation) {
                    record.output = Some((tail, dropped));
                }
                self.settle();
                self.tell_of_orphans();
            }
            Input::ChildDied => self.reap_orphans(),
            Input::ThreadFailed(name) => self.thread_failed(&name),
            Input::Probed {
                generation,
                outcome,
            } => self.probed(generation, &outcome),
            Input::Signal => {
                self.stop("a signal".to_owned(), How::Clean, 0, Asker::Signal);
            }
            Input::HangUp => {
                self.stop("a hang-up".to_owned(), How::Clean, 0, Asker::HangUp);
            }
            Input::Line(line) => self.command(&line),
            Input::LineTooLong => self.tell(Line::new(Who::Monitor).bad(format_args!(
                "expected a line of at most {} bytes, found a longer one; nothing was done",
                repl::MAX_LINE
            ))),
            Input::HandlersDone => self.happen(Event::HandlersDone),
            // Awaited at the very end, and nowhere else.
            Input::HooksDone => {}
            Input::Stop {
                reason,
                how,
                code,
                asker,
            } => self.stop(reason, how, code, asker),
            Input::Restart { how } => self.restart(how),
            Input::Reload => self.reload(),
            Input::Checked { answer, order } => self.checked(answer, order),
            Input::Ask { ask, reply } => {
                // Whoever asked may have given up by now; then nobody waits.
                let _ = reply.try_send(self.answer(ask));
            }
            #[cfg(feature = "webhook")]
            Input::Delivered(outcome) => self.delivered(outcome),
        }
    }

    /// Nothing can be trusted any more but this thread, so the worker is ended in good order.
    fn thread_failed(&mut self, name: &str) {
        self.is_broken = true;
        if let Some((code, _)) = &mut self.finishing {
            *code = exit_code::INTERNAL;
        }
        self.tell(Line::new(Who::Monitor).bad(format_args!(
            "the thread `{name}` of the monitor has failed, which is a defect of the library"
        )));
        // What ends already goes on as it was asked to: nobody has asked for more haste.
        if !self.supervisor.snapshot().stopping {
            let reason = "a thread of the monitor has failed".to_owned();
            self.stop(reason, How::Clean, exit_code::INTERNAL, Asker::Operator);
        }
    }

    pub(super) fn stop(&mut self, reason: String, how: How, code: u8, asker: Asker) {
        if self.stop_reason.is_none() {
            self.tell(Line::new(Who::Monitor).fact("reason: ").bad(&reason));
            self.stop_reason = Some(reason);
            self.stop_accepted = Some(self.world.now());
        }
        self.happen(Event::Stop { how, code, asker });
    }

    /// The worker is dead and unreaped: whatever of its group is left goes first, while the pid
    /// still is its own.
    fn died(&mut self, generation: Generation) {
        let jitter = self.jitter();
        let now = self.world.now();
        let Some(pid) = self.record(generation).map(|record| record.pid) else {
            return;
        };
        self.world.kill(pid);
        let (status, usage) = self.world.reap(pid);
        let Some(record) = self.record(generation) else {
            return;
        };
        let uptime = now.saturating_duration_since(record.spawned);
        record.death = Some(Death {
            status,
            usage,
            uptime,
        });
        record.peer = None;
        self.last_exit = Some(status.to_string());
        self.parts.handle.forget_peer(generation);
        self.world.drain(generation, io::DRAIN);
        self.repair_listeners();
        self.happen(Event::Exited {
            generation,
            exit: exit(status),
            jitter,
        });
    }

    #[allow(clippy::needless_pass_by_value)] // Lines are made where they are told.
    pub(super) fn tell(&self, line: Line) {
        self.parts.log.line(&line);
    }

    pub(super) fn record(&mut self, generation: Generation) -> Option<&mut Record> {
        self.records
            .iter_mut()
            .find(|record| record.generation == generation)
    }

    /// A small generator is enough to spread restarts; the machine itself draws nothing.
    pub(super) fn jitter(&mut self) -> Jitter {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Jitter(u16::try_from(self.random >> 48).unwrap_or(0))
    }

    /// The session is over once the last words of its worker are in, or have had their time.
    fn finished(&self) -> Option<u8> {
        let (code, deadline) = self.finishing?;
        (self.records.iter().all(|record| record.death.is_none()) || self.world.now() >= deadline)
            .then_some(code)
    }

    pub(super) fn finish(&mut self, code: u8) {
        let code = if self.is_broken {
            exit_code::INTERNAL
        } else {
            code
        };
        let within = if self.forced {
            LAST_OUTPUT_FORCED
        } else {
            LAST_OUTPUT
        };
        self.finishing = Some((code, self.world.now() + within));
        self.settle();
    }

    /// A clean stop has its time, in which hooks have their share as exit handlers do.
    fn hooks_until(&self) -> Instant {
        match self.stop_accepted {
            Some(at) => at + self.parts.config.grace + HANDLERS_BEYOND_GRACE,
            None => self.world.now() + LAST_HOOKS,
        }
    }

    fn close(mut self, code: u8) -> ExitCode {
        if let Some(check) = &self.check {
            check.abandon();
        }
        for record in &mut self.records {
            record.output.get_or_insert_with(Default::default);
        }
        self.settle();
        let until = (!self.forced).then(|| self.hooks_until());
        self.finish_webhook(until);
        if let Some(until) = until
            && self.parts.hooks.close()
        {
            self.await_hooks(until);
        }
        self.tell(
            Line::new(Who::Monitor).fact(format_args!("session ended with exit code {code}")),
        );
        let until = until.filter(|_| !self.forced);
        self.parts.log.flush(self.flush_within(until));
        ExitCode::from(code)
    }

    fn await_hooks(&mut self, until: Instant) {
        while !self.forced {
            match self.world.wait(&self.parts.inbox, Some(until)) {
                Ok(input) if matches!(*input, Input::HooksDone) => return,
                Ok(input) => self.forced = self.is_impatient(&input),
                Err(_) => return,
            }
        }
    }

    /// While the end is waited for: does this ask for it again? As the supervisor takes it until
    /// then, one signal that comes twice is one.
    pub(super) fn is_impatient(&self, input: &Input) -> bool {
        match input {
            Input::Signal => self
                .stop_accepted
                .is_none_or(|at| self.world.now() >= at + SIGNAL_DEBOUNCE),
            Input::Stop { how, asker, .. } => {
                *how == How::Force || matches!(asker, Asker::Operator)
            }
            Input::Line(line) => matches!(
                self.parts.commands.resolve(line),
                Resolved::Builtin(Command::Exit(_))
            ),
            _ => false,
        }
    }

    /// What a clean stop has left of its time, in reason.
    fn flush_within(&self, until: Option<Instant>) -> Duration {
        until.map_or(LAST_FLUSH_FORCED, |until| {
            let left = until.saturating_duration_since(self.world.now());
            left.clamp(LAST_FLUSH_FORCED, LAST_FLUSH)
        })
    }
}

fn exit(status: ExitStatus) -> Exit {
    let small = |number: i32| u8::try_from(number).ok();
    match status {
        ExitStatus::Code(code) => small(code).map_or(Exit::Unknown, Exit::Code),
        ExitStatus::Signal { number, .. } => small(number).map_or(Exit::Unknown, Exit::Signal),
        ExitStatus::Unknown => Exit::Unknown,
    }
}
