//! Descriptors: polling, waking, and the worker's standard input.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
    ReadWrite,
}

/// One descriptor to wait for, and, afterwards, what it is ready for.
#[derive(Debug)]
pub(crate) struct Poll {
    raw: libc::pollfd,
}

impl Poll {
    /// The descriptor must stay open until the call to [`poll`] has returned.
    pub(crate) fn new(fd: BorrowedFd<'_>, interest: Interest) -> Poll {
        let events = match interest {
            Interest::Read => libc::POLLIN,
            Interest::Write => libc::POLLOUT,
            Interest::ReadWrite => libc::POLLIN | libc::POLLOUT,
        };
        Poll {
            raw: libc::pollfd {
                fd: fd.as_raw_fd(),
                events,
                revents: 0,
            },
        }
    }

    /// There is something to read, or the other end is gone.
    pub(crate) fn readable(&self) -> bool {
        self.raw.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }

    pub(crate) fn writable(&self) -> bool {
        self.raw.revents & (libc::POLLOUT | libc::POLLERR) != 0
    }
}

/// Waits until a descriptor is ready or the deadline has passed; `None` waits for ever.
pub(crate) fn poll(fds: &mut [Poll], deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let timeout = deadline.map_or(-1, milliseconds_until);
        let count = libc::nfds_t::try_from(fds.len())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: `Poll` is one `pollfd` (checked below), and the slice gives pointer and length.
        let ready = unsafe { libc::poll(fds.as_mut_ptr().cast(), count, timeout) };
        if ready >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

const _: () = assert!(size_of::<Poll>() == size_of::<libc::pollfd>());

/// Rounded up, so that a wait does not end a moment before its deadline.
fn milliseconds_until(deadline: Instant) -> libc::c_int {
    let left = deadline.saturating_duration_since(Instant::now());
    let rounded = left + Duration::from_micros(999);
    libc::c_int::try_from(rounded.as_millis()).unwrap_or(libc::c_int::MAX)
}

/// Wakes a thread that sleeps in [`poll`]; many wakes before it looks are one.
#[derive(Debug)]
pub(crate) struct Waker {
    reader: io::PipeReader,
    writer: io::PipeWriter,
    pending: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Waker> {
        let (reader, writer) = io::pipe()?;
        set_nonblocking(reader.as_fd())?;
        set_nonblocking(writer.as_fd())?;
        Ok(Waker {
            reader,
            writer,
            pending: AtomicBool::new(false),
        })
    }

    pub(crate) fn wake(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // A full pipe wakes as well as a byte more would; one that was not written wakes nobody,
            // now or later.
            while let Err(error) = io::Write::write(&mut &self.writer, &[1])
                && error.kind() == io::ErrorKind::Interrupted
            {}
        }
    }

    /// To be called by the sleeper before it looks for what it was woken for.
    pub(crate) fn clear(&self) {
        let mut bytes = [0; 64];
        while matches!(io::Read::read(&mut &self.reader, &mut bytes), Ok(n) if n == bytes.len()) {}
        self.pending.store(false, Ordering::SeqCst);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// The end that a signal handler may write a byte to.
    pub(super) fn writer(&self) -> RawFd {
        self.writer.as_raw_fd()
    }
}

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// A plain `read`: descriptors that a peer attached to its bytes are dropped by the kernel.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match nix::unistd::read(fd, buffer) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// One `write` on a non-blocking socket that never raises SIGPIPE.
pub(crate) fn write_nonblocking(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: pointer and length are those of `bytes`, and `fd` is open while it is borrowed.
        let sent = unsafe {
            libc::send(
                fd.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        if let Ok(sent) = usize::try_from(sent) {
            return Ok(sent);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Moves the socket on standard input to a descriptor that no child inherits, and leaves an
/// empty pipe (end of file at once) in its place, which needs no `/dev`.
pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    let channel = io::stdin().as_fd().try_clone_to_owned()?;
    let (empty, _) = io::pipe()?;
    replace_fd(empty.as_fd(), 0)?;
    Ok(channel)
}

/// Puts a copy of `fd` on the standard descriptor `onto` (0, 1 or 2), which children inherit.
pub(crate) fn replace_fd(fd: BorrowedFd<'_>, onto: RawFd) -> io::Result<()> {
    match onto {
        0 => nix::unistd::dup2_stdin(fd)?,
        1 => nix::unistd::dup2_stdout(fd)?,
        _ => nix::unistd::dup2_stderr(fd)?,
    }
    Ok(())
}

/// Is standard input a socket? Answered without `/proc`.
pub(crate) fn is_socket(fd: BorrowedFd<'_>) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fd.try_clone_to_owned()
        .and_then(|owned| File::from(owned).metadata())
        .is_ok_and(|data| data.file_type().is_socket())
}

/// Pid (where the system tells it) and user of the process that made this socket.
pub(crate) fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<(Option<u32>, u32)> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let mut peer = libc::ucred {
            pid: 0,
            uid: 0,
            gid: 0,
        };
        #[allow(clippy::cast_possible_truncation)] // A dozen bytes.
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: both pointers are to live values, and `length` is the size of the first.
        let outcome = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut peer).cast(),
                &raw mut length,
            )
        };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((u32::try_from(peer.pid).ok(), peer.uid))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let (mut uid, mut gid) = (0, 0);
        // SAFETY: both pointers are to live values of the types the call fills in.
        if unsafe { libc::getpeereid(fd.as_raw_fd(), &raw mut uid, &raw mut gid) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((None, uid))
    }
}
