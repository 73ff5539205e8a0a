//! Starting a worker: the hot path of every restart.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::launch::role::{self, MARKER};
use crate::sys::Image;

/// What never changes from one worker to the next, and the program that they run.
#[derive(Debug)]
pub(super) struct Recipe {
    program: Arc<Program>,
    depth: u32,
    surroundings: Arc<Surroundings>,
}

/// An image, and the marker that tells a process of it that it is a worker.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) image: Image,
    marker: String,
}

/// An HTTP client would take a timeout from here, and with it threads that it abandons.
#[cfg(feature = "webhook")]
const CLIENT_TIMEOUT: &str = "MINREQ_TIMEOUT";

#[derive(Debug)]
struct Surroundings {
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
    pub(super) fn new(image: Image, depth: u32) -> io::Result<Recipe> {
        let mut args = std::env::args_os();
        let name = args.next().unwrap_or_else(|| "session".into());
        let is_removed = |name: &OsString| {
            let name = name.to_string_lossy();
            name.starts_with("LISTEN_") || name.starts_with("WATCHDOG_") || name == "NOTIFY_SOCKET"
        };
        let removed = std::env::vars_os()
            .map(|(name, _)| name)
            .filter(is_removed)
            .collect();
        Ok(Recipe {
            program: Arc::new(Program::new(image, depth)?),
            depth,
            surroundings: Arc::new(Surroundings {
                name,
                args: args.collect(),
                removed,
            }),
        })
    }

    /// The program that spawns run.
    pub(super) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Another image, as a program of this session.
    pub(super) fn program_of(&self, image: Image) -> io::Result<Arc<Program>> {
        Program::new(image, self.depth).map(Arc::new)
    }

    /// From now on spawns run this one.
    pub(super) fn adopt(&mut self, program: Arc<Program>) {
        self.program = program;
    }

    /// What starts this program, from whatever thread.
    pub(super) fn spawner(&self, program: &Arc<Program>) -> Spawner {
        Spawner {
            program: Arc::clone(program),
            surroundings: Arc::clone(&self.surroundings),
        }
    }
}

impl Program {
    fn new(image: Image, depth: u32) -> io::Result<Program> {
        let marker = role::marker(std::process::id(), depth, image.identity()?);
        Ok(Program { image, marker })
    }
}

/// Starts processes of one program.
#[derive(Debug)]
pub(super) struct Spawner {
    program: Arc<Program>,
    surroundings: Arc<Surroundings>,
}

impl Spawner {
    /// Starts a worker in a process group of its own, with its end of the channel as standard
    /// input. Nothing here may need `fork`: no `pre_exec`, no change of user.
    pub(super) fn spawn(&self, channel: OwnedFd) -> io::Result<Spawned> {
        start(self.command(&self.program.marker), channel)
    }

    /// Starts a courier likewise.
    #[cfg(feature = "webhook")]
    pub(super) fn spawn_courier(&self, channel: OwnedFd) -> io::Result<Spawned> {
        let mut command = self.command(&role::courier_marker(&self.program.marker));
        command.env_remove(CLIENT_TIMEOUT);
        start(command, channel)
    }

    fn command(&self, marker: &str) -> Command {
        let mut command = Command::new(self.program.image.path());
        command
            .arg0(&self.surroundings.name)
            .args(&self.surroundings.args)
            .env(MARKER, marker)
            .process_group(0);
        for name in &self.surroundings.removed {
            command.env_remove(name);
        }
        command
    }
}

fn start(mut command: Command, channel: OwnedFd) -> io::Result<Spawned> {
    command
        .stdin(Stdio::from(channel))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // The command holds our copy of the worker's end: with it the channel would never close.
    drop(command);
    let pid = child.id();
    match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => Ok(Spawned {
            pid,
            stdout: stdout.into(),
            stderr: stderr.into(),
        }),
        _ => Err(io::Error::other("a piped output is missing")),
    }
}

/// Both ends of a channel; ours does not block.
pub(super) fn channel() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    crate::sys::set_nonblocking(ours.as_fd())?;
    Ok((ours, theirs.into()))
}
