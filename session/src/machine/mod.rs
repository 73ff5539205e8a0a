//! The supervisor: events in, actions out, and the time is a parameter.
//!
//! Nothing here reads a clock, starts a thread or a process, touches a file, draws a random
//! number or writes a log line. Its whole state is small, comparable and cloneable, so that every
//! order of events can be tried. Texts (panic messages, output) never pass through it: the driver
//! keeps them by generation, and the machine decides on facts alone.
//!
//! [`supervisor`] has the session's state and its match over events, [`ended`] what follows from a
//! worker's death, [`stop`] the end of the session, [`backoff`] when the next worker starts, and
//! [`reload`] how one takes over from another that still serves. [`generation`] is one worker's
//! life from spawn to death, [`readiness`] and [`probing`] how it gets ready and stays healthy,
//! [`ladder`] how it leaves.

mod backoff;
mod ended;
mod generation;
mod ladder;
mod probing;
mod readiness;
mod reload;
mod stop;
mod supervisor;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use reload::Companion;
pub(crate) use supervisor::{State, Supervisor};

/// Monotonic time since the monitor started. (A plain number, so that states can be compared.)
pub(crate) type Time = Duration;

/// The n-th worker of this session; the first is 1.
pub(crate) type Generation = u64;

/// A number between 0 and 1, drawn by the driver for one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Jitter(pub(crate) u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum How {
    Clean,
    Force,
}

/// Who asks for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    /// SIGINT or SIGTERM to the monitor.
    Signal,
    /// SIGHUP: the terminal went away.
    HangUp,
    /// The REPL, or the program's own code in the monitor.
    Operator,
    /// A worker, by `kill`.
    Worker,
}

/// How a worker's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Exit {
    Code(u8),
    Signal(u8),
    /// The system could not tell.
    Unknown,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    Healthy,
    Unhealthy,
    /// The monitor itself could not ask; that says nothing about the worker.
    CannotProbe,
}

/// Where a worker accepts its connections, as far as it has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Serving {
    /// On a socket of its own, or not at all: two such workers cannot be there at once.
    Own,
    /// On a socket that the monitor holds.
    Held,
    /// There, and on a private one on which nobody else can answer.
    Private,
}

/// All that can happen to a session. Closed: whoever adds one is told by the compiler where it
/// must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// The process exists.
    Spawned { generation: Generation },
    /// The process could not be made.
    SpawnFailed {
        generation: Generation,
        jitter: Jitter,
    },
    /// The worker speaks our protocol.
    Hello { generation: Generation },
    /// The worker's first words were not a hello of our protocol.
    HandshakeFailed { generation: Generation },
    /// The worker says that it is ready.
    Ready { generation: Generation },
    /// The worker has asked for a held listener, or accepts on its private one too.
    Serves {
        generation: Generation,
        serving: Serving,
    },
    /// The worker says that it crashes: it runs its exit handlers and ends.
    Crashing { generation: Generation },
    /// The worker's end of the channel is closed, and every line it had sent is in.
    ChannelClosed { generation: Generation },
    /// The process ended and was reaped.
    Exited {
        generation: Generation,
        exit: Exit,
        jitter: Jitter,
    },
    Probed {
        generation: Generation,
        verdict: Verdict,
    },
    /// End the session with this exit code.
    Stop { how: How, code: u8, asker: Asker },
    /// Replace the worker.
    Restart { how: How },
    /// Replace the worker by one that is ready before it goes.
    Reload,
    /// A new polling interval: for the worker that runs too, or from the next one on.
    SetPolling {
        interval: Duration,
        timeout: Duration,
        now: bool,
    },
    /// Every exit handler of the monitor has ended.
    HandlersDone,
}

/// What the driver is to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Start the worker; the outcome is [`Event::Spawned`] or [`Event::SpawnFailed`].
    Spawn { generation: Generation },
    /// Ask once whether the worker is healthy; the outcome is [`Event::Probed`].
    Probe {
        generation: Generation,
        timeout: Duration,
    },
    /// Send the exit message.
    AskToExit {
        generation: Generation,
        why: Leaving,
    },
    /// SIGTERM and SIGCONT to the worker's group.
    Terminate { generation: Generation },
    /// SIGKILL to the worker's group.
    Kill { generation: Generation },
    /// This worker is the active one from now on.
    TakeOver { generation: Generation },
    /// The worker's end was not asked for: make its crash report.
    Report {
        generation: Generation,
        cause: CauseKind,
    },
    /// Run the monitor's exit handlers; the outcome is [`Event::HandlersDone`].
    RunExitHandlers { within: Duration },
    /// Tell the operator.
    Tell(Notice),
    /// The session is over.
    Finish { code: u8 },
}

/// Why a worker has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Leaving {
    Stop,
    Restart,
    /// It failed its probes.
    Unhealthy,
    /// It was not ready in time.
    NotReady,
    /// It never said hello, or said something else.
    NoHandshake,
    /// It crashes and has said so.
    Crashing,
    /// It closed its channel and lives on.
    ChannelLost,
}

/// The kind of a crash; the driver adds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CauseKind {
    SpawnError,
    /// It ended by itself, without a word.
    Exit,
    /// It said what happened: a panic, or an error of main.
    Told,
    FailedProbe,
    FailedStart,
    NoHandshake,
    ChannelLost,
}

/// What an operator wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Notice {
    Spawned {
        generation: Generation,
    },
    /// Ready for the first time in its life.
    Ready {
        generation: Generation,
    },
    /// Failure `failures` of `tolerance` that are tolerated.
    Tolerated {
        generation: Generation,
        failures: u32,
        tolerance: u32,
    },
    /// Healthy again after tolerated failures.
    Recovered {
        generation: Generation,
    },
    /// Past the tolerance.
    Unhealthy {
        generation: Generation,
        failures: u32,
    },
    CannotProbe {
        generation: Generation,
    },
    /// A probe did not come back at all.
    ProbeLost {
        generation: Generation,
    },
    NotReadyInTime {
        generation: Generation,
        after: Duration,
    },
    NoHandshake {
        generation: Generation,
    },
    ChannelLost {
        generation: Generation,
    },
    /// The grace period is over and it still runs.
    Terminating {
        generation: Generation,
    },
    Killing {
        generation: Generation,
    },
    /// SIGKILL did not end it.
    Unkillable {
        generation: Generation,
    },
    Exited {
        generation: Generation,
        exit: Exit,
    },
    RestartingAtOnce,
    RestartingIn {
        delay: Duration,
    },
    GaveUp {
        failures: u32,
        within: Duration,
    },
    /// The session ends with its worker.
    EndedByItself {
        exit: Exit,
    },
    Stopping {
        how: How,
    },
    /// A second request made the stop a forced one.
    Forcing,
    Restarting {
        how: How,
    },
    /// A restart was asked for while the session stops.
    AlreadyStopping,
    /// A restart was asked for while the worker is being replaced.
    AlreadyRestarting,
    /// A restart was asked for while a worker is there that nothing can end.
    CannotRestart,
    /// A reload begins: this worker starts beside the one that serves.
    Reloading {
        generation: Generation,
    },
    /// This worker is the active one now; the one before it drains.
    TookOver {
        generation: Generation,
    },
    /// This worker did not get as far as taking over, and the one that serves stays.
    ReloadFailed {
        generation: Generation,
    },
    /// A reload was asked for while one is under way.
    AlreadyReloading,
    /// A reload was asked for of a worker that has no held listener.
    CannotReload,
    /// Exit handlers of the monitor were still running when their time was over.
    HandlersOverdue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Readiness {
    /// The first healthy probe.
    Probe,
    /// The worker's own word.
    Call,
    /// The handshake.
    Hello,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Restarts {
    Always,
    OnFailure,
    Never,
}

/// The settings that decisions depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Policy {
    pub(crate) readiness: Readiness,
    pub(crate) startup_timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) polling: Option<Polling>,
    pub(crate) tolerance: u32,
    pub(crate) restarts: Restarts,
    pub(crate) backoff: Backoff,
    pub(crate) limit: Option<Limit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Polling {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// How long to wait before a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Backoff {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
    /// In thousandths of the delay, to either side.
    pub(crate) jitter_permille: u16,
    /// Ready for this long: the next failure is the first one.
    pub(crate) stable: Duration,
}

/// When to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Limit {
    pub(crate) failures: u32,
    pub(crate) within: Duration,
}

/// No hello by then: the process does not get as far as our code.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The first quick probe of a new worker: sooner than this few servers listen.
pub(crate) const FIRST_PROBE: Duration = Duration::from_millis(20);
/// Quick probes double up to this.
pub(crate) const SLOWEST_QUICK_PROBE: Duration = Duration::from_secs(1);
/// A probe that is overdue by this much is lost: its thread is stuck or gone.
pub(crate) const PROBE_OVERDUE: Duration = Duration::from_secs(5);
/// How long exit and end of channel of one death may be apart.
pub(crate) const SETTLE: Duration = Duration::from_millis(100);
/// A worker whose channel is closed and that does not die within this lives on without it.
pub(crate) const CHANNEL_LOST: Duration = Duration::from_millis(500);
/// From SIGTERM to SIGKILL: the grace period was before.
pub(crate) const TERMINATE: Duration = Duration::from_secs(1);
/// A process that outlives SIGKILL this long is stuck in the kernel.
pub(crate) const REAP: Duration = Duration::from_secs(5);
/// The monitor's exit handlers may take this much longer than the grace period; with the last
/// rungs of the ladder beside it, a clean stop ends within grace + 2 s.
pub(crate) const HANDLERS_BEYOND_GRACE: Duration = Duration::from_millis(1500);
/// And this long in all when the stop is forced, which is to end within 500 ms.
pub(crate) const HANDLERS_FORCED: Duration = Duration::from_millis(400);
/// Two signals closer than this are one: `timeout` and some service managers signal a process
/// and its group, and nobody presses Ctrl-C twice as fast.
pub(crate) const SIGNAL_DEBOUNCE: Duration = Duration::from_millis(25);
/// Exit codes by which a worker that was never ready ends the session: it did what it was asked
/// to (`--version`), or will fail the same way again (usage, configuration).
pub(crate) const FINAL_CODES: [u8; 4] = [0, 2, 64, 78];
/// The exit code after giving up.
pub(crate) const GAVE_UP_CODE: u8 = crate::error::exit_code::GAVE_UP;
/// The exit code when a stop leaves an unkillable worker behind.
pub(crate) const UNKILLABLE_CODE: u8 = crate::error::exit_code::OS;
