//! One health probe: a bounded `GET`, asked and judged by the monitor.
//!
//! The server on the other side is not trusted. Whatever it sends or withholds, a probe ends by
//! its deadline, reads at most [`MAX_READ`] bytes and follows nothing. Nothing but the target
//! decides where it goes: no redirect, no proxy, no name to resolve, no environment.

mod head;
mod owner;
mod verdict;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use head::{Head, Progress};
use owner::Owner;

pub(crate) use owner::holder;
pub(crate) use verdict::{Failure, Holder, Obstacle, Phase, Verdict};

/// Bytes read of one answer, body included: a head is rarely over 1 KiB.
pub(crate) const MAX_READ: usize = 16 * 1024;

/// How long the body is listened to after the verdict, so that a small server that is still
/// writing it does not meet a reset.
const DRAIN: Duration = Duration::from_millis(100);

/// How long the monitor's own listener may take to be connected to: on one machine that needs no
/// more than a turn on the processor, and the kernel takes it.
const REACH: Duration = Duration::from_millis(500);

/// A monitor that wakes this late after its own deadline was suspended, or had no processor: it
/// cannot blame the server.
const LAG: Duration = Duration::from_secs(1);

/// The longest timeout that configuration allows, a day, so that a deadline can always be computed.
const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);

/// Where a probe goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    /// Starts with `/` and is visible ASCII: configuration has seen to it.
    pub(crate) route: String,
}

/// What a probe found, and how long the server took; the time spent in looking for the owner of
/// the port and in draining the body is the monitor's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) latency: Duration,
}

/// The target for a server that listens at `host`. A wildcard is asked at loopback.
pub(crate) fn target(host: IpAddr, port: u16, route: &str) -> Target {
    let ip = match host.to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Target {
        addr: SocketAddr::new(ip, port),
        route: route.to_owned(),
    }
}

/// Probes once. With a `group`, the listening socket must belong to a process of that process
/// group; without one, whoever answers is trusted.
pub(crate) fn run(target: &Target, timeout: Duration, group: Option<u32>) -> Outcome {
    let mut clock = Clock::start(timeout);
    let mut stream = match connect(target, &mut clock, group) {
        Ok(stream) => stream,
        Err(verdict) => return clock.outcome(or_network_down(verdict, target.addr.ip())),
    };
    match ask(&mut stream, target, &clock) {
        Ok(answer) => {
            let outcome = clock.outcome(judge(answer.status));
            drain(&mut stream, &answer, &clock);
            outcome
        }
        Err(verdict) => clock.outcome(or_network_down(verdict, target.addr.ip())),
    }
}

impl Target {
    fn request(&self) -> String {
        let Self { addr, route } = self;
        format!(
            "GET {route} HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: session\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n"
        )
    }
}

/// The one deadline of a probe: each step gets what the steps before it have left.
struct Clock {
    started: Instant,
    deadline: Instant,
}

impl Clock {
    fn start(timeout: Duration) -> Self {
        let started = Instant::now();
        Self {
            started,
            deadline: started + timeout.min(MAX_TIMEOUT),
        }
    }

    fn remaining(&self, phase: Phase) -> Result<Duration, Verdict> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(Verdict::Unhealthy(Failure::TimedOut(phase)))
        } else {
            Ok(left)
        }
    }

    /// Leaves out time that the server had no part in.
    fn leave_out(&mut self, spent: Duration) {
        self.started += spent;
        self.deadline += spent;
    }

    fn outcome(&self, verdict: Verdict) -> Outcome {
        let now = Instant::now();
        let late = now.saturating_duration_since(self.deadline);
        let latency = now.saturating_duration_since(self.started);
        Outcome {
            verdict: excuse(verdict, late),
            latency,
        }
    }
}

/// Withdraws a failure that a late monitor may have caused itself: a server that hangs up on a
/// client that had gone silent has done nothing wrong. All other findings are true at any time.
fn excuse(verdict: Verdict, late: Duration) -> Verdict {
    match verdict {
        Verdict::Unhealthy(Failure::TimedOut(_) | Failure::Closed | Failure::Reset)
            if late > LAG =>
        {
            Verdict::Inconclusive(Obstacle::Lagged)
        }
        verdict => verdict,
    }
}

/// An interface that is down refuses nothing, it only drops what it is given. Then the monitor
/// cannot reach itself there either, and it cannot blame the server.
fn or_network_down(verdict: Verdict, ip: IpAddr) -> Verdict {
    match verdict {
        Verdict::Unhealthy(Failure::TimedOut(_)) if !reaches_itself(ip) => {
            Verdict::Inconclusive(Obstacle::NetworkDown)
        }
        verdict => verdict,
    }
}

/// Where this cannot be tried, nothing is known against the network.
fn reaches_itself(ip: IpAddr) -> bool {
    let Ok(own) = TcpListener::bind((ip, 0)) else {
        return true;
    };
    let reached = own
        .local_addr()
        .and_then(|addr| TcpStream::connect_timeout(&addr, REACH));
    !matches!(reached, Err(error) if error.kind() == ErrorKind::TimedOut)
}

fn connect(target: &Target, clock: &mut Clock, group: Option<u32>) -> Result<TcpStream, Verdict> {
    let left = clock.remaining(Phase::Connect)?;
    let stream = TcpStream::connect_timeout(&target.addr, left)
        .map_err(|error| verdict_of(&error, Phase::Connect))?;
    // With nobody listening on a port of the ephemeral range, the kernel may pick that very port
    // for our own end, and TCP then connects the socket to itself.
    if stream.local_addr().is_ok_and(|own| own == target.addr) {
        return Err(Verdict::Unhealthy(Failure::Refused));
    }
    if let Some(group) = group {
        let searched = Instant::now();
        let stranger = find_stranger(target.addr, group);
        clock.leave_out(searched.elapsed());
        if let Some(verdict) = stranger {
            return Err(verdict);
        }
    }
    Ok(stream)
}

/// The verdict, if the listener is not the group's, or if the monitor is too short of descriptors
/// or memory to look. A system without a readable `/proc` cannot say, and the answer counts.
fn find_stranger(addr: SocketAddr, group: u32) -> Option<Verdict> {
    match owner::of(addr, group) {
        Ok(Owner::Group | Owner::Unknown) => None,
        Ok(Owner::Other { pid, name }) => Some(Verdict::Stranger(Holder {
            port: addr.port(),
            pid,
            name,
        })),
        Err(error) => match obstacle_of(&error) {
            obstacle @ (Obstacle::TooManyFiles | Obstacle::NoBuffers) => {
                Some(Verdict::Inconclusive(obstacle))
            }
            _ => None,
        },
    }
}

/// A whole head.
struct Answer {
    status: u16,
    /// Bytes of the body that are still to come; without a length it ends with the connection.
    body_left: Option<u64>,
    /// Bytes that may still be read.
    room: usize,
}

fn ask(stream: &mut TcpStream, target: &Target, clock: &Clock) -> Result<Answer, Verdict> {
    match send(stream, target.request().as_bytes(), clock) {
        // A server may turn a client away before it has read anything; what it said is then still
        // in the receive buffer.
        Ok(()) | Err(Verdict::Unhealthy(Failure::Reset)) => receive(stream, clock),
        Err(verdict) => Err(verdict),
    }
}

fn send(stream: &mut TcpStream, request: &[u8], clock: &Clock) -> Result<(), Verdict> {
    let mut rest = request;
    while !rest.is_empty() {
        let left = clock.remaining(Phase::Send)?;
        match stream
            .set_write_timeout(Some(left))
            .and_then(|()| stream.write(rest))
        {
            Ok(0) => return Err(Verdict::Unhealthy(Failure::Closed)),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(verdict_of(&error, Phase::Send)),
        }
    }
    Ok(())
}

fn receive(stream: &mut TcpStream, clock: &Clock) -> Result<Answer, Verdict> {
    let mut head = Head::new();
    let mut buffer = [0; 2048];
    let mut room = MAX_READ;
    while room > 0 {
        let left = clock.remaining(Phase::Answer)?;
        let read = match read_some(stream, &mut buffer, room, left) {
            Ok(0) => return Err(Verdict::Unhealthy(Failure::Closed)),
            Ok(read) => read,
            Err(error) if is_transient(&error) => continue,
            Err(error) => return Err(verdict_of(&error, Phase::Answer)),
        };
        room -= read;
        match head.push(buffer.get(..read).unwrap_or_default()) {
            Progress::Partial => {}
            Progress::Bad(malformed) => {
                return Err(Verdict::Unhealthy(Failure::Malformed(malformed)));
            }
            Progress::Complete {
                status,
                head_len,
                content_length,
            } => {
                let body_read = MAX_READ - room - head_len;
                let length = if has_no_body(status) {
                    Some(0)
                } else {
                    content_length
                };
                let body_left = length.map(|length| length.saturating_sub(body_read as u64));
                return Ok(Answer {
                    status,
                    body_left,
                    room,
                });
            }
        }
    }
    Err(Verdict::Unhealthy(Failure::HeadTooLong))
}

/// Reads on until the body ends or a bound is met. The verdict is given; nothing here changes it.
fn drain(stream: &mut TcpStream, answer: &Answer, clock: &Clock) {
    let deadline = clock.deadline.min(Instant::now() + DRAIN);
    let mut buffer = [0; 2048];
    // The body is part of the 16 KiB, so the smaller of the two is what is left to read.
    let mut room = match answer.body_left.map(usize::try_from) {
        Some(Ok(body)) => body.min(answer.room),
        Some(Err(_)) | None => answer.room,
    };
    while room > 0 {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        match read_some(stream, &mut buffer, room, left) {
            Ok(0) => return,
            Ok(read) => room -= read,
            Err(error) if is_transient(&error) => {}
            Err(_) => return,
        }
    }
}

fn read_some(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    room: usize,
    left: Duration,
) -> io::Result<usize> {
    stream.set_read_timeout(Some(left))?;
    let window = buffer.len().min(room);
    stream.read(buffer.get_mut(..window).unwrap_or_default())
}

fn judge(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Healthy,
        300..=399 => Verdict::Unhealthy(Failure::Redirect(status)),
        _ => Verdict::Unhealthy(Failure::Status(status)),
    }
}

/// Answers that end with their head, whatever length they claim.
fn has_no_body(status: u16) -> bool {
    matches!(status, 101 | 204 | 304)
}

/// Errors after which the same call is made again, as long as the deadline allows.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

fn verdict_of(error: &io::Error, phase: Phase) -> Verdict {
    match error.kind() {
        ErrorKind::ConnectionRefused => Verdict::Unhealthy(Failure::Refused),
        ErrorKind::TimedOut => Verdict::Unhealthy(Failure::TimedOut(phase)),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Verdict::Unhealthy(Failure::Reset)
        }
        _ => Verdict::Inconclusive(obstacle_of(error)),
    }
}

fn obstacle_of(error: &io::Error) -> Obstacle {
    match error.raw_os_error().unwrap_or_default() {
        libc::EMFILE | libc::ENFILE => Obstacle::TooManyFiles,
        libc::ENOBUFS | libc::ENOMEM => Obstacle::NoBuffers,
        libc::EADDRNOTAVAIL => Obstacle::NoAddress,
        libc::ENETDOWN | libc::ENETUNREACH => Obstacle::NetworkDown,
        errno => Obstacle::Other(errno),
    }
}

#[cfg(test)]
mod tests;
