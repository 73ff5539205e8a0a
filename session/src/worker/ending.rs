//! What makes a worker end. The first ending decides, whatever comes after it.

use std::convert::Infallible;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::sys::signal::Signal;

use crate::report::{ExitReason, Panic};
use crate::sys::Waker;

#[derive(Debug)]
pub(super) enum Ending {
    /// The user's main has returned; the text of its error, if it was one.
    Returned {
        error: Option<String>,
    },
    Panicked(Panic),
    Signalled(Signal),
    /// The monitor asked, or the program itself where there is no monitor, and then for this code.
    Asked {
        reason: ExitReason,
        code: Option<u8>,
    },
    MonitorGone,
}

impl Ending {
    /// What exit handlers are told.
    pub(super) fn reason(&self) -> ExitReason {
        match self {
            Ending::Returned { error: None } => ExitReason::Finished,
            Ending::Returned { error: Some(error) } => ExitReason::MainError(error.clone()),
            Ending::Panicked(panic) => ExitReason::Panic(panic.clone()),
            Ending::Signalled(signal) => ExitReason::Signal(signal.to_string()),
            Ending::Asked { reason, .. } => reason.clone(),
            Ending::MonitorGone => ExitReason::MonitorGone,
        }
    }

    /// May the user's main still be at work, and worth waiting for?
    pub(super) fn leaves_main_running(&self) -> bool {
        match self {
            Ending::Returned { .. } | Ending::Panicked(_) => false,
            Ending::Signalled(_) | Ending::Asked { .. } | Ending::MonitorGone => true,
        }
    }
}

/// Where endings arrive, from any thread, and what became of the user's main.
#[derive(Debug)]
pub(super) struct Endings {
    first: OnceLock<Ending>,
    panicking: AtomicBool,
    main: OnceLock<ExitCode>,
    waker: &'static Waker,
}

impl Endings {
    pub(super) fn new(waker: &'static Waker) -> Endings {
        Endings {
            first: OnceLock::new(),
            panicking: AtomicBool::new(false),
            main: OnceLock::new(),
            waker,
        }
    }

    /// Makes the process end. `false`: it was ending before.
    pub(super) fn begin(&self, ending: Ending) -> bool {
        let is_first = self.first.set(ending).is_ok();
        self.waker.wake();
        is_first
    }

    pub(super) fn first(&self) -> Option<&Ending> {
        self.first.get()
    }

    /// Lets one panic prepare its report before it [begins](Endings::begin) the ending.
    pub(super) fn claim_panic(&self) -> bool {
        self.first().is_none() && !self.panicking.swap(true, Ordering::SeqCst)
    }

    /// Is there a panic that will begin the ending, or has begun it?
    pub(super) fn has_panic(&self) -> bool {
        self.panicking.load(Ordering::SeqCst)
    }

    /// The user's main is over, in whatever way.
    pub(super) fn main_is_over(&self, code: ExitCode) {
        // A main that panicked, and whose panic was told, is over for the second time.
        let _ = self.main.set(code);
        self.waker.wake();
    }

    pub(super) fn code_of_main(&self) -> Option<ExitCode> {
        self.main.get().copied()
    }

    pub(super) fn waker(&self) -> &'static Waker {
        self.waker
    }
}

/// What `stopping()` hands out: receivers that disconnect when the process begins to end; and a
/// descriptor for those who sleep in a poll.
#[derive(Debug)]
pub(super) struct Stopping {
    sender: Mutex<Option<Sender<Infallible>>>,
    receiver: Receiver<Infallible>,
    taken: AtomicBool,
    /// Set under the lock of `sender`.
    fired: AtomicBool,
    /// Made, under the same lock, for the first that asks: most programs need none.
    pipe: OnceLock<(PipeReader, PipeWriter)>,
}

impl Stopping {
    pub(super) fn new() -> Stopping {
        let (sender, receiver) = bounded(0);
        Stopping {
            sender: Mutex::new(Some(sender)),
            receiver,
            taken: AtomicBool::new(false),
            fired: AtomicBool::new(false),
            pipe: OnceLock::new(),
        }
    }

    pub(super) fn receiver(&self) -> Receiver<Infallible> {
        self.follow();
        self.receiver.clone()
    }

    /// The program will end by itself when this fires.
    pub(super) fn follow(&self) {
        self.taken.store(true, Ordering::SeqCst);
    }

    /// Readable from the firing on, for ever and for everybody: nobody reads the byte.
    pub(super) fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some((reader, _)) = self.pipe.get() {
            return Ok(reader.as_fd());
        }
        let (reader, mut writer) = io::pipe()?;
        let _sender = self.lock();
        if self.has_fired() {
            writer.write_all(b"!")?;
        }
        // Another thread may have been faster; then this pipe is dropped.
        let (reader, _) = self.pipe.get_or_init(|| (reader, writer));
        Ok(reader.as_fd())
    }

    pub(super) fn has_fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }

    /// Did the program ever ask for it? Then it knows how to end by itself.
    pub(super) fn was_taken(&self) -> bool {
        self.taken.load(Ordering::SeqCst)
    }

    pub(super) fn fire(&self) {
        let mut sender = self.lock();
        self.fired.store(true, Ordering::SeqCst);
        if sender.take().is_some()
            && let Some((_, writer)) = self.pipe.get()
        {
            // An empty pipe with a reader takes one byte. Closing it would do as well, but for a
            // copy in a forked child.
            let _ = (&*writer).write(b"!");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Sender<Infallible>>> {
        // Nothing can panic while the lock is held.
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::sync::Barrier;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sys::{Interest, Poll, poll};

    fn endings() -> Endings {
        Endings::new(Box::leak(Box::new(Waker::new().unwrap())))
    }

    #[test]
    fn the_first_ending_decides() {
        let endings = endings();
        assert!(endings.first().is_none());
        assert!(endings.begin(Ending::Signalled(Signal::SIGTERM)));
        assert!(!endings.begin(Ending::MonitorGone));
        let first = endings.first().unwrap();
        assert_eq!(first.reason(), ExitReason::Signal("SIGTERM".into()));
    }

    #[test]
    fn an_ending_wakes_the_control_thread() {
        let endings = endings();
        let woken = |endings: &Endings| {
            let mut wait = [Poll::new(endings.waker().fd(), Interest::Read)];
            poll(&mut wait, Some(Instant::now())).unwrap();
            endings.waker().clear();
            wait[0].readable()
        };
        assert!(!woken(&endings));
        endings.begin(Ending::MonitorGone);
        assert!(woken(&endings));
        endings.main_is_over(ExitCode::SUCCESS);
        assert!(woken(&endings));
    }

    #[test]
    fn one_panic_is_reported_and_only_if_nothing_ends_yet() {
        let one = endings();
        assert!(!one.has_panic());
        assert!(one.claim_panic());
        assert!(!one.claim_panic());
        assert!(one.has_panic());
        let other = endings();
        other.begin(Ending::MonitorGone);
        assert!(!other.claim_panic());
        assert!(!other.has_panic());
    }

    #[test]
    fn stopping_disconnects_every_clone_and_late_comers() {
        let stopping = Stopping::new();
        assert!(!stopping.was_taken());
        let (one, other) = (stopping.receiver(), stopping.receiver());
        assert!(stopping.was_taken());
        assert!(one.recv_timeout(Duration::from_millis(1)).is_err());
        assert!(
            !one.recv_timeout(Duration::ZERO)
                .unwrap_err()
                .is_disconnected()
        );
        stopping.fire();
        stopping.fire();
        for receiver in [one, other, stopping.receiver()] {
            assert!(receiver.recv().is_err());
        }
    }

    fn is_readable(fd: BorrowedFd<'_>) -> bool {
        let mut wait = [Poll::new(fd, Interest::Read)];
        poll(&mut wait, Some(Instant::now())).unwrap();
        wait[0].readable()
    }

    #[test]
    fn who_sleeps_in_a_poll_sees_the_firing_for_ever() {
        let stopping = Stopping::new();
        let early = stopping.descriptor().unwrap();
        assert!(!stopping.was_taken() && !stopping.has_fired() && !is_readable(early));
        stopping.fire();
        stopping.fire();
        assert!(stopping.has_fired());
        for _ in 0..3 {
            assert!(is_readable(early) && is_readable(stopping.descriptor().unwrap()));
        }
    }

    #[test]
    fn who_asks_for_the_descriptor_late_sees_the_firing_too() {
        let stopping = Stopping::new();
        stopping.fire();
        assert!(is_readable(stopping.descriptor().unwrap()));
    }

    #[test]
    fn no_firing_is_missed_by_whoever_asks_meanwhile() {
        for _ in 0..200 {
            let stopping = Stopping::new();
            let start = Barrier::new(3);
            thread::scope(|scope| {
                let ask = || {
                    start.wait();
                    stopping.descriptor().unwrap()
                };
                let asked = [scope.spawn(ask), scope.spawn(ask)];
                start.wait();
                stopping.fire();
                for asked in asked {
                    assert!(is_readable(asked.join().unwrap()));
                }
            });
        }
    }
}
