//! The listening sockets that the monitor holds.
//!
//! Each port that a worker asks for is bound once and kept for the session, so that connections
//! wait in its queue while no worker is there to accept them. A service manager may have bound it
//! before.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Error, Result};
use crate::text::escape;
use crate::{probe, sys};

/// Connections that may wait while no worker accepts: some seconds of a busy server. The system
/// cuts it to its own limit, which is 4096 on a usual Linux.
pub(super) const BACKLOG: i32 = 4096;

/// Connections that may wait at a generation's own listener: only the monitor knows its address,
/// and it probes one at a time.
const PRIVATE_BACKLOG: i32 = 16;

/// The most sockets that a service manager is believed to pass: more is a number gone wrong.
pub(super) const MAX_PASSED: usize = 256;

/// The port that a socket without a name is taken for.
const DEFAULT_NAME: &str = "server";

/// The name of a descriptor that was given none.
const UNKNOWN: &str = "unknown";

/// Held sockets by the name of their port.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    held: BTreeMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    listener: TcpListener,
    /// Kept, because a socket that somebody else has shut down may not tell it any more.
    address: SocketAddr,
}

/// A socket that a service manager had bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Adopted {
    pub(super) name: String,
    pub(super) port: u16,
}

/// The descriptors that were passed, by name, where they are open; or why none was taken.
pub(super) type Passed = Result<Vec<(String, Option<OwnedFd>)>, String>;

/// What a service manager says in the environment about the descriptors that it passes.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    pub(super) listen_pid: Option<OsString>,
    pub(super) listen_fds: Option<OsString>,
    pub(super) listen_fdnames: Option<OsString>,
}

impl Environment {
    pub(super) fn of_process() -> Environment {
        Environment {
            listen_pid: std::env::var_os("LISTEN_PID"),
            listen_fds: std::env::var_os("LISTEN_FDS"),
            listen_fdnames: std::env::var_os("LISTEN_FDNAMES"),
        }
    }

    /// Three lines, for the fuzz target.
    #[cfg(fuzzing)]
    pub(super) fn of_bytes(data: &[u8]) -> Environment {
        use std::os::unix::ffi::OsStringExt;
        let mut lines = data.split(|byte| *byte == b'\n');
        let mut next = || lines.next().map(|line| OsString::from_vec(line.to_vec()));
        Environment {
            listen_pid: next(),
            listen_fds: next(),
            listen_fdnames: next(),
        }
    }

    /// How many descriptors are meant for the process `me`; or why those that there may be are
    /// none of its business.
    fn count(&self, me: u32) -> Result<usize, String> {
        let Some(fds) = &self.listen_fds else {
            return Ok(0);
        };
        let left_alone = |why: String| format!("{why}: no passed socket is taken");
        let pid = self.listen_pid.as_ref().map(|pid| pid.to_string_lossy());
        if pid.as_deref().and_then(decimal) != Some(me) {
            let found = pid.map_or("nothing".into(), |pid| format!("`{}`", escape(&pid)));
            return Err(left_alone(format!(
                "expected LISTEN_PID to be this process, {me}, found {found}"
            )));
        }
        let fds = fds.to_string_lossy();
        let count = decimal(&fds).filter(|count| *count <= MAX_PASSED);
        count.ok_or_else(|| {
            left_alone(format!(
                "expected LISTEN_FDS from 0 to {MAX_PASSED}, found `{}`",
                escape(&fds)
            ))
        })
    }

    /// Takes the descriptors, by `take`, which is called only if they are meant for the process
    /// `me`. It must be this process's first act: later a number may have become somebody else's.
    pub(super) fn take(&self, me: u32, take: impl FnOnce(usize) -> Vec<Option<OwnedFd>>) -> Passed {
        match self.count(me)? {
            0 => Ok(Vec::new()),
            count => Ok(self.names(count).into_iter().zip(take(count)).collect()),
        }
    }

    /// The name of each descriptor.
    fn names(&self, count: usize) -> Vec<String> {
        let names = self.listen_fdnames.clone().unwrap_or_default();
        let names = names.to_string_lossy();
        let mut names: Vec<String> = names.split(':').map(str::to_owned).collect();
        names.resize(count, UNKNOWN.to_owned());
        match names.as_mut_slice() {
            [only] if only.is_empty() || only == UNKNOWN => DEFAULT_NAME.clone_into(only),
            _ => {}
        }
        names
    }
}

/// A number without a sign, which `parse` alone would take.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

impl Sockets {
    /// Adopts the sockets of a service manager that are named as ports are, and closes the others.
    /// The last of the answer is what the operator should know.
    pub(super) fn adopt(
        passed: Passed,
        ports: &BTreeMap<String, u16>,
    ) -> (Sockets, Vec<Adopted>, Vec<String>) {
        let mut sockets = Sockets::default();
        let (mut adopted, mut told) = (Vec::new(), Vec::new());
        match passed {
            Ok(passed) => {
                for (name, fd) in passed {
                    match sockets.adopt_one(&name, fd, ports) {
                        Ok(port) => adopted.push(Adopted { name, port }),
                        Err(why) => told.push(format!(
                            "the passed socket `{}` is closed: {why}",
                            escape(&name)
                        )),
                    }
                }
            }
            Err(why) => told.push(why),
        }
        (sockets, adopted, told)
    }

    fn adopt_one(
        &mut self,
        name: &str,
        fd: Option<OwnedFd>,
        ports: &BTreeMap<String, u16>,
    ) -> Result<u16, String> {
        let fd = fd.ok_or("it was not open")?;
        if !ports.contains_key(name) {
            let known: Vec<_> = ports.keys().map(String::as_str).collect();
            return Err(format!(
                "expected the name of a port ({}); a systemd unit gives it by `FileDescriptorName=`",
                known.join(", ")
            ));
        }
        if self.is_held(name) {
            return Err("there was one of that name before".to_owned());
        }
        if !sys::is_tcp_listener(fd.as_fd()) {
            return Err("expected a TCP socket that listens".to_owned());
        }
        let held = Held::new(TcpListener::from(fd)).map_err(|error| error.to_string())?;
        let port = held.address.port();
        self.held.insert(name.to_owned(), held);
        Ok(port)
    }

    /// The socket of that name; bound at the first ask.
    pub(super) fn get(&mut self, name: &str, host: IpAddr, port: u16) -> Result<&TcpListener> {
        let held = match self.held.entry(name.to_owned()) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(place) => place.insert(Held::bind(name, host, port)?),
        };
        Ok(&held.listener)
    }

    /// The port has another number now: the new socket is bound before the old one is dropped, so
    /// a failure changes nothing. Where none is held under that name, there is nothing to do.
    pub(super) fn rebind(&mut self, name: &str, host: IpAddr, port: u16) -> Result<()> {
        let Some(held) = self.held.get_mut(name) else {
            return Ok(());
        };
        if held.address != SocketAddr::new(host, port) {
            *held = Held::bind(name, host, port)?;
        }
        Ok(())
    }

    /// To be called after each death: whoever shares a socket can shut it down or make it block
    /// for all. Tells what was repaired.
    pub(super) fn repair(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for (name, held) in &mut self.held {
            let what = format!("the listener `{}` at {}", escape(name), held.address);
            match held.repair(name) {
                Ok(repairs) => {
                    told.extend(repairs.into_iter().map(|repair| format!("{what} {repair}")));
                }
                Err(error) => told.push(format!(
                    "{what} was shut down, and cannot be repaired: {}",
                    error.chain()
                )),
            }
        }
        told
    }

    pub(super) fn local_addr(&self, name: &str) -> Option<SocketAddr> {
        self.held.get(name).map(|held| held.address)
    }

    pub(super) fn is_held(&self, name: &str) -> bool {
        self.held.contains_key(name)
    }
}

impl Held {
    fn bind(name: &str, host: IpAddr, port: u16) -> Result<Held> {
        Held::new(bind(name, host, port)?).map_err(Error::os("read the address of a socket"))
    }

    fn new(listener: TcpListener) -> io::Result<Held> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Held { listener, address })
    }

    /// What was done, in words that follow its name.
    fn repair(&mut self, name: &str) -> Result<Vec<&'static str>> {
        let mut repairs = Vec::new();
        // A socket that does not answer is bound anew as well.
        if !sys::is_listening(self.listener.as_fd()).unwrap_or(false) {
            if self.listens_again() {
                repairs.push("had been shut down, and listens again");
            } else {
                *self = Held::bind(name, self.address.ip(), self.address.port())?;
                repairs.push("had been shut down, and is bound anew");
            }
        }
        if !sys::is_nonblocking(self.listener.as_fd()).unwrap_or(false) {
            self.listener
                .set_nonblocking(true)
                .map_err(Error::os("make a listener non-blocking"))?;
            repairs.push("had been made blocking, and is non-blocking again");
        }
        Ok(repairs)
    }

    /// A socket that was bound to any port, as a service manager may do it, listens on another one
    /// after it was shut down.
    fn listens_again(&self) -> bool {
        sys::listen(self.listener.as_fd(), BACKLOG).is_ok()
            && self
                .listener
                .local_addr()
                .is_ok_and(|now| now == self.address)
    }
}

/// A socket that listens for the port of that name, and does not block.
pub(crate) fn bind(name: &str, host: IpAddr, port: u16) -> Result<TcpListener> {
    let address = SocketAddr::new(host, port);
    listening(address, BACKLOG).map_err(|source| Error::Bind {
        name: name.to_owned(),
        address,
        why: obstacle(&source, address),
        source,
    })
}

/// A generation's own listener, on loopback.
pub(super) fn private() -> Result<(TcpListener, SocketAddr)> {
    let at = |ip: IpAddr| listening(SocketAddr::new(ip, 0), PRIVATE_BACKLOG);
    // There are machines with IPv6 alone.
    let bound = at(Ipv4Addr::LOCALHOST.into())
        .or_else(|first| at(Ipv6Addr::LOCALHOST.into()).map_err(|_| first));
    bound
        .and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        })
        .map_err(Error::os("bind a listener on loopback"))
}

/// std sets SO_REUSEADDR, so that connections of the past are not in the way, and close-on-exec.
fn listening(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    sys::listen(listener.as_fd(), backlog)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What keeps an address from being bound, and what to do about it.
fn obstacle(error: &io::Error, address: SocketAddr) -> Option<String> {
    match error.kind() {
        ErrorKind::AddrInUse => probe::holder(address)
            .map(|holder| format!("{holder}; end that process, or take another port")),
        ErrorKind::AddrNotAvailable => Some(format!(
            "this machine has no address {}; set `host`",
            address.ip()
        )),
        ErrorKind::PermissionDenied => Some(format!(
            "the user of this process may not listen on port {}; take one from 1024 on, have a \
             service manager pass the socket, or give the program the capability \
             CAP_NET_BIND_SERVICE",
            address.port()
        )),
        _ => None,
    }
}

#[cfg(all(test, not(miri)))]
mod tests;
