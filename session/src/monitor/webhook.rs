//! Crash reports to `notify.webhook`: `episodes` decides what is told when, and a courier, which
//! is a process of its own, delivers it.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::driver::Driver;
use super::episodes::{Episodes, Kind, News};
use super::errand::{self, Errand};
use super::input::Input;
use super::spawn::{self, Spawner};
use crate::config::Config;
use crate::error::Error;
use crate::log::{Line, Who};
use crate::machine::{State, Time};
use crate::report::CrashReport;
use crate::sys::{self, Interest, Poll};
use crate::thread;

/// Enough for a slow name server and a slow peer. Whoever takes longer holds up the next message,
/// and a stop.
const DELIVERY_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Webhook {
    target: Option<Target>,
}

#[derive(Debug)]
struct Target {
    url: String,
    episodes: Episodes,
    under_way: Option<(Errand, Kind)>,
}

impl Webhook {
    pub(super) fn new(config: &Config) -> Webhook {
        let target = config.webhook.as_ref().map(|url| Target {
            url: url.clone(),
            episodes: Episodes::new(config.restart.stable),
            under_way: None,
        });
        Webhook { target }
    }

    pub(super) fn crashed(&mut self) {
        if let Some(target) = &mut self.target {
            target.episodes.crashed();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.target.as_ref()?.episodes.next_deadline()
    }

    fn is_under_way(&self) -> bool {
        let target = self.target.as_ref();
        target.is_some_and(|target| target.under_way.is_some())
    }
}

impl Driver {
    /// Sends what there is to tell, if nothing is under way. A session that is at its end tells
    /// once its last report is made.
    pub(super) fn tell_webhook(&mut self) {
        if self.finishing.is_none() {
            self.send_news();
        }
    }

    fn send_news(&mut self) {
        let now = self.now();
        let Some(target) = &mut self.webhook.target else {
            return;
        };
        let snapshot = self.supervisor.snapshot();
        let is_ready = snapshot.state == State::Ready;
        target
            .episodes
            .observe(now, is_ready.then_some(snapshot.generation));
        if let Some(news) = target.episodes.next(now) {
            let letter = letter(&target.url, news, self.reports.back());
            let errand = Errand::default();
            target.under_way = Some((errand.clone(), news.kind));
            if let Err(error) = letter.and_then(|letter| self.dispatch(letter, errand)) {
                self.delivered(Err(error.chain()));
            }
        }
    }

    fn dispatch(&self, letter: String, errand: Errand) -> Result<(), Error> {
        let recipe = &self.parts.recipe;
        let spawner = recipe.spawner(recipe.program());
        let inbox = self.parts.sender.clone();
        thread::start("session-courier", move || {
            let outcome = deliver(&spawner, letter.as_bytes(), &errand);
            let _ = inbox.send(Box::new(Input::Delivered(outcome)));
        })
        .map_err(Error::os("start the thread that waits for a courier"))
    }

    pub(super) fn delivered(&mut self, outcome: Result<(), String>) {
        let Some(target) = &mut self.webhook.target else {
            return;
        };
        target.episodes.delivered();
        let Some((_, kind)) = target.under_way.take() else {
            return;
        };
        let what = match kind {
            Kind::Crashed | Kind::Escalated => "crash notification",
            Kind::Recovered => "notification of the recovery",
            Kind::Ended => "notification of the end",
        };
        let line = Line::new(Who::Monitor);
        self.tell(match outcome {
            Ok(()) => line.good(format_args!("distributed {what} to the webhook")),
            Err(why) => line
                .bad(format_args!(
                    "distribution of {what} to the webhook failed: "
                ))
                .plain(why),
        });
    }

    /// At the end of the session: what there is to tell may still be told until then, and what is
    /// under way after that is ended.
    pub(super) fn finish_webhook(&mut self, until: Option<Instant>) {
        if let Some(target) = &mut self.webhook.target
            && self.stop_reason.is_none()
        {
            target.episodes.end();
        }
        if let Some(until) = until {
            self.await_deliveries(until);
        }
        let target = self.webhook.target.as_ref();
        if let Some((errand, _)) = target.and_then(|target| target.under_way.as_ref()) {
            errand.abandon();
            self.delivered(Err("the session ended first".to_owned()));
        }
    }

    fn await_deliveries(&mut self, until: Instant) {
        while !self.forced {
            self.send_news();
            if !self.webhook.is_under_way() {
                return;
            }
            match self.world.wait(&self.parts.inbox, Some(until)) {
                Ok(input) => match *input {
                    Input::Delivered(outcome) => self.delivered(outcome),
                    // Who asks again does not want to wait.
                    other => self.forced = self.is_impatient(&other),
                },
                Err(_) => return,
            }
        }
    }
}

/// What is posted.
#[derive(Debug, Serialize)]
struct Notification<'a> {
    event: &'static str,
    /// One line for a person; many chat services show a member of this name as it is.
    text: String,
    program: String,
    /// How many crashes the episode has had.
    crashes: u64,
    /// The last of them.
    report: Option<&'a CrashReport>,
}

/// A line with the URL, then the body. It goes through the courier's standard input: arguments and
/// environment are there for others to read, and a URL may be a secret.
fn letter(url: &str, news: News, report: Option<&CrashReport>) -> Result<String, Error> {
    let program = sys::executable_name().unwrap_or_else(|| "the server".to_owned());
    let text = words(&program, news, report);
    let (event, report) = match news.kind {
        Kind::Crashed => ("crashed", report),
        Kind::Escalated => ("escalated", report),
        Kind::Recovered => ("recovered", None),
        Kind::Ended => ("ended", report),
    };
    let body = serde_json::to_string(&Notification {
        event,
        text,
        program,
        crashes: news.crashes,
        report,
    });
    body.map(|body| format!("{url}\n{body}"))
        .map_err(Error::Json)
}

fn words(program: &str, news: News, report: Option<&CrashReport>) -> String {
    let crashes = crashes(news.crashes);
    let why = report.map_or_else(|| "no more is known".to_owned(), CrashReport::summary);
    let generation = report.map_or(0, |report| report.generation);
    match news.kind {
        Kind::Crashed => format!("{program} crashed (generation {generation}): {why}"),
        Kind::Escalated => format!(
            "{program} keeps crashing: {crashes} by now, the last (generation {generation}): {why}"
        ),
        Kind::Recovered => format!("{program} is up again and stable, after {crashes}"),
        Kind::Ended => format!(
            "{program} is down, and is not restarted any more: {crashes}, the last (generation {generation}): {why}"
        ),
    }
}

fn crashes(number: u64) -> String {
    match number {
        1 => "1 crash".to_owned(),
        _ => format!("{number} crashes"),
    }
}

/// Runs one courier, from its start to its reaping.
fn deliver(spawner: &Spawner, letter: &[u8], errand: &Errand) -> Result<(), String> {
    let (ours, theirs) = spawn::channel().map_err(|error| error.to_string())?;
    let courier = errand.start(|| spawner.spawn_courier(theirs))?;
    let is_over = hand_over(&ours, letter, Instant::now() + DELIVERY_LIMIT);
    let status = errand.end(courier.pid);
    match is_over {
        Ok(true) if status.is_clean() => Ok(()),
        Ok(true) => Err(match errand::last_words(courier) {
            words if words.is_empty() => format!("the courier ended with {status}"),
            words => words,
        }),
        Ok(false) => Err(format!("no answer within {} s", DELIVERY_LIMIT.as_secs())),
        Err(error) => Err(error.to_string()),
    }
}

/// Gives the letter to the courier and waits for its end, which is the end of the channel.
/// `false`: its time was over first.
fn hand_over(channel: &UnixStream, letter: &[u8], deadline: Instant) -> io::Result<bool> {
    let mut left = letter;
    let mut scratch = [0; 64];
    loop {
        let interest = match left {
            [] => Interest::Read,
            _ => Interest::ReadWrite,
        };
        let mut wait = [Poll::new(channel.as_fd(), interest)];
        sys::poll(&mut wait, Some(deadline))?;
        if !left.is_empty() && wait[0].writable() {
            left = match sys::write_nonblocking(channel.as_fd(), left) {
                Ok(written) => &left[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => left,
                // It is gone, and its last words say why.
                Err(_) => &[],
            };
            if left.is_empty() {
                let _ = channel.shutdown(Shutdown::Write);
            }
        }
        if wait[0].readable() {
            match sys::read(channel.as_fd(), &mut scratch) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Ok(true),
            }
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
    }
}
