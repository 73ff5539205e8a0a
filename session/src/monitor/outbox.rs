//! The monitor's lines to one worker: written at once where the socket takes them, and finished
//! by the I/O thread where it does not. Nobody ever waits for a worker that does not read.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::ipc::codec::MAX_LINE;
use crate::ipc::peer::Wire;
use crate::sys::{self, Waker};

/// The most that waits for a worker: one line of the longest kind and another behind it.
pub(super) const MAX_UNSENT: usize = 2 * MAX_LINE;

#[derive(Debug)]
pub(super) struct Outbox {
    socket: Arc<UnixStream>,
    unsent: Mutex<Unsent>,
    waker: &'static Waker,
}

#[derive(Debug, Default)]
struct Unsent {
    bytes: Vec<u8>,
    closed: bool,
}

impl Outbox {
    pub(super) fn new(socket: Arc<UnixStream>, waker: &'static Waker) -> Outbox {
        Outbox {
            socket,
            unsent: Mutex::default(),
            waker,
        }
    }

    /// Is there something that the I/O thread has to finish?
    pub(super) fn is_waiting(&self) -> bool {
        !self.lock().bytes.is_empty()
    }

    /// Writes what the socket takes now.
    pub(super) fn flush(&self) {
        let mut unsent = self.lock();
        match sys::write_nonblocking(self.socket.as_fd(), &unsent.bytes) {
            Ok(count) => drop(unsent.bytes.drain(..count)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => unsent.close(),
        }
        if unsent.bytes.is_empty() {
            unsent.bytes = Vec::new();
        }
    }

    pub(super) fn close(&self) {
        self.lock().close();
    }

    fn lock(&self) -> MutexGuard<'_, Unsent> {
        // Nothing can panic while the lock is held, so what is unsent is whole in any case.
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unsent {
    fn close(&mut self) {
        self.closed = true;
        self.bytes = Vec::new();
    }
}

impl Outbox {
    /// Writes a line that descriptors travel with. They cannot wait: a worker that does not read
    /// gets neither.
    pub(super) fn write_line_with(&self, line: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        let mut unsent = self.lock();
        if unsent.closed {
            return Err(Error::PeerDied);
        }
        if !unsent.bytes.is_empty() {
            return Err(Error::Busy);
        }
        match sys::send_with_fds(self.socket.as_fd(), line, fds) {
            Ok(written) => {
                self.keep(&mut unsent, &line[written..]);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(Error::Busy),
            Err(_) => {
                unsent.close();
                Err(Error::PeerDied)
            }
        }
    }

    /// For the I/O thread to finish.
    fn keep(&self, unsent: &mut Unsent, rest: &[u8]) {
        if !rest.is_empty() {
            unsent.bytes.extend_from_slice(rest);
            self.waker.wake();
        }
    }
}

impl Wire for Outbox {
    fn write_line(&self, line: Vec<u8>) -> Result<()> {
        let mut unsent = self.lock();
        if unsent.closed {
            return Err(Error::PeerDied);
        }
        let mut written = 0;
        if unsent.bytes.is_empty() {
            match sys::write_nonblocking(self.socket.as_fd(), &line) {
                Ok(count) => written = count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    unsent.close();
                    return Err(Error::PeerDied);
                }
            }
        } else if unsent.bytes.len() + line.len() > MAX_UNSENT {
            return Err(Error::Busy);
        }
        self.keep(&mut unsent, &line[written..]);
        Ok(())
    }
}

#[cfg(test)]
#[cfg(not(miri))]
mod tests {
    use std::io::Read;

    use super::*;

    fn outbox() -> (Outbox, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (
            Outbox::new(Arc::new(ours), Box::leak(Box::new(Waker::new().unwrap()))),
            theirs,
        )
    }

    #[test]
    fn a_worker_that_does_not_read_is_never_waited_for_and_gets_whole_lines() {
        let (outbox, mut theirs) = outbox();
        let line = [vec![b'x'; 9_999], vec![b'\n']].concat();
        let mut taken = 0;
        let refused = loop {
            match outbox.write_line(line.clone()) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, Error::Busy));
        assert!(outbox.lock().bytes.len() <= MAX_UNSENT);
        assert!(outbox.is_waiting());
        let mut seen = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        while seen.len() < taken * line.len() {
            let count = theirs.read(&mut chunk).unwrap();
            seen.extend_from_slice(&chunk[..count]);
            outbox.flush();
        }
        assert!(!outbox.is_waiting());
        assert_eq!(seen, line.repeat(taken));
        assert!(outbox.write_line(line).is_ok());
    }

    #[test]
    fn a_line_of_the_longest_kind_fits_and_a_dead_worker_is_told() {
        let (outbox, theirs) = outbox();
        assert!(outbox.write_line(vec![b'x'; MAX_LINE + 1]).is_ok());
        drop(theirs);
        outbox.flush();
        assert!(!outbox.is_waiting());
        assert!(matches!(
            outbox.write_line(vec![b'\n']),
            Err(Error::PeerDied)
        ));
    }
}
