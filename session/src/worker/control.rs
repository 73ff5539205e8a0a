//! The control loop: the thread that launched the worker obeys the monitor and ends the process.

use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::crash::{ABORTS, PANIC_CODE};
use super::ending::Ending;
use super::exit::Observer;
use super::shared::{Link, Shared};
use super::wire::{Inbound, Line, discard_output};
use crate::ipc::codec::{BadLine, decode};
use crate::ipc::message::{Message, Outcome, ToWorker};
use crate::sys::{self, Interest, Poll, TakeSignal};
use crate::thread;

/// A kernel that is out of memory may refuse to wait; asking again at once would not help it.
const POLL_RETRY: Duration = Duration::from_millis(100);

pub(super) struct Control {
    pub(super) shared: Arc<Shared>,
    pub(super) take_signal: TakeSignal,
    /// `None`: there is no monitor, or none any more.
    pub(super) inbound: Option<Inbound>,
    pub(super) losses: Losses,
    /// Set once the process is ending.
    pub(super) deadline: Option<Instant>,
}

/// What the monitor said to no effect.
#[derive(Debug, Default)]
pub(super) struct Losses {
    bad_lines: u64,
    unheard: u64,
}

impl Control {
    /// Returns what the process is to end with; there are endings that it does not return from.
    pub(super) fn run(mut self, early: Vec<Line>) -> ExitCode {
        for line in early {
            self.obey(line);
        }
        loop {
            self.begin_to_end();
            if let Some(ending) = self.is_over() {
                return self.leave(ending);
            }
            self.wait();
        }
    }

    /// Sleeps until there is something to do, and does it.
    fn wait(&mut self) {
        let waker = self.shared.endings.waker();
        let mut fds = vec![Poll::new(waker.fd(), Interest::Read)];
        if let (Some(link), Some(_)) = (&self.shared.link, &self.inbound) {
            fds.push(Poll::new(link.channel.fd(), Interest::Read));
        }
        if sys::poll(&mut fds, self.deadline).is_err() {
            std::thread::sleep(POLL_RETRY);
        }
        let has_lines = fds.get(1).is_some_and(Poll::readable);
        waker.clear();
        while let Some(signal) = (self.take_signal)() {
            self.obey_signal(signal);
        }
        if has_lines {
            self.read();
        }
    }

    fn read(&mut self) {
        let Some(mut inbound) = self.inbound.take() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let Some(Link { channel, .. }) = &shared.link else {
            return;
        };
        let is_open = inbound.read(channel, |line| self.obey(line.and_then(decode)));
        if is_open {
            self.inbound = Some(inbound);
        } else {
            self.monitor_is_gone(inbound.finish());
        }
    }

    fn obey(&mut self, line: Line) {
        match line {
            Ok(ToWorker::Exit { reason }) => {
                self.shared.end(Ending::Asked { reason, code: None });
            }
            Ok(ToWorker::Message(message)) => self.deliver(message),
            Ok(ToWorker::Reply(reply)) => {
                // A reply that comes after its timeout is nobody's.
                if let Some(link) = &self.shared.link {
                    link.peer.complete(reply);
                }
            }
            Ok(ToWorker::Welcome(_)) => {
                self.skip(&BadLine::NotAVerb("a welcome comes once".into()));
            }
            Err(bad) => self.skip(&bad),
        }
    }

    fn skip(&mut self, bad: &BadLine) {
        self.losses.bad_lines += 1;
        let count = self.losses.bad_lines;
        if count.is_power_of_two() {
            self.shared
                .note(&format!("bad line {count} from the monitor: {bad}"));
        }
    }

    /// A message to nobody is answered here, so that no request waits for a busy listener's end
    /// only to learn that.
    fn deliver(&mut self, message: Message) {
        let Some(link) = &self.shared.link else {
            return;
        };
        if let Some(dispatcher) = self.shared.started_dispatcher()
            && self.shared.listeners.has(&message.name)
        {
            dispatcher.offer(message, &link.peer);
        } else if let Some(id) = message.id {
            // If the asker is gone, nobody waits.
            let _ = link.peer.answer(id, Outcome::NoReply);
        } else {
            self.losses.unheard += 1;
            if self.losses.unheard.is_power_of_two() {
                self.shared.note(&format!(
                    "message {} from the monitor that no listener heard: `{}`",
                    self.losses.unheard, message.name
                ));
            }
        }
    }

    fn obey_signal(&self, signal: Signal) {
        let is_first = self.shared.end(Ending::Signalled(signal));
        if !is_first && self.shared.link.is_none() {
            // Nobody else would end a program that hangs at its end: asking twice means now.
            sys::raise_default(signal);
        }
    }

    fn monitor_is_gone(&mut self, cut: Option<BadLine>) {
        if let Some(bad) = cut {
            self.skip(&bad);
        }
        discard_output();
        if let Some(link) = &self.shared.link {
            link.peer.close();
        }
        self.shared.end(Ending::MonitorGone);
        self.begin_to_end();
        if let Some(deadline) = self.deadline {
            kill_at(deadline);
        }
    }

    /// What every ending starts with, once.
    fn begin_to_end(&mut self) {
        if self.deadline.is_some() {
            return;
        }
        let Some(ending) = self.shared.endings.first() else {
            return;
        };
        let now = Instant::now();
        self.deadline = Some(now + self.shared.settings.grace);
        self.shared.stopping.fire();
        let observer: Arc<dyn Observer> = Arc::clone(&self.shared) as _;
        self.shared.exit_handlers.start(&ending.reason(), &observer);
    }

    fn is_over(&self) -> Option<&Ending> {
        let deadline = self.deadline?;
        let ending = self.shared.endings.first()?;
        let drains = ending.leaves_main_running()
            && self.shared.stopping.was_taken()
            && self.shared.endings.code_of_main().is_none();
        let is_done = !drains && self.shared.exit_handlers.running() == 0;
        (is_done || Instant::now() >= deadline).then_some(ending)
    }

    fn leave(&self, ending: &Ending) -> ExitCode {
        let has_monitor = self.inbound.is_some() || self.shared.link.is_none();
        if !has_monitor {
            // Nobody is left to end what this worker has started.
            sys::kill_own_group();
        }
        let unfinished = self.shared.exit_handlers.running();
        if unfinished > 0 {
            self.shared.note(&format!(
                "{} had not ended within the grace period",
                crate::text::count(unfinished as u64, "exit handler")
            ));
        }
        let of_main = self.shared.endings.code_of_main();
        match ending {
            Ending::Signalled(signal) => {
                sys::raise_default(*signal);
                ExitCode::FAILURE
            }
            Ending::Panicked(_) if ABORTS => process::abort(),
            Ending::Panicked(_) => PANIC_CODE.into(),
            Ending::Asked {
                code: Some(code), ..
            } => (*code).into(),
            Ending::Asked { code: None, .. } | Ending::Returned { .. } | Ending::MonitorGone => {
                of_main.unwrap_or(ExitCode::SUCCESS)
            }
        }
    }
}

/// Whatever the program does meanwhile, even in its last destructors: it is gone at `deadline`.
fn kill_at(deadline: Instant) {
    let watchdog = thread::start("session-watchdog", move || {
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        sys::kill_own_group();
    });
    // Without a thread for it, the control loop's own deadline has to do.
    drop(watchdog);
}
