//! What the system tells of processes, read from `/proc`. Where there is none, nothing is known.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Bytes read of a `stat` file: the fields of interest come first, and the rest is numbers.
const MAX_STAT: u64 = 512;
/// Bytes of a process name that are shown: the kernel keeps 15 of a program's.
pub(crate) const MAX_NAME: usize = 32;
/// Bytes read of a list of children: more than five hundred of them, and a worker may make any
/// number on purpose.
const MAX_CHILDREN: u64 = 4 * 1024;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It runs, or waits for something.
    Alive,
    /// By SIGSTOP or its like.
    Stopped,
    /// By a debugger.
    Traced,
    Dead,
}

/// What `/proc/<pid>/stat` says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Escaped and short.
    pub(crate) name: String,
    pub(crate) condition: Condition,
    pub(crate) parent: u32,
    pub(crate) group: u32,
}

/// The process table, if it is the one that this process is in: a `/proc` of another pid namespace
/// has other numbers for the same processes.
///
/// # Errors
/// Where `/proc` cannot be read.
pub(crate) fn own() -> io::Result<Option<&'static Path>> {
    let root = Path::new("/proc");
    let me = std::process::id().to_string();
    let is_own = fs::read_link(root.join("self"))? == Path::new(&me);
    Ok(is_own.then_some(root))
}

/// `None`: it is gone, or may not be looked at.
///
/// # Errors
/// Where the table cannot be read: this process is out of descriptors, for one.
pub(crate) fn stat(root: &Path, pid: u32) -> io::Result<Option<Stat>> {
    let mut text = Vec::new();
    let file = File::open(root.join(pid.to_string()).join("stat"));
    match file.and_then(|file| file.take(MAX_STAT).read_to_end(&mut text)) {
        Ok(_) => Ok(parse_stat(&text)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same of a process of this namespace, where it can be told.
pub(crate) fn look_at(pid: u32) -> Option<Stat> {
    stat(own().ok()??, pid).ok()?
}

/// The children of the calling thread, dead ones too, as far as they can be told.
pub(crate) fn children_of_this_thread() -> Vec<u32> {
    let open = || File::open(own().ok()??.join("thread-self/children")).ok();
    open().map_or_else(Vec::new, read_children)
}

/// What could not be read is not told. The last number may be cut off, and then there is no space
/// behind it.
fn read_children(list: impl Read) -> Vec<u32> {
    let mut text = String::new();
    let _ = list.take(MAX_CHILDREN).read_to_string(&mut text);
    text.split_inclusive(' ')
        .filter_map(|pid| pid.strip_suffix(' ')?.parse().ok())
        .collect()
}

/// Whether the process ended while it was looked at.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Reads the beginning of a `stat` file. The name may hold spaces, brackets and any other byte, so
/// the *last* bracket ends it.
pub(crate) fn parse_stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let name = text.get(open + 1..close)?;
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let condition = match fields.next()? {
        "T" => Condition::Stopped,
        "t" => Condition::Traced,
        "Z" | "X" | "x" => Condition::Dead,
        _ => Condition::Alive,
    };
    Some(Stat {
        name: shown(name),
        condition,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

/// A name that another process chose, made fit for a terminal.
pub(crate) fn shown(name: &[u8]) -> String {
    name.iter()
        .take(MAX_NAME)
        .flat_map(|&byte| std::ascii::escape_default(byte))
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests;
