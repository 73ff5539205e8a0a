//! What the fuzz targets call: any bytes in, and a panic if a promise is broken.
//!
//! It is part of the crate, and compiled for fuzzing only, because the rooms it looks into are
//! not public.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{self, Config};
use crate::ipc::codec::{self, BadLine, LineBuffer, MAX_LINE};
use crate::ipc::message::{ToMonitor, ToWorker};
use crate::machine::{
    Action, Asker, Backoff, Event, Exit, Generation, How, Jitter, Limit, Policy, Polling,
    Readiness, Restarts, Serving, Supervisor, Time, Verdict,
};
use crate::repl::{Resolved, Table};
use crate::{output, text};

// The head's room is private to the probe, so this is a copy of it.
#[path = "probe/head.rs"]
mod head;

/// Lines of a stream are the same however it is cut, and a verb survives the way out and back.
pub fn ipc_line(data: &[u8]) {
    let mut bytes = Bytes(data);
    // A low limit is met by short inputs too.
    let limit = match bytes.next() {
        0 => MAX_LINE,
        byte => usize::from(byte),
    };
    let cut = usize::from(bytes.next()) % 64 + 1;
    let stream = bytes.0;

    let whole = split(limit, stream, stream.len().max(1));
    for size in [1, cut] {
        assert_eq!(split(limit, stream, size), whole);
    }
    let (lines, rest) = whole;
    if let Some(BadLine::Cut(partial)) = rest {
        assert!(partial.len() <= limit);
    }
    for line in lines.iter().flatten() {
        assert!(line.len() <= limit && !line.contains(&b'\n'));
        let Ok(verb) = codec::decode::<ToMonitor>(line) else {
            continue;
        };
        let encoded = codec::encode(&verb).expect("a short verb fits a line");
        let (newline, line) = encoded.split_last().expect("an encoded verb is a line");
        assert!(*newline == b'\n' && !line.contains(&b'\n'));
        let again: ToMonitor = codec::decode(line).expect("what was encoded can be decoded");
        assert_eq!(codec::encode(&again).ok().as_deref(), Some(&*encoded));
    }
}

type Lines = Vec<Result<Vec<u8>, BadLine>>;

fn split(limit: usize, stream: &[u8], size: usize) -> (Lines, Option<BadLine>) {
    let mut buffer = LineBuffer::with_limit(limit);
    let mut lines = Lines::new();
    for piece in stream.chunks(size) {
        buffer.feed(piece, |line| lines.push(line.map(<[u8]>::to_vec)));
    }
    (lines, buffer.finish())
}

/// Whatever is in the file, it is refused in plain text, or every value is one that the rest of
/// the program may rely on.
pub fn config(data: &[u8]) {
    let config = match config::parse(data, "session.config.json") {
        Ok(config) => config,
        Err(faults) => {
            let text = faults.to_string();
            assert!(!text.is_empty() && !text.contains(|c: char| c.is_control() && c != '\n'));
            return;
        }
    };
    check_names_and_ports(&config);
    check_webhook(&config);
    check_printed(data, &config);
    let within = |value: Duration, range: &std::ops::RangeInclusive<f64>| {
        assert!(
            range.contains(&value.as_secs_f64()),
            "{value:?} is not in {range:?}"
        );
    };
    within(config.polling_interval, &config::limits::INTERVAL_SECONDS);
    assert!(!config.polling_timeout.is_zero());
    assert!(config.polling_timeout <= config.polling_interval);
    within(config.startup_timeout, &config::limits::STARTUP_SECONDS);
    within(config.grace, &config::limits::GRACE_SECONDS);
    within(config.restart.min_delay, &config::limits::DELAY_SECONDS);
    within(config.restart.max_delay, &config::limits::DELAY_SECONDS);
    assert!(config.restart.min_delay <= config.restart.max_delay);
    assert!(config::limits::JITTER.contains(&config.restart.jitter));
    within(config.restart.stable, &config::limits::STABLE_SECONDS);
    within(config.restart.within, &config::limits::WITHIN_SECONDS);
    assert!(
        config
            .restart
            .max_failures
            .is_none_or(|count| config::limits::MAX_FAILURES.contains(&count))
    );
}

fn check_webhook(config: &Config) {
    let Some(url) = &config.webhook else { return };
    assert!(url.len() <= config::limits::MAX_URL);
    assert!(url.bytes().all(|byte| byte.is_ascii_graphic()));
    let host = url.strip_prefix("http://").or(url.strip_prefix("https://"));
    assert!(host.is_some_and(|host| host.starts_with(|first: char| first.is_ascii_alphanumeric())));
}

/// What is accepted means the same when it is printed by another hand.
fn check_printed(data: &[u8], config: &Config) {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let value: serde_json::Value = serde_json::from_slice(data).expect("what is accepted is JSON");
    let printed = value.to_string();
    match config::parse(printed.as_bytes(), "session.config.json") {
        Ok(mut again) => {
            // The reader of JSON may miss a number of many digits by its last bit.
            if has_fractions(&config.app) {
                again.app = config.app.clone();
            }
            assert_eq!(format!("{again:?}"), format!("{config:?}"));
        }
        Err(faults) => panic!("accepted, and refused when printed: {faults}"),
    }
}

fn has_fractions(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Number(number) => number.is_f64(),
        serde_json::Value::Array(items) => items.iter().any(has_fractions),
        serde_json::Value::Object(members) => members.values().any(has_fractions),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::String(_) => {
            false
        }
    }
}

fn check_names_and_ports(config: &Config) {
    for name in [&config.monitor_identifier, &config.worker_identifier] {
        assert!(!name.is_empty() && !name.contains(char::is_control));
    }
    if let Some(route) = &config.polling_route {
        assert!(route.starts_with('/') && route.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    assert!(config.ports.contains_key(config::SERVER_PORT));
    let range = if config.allow_privileged_ports {
        config::limits::PRIVILEGED_PORT_RANGE
    } else {
        config::limits::PORT_RANGE
    };
    let mut numbers: Vec<u16> = config.ports.values().copied().collect();
    assert!(numbers.iter().all(|port| range.contains(port)));
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), config.ports.len());
}

/// A marker and a welcome are refused, or mean the same when they are written again.
pub fn handshake(data: &[u8]) {
    let mut bytes = Bytes(data);
    let is_marker = bytes.next() & 1 == 0;
    if is_marker {
        crate::launch::role::check_marker(&String::from_utf8_lossy(bytes.0));
        return;
    }
    let Ok(verb) = codec::decode::<ToWorker>(bytes.0) else {
        return;
    };
    let encoded = codec::encode(&verb).expect("a short verb fits a line");
    let again: ToWorker =
        codec::decode(encoded.trim_ascii_end()).expect("what was encoded can be decoded");
    assert_eq!(codec::encode(&again).ok(), Some(encoded));
}

/// What a service manager says about descriptors never makes the monitor take one that is not its
/// own, nor more than there may be.
pub fn passed_sockets(data: &[u8]) {
    crate::monitor::check_passed(data);
}

/// A usage line is refused, or is a pattern: shown as it was meant, and never taken twice.
pub fn usage_line(data: &[u8]) {
    let line = String::from_utf8_lossy(data);
    let mut table = Table::new();
    let refused = match table.add(&line) {
        Ok(_) => table
            .add(&line)
            .expect_err("two commands that every line fits equally"),
        Err(refused) => refused,
    };
    let texts = [refused.to_string()];
    for text in texts.iter().chain(&table.help()) {
        assert!(
            !text.is_empty() && !text.contains(char::is_control),
            "{text:?}"
        );
    }
}

/// Text of a worker's, however it is cut, reaches a terminal without anything that acts on it.
pub fn output(data: &[u8]) {
    let mut bytes = Bytes(data);
    let cut = usize::from(bytes.next()) % 64 + 1;
    let stream = bytes.0;
    let lines = |size: usize| {
        let mut lines = output::Lines::default();
        let mut told = Vec::new();
        for piece in stream.chunks(size) {
            lines.push(piece, |line| told.push(line.to_vec()));
        }
        lines.finish(|line| told.push(line.to_vec()));
        told
    };
    let whole = lines(stream.len().max(1));
    assert_eq!(lines(cut), whole);
    for line in whole {
        assert!(line.len() <= output::MAX_OUTPUT_LINE);
        let line = text::lossy(&line);
        let shown = text::escape_output(&line, false);
        assert!(
            !shown.contains(|c: char| c.is_control() && c != '\t'),
            "{shown:?}"
        );
        let escaped = text::escape(&line);
        assert!(!escaped.contains(char::is_control), "{escaped:?}");
        assert_eq!(text::escape(&escaped), escaped);
    }
    let mut tail = output::Tail::default();
    for piece in stream.chunks(cut) {
        tail.push(piece);
    }
    let dropped = usize::try_from(tail.dropped()).expect("no more than came in");
    assert!(stream.len() - dropped <= output::TAIL_BYTES);
}

/// Any line is a command or is refused, in text that a terminal shows and does not obey.
pub fn repl_line(data: &[u8]) {
    let mut table = Table::new();
    for usage in [
        "debug <active|passive> <recipient>",
        "debug off",
        "backup [name] [target]",
    ] {
        table.add(usage).expect("the usage line is well formed");
    }
    let line = String::from_utf8_lossy(data);
    match table.resolve(&line) {
        Resolved::Refused(text) => {
            assert!(
                !text.is_empty() && !text.contains(char::is_control),
                "{text:?}"
            );
        }
        Resolved::Empty => assert!(line.trim_matches([' ', '\t', '\r', '\n']).is_empty()),
        Resolved::Builtin(_) | Resolved::User(..) => {}
    }
}

/// The answer's head is the same however its bytes are cut.
pub fn http_head(data: &[u8]) {
    let mut bytes = Bytes(data);
    let cut = usize::from(bytes.next()) % 64 + 1;
    let answer = bytes.0;
    let whole = head::Head::new().push(answer);
    for size in [1, cut] {
        let mut head = head::Head::new();
        let mut progress = head::Progress::Partial;
        for piece in answer.chunks(size) {
            progress = head.push(piece);
        }
        assert_eq!(progress, whole);
    }
    if let head::Progress::Complete {
        status, head_len, ..
    } = whole
    {
        assert!((100..=599).contains(&status) && head_len <= answer.len());
        assert_eq!(answer.get(head_len - 1), Some(&b'\n'));
    }
}

/// Any order of events and times keeps the supervisor's promises, and a forced stop ends it.
pub fn machine_events(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (supervisor, actions) = Supervisor::start(policy(&mut bytes));
    let mut run = Run::new(supervisor);
    run.check(&actions);
    while !bytes.0.is_empty() {
        run.step(&mut bytes);
    }
    run.force_to_an_end();
}

/// A supervisor, and what its actions have been so far.
struct Run {
    supervisor: Supervisor,
    now: Time,
    newest: Generation,
    /// The workers that are there, as far as the supervisor can know.
    alive: Vec<Generation>,
    /// The newest that has taken over.
    heir: Generation,
    handlers_run: bool,
    finished: bool,
    reported: BTreeSet<Generation>,
}

/// Due actions settle within so many calls, even if every timeout of the policy is zero.
const MAX_ROUNDS: usize = 8;
/// A forced stop takes a few deadlines: the handlers', and the one for the reaping.
const MAX_DEADLINES: usize = 8;

impl Run {
    fn new(supervisor: Supervisor) -> Run {
        Run {
            supervisor,
            now: Time::ZERO,
            newest: 0,
            alive: Vec::new(),
            heir: 0,
            handlers_run: false,
            finished: false,
            reported: BTreeSet::new(),
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.next() % 4 {
            0 => self.now += Duration::from_millis(u64::from(bytes.next())),
            1 => self.now += Duration::from_millis(u64::from(bytes.next()) * 500),
            2 => {
                self.now = self
                    .supervisor
                    .next_deadline()
                    .map_or(self.now, |at| at.max(self.now))
            }
            _ => {}
        }
        let companion = self.supervisor.snapshot().companion;
        let event = event(bytes, self.newest, companion.map_or(0, |(of, _)| of));
        self.handle(event);
        self.settle();
    }

    fn handle(&mut self, event: Event) {
        if let Event::Exited { generation, .. } = event {
            self.alive.retain(|&of| of != generation);
        }
        let before = self.supervisor.snapshot();
        let actions = self.supervisor.handle(self.now, event);
        // Of a process that is there it is not believed, and then there is no report.
        let is_report = |action: &Action| matches!(action, Action::Report { .. });
        if let Event::SpawnFailed { generation, .. } = event
            && actions.iter().any(is_report)
        {
            self.alive.retain(|&of| of != generation);
        }
        if matches!(event, Event::Stop { .. }) {
            assert!(self.supervisor.snapshot().stopping);
        }
        assert!(!before.stopping || self.supervisor.snapshot().stopping);
        self.check(&actions);
    }

    /// As the driver does: what is due is handled before it waits again.
    fn settle(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let actions = self.supervisor.handle_timeout(self.now);
            self.check(&actions);
            if self
                .supervisor
                .next_deadline()
                .is_none_or(|at| at > self.now)
            {
                return;
            }
        }
        panic!("a deadline stays in the past: {:?}", self.supervisor);
    }

    fn check(&mut self, actions: &[Action]) {
        let stopping = self.supervisor.snapshot().stopping;
        for action in actions {
            assert!(!self.finished, "{action:?} after the end");
            match *action {
                Action::Spawn { generation } => {
                    assert!(!stopping, "a worker after a stop");
                    assert!(self.alive.len() < 2, "a third worker");
                    assert_eq!(generation, self.newest + 1);
                    self.newest = generation;
                    self.alive.push(generation);
                }
                Action::Terminate { generation } | Action::Kill { generation } => {
                    assert!(self.alive.contains(&generation), "a signal to the dead");
                }
                Action::TakeOver { generation } => {
                    assert!(!stopping && self.alive.contains(&generation));
                    assert!(generation > self.heir, "it took over before");
                    self.heir = generation;
                }
                Action::Report { generation, .. } => {
                    assert!(self.reported.insert(generation), "a second report");
                }
                Action::RunExitHandlers { .. } => {
                    assert!(stopping && !std::mem::replace(&mut self.handlers_run, true));
                }
                Action::Finish { .. } => {
                    assert!(self.handlers_run);
                    self.finished = true;
                }
                Action::Probe { .. } | Action::AskToExit { .. } | Action::Tell(_) => {}
            }
        }
    }

    fn force_to_an_end(&mut self) {
        // A second signal within an instant counts as the first one, the operator's word never.
        self.handle(Event::Stop {
            how: How::Force,
            code: 0,
            asker: Asker::Operator,
        });
        self.settle();
        for _ in 0..MAX_DEADLINES {
            let Some(at) = self.supervisor.next_deadline() else {
                break;
            };
            self.now = at;
            self.settle();
        }
        assert!(
            self.finished,
            "a forced stop does not end: {:?}",
            self.supervisor
        );
    }
}

fn policy(bytes: &mut Bytes<'_>) -> Policy {
    let millis = |byte: u8| Duration::from_millis(u64::from(byte) * 100);
    let bits = bytes.next();
    let interval = Duration::from_secs(1) + millis(bytes.next());
    let min = millis(bytes.next());
    Policy {
        readiness: match bits % 3 {
            0 => Readiness::Probe,
            1 => Readiness::Call,
            _ => Readiness::Hello,
        },
        startup_timeout: Duration::from_secs(1) + millis(bytes.next()),
        grace: millis(bytes.next()),
        polling: (bits & 0x40 == 0).then_some(Polling {
            interval,
            timeout: interval,
        }),
        tolerance: u32::from(bits >> 3 & 3),
        restarts: match bits >> 5 & 3 {
            0 | 3 => Restarts::Always,
            1 => Restarts::OnFailure,
            _ => Restarts::Never,
        },
        backoff: Backoff {
            min,
            max: min + millis(bytes.next()),
            // From none to all of the delay.
            jitter_permille: u16::from(bytes.next() % 101) * 10,
            stable: millis(bytes.next()),
        },
        limit: (bits & 0x80 != 0).then_some(Limit {
            failures: 3,
            within: Duration::from_secs(60),
        }),
    }
}

fn event(bytes: &mut Bytes<'_>, newest: Generation, companion: Generation) -> Event {
    let (kind, value) = (bytes.next(), bytes.next());
    // Most events are of a worker that is there; some are late, some of no worker at all.
    let generation = match kind >> 5 {
        0 => newest.saturating_sub(1),
        1 => newest + 1,
        2 | 3 if companion > 0 => companion,
        _ => newest,
    };
    let jitter = Jitter(u16::from(value) * 257);
    let how = if value & 1 == 0 {
        How::Clean
    } else {
        How::Force
    };
    match kind % 13 {
        0 => Event::Spawned { generation },
        1 => Event::SpawnFailed { generation, jitter },
        2 => Event::Hello { generation },
        3 => Event::HandshakeFailed { generation },
        4 => Event::Ready { generation },
        5 => Event::Crashing { generation },
        6 => Event::ChannelClosed { generation },
        7 => Event::Exited {
            generation,
            exit: exit(value),
            jitter,
        },
        8 | 9 => Event::Probed {
            generation,
            verdict: match value % 3 {
                0 => Verdict::Healthy,
                1 => Verdict::Unhealthy,
                _ => Verdict::CannotProbe,
            },
        },
        10 if value >= 0xc0 => Event::Stop {
            how,
            code: value,
            asker: match value >> 1 & 3 {
                0 => Asker::Signal,
                1 => Asker::Worker,
                2 => Asker::HangUp,
                _ => Asker::Operator,
            },
        },
        10 => {
            let interval = Duration::from_secs(u64::from(value) + 1);
            Event::SetPolling {
                interval,
                timeout: interval,
                now: value & 1 == 0,
            }
        }
        11 => Event::Restart { how },
        12 if value >= 0xc0 => Event::Reload,
        12 if value >= 0x80 => Event::Serves {
            generation,
            serving: match value % 3 {
                0 => Serving::Own,
                1 => Serving::Held,
                _ => Serving::Private,
            },
        },
        _ => Event::HandlersDone,
    }
}

fn exit(value: u8) -> Exit {
    match value & 3 {
        0 => Exit::Code(0),
        1 => Exit::Code(value >> 2),
        2 => Exit::Signal(value >> 2),
        _ => Exit::Unknown,
    }
}

/// The input, from its front; past its end there are zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }
}
