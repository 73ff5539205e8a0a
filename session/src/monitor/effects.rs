//! What the supervisor decides, done.

use std::net::SocketAddr;

use super::driver::Driver;
use super::hooks;
use super::narrate::{self, Details};
use super::record::{Due, Record};
use super::sources::prober;
use crate::config::{DieWithMonitor, SERVER_PORT};
use crate::error::{Error, Result};
use crate::ipc::message::{PROTOCOL, ToWorker, Welcome, to_args};
use crate::log::{Line, Who};
use crate::machine::{Action, CauseKind, Companion, Event, Generation, How, Leaving, Notice};
use crate::probe;
use crate::process_table::Condition;
use crate::report::ExitReason;

impl Driver {
    /// Does one thing; its immediate outcome, if it has one, is the next event.
    pub(super) fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn { generation } => return Some(self.spawn(generation)),
            Action::Probe {
                generation,
                timeout,
            } => self.probe(generation, timeout),
            Action::AskToExit { generation, why } => self.ask_to_exit(generation, why),
            Action::Terminate { generation } => {
                if let Some(pid) = self.unreaped(generation) {
                    self.world.terminate(pid);
                }
            }
            Action::Kill { generation } => {
                if let Some(pid) = self.unreaped(generation) {
                    self.world.kill(pid);
                }
            }
            Action::TakeOver { generation } => self.take_over(generation),
            Action::Report { generation, cause } => self.report(generation, cause),
            Action::RunExitHandlers { .. } => return self.run_exit_handlers(),
            Action::Tell(notice) => self.notice(notice),
            Action::Finish { code } => self.finish(code),
        }
        None
    }

    fn spawn(&mut self, generation: Generation) -> Event {
        self.restarts = generation - 1;
        let is_trial = self.candidate.is_some();
        let mut outcome = self.try_spawn(generation);
        if outcome.as_ref().is_err_and(Error::is_access_denied)
            && !is_trial
            && self.move_to_memory()
        {
            outcome = self.try_spawn(generation);
        }
        match outcome {
            Ok(()) => {
                // A trial runs what is on disk, and what comes of it is told anyway.
                if !is_trial {
                    self.tell_of_the_file();
                }
                Event::Spawned { generation }
            }
            Err(error) => {
                let why = error.chain();
                self.tell(
                    Line::new(Who::Monitor)
                        .bad("the worker could not be started: ")
                        .plain(&why),
                );
                let mut record = Record::new(generation, 0, self.world.now());
                record.failure = Some(why);
                self.records.push(record);
                Event::SpawnFailed {
                    generation,
                    jitter: self.jitter(),
                }
            }
        }
    }

    fn try_spawn(&mut self, generation: Generation) -> Result<()> {
        let candidate = self.candidate.take();
        let program = candidate.as_ref().unwrap_or(self.parts.recipe.program());
        let spawner = self.parts.recipe.spawner(program);
        let welcome = self.welcome(generation)?;
        let started = self.world.spawn(&spawner, welcome)?;
        if !self.is_incoming(generation) {
            self.parts.handle.set_peer(started.peer.clone());
        }
        let mut record = Record::new(generation, started.pid, self.world.now());
        record.peer = Some(started.peer);
        record.outbox = started.outbox;
        record.candidate = candidate;
        let config = &self.parts.config;
        let port = config.ports.get(SERVER_PORT);
        record.server = port.map(|&port| SocketAddr::new(config.host, port));
        self.records.push(record);
        Ok(())
    }

    fn is_incoming(&self, generation: Generation) -> bool {
        self.supervisor.snapshot().companion == Some((generation, Companion::Incoming))
    }

    /// The worker is the active one from now on: messages go to it.
    fn take_over(&mut self, generation: Generation) {
        let record = self.record(generation);
        if let Some(peer) = record.and_then(|record| record.peer.clone()) {
            self.parts.handle.set_peer(peer);
        }
    }

    /// A new program has proven itself by getting ready, and not before: if it takes the place of
    /// a worker that died and fails then, the next one runs what did serve.
    fn end_trial(&mut self, generation: Generation) {
        let record = self.record(generation);
        if let Some(program) = record.and_then(|record| record.candidate.take()) {
            self.adopt(program);
        }
    }

    pub(super) fn welcome(&self, generation: Generation) -> Result<Welcome> {
        let config = &self.parts.config;
        Ok(Welcome {
            protocol: PROTOCOL,
            generation,
            host: config.host,
            ports: config.ports.clone(),
            grace_ms: u64::try_from(config.grace.as_millis()).unwrap_or(u64::MAX),
            kill_with_monitor: config.worker.die_with_monitor == DieWithMonitor::Kill,
            app: to_args(&config.app)?,
            check: false,
        })
    }

    fn probe(&mut self, generation: Generation, timeout: std::time::Duration) {
        let Some(route) = self.parts.config.polling_route.clone() else {
            return;
        };
        let Some(record) = self.record(generation) else {
            return;
        };
        let group = (!record.trusted && !record.is_held).then_some(record.pid);
        let private = record.private.filter(|_| record.serves_private);
        let Some(addr) = private.or(record.server) else {
            return;
        };
        let target = probe::target(addr.ip(), addr.port(), &route);
        self.world.probe(prober::Job {
            generation,
            target,
            timeout,
            group,
        });
    }

    fn ask_to_exit(&mut self, generation: Generation, why: Leaving) {
        let stop_reason = self.stop_reason.clone().unwrap_or_default();
        let Some(record) = self.record(generation) else {
            return;
        };
        let failure = record.failure.clone().unwrap_or_default();
        let reason = match why {
            Leaving::Stop => ExitReason::Stop(stop_reason),
            Leaving::Restart => ExitReason::Restart,
            Leaving::Unhealthy
            | Leaving::NotReady
            | Leaving::NoHandshake
            | Leaving::Crashing
            | Leaving::ChannelLost => ExitReason::Unhealthy(failure),
        };
        if let Some(peer) = &record.peer {
            // A worker that cannot be told is terminated when its grace period is over.
            let _ = peer.write(&ToWorker::Exit { reason });
        }
    }

    /// A pid is its worker's own as long as its death is unknown: only the owner reaps.
    fn unreaped(&mut self, generation: Generation) -> Option<u32> {
        self.record(generation)
            .filter(|record| record.death.is_none() && record.pid != 0)
            .map(|record| record.pid)
    }

    /// Why it cannot answer, if somebody has stopped it.
    pub(super) fn halted(&mut self, generation: Generation) -> Option<&'static str> {
        let pid = self.unreaped(generation)?;
        match self.world.look_at(pid)?.condition {
            Condition::Stopped => Some("its process is stopped (T)"),
            Condition::Traced => Some("its process is traced (t)"),
            Condition::Alive | Condition::Dead => None,
        }
    }

    fn report(&mut self, generation: Generation, cause: CauseKind) {
        let restarts = self.restarts;
        if let Some(record) = self.record(generation) {
            record.due = Some(Due { cause, restarts });
            if cause == CauseKind::SpawnError {
                record.output = Some(Default::default());
            }
        }
        self.settle();
        self.records.retain(|record| record.pid != 0);
    }

    fn run_exit_handlers(&mut self) -> Option<Event> {
        let handlers = std::mem::take(&mut self.parts.on_exit);
        let reason = match &self.stop_reason {
            Some(reason) => ExitReason::Stop(reason.clone()),
            None if self.gave_up => {
                ExitReason::Ended("the session gave up after a crash loop".to_owned())
            }
            None => ExitReason::Ended("the session ended with its worker".to_owned()),
        };
        let running =
            hooks::run_exit_handlers(handlers, &reason, &self.parts.sender, &self.parts.log);
        (!running).then_some(Event::HandlersDone)
    }

    fn notice(&mut self, notice: Notice) {
        if matches!(
            notice,
            Notice::Forcing | Notice::Stopping { how: How::Force }
        ) {
            self.forced = true;
        }
        if let Notice::Ready { generation } = notice {
            self.end_trial(generation);
        }
        let about = narrate::generation(notice);
        let is_silent = matches!(
            notice,
            Notice::NoHandshake { .. } | Notice::NotReadyInTime { .. } | Notice::Terminating { .. }
        );
        let halted = about
            .filter(|_| is_silent)
            .and_then(|about| self.halted(about));
        if let (Some(halted), Some(record)) = (halted, about.and_then(|about| self.record(about))) {
            record.add_failure(halted);
        }
        self.ended_by_itself |= matches!(notice, Notice::EndedByItself { .. });
        self.gave_up |= matches!(notice, Notice::GaveUp { .. });
        let config = &self.parts.config;
        let listening = config
            .polling_route
            .as_ref()
            .and_then(|_| config.ports.get(SERVER_PORT))
            .copied();
        let details = self
            .records
            .iter()
            .find(|record| Some(record.generation) == about)
            .or(self.records.last())
            .map_or_else(Details::default, |record| Details {
                pid: record.pid,
                listening,
                failure: record.failure.clone(),
                greeted: record.greeted,
                halted,
                status: record.death.map(|death| death.status),
            });
        self.tell(narrate::line(notice, &details));
    }
}
