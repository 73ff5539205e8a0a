//! The terminal that the monitor was started on.

use std::io;
use std::os::fd::AsFd;

/// May this process read from the terminal on standard input without being stopped for it?
pub(crate) fn in_foreground() -> bool {
    nix::unistd::tcgetpgrp(io::stdin().as_fd()).is_ok_and(|group| group == nix::unistd::getpgrp())
}
