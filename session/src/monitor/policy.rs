//! The configuration, as the supervisor needs it.

use crate::config::{Config, Readiness, RestartPolicy};
use crate::machine::{self, Backoff, Limit, Policy, Polling, Restarts};

/// The part of the configuration that decisions depend on.
pub(super) fn policy(config: &Config) -> Policy {
    let restart = &config.restart;
    // From 0 to 1, so it fits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let jitter_permille = (restart.jitter * 1000.0).round() as u16;
    Policy {
        readiness: match config.readiness {
            Readiness::Probe => machine::Readiness::Probe,
            Readiness::Call => machine::Readiness::Call,
            Readiness::Hello => machine::Readiness::Hello,
        },
        startup_timeout: config.startup_timeout,
        grace: config.grace,
        polling: config.polling_route.is_some().then_some(Polling {
            interval: config.polling_interval,
            timeout: config.polling_timeout,
        }),
        tolerance: config.polling_failure_tolerance,
        restarts: match restart.policy {
            RestartPolicy::Always => Restarts::Always,
            RestartPolicy::OnFailure => Restarts::OnFailure,
            RestartPolicy::Never => Restarts::Never,
        },
        backoff: Backoff {
            min: restart.min_delay,
            max: restart.max_delay,
            jitter_permille,
            stable: restart.stable,
        },
        limit: restart.max_failures.map(|failures| Limit {
            failures,
            within: restart.within,
        }),
    }
}
