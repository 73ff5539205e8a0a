//! What `SESSION_DISABLE=1` puts in the monitor's place.

use std::path::Path;

use super::shared::Settings;
use crate::error::{Error, Result};
use crate::monitor;

/// The settings that a monitor would have sent.
pub(super) fn settings(config: Option<&Path>) -> Result<Settings> {
    let config = monitor::read_config(config.map(Path::to_path_buf))?.config;
    let app = serde_json::value::to_raw_value(&config.app).map_err(Error::Json)?;
    Ok(Settings {
        host: config.host,
        ports: config.ports,
        grace: config.grace,
        app: Some(app),
        ..Settings::default()
    })
}
