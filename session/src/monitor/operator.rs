//! What the operator types, and what the program's own code in the monitor asks for.

use std::time::{Duration, Instant};

use super::driver::{Driver, MAX_REPORTS};
use super::input::{Answer, Ask};
use super::narrate;
use super::status::{Probed, Status};
use crate::config;
use crate::error::{Error, Result};
use crate::log::{Line, Who};
use crate::machine::{Asker, Event};
use crate::repl::{Command, Resolved};
use crate::text;

impl Driver {
    pub(super) fn command(&mut self, line: &str) {
        let monitor = || Line::new(Who::Monitor);
        match self.parts.commands.resolve(line) {
            Resolved::Empty => {}
            Resolved::Refused(why) => self.tell(monitor().bad(why)),
            Resolved::User(id, args) => {
                if !self.parts.actions.run(id, args) {
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
                self.stop(reason, how, 0, Asker::Operator);
            }
            Command::Restart(how) => self.restart(how),
            Command::Reload => self.reload(),
            Command::SetPort {
                name,
                port,
                restart,
            } => {
                let outcome = self.set_port(&name, port, restart);
                self.tell_outcome(outcome, &port_is_set(&name, port, restart));
            }
            Command::SetPolling { seconds, now } => {
                let outcome = self.set_polling(seconds, now);
                self.tell_outcome(
                    outcome,
                    &polling_is_set(self.parts.config.polling_interval, now),
                );
            }
        }
    }

    pub(super) fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::SetPort {
                name,
                port,
                restart,
            } => Answer::Set(self.set_port(&name, port, restart)),
            Ask::SetPolling { seconds, now } => Answer::Set(self.set_polling(seconds, now)),
            Ask::Status => Answer::Status(Box::new(self.status())),
            Ask::Reports => Answer::Reports(self.reports.iter().cloned().collect()),
        }
    }

    pub(super) fn may_set_port(&self) -> Result<()> {
        if self.parts.config.worker.may_set_port {
            return Ok(());
        }
        Err(Error::Invalid(
            "refused: `worker.maySetPort` is false".to_owned(),
        ))
    }

    pub(super) fn set_polling(&mut self, seconds: f64, at_once: bool) -> Result<()> {
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
        let living = self.records.iter().find(|record| {
            record.generation == snapshot.generation && record.death.is_none() && record.pid != 0
        });
        let now = self.world.now();
        let since = |at: Instant| now.saturating_duration_since(at);
        Status {
            state: narrate::state(snapshot.state, snapshot.stopping).to_owned(),
            generation: snapshot.generation,
            companion: snapshot.companion.map(narrate::companion),
            pid: living.map(|record| record.pid),
            uptime: living.map(|record| since(record.spawned)),
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
            last_probe: self
                .last_probe
                .as_ref()
                .map(|(verdict, latency, at)| Probed {
                    verdict: verdict.clone(),
                    latency: *latency,
                    ago: since(*at),
                }),
            next_deadline: snapshot
                .next_deadline
                .map(|at| at.saturating_sub(since(self.started))),
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

    fn tell_lines(&self, lines: &[String]) {
        for text in lines {
            self.tell(Line::new(Who::Monitor).plain(text));
        }
    }

    pub(super) fn tell_outcome(&self, outcome: Result<()>, done: &str) {
        let line = Line::new(Who::Monitor);
        self.tell(match outcome {
            Ok(()) => line.good(done),
            Err(error) => line.bad(error.chain()),
        });
    }
}

/// What has been done when a port was set.
pub(super) fn port_is_set(name: &str, port: u64, restart: bool) -> String {
    format!("the port `{name}` is {port} {}", since(restart))
}

/// What has been done when the polling interval was set.
pub(super) fn polling_is_set(interval: Duration, now: bool) -> String {
    let seconds = text::seconds(interval);
    format!("the server is probed every {seconds} s {}", since(now))
}

fn since(now: bool) -> &'static str {
    if now {
        "from now on"
    } else {
        "from the next worker on"
    }
}
