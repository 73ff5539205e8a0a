//! A server that keeps itself alive.
//!
//! A stand-in: it has the items that `#[session::main]` names, runs the work and reports.
#![allow(missing_docs, missing_debug_implementations)]

use std::path::PathBuf;
use std::process::{ExitCode, Termination};

pub use session_macros::main;

pub struct Worker;

pub struct Monitor;

pub trait Outcome {}
impl Outcome for () {}
impl<T, E: std::fmt::Debug> Outcome for Result<T, E> {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanicPolicy {
    Any,
    Main,
}

pub struct Session<T> {
    work: Box<dyn FnOnce(Worker) -> T + Send>,
    describe: fn(&T) -> Option<String>,
    monitor: Box<dyn FnOnce(&mut Monitor)>,
}

impl<T: Termination + 'static> Session<T> {
    pub fn new(work: impl FnOnce(Worker) -> T + Send + 'static) -> Self {
        Self {
            work: Box::new(work),
            describe: |_| None,
            monitor: Box::new(|_| ()),
        }
    }
    pub fn describe(mut self, describe: fn(&T) -> Option<String>) -> Self {
        self.describe = describe;
        self
    }
    pub fn monitor<R: Outcome>(mut self, f: impl FnOnce(&mut Monitor) -> R + 'static) -> Self {
        self.monitor = Box::new(|monitor| drop(f(monitor)));
        self
    }
    pub fn config(self, _path: impl Into<PathBuf>) -> Self {
        self
    }
    pub fn panic(self, _policy: PanicPolicy) -> Self {
        self
    }
    pub fn stack(self, _bytes: usize) -> Self {
        self
    }
    pub fn launch(self) -> ExitCode {
        (self.monitor)(&mut Monitor);
        let outcome = (self.work)(Worker);
        let _ = (self.describe)(&outcome);
        outcome.report()
    }
}

#[doc(hidden)]
pub mod __private {
    pub struct Told<'a, T>(pub &'a T);
    impl<T, E: std::fmt::Debug> Told<'_, Result<T, E>> {
        pub fn error_text(&self) -> Option<String> {
            self.0.as_ref().err().map(|error| format!("{error:?}"))
        }
    }
    pub trait NoError {
        fn error_text(&self) -> Option<String> {
            None
        }
    }
    impl<T> NoError for Told<'_, T> {}
}
