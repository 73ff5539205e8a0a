//! From the tree to a [`Config`], or to everything that is wrong with it.

use std::collections::BTreeMap;

use super::fault::{Faults, Path, excerpt};
use super::json::{Json, Member, Node};
use super::limits::{self, Quoted, Refusal, whole};
use super::section::{Section, refuse, repeated_keys};
use super::value::{
    boolean, choice, count, die_with_monitor, host, identifier, is_label, max_failures, number,
    plain, route, webhook,
};
use super::{Config, Readiness, RestartPolicy, SERVER_PORT};
use crate::near::near;
use crate::text::seconds;

/// The keys of the table, object by object.
pub(super) const TOP_KEYS: &[&str] = &[
    "$schema",
    "showServerOutput",
    "masterIdentifier",
    "workerIdentifier",
    "host",
    "ports",
    "allowPrivilegedPorts",
    "pollingRoute",
    "pollingIntervalSeconds",
    "pollingFailureTolerance",
    "pollingTimeoutSeconds",
    "readiness",
    "startupTimeoutSeconds",
    "stop",
    "restart",
    "worker",
    "notify",
    "spare",
    "app",
];
pub(super) const STOP_KEYS: &[&str] = &["graceSeconds"];
pub(super) const RESTART_KEYS: &[&str] = &[
    "policy",
    "minDelaySeconds",
    "maxDelaySeconds",
    "jitter",
    "stableSeconds",
    "maxFailures",
    "withinSeconds",
];
pub(super) const WORKER_KEYS: &[&str] = &["mayKill", "maySetPort", "dieWithMonitor"];
pub(super) const NOTIFY_KEYS: &[&str] = &["webhook"];

/// Reads what can be read; it counts only if no fault was added.
pub(super) fn config(root: &Node<'_>, faults: &mut Faults) -> Config {
    let mut config = Config::default();
    repeated_keys(root, &Path::Top, faults);
    let top = Section::new(Some(root), Path::Top, Some(TOP_KEYS), faults);
    // For editors; where the schema lies is no business of ours.
    let mut schema = String::new();
    top.set("$schema", identifier, &mut schema, faults);
    identity(&top, &mut config, faults);
    ports(&top, &mut config, faults);
    polling(&top, &mut config, faults);
    readiness(&top, &mut config, faults);
    lifetime(&top, &mut config, faults);
    restart(&top, &mut config, faults);
    worker(&top, &mut config, faults);
    notify(&top, &mut config, faults);
    not_built_yet(&top, faults);
    if let Some(node) = top.find("app") {
        config.app = plain(node, &top.path("app"), faults);
    }
    config
}

fn identity(top: &Section<'_>, config: &mut Config, faults: &mut Faults) {
    top.set(
        "showServerOutput",
        boolean,
        &mut config.show_server_output,
        faults,
    );
    top.set(
        "masterIdentifier",
        identifier,
        &mut config.monitor_identifier,
        faults,
    );
    top.set(
        "workerIdentifier",
        identifier,
        &mut config.worker_identifier,
        faults,
    );
    top.set("host", host, &mut config.host, faults);
}

fn ports(top: &Section<'_>, config: &mut Config, faults: &mut Faults) {
    let privileged = &mut config.allow_privileged_ports;
    let sound = top.set("allowPrivilegedPorts", boolean, privileged, faults);
    // Whoever mistyped the permission gets one fault for it, not one more for each port.
    let privileged = *privileged || !sound;

    let section = Section::new(top.find("ports"), top.path("ports"), None, faults);
    let Some(at) = section.at else { return };
    config.ports.clear();
    let mut owners: BTreeMap<u16, &str> = BTreeMap::new();
    for Member { at, name, value } in section.members {
        let place = section.path(name);
        if !is_label(name) {
            let refusal =
                Refusal::expected("a name that is not empty and has no control characters");
            faults.add(*at, &place, &|| refusal.found(Quoted(excerpt(name))));
        }
        let port = limits::port(whole(number(&value.json)), privileged);
        let port = port.and_then(|port| match owners.get(&port) {
            // A name that stands twice is a fault of its own.
            Some(owner) if owner != name => Err(limits::shared_port(section.path(owner))),
            _ => Ok(port),
        });
        match port {
            Ok(port) => {
                owners.insert(port, name);
                config.ports.insert(name.clone(), port);
            }
            Err(refusal) => refuse(faults, value, &place, &refusal),
        }
    }
    if section.find(SERVER_PORT).is_none() {
        let names = section.members.iter().map(|member| member.name.as_str());
        let near = near(SERVER_PORT, &names.collect::<Vec<_>>());
        let refusal = Refusal::expected(format!("an entry {}", Quoted(SERVER_PORT)));
        let text = match near {
            Some(name) => refusal.found(Quoted(excerpt(name))),
            None => refusal.found("none"),
        };
        faults.add(at, &section.path, &|| text.clone());
    }
}

fn polling(top: &Section<'_>, config: &mut Config, faults: &mut Faults) {
    let tolerance = &mut config.polling_failure_tolerance;
    top.set("pollingRoute", route, &mut config.polling_route, faults);
    top.set("pollingFailureTolerance", count, tolerance, faults);

    let interval = &mut config.polling_interval;
    let mut sound = top.set(
        "pollingIntervalSeconds",
        |json| limits::interval(number(json)),
        interval,
        faults,
    );
    let interval = *interval;
    // Of an interval and no timeout, the timeout follows the interval.
    let timeout = &mut config.polling_timeout;
    *timeout = interval.min(*timeout);
    sound &= top.set(
        "pollingTimeoutSeconds",
        |json| limits::polling_timeout(number(json)),
        timeout,
        faults,
    );
    if sound && *timeout > interval {
        let most = seconds(interval);
        let refusal = Refusal::expected(format!("at most `pollingIntervalSeconds` ({most})"));
        top.refuse("pollingTimeoutSeconds", &refusal, faults);
    }
}

fn readiness(top: &Section<'_>, config: &mut Config, faults: &mut Faults) {
    const CHOICES: &[(&str, Readiness)] = &[
        ("probe", Readiness::Probe),
        ("call", Readiness::Call),
        ("hello", Readiness::Hello),
    ];
    if config.polling_route.is_none() {
        config.readiness = Readiness::Hello;
    }
    top.set(
        "readiness",
        |json| choice(json, CHOICES),
        &mut config.readiness,
        faults,
    );
    if config.polling_route.is_none() && config.readiness == Readiness::Probe {
        let refusal = Refusal::expected("`call` or `hello` where `pollingRoute` is `null`");
        top.refuse("readiness", &refusal, faults);
    }
}

fn lifetime(top: &Section<'_>, config: &mut Config, faults: &mut Faults) {
    let startup = |json: &Json<'_>| limits::seconds(number(json), &limits::STARTUP_SECONDS);
    top.set(
        "startupTimeoutSeconds",
        startup,
        &mut config.startup_timeout,
        faults,
    );

    let stop = Section::new(top.find("stop"), top.path("stop"), Some(STOP_KEYS), faults);
    let grace = |json: &Json<'_>| limits::seconds(number(json), &limits::GRACE_SECONDS);
    stop.set("graceSeconds", grace, &mut config.grace, faults);
}

fn restart(top: &Section<'_>, config: &mut Config, faults: &mut Faults) {
    const POLICIES: &[(&str, RestartPolicy)] = &[
        ("always", RestartPolicy::Always),
        ("on-failure", RestartPolicy::OnFailure),
        ("never", RestartPolicy::Never),
    ];
    let delay = |json: &Json<'_>| limits::seconds(number(json), &limits::DELAY_SECONDS);
    let stable = |json: &Json<'_>| limits::seconds(number(json), &limits::STABLE_SECONDS);
    let within = |json: &Json<'_>| limits::seconds(number(json), &limits::WITHIN_SECONDS);

    let path = top.path("restart");
    let section = Section::new(top.find("restart"), path, Some(RESTART_KEYS), faults);
    let restart = &mut config.restart;
    section.set(
        "policy",
        |json| choice(json, POLICIES),
        &mut restart.policy,
        faults,
    );
    section.set(
        "jitter",
        |json| limits::jitter(number(json)),
        &mut restart.jitter,
        faults,
    );
    section.set("stableSeconds", stable, &mut restart.stable, faults);
    section.set(
        "maxFailures",
        max_failures,
        &mut restart.max_failures,
        faults,
    );
    section.set("withinSeconds", within, &mut restart.within, faults);

    let mut sound = section.set("minDelaySeconds", delay, &mut restart.min_delay, faults);
    sound &= section.set("maxDelaySeconds", delay, &mut restart.max_delay, faults);
    if sound && restart.min_delay > restart.max_delay {
        let (min, max) = (seconds(restart.min_delay), seconds(restart.max_delay));
        // One of the two may be the default, and a fault needs a place in the file.
        if section.find("minDelaySeconds").is_some() {
            let refusal = Refusal::expected(format!("at most `maxDelaySeconds` ({max})"));
            section.refuse("minDelaySeconds", &refusal, faults);
        } else {
            let refusal = Refusal::expected(format!("at least `minDelaySeconds` ({min})"));
            section.refuse("maxDelaySeconds", &refusal, faults);
        }
    }
}

fn worker(top: &Section<'_>, config: &mut Config, faults: &mut Faults) {
    let path = top.path("worker");
    let section = Section::new(top.find("worker"), path, Some(WORKER_KEYS), faults);
    let rights = &mut config.worker;
    section.set("mayKill", boolean, &mut rights.may_kill, faults);
    section.set("maySetPort", boolean, &mut rights.may_set_port, faults);
    section.set(
        "dieWithMonitor",
        |json| die_with_monitor(json, cfg!(target_os = "linux")),
        &mut rights.die_with_monitor,
        faults,
    );
}

fn notify(top: &Section<'_>, config: &mut Config, faults: &mut Faults) {
    let path = top.path("notify");
    let section = Section::new(top.find("notify"), path, Some(NOTIFY_KEYS), faults);
    section.set("webhook", webhook, &mut config.webhook, faults);
}

/// A key that is kept free: the one value that asks for nothing is taken, and no other.
fn not_built_yet(top: &Section<'_>, faults: &mut Faults) {
    let spare = |json: &Json<'_>| match json {
        Json::Bool(false) => Ok(()),
        _ => Err(Refusal::expected("`false`").advise(Some("a spare is not built yet".into()))),
    };
    top.set("spare", spare, &mut (), faults);
}
