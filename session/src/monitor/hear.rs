//! What a worker says to the owner, and what its probes find.

use std::net::SocketAddr;

use super::driver::Driver;
use super::input::Word;
use super::operator::{polling_is_set, port_is_set};
use crate::ipc::message::{Crash, Outcome, PROTOCOL, to_args};
use crate::log::{Line, Who};
use crate::machine::{self, Asker, Event, Generation, How};
use crate::probe;
use crate::text;

impl Driver {
    pub(super) fn said(&mut self, generation: Generation, word: Word) {
        let worker = || Line::new(Who::Worker);
        match word {
            Word::Hello {
                protocol,
                generation: theirs,
                pid,
            } => {
                self.hello(generation, protocol, theirs, pid);
            }
            Word::NoHello(why) => self.handshake_failed(generation, why),
            Word::Ready => self.happen(Event::Ready { generation }),
            Word::Lifecycle(text) => {
                self.tell(worker().plain("lifecycle phase (").fact(text).plain(")"));
            }
            Word::Crash(crash) => {
                let is_backtrace = matches!(crash, Crash::Backtrace(_));
                if let Some(record) = self.record(generation) {
                    record.tell(crash);
                }
                if !is_backtrace {
                    self.tell(worker().bad("crash event detected"));
                    self.happen(Event::Crashing { generation });
                }
            }
            Word::SetPort {
                name,
                port,
                restart,
            } => {
                self.requested("set_port");
                let outcome = self
                    .may_set_port()
                    .and_then(|()| self.set_port(&name, port, restart));
                if outcome.is_ok() {
                    let args = serde_json::json!({
                        "port": name, "value": port, "immediateRestart": restart,
                    });
                    self.tell_listeners("set_port", &args, generation);
                }
                self.tell_outcome(outcome, &port_is_set(&name, port, restart));
            }
            Word::SetPolling { seconds, now } => {
                self.requested("set_polling");
                let outcome = self
                    .may_set_port()
                    .and_then(|()| self.set_polling(seconds, now));
                self.tell_outcome(
                    outcome,
                    &polling_is_set(self.parts.config.polling_interval, now),
                );
            }
            Word::Kill {
                reason,
                graceful,
                code,
            } => self.asked_to_kill(generation, reason, graceful, code),
            Word::Authorize { id, offered } => self.authorize(generation, id, &offered),
            Word::Listen { id, name } => self.listen(generation, id, &name),
            Word::Serving => self.serving(generation),
            Word::Bad { count, why } => {
                self.dropped += since_last_told(count);
                self.tell(
                    worker()
                        .warn(format_args!(
                            "{} not understood, the last: ",
                            messages(count)
                        ))
                        .plain(why),
                );
            }
            Word::TooMany { count } => {
                self.dropped += since_last_told(count);
                self.tell(worker().warn(format_args!(
                    "{} dropped: they come too fast",
                    messages(count)
                )));
            }
            Word::Dropped { count } => {
                self.dropped += count;
                self.tell(worker().warn(format_args!(
                    "{} dropped: the listeners cannot keep up",
                    messages(count)
                )));
            }
            Word::Unheard { count, name } => {
                self.dropped += since_last_told(count);
                self.tell(
                    worker()
                        .warn("nobody listens for ")
                        .fact(format_args!("`{name}`"))
                        .warn(format_args!(": {} dropped", messages(count))),
                );
            }
        }
    }

    fn requested(&self, what: &str) {
        self.tell(
            Line::new(Who::Worker)
                .plain("action requested (")
                .fact(what)
                .plain(")"),
        );
    }

    fn hello(&mut self, generation: Generation, protocol: u32, theirs: u64, pid: u32) {
        let Some(record) = self.record(generation) else {
            return;
        };
        if protocol != PROTOCOL {
            let why = format!(
                "expected protocol {PROTOCOL}, found {protocol}: restart the monitor to move to this build"
            );
            self.handshake_failed(generation, why);
        } else if theirs != generation || pid != record.pid {
            self.handshake_failed(
                generation,
                "it gave another generation or process id".to_owned(),
            );
        } else {
            record.greeted = true;
            self.happen(Event::Hello { generation });
        }
    }

    fn handshake_failed(&mut self, generation: Generation, why: String) {
        if let Some(record) = self.record(generation) {
            record.failure = Some(why);
        }
        self.happen(Event::HandshakeFailed { generation });
    }

    fn asked_to_kill(&mut self, generation: Generation, reason: String, graceful: bool, code: u64) {
        self.requested("kill");
        let args = serde_json::json!({ "reason": reason, "graceful": graceful, "errorCode": code });
        let line = Line::new(Who::Monitor);
        if !self.parts.config.worker.may_kill {
            self.tell(line.bad("refused: `worker.mayKill` is false"));
        } else if let Ok(code) = u8::try_from(code) {
            let how = if graceful { How::Clean } else { How::Force };
            self.stop(reason, how, code, Asker::Worker);
            self.tell_listeners("kill", &args, generation);
        } else {
            self.tell(line.bad(format_args!(
                "refused: expected an exit code from 0 to 255, found {code}"
            )));
        }
    }

    fn authorize(&mut self, generation: Generation, id: u64, offered: &str) {
        let now = self.world.now();
        let right = self
            .parts
            .key
            .as_mut()
            .is_some_and(|key| key.accepts(offered, now));
        let peer = self
            .record(generation)
            .and_then(|record| record.peer.clone());
        if let (Some(peer), Ok(args)) = (peer, to_args(&right)) {
            // It may be dead by now; then nobody waits.
            let _ = peer.answer(id, Outcome::Answer(args));
        }
        if !right {
            self.tell(Line::new(Who::Monitor).warn("a wrong session key was offered"));
        }
    }

    /// Where it is probed, unless that is an address of ours that nobody has heard of.
    fn public_address(&mut self, generation: Generation) -> Option<SocketAddr> {
        let record = self.record(generation)?;
        record.server.filter(|_| !record.serves_private)
    }

    pub(super) fn probed(&mut self, generation: Generation, outcome: &probe::Outcome) {
        let words = self.finding(generation, &outcome.verdict);
        let verdict = judged(&outcome.verdict);
        let now = self.world.now();
        // One that is dead by now is none's any more.
        let Some(record) = (self.record(generation)).filter(|record| record.death.is_none()) else {
            return;
        };
        let is_news = record.failure.as_ref() != Some(&words);
        if verdict == machine::Verdict::Healthy {
            record.trusted = true;
            record.failure = None;
        } else {
            record.failure = Some(words.clone());
        }
        if is_news && !record.trusted && is_worth_telling(&outcome.verdict) {
            let line = Line::new(Who::Monitor);
            self.tell(line.warn("not healthy yet: ").plain(&words));
        }
        self.last_probe = Some((words, outcome.latency, now));
        self.happen(Event::Probed {
            generation,
            verdict,
        });
    }

    /// What a probe found, in words, and what more is known of it.
    fn finding(&mut self, generation: Generation, verdict: &probe::Verdict) -> String {
        let config = &self.parts.config;
        let route = config.polling_route.as_deref().unwrap_or("/");
        let mut words = verdict.words(route, config.polling_timeout);
        if *verdict == probe::Verdict::Unhealthy(probe::Failure::Refused)
            && let Some(at) = self.public_address(generation)
        {
            words = format!("{words} at {at}");
        }
        if matches!(verdict, probe::Verdict::Unhealthy(_))
            && let Some(halted) = self.halted(generation)
        {
            words = format!("{words}; {halted}");
        }
        words
    }
}

/// What the supervisor makes of it.
fn judged(verdict: &probe::Verdict) -> machine::Verdict {
    match verdict {
        probe::Verdict::Healthy => machine::Verdict::Healthy,
        probe::Verdict::Unhealthy(_) | probe::Verdict::Stranger(_) => machine::Verdict::Unhealthy,
        probe::Verdict::Inconclusive(_) => machine::Verdict::CannotProbe,
    }
}

/// Is it something that the operator can put right?
fn is_worth_telling(verdict: &probe::Verdict) -> bool {
    use probe::Failure::{Redirect, Status};
    matches!(
        verdict,
        probe::Verdict::Stranger(_) | probe::Verdict::Unhealthy(Redirect(_) | Status(_))
    )
}

fn messages(count: u64) -> String {
    text::count(count, "message")
}

/// What is counted is told at 1, 2, 4, 8, …: so many are new.
fn since_last_told(count: u64) -> u64 {
    count - count / 2
}
