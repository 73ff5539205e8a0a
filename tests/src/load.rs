//! A small client under load: so many new connections a second, come what may.
//!
//! Open loop: a request is sent when its time has come, whether or not the one before was
//! answered. A request has failed if it is anything but a full 200 with the expected body within
//! [`PATIENCE`]. Every failure is kept with its kind; nothing is retried.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// From before the connection to the last byte of the answer.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// More than wait at once at any rate used here, while no worker is there for a moment.
const CLIENTS: usize = 128;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Nobody listens.
    Refused,
    /// The connection was reset before it stood.
    ConnectReset,
    /// Reset or closed after it stood: it was accepted by a worker that died, or was in the queue
    /// of a listener that was closed.
    Cut,
    /// Not answered in time.
    Late,
    /// An answer, but not the expected one.
    Wrong,
    /// The client itself could not ask.
    Own,
}

/// What came of all requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many were sent.
    pub sent: u64,
    /// How many were answered in full.
    pub answered: u64,
    /// How many were not, by kind.
    pub failures: BTreeMap<Failure, u64>,
    /// How often each generation answered.
    pub generations: BTreeMap<u64, u64>,
    /// The longest time to an answer.
    pub slowest: Duration,
}

impl Tally {
    /// Of this kind.
    #[must_use]
    pub fn failed(&self, kind: Failure) -> u64 {
        self.failures.get(&kind).copied().unwrap_or(0)
    }

    /// Of all kinds.
    #[must_use]
    pub fn failed_in_all(&self) -> u64 {
        self.failures.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sent, {} answered by {} generations (slowest {:.1} ms), {} failed {:?}",
            self.sent,
            self.answered,
            self.generations.len(),
            self.slowest.as_secs_f64() * 1e3,
            self.failed_in_all(),
            self.failures
        )
    }
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clock: JoinHandle<u64>,
    clients: Vec<JoinHandle<()>>,
    tally: Arc<Mutex<Tally>>,
}

impl Load {
    /// So many `GET /` a second to this port of loopback.
    ///
    /// # Panics
    /// If a thread cannot be started.
    #[must_use]
    pub fn start(port: u16, per_second: u32) -> Load {
        let (due, ticks) = sync_channel::<()>(CLIENTS * 8);
        let ticks = Arc::new(Mutex::new(ticks));
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let clients = (0..CLIENTS)
            .map(|_| {
                let (ticks, tally) = (Arc::clone(&ticks), Arc::clone(&tally));
                thread::spawn(move || run_client(port, &ticks, &tally))
            })
            .collect();
        let stopped = Arc::clone(&stop);
        let clock = thread::spawn(move || {
            let pause = Duration::from_secs(1) / per_second;
            let mut at = Instant::now();
            let mut sent = 0;
            while !stopped.load(Ordering::SeqCst) && due.send(()).is_ok() {
                sent += 1;
                at += pause;
                thread::sleep(at.saturating_duration_since(Instant::now()));
            }
            sent
        });
        Load {
            stop,
            clock,
            clients,
            tally,
        }
    }

    /// Waits until this generation has answered ten times: it carries the load.
    ///
    /// # Panics
    /// If it does not within 30 s.
    #[track_caller]
    pub fn expect_answers_of(&self, generation: u64) {
        const ENOUGH: u64 = 10;
        let deadline = Instant::now() + crate::running::PATIENCE;
        loop {
            let tally = self.tally.lock().unwrap();
            let answers = tally.generations.get(&generation).copied().unwrap_or(0);
            assert!(
                Instant::now() < deadline,
                "generation {generation} does not answer: {tally}"
            );
            drop(tally);
            if answers >= ENOUGH {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for what is under way; all that came of it.
    ///
    /// # Panics
    /// If a client panicked.
    #[must_use]
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::SeqCst);
        let sent = self.clock.join().unwrap();
        for client in self.clients {
            client.join().unwrap();
        }
        let mut tally = self.tally.lock().unwrap().clone();
        tally.sent = sent;
        assert_eq!(tally.answered + tally.failed_in_all(), sent, "{tally}");
        tally
    }
}

fn run_client(port: u16, ticks: &Mutex<Receiver<()>>, tally: &Mutex<Tally>) {
    loop {
        if ticks.lock().unwrap().recv().is_err() {
            return;
        }
        let started = Instant::now();
        let outcome = get(port, started + PATIENCE);
        let mut tally = tally.lock().unwrap();
        match outcome {
            Ok(generation) => {
                tally.answered += 1;
                *tally.generations.entry(generation).or_default() += 1;
                tally.slowest = tally.slowest.max(started.elapsed());
            }
            Err(failure) => *tally.failures.entry(failure).or_default() += 1,
        }
    }
}

/// One request; the generation that answered it.
///
/// # Errors
/// What made it fail.
pub fn get(port: u16, deadline: Instant) -> Result<u64, Failure> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream =
        TcpStream::connect_timeout(&addr, left(deadline)?).map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Failure::ConnectReset,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Failure::Late,
            _ => Failure::Own,
        })?;
    let request = b"GET / HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n";
    stream.write_all(request).map_err(|error| cut(&error))?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        stream
            .set_read_timeout(Some(left(deadline)?))
            .map_err(|_| Failure::Own)?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) => return Err(cut(&error)),
        }
    }
    if answer.is_empty() {
        return Err(Failure::Cut);
    }
    generation(&answer).ok_or(Failure::Wrong)
}

fn left(deadline: Instant) -> Result<Duration, Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Failure::Late);
    }
    Ok(left)
}

fn cut(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Late,
        _ => Failure::Cut,
    }
}

/// Of a full 200 of `hello`'s, whose length is what its head says.
fn generation(answer: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let (_, length) = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    if !head.starts_with("HTTP/1.1 200 ") || length.parse() != Ok(body.len()) {
        return None;
    }
    let (_, generation) = body
        .strip_prefix("hello from pid ")?
        .strip_suffix('\n')?
        .split_once(", generation ")?;
    generation.parse().ok()
}
