//! A terminal of a test's own, which can be looked away from, and go away.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

use crate::running::read_lines;

/// The side of the one who sits at it.
#[derive(Debug)]
pub struct Terminal {
    master: File,
}

/// Ends the terminal.
#[derive(Debug)]
pub struct HangUp {
    tell: UnixStream,
    holder: JoinHandle<()>,
}

/// A terminal, and the command that makes it the controlling one of `program`, which leads a
/// session there. (`setsid` replaces itself, so the process is the program's own.)
///
/// # Panics
/// If there is none to be had.
#[must_use]
pub fn open(program: &[&str]) -> (Terminal, Command) {
    // Close-on-exec: a terminal that some other child holds open cannot go away.
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(ptsname_r(&master).unwrap())
        .unwrap();
    let slave = || Stdio::from(slave.try_clone().unwrap());
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "--"])
        .args(program)
        .stdin(slave())
        .stdout(slave())
        .stderr(slave());
    let master: OwnedFd = master.into();
    (
        Terminal {
            master: master.into(),
        },
        command,
    )
}

impl Terminal {
    /// What is written to it is typed.
    ///
    /// # Panics
    /// If it cannot be shared.
    #[must_use]
    pub fn keyboard(&self) -> File {
        self.master.try_clone().unwrap()
    }

    /// Reads all that comes, until it hangs up.
    ///
    /// # Panics
    /// If there is no thread to do it.
    #[must_use]
    pub fn read(self, lines: Sender<String>) -> HangUp {
        let (tell, told) = UnixStream::pair().unwrap();
        let screen = Screen {
            master: self.master,
            told,
        };
        let holder = read_lines(screen, lines);
        HangUp { tell, holder }
    }

    /// Reads nothing, until it hangs up.
    ///
    /// # Panics
    /// If there is no thread to do it.
    #[must_use]
    pub fn stall(self) -> HangUp {
        let (tell, mut told) = UnixStream::pair().unwrap();
        let holder = thread::spawn(move || {
            let _ = told.read(&mut [0]);
            drop(self);
        });
        HangUp { tell, holder }
    }
}

impl HangUp {
    /// Returns when the terminal is gone.
    ///
    /// # Panics
    /// If the one that held it has panicked.
    pub fn now(self) {
        drop(self.tell);
        self.holder.join().unwrap();
    }
}

/// What comes to the terminal; it ends with the terminal, or when that is to end.
struct Screen {
    master: File,
    told: UnixStream,
}

impl Read for Screen {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let of = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [of(self.master.as_fd()), of(self.told.as_fd())];
        poll(&mut fds, PollTimeout::NONE)?;
        match fds[1].any() {
            Some(false) => self.master.read(bytes),
            _ => Ok(0),
        }
    }
}
