//! Starting a worker: the hot path of every restart.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::launch::role::{self, MARKER};
use crate::sys::Image;

/// What never changes from one worker to the next.
#[derive(Debug)]
pub(super) struct Recipe {
    image: Image,
    marker: String,
    /// `argv[0]`, which the image's own path would otherwise replace.
    name: OsString,
    args: Vec<OsString>,
    /// Meant for the monitor by its service manager, and no business of a worker's.
    removed: Vec<OsString>,
}

/// A worker that has just been started.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) pid: u32,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl Recipe {
    pub(super) fn new(image: Image, depth: u32) -> Recipe {
        let marker = role::marker(std::process::id(), depth, image.identity());
        let mut args = std::env::args_os();
        let name = args.next().unwrap_or_else(|| "session".into());
        let is_removed = |name: &OsString| {
            let name = name.to_string_lossy();
            name.starts_with("LISTEN_") || name.starts_with("WATCHDOG_") || name == "NOTIFY_SOCKET"
        };
        let removed = std::env::vars_os().map(|(name, _)| name).filter(is_removed).collect();
        Recipe { image, marker, name, args: args.collect(), removed }
    }

    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    /// Starts a worker in a process group of its own, with its end of the channel as standard
    /// input. Nothing here may need `fork`: no `pre_exec`, no change of user.
    pub(super) fn spawn(&self, channel: OwnedFd) -> io::Result<Spawned> {
        let mut command = Command::new(self.image.path());
        command
            .arg0(&self.name)
            .args(&self.args)
            .env(MARKER, &self.marker)
            .process_group(0)
            .stdin(Stdio::from(channel))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in &self.removed {
            command.env_remove(name);
        }
        let mut child = command.spawn()?;
        // The command holds our copy of the worker's end: with it the channel would never close.
        drop(command);
        let pid = child.id();
        match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), Some(stderr)) => {
                Ok(Spawned { pid, stdout: stdout.into(), stderr: stderr.into() })
            }
            _ => Err(io::Error::other("a piped output is missing")),
        }
    }
}

/// Both ends of a channel; ours does not block.
pub(super) fn channel() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    crate::sys::set_nonblocking(ours.as_fd())?;
    Ok((ours, theirs.into()))
}
