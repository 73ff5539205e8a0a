//! Signals to the monitor: SIGINT, SIGTERM and SIGHUP stop it, SIGUSR2 reloads, SIGCHLD tells of
//! dead children. SIGUSR1 and SIGXFSZ, which would end it, do nothing: a log file at its limit of
//! size is no reason to let a server die.

use crossbeam_channel::Sender;
use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::monitor::input::Input;
use crate::sys::{self, TakeSignal, Waker};

/// Those that wake the thread which reads from the workers.
#[derive(Clone, Copy, Debug)]
pub(in crate::monitor) struct Signals {
    pub(in crate::monitor) waker: &'static Waker,
    take: TakeSignal,
}

impl Signals {
    /// First of all, since most of them would end the process until then.
    pub(in crate::monitor) fn install() -> Result<Signals> {
        // The handler may need it until the process is gone.
        let waker: &'static Waker =
            Box::leak(Box::new(Waker::new().map_err(Error::os("make a pipe"))?));
        let install = || {
            sys::disarm(&[Signal::SIGUSR1, Signal::SIGXFSZ])?;
            sys::on_signals(&[Signal::SIGUSR2, Signal::SIGCHLD], waker)
        };
        let take = install().map_err(Error::os("install the signal handlers"))?;
        Ok(Signals { waker, take })
    }

    /// What came, each kind once.
    pub(super) fn take(self) -> impl Iterator<Item = Input> {
        std::iter::from_fn(self.take).map(|signal| match signal {
            Signal::SIGCHLD => Input::ChildDied,
            _ => Input::Reload,
        })
    }
}

/// Must be called before the first worker is spawned. Under `nohup` SIGHUP stays ignored.
pub(in crate::monitor) fn obey_stops(inbox: Sender<Box<Input>>) -> Result<()> {
    let install = || {
        ctrlc::set_handler(move || {
            // On a thread of its own, so it may wait for room; an inbox that is gone belongs to
            // a session that is over.
            let _ = inbox.send(Box::new(if sys::take_hangup() {
                Input::HangUp
            } else {
                Input::Signal
            }));
        })
    };
    let outcome = if sys::hangup_is_ignored() {
        sys::keep_hangup_ignored(install)
    } else {
        install()
    };
    outcome
        .map_err(std::io::Error::other)
        .and_then(|()| sys::tell_hangups_apart())
        .map_err(Error::os("install the signal handlers"))
}
