//! What the program's own code in the monitor can do: set it up, and speak with it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use serde::Serialize;
use serde_json::Value;

use super::hooks::Registered;
use super::input::{Answer, Ask, Input};
use super::status::Status;
use crate::error::{Error, Result};
use crate::ipc::listeners::{ListenerId, Listeners, Message};
use crate::ipc::peer::Peer;
use crate::launch::Outcome;
use crate::log::{Line, Log, Who};
use crate::machine::{Asker, Generation, How};
use crate::repl::Args;
use crate::report::{CrashReport, ExitReason};

/// How long a call waits for the thread that owns the session, which answers within microseconds
/// unless the machine is starved.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The monitor, while the program sets it up: before the first worker starts.
///
/// Everything registered here runs on threads of its own, never on the one that supervises: code
/// that hangs or panics delays no restart and no stop.
#[derive(Debug)]
pub struct Monitor {
    handle: MonitorHandle,
    pub(super) registered: Registered,
}

/// A handle on the monitor, cheap to clone and safe to send: it works as long as the process.
#[derive(Clone, Debug)]
pub struct MonitorHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inbox: Sender<Box<Input>>,
    log: Log,
    listeners: Arc<Listeners>,
    /// The active worker.
    peer: Mutex<Option<Peer>>,
    running: OnceLock<()>,
}

impl Monitor {
    pub(super) fn new(handle: MonitorHandle) -> Monitor {
        Monitor {
            handle,
            registered: Registered::new(),
        }
    }

    /// Makes a session key, a GUID of 122 random bits, and hands it to this hook once, at the
    /// start. [`Worker::authorize`](crate::Worker::authorize) compares with it. Whether the hook
    /// succeeded is logged; the key itself never is.
    ///
    /// ```no_run
    /// # fn set_up(monitor: &mut session::Monitor) {
    /// monitor.on_key(|key| std::fs::write("/run/hello.key", key));
    /// # }
    /// ```
    pub fn on_key<R: Outcome>(&mut self, hook: impl FnOnce(&str) -> R + Send + 'static) {
        self.registered.on_key = Some(Box::new(move |key| hook(key).into_result()));
    }

    /// Hands every crash report to this hook. Whether it succeeded is logged. Hooks run one at a
    /// time; while sixteen reports wait, more are counted and not delivered.
    pub fn on_crash<R: Outcome>(&mut self, hook: impl Fn(&CrashReport) -> R + Send + 'static) {
        self.registered
            .on_crash
            .push(Box::new(move |report| hook(report).into_result()));
    }

    /// Runs this handler once, when the session ends. Handlers start together, and the monitor
    /// waits for them at most as long as for its worker: the grace period and 1.5 s.
    pub fn on_exit(&mut self, handler: impl FnOnce(&ExitReason) + Send + 'static) {
        self.registered.on_exit.push(Box::new(handler));
    }

    /// Adds a command for the operator. The usage line is the pattern: `<a|b>` is a choice,
    /// `<name>` takes any one token, `[name]` may be left out at the end.
    ///
    /// ```no_run
    /// # fn set_up(monitor: &mut session::Monitor) -> session::Result<()> {
    /// let handle = monitor.handle();
    /// monitor.command("debug <active|passive> <recipient>", move |args| {
    ///     handle.log(format!("{} for {}", args.at(0).unwrap_or(""), args.get("recipient").unwrap_or("")));
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] if the usage line is not well formed, or is taken.
    pub fn command<R: Outcome>(
        &mut self,
        usage: &str,
        action: impl Fn(&Args) -> R + Send + 'static,
    ) -> Result<()> {
        self.registered
            .commands
            .add(usage)
            .map_err(|error| Error::Usage(error.to_string()))?;
        self.registered
            .actions
            .push(Box::new(move |args| action(args).into_result()));
        Ok(())
    }

    /// Listens for a message of the workers'. The names `kill`, `notify_crash` and `set_port`
    /// belong to the library: their listeners are told after it has acted.
    ///
    /// ```no_run
    /// # fn set_up(monitor: &mut session::Monitor) -> session::Result<()> {
    /// monitor.on("backup", |message| {
    ///     let _ = message.reply(serde_json::json!({ "saved": true }));
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::BadName`]; [`Error::Invalid`] past 4096 listeners.
    pub fn on(
        &mut self,
        name: &str,
        listener: impl Fn(&Message) + Send + Sync + 'static,
    ) -> Result<ListenerId> {
        self.handle.on(name, listener)
    }

    /// Removes one listener; `false` if it was removed before.
    pub fn off(&mut self, id: ListenerId) -> bool {
        self.handle.shared.listeners.remove(id)
    }

    /// Removes all listeners of a name.
    pub fn clear(&mut self, name: &str) {
        self.handle.shared.listeners.clear(name);
    }

    /// A handle for the code that is registered here, and for other threads.
    #[must_use]
    pub fn handle(&self) -> MonitorHandle {
        self.handle.clone()
    }
}

impl MonitorHandle {
    pub(super) fn new(
        inbox: Sender<Box<Input>>,
        log: Log,
        listeners: Arc<Listeners>,
    ) -> MonitorHandle {
        MonitorHandle {
            shared: Arc::new(Shared {
                inbox,
                log,
                listeners,
                peer: Mutex::new(None),
                running: OnceLock::new(),
            }),
        }
    }

    /// Ends the session: cleanly, or at once. The monitor's exit code is `code`. A second call
    /// makes a clean end a forced one.
    ///
    /// # Errors
    /// [`Error::Busy`] if the monitor has too much to do; [`Error::Stopping`] after its end.
    pub fn kill(&self, reason: &str, graceful: bool, code: u8) -> Result<()> {
        let (reason, how) = (reason.to_owned(), how(graceful));
        self.push(Input::Stop {
            reason,
            how,
            code,
            asker: Asker::Operator,
        })
    }

    /// Replaces the worker: cleanly, or at once.
    ///
    /// # Errors
    /// As [`kill`](MonitorHandle::kill).
    pub fn restart(&self, graceful: bool) -> Result<()> {
        self.push(Input::Restart { how: how(graceful) })
    }

    /// Replaces the worker without a gap: the next one starts beside it, and once that one is
    /// ready, it drains. If the executable on disk has changed, the next one runs the new file.
    ///
    /// It returns before the reload is over. What comes of it is in the log: a worker that binds
    /// its own port is not reloaded, and one that is not ready in time, or dies, changes nothing.
    ///
    /// # Errors
    /// As [`kill`](MonitorHandle::kill).
    pub fn reload(&self) -> Result<()> {
        self.push(Input::Reload)
    }

    /// Changes a configured port, for the next worker on; with `restart` that one is started now.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is not configured or the port is out of range or taken;
    /// [`Error::Timeout`] if the monitor does not answer.
    pub fn set_port(&self, name: &str, port: u16, restart: bool) -> Result<()> {
        let (name, port) = (name.to_owned(), u64::from(port));
        let ask = Ask::SetPort {
            name,
            port,
            restart,
        };
        self.ask(ask, Answer::set)?
    }

    /// Changes the polling interval, now or from the next worker on.
    ///
    /// # Errors
    /// [`Error::Invalid`] outside 1 s to 86,400 s; [`Error::Timeout`] if the monitor does not
    /// answer.
    pub fn set_polling(&self, seconds: f64, now: bool) -> Result<()> {
        self.ask(Ask::SetPolling { seconds, now }, Answer::set)?
    }

    /// The state of the session.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the monitor does not answer.
    pub fn status(&self) -> Result<Status> {
        self.ask(Ask::Status, |answer| match answer {
            Answer::Status(status) => Some(*status),
            Answer::Set(_) | Answer::Reports(_) => None,
        })
    }

    /// The crash reports that are kept, oldest first: the last sixteen.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the monitor does not answer.
    pub fn reports(&self) -> Result<Vec<CrashReport>> {
        self.ask(Ask::Reports, |answer| match answer {
            Answer::Reports(reports) => Some(reports),
            Answer::Set(_) | Answer::Status(_) => None,
        })
    }

    /// Sends a message to the worker that is there now.
    ///
    /// # Errors
    /// [`Error::PeerDied`] if there is none; [`Error::Busy`] if it does not read what was sent
    /// before; [`Error::BadName`], [`Error::Json`], [`Error::TooLong`].
    pub fn send(&self, name: &str, args: impl Serialize) -> Result<()> {
        self.peer()?.send(name, &args)
    }

    /// Sends a request to the worker that is there now, and waits for its answer.
    ///
    /// # Errors
    /// As [`send`](MonitorHandle::send); [`Error::Timeout`], [`Error::NoReply`],
    /// [`Error::Refused`]; [`Error::PeerDied`] at once if the worker ends meanwhile.
    pub fn request(&self, name: &str, args: impl Serialize, timeout: Duration) -> Result<Value> {
        self.peer()?.request(name, &args, timeout)
    }

    /// Listens for a message of the workers', as [`Monitor::on`].
    ///
    /// # Errors
    /// As [`Monitor::on`].
    pub fn on(
        &self,
        name: &str,
        listener: impl Fn(&Message) + Send + Sync + 'static,
    ) -> Result<ListenerId> {
        self.shared.listeners.add(name, listener)
    }

    /// Writes a line to the monitor's log.
    pub fn log(&self, text: impl fmt::Display) {
        self.shared.log.line(&Line::new(Who::Monitor).plain(text));
    }

    /// Messages go to this worker from now on.
    pub(super) fn set_peer(&self, peer: Peer) {
        *self.lock_peer() = Some(peer);
    }

    /// That worker is gone; if messages went to another by then, they still do.
    pub(super) fn forget_peer(&self, generation: Generation) {
        self.lock_peer()
            .take_if(|peer| peer.generation == generation);
    }

    fn lock_peer(&self) -> MutexGuard<'_, Option<Peer>> {
        self.shared
            .peer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on calls that wait for an answer get one.
    pub(super) fn set_running(&self) {
        let _ = self.shared.running.set(());
    }

    fn peer(&self) -> Result<Peer> {
        let peer = self
            .shared
            .peer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        peer.clone().ok_or(Error::PeerDied)
    }

    fn push(&self, input: Input) -> Result<()> {
        use crossbeam_channel::TrySendError;
        self.shared
            .inbox
            .try_send(Box::new(input))
            .map_err(|error| match error {
                TrySendError::Full(_) => Error::Busy,
                TrySendError::Disconnected(_) => Error::Stopping,
            })
    }

    fn ask<T>(&self, ask: Ask, kind: fn(Answer) -> Option<T>) -> Result<T> {
        if self.shared.running.get().is_none() {
            return Err(Error::Setup(
                "expected a running session, found one that is being set up: call this later"
                    .to_owned(),
            ));
        }
        let (reply, answer) = bounded(1);
        self.push(Input::Ask { ask, reply })?;
        let answer = answer.recv_timeout(CALL_TIMEOUT).ok();
        // Each question has one kind of answer, so this asks no more than whether there was one.
        answer.and_then(kind).ok_or(Error::Timeout(CALL_TIMEOUT))
    }
}

fn how(graceful: bool) -> How {
    if graceful { How::Clean } else { How::Force }
}
