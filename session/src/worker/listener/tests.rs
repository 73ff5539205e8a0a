use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::unix::net::UnixStream;

use serde_json::json;

use super::super::Worker;
use super::super::shared::Settings;
use super::super::wire::{Channel, Inbound};
use super::*;
use crate::ipc::codec::decode;
use crate::ipc::message::ToWorker;
use crate::ipc::peer::{Peer, Wire};
use crate::launch::PanicPolicy;
use crate::sys::Waker;

const SOON: Duration = Duration::from_secs(20);

fn shared(link: Option<Link>, ports: &[&str]) -> Arc<Shared> {
    let waker: &'static Waker = Box::leak(Box::new(Waker::new().unwrap()));
    let settings = Settings {
        ports: ports.iter().map(|&name| (name.into(), 0)).collect(),
        ..Settings::default()
    };
    Arc::new(Shared::new(settings, PanicPolicy::Any, link, waker))
}

fn socket() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn listener(with_private: bool) -> Listener {
    Listener::new(
        socket(),
        with_private.then(socket),
        shared(None, &["server"]),
    )
}

fn visit(listener: &TcpListener) -> TcpStream {
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

#[test]
fn visitors_of_both_sockets_are_handed_out_as_blocking_streams() {
    for with_private in [false, true] {
        let listener = listener(with_private);
        let sockets = [Some(&listener.public), listener.private.as_ref()];
        for socket in sockets.into_iter().flatten() {
            let mut visitor = visit(socket);
            let mut served = listener.incoming().next().unwrap().unwrap();
            assert_eq!(served.peer_addr().unwrap(), visitor.local_addr().unwrap());
            assert!(!sys::is_nonblocking(served.as_fd()).unwrap());
            served.write_all(b"hi").unwrap();
            drop(served);
            let mut answer = String::new();
            visitor.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "hi");
        }
    }
}

#[test]
fn a_probe_is_served_before_the_crowd() {
    let listener = listener(true);
    let crowd: Vec<_> = (0..8).map(|_| visit(&listener.public)).collect();
    let probe = visit(listener.private.as_ref().unwrap());
    let served = listener.incoming().next().unwrap().unwrap();
    assert_eq!(served.peer_addr().unwrap(), probe.local_addr().unwrap());
    drop(crowd);
}

#[test]
fn every_thread_that_waits_for_a_visitor_learns_of_the_stop() {
    let listener = Arc::new(listener(true));
    let (sender, ended) = crossbeam_channel::unbounded();
    for _ in 0..4 {
        let (listener, sender) = (Arc::clone(&listener), sender.clone());
        thread::spawn(move || {
            let visitors = listener.incoming().map(Result::unwrap).count();
            sender.send(visitors).unwrap();
        });
    }
    let visitors: Vec<_> = (0..10).map(|_| visit(&listener.public)).collect();
    for mut visitor in visitors {
        // Its stream is dropped as soon as it is counted.
        assert_eq!(visitor.read(&mut [0]).unwrap(), 0);
    }
    listener.shared.stopping.fire();
    let total: usize = (0..4).map(|_| ended.recv_timeout(SOON).unwrap()).sum();
    assert_eq!(total, 10);
    assert!(listener.incoming().next().is_none());
}

#[test]
fn a_stop_wins_over_a_crowd_and_leaves_it_to_the_next_worker() {
    let listener = listener(false);
    let crowd: Vec<_> = (0..50).map(|_| visit(&listener.public)).collect();
    let mut incoming = listener.incoming();
    for _ in 0..3 {
        assert!(incoming.next().unwrap().is_ok());
    }
    listener.shared.stopping.fire();
    for _ in 0..3 {
        assert!(incoming.next().is_none());
    }
    let next = listener.public.try_clone().unwrap();
    let waiting = std::iter::from_fn(|| next.accept().ok()).count();
    assert_eq!(waiting, crowd.len() - 3);
}

/// A lack of descriptors is tried in a process of its own, see `worker_side.rs`.
#[test]
fn a_lasting_error_is_told_once_and_is_no_end() {
    let listener = listener(false);
    let mut incoming = listener.incoming();
    for _ in 0..2 {
        let breaking = TcpStream::from(OwnedFd::from(listener.public.try_clone().unwrap()));
        breaking.shutdown(Shutdown::Both).unwrap();
        assert!(incoming.next().unwrap().is_err());
        let begun = Instant::now();
        let (mended, is_mended) = crossbeam_channel::bounded(1);
        thread::scope(|scope| {
            let public = &listener.public;
            scope.spawn(move || {
                thread::sleep(3 * ACCEPT_RETRY);
                sys::listen(public.as_fd(), 16).unwrap();
                mended.send(visit(public)).unwrap();
            });
            assert!(incoming.next().unwrap().is_ok());
        });
        assert!(begun.elapsed() >= 3 * ACCEPT_RETRY);
        drop(is_mended.recv().unwrap());
    }
}

#[test]
fn a_listener_in_trouble_rests_and_still_learns_of_the_stop() {
    let listener = listener(false);
    let breaking = TcpStream::from(OwnedFd::from(listener.public.try_clone().unwrap()));
    breaking.shutdown(Shutdown::Both).unwrap();
    let mut incoming = listener.incoming();
    assert!(incoming.next().unwrap().is_err());
    let begun = Instant::now();
    listener.rest();
    assert!(begun.elapsed() >= ACCEPT_RETRY);
    let used = processor_time();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(10 * ACCEPT_RETRY);
            listener.shared.stopping.fire();
        });
        assert!(incoming.next().is_none());
    });
    assert!(processor_time() - used < ACCEPT_RETRY);
    let begun = Instant::now();
    listener.rest();
    assert!(begun.elapsed() < ACCEPT_RETRY);
}

/// Of this thread, in ticks of 10 ms.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let times = fields.split(' ').skip(11).take(2);
    let ticks: u64 = times.map(|time| time.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

#[test]
fn an_async_server_gets_a_socket_that_does_not_block() {
    let listener = listener(true);
    let mut probe = visit(listener.private.as_ref().unwrap());
    let address = listener.local_addr().unwrap();
    let public = listener.into_std();
    assert_eq!(public.local_addr().unwrap(), address);
    assert!(sys::is_nonblocking(public.as_fd()).unwrap());
    // The private one is closed, and whoever waited there learns it.
    assert!(!matches!(probe.read(&mut [0]), Ok(1..)));
}

#[test]
fn without_a_monitor_the_worker_binds_its_port() {
    let worker = Worker {
        shared: shared(None, &["server"]),
    };
    let listener = worker.listener("server").unwrap();
    assert!(listener.private.is_none());
    assert!(!worker.shared.stopping.was_taken());
    let _visitor = visit(&listener.public);
    assert!(listener.incoming().next().unwrap().is_ok());
    assert!(worker.shared.stopping.was_taken());
    let error = worker.listener("metrics").unwrap_err();
    assert!(matches!(error, Error::UnknownPort { .. }), "{error}");
}

// Against a monitor

/// The monitor's end, and the lines that come in there.
struct Monitor {
    socket: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Monitor {
    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn answer(&self, id: &Value, outcome: &Value, fds: &[&dyn AsFd]) {
        let line = json!({ "reply": { "id": id, "outcome": outcome } });
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        sys::send_with_fds(self.socket.as_fd(), format!("{line}\n").as_bytes(), &fds).unwrap();
    }
}

/// A worker whose control loop does nothing but read replies, and its monitor.
fn supervised() -> (Worker, Monitor) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(SOON)).unwrap();
    let channel = Arc::new(Channel::new(ours));
    let wire: Arc<dyn Wire> = Arc::clone(&channel) as _;
    let peer = Peer::new(1, wire);
    let link = Link {
        channel: Arc::clone(&channel),
        peer: peer.clone(),
    };
    thread::spawn(move || {
        let mut inbound = Inbound::new();
        let obey = |line: std::result::Result<&[u8], _>| {
            if let Ok(ToWorker::Reply(reply)) = line.and_then(decode) {
                peer.complete(reply);
            }
        };
        while inbound.read(&channel, obey) {}
    });
    let monitor = Monitor {
        socket: theirs.try_clone().unwrap(),
        lines: BufReader::new(theirs),
    };
    let worker = Worker {
        shared: shared(Some(link), &["server", "metrics"]),
    };
    (worker, monitor)
}

/// What becomes of one question that is answered so.
fn asked(outcome: &Value, fds: &[&dyn AsFd]) -> (Result<Listener>, Worker, Monitor) {
    let (worker, mut monitor) = supervised();
    let listener = thread::scope(|scope| {
        let asking = scope.spawn(|| worker.listener("server"));
        let question = monitor.hear();
        assert_eq!(question["listen"]["name"], "server");
        monitor.answer(&question["listen"]["id"], outcome, fds);
        asking.join().unwrap()
    });
    (listener, worker, monitor)
}

#[test]
fn the_monitor_hands_over_one_socket_or_two() {
    let (public, private) = (socket(), socket());
    let one: &[&dyn AsFd] = &[&public];
    let two: &[&dyn AsFd] = &[&public, &private];
    for fds in [one, two] {
        let answer = json!({ "answer": { "fds": fds.len() } });
        // Whatever a worker before this one has left behind.
        public.set_nonblocking(false).unwrap();
        let (listener, ..) = asked(&answer, fds);
        let listener = listener.unwrap();
        let address = |socket: &TcpListener| socket.local_addr().unwrap();
        assert_eq!(address(&listener.public), address(&public));
        let expected = (fds.len() == 2).then(|| address(&private));
        assert_eq!(listener.private.as_ref().map(address), expected);
        assert!(sys::is_nonblocking(public.as_fd()).unwrap());
    }
}

#[test]
fn what_is_no_listener_is_refused() {
    let (public, pair) = (socket(), UnixStream::pair().unwrap().0);
    let answer = |count: u32| json!({ "answer": { "fds": count } });
    let cases: [(Value, &[&dyn AsFd], &str); 8] = [
        (
            json!({ "refused": "port 80 is held" }),
            &[],
            "port 80 is held",
        ),
        (
            answer(1),
            &[],
            "expected 1 sockets from the monitor for `server`, found 0",
        ),
        (
            answer(2),
            &[&public],
            "expected 2 sockets from the monitor for `server`, found 1",
        ),
        (
            answer(0),
            &[&public],
            "expected 1 or 2 sockets from the monitor, found 0",
        ),
        (answer(3), &[&public], "found 3"),
        (
            answer(1),
            &[&pair],
            "expected a TCP socket that listens for `server`",
        ),
        (
            answer(2),
            &[&public, &pair],
            "expected a TCP socket that listens for `server`",
        ),
        (json!({ "answer": 1 }), &[&public], "the arguments are not"),
    ];
    for (outcome, fds, expected) in cases {
        let (listener, ..) = asked(&outcome, fds);
        let error = listener.unwrap_err().to_string();
        assert!(error.contains(expected), "{outcome}: {error}");
    }
}

#[test]
fn sockets_that_nobody_asked_for_are_closed_and_confuse_nobody() {
    let (worker, mut monitor) = supervised();
    let (stray, public) = (socket(), socket());
    let expected = public.local_addr().unwrap();
    for _ in 0..3 {
        monitor.answer(&json!(999), &json!("no_reply"), &[&stray, &stray, &stray]);
        let listener = thread::scope(|scope| {
            let asking = scope.spawn(|| worker.listener("server"));
            let question = monitor.hear();
            // An answer that comes too late for a question before.
            monitor.answer(
                &json!(999),
                &json!({ "answer": { "fds": 2 } }),
                &[&stray, &stray],
            );
            let answer = json!({ "answer": { "fds": 1 } });
            monitor.answer(&question["listen"]["id"], &answer, &[&public]);
            asking.join().unwrap()
        });
        assert_eq!(listener.unwrap().local_addr().unwrap(), expected);
    }
}

#[test]
fn threads_that_ask_at_once_get_their_own_sockets() {
    const EACH: usize = 50;
    let (worker, mut monitor) = supervised();
    let sockets = BTreeMap::from([("server", socket()), ("metrics", socket())]);
    thread::scope(|scope| {
        for (name, socket) in &sockets {
            let (worker, expected) = (&worker, socket.local_addr().unwrap());
            scope.spawn(move || {
                for _ in 0..EACH {
                    let listener = worker.listener(name).unwrap();
                    assert_eq!(listener.local_addr().unwrap(), expected);
                }
            });
        }
        for _ in 0..2 * EACH {
            let question = monitor.hear();
            let name = question["listen"]["name"].as_str().unwrap();
            let answer = json!({ "answer": { "fds": 1 } });
            monitor.answer(&question["listen"]["id"], &answer, &[&sockets[name]]);
        }
    });
}

#[test]
fn that_it_serves_its_own_listener_is_told_once() {
    let (public, private) = (socket(), socket());
    let answer = json!({ "answer": { "fds": 2 } });
    let (listener, worker, mut monitor) = asked(&answer, &[&public, &private]);
    let listener = listener.unwrap();
    for _ in 0..3 {
        drop(listener.incoming());
    }
    worker.log("and nothing else").unwrap();
    assert_eq!(monitor.hear(), json!({ "serving": {} }));
    assert!(monitor.hear()["lifecycle"].is_object());

    let answer = json!({ "answer": { "fds": 1 } });
    let (listener, worker, mut monitor) = asked(&answer, &[&public]);
    drop(listener.unwrap().incoming());
    worker.log("nothing to tell").unwrap();
    assert!(monitor.hear()["lifecycle"].is_object());
}
