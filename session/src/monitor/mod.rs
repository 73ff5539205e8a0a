//! The monitor: one thread owns the supervisor and the workers, and alone has effects on them.
//!
//! Sources ([`sources`]) tell it what happened through one bounded inbox of one closed type
//! ([`input`]). It asks the supervisor what to do, and does it ([`driver`], [`effects`]).

mod candidate;
mod driver;
mod effects;
#[cfg(feature = "webhook")]
mod episodes;
mod errand;
mod hand_over;
mod handle;
mod hear;
mod hooks;
mod input;
mod key;
mod narrate;
mod on_disk;
mod operator;
mod orphans;
mod outbox;
mod policy;
mod publish;
mod record;
mod replace;
mod sockets;
mod sources;
mod spawn;
mod status;
#[cfg(all(test, not(miri)))]
mod tests;
#[cfg(feature = "webhook")]
mod webhook;
#[cfg(not(feature = "webhook"))]
#[path = "no_webhook.rs"]
mod webhook;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::ipc::listeners::Listeners;
use crate::log::{Line, Log, Who};
use crate::sys::{self, Image};
use crate::thread;

use driver::Driver;
use hooks::{Actions, Hooks};
use input::{INBOX, Input};
use key::SessionKey;
use sockets::{Adopted, Passed, Sockets};
use sources::signals::Signals;
use spawn::Recipe;

pub use handle::{Monitor, MonitorHandle};
pub(crate) use sockets::bind;
pub use status::{Probed, Status};

/// Where the configuration is looked for, in the working directory.
pub(crate) const CONFIG_FILE: &str = "session.config.json";
/// The operator's own word on where the configuration is; it goes before the program's.
pub(crate) const CONFIG_VARIABLE: &str = "SESSION_CONFIG";

/// How long the very end waits for a log that is slow to be read, or for a busy machine to let it be
/// written. It costs nothing where nobody is slow.
const LAST_FLUSH: Duration = Duration::from_secs(1);
/// The same after a forced stop, which has half a second for all.
const LAST_FLUSH_FORCED: Duration = Duration::from_millis(60);

const NO_RELOAD: &str = "this worker binds its own port; use `restart clean`";

/// What the program asked for when it launched its session.
pub(crate) struct MonitorPlan {
    pub(crate) setup: Option<Setup>,
    pub(crate) config: Option<PathBuf>,
    /// How many sessions this one is nested in.
    pub(crate) depth: u32,
}

type Setup = Box<dyn FnOnce(&mut Monitor) -> Result<()>>;

static CURRENT: OnceLock<MonitorHandle> = OnceLock::new();

/// The monitor of this process, if it is one.
pub(crate) fn current() -> Result<MonitorHandle> {
    CURRENT.get().cloned().ok_or(Error::NotMonitor)
}

/// Runs the session until it is over.
pub(crate) fn run(plan: MonitorPlan) -> Result<ExitCode> {
    let signals = Signals::install()?;
    sys::adopt_orphans();
    let passed = sockets::Environment::of_process().take(std::process::id(), sys::take_passed_fds);
    let log = Log::start().map_err(Error::os("start the log's thread"))?;
    log.line(&Line::new(Who::Monitor).fact("initializing session..."));
    log.line(&Line::new(Who::Monitor).fact("validating configuration..."));
    let outcome = start(plan, passed, signals, &log).map(Driver::run);
    if outcome.is_err() {
        log.flush(LAST_FLUSH);
    }
    outcome
}

/// Everything up to the first spawn: what fails here, fails before anything was started.
fn start(plan: MonitorPlan, passed: Passed, signals: Signals, log: &Log) -> Result<Driver> {
    let mut config = load_config(plan.config, log)?;
    log.set_identifiers(&config.monitor_identifier, &config.worker_identifier);
    if config.show_server_output {
        log.open_stderr()
            .map_err(Error::os("start the log's second thread"))?;
    }
    let image = Image::open_running().map_err(Error::os("open the running executable"))?;
    if !image.is_pinned() {
        log.line(&Line::new(Who::Monitor).warn(
            "there is no /proc: workers are started from the path of the executable as it is on disk",
        ));
    }
    let (sender, inbox): (Sender<Box<Input>>, Receiver<Box<Input>>) = bounded(INBOX);
    let listeners = Arc::new(Listeners::default());
    let handle = MonitorHandle::new(sender.clone(), log.clone(), Arc::clone(&listeners));
    let _ = CURRENT.set(handle.clone());
    let to_owner = sender.clone();
    thread::on_failure(move |name| {
        let _ = to_owner.send(Box::new(Input::ThreadFailed(name.to_owned())));
    });
    let mut monitor = Monitor::new(handle.clone());
    if let Some(setup) = plan.setup {
        set_up(setup, &mut monitor)?;
    }
    let registered = monitor.registered;
    let on_key = registered.on_key;
    let key = on_key.is_some().then(SessionKey::generate).transpose()?;
    let on_key = on_key.zip(key.as_ref().map(|key| key.text().to_owned()));
    let hooks = Hooks::start(on_key, registered.on_crash, sender.clone(), log.clone())?;
    let actions = Actions::start(registered.actions, log.clone())?;
    // Before the first spawn: a signal that comes while it happens must find its handler.
    sources::signals::obey_stops(sender.clone())?;
    let sockets = adopt_sockets(passed, &mut config, log);
    let parts = driver::Parts {
        config,
        sockets,
        recipe: Recipe::new(image, plan.depth).map_err(Error::os("look at the executable"))?,
        inbox,
        sender,
        log: log.clone(),
        listeners,
        handle,
        key,
        hooks,
        actions,
        commands: registered.commands,
        on_exit: registered.on_exit,
    };
    Driver::start(parts, signals)
}

/// Takes the sockets that a service manager has bound, whatever port it bound them to.
fn adopt_sockets(passed: Passed, config: &mut Config, log: &Log) -> Sockets {
    let (sockets, adopted, told) = Sockets::adopt(passed, &config.ports);
    for text in told {
        log.line(&Line::new(Who::Monitor).warn(text));
    }
    for Adopted { name, port } in adopted {
        let line = Line::new(Who::Monitor);
        log.line(&line.fact(format_args!(
            "the listener `{name}` was passed by the service manager, at port {port}"
        )));
        config.ports.insert(name, port);
    }
    sockets
}

/// For the fuzz target: whatever the environment says, no more descriptors are asked for than it
/// may name, and none if it names another process.
#[cfg(fuzzing)]
pub(crate) fn check_passed(data: &[u8]) {
    const ME: u32 = 4711;
    let ports = std::collections::BTreeMap::from([("server".to_owned(), 3000)]);
    let mut asked = None;
    let environment = sockets::Environment::of_bytes(data);
    let passed = environment.take(ME, |count| {
        asked = Some(count);
        (0..count).map(|_| None).collect()
    });
    let is_mine = environment
        .listen_pid
        .as_ref()
        .is_some_and(|pid| pid.to_string_lossy().trim_start_matches('0') == "4711");
    assert!(asked.is_none_or(|count| is_mine && (1..=sockets::MAX_PASSED).contains(&count)));
    let (_, adopted, told) = Sockets::adopt(passed, &ports);
    assert!(adopted.is_empty());
    for text in told {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
}

fn set_up(setup: Setup, monitor: &mut Monitor) -> Result<()> {
    match catch_unwind(AssertUnwindSafe(|| setup(monitor))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Error::Setup(format!(
            "the monitor could not be set up: {}",
            error.chain()
        ))),
        Err(_) => Err(Error::Setup(
            "the function that sets the monitor up panicked".to_owned(),
        )),
    }
}

/// Reads the configuration, and tells what is worth telling about it.
pub(crate) fn load_config(path: Option<PathBuf>, log: &Log) -> Result<Config> {
    let line = || Line::new(Who::Monitor);
    let loaded = read_config(path)?;
    for warning in &loaded.warnings {
        log.line(&line().warn(warning));
    }
    if !loaded.found {
        log.line(&line().fact("Loading default session parameters..."));
        log.line(&line().plain(
            "Consider including a session.config.json configuration file in your project root for customization.",
        ));
    }
    Ok(loaded.config)
}

/// From the operator's place, the program's, or the working directory.
pub(crate) fn read_config(path: Option<PathBuf>) -> Result<config::Loaded> {
    let named = std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty());
    let which = match (&named, &path) {
        (Some(_), _) => format!("the configuration that {CONFIG_VARIABLE} names"),
        (None, Some(_)) => "the configuration that the program names".to_owned(),
        (None, None) => "the configuration".to_owned(),
    };
    let explicit = named.map(PathBuf::from).or(path);
    let is_explicit = explicit.is_some();
    let path = explicit.unwrap_or_else(|| CONFIG_FILE.into());
    config::load(&path, is_explicit).map_err(|error| {
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            text = format!("{text}: {cause}");
        }
        Error::Config(format!("{which} is not valid\n{text}"))
    })
}
