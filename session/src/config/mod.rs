//! The configuration: plain types and their defaults.
//!
//! `load` reads the file, `text` and `json` make a tree of it that knows its lines and columns,
//! and `validate` turns the tree into a [`Config`] or tells all that is wrong with it at once,
//! object by object (`section`) and value by value (`value`, `url`), within the `limits`.

mod fault;
mod json;
pub(crate) mod limits;
mod load;
mod section;
#[cfg(test)]
mod tests;
mod text;
mod url;
mod validate;
mod value;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub(crate) use fault::Faults;
pub(crate) use limits::{check_interval, check_port};
pub(crate) use load::{Loaded, load};
pub(crate) use value::plain_number;

use crate::near::near;

/// The port that must be there: the one the worker serves on, and the one that is probed.
pub(crate) const SERVER_PORT: &str = "server";

/// All settings of one session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) show_server_output: bool,
    pub(crate) monitor_identifier: String,
    pub(crate) worker_identifier: String,
    /// What the listeners bind.
    pub(crate) host: IpAddr,
    /// By name; never two with one number, and always one named [`SERVER_PORT`].
    pub(crate) ports: BTreeMap<String, u16>,
    pub(crate) allow_privileged_ports: bool,
    /// `None` turns polling off.
    pub(crate) polling_route: Option<String>,
    pub(crate) polling_interval: Duration,
    /// So many consecutive failures are let pass.
    pub(crate) polling_failure_tolerance: u32,
    /// Never longer than the interval.
    pub(crate) polling_timeout: Duration,
    pub(crate) readiness: Readiness,
    pub(crate) startup_timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) restart: Restart,
    pub(crate) worker: WorkerRights,
    /// Where crash reports are posted; it may be a secret.
    pub(crate) webhook: Option<String>,
    /// The user's own settings, handed to the worker as they are.
    pub(crate) app: serde_json::Value,
}

/// What makes a worker ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The first probe that succeeds.
    Probe,
    /// A call of `worker.ready()`.
    Call,
    /// The handshake.
    Hello,
}

/// When and how soon a worker that ended is followed by the next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Restart {
    pub(crate) policy: RestartPolicy,
    /// Never longer than `max_delay`; zero means that there is never a delay.
    pub(crate) min_delay: Duration,
    pub(crate) max_delay: Duration,
    /// From 0 to 1: the share of a delay that chance decides.
    pub(crate) jitter: f64,
    /// Ready and up for this long, the backoff starts anew.
    pub(crate) stable: Duration,
    /// `None` never gives up.
    pub(crate) max_failures: Option<u32>,
    pub(crate) within: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// What a worker may ask of the monitor, and what becomes of it without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerRights {
    pub(crate) may_kill: bool,
    pub(crate) may_set_port: bool,
    pub(crate) die_with_monitor: DieWithMonitor,
}

/// How a worker ends when its monitor is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DieWithMonitor {
    /// It runs its exit handlers within the grace period.
    Drain,
    /// The kernel kills it at once.
    Kill,
}

pub(crate) fn default_ports() -> BTreeMap<String, u16> {
    let mut ports = BTreeMap::new();
    ports.insert(String::from(SERVER_PORT), 3000);
    ports
}

impl Default for Config {
    fn default() -> Config {
        Config {
            show_server_output: false,
            monitor_identifier: String::from("__monitor__"),
            worker_identifier: String::from("__server__"),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: default_ports(),
            allow_privileged_ports: false,
            polling_route: Some(String::from("/")),
            polling_interval: Duration::from_secs(30),
            polling_failure_tolerance: 0,
            polling_timeout: Duration::from_secs(5),
            readiness: Readiness::Probe,
            startup_timeout: Duration::from_secs(60),
            grace: Duration::from_secs(10),
            restart: Restart {
                policy: RestartPolicy::Always,
                min_delay: Duration::from_millis(100),
                max_delay: Duration::from_secs(30),
                jitter: 0.2,
                stable: Duration::from_secs(10),
                max_failures: None,
                within: Duration::from_secs(60),
            },
            worker: WorkerRights {
                may_kill: true,
                may_set_port: true,
                die_with_monitor: DieWithMonitor::Drain,
            },
            webhook: None,
            app: serde_json::Value::Null,
        }
    }
}

impl Config {
    /// Moves a port that is known by name; what is refused changes nothing.
    pub(crate) fn set_port(&mut self, name: &str, value: u64) -> Result<(), String> {
        if !self.ports.contains_key(name) {
            let known: Vec<_> = self.ports.keys().map(String::as_str).collect();
            let refusal =
                limits::Refusal::expected(format!("a port named {}", limits::one_of(&known)));
            let advice = near(name, &known).map(limits::did_you_mean);
            return Err(refusal
                .advise(advice)
                .found(limits::Quoted(fault::excerpt(name))));
        }
        let port = check_port(value, self.allow_privileged_ports)?;
        let taken = self
            .ports
            .iter()
            .find(|&(other, taken)| *taken == port && other != name);
        if let Some((other, _)) = taken {
            let owner = fault::Path::Key(&fault::Path::Key(&fault::Path::Top, "ports"), other);
            return Err(limits::shared_port(owner).found(limits::Quoted(port)));
        }
        self.ports.insert(name.to_owned(), port);
        Ok(())
    }

    /// Sets the time from one probe to the next. A probe must be over when the next one begins,
    /// so a longer timeout shrinks with it.
    pub(crate) fn set_polling_interval(&mut self, interval: Duration) {
        self.polling_interval = interval;
        self.polling_timeout = self.polling_timeout.min(interval);
    }
}

/// Reads a configuration; `file` is only what the faults call it.
pub(crate) fn parse(bytes: &[u8], file: &str) -> Result<Config, Faults> {
    let tree = text::decode(bytes).and_then(json::read);
    let tree = tree.map_err(|fault| Faults::one(file, fault))?;
    let mut faults = Faults::none(file);
    let config = validate::config(&tree, &mut faults);
    if faults.is_empty() {
        Ok(config)
    } else {
        Err(faults)
    }
}
