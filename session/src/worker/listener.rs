//! The listener that a worker serves: a socket that its monitor holds.
//!
//! The socket is shared with the monitor and with the workers before and after, and so are its
//! flags: a blocking accept that lost the race for a connection could never be ended, and the
//! usual trick for that, shutting the socket down, would do so for all. So it never blocks, and
//! the wait is in a poll, beside a descriptor that tells of the stop.

use std::fmt;
use std::io::{self, ErrorKind};
use std::iter::FusedIterator;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::shared::{Link, Shared};
use crate::error::{Error, Result};
use crate::ipc::message::{Handed, Nothing, ToMonitor};
use crate::sys::{self, Interest, Poll};

/// How long the monitor may take to bind a port and to hand it over. It does nothing that waits.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a listener rests after an error that another accept would meet at once: short for a
/// client that waits, long for a processor that has better things to do.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A listening socket that the monitor holds, so that no connection is refused while a worker is
/// replaced or dead: it waits for the next one.
///
/// It is had from [`Worker::listener`](crate::Worker::listener). A server of threads takes its
/// visitors from [`incoming`](Listener::incoming); several threads may do so at once.
///
/// ```no_run
/// use std::io::Write;
///
/// #[session::main]
/// fn main(worker: session::Worker) -> Result<(), Box<dyn std::error::Error>> {
///     let listener = worker.listener("server")?;
///     for visitor in listener.incoming() {
///         match visitor {
///             Ok(mut visitor) => {
///                 // It may be gone already; that is no reason to end the server.
///                 let _ = visitor.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n");
///             }
///             Err(error) => eprintln!("no visitor: {error}"),
///         }
///     }
///     // The monitor has asked this worker to end: finish what was begun, and return.
///     Ok(())
/// }
/// ```
///
/// An async server takes the socket itself, by [`into_std`](Listener::into_std).
///
/// The socket is shared: do not shut it down, and do not make it block. What does is repaired by
/// the monitor after this worker's end, and not before.
pub struct Listener {
    public: TcpListener,
    /// This generation's own, on loopback: whoever is asked there can only be this worker.
    private: Option<TcpListener>,
    has_told: AtomicBool,
    shared: Arc<Shared>,
}

impl Listener {
    pub(super) fn new(
        public: TcpListener,
        private: Option<TcpListener>,
        shared: Arc<Shared>,
    ) -> Listener {
        Listener {
            public,
            private,
            has_told: AtomicBool::new(false),
            shared,
        }
    }

    /// The visitors, for ever: until this worker is asked to stop, and then it ends. Connections
    /// that wait in the queue are left to the next worker.
    ///
    /// A program that uses it is given time to return from its `main`, as one that uses
    /// [`stopping`](crate::Worker::stopping) is.
    ///
    /// An error is told once and is no end: the process is out of descriptors, or the kernel of
    /// memory, and the next visitor is taken as soon as there is room again. What concerns one
    /// connection alone is not told.
    ///
    /// The monitor's probes are among the visitors; they come by a listener of this worker alone.
    pub fn incoming(&self) -> Incoming<'_> {
        self.shared.stopping.follow();
        if self.private.is_some() && !self.has_told.swap(true, Ordering::SeqCst) {
            // A monitor that is gone is seen elsewhere.
            let _ = self.shared.say(&ToMonitor::Serving(Nothing {}));
        }
        Incoming {
            listener: self,
            in_trouble: false,
        }
    }

    /// The socket itself, non-blocking, as async runtimes want it.
    ///
    /// Follow [`stopping`](crate::Worker::stopping) to end in time, and call
    /// [`ready`](crate::Worker::ready) when the program serves: without `incoming` the monitor
    /// cannot probe this worker alone, so it takes over in a reload only after that.
    ///
    /// ```no_run
    /// # fn serve(worker: session::Worker) -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = worker.listener("server")?.into_std();
    /// // let listener = tokio::net::TcpListener::from_std(listener)?;
    /// worker.ready()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_std(self) -> TcpListener {
        self.public
    }

    /// The address that it listens at.
    ///
    /// # Errors
    /// What the system says if it cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Sleeps until there may be a visitor. `None`: this worker is to stop.
    fn wait(&self) -> io::Result<Option<Ready>> {
        let stopping = &self.shared.stopping;
        if stopping.has_fired() {
            return Ok(None);
        }
        let poll = |listener: &TcpListener| Poll::new(listener.as_fd(), Interest::Read);
        let mut fds = [
            Poll::new(stopping.descriptor()?, Interest::Read),
            poll(&self.public),
            poll(self.private.as_ref().unwrap_or(&self.public)),
        ];
        let count = if self.private.is_some() { 3 } else { 2 };
        sys::poll(&mut fds[..count], None)?;
        // First, so that no crowd of visitors can delay a stop.
        if fds[0].readable() {
            return Ok(None);
        }
        Ok(Some(Ready {
            public: fds[1].readable(),
            private: fds[2].readable(),
        }))
    }

    /// One visitor of a listener that is ready; `None` if somebody else was faster.
    fn accept(&self, ready: Ready) -> io::Result<Option<TcpStream>> {
        // A probe first: there is one at a time, so it takes nothing from the others.
        let private = self.private.as_ref().filter(|_| ready.private);
        let public = Some(&self.public).filter(|_| ready.public);
        for listener in [private, public].into_iter().flatten() {
            match listener.accept() {
                Ok((stream, _)) => return blocking(stream).map(Some),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Waits a moment, or until this worker is to stop.
    fn rest(&self) {
        let until = Instant::now() + ACCEPT_RETRY;
        let waited = self
            .shared
            .stopping
            .descriptor()
            .and_then(|stop| sys::poll(&mut [Poll::new(stop, Interest::Read)], Some(until)));
        if waited.is_err() {
            thread::sleep(ACCEPT_RETRY);
        }
    }
}

/// Which listeners may have a visitor.
#[derive(Clone, Copy)]
struct Ready {
    public: bool,
    private: bool,
}

/// On Linux a connection blocks, whatever its listener does; on BSD and macOS it takes after it.
fn blocking(stream: TcpStream) -> io::Result<TcpStream> {
    if cfg!(not(target_os = "linux")) {
        stream.set_nonblocking(false)?;
    }
    Ok(stream)
}

/// The visitor is gone, or somebody else took it: the next one may be had at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
    ) || error.raw_os_error() == Some(libc::EPROTO)
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("public", &self.public)
            .field("private", &self.private)
            .finish_non_exhaustive()
    }
}

/// The visitors of a [`Listener`], as blocking streams; see [`Listener::incoming`].
#[derive(Debug)]
#[must_use = "it accepts nobody unless it is iterated over"]
pub struct Incoming<'a> {
    listener: &'a Listener,
    /// The last accept failed, and it was told.
    in_trouble: bool,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        loop {
            if self.in_trouble {
                self.listener.rest();
            }
            let accepted = match self.listener.wait() {
                Ok(None) => return None,
                Ok(Some(ready)) => self.listener.accept(ready),
                Err(error) => Err(error),
            };
            let was_in_trouble = std::mem::replace(&mut self.in_trouble, accepted.is_err());
            match accepted {
                Ok(Some(visitor)) => return Some(Ok(visitor)),
                Err(error) if !was_in_trouble => return Some(Err(error)),
                Ok(None) | Err(_) => {}
            }
        }
    }
}

impl FusedIterator for Incoming<'_> {}

/// Asks the monitor for the listener of a port.
pub(super) fn ask(
    shared: &Shared,
    link: &Link,
    name: &str,
) -> Result<(TcpListener, Option<TcpListener>)> {
    let _turn = shared
        .asking_to_listen
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    link.channel.close_received();
    let answer = link
        .peer
        .ask("listen", LISTEN_TIMEOUT, |id| ToMonitor::Listen {
            id,
            name: name.to_owned(),
        })?;
    let expected = count_in(answer)?;
    let fds = link.channel.take_received(expected);
    let found = fds.len();
    let mut fds = fds.into_iter().map(|fd| checked(fd, name));
    match (fds.next().transpose()?, fds.next().transpose()?) {
        (Some(public), private) if found == expected => Ok((public, private)),
        _ => Err(Error::Invalid(format!(
            "expected {expected} sockets from the monitor for `{name}`, found {found}: is this \
             process out of descriptors?"
        ))),
    }
}

fn count_in(answer: Value) -> Result<usize> {
    let Handed { fds } = serde_json::from_value(answer).map_err(Error::Json)?;
    if fds == 1 || fds == 2 {
        return Ok(fds);
    }
    Err(Error::Invalid(format!(
        "expected 1 or 2 sockets from the monitor, found {fds}"
    )))
}

fn checked(socket: OwnedFd, name: &str) -> Result<TcpListener> {
    if !sys::is_tcp_listener(socket.as_fd()) {
        return Err(Error::Invalid(format!(
            "expected a TCP socket that listens for `{name}`, found another"
        )));
    }
    let listener = TcpListener::from(socket);
    // A worker before this one may have changed it for all.
    listener
        .set_nonblocking(true)
        .map_err(Error::os("make a listener non-blocking"))?;
    Ok(listener)
}

#[cfg(all(test, not(miri)))]
mod tests;
