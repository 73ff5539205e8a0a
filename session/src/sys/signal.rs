//! Signals: masks, dispositions, the worker's own handler, and names.

#![allow(unsafe_code)]

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::fd::Waker;

/// Lets every signal through: a launcher may have left some blocked.
pub(crate) fn clear_mask() {
    let _ = SigSet::empty().thread_set_mask();
}

/// Blocks the signals in the calling thread alone.
pub(crate) fn block_in_this_thread(signals: &[Signal]) {
    let _ = signals.iter().copied().collect::<SigSet>().thread_block();
}

/// Is SIGHUP ignored, as `nohup` leaves it?
pub(crate) fn hangup_is_ignored() -> bool {
    hangup_action().is_some_and(|action| action.sa_sigaction == libc::SIG_IGN)
}

/// What is done at SIGHUP now.
fn hangup_action() -> Option<libc::sigaction> {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null new action only asks; the call fills in `current` when it succeeds.
    let asked = unsafe { libc::sigaction(libc::SIGHUP, std::ptr::null(), current.as_mut_ptr()) };
    // SAFETY: the call succeeded, so `current` is filled in.
    (asked == 0).then(|| unsafe { current.assume_init() })
}

/// Runs `install`, which may put a handler on SIGHUP, and leaves SIGHUP ignored. It is blocked
/// meanwhile, in every thread that `install` starts too, so that none can slip through.
pub(crate) fn keep_hangup_ignored<T>(install: impl FnOnce() -> T) -> T {
    block_in_this_thread(&[Signal::SIGHUP]);
    let outcome = install();
    let _ = set(Signal::SIGHUP, SigHandler::SigIgn);
    clear_mask();
    outcome
}

/// Where the handler writes its byte; -1 before it is installed.
static WAKE: AtomicI32 = AtomicI32::new(-1);
/// The signals that came and were not taken yet, a bit for each.
static CAME: AtomicU32 = AtomicU32::new(0);

/// Takes one signal that came, if there is any; one that came twice meanwhile is one.
pub(crate) type TakeSignal = fn() -> Option<Signal>;

/// Installs a handler that remembers the signals and wakes `waker`, which lives as long as the
/// process. A handler that the user installs later replaces it.
pub(crate) fn on_signals(signals: &[Signal], waker: &'static Waker) -> io::Result<TakeSignal> {
    WAKE.store(waker.writer(), Ordering::SeqCst);
    for signal in signals {
        set(*signal, SigHandler::Handler(remember))?;
    }
    Ok(take_signal)
}

fn take_signal() -> Option<Signal> {
    let lowest = CAME.load(Ordering::SeqCst).trailing_zeros();
    let bit = 1_u32.checked_shl(lowest)?;
    CAME.fetch_and(!bit, Ordering::SeqCst);
    Signal::try_from(lowest.cast_signed()).ok()
}

extern "C" fn remember(signal: libc::c_int) {
    // The classic signals, 1 to 31, are the only ones that it is installed for.
    let bit = 1_u32.wrapping_shl(signal.cast_unsigned());
    CAME.fetch_or(bit, Ordering::SeqCst);
    let saved = nix::errno::Errno::last_raw();
    // SAFETY: `write` is async-signal-safe, and the byte outlives the call.
    unsafe { libc::write(WAKE.load(Ordering::SeqCst), c"!".as_ptr().cast(), 1) };
    nix::errno::Errno::set_raw(saved);
}

/// From now on these do nothing to this process, and what they would to whatever it starts.
pub(crate) fn disarm(signals: &[Signal]) -> io::Result<()> {
    signals
        .iter()
        .try_for_each(|signal| set(*signal, SigHandler::Handler(do_nothing)))
}

extern "C" fn do_nothing(_: libc::c_int) {}

/// Hang-ups that came, less those that were taken.
static HANGUPS: AtomicU32 = AtomicU32::new(0);
/// The handler of SIGHUP that ours hands each on to.
static NEXT: OnceLock<extern "C" fn(libc::c_int)> = OnceLock::new();

/// From now on each SIGHUP is counted before the handler that is installed now hears of it, as it
/// hears of every other signal alike. Ignored, it stays ignored.
pub(crate) fn tell_hangups_apart() -> io::Result<()> {
    // The next one is known before ours can be called, so none is lost between the two.
    if let Some(next) = hangup_handler() {
        let _ = NEXT.set(next);
        set(Signal::SIGHUP, SigHandler::Handler(count_hangup))?;
    }
    Ok(())
}

/// The function that is called at SIGHUP now, if it is one that takes the signal alone.
fn hangup_handler() -> Option<extern "C" fn(libc::c_int)> {
    let action = hangup_action()?;
    let is_function = ![libc::SIG_IGN, libc::SIG_DFL].contains(&action.sa_sigaction);
    if !is_function || action.sa_flags & libc::SA_SIGINFO != 0 {
        return None;
    }
    // SAFETY: it is neither of the two values that are no address, and without SA_SIGINFO the
    // address is that of a function of this type.
    Some(unsafe {
        std::mem::transmute::<libc::sighandler_t, extern "C" fn(libc::c_int)>(action.sa_sigaction)
    })
}

/// Is there one that was counted? Then it is taken.
pub(crate) fn take_hangup() -> bool {
    let one_less = |count: u32| count.checked_sub(1);
    HANGUPS
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
        .is_ok()
}

extern "C" fn count_hangup(signal: libc::c_int) {
    HANGUPS.fetch_add(1, Ordering::SeqCst);
    if let Some(next) = NEXT.get() {
        next(signal);
    }
}

/// Ends this process by the signal itself, so that its parent reads the truth from the status.
pub(crate) fn raise_default(signal: Signal) {
    let _ = set(signal, SigHandler::SigDfl);
    clear_mask();
    let _ = nix::sys::signal::raise(signal);
}

fn set(signal: Signal, handler: SigHandler) -> io::Result<()> {
    // A child that is merely stopped is no news.
    let flags = SaFlags::SA_RESTART | SaFlags::SA_NOCLDSTOP;
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: the handler functions given are `remember`, which does nothing but atomic operations
    // and one `write`, `count_hangup`, which does nothing but atomic operations and calls the
    // handler that was there before, and `do_nothing`.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// `SIGSEGV` for 11; the bare number where the system has no name for it.
pub(crate) fn signal_name(number: i32) -> String {
    Signal::try_from(number)
        .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}
