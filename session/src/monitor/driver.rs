//! The loop: waits for what happens, asks the supervisor, and does what it says.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::handle::MonitorHandle;
use super::hooks::{ExitHandler, HookJob, Runner};
use super::input::{Ask, Input, LAST_FLUSH, Word};
use super::key::SessionKey;
use super::narrate;
use super::record::{Death, Record};
use super::sources::io::{self, Io};
use super::sources::prober::Prober;
use super::sources::waiter::Waiter;
use super::sources::{self};
use super::spawn::Recipe;
use super::status::{Probed, Status};
use crate::config::{self, Config, Readiness, RestartPolicy};
use crate::error::{Error, Result, exit_code};
use crate::ipc::dispatch::Dispatcher;
use crate::ipc::listeners::Listeners;
use crate::ipc::message::{Outcome, PROTOCOL, to_args};
use crate::log::{Line, Log, Who};
use crate::machine::{
    self, Action, Asker, Backoff, Event, Exit, Generation, How, Jitter, Limit, Policy, Polling,
    Restarts, Supervisor, Time,
};
use crate::probe;
use crate::repl::{self, Args, Command, CommandId, Resolved, Table};
use crate::report::{CrashReport, ExitStatus};
use crate::sys;

/// The most inputs handled before deadlines are looked at again.
const BURST: usize = 64;
/// The crash reports that are kept.
pub(super) const MAX_REPORTS: usize = 16;
/// The lines of output that the log shows of a crash.
const TAIL_LINES: usize = 40;
/// How long a finished session waits for the last output of its worker.
const LAST_OUTPUT: Duration = Duration::from_millis(500);
/// The same after a forced stop, which is to be over within half a second.
const LAST_OUTPUT_FORCED: Duration = Duration::from_millis(30);
/// How long a session that ends by itself waits for hooks that tell of the last crash.
const LAST_HOOKS: Duration = Duration::from_secs(2);

/// What the driver is made of.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) recipe: Recipe,
    pub(super) inbox: Receiver<Input>,
    pub(super) sender: Sender<Input>,
    pub(super) log: Log,
    pub(super) listeners: Arc<Listeners>,
    pub(super) handle: MonitorHandle,
    pub(super) key: Option<SessionKey>,
    pub(super) hooks: Runner<HookJob>,
    pub(super) actions: Runner<(CommandId, Args)>,
    pub(super) commands: Table,
    pub(super) on_exit: Vec<ExitHandler>,
}

/// Owns the session.
pub(super) struct Driver {
    pub(super) parts: Parts,
    pub(super) supervisor: Supervisor,
    first: Vec<Action>,
    pub(super) started: Instant,
    pub(super) io: Io,
    pub(super) waiter: Waiter,
    pub(super) prober: Prober,
    pub(super) dispatcher: Arc<OnceLock<Dispatcher>>,
    pub(super) records: Vec<Record>,
    pub(super) reports: VecDeque<CrashReport>,
    pub(super) restarts: u64,
    pub(super) stop_reason: Option<String>,
    pub(super) forced: bool,
    /// The session ends with its worker, whose output is then its answer (`--version`).
    pub(super) ended_by_itself: bool,
    pub(super) finishing: Option<(u8, Instant)>,
    last_exit: Option<String>,
    last_probe: Option<(String, Duration, Instant)>,
    pub(super) dropped: u64,
    random: u64,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Result<Driver> {
        let dispatcher: Arc<OnceLock<Dispatcher>> = Arc::default();
        let io = Io::start(
            parts.sender.clone(),
            parts.log.clone(),
            Arc::clone(&parts.listeners),
            Arc::clone(&dispatcher),
            parts.config.show_server_output,
        )?;
        let waiter = Waiter::start(parts.sender.clone())?;
        let prober = Prober::start(parts.sender.clone())?;
        sources::repl::start(parts.sender.clone())?;
        let mut seed = [0; 8];
        // Without randomness the delays of many monitors fall together, which is no reason to fail.
        let _ = getrandom::fill(&mut seed);
        let (supervisor, first) = Supervisor::start(policy(&parts.config));
        Ok(Driver {
            parts,
            supervisor,
            first,
            started: Instant::now(),
            io,
            waiter,
            prober,
            dispatcher,
            records: Vec::new(),
            reports: VecDeque::new(),
            restarts: 0,
            stop_reason: None,
            forced: false,
            ended_by_itself: false,
            finishing: None,
            last_exit: None,
            last_probe: None,
            dropped: 0,
            random: u64::from_ne_bytes(seed) | 1,
        })
    }

    pub(super) fn run(mut self) -> ExitCode {
        self.parts.handle.set_running();
        let first = std::mem::take(&mut self.first);
        self.perform_all(first);
        loop {
            if let Some(code) = self.finished() {
                return self.close(code);
            }
            let received = match self.next_deadline() {
                Some(at) => self.parts.inbox.recv_deadline(at),
                None => self
                    .parts
                    .inbox
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
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
                self.take(input);
            }
            let actions = self.supervisor.handle_timeout(self.now());
            self.perform_all(actions);
        }
    }

    pub(super) fn now(&self) -> Time {
        self.started.elapsed()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let supervisor = self.supervisor.next_deadline().map(|at| self.started + at);
        let finishing = self.finishing.map(|(_, deadline)| deadline);
        [supervisor, finishing].into_iter().flatten().min()
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
            }
            Input::Probed {
                generation,
                outcome,
            } => self.probed(generation, &outcome),
            Input::Signal => {
                self.stop("a signal".to_owned(), How::Clean, 0, Asker::Signal);
            }
            Input::Line(line) => self.command(&line),
            Input::LineTooLong => self.tell(Line::new(Who::Monitor).bad(format_args!(
                "expected a line of at most {} bytes, found a longer one; nothing was done",
                repl::MAX_LINE
            ))),
            Input::HandlersDone => self.happen(Event::HandlersDone),
            Input::Stop {
                reason,
                how,
                code,
                asker,
            } => self.stop(reason, how, code, asker),
            Input::Restart { how } => self.happen(Event::Restart { how }),
            Input::Ask(ask) => self.answer(ask),
        }
    }

    fn stop(&mut self, reason: String, how: How, code: u8, asker: Asker) {
        if self.stop_reason.is_none() {
            self.tell(Line::new(Who::Monitor).fact("reason: ").bad(&reason));
            self.stop_reason = Some(reason);
        }
        self.happen(Event::Stop { how, code, asker });
    }

    /// The worker is dead and unreaped: whatever of its group is left goes first, while the pid
    /// still is its own.
    fn died(&mut self, generation: Generation) {
        let jitter = self.jitter();
        let Some(record) = self.record(generation) else {
            return;
        };
        sys::kill_group(record.pid);
        let (status, usage) = sys::reap(record.pid);
        let uptime = record.spawned.elapsed();
        record.death = Some(Death {
            status,
            usage,
            uptime,
        });
        record.peer = None;
        self.last_exit = Some(status.to_string());
        self.parts.handle.set_peer(None);
        self.io.drain(generation, io::DRAIN);
        self.happen(Event::Exited {
            generation,
            exit: exit(status),
            jitter,
        });
    }

    fn said(&mut self, generation: Generation, word: Word) {
        let worker = || Line::new(Who::Worker);
        match word {
            Word::Hello {
                protocol,
                generation: theirs,
                pid,
            } => {
                self.hello(generation, protocol, theirs, pid);
            }
            Word::NoHello(why) => self.handshake_failed(generation, why),
            Word::Ready => self.happen(Event::Ready { generation }),
            Word::Lifecycle(text) => {
                self.tell(worker().plain("lifecycle phase (").fact(text).plain(")"));
            }
            Word::Crash(crash) => {
                let is_backtrace = matches!(crash, crate::ipc::message::Crash::Backtrace { .. });
                if let Some(record) = self.record(generation) {
                    record.tell(crash);
                }
                if !is_backtrace {
                    self.tell(worker().bad("crash event detected"));
                    self.happen(Event::Crashing { generation });
                }
            }
            Word::SetPort {
                name,
                port,
                restart,
            } => {
                self.requested("set_port");
                let outcome = self
                    .may_set_port()
                    .and_then(|()| self.set_port(&name, port, restart));
                self.tell_outcome(outcome, "the port is changed");
                let args =
                    serde_json::json!({ "port": name, "value": port, "immediateRestart": restart });
                self.tell_listeners("set_port", args, generation);
            }
            Word::SetPolling { seconds, now } => {
                self.requested("set_polling");
                let outcome = self
                    .may_set_port()
                    .and_then(|()| self.set_polling(seconds, now));
                self.tell_outcome(outcome, "the polling interval is changed");
            }
            Word::Kill {
                reason,
                graceful,
                code,
            } => self.asked_to_kill(generation, reason, graceful, code),
            Word::Authorize { id, offered } => self.authorize(generation, id, &offered),
            Word::Bad { count, why } => {
                self.dropped += 1;
                self.tell(
                    worker()
                        .warn(format_args!(
                            "{count} messages were not understood, the last: "
                        ))
                        .plain(why),
                );
            }
            Word::TooMany { count } => {
                self.dropped += 1;
                self.tell(worker().warn(format_args!(
                    "{count} messages came too fast and were dropped"
                )));
            }
            Word::Dropped { count } => {
                self.dropped += count;
                self.tell(worker().warn(format_args!(
                    "{count} messages were dropped: the listeners could not keep up"
                )));
            }
        }
    }

    fn requested(&self, what: &str) {
        self.tell(
            Line::new(Who::Worker)
                .plain("action requested (")
                .fact(what)
                .plain(")"),
        );
    }

    fn hello(&mut self, generation: Generation, protocol: u32, theirs: u64, pid: u32) {
        let Some(record) = self.record(generation) else {
            return;
        };
        if protocol != PROTOCOL {
            let why = format!(
                "expected protocol {PROTOCOL}, found {protocol}: restart the monitor to move to this build"
            );
            self.handshake_failed(generation, why);
        } else if theirs != generation || pid != record.pid {
            self.handshake_failed(
                generation,
                "it gave another generation or process id".to_owned(),
            );
        } else {
            self.happen(Event::Hello { generation });
        }
    }

    fn handshake_failed(&mut self, generation: Generation, why: String) {
        if let Some(record) = self.record(generation) {
            record.failure = Some(why);
        }
        self.happen(Event::HandshakeFailed { generation });
    }

    fn asked_to_kill(&mut self, generation: Generation, reason: String, graceful: bool, code: u64) {
        self.requested("kill");
        let args = serde_json::json!({ "reason": reason, "graceful": graceful, "errorCode": code });
        let line = Line::new(Who::Monitor);
        if !self.parts.config.worker.may_kill {
            self.tell(line.bad("refused: `worker.mayKill` is false"));
        } else if let Ok(code) = u8::try_from(code) {
            let how = if graceful { How::Clean } else { How::Force };
            self.tell_listeners("kill", args, generation);
            self.stop(reason, how, code, Asker::Worker);
        } else {
            self.tell(line.bad(format_args!(
                "refused: expected an exit code from 0 to 255, found {code}"
            )));
        }
    }

    fn authorize(&mut self, generation: Generation, id: u64, offered: &str) {
        let right = self
            .parts
            .key
            .as_mut()
            .is_some_and(|key| key.accepts(offered, Instant::now()));
        let peer = self
            .record(generation)
            .and_then(|record| record.peer.clone());
        if let (Some(peer), Ok(args)) = (peer, to_args(&right)) {
            // It may be dead by now; then nobody waits.
            let _ = peer.answer(id, Outcome::Answer(args));
        }
        if !right {
            self.tell(Line::new(Who::Monitor).warn("a wrong session key was offered"));
        }
    }

    fn probed(&mut self, generation: Generation, outcome: &probe::Outcome) {
        let config = &self.parts.config;
        let route = config.polling_route.as_deref().unwrap_or("/");
        let words = outcome.verdict.words(route, config.polling_timeout);
        self.last_probe = Some((words.clone(), outcome.latency, Instant::now()));
        let verdict = match &outcome.verdict {
            probe::Verdict::Healthy => machine::Verdict::Healthy,
            probe::Verdict::Unhealthy(_) | probe::Verdict::Stranger(_) => {
                machine::Verdict::Unhealthy
            }
            probe::Verdict::Inconclusive(_) => machine::Verdict::CannotProbe,
        };
        let worth_telling = matches!(
            outcome.verdict,
            probe::Verdict::Stranger(_)
                | probe::Verdict::Unhealthy(
                    probe::Failure::Redirect(_) | probe::Failure::Status(_)
                )
        );
        let Some(record) = self.record(generation) else {
            return;
        };
        let is_news = record.failure.as_ref() != Some(&words);
        if verdict == machine::Verdict::Healthy {
            record.trusted = true;
            record.failure = None;
        } else {
            record.failure = Some(words.clone());
        }
        if worth_telling && is_news && !record.trusted {
            self.tell(
                Line::new(Who::Monitor)
                    .warn("not healthy yet: ")
                    .plain(words),
            );
        }
        self.happen(Event::Probed {
            generation,
            verdict,
        });
    }

    fn command(&mut self, line: &str) {
        let monitor = || Line::new(Who::Monitor);
        match self.parts.commands.resolve(line) {
            Resolved::Empty => {}
            Resolved::Refused(why) => self.tell(monitor().bad(why)),
            Resolved::User(id, args) => {
                if !self.parts.actions.offer((id, args)) {
                    self.tell(
                        monitor().bad("busy: too many commands wait for one that has not ended"),
                    );
                }
            }
            Resolved::Builtin(command) => self.builtin(command),
        }
    }

    fn builtin(&mut self, command: Command) {
        match command {
            Command::Help { about } => {
                let lines = match about {
                    None => Ok(self.parts.commands.help()),
                    Some(name) => self.parts.commands.help_about(&name),
                };
                match lines {
                    Ok(lines) => self.tell_lines(&lines),
                    Err(why) => self.tell(Line::new(Who::Monitor).bad(why)),
                }
            }
            Command::Status => self.tell_lines(&self.status().lines()),
            Command::Reports { count } => self.tell_reports(count.unwrap_or(MAX_REPORTS)),
            Command::Exit(how) => {
                let reason = "manual exit requested by repl".to_owned();
                self.stop(reason, machine_how(how), 0, Asker::Operator);
            }
            Command::Restart(how) => self.happen(Event::Restart {
                how: machine_how(how),
            }),
            Command::Reload => self.tell(Line::new(Who::Monitor).bad(super::NO_RELOAD)),
            Command::SetPort {
                name,
                port,
                restart,
            } => {
                let outcome = self.set_port(&name, port, restart);
                self.tell_outcome(outcome, "the port is changed");
            }
            Command::SetPolling { seconds, now } => {
                let outcome = self.set_polling(seconds, now);
                self.tell_outcome(outcome, "the polling interval is changed");
            }
        }
    }

    fn answer(&mut self, ask: Ask) {
        // Whoever asked may have given up by now; then nobody waits.
        match ask {
            Ask::SetPort {
                name,
                port,
                restart,
                reply,
            } => {
                let _ = reply.try_send(self.set_port(&name, port, restart));
            }
            Ask::SetPolling {
                seconds,
                now,
                reply,
            } => {
                let _ = reply.try_send(self.set_polling(seconds, now));
            }
            Ask::Status { reply } => drop(reply.try_send(Box::new(self.status()))),
            Ask::Reports { reply } => {
                let _ = reply.try_send(self.reports.iter().cloned().collect());
            }
        }
    }

    fn may_set_port(&self) -> Result<()> {
        if self.parts.config.worker.may_set_port {
            return Ok(());
        }
        Err(Error::Invalid(
            "refused: `worker.maySetPort` is false".to_owned(),
        ))
    }

    fn set_port(&mut self, name: &str, port: u64, restart: bool) -> Result<()> {
        self.parts
            .config
            .set_port(name, port)
            .map_err(Error::Invalid)?;
        if restart {
            self.happen(Event::Restart { how: How::Clean });
        }
        Ok(())
    }

    fn set_polling(&mut self, seconds: f64, at_once: bool) -> Result<()> {
        let interval = config::check_interval(seconds).map_err(Error::Invalid)?;
        self.parts.config.set_polling_interval(interval);
        let timeout = self.parts.config.polling_timeout;
        self.happen(Event::SetPolling {
            interval,
            timeout,
            now: at_once,
        });
        Ok(())
    }

    fn status(&self) -> Status {
        let snapshot = self.supervisor.snapshot();
        let living = self
            .records
            .iter()
            .rev()
            .find(|record| record.death.is_none() && record.pid != 0);
        let now = self.now();
        Status {
            state: narrate::state(snapshot.state, snapshot.stopping).to_owned(),
            generation: snapshot.generation,
            pid: living.map(|record| record.pid),
            uptime: living.map(|record| record.spawned.elapsed()),
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
            last_probe: self
                .last_probe
                .as_ref()
                .map(|(verdict, latency, at)| Probed {
                    verdict: verdict.clone(),
                    latency: *latency,
                    ago: at.elapsed(),
                }),
            next_deadline: snapshot.next_deadline.map(|at| at.saturating_sub(now)),
            dropped: self.dropped + self.parts.log.lost().dropped + self.parts.log.lost().failed,
        }
    }

    fn tell_reports(&self, count: usize) {
        if self.reports.is_empty() {
            self.tell(Line::new(Who::Monitor).good("no worker has crashed"));
        }
        let skipped = self.reports.len().saturating_sub(count);
        for report in self.reports.iter().skip(skipped) {
            let lines: Vec<String> = report.to_string().lines().map(str::to_owned).collect();
            self.tell_lines(&lines);
        }
    }

    /// Makes the reports whose last piece has come, and forgets workers nothing is due of.
    pub(super) fn settle(&mut self) {
        let reports: Vec<CrashReport> =
            self.records.iter_mut().filter_map(Record::report).collect();
        for report in reports {
            self.publish(report);
        }
        self.records.retain(|record| !record.is_settled());
    }

    fn publish(&mut self, report: CrashReport) {
        let line = || Line::new(Who::Monitor);
        self.tell(
            line()
                .bad(format_args!(
                    "crash report, generation {}: ",
                    report.generation
                ))
                .plain(report.summary()),
        );
        for text in report.last_lines(TAIL_LINES) {
            self.tell(Line::new(Who::Worker).plain("| ").plain(text));
        }
        let args = serde_json::to_value(&report).unwrap_or_default();
        self.tell_listeners("notify_crash", args, report.generation);
        if self.parts.hooks.is_there()
            && !self
                .parts
                .hooks
                .offer(HookJob::Crash(Box::new(report.clone())))
        {
            self.dropped += 1;
            self.tell(
                line().warn("the crash hooks are busy; this report was not delivered to them"),
            );
        }
        if self.reports.len() == MAX_REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(report);
    }

    pub(super) fn tell_listeners(
        &self,
        name: &str,
        args: serde_json::Value,
        generation: Generation,
    ) {
        if self.parts.listeners.has(name) {
            io::dispatcher(&self.dispatcher, &self.parts.listeners, &self.parts.log)
                .tell(name, args, generation);
        }
    }

    #[allow(clippy::needless_pass_by_value)] // Lines are made where they are told.
    pub(super) fn tell(&self, line: Line) {
        self.parts.log.line(&line);
    }

    fn tell_lines(&self, lines: &[String]) {
        for text in lines {
            self.tell(Line::new(Who::Monitor).plain(text));
        }
    }

    fn tell_outcome(&self, outcome: Result<()>, done: &str) {
        let line = Line::new(Who::Monitor);
        self.tell(match outcome {
            Ok(()) => line.good(done),
            Err(error) => line.bad(error.chain()),
        });
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
        (self.records.iter().all(|record| record.death.is_none()) || Instant::now() >= deadline)
            .then_some(code)
    }

    pub(super) fn finish(&mut self, code: u8) {
        let within = if self.forced {
            LAST_OUTPUT_FORCED
        } else {
            LAST_OUTPUT
        };
        self.finishing = Some((code, Instant::now() + within));
        self.settle();
    }

    fn close(mut self, code: u8) -> ExitCode {
        for record in &mut self.records {
            record.output.get_or_insert_with(Default::default);
        }
        self.settle();
        if !self.forced {
            self.parts.hooks.finish(LAST_HOOKS);
        }
        self.tell(
            Line::new(Who::Monitor).fact(format_args!("session ended with exit code {code}")),
        );
        self.parts.log.flush(LAST_FLUSH);
        ExitCode::from(code)
    }
}

fn machine_how(how: repl::How) -> How {
    match how {
        repl::How::Clean => How::Clean,
        repl::How::Force => How::Force,
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

/// The part of the configuration that decisions depend on.
fn policy(config: &Config) -> Policy {
    let restart = &config.restart;
    // From 0 to 1, so it fits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let jitter_permille = (restart.jitter * 1000.0).round() as u16;
    Policy {
        readiness: match config.readiness {
            Readiness::Probe => machine::Readiness::Probe,
            Readiness::Call => machine::Readiness::Call,
            Readiness::Hello => machine::Readiness::Hello,
        },
        startup_timeout: config.startup_timeout,
        grace: config.grace,
        polling: config.polling_route.is_some().then_some(Polling {
            interval: config.polling_interval,
            timeout: config.polling_timeout,
        }),
        tolerance: config.polling_failure_tolerance,
        restarts: match restart.policy {
            RestartPolicy::Always => Restarts::Always,
            RestartPolicy::OnFailure => Restarts::OnFailure,
            RestartPolicy::Never => Restarts::Never,
        },
        backoff: Backoff {
            min: restart.min_delay,
            max: restart.max_delay,
            jitter_permille,
            stable: restart.stable,
        },
        limit: restart.max_failures.map(|failures| Limit {
            failures,
            within: restart.within,
        }),
    }
}
