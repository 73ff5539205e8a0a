use std::net::TcpListener;
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::head::Malformed;
use super::*;

/// Far longer than any answer that does come takes, on however busy a machine.
const AMPLE: Duration = Duration::from_secs(20);

/// How late a probe may end on a busy machine; less than [`LAG`], beyond which it is no failure.
const SLACK: Duration = Duration::from_millis(900);

/// A server that serves one connection.
struct Server<T> {
    addr: SocketAddr,
    thread: JoinHandle<T>,
}

fn serve<T: Send + 'static>(work: impl FnOnce(TcpStream) -> T + Send + 'static) -> Server<T> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = listener.local_addr().expect("bound");
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(AMPLE)).expect("a timeout");
        stream.set_write_timeout(Some(AMPLE)).expect("a timeout");
        work(stream)
    });
    Server { addr, thread }
}

impl<T> Server<T> {
    fn probe(&self, timeout: Duration) -> Outcome {
        run(
            &target(self.addr.ip(), self.addr.port(), "/up"),
            timeout,
            None,
        )
    }

    fn join(self) -> T {
        self.thread.join().expect("a server that does not panic")
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        request.push(byte[0]);
    }
    String::from_utf8(request).expect("a request in ASCII")
}

/// Reads the request, sends the text and closes.
fn answering(text: impl Into<Vec<u8>>) -> Server<String> {
    let text = text.into();
    serve(move |mut stream| {
        let request = read_request(&mut stream);
        // The probe may have heard enough and gone.
        let _ = stream.write_all(&text);
        request
    })
}

fn verdict_on(text: impl Into<Vec<u8>>) -> Verdict {
    let server = answering(text);
    let verdict = server.probe(AMPLE).verdict;
    server.join();
    verdict
}

/// Waits until the other side has closed; the result tells how.
fn await_close(stream: &mut TcpStream) -> io::Result<usize> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)
}

fn unhealthy(failure: Failure) -> Verdict {
    Verdict::Unhealthy(failure)
}

fn timed_out(phase: Phase) -> Verdict {
    unhealthy(Failure::TimedOut(phase))
}

#[test]
fn targets_are_literal_addresses() {
    let cases = [
        ("127.0.0.1", "127.0.0.1:3000"),
        ("0.0.0.0", "127.0.0.1:3000"),
        ("192.0.2.7", "192.0.2.7:3000"),
        ("::", "[::1]:3000"),
        ("::1", "[::1]:3000"),
        ("::ffff:0.0.0.0", "127.0.0.1:3000"),
        ("2001:db8::7", "[2001:db8::7]:3000"),
    ];
    for (host, expected) in cases {
        let target = target(host.parse().expect("an address"), 3000, "/");
        assert_eq!(target.addr.to_string(), expected);
        assert!(
            target
                .request()
                .contains(&format!("\r\nHost: {expected}\r\n"))
        );
    }
}

#[test]
fn errors_of_the_monitor_are_no_verdict_on_the_server() {
    let cannot = Verdict::Inconclusive;
    let cases = [
        (libc::EMFILE, cannot(Obstacle::TooManyFiles)),
        (libc::ENFILE, cannot(Obstacle::TooManyFiles)),
        (libc::ENOBUFS, cannot(Obstacle::NoBuffers)),
        (libc::ENOMEM, cannot(Obstacle::NoBuffers)),
        (libc::EADDRNOTAVAIL, cannot(Obstacle::NoAddress)),
        (libc::ENETDOWN, cannot(Obstacle::NetworkDown)),
        (libc::ENETUNREACH, cannot(Obstacle::NetworkDown)),
        (libc::EACCES, cannot(Obstacle::Other(libc::EACCES))),
        (libc::EAGAIN, cannot(Obstacle::Other(libc::EAGAIN))),
        (
            libc::EHOSTUNREACH,
            cannot(Obstacle::Other(libc::EHOSTUNREACH)),
        ),
        (libc::ECONNREFUSED, unhealthy(Failure::Refused)),
        (libc::ECONNRESET, unhealthy(Failure::Reset)),
        (libc::ECONNABORTED, unhealthy(Failure::Reset)),
        (libc::EPIPE, unhealthy(Failure::Reset)),
        (libc::ETIMEDOUT, timed_out(Phase::Send)),
    ];
    for (errno, expected) in cases {
        let error = io::Error::from_raw_os_error(errno);
        assert_eq!(verdict_of(&error, Phase::Send), expected, "{error}");
    }
    let nameless = io::Error::from(ErrorKind::Other);
    assert_eq!(
        verdict_of(&nameless, Phase::Send),
        cannot(Obstacle::Other(0))
    );
}

#[test]
fn a_late_monitor_does_not_blame_the_server() {
    let lagged = Verdict::Inconclusive(Obstacle::Lagged);
    for failure in [
        Failure::TimedOut(Phase::Answer),
        Failure::Closed,
        Failure::Reset,
    ] {
        let verdict = unhealthy(failure);
        assert_eq!(excuse(verdict.clone(), Duration::ZERO), verdict);
        assert_eq!(excuse(verdict.clone(), LAG), verdict);
        assert_eq!(
            excuse(verdict.clone(), LAG + Duration::from_nanos(1)),
            lagged
        );
        assert_eq!(excuse(verdict, 3600 * LAG), lagged);
    }
    for verdict in [
        Verdict::Healthy,
        unhealthy(Failure::Refused),
        unhealthy(Failure::Status(500)),
    ] {
        assert_eq!(excuse(verdict.clone(), 3600 * LAG), verdict);
    }
}

#[test]
fn statuses_are_judged() {
    for (status, expected) in [
        (101, unhealthy(Failure::Status(101))),
        (199, unhealthy(Failure::Status(199))),
        (200, Verdict::Healthy),
        (299, Verdict::Healthy),
        (300, unhealthy(Failure::Redirect(300))),
        (399, unhealthy(Failure::Redirect(399))),
        (400, unhealthy(Failure::Status(400))),
        (599, unhealthy(Failure::Status(599))),
    ] {
        assert_eq!(judge(status), expected);
    }
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn the_request_is_whole_and_says_nothing_of_the_environment() {
    let server = answering("HTTP/1.1 200 OK\r\n\r\nhello");
    let addr = server.addr;
    let outcome = server.probe(AMPLE);
    assert_eq!(outcome.verdict, Verdict::Healthy);
    assert!(outcome.latency < AMPLE);
    let expected = format!(
        "GET /up HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: session\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    assert_eq!(server.join(), expected);
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn answers_are_judged_by_their_head() {
    let malformed = |malformed| unhealthy(Failure::Malformed(malformed));
    let cases = [
        ("HTTP/1.1 204 No Content\r\n\r\n", Verdict::Healthy),
        ("HTTP/1.0 200 OK\n\n", Verdict::Healthy),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\nx",
            Verdict::Healthy,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            Verdict::Healthy,
        ),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            Verdict::Healthy,
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
            unhealthy(Failure::Redirect(302)),
        ),
        ("HTTP/1.1 500 Oh\r\n\r\n", unhealthy(Failure::Status(500))),
        ("HTTP/1.1 200 OK\r\nContent-Le", unhealthy(Failure::Closed)),
        ("HTTP/1.1 100 Continue\r\n\r\n", unhealthy(Failure::Closed)),
        ("", unhealthy(Failure::Closed)),
        ("ready\r\n", malformed(Malformed::Version)),
        (
            "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
            malformed(Malformed::Nul),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            malformed(Malformed::ContentLength),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(verdict_on(text), expected, "{text:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn a_head_is_read_up_to_its_bound() {
    let head_of = |length: usize| {
        let (start, end) = ("HTTP/1.1 200 OK\r\nA: ", "\r\n\r\n");
        [start, &"a".repeat(length - start.len() - end.len()), end].concat()
    };
    assert_eq!(verdict_on(head_of(MAX_READ)), Verdict::Healthy);
    assert_eq!(
        verdict_on(head_of(MAX_READ + 1)),
        unhealthy(Failure::HeadTooLong)
    );
    assert_eq!(
        verdict_on(head_of(64 * MAX_READ)),
        unhealthy(Failure::HeadTooLong)
    );
    // A bare line feed at the length that has broken another client.
    let line = format!("HTTP/1.1 200 OK\r\nA: {}\n\r\n", "a".repeat(8187));
    assert_eq!(verdict_on(line), Verdict::Healthy);
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn nothing_is_refused_by_a_port_without_a_listener() {
    let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let addr = addr.expect("bound");
    let outcome = run(&target(addr.ip(), addr.port(), "/"), AMPLE, Some(1));
    assert_eq!(outcome.verdict, unhealthy(Failure::Refused));
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn a_silent_server_is_held_to_the_deadline() {
    let timeout = Duration::from_millis(200);
    let server = serve(|mut stream| await_close(&mut stream));
    let outcome = server.probe(timeout);
    assert_eq!(outcome.verdict, timed_out(Phase::Answer));
    assert!(
        outcome.latency >= timeout && outcome.latency < timeout + SLACK,
        "{outcome:?}"
    );
    let _ = server.join();
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn a_server_that_never_accepts_is_held_to_the_deadline() {
    let timeout = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = listener.local_addr().expect("bound");
    let target = target(addr.ip(), addr.port(), "/");
    assert_eq!(
        run(&target, timeout, None).verdict,
        timed_out(Phase::Answer)
    );

    // With the backlog full, the kernel no longer completes a connection.
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, timeout) {
        waiting.push(stream);
        assert!(waiting.len() < 5000, "the backlog has no end");
    }
    let outcome = run(&target, timeout, None);
    assert_eq!(outcome.verdict, timed_out(Phase::Connect));
    assert!(
        outcome.latency >= timeout && outcome.latency < timeout + SLACK,
        "{outcome:?}"
    );
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn the_deadline_is_for_all_bytes_together() {
    let timeout = Duration::from_millis(400);
    let server = serve(|mut stream| {
        let head = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'a'; 4096]].concat();
        for byte in head {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let outcome = server.probe(timeout);
    assert_eq!(outcome.verdict, timed_out(Phase::Answer));
    assert!(
        outcome.latency >= timeout && outcome.latency < timeout + SLACK,
        "{outcome:?}"
    );
    server.join();
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn a_timeout_may_be_nothing_or_anything() {
    let server = answering("HTTP/1.1 200 OK\r\n\r\n");
    let none = server.probe(Duration::ZERO);
    assert_eq!(none.verdict, timed_out(Phase::Connect));
    let least = server.probe(Duration::from_nanos(1));
    assert!(
        matches!(least.verdict, Verdict::Unhealthy(Failure::TimedOut(_))),
        "{least:?}"
    );
    // That one was taken before it had time to ask, or was not taken: a new server.
    drop(server);
    for timeout in [
        MAX_TIMEOUT,
        MAX_TIMEOUT + Duration::from_nanos(1),
        Duration::MAX,
    ] {
        let server = answering("HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(server.probe(timeout).verdict, Verdict::Healthy);
        server.join();
    }
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn a_flood_is_cut_off() {
    let cases = [
        ("HTTP/1.1 200 OK\r\n\r\n", "body", Verdict::Healthy),
        (
            "HTTP/1.1 200 OK\r\n",
            "A: b\r\n",
            unhealthy(Failure::HeadTooLong),
        ),
        (
            "HTTP/1.1 200 OK\r\nA: ",
            "aaaa",
            unhealthy(Failure::HeadTooLong),
        ),
        (
            "",
            "HTTP/1.1 100 Continue\r\n\r\n",
            unhealthy(Failure::Malformed(Malformed::EndlessInterim)),
        ),
    ];
    for (start, endless, expected) in cases {
        let server = serve(move |mut stream| {
            read_request(&mut stream);
            let flood = endless.repeat(1024);
            let mut result = stream.write_all(start.as_bytes());
            while result.is_ok() {
                result = stream.write_all(flood.as_bytes());
            }
        });
        assert_eq!(
            server.probe(AMPLE).verdict,
            expected,
            "{start:?} {endless:?}"
        );
        // The server ends only because the probe has hung up.
        server.join();
    }
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn a_hang_up_is_a_failure() {
    let server = serve(drop);
    let verdict = server.probe(AMPLE).verdict;
    let hung_up = [unhealthy(Failure::Closed), unhealthy(Failure::Reset)];
    assert!(hung_up.contains(&verdict), "{verdict:?}");
    server.join();

    // Closing over an unread request resets the connection.
    let server = serve(|stream| {
        stream.peek(&mut [0]).expect("a request");
    });
    assert_eq!(server.probe(AMPLE).verdict, unhealthy(Failure::Reset));
    server.join();
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "opens sockets")]
fn an_answer_given_before_the_request_was_read_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = listener.local_addr().expect("bound");
    let clock = Clock::start(AMPLE);
    let target = target(addr.ip(), addr.port(), "/");
    let mut stream = TcpStream::connect(addr).expect("a connection");
    let (mut server, _) = listener.accept().expect("a connection");
    // Unread bytes make the server's close a reset, and the probe's own write then fails.
    stream.write_all(b"x").expect("sent");
    server.peek(&mut [0]).expect("received");
    server
        .write_all(b"HTTP/1.1 503 Busy\r\n\r\n")
        .expect("sent");
    drop(server);
    let answer = ask(&mut stream, &target, &clock).map(|answer| answer.status);
    assert_eq!(answer, Ok(503));
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn a_body_is_drained_so_that_the_server_sees_no_reset() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\n",
    ] {
        let (sender, receiver) = mpsc::channel::<()>();
        let server = serve(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(head.as_bytes())?;
            receiver.recv().ok();
            stream.write_all(b"hello")?;
            stream.shutdown(std::net::Shutdown::Write)?;
            await_close(&mut stream)
        });
        let target = target(server.addr.ip(), server.addr.port(), "/");
        let mut clock = Clock::start(AMPLE);
        let mut stream = connect(&target, &mut clock, None).expect("a connection");
        let answer = ask(&mut stream, &target, &clock).map_err(|verdict| verdict.to_string());
        // The head is here before the body is sent, however slow the machine.
        sender.send(()).expect("a server that waits");
        drain(&mut stream, &answer.expect("an answer"), &clock);
        drop(stream);
        assert_eq!(
            server.join().map_err(|error| error.kind()),
            Ok(0),
            "{head:?}"
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn draining_is_short_and_no_part_of_the_latency() {
    // No length, and the connection stays open: only the bound ends the drain.
    let server = serve(|mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("sent");
        let _ = await_close(&mut stream);
    });
    let started = Instant::now();
    let outcome = server.probe(AMPLE);
    let elapsed = started.elapsed();
    assert_eq!(outcome.verdict, Verdict::Healthy);
    let drained = elapsed - outcome.latency;
    assert!(drained >= DRAIN && drained < DRAIN + SLACK, "{drained:?}");
    server.join();
}

#[test]
#[cfg_attr(miri, ignore = "opens sockets")]
fn an_answer_of_known_length_is_not_waited_behind() {
    for text in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello",
    ] {
        let (ended, end) = mpsc::channel::<()>();
        let server = serve(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(text.as_bytes()).expect("sent");
            end.recv().ok();
        });
        let mut clock = Clock::start(AMPLE);
        let target = target(server.addr.ip(), server.addr.port(), "/");
        let mut stream = connect(&target, &mut clock, None).expect("a connection");
        let answer = ask(&mut stream, &target, &clock).map_err(|verdict| verdict.to_string());
        assert_eq!(answer.expect("an answer").body_left, Some(0), "{text:?}");
        drop(ended);
        server.join();
    }
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "opens sockets")]
fn a_socket_that_met_itself_is_no_server() {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("a range");
    let (low, high) = range.trim().split_once('\t').expect("two ports");
    let (low, high): (u16, u16) = (low.parse().expect("a port"), high.parse().expect("a port"));
    // The kernel tries the ports of the parity of the range's start first, one after the other, so
    // as many probes as there are such ports have met the target's own.
    let free = (low..high)
        .step_by(2)
        .rev()
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    let target = target(Ipv4Addr::LOCALHOST.into(), free.expect("a free port"), "/");
    for _ in 0..u32::from(high - low) {
        assert_eq!(
            run(&target, AMPLE, None).verdict,
            unhealthy(Failure::Refused)
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "opens sockets")]
fn a_stranger_on_the_port_is_never_healthy() {
    use std::os::unix::process::CommandExt;

    let mut sleeper = std::process::Command::new("sleep")
        .arg("60")
        .process_group(0)
        .spawn()
        .expect("a process in a group of its own");
    for text in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 500 Oh\r\n\r\n"] {
        let server = answering(text);
        let addr = server.addr;
        let target = target(addr.ip(), addr.port(), "/");
        let Verdict::Stranger(holder) = run(&target, AMPLE, Some(sleeper.id())).verdict else {
            panic!("the sleeper does not listen");
        };
        assert_eq!(
            (holder.port, holder.pid),
            (addr.port(), Some(std::process::id()))
        );
        assert!(holder.name.is_some_and(|name| !name.is_empty()));
        server.join();
    }
    sleeper.kill().expect("killed");
    sleeper.wait().expect("reaped");

    let own_group = nix::unistd::getpgrp().as_raw().unsigned_abs();
    let server = answering("HTTP/1.1 200 OK\r\n\r\n");
    let target = target(server.addr.ip(), server.addr.port(), "/");
    assert_eq!(
        run(&target, AMPLE, Some(own_group)).verdict,
        Verdict::Healthy
    );
    server.join();
}

#[test]
fn the_search_for_the_owner_takes_nothing_from_the_deadline() {
    let mut clock = Clock::start(AMPLE);
    let (started, deadline) = (clock.started, clock.deadline);
    clock.leave_out(Duration::from_secs(2));
    assert_eq!(clock.started - started, Duration::from_secs(2));
    assert_eq!(clock.deadline - deadline, Duration::from_secs(2));
}
