//! What the monitor knows of one worker, by generation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::outbox::Outbox;
use super::spawn::Program;
use crate::ipc::message::{Crash, MAX_BACKTRACE, MAX_CRASH, bounded};
use crate::ipc::peer::Peer;
use crate::machine::{CauseKind, Generation};
use crate::report::{Cause, CrashReport, ExitStatus, Panic};
use crate::sys::Usage;

/// Kept from the spawn until its report, if there is one, is made.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) generation: Generation,
    pub(super) pid: u32,
    pub(super) peer: Option<Peer>,
    pub(super) outbox: Option<Arc<Outbox>>,
    /// Where it is probed while it has no private listener: a port that is changed later is the
    /// next worker's.
    pub(super) server: Option<SocketAddr>,
    /// That socket is the monitor's, so whoever else has it is no stranger.
    pub(super) is_held: bool,
    /// Its own listener, once it has one.
    pub(super) private: Option<SocketAddr>,
    /// It accepts there.
    pub(super) serves_private: bool,
    pub(super) spawned: Instant,
    /// Has answered a probe well: then the listening socket is its own.
    pub(super) trusted: bool,
    /// It runs another program than the workers before it, which is on trial until it takes over.
    pub(super) candidate: Option<Arc<Program>>,
    pub(super) death: Option<Death>,
    /// What the worker itself said of its crash.
    told: Option<Cause>,
    /// The last thing that went wrong with a probe, or the handshake.
    pub(super) failure: Option<String>,
    /// The report that is due once the last output is in.
    pub(super) due: Option<Due>,
    /// The last output is in: its text, and how many bytes came before it.
    pub(super) output: Option<(String, u64)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    pub(super) status: ExitStatus,
    pub(super) usage: Usage,
    pub(super) uptime: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) cause: CauseKind,
    pub(super) restarts: u64,
}

impl Record {
    pub(super) fn new(generation: Generation, pid: u32, peer: Option<Peer>) -> Record {
        Record {
            generation,
            pid,
            peer,
            outbox: None,
            server: None,
            is_held: false,
            private: None,
            serves_private: false,
            spawned: Instant::now(),
            trusted: false,
            candidate: None,
            death: None,
            told: None,
            failure: None,
            due: None,
            output: None,
        }
    }

    /// The first crash it tells counts: what comes after is a consequence.
    pub(super) fn tell(&mut self, crash: Crash) {
        let clip = |text: &str| bounded(text, MAX_CRASH).into_owned();
        match crash {
            Crash::Backtrace { text } => {
                if let Some(Cause::Panic(panic)) = &mut self.told
                    && panic.backtrace.is_none()
                {
                    panic.backtrace = Some(bounded(&text, MAX_BACKTRACE).into_owned());
                }
            }
            Crash::Panic(panic) if self.told.is_none() => {
                self.told = Some(Cause::Panic(Panic {
                    message: clip(&panic.message),
                    location: panic.location.as_deref().map(clip),
                    thread: clip(&panic.thread),
                    backtrace: None,
                }));
            }
            Crash::MainError { text } if self.told.is_none() => {
                self.told = Some(Cause::MainError(clip(&text)));
            }
            Crash::Panic(_) | Crash::MainError { .. } => {}
        }
    }

    /// The report, if one is due and everything that belongs into it is there.
    pub(super) fn report(&mut self) -> Option<CrashReport> {
        let output = self.output.as_ref()?;
        let due = self.due.take()?;
        let death = self.death;
        Some(CrashReport {
            generation: self.generation,
            pid: self.pid,
            cause: self.cause(due.cause),
            status: death.map(|death| death.status),
            at_unix_seconds: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            uptime: death.map_or(Duration::ZERO, |death| death.uptime),
            restarts: due.restarts,
            output: output.0.clone(),
            output_dropped: output.1,
            cpu_time: death.map_or(Duration::ZERO, |death| death.usage.cpu_time),
            peak_memory: death.map_or(0, |death| death.usage.peak_memory),
        })
    }

    /// Nothing is waited for any more. The reader tells the end of the channel before the end of
    /// the output, so what the supervisor makes of the death is known by then.
    pub(super) fn is_settled(&self) -> bool {
        self.death.is_some() && self.output.is_some() && self.due.is_none()
    }

    fn cause(&self, kind: CauseKind) -> Cause {
        let failure = || {
            self.failure
                .clone()
                .unwrap_or_else(|| "no more is known".to_owned())
        };
        match kind {
            CauseKind::SpawnError => Cause::SpawnError(failure()),
            CauseKind::Exit | CauseKind::Told => self.told.clone().unwrap_or(Cause::Exit),
            CauseKind::FailedProbe => Cause::FailedProbe(failure()),
            CauseKind::FailedStart | CauseKind::NoHandshake => Cause::FailedStart(failure()),
            CauseKind::ChannelLost => Cause::ChannelLost,
        }
    }
}
