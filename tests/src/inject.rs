//! How faults are brought about, and what a process has at a moment.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::running::{PATIENCE, folder};

/// Sends a signal at once; `kill` as a program takes some milliseconds. `false`: there is no such
/// process.
///
/// # Panics
/// If the id is none.
pub fn send(pid: u32, signal: Signal) -> bool {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).is_ok()
}

/// Looks again until it is so.
///
/// # Panics
/// If it does not come to be.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not so in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A time in which system calls of a process and its threads, and of what they start, go wrong.
#[derive(Debug)]
pub struct Window {
    strace: Child,
    _told: BufReader<ChildStderr>,
}

impl Window {
    /// `calls` as strace names them, and how they go wrong: `error=EAGAIN`.
    ///
    /// # Panics
    /// If strace cannot be attached.
    #[must_use]
    pub fn open(pid: u32, calls: &str, fault: &str) -> Window {
        Window::attach(&["-f"], pid, calls, fault)
    }

    /// The same for the one thread of that name.
    ///
    /// # Panics
    /// If there is none, or strace cannot be attached.
    #[must_use]
    pub fn of_thread(pid: u32, name: &str, calls: &str, fault: &str) -> Window {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let mut threads = threads.map(|thread| thread.unwrap().path());
        let thread = threads.find(|thread| {
            fs::read_to_string(thread.join("comm")).is_ok_and(|found| found.trim_end() == name)
        });
        let thread = thread.unwrap_or_else(|| panic!("no thread `{name}`"));
        let id = thread.file_name().unwrap().to_str().unwrap();
        Window::attach(&[], id.parse().unwrap(), calls, fault)
    }

    fn attach(options: &[&str], id: u32, calls: &str, fault: &str) -> Window {
        let mut strace = Command::new("strace")
            .args(options)
            .args(["-o", "/dev/null", "-p", &id.to_string()])
            .args(["-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:{fault}")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        if !line.contains("attached") {
            let _ = told.read_to_string(&mut line);
            panic!("{line}");
        }
        Window {
            strace,
            _told: told,
        }
    }

    /// From now on all is well again.
    ///
    /// # Panics
    /// If strace does not go away.
    pub fn close(mut self) {
        send(self.strace.id(), Signal::SIGINT);
        self.strace.wait().unwrap();
    }
}

/// What makes the main thread's calls of a program go wrong from its very start, as arguments of
/// `strace`, to be followed by the program. The process is the program's own.
#[must_use]
pub fn from_the_start(calls: &str, fault: &str) -> Vec<String> {
    let trace = format!("trace={calls}");
    let inject = format!("inject={calls}:{fault}");
    ["-D", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]
        .map(str::to_owned)
        .into()
}

/// Sets a limit of a process that runs, as `prlimit` spells it.
///
/// # Panics
/// If it cannot be set.
#[track_caller]
pub fn limit(pid: u32, limit: &str) {
    let status = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), limit])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Its open descriptors, by what they are.
///
/// # Panics
/// If the process is gone.
#[must_use]
pub fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        // One that is closed meanwhile is none.
        let Ok(target) = fs::read_link(entry.unwrap().path()) else {
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        let kind = target.split(':').next().unwrap().to_owned();
        *found.entry(kind).or_default() += 1;
    }
    found
}

/// What a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Children that are dead and not reaped.
    pub zombies: usize,
    /// Resident memory.
    pub resident_kib: u64,
}

impl Footprint {
    /// Of this one now; `None` if it is gone.
    #[must_use]
    pub fn of(pid: u32) -> Option<Footprint> {
        let entries = |of: &str| Some(fs::read_dir(format!("/proc/{pid}/{of}")).ok()?.count());
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Some(Footprint {
            descriptors: entries("fd")?,
            threads: entries("task")?,
            zombies: zombies_of(pid),
            resident_kib: resident?.trim().trim_end_matches(" kB").parse().ok()?,
        })
    }
}

/// `State` and parent of every process, by `/proc`.
fn zombies_of(parent: u32) -> usize {
    children_of(parent)
        .into_iter()
        .filter(|&(_, state)| state == 'Z')
        .count()
}

/// The children of a process, with their states.
///
/// # Panics
/// If there is no `/proc`.
#[must_use]
pub fn children_of(parent: u32) -> Vec<(u32, char)> {
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(crate::processes::Process::of)
        .filter(|process| process.parent == parent)
        .map(|process| (process.pid, process.state))
        .collect()
}

/// A control group of version 1. Nobody may be in it any more when it is dropped.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// Of this controller.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(controller: &str) -> Group {
        let name = folder();
        fs::remove_dir(&name).unwrap();
        let controller = Path::new("/sys/fs/cgroup").join(controller);
        let path = controller.join(name.file_name().unwrap());
        fs::create_dir(&path).unwrap();
        Group(path)
    }

    /// Writes one of its files.
    ///
    /// # Panics
    /// If it cannot be written.
    #[track_caller]
    pub fn set(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value).unwrap();
    }

    /// A command that starts in it.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]);
        command.arg(&self.0).arg(program);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while fs::remove_dir(&self.0).is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A small generator, so that what is done at random can be done again.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// That rolls the same as any other of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// A number less than that.
    pub fn below(&mut self, bound: u64) -> u64 {
        // `splitmix64`.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
