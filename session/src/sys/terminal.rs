//! The terminal that the monitor was started on.

use std::io;
use std::os::fd::AsFd;

/// May this process read from the terminal on standard input without being stopped for it?
/// `None`: the terminal is gone.
pub(crate) fn in_foreground() -> Option<bool> {
    let group = nix::unistd::tcgetpgrp(io::stdin().as_fd()).ok()?;
    Some(group == nix::unistd::getpgrp())
}
