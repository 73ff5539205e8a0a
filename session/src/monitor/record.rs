//! What the monitor knows of one worker, by generation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::outbox::Outbox;
use super::spawn::Program;
use crate::ipc::message::{Crash, MAX_BACKTRACE, MAX_CRASH, Text, bounded};
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
    /// Has said hello: it is a worker indeed.
    pub(super) greeted: bool,
    /// Has answered a probe well: then the listening socket is its own.
    pub(super) trusted: bool,
    /// It runs another program than the workers before it, which is on trial until it is ready.
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
    pub(super) fn new(generation: Generation, pid: u32, spawned: Instant) -> Record {
        Record {
            generation,
            pid,
            peer: None,
            outbox: None,
            server: None,
            is_held: false,
            private: None,
            serves_private: false,
            spawned,
            greeted: false,
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
            Crash::Backtrace(Text { text }) => {
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
            Crash::MainError(Text { text }) if self.told.is_none() => {
                self.told = Some(Cause::MainError(clip(&text)));
            }
            Crash::Panic(_) | Crash::MainError(_) => {}
        }
    }

    /// Another thing that is wrong with it, said once.
    pub(super) fn add_failure(&mut self, what: &str) {
        self.failure = Some(match self.failure.take() {
            Some(failure) if failure.ends_with(what) => failure,
            Some(failure) => format!("{failure}; {what}"),
            None => what.to_owned(),
        });
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
        let not_ready = || match &self.failure {
            Some(failure) => format!("not ready in time: {failure}"),
            None => "not ready in time".to_owned(),
        };
        match kind {
            CauseKind::SpawnError => Cause::SpawnError(failure()),
            CauseKind::Exit | CauseKind::Told => self.told.clone().unwrap_or(Cause::Exit),
            CauseKind::FailedProbe => Cause::FailedProbe(failure()),
            CauseKind::FailedStart => Cause::FailedStart(not_ready()),
            CauseKind::NoHandshake => Cause::FailedStart(failure()),
            CauseKind::ChannelLost => Cause::ChannelLost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEATH: Death = Death {
        status: ExitStatus::Code(101),
        usage: Usage {
            cpu_time: Duration::from_millis(20),
            peak_memory: 4096,
        },
        uptime: Duration::from_secs(5),
    };

    fn record() -> Record {
        Record::new(3, 7, Instant::now())
    }

    fn panic(message: &str) -> Crash {
        Crash::Panic(Panic {
            message: message.into(),
            location: Some("a.rs:1:2".into()),
            thread: "main".into(),
            // It comes in a message of its own.
            backtrace: Some("smuggled".into()),
        })
    }

    fn main_error(text: &str) -> Crash {
        Crash::MainError(Text { text: text.into() })
    }

    fn backtrace(text: &str) -> Crash {
        Crash::Backtrace(Text { text: text.into() })
    }

    fn due(cause: CauseKind) -> Option<Due> {
        Some(Due { cause, restarts: 2 })
    }

    /// Dead, its output in, its report due.
    fn complete(mut record: Record, cause: CauseKind) -> Record {
        record.death = Some(DEATH);
        record.output = Some(("last words".into(), 9));
        record.due = due(cause);
        record
    }

    fn told_panic(record: &Record) -> &Panic {
        match &record.told {
            Some(Cause::Panic(panic)) => panic,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_report_has_all_that_is_known() {
        let mut record = complete(record(), CauseKind::Told);
        record.tell(panic("no disk"));
        record.tell(backtrace("0: main"));
        let report = record.report().unwrap();
        let expected = Panic {
            message: "no disk".into(),
            location: Some("a.rs:1:2".into()),
            thread: "main".into(),
            backtrace: Some("0: main".into()),
        };
        assert_eq!(report.cause, Cause::Panic(expected));
        assert_eq!((report.generation, report.pid, report.restarts), (3, 7, 2));
        assert_eq!(report.status, Some(ExitStatus::Code(101)));
        assert_eq!(report.uptime, DEATH.uptime);
        assert_eq!(report.cpu_time, DEATH.usage.cpu_time);
        assert_eq!(report.peak_memory, DEATH.usage.peak_memory);
        assert_eq!(
            (&report.output[..], report.output_dropped),
            ("last words", 9)
        );
        assert!(report.at_unix_seconds > 0);
    }

    #[test]
    fn a_report_waits_for_the_last_output_and_is_made_once() {
        let mut record = record();
        record.due = due(CauseKind::Exit);
        assert_eq!(record.report(), None);
        record.death = Some(DEATH);
        assert_eq!(record.report(), None);
        assert!(!record.is_settled());
        record.output = Some(Default::default());
        assert!(!record.is_settled());
        assert!(record.report().is_some());
        assert_eq!(record.report(), None);
        assert!(record.is_settled());
    }

    #[test]
    fn without_a_crash_there_is_no_report_and_still_an_end() {
        let mut record = record();
        record.output = Some(Default::default());
        assert!(!record.is_settled());
        record.death = Some(DEATH);
        assert_eq!(record.report(), None);
        assert!(record.is_settled());
    }

    #[test]
    fn the_first_crash_that_is_told_counts() {
        let mut record = record();
        record.tell(panic("first"));
        record.tell(panic("second"));
        record.tell(main_error("third"));
        record.tell(backtrace("of the first"));
        record.tell(backtrace("of the second"));
        assert_eq!(told_panic(&record).message, "first");
        let kept = told_panic(&record).backtrace.as_deref();
        assert_eq!(kept, Some("of the first"));
    }

    #[test]
    fn a_backtrace_belongs_to_a_panic_only() {
        let mut record = record();
        record.tell(backtrace("of nothing"));
        assert_eq!(record.told, None);
        record.tell(main_error("no port"));
        record.tell(backtrace("of no panic"));
        assert_eq!(record.told, Some(Cause::MainError("no port".into())));
    }

    #[test]
    fn what_a_worker_tells_has_bounds() {
        for length in [MAX_CRASH, MAX_CRASH + 1, 10 * MAX_CRASH] {
            let long = "x".repeat(length);
            let expected = crate::text::clip(&long, MAX_CRASH);
            assert_eq!(expected == long, length == MAX_CRASH);
            let mut panicked = record();
            panicked.tell(panic(&long));
            assert_eq!(told_panic(&panicked).message, expected);
            let mut failed = record();
            failed.tell(main_error(&long));
            assert_eq!(failed.told, Some(Cause::MainError(expected.into_owned())));
        }
        for length in [MAX_BACKTRACE, MAX_BACKTRACE + 1, 10 * MAX_BACKTRACE] {
            let long = "x".repeat(length);
            let expected = crate::text::clip(&long, MAX_BACKTRACE);
            assert_eq!(expected == long, length == MAX_BACKTRACE);
            let mut record = record();
            record.tell(panic("no disk"));
            record.tell(backtrace(&long));
            assert_eq!(told_panic(&record).backtrace.as_deref(), Some(&*expected));
        }
    }

    #[test]
    fn every_kind_of_crash_has_its_cause() {
        let refused = || "connection refused".to_owned();
        for (kind, with_failure, without) in [
            (
                CauseKind::SpawnError,
                Cause::SpawnError(refused()),
                Cause::SpawnError("no more is known".into()),
            ),
            (CauseKind::Exit, Cause::Exit, Cause::Exit),
            (CauseKind::Told, Cause::Exit, Cause::Exit),
            (
                CauseKind::FailedProbe,
                Cause::FailedProbe(refused()),
                Cause::FailedProbe("no more is known".into()),
            ),
            (
                CauseKind::FailedStart,
                Cause::FailedStart("not ready in time: connection refused".into()),
                Cause::FailedStart("not ready in time".into()),
            ),
            (
                CauseKind::NoHandshake,
                Cause::FailedStart(refused()),
                Cause::FailedStart("no more is known".into()),
            ),
            (
                CauseKind::ChannelLost,
                Cause::ChannelLost,
                Cause::ChannelLost,
            ),
        ] {
            let mut failed = complete(record(), kind);
            failed.failure = Some(refused());
            assert_eq!(failed.report().unwrap().cause, with_failure);
            let mut silent = complete(record(), kind);
            assert_eq!(silent.report().unwrap().cause, without);
        }
    }

    #[test]
    fn a_worker_that_told_nothing_else_may_have_told_its_panic() {
        // Its exit was seen before its words were read, or the other way round: one cause.
        for kind in [CauseKind::Exit, CauseKind::Told] {
            let mut record = complete(record(), kind);
            record.tell(main_error("no port"));
            let cause = record.report().unwrap().cause;
            assert_eq!(cause, Cause::MainError("no port".into()));
        }
    }

    #[test]
    fn one_that_never_ran_has_no_status_and_no_time() {
        let mut record = Record::new(1, 0, Instant::now());
        record.failure = Some("no memory".into());
        record.due = due(CauseKind::SpawnError);
        record.output = Some(Default::default());
        let report = record.report().unwrap();
        assert_eq!((report.status, report.pid), (None, 0));
        assert_eq!(report.uptime, Duration::ZERO);
        assert_eq!(report.summary(), "could not be started: no memory");
    }
}
