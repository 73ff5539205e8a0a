//! From the tree to a [`Config`], or to everything that is wrong with it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde_json::{Number, Value};

use super::fault::{Faults, Path, Position, excerpt};
use super::json::{Json, Member, Node};
use super::limits::{self, Quoted, Refusal, did_you_mean, one_of, whole};
use super::{Config, DieWithMonitor, Readiness, RestartPolicy, SERVER_PORT};
use crate::near::near;

/// The keys of the table, object by object.
pub(super) const TOP_KEYS: &[&str] = &[
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

/// As many names as a message can list and still be read.
const MAX_LISTED: usize = 8;

/// Reads what can be read; it counts only if no fault was added.
pub(super) fn config(root: &Node<'_>, faults: &mut Faults) -> Config {
    let mut config = Config::default();
    repeated_keys(root, &Path::Top, faults);
    let top = Section::new(Some(root), Path::Top, Some(TOP_KEYS), faults);
    identity(&top, &mut config, faults);
    ports(&top, &mut config, faults);
    polling(&top, &mut config, faults);
    readiness(&top, &mut config, faults);
    lifetime(&top, &mut config, faults);
    restart(&top, &mut config, faults);
    worker(&top, &mut config, faults);
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
            faults.add(*at, &place, || refusal.found(Quoted(excerpt(name))));
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
        let near = near(
            SERVER_PORT,
            section.members.iter().map(|member| member.name.as_str()),
        );
        let refusal = Refusal::expected(format!("an entry {}", Quoted(SERVER_PORT)));
        let text = match near {
            Some(name) => refusal.found(Quoted(excerpt(name))),
            None => refusal.found("none"),
        };
        faults.add(at, &section.path, || text);
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
        let most = interval.as_secs_f64();
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
        let (min, max) = (
            restart.min_delay.as_secs_f64(),
            restart.max_delay.as_secs_f64(),
        );
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
    const ENDS: &[(&str, DieWithMonitor)] = &[
        ("drain", DieWithMonitor::Drain),
        ("kill", DieWithMonitor::Kill),
    ];
    let path = top.path("worker");
    let section = Section::new(top.find("worker"), path, Some(WORKER_KEYS), faults);
    let rights = &mut config.worker;
    section.set("mayKill", boolean, &mut rights.may_kill, faults);
    section.set("maySetPort", boolean, &mut rights.may_set_port, faults);
    section.set(
        "dieWithMonitor",
        |json| choice(json, ENDS),
        &mut rights.die_with_monitor,
        faults,
    );
}

/// Keys that are kept free: the one value that asks for nothing is taken, and no other.
fn not_built_yet(top: &Section<'_>, faults: &mut Faults) {
    let notify = Section::new(
        top.find("notify"),
        top.path("notify"),
        Some(NOTIFY_KEYS),
        faults,
    );
    let webhook = |json: &Json<'_>| match json {
        Json::Null => Ok(()),
        _ => Err(Refusal::expected("`null`").advise(Some("a webhook is not built yet".into()))),
    };
    notify.set("webhook", webhook, &mut (), faults);
    let spare = |json: &Json<'_>| match json {
        Json::Bool(false) => Ok(()),
        _ => Err(Refusal::expected("`false`").advise(Some("a spare is not built yet".into()))),
    };
    top.set("spare", spare, &mut (), faults);
}

/// One object of the file; without members where it is absent or no object.
struct Section<'a> {
    /// Where it begins, if it is there.
    at: Option<Position>,
    path: Path<'a>,
    members: &'a [Member<'a>],
}

impl<'a> Section<'a> {
    /// `known` is `None` where the names are the user's own.
    fn new(
        node: Option<&'a Node<'a>>,
        path: Path<'a>,
        known: Option<&[&str]>,
        faults: &mut Faults,
    ) -> Section<'a> {
        let Some(node) = node else {
            return Section {
                at: None,
                path,
                members: &[],
            };
        };
        let Json::Object(members) = &node.json else {
            refuse(faults, node, &path, &Refusal::expected("an object"));
            return Section {
                at: None,
                path,
                members: &[],
            };
        };
        for member in members {
            if let Some(known) = known
                && !known.contains(&member.name.as_str())
            {
                let place = Path::Key(&path, &member.name);
                faults.add(member.at, &place, || unknown_key(&member.name, known));
            }
        }
        Section {
            at: Some(node.at),
            path,
            members,
        }
    }

    /// Puts what stands under `name` into `target`. What is absent leaves it as it is, and so does
    /// a fault; only then the answer is false.
    fn set<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Json<'_>) -> Result<T, Refusal>,
        target: &mut T,
        faults: &mut Faults,
    ) -> bool {
        let Some(node) = self.find(name) else {
            return true;
        };
        match read(&node.json) {
            Ok(value) => *target = value,
            Err(refusal) => {
                refuse(faults, node, &self.path(name), &refusal);
                return false;
            }
        }
        true
    }

    /// Refuses a value for what it is next to another.
    fn refuse(&self, name: &str, refusal: &Refusal, faults: &mut Faults) {
        if let Some(node) = self.find(name) {
            refuse(faults, node, &self.path(name), refusal);
        }
    }

    fn find(&self, name: &str) -> Option<&'a Node<'a>> {
        self.members
            .iter()
            .find(|member| member.name == name)
            .map(|member| &member.value)
    }

    fn path<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path::Key(&self.path, name)
    }
}

fn boolean(json: &Json<'_>) -> Result<bool, Refusal> {
    match json {
        Json::Bool(value) => Ok(*value),
        _ => Err(Refusal::expected("`true` or `false`")),
    }
}

/// The number that stands here. What is no number becomes NaN, which lies in no range, so that the
/// check of the range tells what was expected in either case.
fn number(json: &Json<'_>) -> f64 {
    match json {
        Json::Number(digits) => digits.parse().unwrap_or(f64::NAN),
        _ => f64::NAN,
    }
}

/// A count without an upper limit. More failures than fit would take a century of probes, so there
/// the greatest count means the same.
fn count(json: &Json<'_>) -> Result<u32, Refusal> {
    let count = whole(number(json)).ok_or_else(|| Refusal::expected("a whole number from 0"))?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

fn max_failures(json: &Json<'_>) -> Result<Option<u32>, Refusal> {
    match json {
        Json::Null => Ok(None),
        _ => limits::max_failures(whole(number(json))).map(Some),
    }
}

fn choice<T: Copy>(json: &Json<'_>, choices: &[(&str, T)]) -> Result<T, Refusal> {
    let names = choices.iter().map(|(name, _)| *name);
    let Json::Text(text) = json else {
        return Err(Refusal::expected(one_of(names)));
    };
    match choices.iter().find(|(name, _)| name == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let advice = near(text, names.clone()).map(did_you_mean);
            Err(Refusal::expected(one_of(names)).advise(advice))
        }
    }
}

fn identifier(json: &Json<'_>) -> Result<String, Refusal> {
    match json {
        Json::Text(text) if is_label(text) => Ok(text.clone()),
        _ => Err(Refusal::expected(
            "a string that is not empty and has no control characters",
        )),
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

fn host(json: &Json<'_>) -> Result<IpAddr, Refusal> {
    let address = match json {
        Json::Text(text) => text.parse().ok(),
        _ => None,
    };
    address.ok_or_else(|| Refusal::expected("an IP address such as `127.0.0.1` or `::1`"))
}

fn route(json: &Json<'_>) -> Result<Option<String>, Refusal> {
    match json {
        Json::Null => Ok(None),
        Json::Text(text)
            if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Some(text.clone()))
        }
        _ => Err(Refusal::expected(
            "`null` or a path: `/`, then visible ASCII without spaces",
        )),
    }
}

/// The tree without its places.
fn plain(node: &Node<'_>, path: &Path<'_>, faults: &mut Faults) -> Value {
    match &node.json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(digits) => plain_number(digits).map_or_else(
            || {
                let refusal = Refusal::expected("a number within the range of a 64-bit float");
                refuse(faults, node, path, &refusal);
                Value::Null
            },
            Value::Number,
        ),
        Json::Text(text) => Value::String(text.clone()),
        Json::Array(items) => {
            let items = items.iter().enumerate();
            items
                .map(|(index, item)| plain(item, &Path::Index(path, index), faults))
                .collect()
        }
        Json::Object(members) => {
            let members = members.iter().map(|Member { name, value, .. }| {
                (name.clone(), plain(value, &Path::Key(path, name), faults))
            });
            Value::Object(members.collect())
        }
    }
}

/// Whole numbers stay exact as far as 64 bits go. A negative zero has its sign in a float alone.
fn plain_number(digits: &str) -> Option<Number> {
    if let Ok(value) = digits.parse::<u64>() {
        return Some(value.into());
    }
    match digits.parse::<i64>() {
        Ok(value) if value != 0 => Some(value.into()),
        _ => Number::from_f64(digits.parse().ok()?),
    }
}

fn repeated_keys(node: &Node<'_>, path: &Path<'_>, faults: &mut Faults) {
    match &node.json {
        Json::Object(members) => {
            let mut first = HashMap::with_capacity(members.len());
            for Member { at, name, value } in members {
                let place = Path::Key(path, name);
                match first.entry(name) {
                    Entry::Vacant(entry) => {
                        entry.insert(*at);
                    }
                    Entry::Occupied(entry) => {
                        let Position { line, column } = entry.get();
                        let found = format!("it again (first at {line}:{column})");
                        let refusal = Refusal::expected("each key once");
                        faults.add(*at, &place, || refusal.found(found));
                    }
                }
                repeated_keys(value, &place, faults);
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                repeated_keys(item, &Path::Index(path, index), faults);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
    }
}

fn unknown_key(name: &str, known: &[&str]) -> String {
    let known = known.iter().copied();
    let advice = near(name, known.clone()).map(did_you_mean);
    let expected = if known.len() > MAX_LISTED {
        String::from("a known key")
    } else {
        one_of(known)
    };
    Refusal::expected(expected)
        .advise(advice)
        .found(Quoted(excerpt(name)))
}

fn refuse(faults: &mut Faults, node: &Node<'_>, path: &Path<'_>, refusal: &Refusal) {
    faults.add(node.at, path, || refusal.found(shown(&node.json)));
}

/// A value as a message names it.
fn shown(json: &Json<'_>) -> String {
    match json {
        Json::Null => String::from("`null`"),
        Json::Bool(value) => Quoted(value).to_string(),
        Json::Number(digits) => Quoted(excerpt(digits)).to_string(),
        Json::Text(text) => format!("`\"{}\"`", excerpt(text)),
        Json::Array(_) => String::from("an array"),
        Json::Object(_) => String::from("an object"),
    }
}
