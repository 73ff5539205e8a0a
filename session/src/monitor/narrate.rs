//! What the supervisor decided, in the words of the log.

use std::time::Duration;

use crate::log::{Line, Who};
use crate::machine::{Companion, Exit, Generation, How, Notice, State, TERMINATE};
use crate::report::ExitStatus;
use crate::sys;
use crate::text::count;

/// What a notice needs that the supervisor does not know.
#[derive(Clone, Debug, Default)]
pub(super) struct Details {
    pub(super) pid: u32,
    /// The port and route, where the worker is known by its probes.
    pub(super) listening: Option<u16>,
    /// What went wrong last, with a probe or the handshake.
    pub(super) failure: Option<String>,
    /// It has said hello.
    pub(super) greeted: bool,
    /// Why it cannot answer, if somebody has stopped it.
    pub(super) halted: Option<&'static str>,
    /// The exact end of the last worker.
    pub(super) status: Option<ExitStatus>,
}

pub(super) fn line(notice: Notice, details: &Details) -> Line {
    let monitor = Line::new(Who::Monitor);
    let worker = Line::new(Who::Worker);
    let pid = details.pid;
    let failure = details.failure.as_deref().unwrap_or("no more is known");
    match notice {
        Notice::Spawned { generation } => monitor.fact(format_args!(
            "spawned new server worker with process id {pid} (generation {generation})"
        )),
        Notice::Ready { .. } => match details.listening {
            Some(port) => worker.good(format_args!("listening on {port}...")),
            None => worker.good("ready"),
        },
        Notice::Tolerated { failures, tolerance, .. } => worker.warn(format_args!(
            "the server has encountered {failures} of {tolerance} tolerable failures: {failure}"
        )),
        Notice::Recovered { .. } => worker.good("the server answers again"),
        Notice::Unhealthy { failures: 1, .. } => monitor.bad(format_args!(
            "the server failed a probe and is replaced: {failure}"
        )),
        Notice::Unhealthy { failures, .. } => monitor.bad(format_args!(
            "the server failed {failures} probes in a row and is replaced: {failure}"
        )),
        Notice::CannotProbe { .. } => monitor.warn(format_args!(
            "cannot probe the server, which says nothing about its health: {failure}"
        )),
        Notice::ProbeLost { .. } => monitor.warn("a probe did not come back; the next one is made"),
        Notice::NotReadyInTime { after, .. } => monitor.bad(format_args!(
            "the server was not ready within {}: {failure}",
            configured(after)
        )),
        Notice::NoHandshake { .. } => monitor.bad(format_args!(
            "worker {pid} did not complete its handshake: {failure}"
        )),
        Notice::ChannelLost { .. } => monitor.bad(format_args!(
            "worker {pid} closed its channel and lives on; it is replaced"
        )),
        Notice::Terminating { .. } => match details.halted {
            Some(halted) => monitor.warn(format_args!(
                "worker {pid} is still there after its grace period ({halted}); sending SIGTERM and SIGCONT"
            )),
            None => monitor.warn(format_args!(
                "worker {pid} still runs after its grace period; sending SIGTERM"
            )),
        },
        Notice::Killing { .. } => monitor.warn(format_args!(
            "worker {pid} still runs {} s after SIGTERM; sending SIGKILL",
            TERMINATE.as_secs()
        )),
        Notice::Unkillable { .. } => monitor.bad(format_args!(
            "worker {pid} cannot be killed: it is stuck in the kernel; no other is started before it is gone"
        )),
        Notice::Exited { generation, exit } => monitor.fact(format_args!(
            "server worker with process id {pid} (generation {generation}) has exited: {}",
            told(exit, details.status)
        )),
        Notice::RestartingAtOnce => monitor.fact("starting the next worker"),
        Notice::RestartingIn { delay } => {
            monitor.warn(format_args!("starting the next worker in {}", seconds(delay)))
        }
        Notice::GaveUp { failures, within } => monitor.bad(format_args!(
            "giving up: {} within {}",
            count(failures, "failure"),
            configured(within)
        )),
        Notice::EndedByItself { exit } => monitor.fact(format_args!(
            "the session ends with its worker: {}",
            told(exit, details.status)
        )),
        Notice::Stopping { how } => {
            monitor.fact(format_args!("exiting session {}ly", adverb(how)))
        }
        Notice::Forcing => monitor.warn("asked again: exiting session immediately"),
        Notice::Restarting { how } => {
            monitor.fact(format_args!("restarting the worker {}ly", adverb(how)))
        }
        Notice::AlreadyStopping => monitor.bad("the session is stopping already"),
        Notice::AlreadyRestarting => monitor.fact("the worker is being replaced already"),
        Notice::CannotRestart => {
            monitor.bad("the old worker cannot be killed, so no other can be started")
        }
        Notice::Reloading { generation } => monitor.fact(format_args!(
            "reloading: generation {generation} starts beside the worker that serves"
        )),
        Notice::TookOver { generation } => {
            monitor.good(format_args!("generation {generation} has taken over"))
        }
        Notice::ReloadFailed { generation } => {
            let why = if details.greeted {
                "did not get as far as taking over"
            } else {
                "never said hello, as each build of this program does"
            };
            monitor.bad(format_args!(
                "the reload failed: generation {generation} {why}, and the worker that serves stays"
            ))
        }
        Notice::AlreadyReloading => {
            monitor.bad("a reload is under way, or its old worker still drains; nothing was done")
        }
        Notice::CannotReload => monitor.bad(super::NO_RELOAD),
        Notice::HandlersOverdue => {
            monitor.bad("exit handlers of the monitor took too long and are left behind")
        }
    }
}

/// The worker that a notice is about; `None`: the session's last.
pub(super) fn generation(notice: Notice) -> Option<Generation> {
    match notice {
        Notice::Spawned { generation }
        | Notice::Ready { generation }
        | Notice::Tolerated { generation, .. }
        | Notice::Recovered { generation }
        | Notice::Unhealthy { generation, .. }
        | Notice::CannotProbe { generation }
        | Notice::ProbeLost { generation }
        | Notice::NotReadyInTime { generation, .. }
        | Notice::NoHandshake { generation }
        | Notice::ChannelLost { generation }
        | Notice::Terminating { generation }
        | Notice::Killing { generation }
        | Notice::Unkillable { generation }
        | Notice::Exited { generation, .. }
        | Notice::Reloading { generation }
        | Notice::TookOver { generation }
        | Notice::ReloadFailed { generation } => Some(generation),
        Notice::RestartingAtOnce
        | Notice::RestartingIn { .. }
        | Notice::GaveUp { .. }
        | Notice::EndedByItself { .. }
        | Notice::Stopping { .. }
        | Notice::Forcing
        | Notice::Restarting { .. }
        | Notice::AlreadyStopping
        | Notice::AlreadyRestarting
        | Notice::CannotRestart
        | Notice::AlreadyReloading
        | Notice::CannotReload
        | Notice::HandlersOverdue => None,
    }
}

pub(super) fn state(state: State, stopping: bool) -> &'static str {
    match state {
        State::Spawning | State::Handshaking | State::Starting => "starting",
        State::Ready => "ready",
        State::Draining if stopping => "stopping (exit handlers run)",
        State::Draining => "draining (exit handlers run)",
        State::Terminating => "stopping (SIGTERM sent)",
        State::Killing => "stopping (SIGKILL sent)",
        State::Unkillable => "unkillable",
        State::Dead => "exited",
        State::BackingOff => "backing off",
        State::Closing => "closing",
        State::Finished => "finished",
    }
}

pub(super) fn companion((generation, companion): (Generation, Companion)) -> String {
    match companion {
        Companion::Incoming => format!("generation {generation} starts and is to take over"),
        Companion::Outgoing => format!("generation {generation} drains"),
    }
}

fn adverb(how: How) -> &'static str {
    match how {
        How::Clean => "clean",
        How::Force => "immediate",
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", crate::text::rounded_seconds(time, 3))
}

/// A time as it stands in the configuration.
fn configured(time: Duration) -> String {
    format!("{} s", crate::text::seconds(time))
}

fn told(exit: Exit, status: Option<ExitStatus>) -> String {
    match (exit, status) {
        (_, Some(status)) => status.to_string(),
        (Exit::Code(code), None) => format!("exit code {code}"),
        (Exit::Signal(number), None) => sys::signal_name(i32::from(number)),
        (Exit::Unknown, None) => ExitStatus::Unknown.to_string(),
    }
}

#[cfg(test)]
mod tests;
