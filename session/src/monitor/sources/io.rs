//! The one thread that reads what the workers say and write, of all generations.
//!
//! It never stops reading: a worker that floods is capped and counted, not waited for, and its
//! output is kept or dropped, never left to block it.

use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::ear::{Ear, Heard};
use super::signals::Signals;
use crate::error::{Error, Result};
use crate::ipc::codec::LineBuffer;
use crate::ipc::dispatch::Dispatcher;
use crate::ipc::listeners::Listeners;
use crate::ipc::peer::Peer;
use crate::log::{Log, Stream};
use crate::machine::Generation;
use crate::monitor::input::Input;
use crate::monitor::outbox::Outbox;
use crate::output::{Lines, Tail};
use crate::sys::{self, Interest, Poll, Waker};
use crate::thread;

/// One read: what a pipe holds at most, and most of what a socket does.
const CHUNK: usize = 64 * 1024;
/// A worker that says much is read this often before the others have their turn; each read more
/// saves a poll.
const READS_AT_ONCE: usize = 8;
/// How long the output of a dead worker is read on: a process that it left behind may hold the
/// pipe for ever.
pub(in crate::monitor) const DRAIN: Duration = Duration::from_millis(500);

/// How long a poll that the system refused is given, so that a lasting refusal costs no processor.
const POLL_RETRY: Duration = Duration::from_millis(100);

/// What the thread is given to do.
#[derive(Debug)]
enum Job {
    Add(Box<Connection>),
    /// The worker is dead; its output has this long to end.
    Drain {
        generation: Generation,
        within: Duration,
    },
}

/// The handle that the owner holds.
#[derive(Debug)]
pub(in crate::monitor) struct Io {
    jobs: Arc<Mutex<Vec<Job>>>,
    pub(in crate::monitor) waker: &'static Waker,
}

/// All that is read of one worker.
#[derive(Debug)]
pub(in crate::monitor) struct Connection {
    generation: Generation,
    peer: Peer,
    channel: Option<Channel>,
    outputs: [Option<Output>; 2],
    tail: Tail,
    drain_until: Option<Instant>,
}

#[derive(Debug)]
struct Channel {
    socket: Arc<UnixStream>,
    outbox: Arc<Outbox>,
    lines: LineBuffer,
    heard: Heard,
}

#[derive(Debug)]
struct Output {
    pipe: OwnedFd,
    stream: Stream,
    lines: Lines,
}

impl Connection {
    pub(in crate::monitor) fn new(
        peer: Peer,
        socket: Arc<UnixStream>,
        outbox: Arc<Outbox>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> Connection {
        let output = |pipe, stream| {
            Some(Output {
                pipe,
                stream,
                lines: Lines::default(),
            })
        };
        Connection {
            generation: peer.generation,
            peer,
            channel: Some(Channel {
                socket,
                outbox,
                lines: LineBuffer::default(),
                heard: Heard::default(),
            }),
            outputs: [
                output(stdout, Stream::Stdout),
                output(stderr, Stream::Stderr),
            ],
            tail: Tail::default(),
            drain_until: None,
        }
    }
}

impl Io {
    pub(in crate::monitor) fn start(
        inbox: Sender<Box<Input>>,
        log: Log,
        listeners: Arc<Listeners>,
        dispatcher: Arc<OnceLock<Dispatcher>>,
        show_output: bool,
        signals: Signals,
    ) -> Result<Io> {
        let waker = signals.waker;
        let jobs: Arc<Mutex<Vec<Job>>> = Arc::default();
        let mut reader = Reader {
            jobs: Arc::clone(&jobs),
            waker,
            inbox,
            log,
            listeners,
            dispatcher,
            show_output,
            connections: Vec::new(),
            scratch: vec![0; CHUNK],
        };
        thread::start("session-io", move || reader.run(signals))
            .map_err(Error::os("start the thread that reads from workers"))?;
        Ok(Io { jobs, waker })
    }

    pub(in crate::monitor) fn add(&self, connection: Connection) {
        self.push(Job::Add(Box::new(connection)));
    }

    pub(in crate::monitor) fn drain(&self, generation: Generation, within: Duration) {
        self.push(Job::Drain { generation, within });
    }

    fn push(&self, job: Job) {
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(job);
        self.waker.wake();
    }
}

struct Reader {
    jobs: Arc<Mutex<Vec<Job>>>,
    waker: &'static Waker,
    inbox: Sender<Box<Input>>,
    log: Log,
    listeners: Arc<Listeners>,
    dispatcher: Arc<OnceLock<Dispatcher>>,
    show_output: bool,
    connections: Vec<Connection>,
    scratch: Vec<u8>,
}

/// Which descriptor of which connection a poll is about.
#[derive(Clone, Copy)]
enum Slot {
    Channel(usize),
    Output(usize, usize),
}

impl Reader {
    fn run(&mut self, signals: Signals) {
        loop {
            let (mut polls, slots) = self.polls();
            if sys::poll(&mut polls, self.next_deadline()).is_err() {
                // A lack of memory in the kernel, or a limit lowered under our feet: it may pass.
                std::thread::sleep(POLL_RETRY);
                continue;
            }
            if polls[0].readable() {
                self.waker.clear();
                self.take_jobs();
                for input in signals.take() {
                    let _ = self.inbox.send(Box::new(input));
                }
            }
            for (poll, slot) in polls[1..].iter().zip(slots) {
                match slot {
                    Slot::Channel(index) => self.serve_channel(index, poll),
                    Slot::Output(index, which) if poll.readable() => {
                        self.read_output(index, which);
                    }
                    Slot::Output(..) => {}
                }
            }
            self.end_drained();
        }
    }

    fn polls(&self) -> (Vec<Poll>, Vec<Slot>) {
        let mut polls = vec![Poll::new(self.waker.fd(), Interest::Read)];
        let mut slots = Vec::new();
        for (index, connection) in self.connections.iter().enumerate() {
            if let Some(channel) = &connection.channel {
                let waiting = channel.outbox.is_waiting();
                let interest = if waiting {
                    Interest::ReadWrite
                } else {
                    Interest::Read
                };
                polls.push(Poll::new(channel.socket.as_fd(), interest));
                slots.push(Slot::Channel(index));
            }
            for (which, output) in connection.outputs.iter().enumerate() {
                if let Some(output) = output {
                    polls.push(Poll::new(output.pipe.as_fd(), Interest::Read));
                    slots.push(Slot::Output(index, which));
                }
            }
        }
        (polls, slots)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.connections
            .iter()
            .filter_map(|connection| connection.drain_until)
            .min()
    }

    fn take_jobs(&mut self) {
        let jobs = std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner));
        for job in jobs {
            match job {
                Job::Add(connection) => self.connections.push(*connection),
                Job::Drain { generation, within } => {
                    let until = Instant::now() + within;
                    for connection in &mut self.connections {
                        if connection.generation == generation {
                            let earlier = connection.drain_until.map_or(until, |at| at.min(until));
                            connection.drain_until = Some(earlier);
                            connection.hear_out();
                        }
                    }
                }
            }
        }
    }

    fn serve_channel(&mut self, index: usize, poll: &Poll) {
        let Reader {
            connections,
            inbox,
            listeners,
            dispatcher,
            log,
            scratch,
            ..
        } = self;
        let connection = &mut connections[index];
        let Some(channel) = &mut connection.channel else {
            return;
        };
        if poll.writable() {
            channel.outbox.flush();
        }
        if !poll.readable() {
            return;
        }
        let ear = Ear {
            inbox,
            listeners,
            dispatcher,
            log,
            peer: &connection.peer,
        };
        let Channel {
            socket,
            lines,
            heard,
            ..
        } = channel;
        let mut socket: &UnixStream = socket;
        let mut read = Ok(0);
        for _ in 0..READS_AT_ONCE {
            // A plain `read`: descriptors that a worker attached to its bytes are dropped unseen.
            read = lines.read_from(&mut socket, scratch, |line| ear.hear(heard, line));
            if !matches!(read, Ok(1..)) {
                break;
            }
        }
        if let Some(dispatcher) = dispatcher.get() {
            ear.lost(heard, dispatcher.take_dropped());
        }
        match read {
            Ok(1..) => {}
            Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => {}
            Ok(_) | Err(_) => {
                if let Some(bad) = lines.finish() {
                    ear.bad(heard, &bad);
                }
                ear.tell_lost(heard);
                connection.close_channel();
                let generation = connection.generation;
                let _ = inbox.send(Box::new(Input::ChannelClosed { generation }));
            }
        }
    }

    fn read_output(&mut self, index: usize, which: usize) {
        let Reader {
            connections,
            log,
            scratch,
            show_output,
            ..
        } = self;
        let connection = &mut connections[index];
        let Some(output) = &mut connection.outputs[which] else {
            return;
        };
        let stream = output.stream;
        match sys::read(output.pipe.as_fd(), scratch) {
            Ok(count) if count > 0 => {
                connection.tail.push(&scratch[..count]);
                if *show_output {
                    output
                        .lines
                        .push(&scratch[..count], |line| log.output(stream, line));
                }
            }
            Ok(_) | Err(_) => {
                if *show_output {
                    output.lines.finish(|line| log.output(stream, line));
                }
                connection.outputs[which] = None;
            }
        }
    }

    /// Hands over the tail of each worker that is dead and has no more to write.
    fn end_drained(&mut self) {
        if self.next_deadline().is_none() {
            return;
        }
        let now = Instant::now();
        let inbox = &self.inbox;
        self.connections.retain_mut(|connection| {
            let Some(until) = connection.drain_until else {
                return true;
            };
            let silent = connection.outputs.iter().all(Option::is_none);
            if (!silent || connection.channel.is_some()) && now < until {
                return true;
            }
            let generation = connection.generation;
            if connection.channel.is_some() {
                connection.close_channel();
                let _ = inbox.send(Box::new(Input::ChannelClosed { generation }));
            }
            let (tail, dropped) = (connection.tail.text(), connection.tail.dropped());
            let _ = inbox.send(Box::new(Input::OutputEnded {
                generation,
                tail,
                dropped,
            }));
            false
        });
    }
}

impl Connection {
    /// The worker is dead: what it had said is read to its end, and nobody who holds its end of
    /// the channel can say more in its name. (Other systems would forget what was said as well;
    /// there the end of the drain has to do.)
    fn hear_out(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(channel) = &self.channel {
            // It fails where nobody holds the other end, and then there is nothing to cut off.
            let _ = channel.socket.shutdown(std::net::Shutdown::Read);
        }
    }

    fn close_channel(&mut self) {
        if let Some(channel) = self.channel.take() {
            channel.outbox.close();
        }
        self.peer.close();
    }
}

#[cfg(all(test, not(miri)))]
mod tests;
