//! The one place for raw calls to the operating system.
//!
//! Everything here is a thin, safe function. What std or nix offers safely is used through them;
//! the few calls that neither has (`waitid` and `wait4`, `prctl`, `getauxval`, a socket's peer,
//! descriptors in a message, a signal handler) are the only `unsafe` blocks of the library.

#[cfg(all(test, not(miri)))]
pub(crate) mod counting;
mod fd;
mod image;
mod orphan;
mod process;
mod signal;
mod socket;
mod terminal;

pub(crate) use fd::{
    Interest, Poll, Waker, is_socket, peer_credentials, poll, read, replace_fd, set_nonblocking,
    take_stdin, write_nonblocking,
};
pub(crate) use image::{Image, Stamp, executable_identity, executable_name, path_on_disk};
pub(crate) use orphan::{adopt_orphans, dead_child, reap_if_dead};
#[cfg(feature = "webhook")]
pub(crate) use process::restrict_memory;
pub(crate) use process::{
    Usage, die_with_parent, kill_group, kill_own_group, observe_death, parent_id, reap,
    set_process_name, terminate_group, user_id,
};
pub(crate) use signal::{
    TakeSignal, block_in_this_thread, clear_mask, disarm, hangup_is_ignored, keep_hangup_ignored,
    on_signals, raise_default, signal_name, take_hangup, tell_hangups_apart,
};
pub(crate) use socket::{
    is_listening, is_nonblocking, is_tcp_listener, listen, receive_with_fds, send_with_fds,
    take_passed_fds,
};
pub(crate) use terminal::in_foreground;
