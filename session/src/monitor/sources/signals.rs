//! SIGINT, SIGTERM and SIGHUP to the monitor.

use crossbeam_channel::Sender;

use crate::error::{Error, Result};
use crate::monitor::input::Input;
use crate::sys;

/// Must be called before the first worker is spawned. Under `nohup` SIGHUP stays ignored.
pub(in crate::monitor) fn install(inbox: Sender<Box<Input>>) -> Result<()> {
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
