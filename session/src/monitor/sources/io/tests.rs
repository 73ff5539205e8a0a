//! The reader without its thread: each test gives it bytes and looks at what it tells the owner.

use std::io::{PipeWriter, Read, Write, pipe};
use std::thread::spawn;

use crossbeam_channel::{Receiver, bounded as channel};
use serde_json::{Value, json};

use super::super::ear::MAX_WORDS_PER_SECOND;
use super::*;
use crate::ipc::codec::BadLine;
use crate::ipc::message::{BUILT_IN_NAMES, Crash, MAX_NAME, MAX_OFFERED, MAX_TEXT};
use crate::monitor::input::{INBOX, Word};
use crate::output::TAIL_BYTES;

const GENERATION: Generation = 3;
const FAR: u64 = 10;

/// The reader, with the far ends of all that it reads.
struct Bench {
    reader: Reader,
    inbox: Receiver<Box<Input>>,
    logged: Arc<Mutex<Vec<String>>>,
    worker: Option<UnixStream>,
    stdout: Option<PipeWriter>,
    stderr: Option<PipeWriter>,
}

impl Bench {
    /// Before the hello.
    fn new() -> Bench {
        let (sender, inbox) = channel(INBOX);
        let (log, logged) = Log::memory();
        let waker: &'static Waker = Box::leak(Box::new(Waker::new().unwrap()));
        let (ours, worker) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = Arc::new(ours);
        let outbox = Arc::new(Outbox::new(Arc::clone(&ours), waker));
        let peer = Peer::new(GENERATION, Arc::clone(&outbox) as Arc<_>);
        let (stdout, their_stdout) = pipe().unwrap();
        let (stderr, their_stderr) = pipe().unwrap();
        let connection = Connection::new(peer, ours, outbox, stdout.into(), stderr.into());
        let reader = Reader {
            jobs: Arc::default(),
            waker,
            inbox: sender,
            log,
            listeners: Arc::default(),
            dispatcher: Arc::default(),
            show_output: true,
            connections: vec![connection],
            scratch: vec![0; CHUNK],
        };
        Bench {
            reader,
            inbox,
            logged,
            worker: Some(worker),
            stdout: Some(their_stdout),
            stderr: Some(their_stderr),
        }
    }

    /// After it.
    fn greeted() -> Bench {
        let mut bench = Bench::new();
        bench.hear(&json!({ "hello": { "protocol": 1, "generation": 3, "pid": 7 } }));
        assert_eq!(bench.told().len(), 1);
        bench
    }

    fn hear(&mut self, line: &Value) {
        self.hear_line(Ok(line.to_string().as_bytes()));
    }

    fn hear_line(&mut self, line: Result<&[u8], BadLine>) {
        self.with_ear(|ear, heard| ear.hear(heard, line));
    }

    fn with_ear(&mut self, act: impl FnOnce(&Ear<'_>, &mut Heard)) {
        let Reader {
            connections,
            inbox,
            listeners,
            dispatcher,
            log,
            ..
        } = &mut self.reader;
        let Connection { peer, channel, .. } = &mut connections[0];
        let ear = Ear {
            inbox,
            listeners,
            dispatcher,
            log,
            peer,
        };
        act(&ear, &mut channel.as_mut().unwrap().heard);
    }

    /// The second in which words are counted does not end while a slow machine counts them.
    fn stop_the_clock(&mut self) {
        self.channel().heard.window = Instant::now() + Duration::from_secs(3600);
    }

    fn channel(&mut self) -> &mut Channel {
        self.reader.connections[0].channel.as_mut().unwrap()
    }

    /// The words of the worker that the owner has been told since the last look.
    fn told(&self) -> Vec<Word> {
        let word = |input| match input {
            Input::Said { generation, word } if generation == GENERATION => word,
            other => panic!("{other:?}"),
        };
        self.inbox.try_iter().map(|input| word(*input)).collect()
    }

    fn told_one(&self) -> Word {
        let mut told = self.told();
        assert_eq!(told.len(), 1, "{told:?}");
        told.remove(0)
    }

    /// The next line that the worker is sent.
    fn sent(&mut self) -> Value {
        let mut bytes = [0; 4096];
        let count = self.worker.as_mut().unwrap().read(&mut bytes).unwrap();
        serde_json::from_slice(&bytes[..count]).unwrap()
    }

    /// As when the poll says that something came.
    fn serve(&mut self) {
        let socket = Arc::clone(&self.channel().socket);
        let mut polls = [Poll::new(socket.as_fd(), Interest::Read)];
        sys::poll(&mut polls, Some(Instant::now())).unwrap();
        self.reader.serve_channel(0, &polls[0]);
    }

    fn drain(&mut self, generation: Generation, within: Duration) {
        let job = Job::Drain { generation, within };
        self.reader.jobs.lock().unwrap().push(job);
        self.reader.take_jobs();
    }

    /// Both its outputs end, and are read to their end.
    fn end_outputs(&mut self) {
        drop((self.stdout.take(), self.stderr.take()));
        for which in [0, 1] {
            self.reader.read_output(0, which);
        }
    }
}

fn ready() -> Value {
    json!({ "ready": {} })
}

fn panic(message: &str) -> Value {
    json!({ "crash": { "panic": {
        "message": message, "location": null, "thread": "main", "backtrace": null,
    } } })
}

fn message(name: &str, id: Option<u64>) -> Value {
    match id {
        Some(id) => json!({ "message": { "name": name, "args": 1, "id": id } }),
        None => json!({ "message": { "name": name, "args": 1 } }),
    }
}

/// The counts of those words for which `count` has one.
fn counts(told: &[Word], count: impl Fn(&Word) -> Option<u64>) -> Vec<u64> {
    told.iter().filter_map(count).collect()
}

// The handshake

#[test]
fn the_first_line_is_a_hello() {
    let mut bench = Bench::new();
    bench.hear(&json!({ "hello": { "protocol": 9, "generation": 8, "pid": 7 } }));
    // What is wrong with it is the owner's business.
    let Word::Hello {
        protocol,
        generation,
        pid,
    } = bench.told_one()
    else {
        panic!("no hello");
    };
    assert_eq!((protocol, generation, pid), (9, 8, 7));
}

#[test]
fn anything_else_first_is_told_once() {
    let lines: [Result<&[u8], BadLine>; 4] = [
        Ok(br#"{"ready":{}}"#),
        Ok(b"GET / HTTP/1.1"),
        Ok(b""),
        Err(BadLine::TooLong),
    ];
    for line in lines {
        let mut bench = Bench::new();
        let text = format!("{line:?}");
        bench.hear_line(line);
        let told = bench.told_one();
        assert!(matches!(told, Word::NoHello(_)), "{text}: {told:?}");
        // Past that it is heard like any other; the owner is getting rid of it.
        bench.hear(&ready());
        assert!(matches!(bench.told_one(), Word::Ready));
    }
}

#[test]
fn a_second_hello_is_a_bad_line() {
    let mut bench = Bench::greeted();
    bench.hear(&json!({ "hello": { "protocol": 1, "generation": 3, "pid": 7 } }));
    let told = bench.told_one();
    assert!(
        matches!(&told, Word::Bad { count: 1, why } if why.contains("a second hello")),
        "{told:?}"
    );
}

// Verbs

#[test]
fn texts_are_cut_before_they_reach_the_owner() {
    let long = "x".repeat(10 * MAX_TEXT);
    let cut = crate::text::clip(&long, MAX_TEXT).into_owned();
    let mut bench = Bench::greeted();
    bench.hear(&json!({ "lifecycle": { "text": long } }));
    assert!(matches!(bench.told_one(), Word::Lifecycle(text) if text == cut));
    bench.hear(&json!({ "kill": { "reason": long, "graceful": true, "code": 3 } }));
    assert!(matches!(bench.told_one(), Word::Kill { reason, .. } if reason == cut));
    bench.hear(&json!({ "set_port": { "name": long, "port": 1, "restart": true } }));
    assert!(matches!(bench.told_one(), Word::SetPort { name, .. } if name == cut));
    bench.hear(&json!({ "authorize": { "id": 1, "offered": long } }));
    let cut = crate::text::clip(&long, MAX_OFFERED).into_owned();
    assert!(matches!(bench.told_one(), Word::Authorize { offered, .. } if offered == cut));
}

#[test]
fn a_worker_that_says_too_much_is_heard_no_further() {
    let most = u64::from(MAX_WORDS_PER_SECOND);
    for said in [most, most + 1, FAR * most] {
        let mut bench = Bench::greeted();
        bench.stop_the_clock();
        for _ in 0..said {
            bench.hear(&ready());
        }
        let told = bench.told();
        let heard = told.iter().filter(|word| matches!(word, Word::Ready));
        assert_eq!(heard.count() as u64, most);
        let too_many = counts(&told, |word| match word {
            Word::TooMany { count } => Some(*count),
            _ => None,
        });
        let powers: Vec<u64> = (0..64).map(|at| 1 << at).collect();
        let excess = said - most;
        let expected: Vec<u64> = powers.into_iter().filter(|at| *at <= excess).collect();
        assert_eq!(too_many, expected);
    }
}

#[test]
fn a_second_later_it_is_heard_again() {
    let mut bench = Bench::greeted();
    bench.stop_the_clock();
    for _ in 0..=MAX_WORDS_PER_SECOND {
        bench.hear(&ready());
    }
    bench.told();
    bench.hear(&ready());
    assert!(matches!(bench.told_one(), Word::TooMany { count: 2 }));
    let channel = bench.channel();
    channel.heard.window = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    bench.hear(&ready());
    assert!(matches!(bench.told_one(), Word::Ready));
}

#[test]
fn a_crash_is_heard_past_the_cap_and_has_one_too() {
    let mut bench = Bench::greeted();
    bench.stop_the_clock();
    for _ in 0..FAR * u64::from(MAX_WORDS_PER_SECOND) {
        bench.hear(&panic("no disk"));
    }
    let told = bench.told();
    let crashes = told
        .iter()
        .filter(|word| matches!(word, Word::Crash(Crash::Panic(_))))
        .count();
    assert_eq!(crashes, 2 * MAX_WORDS_PER_SECOND as usize - 1);
}

#[test]
fn bad_lines_are_counted_and_told_at_powers_of_two() {
    let mut bench = Bench::greeted();
    for _ in 0..1000 {
        bench.hear_line(Ok(b"no json"));
        bench.hear_line(Err(BadLine::TooLong));
        bench.hear(&json!({ "unknown": {} }));
    }
    let told = bench.told();
    let bad = counts(&told, |word| match word {
        Word::Bad { count, .. } => Some(*count),
        _ => None,
    });
    assert_eq!(bad, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]);
    assert_eq!(told.len(), bad.len());
    assert_eq!(bench.channel().heard.bad, 3000);
    // And the next good one is as good as ever.
    bench.hear(&ready());
    assert!(matches!(bench.told_one(), Word::Ready));
}

// Messages

#[test]
fn no_message_can_take_the_name_of_a_verb_or_none() {
    let long = "x".repeat(MAX_NAME + 1);
    let names = BUILT_IN_NAMES.into_iter().chain(["", "a\nb", &long]);
    for name in names {
        for id in [None, Some(5)] {
            let mut bench = Bench::greeted();
            bench.hear(&message(name, id));
            let told = bench.told_one();
            assert!(
                matches!(&told, Word::Bad { count: 1, why } if why.contains("not free")),
                "{name:?}: {told:?}"
            );
        }
    }
}

#[test]
fn a_message_that_nobody_listens_for_is_told_by_name_and_costs_no_thread() {
    let mut bench = Bench::greeted();
    let longest = "x".repeat(MAX_NAME);
    for name in ["a", "b", "c", &longest] {
        bench.hear(&message(name, None));
    }
    let told = bench.told();
    let names: Vec<(u64, &str)> = told
        .iter()
        .map(|word| match word {
            Word::Unheard { count, name } => (*count, name.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, [(1, "a"), (2, "b"), (4, &longest)]);
    assert!(bench.reader.dispatcher.get().is_none());
    assert_eq!(bench.channel().heard.bad, 0);
}

#[test]
fn a_request_that_nobody_listens_for_is_answered() {
    let mut bench = Bench::greeted();
    bench.hear(&message("a", Some(5)));
    assert!(bench.told().is_empty());
    assert_eq!(
        bench.sent(),
        json!({ "reply": { "id": 5, "outcome": "no_reply" } })
    );
}

#[test]
fn a_reply_to_no_request_is_a_bad_line() {
    let mut bench = Bench::greeted();
    bench.hear(&json!({ "reply": { "id": 5, "outcome": "busy" } }));
    let told = bench.told_one();
    assert!(
        matches!(&told, Word::Bad { count: 1, why } if why.contains("a reply to no request")),
        "{told:?}"
    );
}

// The channel

#[test]
fn lines_come_whole_however_they_were_written() {
    let mut bench = Bench::greeted();
    let mut worker = bench.worker.take().unwrap();
    worker.write_all(b"{\"ready\":").unwrap();
    bench.serve();
    assert!(bench.told().is_empty());
    worker.write_all(b"{}}\n{\"ready\":{}}\n{").unwrap();
    bench.serve();
    assert_eq!(bench.told().len(), 2);
}

#[test]
fn the_end_of_the_channel_comes_after_all_that_was_said() {
    let mut bench = Bench::greeted();
    let mut worker = bench.worker.take().unwrap();
    worker.write_all(b"{\"ready\":{}}\n{\"rea").unwrap();
    drop(worker);
    while bench.reader.connections[0].channel.is_some() {
        bench.serve();
    }
    let inputs: Vec<Input> = bench.inbox.try_iter().map(|input| *input).collect();
    let [
        Input::Said {
            word: Word::Ready, ..
        },
        Input::Said {
            word: Word::Bad { count: 1, why },
            ..
        },
        Input::ChannelClosed {
            generation: GENERATION,
        },
    ] = &inputs[..]
    else {
        panic!("{inputs:?}");
    };
    assert!(why.contains("after 5 bytes of a line"), "{why}");
}

#[test]
fn whoever_waits_for_a_dead_worker_is_told_at_once() {
    let mut bench = Bench::greeted();
    let peer = bench.reader.connections[0].peer.clone();
    let asking = spawn(move || peer.request("a", &1, Duration::from_secs(20)));
    bench.sent(); // The request is out.
    bench.worker = None;
    bench.serve();
    let outcome = asking.join().unwrap();
    assert!(matches!(outcome, Err(Error::PeerDied)), "{outcome:?}");
}

// Output

#[test]
fn output_is_shown_line_by_line_and_kept() {
    let mut bench = Bench::greeted();
    let mut stdout = bench.stdout.as_ref().unwrap();
    stdout.write_all(b"one\ntw").unwrap();
    bench.reader.read_output(0, 0);
    assert_eq!(*bench.logged.lock().unwrap(), ["one"]);
    stdout.write_all(b"o\nthree").unwrap();
    bench.reader.read_output(0, 0);
    let mut stderr = bench.stderr.as_ref().unwrap();
    stderr.write_all(b"four\n").unwrap();
    bench.reader.read_output(0, 1);
    bench.end_outputs();
    assert_eq!(
        *bench.logged.lock().unwrap(),
        ["one", "two", "four", "three"]
    );
    assert!(
        bench.reader.connections[0]
            .outputs
            .iter()
            .all(Option::is_none)
    );
    assert_eq!(
        bench.reader.connections[0].tail.text(),
        "one\ntwo\nthreefour\n"
    );
}

#[test]
fn output_that_is_not_to_be_shown_is_kept_all_the_same() {
    let mut bench = Bench::greeted();
    bench.reader.show_output = false;
    bench.stdout.as_ref().unwrap().write_all(b"one\n").unwrap();
    bench.reader.read_output(0, 0);
    bench.end_outputs();
    assert!(bench.logged.lock().unwrap().is_empty());
    assert_eq!(bench.reader.connections[0].tail.text(), "one\n");
}

#[test]
fn the_last_of_much_output_is_what_is_handed_over() {
    let mut bench = Bench::greeted();
    bench.reader.show_output = false;
    let chunk = [b'x'; 4096];
    for _ in 0..FAR * (TAIL_BYTES / chunk.len()) as u64 {
        bench.stdout.as_ref().unwrap().write_all(&chunk).unwrap();
        bench.reader.read_output(0, 0);
    }
    bench.stdout.as_ref().unwrap().write_all(b"last\n").unwrap();
    bench.reader.read_output(0, 0);
    bench.end_outputs();
    bench.worker = None;
    bench.serve();
    bench.drain(GENERATION, DRAIN);
    bench.reader.end_drained();
    let ended = bench.inbox.try_iter().last().map(|input| *input);
    let Some(Input::OutputEnded { tail, dropped, .. }) = ended else {
        panic!("{ended:?}");
    };
    assert!(tail.ends_with("xlast\n") && tail.len() <= TAIL_BYTES);
    let all = FAR * TAIL_BYTES as u64 + 5;
    assert_eq!(dropped, all - TAIL_BYTES as u64);
}

// The end of a worker

#[test]
fn a_worker_that_is_not_dead_is_never_forgotten() {
    let mut bench = Bench::greeted();
    bench.end_outputs();
    bench.worker = None;
    bench.serve();
    bench.reader.end_drained();
    assert_eq!(bench.reader.connections.len(), 1);
    assert_eq!(bench.reader.next_deadline(), None);
    // Nor is it by the death of another.
    bench.drain(GENERATION + 1, Duration::ZERO);
    bench.reader.end_drained();
    assert_eq!(bench.reader.connections.len(), 1);
}

#[test]
fn what_a_dead_worker_had_written_is_read_after_its_death() {
    let mut bench = Bench::greeted();
    let mut stdout = bench.stdout.as_ref().unwrap();
    stdout.write_all(b"last words\n").unwrap();
    bench.drain(GENERATION, Duration::from_secs(20));
    bench.reader.end_drained();
    bench.end_outputs();
    assert_eq!(bench.reader.connections[0].tail.text(), "last words\n");
}

#[test]
fn a_dead_worker_with_nothing_open_is_over_before_its_time() {
    let mut bench = Bench::greeted();
    bench.drain(GENERATION, Duration::from_secs(20));
    bench.reader.end_drained();
    assert!(bench.told().is_empty(), "its channel is open");
    bench.worker = None;
    bench.serve();
    bench.reader.end_drained();
    let inputs: Vec<Input> = bench.inbox.try_iter().map(|input| *input).collect();
    assert!(matches!(inputs[..], [Input::ChannelClosed { .. }]));
    bench.end_outputs();
    bench.reader.end_drained();
    let inputs: Vec<Input> = bench.inbox.try_iter().map(|input| *input).collect();
    assert!(matches!(inputs[..], [Input::OutputEnded { .. }]));
    assert!(bench.reader.connections.is_empty());
    assert_eq!(bench.reader.next_deadline(), None);
}

#[test]
fn a_dead_worker_whose_ends_others_hold_is_over_in_its_time() {
    let mut bench = Bench::greeted();
    bench.drain(GENERATION, Duration::ZERO);
    bench.reader.end_drained();
    let inputs: Vec<Input> = bench.inbox.try_iter().map(|input| *input).collect();
    // The owner decides on the end of the channel, so that comes first.
    assert!(
        matches!(
            inputs[..],
            [
                Input::ChannelClosed {
                    generation: GENERATION
                },
                Input::OutputEnded {
                    generation: GENERATION,
                    ..
                }
            ]
        ),
        "{inputs:?}"
    );
    assert!(bench.reader.connections.is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn who_holds_the_channel_of_a_dead_worker_is_not_heard() {
    let mut bench = Bench::greeted();
    let mut heir = bench.worker.take().unwrap();
    heir.write_all(b"{\"ready\":{}}\n").unwrap();
    bench.drain(GENERATION, Duration::from_secs(20));
    let error = heir.write_all(b"{\"ready\":{}}\n").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    bench.serve();
    let inputs: Vec<Input> = bench.inbox.try_iter().map(|input| *input).collect();
    assert!(
        matches!(
            inputs[..],
            [
                Input::Said {
                    word: Word::Ready,
                    ..
                },
                Input::ChannelClosed { .. }
            ]
        ),
        "{inputs:?}"
    );
}

#[test]
fn of_two_deadlines_the_earlier_one_holds() {
    let mut bench = Bench::greeted();
    bench.drain(GENERATION, Duration::from_secs(20));
    let first = bench.reader.next_deadline().unwrap();
    bench.drain(GENERATION, Duration::from_secs(40));
    assert_eq!(bench.reader.next_deadline(), Some(first));
    bench.drain(GENERATION, Duration::from_secs(10));
    assert!(bench.reader.next_deadline().unwrap() < first);
}

// What is waited for

#[test]
fn only_what_is_open_is_polled() {
    let mut bench = Bench::greeted();
    let slots = |bench: &Bench| bench.reader.polls().1.len();
    assert_eq!(slots(&bench), 3);
    bench.end_outputs();
    assert_eq!(slots(&bench), 1);
    bench.worker = None;
    bench.serve();
    assert_eq!(slots(&bench), 0);
    // The waker is always there.
    assert_eq!(bench.reader.polls().0.len(), 1);
}

#[test]
fn messages_that_are_lost_all_the_time_are_told_ever_more_rarely_and_all_counted() {
    const LOST: u64 = 10_000;
    let mut bench = Bench::greeted();
    for _ in 0..LOST {
        bench.with_ear(|ear, heard| ear.lost(heard, 1));
    }
    bench.with_ear(|ear, heard| {
        ear.lost(heard, 0);
        ear.tell_lost(heard);
    });
    let counts: Vec<u64> = bench
        .told()
        .into_iter()
        .map(|word| match word {
            Word::Dropped { count } => count,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), LOST, "{counts:?}");
    // At 1, 2, 4, … 8192, and the rest.
    assert_eq!(counts.len(), 15, "{counts:?}");
}
