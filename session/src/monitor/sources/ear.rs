//! What is made of the lines of a worker: counted, capped, and handed to whom it concerns.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::ipc::codec::{BadLine, decode};
use crate::ipc::dispatch::Dispatcher;
use crate::ipc::listeners::Listeners;
use crate::ipc::message::{
    BUILT_IN_NAMES, MAX_NAME, MAX_OFFERED, MAX_TEXT, Message, Outcome, ToMonitor, bounded,
    check_name,
};
use crate::ipc::peer::Peer;
use crate::log::{Line, Log, Who};
use crate::monitor::input::{Input, Word};

/// Built-in verbs of one worker in one second; a worker that says more is heard no further.
pub(in crate::monitor) const MAX_WORDS_PER_SECOND: u32 = 200;

/// What one worker has said so far, in numbers.
#[derive(Debug)]
pub(super) struct Heard {
    greeted: bool,
    pub(super) bad: u64,
    unheard: u64,
    too_many: u64,
    /// Messages that the listeners' queue had no room for, and how many of them were told.
    lost: u64,
    lost_told: u64,
    pub(super) window: Instant,
    words: u32,
}

impl Default for Heard {
    fn default() -> Heard {
        Heard {
            greeted: false,
            bad: 0,
            unheard: 0,
            too_many: 0,
            lost: 0,
            lost_told: 0,
            window: Instant::now(),
            words: 0,
        }
    }
}

/// What hears the lines of one worker.
pub(super) struct Ear<'a> {
    pub(super) inbox: &'a Sender<Box<Input>>,
    pub(super) listeners: &'a Arc<Listeners>,
    pub(super) dispatcher: &'a OnceLock<Dispatcher>,
    pub(super) log: &'a Log,
    pub(super) peer: &'a Peer,
}

impl Ear<'_> {
    pub(super) fn hear(&self, heard: &mut Heard, line: Result<&[u8], BadLine>) {
        match line.and_then(decode::<ToMonitor>) {
            Ok(ToMonitor::Hello {
                protocol,
                generation,
                pid,
            }) if !heard.greeted => {
                heard.greeted = true;
                self.tell(Word::Hello {
                    protocol,
                    generation,
                    pid,
                });
            }
            Ok(_) if !heard.greeted => {
                heard.greeted = true;
                self.tell(Word::NoHello("its first message was no hello".to_owned()));
            }
            Err(bad) if !heard.greeted => {
                heard.greeted = true;
                self.tell(Word::NoHello(bad.to_string()));
            }
            Ok(ToMonitor::Message(message)) => self.hear_message(heard, message),
            Ok(ToMonitor::Reply(reply)) => {
                if !self.peer.complete(reply) {
                    self.bad(
                        heard,
                        &BadLine::NotAVerb("a reply to no request".to_owned()),
                    );
                }
            }
            Ok(verb) => self.hear_verb(heard, verb),
            Err(bad) => self.bad(heard, &bad),
        }
    }

    fn hear_message(&self, heard: &mut Heard, message: Message) {
        if check_name(&message.name).is_err() || BUILT_IN_NAMES.contains(&message.name.as_str()) {
            self.bad(
                heard,
                &BadLine::NotAVerb("a message of a name that is not free".to_owned()),
            );
            return;
        }
        if !self.listeners.has(&message.name) {
            match message.id {
                // The asker may be gone; then nobody waits.
                Some(id) => drop(self.peer.answer(id, Outcome::NoReply)),
                None => self.unheard(heard, message.name),
            }
            return;
        }
        dispatcher(self.dispatcher, self.listeners, self.log).offer(message, self.peer);
    }

    fn hear_verb(&self, heard: &mut Heard, verb: ToMonitor) {
        let now = Instant::now();
        if now.saturating_duration_since(heard.window) >= Duration::from_secs(1) {
            heard.window = now;
            heard.words = 0;
        }
        heard.words += 1;
        let is_crash = matches!(verb, ToMonitor::Crash(_));
        if heard.words > MAX_WORDS_PER_SECOND
            && !(is_crash && heard.words < 2 * MAX_WORDS_PER_SECOND)
        {
            heard.too_many += 1;
            if heard.too_many.is_power_of_two() {
                self.tell(Word::TooMany {
                    count: heard.too_many,
                });
            }
            return;
        }
        let text = |text: &str| bounded(text, MAX_TEXT).into_owned();
        let word = match verb {
            ToMonitor::Ready(_) => Word::Ready,
            ToMonitor::Lifecycle(said) => Word::Lifecycle(text(&said.text)),
            ToMonitor::Crash(crash) => Word::Crash(crash),
            ToMonitor::SetPort {
                name,
                port,
                restart,
            } => Word::SetPort {
                name: text(&name),
                port,
                restart,
            },
            ToMonitor::SetPolling { seconds, now } => Word::SetPolling { seconds, now },
            ToMonitor::Kill {
                reason,
                graceful,
                code,
            } => Word::Kill {
                reason: text(&reason),
                graceful,
                code,
            },
            ToMonitor::Authorize { id, offered } => Word::Authorize {
                id,
                offered: bounded(&offered, MAX_OFFERED).into_owned(),
            },
            ToMonitor::Listen { id, name } => Word::Listen {
                id,
                name: bounded(&name, MAX_NAME).into_owned(),
            },
            ToMonitor::Serving(_) => Word::Serving,
            ToMonitor::Hello { .. } | ToMonitor::Message(_) | ToMonitor::Reply(_) => {
                self.bad(heard, &BadLine::NotAVerb("a second hello".to_owned()));
                return;
            }
        };
        self.tell(word);
    }

    /// Counted, and told at 1, 2, 4, 8, …: a broken worker must not fill the log.
    pub(super) fn bad(&self, heard: &mut Heard, bad: &BadLine) {
        heard.bad += 1;
        if heard.bad.is_power_of_two() {
            self.tell(Word::Bad {
                count: heard.bad,
                why: bad.to_string(),
            });
        }
    }

    /// Counted and told as well: it is the program that should know.
    fn unheard(&self, heard: &mut Heard, name: String) {
        heard.unheard += 1;
        if heard.unheard.is_power_of_two() {
            self.tell(Word::Unheard {
                count: heard.unheard,
                name,
            });
        }
    }

    /// The same for messages that the listeners' queue had no room for: told each time that their
    /// number has doubled, however often some are lost.
    pub(super) fn lost(&self, heard: &mut Heard, count: u64) {
        let before = heard.lost.checked_ilog2();
        heard.lost += count;
        if heard.lost.checked_ilog2() != before {
            self.tell_lost(heard);
        }
    }

    /// What was not told yet; at the end of the channel too, so that all is counted.
    pub(super) fn tell_lost(&self, heard: &mut Heard) {
        let count = heard.lost - heard.lost_told;
        if count > 0 {
            heard.lost_told = heard.lost;
            self.tell(Word::Dropped { count });
        }
    }

    /// The owner never waits for this thread, so this wait ends.
    pub(super) fn tell(&self, word: Word) {
        let _ = self.inbox.send(Box::new(Input::Said {
            generation: self.peer.generation,
            word,
        }));
    }
}

/// The listeners' thread, started for the first message that has a listener: it costs memory
/// that most sessions can do without.
pub(in crate::monitor) fn dispatcher<'a>(
    cell: &'a OnceLock<Dispatcher>,
    listeners: &Arc<Listeners>,
    log: &Log,
) -> &'a Dispatcher {
    if let Some(running) = cell.get() {
        return running;
    }
    let dispatcher = cell.get_or_init(Dispatcher::new);
    let observer = log.clone();
    let started = dispatcher.start(
        Arc::clone(listeners),
        Box::new(move |message, told| {
            if told.panicked > 0 {
                observer.line(
                    &Line::new(Who::Monitor)
                        .bad(format_args!(
                            "{} panicked on the message ",
                            crate::text::count(told.panicked as u64, "listener")
                        ))
                        .fact(message.name()),
                );
            }
        }),
    );
    if let Err(error) = started {
        log.line(
            &Line::new(Who::Monitor)
                .bad("the listeners' thread could not be started: ")
                .plain(error),
        );
    }
    dispatcher
}
