use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const GROUP: u32 = 100;
const PORT: u16 = 3000;
const INODE: u64 = 4242;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A table line as the kernel of this machine would print it.
fn line(local: &str, state: &str, inode: u64) -> String {
    let local = addr(local);
    let bytes = match local.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = bytes.chunks_exact(4).map(|word| {
        let word = word.try_into().expect("four bytes");
        format!("{:08X}", u32::from_ne_bytes(word))
    });
    let ip: String = words.collect();
    let port = local.port();
    format!(
        "   0: {ip}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  \
         1000        0 {inode} 1 0000000000000000 100 0 0 10 0\n"
    )
}

#[test]
fn table_lines_are_read() {
    let listener = |text, inode| {
        Some(Listener {
            addr: addr(text),
            inode,
        })
    };
    let cases = [
        (
            line("127.0.0.1:3000", "0A", 7),
            listener("127.0.0.1:3000", 7),
        ),
        (
            line("0.0.0.0:65535", "0A", u64::MAX),
            listener("0.0.0.0:65535", u64::MAX),
        ),
        (line("[::1]:1", "0A", 7), listener("[::1]:1", 7)),
        (
            line("[2001:db8::1:2]:80", "0A", 7),
            listener("[2001:db8::1:2]:80", 7),
        ),
        (
            line("[::ffff:127.0.0.1]:80", "0A", 7),
            listener("[::ffff:127.0.0.1]:80", 7),
        ),
        // Established, and closed long ago.
        (line("127.0.0.1:3000", "01", 7), None),
        (line("127.0.0.1:3000", "06", 0), None),
        (
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
             timeout inode"
                .to_owned(),
            None,
        ),
        (String::new(), None),
        ("0:".to_owned(), None),
        ("0: 0100007F:0BB8 00000000:0000 0A".to_owned(), None),
        ("0: 0100007F 0 0A 0 0 0 0 0 7".to_owned(), None),
        ("0: 0100007F:10000 0 0A 0 0 0 0 0 7".to_owned(), None),
        ("0: 0100007:0BB8 0 0A 0 0 0 0 0 7".to_owned(), None),
        ("0: 0100007\u{e9}:0BB8 0 0A 0 0 0 0 0 7".to_owned(), None),
        ("0: 010000\u{e9}:0BB8 0 0A 0 0 0 0 0 7".to_owned(), None),
        ("0: 0100007F:0BB8 0 0A 0 0 0 0 0 -7".to_owned(), None),
        (
            "0: 0100007F:0BB8 0 0A 0 0 0 0 0 18446744073709551616".to_owned(),
            None,
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(parse_listener(&line), expected, "{line}");
    }
    if cfg!(target_endian = "little") {
        let line = "   1: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     \
                    0        0 31337 1 ffff8880 100 0 0 10 0";
        assert_eq!(parse_listener(line), listener("127.0.0.1:3000", 31337));
    }
}

#[test]
fn the_listener_that_the_kernel_prefers_is_closest() {
    use Closeness::{DualStack, Exact, Wildcard};
    let cases = [
        ("127.0.0.1:3000", "127.0.0.1:3000", Some(Exact)),
        ("[::ffff:127.0.0.1]:3000", "127.0.0.1:3000", Some(Exact)),
        ("[::1]:3000", "[::1]:3000", Some(Exact)),
        ("0.0.0.0:3000", "127.0.0.1:3000", Some(Wildcard)),
        ("[::ffff:0.0.0.0]:3000", "127.0.0.1:3000", Some(Wildcard)),
        ("[::]:3000", "[::1]:3000", Some(Wildcard)),
        ("[::]:3000", "127.0.0.1:3000", Some(DualStack)),
        ("0.0.0.0:3000", "[::1]:3000", None),
        ("127.0.0.2:3000", "127.0.0.1:3000", None),
        ("127.0.0.1:3001", "127.0.0.1:3000", None),
        ("[::1]:3000", "127.0.0.1:3000", None),
    ];
    for (bound, wanted, expected) in cases {
        let listener = Listener {
            addr: addr(bound),
            inode: 1,
        };
        assert!(
            listener.closeness(addr(wanted)) == expected,
            "{bound} for {wanted}"
        );
    }
    assert!(Exact < Wildcard && Wildcard < DualStack);
}

#[test]
fn a_listener_is_in_the_way_of_what_could_be_taken_for_it() {
    for (bound, wanted, expected) in [
        ("127.0.0.1:3000", "127.0.0.1:3000", true),
        ("127.0.0.1:3000", "127.0.0.1:3001", false),
        ("127.0.0.1:3000", "127.0.0.2:3000", false),
        ("0.0.0.0:3000", "127.0.0.1:3000", true),
        ("127.0.0.1:3000", "0.0.0.0:3000", true),
        ("[::1]:3000", "[::]:3000", true),
        ("127.0.0.1:3000", "[::]:3000", true),
        ("[::1]:3000", "0.0.0.0:3000", false),
        ("[::1]:3000", "127.0.0.1:3000", false),
    ] {
        let listener = Listener {
            addr: addr(bound),
            inode: 1,
        };
        let in_the_way = listener.is_in_the_way_of(addr(wanted));
        assert_eq!(in_the_way, expected, "{bound} for {wanted}");
    }
}

#[test]
fn socket_links_are_read() {
    let cases = [
        ("socket:[4242]", Some(4242)),
        ("pipe:[4242]", None),
        ("socket:[]", None),
        ("socket:[4242", None),
        ("socket:[-1]", None),
        ("/tmp/socket:[4242]", None),
        ("/dev/null", None),
    ];
    for (link, expected) in cases {
        assert_eq!(parse_socket_link(Path::new(link)), expected, "{link}");
    }
}

/// A process table laid out in a directory of its own, removed in the end.
struct Table {
    root: PathBuf,
}

impl Table {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "session-owner-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        // Thousands of small files: in memory where that can be had.
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            std::env::temp_dir()
        };
        let root = parent.join(name);
        fs::create_dir_all(root.join("self/net")).expect("a directory");
        fs::write(root.join("self/net/tcp"), "").expect("a table");
        Self { root }
    }

    /// A table in which [`INODE`] listens on 127.0.0.1:3000.
    fn listening() -> Self {
        let table = Self::new();
        table.sockets("tcp", &[line("127.0.0.1:3000", "0A", INODE)]);
        table
    }

    fn sockets(&self, name: &str, lines: &[String]) {
        fs::write(self.root.join("self/net").join(name), lines.concat()).expect("a table");
    }

    fn process(&self, pid: u32, group: u32, inodes: &[u64]) {
        let dir = self.root.join(pid.to_string());
        fs::create_dir_all(dir.join("fd")).expect("a process");
        fs::write(dir.join("stat"), format!("{pid} (p{pid}) S 1 {group} 1")).expect("a stat");
        for (fd, inode) in inodes.iter().enumerate() {
            symlink(
                format!("socket:[{inode}]"),
                dir.join("fd").join(fd.to_string()),
            )
            .expect("a descriptor");
        }
    }

    fn owner(&self) -> Owner {
        find(
            &self.root,
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT),
            GROUP,
        )
        .expect("a readable table")
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn other(pid: u32) -> Owner {
    Owner::Other {
        pid: Some(pid),
        name: Some(format!("p{pid}")),
    }
}

const NOBODY_SEEN: Owner = Owner::Other {
    pid: None,
    name: None,
};

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn the_group_is_found_by_its_leader_or_any_member() {
    let table = Table::listening();
    table.process(GROUP, GROUP, &[1, INODE, 2]);
    assert_eq!(table.owner(), Owner::Group);

    let table = Table::listening();
    table.process(GROUP, GROUP, &[1]);
    table.process(101, GROUP, &[INODE]);
    // Somebody else may have inherited it as well.
    table.process(99, 99, &[INODE]);
    assert_eq!(table.owner(), Owner::Group);

    // The leader has ended and its children go on.
    let table = Table::listening();
    table.process(101, GROUP, &[INODE]);
    assert_eq!(table.owner(), Owner::Group);
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn a_stranger_is_named_where_it_can_be_seen() {
    let table = Table::listening();
    table.process(GROUP, GROUP, &[1]);
    assert_eq!(table.owner(), NOBODY_SEEN);
    table.process(77, 77, &[2, INODE]);
    assert_eq!(table.owner(), other(77));

    // The number of the group alone proves nothing.
    let table = Table::listening();
    table.process(GROUP, 55, &[INODE]);
    assert_eq!(table.owner(), other(GROUP));
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn whoever_is_in_the_way_is_named_of_whatever_group() {
    let holder = |table: &Table, wanted| find_holder(&table.root, addr(wanted)).expect("readable");
    let named = |pid: Option<u32>| {
        Some(Holder {
            port: PORT,
            pid,
            name: pid.map(|pid| format!("p{pid}")),
        })
    };
    let table = Table::listening();
    assert_eq!(holder(&table, "127.0.0.1:3000"), named(None));
    assert_eq!(holder(&table, "127.0.0.1:3001"), None);
    table.process(77, 0, &[2, INODE]);
    for wanted in ["127.0.0.1:3000", "0.0.0.0:3000"] {
        assert_eq!(holder(&table, wanted), named(Some(77)), "{wanted}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn nobody_is_accused_over_a_socket_that_is_not_listed() {
    let table = Table::new();
    table.process(77, 77, &[INODE]);
    assert_eq!(table.owner(), Owner::Unknown);
    table.sockets(
        "tcp",
        &[
            line("127.0.0.1:3000", "01", INODE),
            line("127.0.0.1:3001", "0A", 9),
        ],
    );
    assert_eq!(table.owner(), Owner::Unknown);

    fs::remove_file(table.root.join("self/net/tcp")).expect("removed");
    assert_eq!(table.owner(), Owner::Unknown);
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn the_closest_listener_decides() {
    let exact = line("127.0.0.1:3000", "0A", 1);
    let wildcard = line("0.0.0.0:3000", "0A", 2);
    let dual = line("[::]:3000", "0A", 3);
    let cases: [(&[&String], &[&String], &[u64]); 6] = [
        (&[&exact, &wildcard], &[&dual], &[1]),
        (&[&wildcard, &exact], &[&dual], &[1]),
        (&[&wildcard], &[&dual], &[2]),
        (&[], &[&dual], &[3]),
        // Several sockets that share the port.
        (&[&exact, &wildcard, &exact], &[], &[1, 1]),
        (&[], &[], &[]),
    ];
    for (tcp, tcp6, expected) in cases {
        let table = Table::new();
        let owned = |lines: &[&String]| lines.iter().map(|&line| line.clone()).collect::<Vec<_>>();
        table.sockets("tcp", &owned(tcp));
        table.sockets("tcp6", &owned(tcp6));
        let inodes = listening_inodes(&table.root, addr("127.0.0.1:3000")).expect("readable");
        assert_eq!(inodes, expected);
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn a_table_is_read_up_to_its_bound() {
    let filler = line("127.0.0.1:3001", "0A", 9);
    let wanted = line("127.0.0.1:3000", "0A", INODE);
    let bound = usize::try_from(MAX_TABLE).expect("fits");
    for (before, seen) in [
        (bound - wanted.len(), true),
        // The line is cut in the middle of its address.
        (bound - 8, false),
        (3 * bound, false),
    ] {
        let mut text = filler.repeat(before / filler.len());
        text += &" ".repeat(before - text.len() - 1);
        text += "\n";
        text += &wanted;
        let table = Table::new();
        table.sockets("tcp", &[text]);
        let inodes = listening_inodes(&table.root, addr("127.0.0.1:3000")).expect("readable");
        assert_eq!(!inodes.is_empty(), seen, "{before} bytes before the line");
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn descriptors_are_looked_at_up_to_their_bound() {
    let table = Table::listening();
    // With the group's descriptors all seen, it is certain that it does not hold the socket.
    table.process(GROUP, GROUP, &vec![1; MAX_LINKS]);
    assert_eq!(table.owner(), NOBODY_SEEN);
    for links in [MAX_LINKS + 1, 2 * MAX_LINKS] {
        table.process(GROUP + 1, GROUP, &vec![1; links - MAX_LINKS]);
        assert_eq!(table.owner(), Owner::Unknown, "{links} descriptors");
        fs::remove_dir_all(table.root.join("101")).expect("removed");
    }
    // A holder that is seen is a holder all the same.
    table.process(GROUP + 1, GROUP, &[1]);
    table.process(77, 77, &[INODE]);
    assert_eq!(table.owner(), other(77));
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn processes_are_looked_at_up_to_their_bound() {
    let table = Table::listening();
    // Empty directories are enough: each is a process that has just ended.
    let add = |pids: std::ops::Range<usize>| {
        for pid in pids {
            fs::create_dir(table.root.join((1000 + pid).to_string())).expect("a process");
        }
    };
    add(0..MAX_PROCESSES);
    assert_eq!(table.owner(), NOBODY_SEEN);
    add(MAX_PROCESSES..MAX_PROCESSES + 1);
    assert_eq!(table.owner(), Owner::Unknown);
    add(MAX_PROCESSES + 1..2 * MAX_PROCESSES);
    assert_eq!(table.owner(), Owner::Unknown);
    // The leader is found without the walk.
    table.process(GROUP, GROUP, &[INODE]);
    assert_eq!(table.owner(), Owner::Group);
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn a_member_that_hides_its_descriptors_is_not_called_a_stranger() {
    use std::os::unix::fs::PermissionsExt;
    let table = Table::listening();
    table.process(GROUP, GROUP, &[INODE]);
    let dir = table.root.join("100/fd");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o000)).expect("mode set");
    // Root reads it all the same.
    let expected = if fs::read_dir(&dir).is_ok() {
        Owner::Group
    } else {
        Owner::Unknown
    };
    assert_eq!(table.owner(), expected);

    // A process that has ended hides nothing: it has nothing.
    fs::remove_file(dir.join("1")).ok();
    fs::write(
        table.root.join("100/stat"),
        format!("100 (p) Z 1 {GROUP} 1"),
    )
    .expect("a stat");
    if fs::read_dir(&dir).is_err() {
        assert_eq!(table.owner(), NOBODY_SEEN);
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("mode set");
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "opens sockets")]
fn a_real_listener_is_found() {
    let own_group = nix::unistd::getpgrp().as_raw().unsigned_abs();
    for host in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        // A machine without IPv6 cannot bind the last two.
        let Ok(listener) = std::net::TcpListener::bind(host) else {
            continue;
        };
        let port = listener.local_addr().expect("bound").port();
        let ip = if host.starts_with('[') {
            "[::1]"
        } else {
            "127.0.0.1"
        };
        let wanted = addr(&format!("{ip}:{port}"));
        assert_eq!(
            of(wanted, own_group).expect("readable"),
            Owner::Group,
            "{host}"
        );
        if host == "[::]:0" {
            let mapped = addr(&format!("127.0.0.1:{port}"));
            assert_eq!(
                of(mapped, own_group).expect("readable"),
                Owner::Group,
                "dual stack"
            );
        }
    }
}
