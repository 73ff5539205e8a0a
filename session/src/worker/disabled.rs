//! What `SESSION_DISABLE=1` puts in the monitor's place.

use std::path::Path;

use super::shared::Settings;
use crate::error::Result;

/// The settings that a monitor would have sent. (Stand-in until the configuration is merged.)
#[allow(clippy::unnecessary_wraps)]
pub(super) fn settings(_config: Option<&Path>) -> Result<Settings> {
    Ok(Settings::default())
}
