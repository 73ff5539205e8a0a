//! Which process am I? A decision over plain facts, and the gathering of those facts.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::process_table;
use crate::sys;

/// Suggests that a process is a worker. It stays in the environment, so that whatever the worker
/// starts meets it too.
pub(crate) const MARKER: &str = "SESSION_WORKER";
/// Turns the whole library off.
pub(crate) const DISABLE: &str = "SESSION_DISABLE";

/// Sessions in sessions deeper than this are programs that start each other for ever.
pub(crate) const MAX_DEPTH: u32 = 4;
/// How many ancestors are asked whether they are a worker of this program: between a worker and a
/// program that it starts again stand a shell, an `env`, a `nohup`, and hardly more.
const MAX_ANCESTORS: usize = 8;
/// The most of an ancestor's environment that is read: what Linux lets all of it have by default.
const MAX_ENVIRONMENT: u64 = 2 * 1024 * 1024;

/// Device and inode of an executable.
type Image = (u64, u64);

/// What a process is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It supervises; `depth` sessions are around it.
    Monitor { depth: u32 },
    /// It runs the user's main for this monitor.
    Worker { monitor: u32 },
    /// It posts what this monitor gives it, and does nothing else.
    #[cfg(feature = "webhook")]
    Courier { monitor: u32 },
    /// It runs the user's main, and nobody supervises.
    Disabled,
}

/// The marker that a monitor gives to a worker which runs `image`.
pub(crate) fn marker(monitor: u32, depth: u32, (device, inode): Image) -> String {
    format!("1:{monitor}:{depth}:{device}:{inode}")
}

/// The word behind a marker that makes a courier of what would be a worker.
#[cfg(feature = "webhook")]
const COURIER: &str = "courier";

/// The marker for a courier of the same image as the worker's.
#[cfg(feature = "webhook")]
pub(crate) fn courier_marker(worker: &str) -> String {
    format!("{worker}:{COURIER}")
}

/// The role of this process.
pub(crate) fn find() -> Result<Role> {
    let marker = env::var_os(MARKER);
    let disable = env::var_os(DISABLE);
    let image = sys::executable_identity();
    let stdin = io::stdin();
    decide(&Facts {
        marker: marker.as_deref().map(OsStr::to_string_lossy).as_deref(),
        disable: disable.as_deref().map(OsStr::to_string_lossy).as_deref(),
        image: image.as_ref().ok().copied(),
        parent: sys::parent_id(),
        user: sys::user_id(),
        stdin_peer: sys::is_socket(stdin.as_fd())
            .then(|| sys::peer_credentials(stdin.as_fd()).ok())
            .flatten(),
        below_own_worker: marker.is_none() && image.is_ok_and(is_below_own_worker),
    })
}

/// Everything that the decision depends on.
#[derive(Clone, Copy, Debug)]
struct Facts<'a> {
    marker: Option<&'a str>,
    disable: Option<&'a str>,
    /// Of this process; `None`: the system would not tell.
    image: Option<Image>,
    parent: u32,
    user: u32,
    /// Pid (where it is known) and user of the process at the other end of standard input;
    /// `None`: that is no connected socket.
    stdin_peer: Option<(Option<u32>, u32)>,
    /// Is an ancestor a worker of the same image, although there is no marker here?
    below_own_worker: bool,
}

fn decide(facts: &Facts<'_>) -> Result<Role> {
    if is_disabled(facts.disable)? {
        return Ok(Role::Disabled);
    }
    let Some(text) = facts.marker else {
        return match facts.below_own_worker {
            true => Err(refused(
                "this program was started again from inside of its own worker, with an \
                 environment that no longer says so",
            )),
            false => Ok(Role::Monitor { depth: 0 }),
        };
    };
    let Some(marker) = Marker::parse(text) else {
        return Err(refused(&format!(
            "expected {MARKER} as a monitor of protocol 1 sets it, found `{}`",
            crate::text::escape(&crate::text::clip(text, 128))
        )));
    };
    let Some(image) = facts.image else {
        return Err(refused(&format!(
            "{MARKER} is set, and which executable this is could not be found out"
        )));
    };
    // A courier starts nobody, so nobody comes by its marker as a worker's children do by theirs.
    if marker.image != image && marker.kind == Kind::Worker {
        return nested(&marker);
    }
    match not_its_own(&marker, image, facts) {
        None => Ok(marker.role()),
        Some(why) => Err(refused(&why)),
    }
}

fn is_disabled(value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("" | "0") => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(Error::Role(format!(
            "expected {DISABLE} as 1 (run main without a monitor), 0 or unset, found `{}`",
            crate::text::escape(&crate::text::clip(other, 128))
        ))),
    }
}

/// The marker is another program's: this one runs below that one's worker, in a session of its own.
fn nested(marker: &Marker) -> Result<Role> {
    let depth = marker.depth.saturating_add(1);
    if depth > MAX_DEPTH {
        return Err(refused(&format!(
            "expected at most {MAX_DEPTH} sessions inside of one another, found one more: do \
             these programs start each other?"
        )));
    }
    Ok(Role::Monitor { depth })
}

/// Why this process is not the monitor's own that its marker speaks of.
fn not_its_own(marker: &Marker, image: Image, facts: &Facts<'_>) -> Option<String> {
    let claim = format!(
        "{MARKER} says that this is a {} of process {}",
        marker.kind.name(),
        marker.monitor
    );
    if marker.image != image {
        return Some(format!("{claim}, but it runs another program"));
    }
    if facts.parent != marker.monitor {
        return Some(format!("{claim}, but its parent is {}", facts.parent));
    }
    let Some((pid, user)) = facts.stdin_peer else {
        return Some(format!("{claim}, but its standard input is no socket"));
    };
    if let Some(pid) = pid.filter(|pid| *pid != facts.parent) {
        return Some(format!(
            "{claim}, but the socket on its standard input is of process {pid}"
        ));
    }
    (user != facts.user).then(|| {
        format!(
            "{claim}, but the socket on its standard input is of user {user}, and it runs as {}",
            facts.user
        )
    })
}

fn refused(why: &str) -> Error {
    Error::Role(format!(
        "{why}: to run this program from inside of its own worker, or by hand, set {DISABLE}=1 \
         (its main then runs without a monitor)"
    ))
}

/// What a marker says.
#[derive(Debug, PartialEq, Eq)]
struct Marker {
    monitor: u32,
    depth: u32,
    image: Image,
    kind: Kind,
}

/// What a monitor starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Worker,
    #[cfg(feature = "webhook")]
    Courier,
}

impl Kind {
    /// By the last field of a marker, which is a worker's without one.
    fn parse(word: Option<&str>) -> Option<Kind> {
        match word {
            None => Some(Kind::Worker),
            #[cfg(feature = "webhook")]
            Some(COURIER) => Some(Kind::Courier),
            Some(_) => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Worker => "worker",
            #[cfg(feature = "webhook")]
            Kind::Courier => COURIER,
        }
    }
}

impl Marker {
    fn role(&self) -> Role {
        let monitor = self.monitor;
        match self.kind {
            Kind::Worker => Role::Worker { monitor },
            #[cfg(feature = "webhook")]
            Kind::Courier => Role::Courier { monitor },
        }
    }

    fn parse(text: &str) -> Option<Marker> {
        let mut fields = text.split(':');
        if fields.next()? != "1" {
            return None;
        }
        let mut number = || {
            let digits = fields.next()?;
            // `parse` alone would take a sign.
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let marker = Marker {
            monitor: u32::try_from(number()?).ok()?,
            depth: u32::try_from(number()?).ok()?,
            image: (number()?, number()?),
            kind: Kind::parse(fields.next())?,
        };
        fields.next().is_none().then_some(marker)
    }
}

/// For the fuzz target: a marker that is read is the one that was written.
#[cfg(fuzzing)]
pub(crate) fn check_marker(text: &str) {
    if let Some(read) = Marker::parse(text) {
        let worker = marker(read.monitor, read.depth, read.image);
        let written = match read.kind {
            Kind::Worker => worker,
            #[cfg(feature = "webhook")]
            Kind::Courier => courier_marker(&worker),
        };
        assert_eq!(Marker::parse(&written), Some(read));
    }
}

/// A worker's child that lost its environment would become a monitor, start a worker, which would
/// start such a child again, and so on. Without `/proc` this cannot be known.
fn is_below_own_worker(image: Image) -> bool {
    let mut ancestor = sys::parent_id();
    for _ in 0..MAX_ANCESTORS {
        if ancestor == 0 {
            return false;
        }
        if is_worker_of(ancestor, image) {
            return true;
        }
        match parent_of(ancestor) {
            Some(parent) => ancestor = parent,
            None => return false,
        }
    }
    false
}

fn is_worker_of(pid: u32, image: Image) -> bool {
    let runs_image = fs::metadata(format!("/proc/{pid}/exe"))
        .is_ok_and(|executable| (executable.dev(), executable.ino()) == image);
    runs_image
        && environment_of(pid).is_ok_and(|environment| {
            environment
                .split(|byte| *byte == 0)
                .filter_map(|variable| str::from_utf8(variable).ok()?.strip_prefix(MARKER))
                .filter_map(|value| Marker::parse(value.strip_prefix('=')?))
                .any(|marker| marker.image == image)
        })
}

fn environment_of(pid: u32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/environ"))?;
    io::Read::read_to_end(&mut io::Read::take(file, MAX_ENVIRONMENT), &mut bytes)?;
    Ok(bytes)
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = process_table::stat(Path::new("/proc"), pid);
    stat.ok()?.map(|stat| stat.parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Image = (7, 42);

    fn worker() -> Facts<'static> {
        Facts {
            marker: Some("1:100:0:7:42"),
            disable: None,
            image: Some(IMAGE),
            parent: 100,
            user: 1000,
            stdin_peer: Some((Some(100), 1000)),
            below_own_worker: false,
        }
    }

    fn monitor() -> Facts<'static> {
        Facts {
            marker: None,
            stdin_peer: None,
            parent: 55,
            ..worker()
        }
    }

    #[track_caller]
    fn is(facts: Facts<'_>, expected: Role) {
        assert_eq!(decide(&facts).unwrap(), expected, "{facts:?}");
    }

    #[track_caller]
    fn refuses(facts: Facts<'_>, why: &str) {
        let error = decide(&facts).expect_err(&format!("{facts:?}"));
        assert_eq!(error.exit_code(), 64);
        let text = error.to_string();
        assert!(text.contains(why), "`{text}` should tell `{why}`");
        assert!(text.contains("SESSION_DISABLE"), "{text}");
    }

    fn marked(marker: &str) -> Facts<'_> {
        Facts {
            marker: Some(marker),
            ..worker()
        }
    }

    #[test]
    fn a_worker_is_what_its_monitor_started() {
        is(worker(), Role::Worker { monitor: 100 });
        let peer = |peer| Facts {
            stdin_peer: peer,
            ..worker()
        };
        // Where the system does not tell the peer's pid, the rest must do.
        is(peer(Some((None, 1000))), Role::Worker { monitor: 100 });
        is(marked("1:100:4:7:42"), Role::Worker { monitor: 100 });
        refuses(peer(None), "standard input is no socket");
        refuses(peer(Some((Some(101), 1000))), "of process 101");
        refuses(peer(Some((Some(0), 1000))), "of process 0");
        refuses(peer(Some((Some(100), 0))), "of user 0");
        refuses(peer(Some((None, 1001))), "of user 1001");
        let parent = |parent| Facts { parent, ..worker() };
        refuses(parent(101), "its parent is 101");
        refuses(parent(1), "its parent is 1");
        let unknown = Facts {
            image: None,
            ..worker()
        };
        refuses(unknown, "could not be found out");
    }

    #[test]
    fn without_a_marker_it_is_a_monitor() {
        is(monitor(), Role::Monitor { depth: 0 });
        let socket = Facts {
            marker: None,
            ..worker()
        };
        is(socket, Role::Monitor { depth: 0 });
        let unknown = Facts {
            image: None,
            ..monitor()
        };
        is(unknown, Role::Monitor { depth: 0 });
        let cleared = Facts {
            below_own_worker: true,
            ..monitor()
        };
        refuses(cleared, "from inside of its own worker");
    }

    #[test]
    fn the_marker_of_another_program_makes_a_session_inside_of_its() {
        is(marked("1:100:0:7:43"), Role::Monitor { depth: 1 });
        is(marked("1:100:0:8:42"), Role::Monitor { depth: 1 });
        is(marked("1:9:3:8:42"), Role::Monitor { depth: 4 });
        refuses(marked("1:100:4:8:42"), "at most 4 sessions");
        refuses(marked("1:100:5:8:42"), "at most 4 sessions");
        refuses(marked("1:100:4294967295:8:42"), "at most 4 sessions");
    }

    #[test]
    fn a_marker_is_five_numbers_and_nothing_else() {
        for text in [
            "",
            "1",
            "1:",
            "1:100",
            "1:100:0:7",
            "1:100:0:7:",
            "1:100:0:7:42:",
            "1:100:0:7:42:1",
            "2:100:0:7:42",
            "01:100:0:7:42",
            " 1:100:0:7:42",
            "1:100:0:7:42 ",
            "1:+100:0:7:42",
            "1:-1:0:7:42",
            "1:x:0:7:42",
            "1:4294967296:0:7:42",
            "1:100:4294967296:7:42",
            "1:100:0:18446744073709551616:42",
            "1:100:0:7:0x2a",
            "\u{661}:100:0:7:42",
            "\u{1b}[31m",
        ] {
            refuses(marked(text), "as a monitor of protocol 1 sets it");
        }
        refuses(marked(&"9".repeat(100_000)), "found `999");
        let longest = marker(u32::MAX, u32::MAX, (u64::MAX, u64::MAX));
        let parsed = Marker::parse(&longest).unwrap();
        assert_eq!(parsed.monitor, u32::MAX);
        assert_eq!(parsed.image, (u64::MAX, u64::MAX));
        is(
            marked(&marker(100, 2, IMAGE)),
            Role::Worker { monitor: 100 },
        );
    }

    #[test]
    #[cfg(feature = "webhook")]
    fn a_courier_is_verified_as_a_worker_is() {
        let worker_marker = marker(100, 0, IMAGE);
        let text = courier_marker(&worker_marker);
        assert_eq!(text, "1:100:0:7:42:courier");
        let courier = marked(&text);
        is(courier, Role::Courier { monitor: 100 });
        let says = "says that this is a courier of process 100, but";
        for (facts, why) in [
            (
                Facts {
                    parent: 101,
                    ..courier
                },
                "its parent is 101",
            ),
            (
                Facts {
                    stdin_peer: None,
                    ..courier
                },
                "standard input is no socket",
            ),
            (
                Facts {
                    stdin_peer: Some((Some(101), 1000)),
                    ..courier
                },
                "of process 101",
            ),
            (
                Facts {
                    image: Some((7, 43)),
                    ..courier
                },
                "it runs another program",
            ),
        ] {
            refuses(facts, why);
            refuses(facts, says);
        }
        for text in [
            "1:100:0:7:42:Courier",
            "1:100:0:7:42:courier:",
            "1:100:0:7:42:worker",
            "1:100:0:7:courier",
            "courier",
        ] {
            refuses(marked(text), "as a monitor of protocol 1 sets it");
        }
    }

    #[test]
    fn disabling_comes_first_and_is_spelt_exactly() {
        let with = |disable, facts: Facts<'static>| Facts {
            disable: Some(disable),
            ..facts
        };
        for facts in [worker(), monitor(), marked("nonsense")] {
            is(with("1", facts), Role::Disabled);
        }
        for off in ["", "0"] {
            is(with(off, worker()), Role::Worker { monitor: 100 });
            is(with(off, monitor()), Role::Monitor { depth: 0 });
        }
        for other in ["2", "true", "yes", "00", "01", " 1", "1\n", "\u{ff11}"] {
            refuses(with(other, monitor()), "expected SESSION_DISABLE as 1");
            refuses(with(other, worker()), "expected SESSION_DISABLE as 1");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    #[cfg_attr(miri, ignore = "reads /proc")]
    fn ancestors_are_looked_at() {
        assert_eq!(parent_of(std::process::id()), Some(sys::parent_id()));
        // The processes that run this test are workers of nobody.
        assert!(!is_below_own_worker(sys::executable_identity().unwrap()));
    }
}
