//! Processes that lost their parent and were given to this one.
//!
//! Only Linux gives them to another than process 1.

#![allow(unsafe_code)]

/// From now on whoever descends from this process and loses its parent becomes its child, as it
/// becomes that of process 1 elsewhere.
pub(crate) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    // SAFETY: takes no pointer; sets one attribute of this process.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    }
}

/// A child of the calling thread that is dead and not reaped. Orphans are given to a process's
/// first thread, and other threads wait for their own children themselves.
#[cfg(target_os = "linux")]
pub(crate) fn dead_child() -> Option<u32> {
    let which = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WNOTHREAD;
    // SAFETY: an all-zero `siginfo_t` is a valid value, and the call only writes to it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `siginfo_t`.
    let outcome = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, which) };
    if outcome != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it has filled in the member of a child, or left it zero.
    let pid = unsafe { info.si_pid() };
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn dead_child() -> Option<u32> {
    None
}

/// Reaps this child if it is dead; `true` if it was.
pub(crate) fn reap_if_dead(pid: u32) -> bool {
    let raw = pid.cast_signed();
    // SAFETY: a null status is allowed and asks for none.
    unsafe { libc::waitpid(raw, std::ptr::null_mut(), libc::WNOHANG) == raw }
}
