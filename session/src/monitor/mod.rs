//! The monitor. (Stand-in until the real one is merged.)

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::{Error, Result};

/// The monitor, as the function that sets it up is given it.
#[derive(Debug)]
pub struct Monitor;

/// A handle on the running monitor.
#[derive(Clone, Debug)]
pub struct MonitorHandle;

impl MonitorHandle {
    /// Ends the session.
    ///
    /// # Errors
    /// If it is ending already.
    pub fn kill(&self, _reason: impl Into<String>, _graceful: bool, _code: u8) -> Result<()> {
        Ok(())
    }
}

#[allow(clippy::type_complexity)]
/// What the program asked for when it launched its session.
pub(crate) struct MonitorPlan {
    pub(crate) setup: Option<Box<dyn FnOnce(&mut Monitor) -> Result<()>>>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) depth: u32,
}

/// The monitor of this process, if it is one.
pub(crate) fn current() -> Result<MonitorHandle> {
    Err(Error::NotMonitor)
}

pub(crate) fn run(plan: MonitorPlan) -> Result<ExitCode> {
    if let Some(setup) = plan.setup {
        setup(&mut Monitor)?;
    }
    Ok(ExitCode::SUCCESS)
}
