//! The ways to go down, or to go on worse than before.

use std::hint;
use std::io::{self, Write};
use std::process::{self, Command};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;

use nix::sys::signal::{SigHandler, Signal, signal};
use session::Worker;

/// What may be wrong with a server that still runs.
#[derive(Clone, Default)]
pub(crate) struct Hurt {
    hangs: Arc<AtomicBool>,
    left: Arc<Mutex<()>>,
    right: Arc<Mutex<()>>,
}

impl Hurt {
    /// As the route that is probed does: returns if all is well, and never if not.
    pub(crate) fn check(&self) {
        if self.hangs.load(Ordering::Relaxed) {
            sleep_for_ever();
        }
        drop(self.left.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn hang(&self) {
        self.hangs.store(true, Ordering::Relaxed);
    }

    /// Two threads take the same two locks, each in the order of its own.
    pub(crate) fn deadlock(&self) -> io::Result<()> {
        let both_have_one = Arc::new(Barrier::new(3));
        for (first, second) in [(&self.left, &self.right), (&self.right, &self.left)] {
            let (first, second) = (Arc::clone(first), Arc::clone(second));
            let meet = Arc::clone(&both_have_one);
            thread::Builder::new()
                .name("deadlocked".into())
                .spawn(move || {
                    let _first = first.lock().unwrap_or_else(PoisonError::into_inner);
                    meet.wait();
                    let _second = second.lock().unwrap_or_else(PoisonError::into_inner);
                })?;
        }
        both_have_one.wait();
        Ok(())
    }
}

pub(crate) fn sleep_for_ever() -> ! {
    loop {
        thread::park();
    }
}

/// As a null pointer to a struct does when a field is read through it. (An exact null is found by
/// the checks of a debug build, which abort.)
#[allow(unsafe_code)]
pub(crate) fn read_near_null() -> ! {
    // SAFETY: there is none, and that is the purpose. The system never maps the first page, so
    // the read cannot do anything but end the process by SIGSEGV.
    let _ = unsafe { ptr::without_provenance::<u8>(8).read_volatile() };
    process::abort()
}

/// Far deeper than any stack; the array makes each step cost, and the sum keeps them apart.
#[allow(unconditional_recursion)]
pub(crate) fn overflow(depth: u64) -> u64 {
    let step = hint::black_box([depth; 128]);
    overflow(depth + 1) + step[127]
}

pub(crate) fn write_and_abort(kilobytes: usize) -> ! {
    let mut out = io::stdout().lock();
    for line in 0..kilobytes.saturating_mul(16) {
        // 16 lines of 64 bytes are a kilobyte. Who does not read it is the point of some tests.
        let _ = out.write_all(format!("{line:>12} {:.>50}\n", "output").as_bytes());
    }
    let _ = out.flush();
    process::abort()
}

pub(crate) fn flood(worker: &Worker, messages: u64) -> String {
    let refused = (0..messages)
        .filter(|number| worker.send("flood", number).is_err())
        .count();
    format!("sent {messages}, of which {refused} were refused")
}

pub(crate) fn leak(megabytes: usize) -> String {
    // Written to, so that the memory is really taken.
    Vec::leak(vec![1_u8; megabytes.saturating_mul(1024 * 1024)]);
    format!("leaked {megabytes} MiB")
}

pub(crate) fn spin() -> io::Result<()> {
    let forever = || {
        loop {
            hint::spin_loop();
        }
    };
    thread::Builder::new()
        .name("spinning".into())
        .spawn(forever)
        .map(drop)
}

/// A process that nobody waits for, and that outlives this one if nobody ends it.
pub(crate) fn grandchild() -> String {
    match Command::new("sleep").arg("1000").spawn() {
        Ok(child) => format!("pid {}", child.id()),
        Err(error) => error.to_string(),
    }
}

#[allow(unsafe_code)]
pub(crate) fn ignore_term() -> nix::Result<()> {
    // SAFETY: no handler of ours is installed, so none can run where it must not.
    unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.map(drop)
}
