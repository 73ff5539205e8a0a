//! The worker's end of the channel.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::ipc::codec::{BadLine, LineBuffer, decode};
use crate::ipc::message::{PROTOCOL, ToWorker, Welcome};
use crate::ipc::peer::Wire;
use crate::slot::Slot;
use crate::sys::{self, Interest, Poll};
use crate::{text, thread};

/// How long the monitor's first line may take. It is written before the worker is spawned.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a line may take to be written. The monitor never stops reading, so it is stopped or
/// wedged.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// What is read at once: many lines of the usual size.
const SCRATCH: usize = 16 * 1024;

/// Descriptors that are kept until somebody takes them: one asker at a time waits for two at most,
/// and as many may have come too late for the one before.
const MAX_RECEIVED: usize = 4;

/// The socket, and the turn to write to it.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    /// Holds the one turn while nobody writes. Unlike with a mutex, waiting for it can be given up.
    turn: Slot<Turn>,
    write_timeout: Duration,
    /// What came attached to the monitor's lines, the newest last.
    received: Mutex<VecDeque<OwnedFd>>,
}

/// What the last writer left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The last byte was a newline.
    Whole,
    /// Nothing can be written any more: the other end is gone, or half a line was left there.
    Broken,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Channel {
        Channel::with_timeout(stream, WRITE_TIMEOUT)
    }

    fn with_timeout(stream: UnixStream, write_timeout: Duration) -> Channel {
        Channel {
            stream,
            turn: Slot::full(Turn::Whole),
            write_timeout,
            received: Mutex::default(),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Closes all descriptors that came in and that nobody has taken.
    pub(super) fn close_received(&self) {
        self.received().clear();
    }

    /// The newest descriptors that came in, at most `count`, in their order; older ones are closed.
    pub(super) fn take_received(&self, count: usize) -> Vec<OwnedFd> {
        let mut received = self.received();
        let older = received.len().saturating_sub(count);
        received.drain(..).skip(older).collect()
    }

    fn keep(&self, fds: Vec<OwnedFd>) {
        if fds.is_empty() {
            return;
        }
        let mut received = self.received();
        received.extend(fds);
        let too_many = received.len().saturating_sub(MAX_RECEIVED);
        received.drain(..too_many);
    }

    fn received(&self) -> MutexGuard<'_, VecDeque<OwnedFd>> {
        // Nothing can panic while the lock is held, so the queue is whole in any case.
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one line, unless others have the turn for longer than `patience`.
    pub(super) fn write_within(&self, line: &[u8], patience: Duration) -> Result<()> {
        let Some(turn) = self.turn.take(patience) else {
            return Err(Error::Timeout(patience));
        };
        let (turn, outcome) = match turn {
            Turn::Whole => self.write_whole(line),
            Turn::Broken => (Turn::Broken, Err(Error::PeerDied)),
        };
        self.turn.put(turn);
        outcome
    }

    /// One `write` for the line, and more only if the socket takes it in parts.
    fn write_whole(&self, line: &[u8]) -> (Turn, Result<()>) {
        let mut rest = line;
        // Looked up only where the socket is full: the clock costs more than a line should.
        let mut deadline = None;
        while !rest.is_empty() {
            match sys::write_nonblocking(self.fd(), rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let now = Instant::now();
                    let deadline = *deadline.get_or_insert(now + self.write_timeout);
                    if now >= deadline {
                        // A line that was not begun does no harm: a monitor that was stopped may
                        // go on.
                        let untouched = rest.len() == line.len();
                        let turn = if untouched { Turn::Whole } else { Turn::Broken };
                        return (turn, Err(Error::Timeout(self.write_timeout)));
                    }
                    let mut wait = [Poll::new(self.fd(), Interest::Write)];
                    if let Err(source) = sys::poll(&mut wait, Some(deadline)) {
                        let doing = "wait for the monitor to read";
                        return (Turn::Broken, Err(Error::Os { doing, source }));
                    }
                }
                Err(_) => return (Turn::Broken, Err(Error::PeerDied)),
            }
        }
        (Turn::Whole, Ok(()))
    }
}

impl Wire for Channel {
    fn write_line(&self, line: Vec<u8>) -> Result<()> {
        self.write_within(&line, self.write_timeout)
    }
}

/// One line of the monitor's, as far as it could be understood.
pub(super) type Line = Result<ToWorker, BadLine>;

/// What comes in. Only one thread reads.
#[derive(Debug)]
pub(super) struct Inbound {
    lines: LineBuffer,
    scratch: Vec<u8>,
}

impl Inbound {
    pub(super) fn new() -> Inbound {
        Inbound {
            lines: LineBuffer::default(),
            scratch: vec![0; SCRATCH],
        }
    }

    /// One `read`, and the lines it completes; descriptors that came with a line are there before
    /// it is handed out. `false`: the monitor is gone.
    pub(super) fn read(
        &mut self,
        channel: &Channel,
        each: impl FnMut(Result<&[u8], BadLine>),
    ) -> bool {
        let mut fds = Vec::new();
        match sys::receive_with_fds(channel.fd(), &mut self.scratch, &mut fds) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                channel.keep(fds);
                self.lines.feed(&self.scratch[..count], each);
                true
            }
        }
    }

    /// After the end: was a line cut off?
    pub(super) fn finish(&mut self) -> Option<BadLine> {
        self.lines.finish()
    }

    /// The monitor's first line, and those that came with it.
    pub(super) fn welcome(
        &mut self,
        channel: &Channel,
        timeout: Duration,
    ) -> Result<(Welcome, Vec<Line>)> {
        let deadline = Instant::now() + timeout;
        let mut first = None;
        let mut later = Vec::new();
        while first.is_none() {
            let mut wait = [Poll::new(channel.fd(), Interest::Read)];
            sys::poll(&mut wait, Some(deadline)).map_err(Error::os("wait for the monitor"))?;
            if !wait[0].readable() {
                return Err(Error::Role(format!(
                    "expected the monitor's welcome within {} s, found nothing: is it stopped?",
                    text::seconds(timeout)
                )));
            }
            let open = self.read(channel, |line| match first {
                None => first = Some(line.and_then(welcome_in)),
                Some(_) => later.push(line.and_then(decode)),
            });
            if !open {
                return Err(Error::PeerDied);
            }
        }
        match first {
            Some(Ok(welcome)) => Ok((check_protocol(welcome)?, later)),
            Some(Err(bad)) => Err(Error::Role(format!(
                "the monitor's welcome could not be read: {bad}"
            ))),
            None => Err(Error::PeerDied),
        }
    }
}

/// A first line that means to be a welcome.
enum First {
    Welcome(Box<Welcome>),
    /// Of another protocol; whatever else is in it may mean anything.
    Foreign(u64),
}

fn welcome_in(line: &[u8]) -> Result<First, BadLine> {
    let foreign = || {
        let any: Value = decode(line).ok()?;
        // The one thing that every protocol has in the same place.
        let protocol = any["welcome"]["protocol"].as_u64();
        protocol.filter(|protocol| *protocol != u64::from(PROTOCOL))
    };
    match decode(line) {
        Ok(ToWorker::Welcome(welcome)) if welcome.protocol == PROTOCOL => {
            Ok(First::Welcome(Box::new(welcome)))
        }
        Ok(ToWorker::Welcome(welcome)) => Ok(First::Foreign(welcome.protocol.into())),
        Ok(_) => Err(BadLine::NotAVerb("expected a welcome first".into())),
        Err(bad) => foreign().map(First::Foreign).ok_or(bad),
    }
}

fn check_protocol(first: First) -> Result<Welcome> {
    match first {
        First::Welcome(welcome) => Ok(*welcome),
        First::Foreign(protocol) => Err(Error::Role(format!(
            "this build speaks protocol {PROTOCOL}, the monitor {protocol}: restart the monitor to \
             move to this build"
        ))),
    }
}

/// Puts an empty sink over standard output and standard error, whose reader is gone: a `println!`
/// must not panic while the program drains.
pub(super) fn discard_output() {
    let onto_both = |sink: BorrowedFd<'_>| {
        // If this fails, prints fail too; there is nobody left to tell.
        let _ = sys::replace_fd(sink, 1);
        let _ = sys::replace_fd(sink, 2);
    };
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        return onto_both(null.as_fd());
    }
    // No `/dev`: a pipe that a thread keeps empty.
    let Ok((mut reader, writer)) = io::pipe() else {
        return;
    };
    let drain = thread::start("session-sink", move || {
        let _ = io::copy(&mut reader, &mut io::sink());
    });
    if drain.is_ok() {
        onto_both(writer.as_fd());
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::fs::MetadataExt;
    use std::thread;

    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    fn pair() -> (Channel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        (Channel::with_timeout(ours, SHORT), theirs)
    }

    fn welcome_text(protocol: u32) -> String {
        format!(
            r#"{{"welcome":{{"protocol":{protocol},"generation":3,"host":"127.0.0.1","ports":{{"server":3000}},"grace_ms":10,"kill_with_monitor":false,"app":null}}}}"#
        )
    }

    fn shake(text: &str) -> Result<(Welcome, Vec<Line>)> {
        let (channel, theirs) = pair();
        io::Write::write_all(&mut &theirs, text.as_bytes()).unwrap();
        Inbound::new().welcome(&channel, SHORT)
    }

    /// Writes lines until the socket takes no more: the last one in part, if lines are long.
    fn fill(channel: &Channel, line: &[u8]) -> usize {
        (0..)
            .find(|_| channel.write_within(line, SHORT).is_err())
            .unwrap()
    }

    #[test]
    fn a_line_is_one_write() {
        let (channel, mut theirs) = pair();
        channel.write_line(b"one\n".to_vec()).unwrap();
        channel.write_line(b"two\n".to_vec()).unwrap();
        let mut bytes = [0; 64];
        let count = theirs.read(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"one\ntwo\n");
    }

    #[test]
    fn writers_never_mix_their_lines() {
        const EACH: usize = 40;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let channel = Channel::new(ours);
        thread::scope(|scope| {
            for (letter, length) in [('a', 10), ('b', 30_000), ('c', 600_000)] {
                let channel = &channel;
                let line = letter.to_string().repeat(length) + "\n";
                scope.spawn(move || {
                    for _ in 0..EACH {
                        channel.write_line(line.clone().into_bytes()).unwrap();
                    }
                });
            }
            let lines = BufReader::new(&theirs).lines().take(3 * EACH);
            for line in lines {
                let line = line.unwrap();
                let first = line.chars().next().unwrap();
                let expected = [('a', 10), ('b', 30_000), ('c', 600_000)]
                    .iter()
                    .find_map(|(letter, length)| (*letter == first).then_some(*length));
                assert_eq!(Some(line.len()), expected);
                assert!(line.chars().all(|other| other == first));
            }
        });
    }

    #[test]
    fn half_a_line_breaks_the_channel_for_good() {
        let (channel, theirs) = pair();
        let long = vec![b'x'; 1024 * 1024];
        let error = channel.write_line(long).unwrap_err();
        assert!(matches!(error, Error::Timeout(SHORT)), "{error}");
        // Room again: what came now would be taken for the rest of that line.
        theirs.set_nonblocking(true).unwrap();
        let mut drained = [0; 64 * 1024];
        while matches!((&theirs).read(&mut drained), Ok(count) if count > 0) {}
        let error = channel.write_line(b"later\n".to_vec()).unwrap_err();
        assert!(matches!(error, Error::PeerDied), "{error}");
    }

    #[test]
    fn a_line_that_was_not_begun_breaks_nothing() {
        let (channel, theirs) = pair();
        let line = [b"y".repeat(99), b"\n".to_vec()].concat();
        let written = fill(&channel, &line);
        let mut lines = BufReader::new(&theirs).lines();
        for _ in 0..written {
            assert_eq!(lines.next().unwrap().unwrap().len(), 99);
        }
        channel.write_line(b"later\n".to_vec()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "later");
    }

    #[test]
    fn the_turn_is_waited_for_only_so_long() {
        let (channel, _theirs) = pair();
        let turn = channel.turn.take(SHORT).unwrap();
        let error = channel.write_within(b"late\n", SHORT).unwrap_err();
        assert!(matches!(error, Error::Timeout(SHORT)), "{error}");
        channel.turn.put(turn);
        channel.write_within(b"now\n", SHORT).unwrap();
    }

    #[test]
    fn a_monitor_that_is_gone_is_an_error_and_no_signal() {
        let (channel, theirs) = pair();
        drop(theirs);
        for _ in 0..2 {
            let error = channel.write_line(b"hello\n".to_vec()).unwrap_err();
            assert!(matches!(error, Error::PeerDied), "{error}");
        }
    }

    #[test]
    fn the_welcome_comes_first_and_the_rest_is_kept() {
        let text = format!(
            "{}\n{{\"exit\":{{\"reason\":\"restart\"}}}}\nnonsense\n{{\"par",
            welcome_text(1)
        );
        let (welcome, later) = shake(&text).unwrap();
        assert_eq!(welcome.generation, 3);
        assert!(matches!(later[0], Ok(ToWorker::Exit { .. })));
        assert!(later[1].is_err());
        assert_eq!(later.len(), 2);
    }

    #[test]
    fn a_first_line_that_is_no_welcome_of_this_protocol_is_refused() {
        for (text, expected) in [
            (
                welcome_text(2) + "\n",
                "protocol 1, the monitor 2: restart the monitor",
            ),
            (
                "{\"welcome\":{\"protocol\":4294967296,\"new\":[]}}\n".into(),
                "the monitor 4294967296",
            ),
            (
                "{\"welcome\":{\"protocol\":1,\"new\":[]}}\n".into(),
                "could not be read",
            ),
            (
                "{\"exit\":{\"reason\":\"restart\"}}\n".into(),
                "expected a welcome first",
            ),
            ("\n".into(), "could not be read"),
            ("\0\u{1b}\n".into(), "could not be read"),
            (welcome_text(1), "found nothing"),
            (String::new(), "found nothing"),
        ] {
            let error = shake(&text).expect_err(&text);
            assert_eq!(error.exit_code(), 64, "{text}");
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    fn receive(channel: &Channel, theirs: &UnixStream, marks: &[&OwnedFd]) {
        let fds: Vec<_> = marks.iter().map(|mark| mark.as_fd()).collect();
        sys::send_with_fds(theirs.as_fd(), b"line\n", &fds).unwrap();
        let mut inbound = Inbound::new();
        let mut lines = 0;
        assert!(inbound.read(channel, |_| lines += 1));
        assert_eq!(lines, 1);
    }

    fn inodes<'a>(fds: impl IntoIterator<Item = &'a OwnedFd>) -> Vec<u64> {
        fds.into_iter()
            .map(|fd| std::fs::File::from(fd.try_clone().unwrap()))
            .map(|file| file.metadata().unwrap().ino())
            .collect()
    }

    #[test]
    fn descriptors_are_kept_for_whoever_asked_and_never_piled_up() {
        let (channel, theirs) = pair();
        let marks: Vec<OwnedFd> = (0..7)
            .map(|_| UnixStream::pair().unwrap().0.into())
            .collect();
        assert!(channel.take_received(2).is_empty());
        receive(&channel, &theirs, &[]);
        receive(&channel, &theirs, &[&marks[0]]);
        assert_eq!(inodes(&channel.take_received(2)), inodes(&marks[..1]));

        // What came too late for another asker is older than what came for this one.
        receive(&channel, &theirs, &[&marks[0]]);
        receive(&channel, &theirs, &[&marks[1], &marks[2]]);
        assert_eq!(inodes(&channel.take_received(2)), inodes(&marks[1..3]));
        assert!(channel.take_received(2).is_empty());

        for mark in &marks {
            receive(&channel, &theirs, &[mark]);
            assert!(channel.received().len() <= MAX_RECEIVED);
        }
        assert_eq!(
            inodes(&*channel.received()),
            inodes(&marks[7 - MAX_RECEIVED..])
        );
        channel.close_received();
        assert!(channel.take_received(MAX_RECEIVED).is_empty());
    }

    #[test]
    fn a_monitor_that_is_gone_before_its_welcome_is_told() {
        let (channel, theirs) = pair();
        drop(theirs);
        let error = Inbound::new().welcome(&channel, SHORT).unwrap_err();
        assert!(matches!(error, Error::PeerDied), "{error}");
    }
}
