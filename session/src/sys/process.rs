//! Processes: observing a death, reaping, and signalling a group.

#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::report::ExitStatus;

/// What a worker used, as the kernel counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_time: Duration,
    /// In bytes; 0 where the system does not tell.
    pub(crate) peak_memory: u64,
}

/// How the wait for a death ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Died {
    /// It is dead and not reaped: its pid still belongs to it.
    Unreaped,
    /// The kernel knows no such child (somebody else reaped it).
    Unknown,
}

/// Blocks until the child is dead and leaves it unreaped, so that no signal can meet a reused pid.
pub(crate) fn observe_death(pid: u32) -> Died {
    loop {
        // SAFETY: an all-zero `siginfo_t` is a valid value, and the call only writes to it.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live `siginfo_t`.
        let outcome = unsafe {
            libc::waitid(
                libc::P_PID,
                pid as libc::id_t,
                &raw mut info,
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        if outcome == 0 {
            return Died::Unreaped;
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Died::Unknown;
        }
    }
}

/// Reaps a child that [`observe_death`] has seen dead; never blocks.
pub(crate) fn reap(pid: u32) -> (ExitStatus, Usage) {
    let mut status = 0;
    // SAFETY: an all-zero `rusage` is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let raw = pid.cast_signed();
    // SAFETY: both pointers are to live values of the types the call fills in.
    let reaped = unsafe { libc::wait4(raw, &raw mut status, libc::WNOHANG, &raw mut usage) };
    if reaped != raw {
        return (ExitStatus::Unknown, Usage::default());
    }
    (exit_status(status), usage_of(&usage))
}

fn exit_status(status: libc::c_int) -> ExitStatus {
    if libc::WIFEXITED(status) {
        ExitStatus::Code(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        ExitStatus::Signal {
            number: libc::WTERMSIG(status),
            core_dumped: libc::WCOREDUMP(status),
        }
    } else {
        ExitStatus::Unknown
    }
}

fn usage_of(usage: &libc::rusage) -> Usage {
    let time = |value: libc::timeval| {
        let seconds = u64::try_from(value.tv_sec).unwrap_or(0);
        let micros = u64::try_from(value.tv_usec).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    // Linux and FreeBSD count kibibytes, macOS bytes.
    let unit = if cfg!(target_vendor = "apple") {
        1
    } else {
        1024
    };
    Usage {
        cpu_time: time(usage.ru_utime) + time(usage.ru_stime),
        peak_memory: u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit,
    }
}

/// SIGKILL to the whole process group. The leader must not have been reaped.
pub(crate) fn kill_group(leader: u32) {
    signal_group(leader, Signal::SIGKILL);
}

/// SIGTERM, then SIGCONT so that a stopped process meets it.
pub(crate) fn terminate_group(leader: u32) {
    signal_group(leader, Signal::SIGTERM);
    signal_group(leader, Signal::SIGCONT);
}

fn signal_group(leader: u32, signal: Signal) {
    // Only a group that is gone can refuse (ESRCH), and then there is nothing left to signal.
    let _ = killpg(Pid::from_raw(leader.cast_signed()), signal);
}

/// This process's own group, if it leads one: what it may end together with itself.
pub(crate) fn own_group() -> Option<u32> {
    let leader = nix::unistd::getpgrp();
    (leader == nix::unistd::getpid()).then(std::process::id)
}

/// Ends this process by SIGKILL, and with it its whole group if it leads one.
pub(crate) fn kill_own_group() -> ! {
    if let Some(leader) = own_group() {
        kill_group(leader);
    }
    let _ = nix::sys::signal::raise(Signal::SIGKILL);
    // Nothing outlives SIGKILL; this is for the type, and for a kernel that has yet to deliver it.
    std::process::abort()
}

pub(crate) fn parent_id() -> u32 {
    std::os::unix::process::parent_id()
}

pub(crate) fn user_id() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Asks the kernel to kill this process when the thread that spawned it ends. The caller must
/// then check that its parent is still there.
pub(crate) fn die_with_parent() {
    #[cfg(target_os = "linux")]
    // SAFETY: takes no pointer; sets one attribute of this process.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
}

/// Bounds what this process can take for data, and keeps what it knows out of core files. A system
/// that knows no such bound goes without.
#[cfg(feature = "webhook")]
pub(crate) fn restrict_memory(bytes: u64) {
    use nix::sys::resource::{Resource, setrlimit};
    for (what, most) in [(Resource::RLIMIT_DATA, bytes), (Resource::RLIMIT_CORE, 0)] {
        let _ = setrlimit(what, most as _, most as _);
    }
}

/// The name that `ps` and `top` show. Linux keeps the first 15 bytes.
pub(crate) fn set_process_name(name: &str) {
    #[cfg(target_os = "linux")]
    if let Ok(name) = std::ffi::CString::new(name) {
        // SAFETY: the pointer is to a NUL-terminated string that outlives the call.
        unsafe {
            libc::prctl(libc::PR_SET_NAME, name.as_ptr());
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = name;
}
