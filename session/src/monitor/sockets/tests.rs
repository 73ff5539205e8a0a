use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use super::*;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ME: u32 = 4711;

fn ports() -> BTreeMap<String, u16> {
    BTreeMap::from([("server".into(), 3000), ("metrics".into(), 3001)])
}

fn environment(pid: &str, fds: &str, names: Option<&str>) -> Environment {
    Environment {
        listen_pid: Some(pid.into()),
        listen_fds: Some(fds.into()),
        listen_fdnames: names.map(Into::into),
    }
}

fn tcp() -> (OwnedFd, u16) {
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener.into(), port)
}

fn accepts(port: u16) -> bool {
    TcpStream::connect((LOCALHOST, port)).is_ok()
}

fn inode(socket: impl AsFd) -> u64 {
    let file = File::from(socket.as_fd().try_clone_to_owned().unwrap());
    file.metadata().unwrap().ino()
}

/// Does this process have the socket open? Numbers of descriptors and ports may be those of
/// another test by now.
fn is_open(inode: u64) -> bool {
    let fds = fs::read_dir("/proc/self/fd").unwrap();
    fds.filter_map(|fd| fs::metadata(fd.ok()?.path()).ok())
        .any(|data| data.ino() == inode)
}

fn shut_down(listener: &TcpListener) {
    let stream = TcpStream::from(OwnedFd::from(listener.try_clone().unwrap()));
    stream.shutdown(Shutdown::Both).unwrap();
}

#[test]
fn passed_sockets_are_adopted_by_the_names_of_ports() {
    let (server, server_port) = tcp();
    let (metrics, metrics_port) = tcp();
    let (sockets, adopted, told) = Sockets::adopt(
        environment("4711", "2", Some("metrics:server")).take(ME, |count| {
            assert_eq!(count, 2);
            vec![Some(metrics), Some(server)]
        }),
        &ports(),
    );
    let adopted_as = |name: &str, port| Adopted {
        name: name.into(),
        port,
    };
    assert_eq!(
        adopted,
        [
            adopted_as("metrics", metrics_port),
            adopted_as("server", server_port)
        ]
    );
    assert!(told.is_empty(), "{told:?}");
    let address = sockets.local_addr("server").unwrap();
    assert_eq!(address, (LOCALHOST, server_port).into());
    assert!(sys::is_nonblocking(sockets.held["server"].listener.as_fd()).unwrap());
}

#[test]
fn a_single_socket_needs_no_name() {
    for names in [None, Some(""), Some("unknown"), Some("server")] {
        let (fd, port) = tcp();
        let environment = environment("4711", "1", names);
        let (_, adopted, told) = Sockets::adopt(environment.take(ME, |_| vec![Some(fd)]), &ports());
        assert_eq!(adopted.len(), 1, "{names:?} {told:?}");
        assert_eq!((&*adopted[0].name, adopted[0].port), ("server", port));
    }
}

#[test]
fn descriptors_that_are_not_meant_for_this_process_are_not_touched() {
    let no_pid = Environment {
        listen_pid: None,
        ..environment("", "1", None)
    };
    for (environment, why) in [
        (environment("4712", "1", None), "found `4712`"),
        (environment("", "1", None), "found ``"),
        (environment("4711x", "1", None), "found `4711x`"),
        (no_pid, "found nothing"),
        (environment("4711", "", None), "from 0 to 256, found ``"),
        (environment("4711", "-1", None), "found `-1`"),
        (environment("4711", "257", None), "found `257`"),
        (environment("4711", "99999999999999999999", None), "found"),
    ] {
        let untouched = |_| panic!("{environment:?}");
        let (sockets, adopted, told) = Sockets::adopt(environment.take(ME, untouched), &ports());
        assert!(sockets.held.is_empty() && adopted.is_empty());
        assert_eq!(told.len(), 1);
        assert!(told[0].contains(why), "{told:?}");
    }
}

#[test]
fn without_passed_sockets_there_is_nothing_to_tell() {
    let only_pid = Environment {
        listen_fds: None,
        ..environment("1", "", None)
    };
    let none = environment("4711", "0", None);
    for environment in [Environment::default(), only_pid, none] {
        let untouched = |_| panic!("{environment:?}");
        let (_, adopted, told) = Sockets::adopt(environment.take(ME, untouched), &ports());
        assert!(adopted.is_empty() && told.is_empty(), "{told:?}");
    }
}

#[test]
fn as_many_as_the_bound_are_taken() {
    let environment = environment("4711", "256", None);
    let (_, adopted, told) = Sockets::adopt(
        environment.take(ME, |count| (0..count).map(|_| None).collect()),
        &ports(),
    );
    assert!(adopted.is_empty());
    assert_eq!(told.len(), 256);
}

#[test]
fn what_is_no_listener_of_a_port_is_closed_and_told() {
    let path = std::env::temp_dir().join(format!("session-sockets-{}", std::process::id()));
    let unix = UnixListener::bind(&path).unwrap();
    let (foreign, _) = tcp();
    let (first, first_port) = tcp();
    let (second, _) = tcp();
    let bound = UdpSocket::bind((LOCALHOST, 0)).unwrap();
    let inodes = [inode(&foreign), inode(&unix), inode(&bound), inode(&second)];
    assert!(inodes.into_iter().all(is_open));
    let fds: Vec<Option<OwnedFd>> = vec![
        Some(foreign),
        Some(unix.into()),
        Some(bound.into()),
        Some(first),
        Some(second),
        None,
    ];
    let (sockets, adopted, told) = Sockets::adopt(
        environment(
            "4711",
            "7",
            Some("a\x1b.socket:server:server:server:server"),
        )
        .take(ME, |_| fds),
        &ports(),
    );
    assert_eq!(adopted.len(), 1);
    assert_eq!(sockets.local_addr("server").unwrap().port(), first_port);
    let expected = [
        "`a\\x1b.socket` is closed: expected the name of a port (metrics, server)",
        "`server` is closed: expected a TCP socket that listens",
        "`server` is closed: expected a TCP socket that listens",
        "`server` is closed: there was one of that name before",
        "`unknown` is closed: it was not open",
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.contains(expected), "{told}");
    }
    assert!(!inodes.into_iter().any(is_open));
    assert!(accepts(first_port));
    // It belongs to its manager: its name in the file system stays.
    fs::remove_file(path).unwrap();
}

#[test]
fn a_port_is_bound_at_the_first_ask_and_then_held() {
    let mut sockets = Sockets::default();
    assert!(!sockets.is_held("server"));
    assert_eq!(sockets.local_addr("server"), None);
    let listener = sockets.get("server", LOCALHOST, 0).unwrap();
    let (number, address) = (listener.as_raw_fd(), listener.local_addr().unwrap());
    assert!(sys::is_tcp_listener(listener.as_fd()));
    assert!(sys::is_nonblocking(listener.as_fd()).unwrap());
    // It waits in the queue.
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"hi").unwrap();
    let again = sockets.get("server", LOCALHOST, 0).unwrap();
    assert_eq!(again.as_raw_fd(), number);
    let mut served = again.accept().unwrap().0;
    let mut bytes = [0; 2];
    served.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hi");
    assert_eq!(sockets.local_addr("server"), Some(address));
    let other = sockets.get("metrics", LOCALHOST, 0).unwrap();
    assert_ne!(other.local_addr().unwrap(), address);
}

#[test]
fn more_connections_wait_than_std_has_room_for() {
    // The least that is more than std's own backlog of 128; old systems allow no more than that.
    let limit = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    if limit.trim().parse::<u32>().unwrap() < 200 {
        return;
    }
    let mut sockets = Sockets::default();
    let listener = sockets.get("server", LOCALHOST, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..200)
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap())
        .collect();
    assert_eq!(clients.len(), 200);
}

#[test]
fn hosts_of_version_six_are_bound() {
    let host: IpAddr = "::1".parse().unwrap();
    if TcpListener::bind((host, 0)).is_err() {
        return; // A machine without IPv6.
    }
    let mut sockets = Sockets::default();
    let listener = sockets.get("server", host, 0).unwrap();
    assert!(listener.local_addr().unwrap().is_ipv6());
}

#[test]
fn who_holds_a_port_is_told() {
    let (_fd, port) = tcp();
    let mut sockets = Sockets::default();
    let error = sockets.get("server", LOCALHOST, port).unwrap_err();
    assert_eq!(error.exit_code(), crate::error::exit_code::OS);
    let text = error.chain();
    let begin = format!("could not bind the port `server` at 127.0.0.1:{port}: ");
    assert!(text.starts_with(&begin), "{text}");
    assert!(text.contains("in use"), "{text}");
    let who = format!("port {port} is held by pid {} (", std::process::id());
    assert!(text.contains(&who) || !cfg!(target_os = "linux"), "{text}");
    assert!(!sockets.is_held("server"));
}

#[test]
fn an_address_of_another_machine_is_told() {
    let mut sockets = Sockets::default();
    // Reserved for documentation, so no machine has it.
    let host: IpAddr = "192.0.2.1".parse().unwrap();
    let text = sockets.get("server", host, 0).unwrap_err().chain();
    assert!(text.contains("no address 192.0.2.1; set `host`"), "{text}");
}

#[test]
fn what_is_not_permitted_has_its_own_exit_code() {
    let source = io::Error::from(ErrorKind::PermissionDenied);
    let address = SocketAddr::new(LOCALHOST, 80);
    let why = obstacle(&source, address);
    assert!(why.as_ref().unwrap().contains("port 80"));
    let error = Error::Bind {
        name: "server".into(),
        address,
        why,
        source,
    };
    assert_eq!(error.exit_code(), crate::error::exit_code::PERMISSION);
}

#[test]
fn a_port_is_bound_anew_before_the_old_one_is_dropped() {
    let mut sockets = Sockets::default();
    sockets.rebind("server", LOCALHOST, 0).unwrap();
    assert!(!sockets.is_held("server"));

    sockets.get("server", LOCALHOST, 0).unwrap();
    let old = sockets.local_addr("server").unwrap();
    sockets.rebind("server", LOCALHOST, old.port()).unwrap();
    assert_eq!(sockets.local_addr("server"), Some(old));

    let (_taken, taken) = tcp();
    let error = sockets.rebind("server", LOCALHOST, taken).unwrap_err();
    assert!(matches!(error, Error::Bind { .. }), "{error}");
    assert_eq!(sockets.local_addr("server"), Some(old));
    assert!(accepts(old.port()));
    let old_inode = inode(&sockets.held["server"].listener);

    sockets.rebind("server", LOCALHOST, 0).unwrap();
    let new = sockets.local_addr("server").unwrap();
    assert_ne!(new, old);
    assert!(accepts(new.port()) && !is_open(old_inode));
}

#[test]
fn a_listener_that_was_shut_down_or_made_blocking_is_repaired() {
    let (mut sockets, port) = with_fixed_port();
    let worker = sockets.held["server"].listener.try_clone().unwrap();
    assert!(sockets.repair().is_empty());

    shut_down(&worker);
    worker.set_nonblocking(false).unwrap();
    assert!(!accepts(port));
    let told = sockets.repair();
    assert_eq!(told.len(), 2, "{told:?}");
    let what = format!("the listener `server` at 127.0.0.1:{port} had been ");
    assert!(told.iter().all(|told| told.starts_with(&what)), "{told:?}");
    assert!(told[0].ends_with("shut down, and listens again"));
    assert!(told[1].ends_with("made blocking, and is non-blocking again"));
    assert!(accepts(port) && sys::is_nonblocking(worker.as_fd()).unwrap());
    assert!(sockets.repair().is_empty());
}

/// The system treats a port that was asked for by its number in another way.
fn with_fixed_port() -> (Sockets, u16) {
    let mut sockets = Sockets::default();
    loop {
        let (free, port) = tcp();
        drop(free);
        // Another test may have been faster.
        if sockets.get("server", LOCALHOST, port).is_ok() {
            return (sockets, port);
        }
    }
}

#[test]
fn a_listener_on_any_port_is_repaired_on_the_same_port() {
    let mut sockets = Sockets::default();
    let worker = sockets.get("server", LOCALHOST, 0).unwrap();
    let address = worker.local_addr().unwrap();
    shut_down(worker);
    let told = sockets.repair();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(sockets.local_addr("server"), Some(address));
    assert!(accepts(address.port()));
}

#[test]
fn a_listener_that_cannot_listen_any_more_is_bound_anew() {
    let mut sockets = Sockets::default();
    let address = {
        let listener = sockets.get("server", LOCALHOST, 0).unwrap();
        listener.local_addr().unwrap()
    };
    // A socket of another kind in its place: no call makes that listen.
    let other = OwnedFd::from(UdpSocket::bind((LOCALHOST, 0)).unwrap());
    sockets.held.get_mut("server").unwrap().listener = other.into();
    let told = sockets.repair();
    assert!(told[0].ends_with("and is bound anew"), "{told:?}");
    assert_eq!(sockets.local_addr("server"), Some(address));
    assert!(accepts(address.port()));
}

#[test]
fn what_cannot_be_repaired_is_told_and_tried_again() {
    let mut sockets = Sockets::default();
    let (taken, port) = tcp();
    let other = OwnedFd::from(UdpSocket::bind((LOCALHOST, 0)).unwrap());
    let held = Held {
        listener: other.into(),
        address: (LOCALHOST, port).into(),
    };
    sockets.held.insert("server".into(), held);
    let told = sockets.repair();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("cannot be repaired: could not bind"),
        "{told:?}"
    );
    drop(taken);
    let told = sockets.repair();
    assert!(told[0].ends_with("and is bound anew"), "{told:?}");
}

#[test]
fn a_private_listener_is_on_loopback_and_does_not_block() {
    let (listener, address) = private().unwrap();
    assert!(address.ip().is_loopback());
    assert!(sys::is_nonblocking(listener.as_fd()).unwrap());
    let (_, other) = private().unwrap();
    assert_ne!(address, other);
    assert!(TcpStream::connect(address).is_ok());
}
