//! A library that records how it is called and hands the record to `main` as its worker.
#![allow(dead_code, unused_imports)]

use std::process::{ExitCode, Termination};

/// What an error of `main` has to look like to be found in the report.
pub const ERROR: &str = "told";

#[derive(Debug, Default)]
pub struct Worker {
    pub monitor: Option<&'static str>,
    pub config: Option<String>,
    pub panic: Option<PanicPolicy>,
    pub stack: Option<usize>,
    pub calls: usize,
}

#[derive(Debug, Default)]
pub struct Monitor {
    pub note: Option<&'static str>,
}

#[derive(Debug, PartialEq)]
pub enum PanicPolicy {
    Any,
    Main,
}

pub struct Session<T> {
    work: Box<dyn FnOnce(Worker) -> T + Send>,
    describe: fn(&T) -> Option<String>,
    record: Worker,
}

impl<T: Termination + 'static> Session<T> {
    pub fn new(work: impl FnOnce(Worker) -> T + Send + 'static) -> Self {
        Self { work: Box::new(work), describe: |_| None, record: Worker::default() }
    }

    pub fn describe(self, describe: fn(&T) -> Option<String>) -> Self {
        Self { describe, ..self }
    }

    pub fn monitor<R>(self, customise: impl FnOnce(&mut Monitor) -> R + 'static) -> Self {
        let mut monitor = Monitor::default();
        customise(&mut monitor);
        self.record(|record| record.monitor = monitor.note)
    }

    pub fn config(self, path: impl Into<String>) -> Self {
        self.record(|record| record.config = Some(path.into()))
    }

    pub fn panic(self, policy: PanicPolicy) -> Self {
        self.record(|record| record.panic = Some(policy))
    }

    pub fn stack(self, bytes: usize) -> Self {
        self.record(|record| record.stack = Some(bytes))
    }

    /// Fails like `main` does, save for an error whose text is `ERROR`.
    pub fn launch(self) -> ExitCode {
        let outcome = (self.work)(self.record);
        match (self.describe)(&outcome) {
            Some(text) if text == ERROR => ExitCode::SUCCESS,
            _ => outcome.report(),
        }
    }

    fn record(mut self, note: impl FnOnce(&mut Worker)) -> Self {
        note(&mut self.record);
        self.record.calls += 1;
        self
    }
}

pub mod __private {
    pub use session::__private::{NoError, Told};
}
