//! Who holds a listening port, read from `/proc`.
//!
//! The texts are parsed by pure functions; only [`Search`] touches files. It takes the root as a
//! path, so that tests can lay out a process table of their own.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::verdict::Holder;
use crate::process_table::{self, Condition, Stat, is_gone};

/// Bytes read of each socket table. The kernel lists the listeners first, about 150 bytes each, so
/// this sees thousands of them and is not slowed down by a server with many connections.
const MAX_TABLE: u64 = 1024 * 1024;

/// Processes looked at in one pass: some 10 µs each, so a pass stays far below a second.
const MAX_PROCESSES: usize = 8192;

/// Descriptors looked at in one pass: some 2 µs each, and a server that has not yet answered once
/// has few.
const MAX_LINKS: usize = 16_384;

/// Who listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A process of the group that was asked about.
    Group,
    /// Somebody else.
    Other {
        pid: Option<u32>,
        name: Option<String>,
    },
    /// It cannot be told, and nobody may be accused.
    Unknown,
}

/// Finds out whether the socket that listens at `addr` belongs to the process group.
///
/// # Errors
/// Where `/proc` cannot be read: it is not there, or the monitor is out of descriptors.
pub(crate) fn of(addr: SocketAddr, group: u32) -> io::Result<Owner> {
    match process_table::own()? {
        Some(root) => find(root, addr, group),
        None => Ok(Owner::Unknown),
    }
}

/// Who listens where `addr` could not be bound. `None` where it cannot be told.
pub(crate) fn holder(addr: SocketAddr) -> Option<Holder> {
    find_holder(process_table::own().ok()??, addr).ok()?
}

fn find_holder(root: &Path, addr: SocketAddr) -> io::Result<Option<Holder>> {
    let mut inodes = Vec::new();
    each_listener(root, |listener| {
        if listener.is_in_the_way_of(addr) {
            inodes.push(listener.inode);
        }
    })?;
    if inodes.is_empty() {
        return Ok(None);
    }
    let found = Search::new(root, &inodes).outsider(None)?;
    let (pid, name) = found.map_or((None, None), |(pid, name)| (Some(pid), name));
    Ok(Some(Holder {
        port: addr.port(),
        pid,
        name,
    }))
}

fn find(root: &Path, addr: SocketAddr, group: u32) -> io::Result<Owner> {
    let inodes = listening_inodes(root, addr)?;
    // The connection stood a moment ago. Either its listener has gone since, or this kernel does
    // not list sockets (some emulations do not): the answer to the probe must speak for itself.
    if inodes.is_empty() {
        return Ok(Owner::Unknown);
    }
    let group_holds = Search::new(root, &inodes).group_holds(group)?;
    if group_holds == Holds::Yes {
        return Ok(Owner::Group);
    }
    match Search::new(root, &inodes).outsider(Some(group))? {
        Some((pid, name)) => Ok(Owner::Other {
            pid: Some(pid),
            name,
        }),
        // A worker that has changed its user hides its descriptors from a monitor that may not
        // trace it; it must not be called a stranger on its own port.
        None if group_holds == Holds::Hidden => Ok(Owner::Unknown),
        None => Ok(Owner::Other {
            pid: None,
            name: None,
        }),
    }
}

/// The sockets that the kernel would have chosen for a connection to `addr`; several may share a
/// port by `SO_REUSEPORT`.
fn listening_inodes(root: &Path, addr: SocketAddr) -> io::Result<Vec<u64>> {
    let mut best = Closeness::DualStack;
    let mut inodes = Vec::new();
    each_listener(root, |listener| {
        let Some(closeness) = listener.closeness(addr) else {
            return;
        };
        if closeness < best {
            inodes.clear();
            best = closeness;
        }
        if closeness == best {
            inodes.push(listener.inode);
        }
    })?;
    Ok(inodes)
}

fn each_listener(root: &Path, mut each: impl FnMut(Listener)) -> io::Result<()> {
    for table in ["self/net/tcp", "self/net/tcp6"] {
        let file = match File::open(root.join(table)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file.take(MAX_TABLE)).lines() {
            if let Some(listener) = parse_listener(&line?) {
                each(listener);
            }
        }
    }
    Ok(())
}

/// How a listener matches an address, the one that the kernel prefers first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Exact,
    Wildcard,
    /// The wildcard of IPv6, asked for an IPv4 address.
    DualStack,
}

/// A line of a socket table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listener {
    addr: SocketAddr,
    inode: u64,
}

impl Listener {
    fn closeness(&self, wanted: SocketAddr) -> Option<Closeness> {
        if self.addr.port() != wanted.port() {
            return None;
        }
        let (bound, wanted) = (self.addr.ip().to_canonical(), wanted.ip().to_canonical());
        if bound == wanted {
            return Some(Closeness::Exact);
        }
        if !bound.is_unspecified() {
            return None;
        }
        match (bound, wanted) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                Some(Closeness::Wildcard)
            }
            (IpAddr::V6(_), IpAddr::V4(_)) => Some(Closeness::DualStack),
            (IpAddr::V4(_), IpAddr::V6(_)) => None,
        }
    }

    /// Does it keep another socket from listening at `wanted`? Unlike a connection, a new listener
    /// for all addresses is also refused for the sake of one that has a single address.
    fn is_in_the_way_of(&self, wanted: SocketAddr) -> bool {
        let wanting = Listener {
            addr: wanted,
            inode: 0,
        };
        self.closeness(wanted).is_some() || wanting.closeness(self.addr).is_some()
    }
}

/// Reads one line of `/proc/net/tcp` or `tcp6`; anything but a listening socket is `None`.
fn parse_listener(line: &str) -> Option<Listener> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    // Between state and inode: queues, timer, retransmits, user, timeout.
    let inode = fields.nth(5)?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    let addr = SocketAddr::new(parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?);
    Some(Listener { addr, inode })
}

/// The kernel prints each 32-bit word of an address as a number of this machine's byte order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// The inode in a descriptor's link, if the descriptor is a socket.
fn parse_socket_link(link: &Path) -> Option<u64> {
    link.to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    /// Not seen, but not everything could be looked at.
    Hidden,
}

/// One pass over the process table, with what is left of its bounds.
struct Search<'a> {
    root: &'a Path,
    inodes: &'a [u64],
    links_left: usize,
}

impl<'a> Search<'a> {
    fn new(root: &'a Path, inodes: &'a [u64]) -> Self {
        Self {
            root,
            inodes,
            links_left: MAX_LINKS,
        }
    }

    fn group_holds(&mut self, group: u32) -> io::Result<Holds> {
        // The leader nearly always listens itself, and then the table need not be walked.
        let mut found = self.member_holds(group, group)?;
        if found == Holds::Yes {
            return Ok(Holds::Yes);
        }
        for (nth, pid) in self.processes()?.enumerate() {
            if nth == MAX_PROCESSES {
                return Ok(Holds::Hidden);
            }
            if pid == group {
                continue;
            }
            match self.member_holds(pid, group)? {
                Holds::Yes => return Ok(Holds::Yes),
                Holds::Hidden => found = Holds::Hidden,
                Holds::No => {}
            }
        }
        Ok(found)
    }

    fn member_holds(&mut self, pid: u32, group: u32) -> io::Result<Holds> {
        match self.stat(pid)? {
            Some(stat) if stat.group == group => self.holds(pid),
            _ => Ok(Holds::No),
        }
    }

    /// The first process outside the group, if there is one, that holds one of the sockets.
    fn outsider(&mut self, group: Option<u32>) -> io::Result<Option<(u32, Option<String>)>> {
        for pid in self.processes()?.take(MAX_PROCESSES) {
            let stat = self.stat(pid)?;
            let of_process = stat.as_ref().map(|stat| stat.group);
            if of_process.is_some() && of_process == group {
                continue;
            }
            if self.holds(pid)? == Holds::Yes {
                return Ok(Some((pid, stat.map(|stat| stat.name))));
            }
        }
        Ok(None)
    }

    fn processes(&self) -> io::Result<impl Iterator<Item = u32> + use<>> {
        let entries = fs::read_dir(self.root)?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
    }

    fn holds(&mut self, pid: u32) -> io::Result<Holds> {
        let entries = match fs::read_dir(self.path(pid, "fd")) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) => return Ok(Holds::No),
            // A process that has ended holds nothing, but the kernel gives its directory to root.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let alive = (self.stat(pid)?).is_some_and(|stat| stat.condition != Condition::Dead);
                return Ok(if alive { Holds::Hidden } else { Holds::No });
            }
            Err(error) => return Err(error),
        };
        for entry in entries {
            if self.links_left == 0 {
                return Ok(Holds::Hidden);
            }
            self.links_left -= 1;
            match entry.and_then(|entry| fs::read_link(entry.path())) {
                Ok(link) if self.is_wanted(&link) => return Ok(Holds::Yes),
                // Root without the right to trace may list the descriptors, not read them.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    return Ok(Holds::Hidden);
                }
                // A descriptor may be closed at any moment; then it holds nothing.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Holds::No)
    }

    fn is_wanted(&self, link: &Path) -> bool {
        parse_socket_link(link).is_some_and(|inode| self.inodes.contains(&inode))
    }

    fn stat(&self, pid: u32) -> io::Result<Option<Stat>> {
        process_table::stat(self.root, pid)
    }

    fn path(&self, pid: u32, name: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(name)
    }
}

#[cfg(test)]
mod tests;
