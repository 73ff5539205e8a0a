//! The worker: the process that runs the user's main.
//!
//! The thread that launched it becomes the control loop (`control`), which reads the channel
//! (`wire`) and ends the process (`ending`, `exit`); the user's main runs on a thread of its own,
//! and what comes out of it, a panic too, is told by `crash`. `start` puts them together.

mod control;
mod crash;
mod disabled;
mod ending;
mod exit;
mod listener;
mod shared;
mod start;
mod wire;

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::process;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::ending::Ending;
use self::shared::{Link, Shared};
use crate::error::{Error, Result};
use crate::ipc::listeners::{ListenerId, Message};
use crate::ipc::message::{MAX_OFFERED, MAX_TEXT, Nothing, ToMonitor, bounded, check_user_name};
use crate::monitor;
use crate::report::ExitReason;

pub use self::listener::{Incoming, Listener};
pub(crate) use self::start::{WorkerPlan, run, run_disabled};

/// How long a session key may take to be compared: whoever offers it waits meanwhile.
const AUTHORIZE_TIMEOUT: Duration = Duration::from_secs(5);

/// The worker of this process.
static WORKER: OnceLock<Worker> = OnceLock::new();

pub(crate) fn current() -> Result<Worker> {
    WORKER.get().cloned().ok_or(Error::NotWorker)
}

/// The program's handle on its session, in the process that runs its `main`.
///
/// It is given to `main`, and [`session::worker()`](crate::worker()) has it for every other place.
/// It is cheap to clone, and may be used from any thread.
///
/// ```no_run
/// fn serve(worker: session::Worker) -> session::Result<()> {
///     worker.on_exit(|reason| eprintln!("closing the database: {reason}"))?;
///     let address = (worker.host(), worker.port("server")?);
///     worker.log(&format!("generation {} will bind {address:?}", worker.generation()))?;
///     Ok(())
/// }
/// ```
///
/// With `SESSION_DISABLE=1` there is no monitor. What would only tell it something
/// ([`ready`](Worker::ready), [`lifecycle`](Worker::lifecycle), [`send`](Worker::send),
/// [`set_port`](Worker::set_port), [`set_polling`](Worker::set_polling)) does nothing then and is
/// `Ok`; what would ask it something says so.
///
/// # How a worker ends
/// By its `main` returning, by a panic, because the monitor asks, by SIGTERM, or because the
/// monitor is gone: the first of these decides. Then [`stopping`](Worker::stopping) fires, the
/// exit handlers run, and if the program uses `stopping`, its `main` has the same time to return;
/// after `stop.graceSeconds` the process ends in any case. `std::process::exit` skips all of this.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

impl Worker {
    /// Tells the monitor that this worker is ready to serve. It counts if `readiness` is `call`,
    /// and as the sign to take over in a reload; more than once is no fault.
    ///
    /// # Errors
    /// [`Error::PeerDied`] if the monitor is gone, [`Error::Timeout`] if it does not read.
    pub fn ready(&self) -> Result<()> {
        self.shared.say(&ToMonitor::Ready(Nothing {}))
    }

    /// The number of the port of that name, as the monitor had it when it started this worker.
    ///
    /// ```no_run
    /// # fn serve(worker: session::Worker) -> Result<(), Box<dyn std::error::Error>> {
    /// let server = std::net::TcpListener::bind((worker.host(), worker.port("server")?))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownPort`], which tells the names that there are.
    pub fn port(&self, name: &str) -> Result<u16> {
        self.shared
            .settings
            .ports
            .get(name)
            .copied()
            .ok_or_else(|| self.unknown_port(name))
    }

    /// The listening socket of the port of that name, which the monitor binds at the first ask
    /// and then holds for the session: while a worker is dead or replaced, connections wait, and
    /// none is refused. See [`Listener`].
    ///
    /// ```no_run
    /// # fn serve(worker: session::Worker) -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = worker.listener("server")?;
    /// for visitor in listener.incoming().flatten() {
    ///     // Answer, and let no error of one client end the loop.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Without a monitor, this worker binds the port itself.
    ///
    /// # Errors
    /// - [`Error::UnknownPort`], which tells the names that there are.
    /// - [`Error::Refused`]: the monitor could not bind it; the reason says who holds the port.
    /// - [`Error::Bind`]: the same, without a monitor.
    /// - [`Error::Timeout`]: the monitor did not answer within 5 s; [`Error::PeerDied`]: it is
    ///   gone.
    /// - [`Error::Invalid`]: the socket did not arrive; mostly, because this process is out of
    ///   descriptors.
    pub fn listener(&self, name: &str) -> Result<Listener> {
        let port = self.port(name)?;
        let (public, private) = match &self.shared.link {
            Some(link) => listener::ask(&self.shared, link, name)?,
            None => (monitor::bind(name, self.host(), port)?, None),
        };
        Ok(Listener::new(public, private, Arc::clone(&self.shared)))
    }

    /// The address to bind.
    #[must_use]
    pub fn host(&self) -> IpAddr {
        self.shared.settings.host
    }

    /// The program's own part of the configuration, which stands under `app`.
    ///
    /// ```no_run
    /// #[derive(Default, serde::Deserialize)]
    /// #[serde(default)]
    /// struct Settings {
    ///     database: String,
    ///     workers: usize,
    /// }
    ///
    /// # fn serve(worker: session::Worker) -> session::Result<()> {
    /// let settings: Option<Settings> = worker.config()?;
    /// let settings = settings.unwrap_or_default();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Json`] if it does not fit the type. Without an `app` it is `null`, which fits an
    /// `Option` and a [`serde_json::Value`].
    pub fn config<T: DeserializeOwned>(&self) -> Result<T> {
        let app = self.shared.settings.app.as_ref();
        serde_json::from_str(app.map_or("null", |app| app.get())).map_err(Error::Json)
    }

    /// Which worker of the session this is: the first is 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.settings.generation
    }

    /// Is this the session key that the monitor handed to its `on_key` hook? The monitor compares
    /// it, so the key itself never enters this process. Every failure to find out is a "no".
    ///
    /// ```no_run
    /// # fn answer(worker: &session::Worker, header: &str) -> session::Result<()> {
    /// if worker.authorize(header) {
    ///     worker.kill("an operator asked for it", true, 0)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn authorize(&self, offered: &str) -> bool {
        let Some(Link { peer, .. }) = &self.shared.link else {
            return false;
        };
        if offered.len() > MAX_OFFERED {
            return false;
        }
        let verb = |id| ToMonitor::Authorize {
            id,
            offered: offered.to_owned(),
        };
        let answer = peer.ask("authorize", AUTHORIZE_TIMEOUT, verb);
        matches!(answer, Ok(Value::Bool(true)))
    }

    /// Has `handler` run when this worker ends, and told why. All handlers start together, each on
    /// a thread of its own, run at most once, and have `stop.graceSeconds` to finish.
    ///
    /// ```no_run
    /// # fn serve(worker: session::Worker) -> session::Result<()> {
    /// worker.on_exit(|reason| {
    ///     if reason.is_error() {
    ///         // Leave the files as they are, for whoever looks into it.
    ///     }
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopping`] if this worker is ending already: the handler will not run.
    /// [`Error::Invalid`] for more than 64 handlers.
    pub fn on_exit(&self, handler: impl FnOnce(&ExitReason) + Send + 'static) -> Result<()> {
        self.shared.exit_handlers.add(Box::new(handler))
    }

    /// A channel that carries nothing and disconnects when this worker begins to end. Every clone
    /// of it sees that, and one that is taken later too. A program that has asked for it is given
    /// time to return from its `main`.
    ///
    /// ```no_run
    /// use session::crossbeam_channel::{select, unbounded};
    ///
    /// # fn serve(worker: session::Worker) {
    /// let (_sender, jobs) = unbounded::<String>();
    /// let stopping = worker.stopping();
    /// loop {
    ///     select! {
    ///         recv(jobs) -> job => drop(job),
    ///         recv(stopping) -> _ => break,
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn stopping(&self) -> Receiver<Infallible> {
        self.shared.stopping.receiver()
    }

    /// Asks the monitor to give another number to a port, now (`restart`) or from the next worker
    /// on. Whether a worker may do that is for `worker.maySetPort` to say, and whether the number
    /// is possible for the monitor; what came of it is in its log.
    ///
    /// # Errors
    /// [`Error::UnknownPort`]; [`Error::Invalid`] for port 0; as [`ready`](Worker::ready).
    pub fn set_port(&self, name: &str, port: u16, restart: bool) -> Result<()> {
        if !self.shared.settings.ports.contains_key(name) {
            return Err(self.unknown_port(name));
        }
        if port == 0 {
            return Err(Error::Invalid(format!(
                "expected a port number for `{name}`, found 0: that would be another port after \
                 each restart"
            )));
        }
        self.shared.say(&ToMonitor::SetPort {
            name: name.to_owned(),
            port: port.into(),
            restart,
        })
    }

    /// Asks the monitor to probe every so many seconds, from now on or (`now` is false) from the
    /// next worker on.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `seconds` is not from 1 to 86400; as [`ready`](Worker::ready).
    pub fn set_polling(&self, seconds: f64, now: bool) -> Result<()> {
        crate::config::check_interval(seconds).map_err(Error::Invalid)?;
        self.shared.say(&ToMonitor::SetPolling { seconds, now })
    }

    /// Asks the monitor to end the session and to exit with `code`: gracefully, or at once, and
    /// then no exit handler of this worker runs. Whether a worker may do that is for
    /// `worker.mayKill` to say.
    ///
    /// Without a monitor, this worker ends with that code itself.
    ///
    /// # Errors
    /// As [`ready`](Worker::ready).
    pub fn kill(&self, reason: &str, graceful: bool, code: u8) -> Result<()> {
        let reason = bounded(reason, MAX_TEXT).into_owned();
        if !self.is_disabled() {
            return self.shared.say(&ToMonitor::Kill {
                reason,
                graceful,
                code: code.into(),
            });
        }
        if !graceful {
            process::exit(code.into());
        }
        self.shared.end(Ending::Asked {
            reason: ExitReason::Stop(reason),
            code: Some(code),
        });
        Ok(())
    }

    /// Tells the operator something, in the monitor's log. Past 4 KiB it is cut.
    ///
    /// # Errors
    /// As [`ready`](Worker::ready).
    pub fn lifecycle(&self, text: &str) -> Result<()> {
        self.shared.lifecycle(text)
    }

    /// A line in the monitor's log; another name for [`lifecycle`](Worker::lifecycle).
    ///
    /// # Errors
    /// As [`ready`](Worker::ready).
    pub fn log(&self, text: &str) -> Result<()> {
        self.lifecycle(text)
    }

    /// Sends a message to the monitor's listeners of that name, and waits for nothing.
    ///
    /// ```no_run
    /// # fn serve(worker: session::Worker) -> session::Result<()> {
    /// worker.send("visitors", &serde_json::json!({ "today": 17 }))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::BadName`] for a name that is built in or is none; [`Error::Json`] and
    /// [`Error::TooLong`] if the arguments cannot be sent; as [`ready`](Worker::ready).
    pub fn send(&self, name: &str, args: impl Serialize) -> Result<()> {
        match &self.shared.link {
            Some(link) => link.peer.send(name, &args),
            None => check_user_name(name),
        }
    }

    /// Sends a message to the monitor's listeners of that name, and waits for the answer of one.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn serve(worker: session::Worker) -> session::Result<()> {
    /// let token = worker.request("token", &"billing", Duration::from_secs(2))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`Error::Refused`]: a listener answered with an error.
    /// - [`Error::NoReply`]: no listener answered; [`Error::Busy`]: too much is waiting for them.
    /// - [`Error::Timeout`]: none answered in time; [`Error::PeerDied`]: the monitor is gone.
    /// - [`Error::NoMonitor`]: there is none.
    /// - As [`send`](Worker::send).
    pub fn request(&self, name: &str, args: impl Serialize, timeout: Duration) -> Result<Value> {
        let link = self.shared.link.as_ref().ok_or(Error::NoMonitor)?;
        link.peer.request(name, &args, timeout)
    }

    /// Has `listener` run for each message of that name from the monitor. All listeners run on one
    /// thread, in the order of the messages; a panic in one is a panic of this worker.
    ///
    /// A message that comes before there is a listener of its name is heard by nobody: a request
    /// is told so at once.
    ///
    /// ```no_run
    /// # fn serve(worker: session::Worker) -> session::Result<()> {
    /// worker.on("greet", |message| {
    ///     let _ = message.reply(format!("hello, {}", message.args()));
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::BadName`] for a name that is built in or is none; [`Error::Invalid`] for too many
    /// listeners; [`Error::Os`] if their thread cannot be started.
    pub fn on(
        &self,
        name: &str,
        listener: impl Fn(&Message) + Send + Sync + 'static,
    ) -> Result<ListenerId> {
        check_user_name(name)?;
        // First, so that a listener that can be found also has a thread to run on.
        if !self.is_disabled() {
            self.shared.dispatcher()?;
        }
        self.shared.listeners.add(name, listener)
    }

    /// Removes one listener. `false`: it was removed before.
    pub fn off(&self, listener: ListenerId) -> bool {
        self.shared.listeners.remove(listener)
    }

    /// Removes every listener of that name.
    pub fn clear(&self, name: &str) {
        self.shared.listeners.clear(name);
    }

    /// Does nobody supervise this process?
    pub(crate) fn is_disabled(&self) -> bool {
        self.shared.link.is_none()
    }

    fn unknown_port(&self, name: &str) -> Error {
        Error::UnknownPort {
            name: name.to_owned(),
            known: self.shared.settings.ports.keys().cloned().collect(),
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}
