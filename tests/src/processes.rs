//! What the system tells of processes.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::running::PATIENCE;

/// What an idle process may use, however long it is watched.
const IDLE_TICKS: u64 = 2;
/// Between two looks at a process that must not be stopped.
const LOOK: Duration = Duration::from_millis(10);

/// One that is there, or was a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// `R`, `S`, `T` when it is stopped, `Z` when it is dead and not reaped, …
    pub state: char,
    /// The id of its parent.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// The foreground group of its terminal; -1 if it has none.
    pub foreground: i64,
    /// The processor time that it has used, in ticks of 10 ms.
    pub ticks: u64,
}

impl Process {
    /// `None`: there is none.
    #[must_use]
    pub fn of(pid: u32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, which may hold anything, ends with the last parenthesis.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Process {
            pid,
            state: fields.first()?.chars().next()?,
            parent: u32::try_from(number(1)?).ok()?,
            group: u32::try_from(number(2)?).ok()?,
            foreground: fields.get(5)?.parse().ok()?,
            ticks: number(11)? + number(12)?,
        })
    }
}

/// Those that live and work in `folder`: a session's whole family, however it came to be.
///
/// # Panics
/// If the system does not tell.
#[must_use]
pub fn working_in(folder: &Path) -> Vec<Process> {
    let folder = folder.canonicalize().unwrap();
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at == folder))
        .filter_map(Process::of)
        .filter(|process| !matches!(process.state, 'Z' | 'X'))
        .collect()
}

/// Watches processes for some time: none is stopped, and none costs anything. One that has just
/// started may have to settle first; one that is busy never does.
///
/// # Panics
/// If one is stopped, gone or busy.
#[track_caller]
pub fn expect_idle(pids: &[u32], during: Duration) {
    let look = |pid: &u32| Process::of(*pid).unwrap();
    let deadline = Instant::now() + PATIENCE / 2;
    loop {
        let before: Vec<Process> = pids.iter().map(look).collect();
        let end = Instant::now() + during;
        while Instant::now() < end {
            for process in pids.iter().map(look) {
                assert_ne!(process.state, 'T', "stopped: {process:?}");
            }
            thread::sleep(LOOK);
        }
        let used = |process: &Process| look(&process.pid).ticks - process.ticks;
        let used: Vec<u64> = before.iter().map(used).collect();
        if used.iter().all(|ticks| *ticks <= IDLE_TICKS) {
            return;
        }
        let is_over = Instant::now() >= deadline;
        assert!(!is_over, "used {used:?} ticks in {during:?}");
    }
}

/// What a process holds of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Descriptors.
    pub fds: usize,
    /// Threads.
    pub threads: usize,
    /// Resident memory now.
    pub kib: u64,
    /// The most that it ever was.
    pub peak_kib: u64,
}

/// Of a process that is there.
///
/// # Panics
/// If it is not.
#[must_use]
pub fn resources(pid: u32) -> Resources {
    let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let figure = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim_end_matches("kB").trim().parse().unwrap()
    };
    Resources {
        fds: count("fd"),
        threads: count("task"),
        kib: figure("VmRSS:"),
        peak_kib: figure("VmHWM:"),
    }
}

/// The first character that acts on a terminal or on the reading order instead of showing itself,
/// or that was no text.
#[must_use]
pub fn hidden_in(line: &str) -> Option<char> {
    line.chars().find(|&letter| {
        letter.is_control()
            || matches!(letter,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
    })
}
