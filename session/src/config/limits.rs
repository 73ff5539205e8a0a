//! The one source of limits: the configuration file, the REPL, the API and the published schema
//! all take a value, or refuse it, by what stands here.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Number;

use super::fault::excerpt;

/// Sizes the worker's settings too: even with every number written out at full length they fit
/// one handshake line of 1 MiB.
pub(crate) const MAX_BYTES: usize = 256 * 1024;
/// Far more nesting than a person writes, far less than a thread's stack can take.
pub(crate) const MAX_DEPTH: usize = 64;

/// A webhook's address, as long as servers and proxies take one.
pub(crate) const MAX_URL: usize = 2048;
/// A host's name, as long as DNS has one.
pub(crate) const MAX_HOST: usize = 253;

/// Ports that any user may bind.
pub(crate) const PORT_RANGE: RangeInclusive<u16> = 1024..=65535;
/// Ports once `allowPrivilegedPorts` is set; 0 would be another port after each restart.
pub(crate) const PRIVILEGED_PORT_RANGE: RangeInclusive<u16> = 1..=65535;
/// From a probe that does not crowd the server to one a day.
pub(crate) const INTERVAL_SECONDS: RangeInclusive<f64> = 1.0..=86_400.0;
/// A start may be slow, but a day of it is a failure.
pub(crate) const STARTUP_SECONDS: RangeInclusive<f64> = 1.0..=86_400.0;
/// None at all, up to an hour: past that nobody is waiting for the stop any more.
pub(crate) const GRACE_SECONDS: RangeInclusive<f64> = 0.0..=3_600.0;
/// A server that is down for longer than an hour between tries is not being supervised.
pub(crate) const DELAY_SECONDS: RangeInclusive<f64> = 0.0..=3_600.0;
/// The share of a delay that chance may add or take.
pub(crate) const JITTER: RangeInclusive<f64> = 0.0..=1.0;
/// Stable as soon as ready, up to a day.
pub(crate) const STABLE_SECONDS: RangeInclusive<f64> = 0.0..=86_400.0;
/// The time of each failure is remembered, so their number is what bounds that memory.
pub(crate) const MAX_FAILURES: RangeInclusive<u32> = 1..=10_000;
/// The span in which failures are counted together, up to a day.
pub(crate) const WITHIN_SECONDS: RangeInclusive<f64> = 1.0..=86_400.0;

/// Checks a polling interval in seconds.
pub(crate) fn check_interval(seconds: f64) -> Result<Duration, String> {
    interval(seconds).map_err(|refusal| refusal.found(Quoted(plain(seconds))))
}

/// Checks a port number.
pub(crate) fn check_port(value: u64, allow_privileged: bool) -> Result<u16, String> {
    port(Some(value), allow_privileged).map_err(|refusal| refusal.found(Quoted(value)))
}

/// What was expected instead of a value, and what to do about it.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    expected: String,
    advice: Option<String>,
    /// What was there, where it must not be shown as it is.
    found: Option<String>,
}

impl Refusal {
    pub(super) fn expected(expected: impl Into<String>) -> Refusal {
        Refusal {
            expected: expected.into(),
            advice: None,
            found: None,
        }
    }

    pub(super) fn advise(mut self, advice: Option<String>) -> Refusal {
        self.advice = advice;
        self
    }

    /// The value may be a secret: these words are told in its place.
    pub(super) fn instead(mut self, found: String) -> Refusal {
        self.found = Some(found);
        self
    }

    pub(super) fn own_words(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// The whole sentence, once it is known what was there.
    pub(super) fn found(&self, found: impl Display) -> String {
        let Refusal {
            expected, advice, ..
        } = self;
        match advice {
            Some(advice) => format!("expected {expected}, found {found} ({advice})"),
            None => format!("expected {expected}, found {found}"),
        }
    }
}

pub(super) fn interval(value: f64) -> Result<Duration, Refusal> {
    seconds(value, &INTERVAL_SECONDS)
}

pub(super) fn seconds(value: f64, range: &RangeInclusive<f64>) -> Result<Duration, Refusal> {
    let refusal = || {
        let (least, most) = (plain(*range.start()), plain(*range.end()));
        Refusal::expected(format!("a number of seconds from {least} to {most}"))
    };
    if !range.contains(&value) {
        return Err(refusal());
    }
    Duration::try_from_secs_f64(value).map_err(|_| refusal())
}

/// A timeout must leave time for something; that it ends within the interval is checked where
/// both are known.
pub(super) fn polling_timeout(value: f64) -> Result<Duration, Refusal> {
    let most = *INTERVAL_SECONDS.end();
    if value > 0.0
        && value <= most
        && let Ok(timeout) = Duration::try_from_secs_f64(value)
    {
        // Rounding to whole nanoseconds must not turn a timeout into none.
        return Ok(timeout.max(Duration::from_nanos(1)));
    }
    Err(Refusal::expected(format!(
        "a number of seconds above 0 and at most {}",
        plain(most)
    )))
}

pub(super) fn port(value: Option<u64>, allow_privileged: bool) -> Result<u16, Refusal> {
    let range = if allow_privileged {
        PRIVILEGED_PORT_RANGE
    } else {
        PORT_RANGE
    };
    let port = value.and_then(|value| u16::try_from(value).ok());
    port.filter(|port| range.contains(port)).ok_or_else(|| {
        let advice = port
            .filter(|port| PRIVILEGED_PORT_RANGE.contains(port))
            .map(|_| String::from("set `allowPrivilegedPorts` to `true` for ports below 1024"));
        Refusal::expected(format!("a port from {} to {}", range.start(), range.end()))
            .advise(advice)
    })
}

/// A port that another name has already.
pub(super) fn shared_port(owner: impl Display) -> Refusal {
    Refusal::expected("a port of its own").advise(Some(format!("{} has it too", Quoted(owner))))
}

pub(super) fn jitter(value: f64) -> Result<f64, Refusal> {
    let (least, most) = (plain(*JITTER.start()), plain(*JITTER.end()));
    let refusal = || Refusal::expected(format!("a number from {least} to {most}"));
    JITTER.contains(&value).then_some(value).ok_or_else(refusal)
}

pub(super) fn max_failures(value: Option<u64>) -> Result<u32, Refusal> {
    let count = value.and_then(|value| u32::try_from(value).ok());
    count
        .filter(|count| MAX_FAILURES.contains(count))
        .ok_or_else(|| {
            let (least, most) = (MAX_FAILURES.start(), MAX_FAILURES.end());
            Refusal::expected(format!("a whole number from {least} to {most}, or `null`"))
        })
}

/// A number as it stands in the file: `30`, `2.5`. Written as all other JSON is.
fn plain(value: f64) -> String {
    let Some(number) = Number::from_f64(value) else {
        return String::from("no number");
    };
    let text = number.to_string();
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// The whole number that `value` is. Notation does not count: `3000`, `3000.0` and `3e3` are one.
///
/// Past 2^64 it is the greatest there is, which every upper limit refuses just as well.
pub(super) fn whole(value: f64) -> Option<u64> {
    let whole = value >= 0.0 && value.fract() == 0.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole, not negative, and saturating"
    )]
    whole.then_some(value as u64)
}

/// The names that may stand somewhere: "`a`, `b` or `c`".
pub(super) fn one_of(names: &[&str]) -> String {
    let mut names: Vec<String> = names
        .iter()
        .map(|name| Quoted(excerpt(name)).to_string())
        .collect();
    match names.pop() {
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} or {last}", names.join(", ")),
        None => String::from("nothing"),
    }
}

pub(super) fn did_you_mean(name: &str) -> String {
    format!("did you mean {}?", Quoted(excerpt(name)))
}

/// User text and numbers stand in back-ticks.
pub(super) struct Quoted<T>(pub(super) T);

impl<T: Display> Display for Quoted<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "`{}`", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes both ends and refuses what lies just and far beyond them.
    #[track_caller]
    fn bounded<T>(range: &RangeInclusive<f64>, check: impl Fn(f64) -> Result<T, Refusal>) {
        let (least, most) = (*range.start(), *range.end());
        for value in [least, f64::midpoint(least, most), most] {
            assert!(check(value).is_ok(), "{value}");
        }
        for value in [
            least.next_down(),
            most.next_up(),
            most + 1.0,
            most * 1e6 + 1e6,
        ] {
            assert!(check(value).is_err(), "{value}");
        }
        for value in [
            -1.0,
            -1e300,
            f64::MAX,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ] {
            assert!(check(value).is_err(), "{value}");
        }
    }

    #[test]
    fn numbers_are_told_as_they_are_written() {
        let numbers = [0.0, 30.0, 2.5, 0.05, -1.0, 86_400.0];
        for value in numbers {
            assert_eq!(plain(value), value.to_string());
        }
        assert_eq!(plain(f64::NAN), "no number");
        assert_eq!(plain(f64::INFINITY), "no number");
    }

    #[test]
    fn seconds_stay_within_their_range() {
        let ranges = [
            INTERVAL_SECONDS,
            STARTUP_SECONDS,
            GRACE_SECONDS,
            DELAY_SECONDS,
            STABLE_SECONDS,
        ];
        for range in ranges.into_iter().chain([WITHIN_SECONDS]) {
            bounded(&range, |value| seconds(value, &range));
        }
        bounded(&INTERVAL_SECONDS, interval);
        bounded(&JITTER, jitter);
        bounded(&(f64::MIN_POSITIVE..=86_400.0), |value| match value {
            // The range is open below: every float above 0 is in it.
            value if value > 0.0 && value < f64::MIN_POSITIVE => Err(Refusal::expected("more")),
            value => polling_timeout(value),
        });
        assert!(polling_timeout(0.0).is_err());
        assert!(polling_timeout(-0.0).is_err());
    }

    #[test]
    fn seconds_become_that_duration() {
        assert_eq!(check_interval(1.5), Ok(Duration::from_millis(1500)));
        assert_eq!(seconds(-0.0, &GRACE_SECONDS), Ok(Duration::ZERO));
        assert_eq!(seconds(0.1, &DELAY_SECONDS), Ok(Duration::from_millis(100)));
        let refused = "expected a number of seconds from 1 to 86400, found `0.5`";
        assert_eq!(check_interval(0.5), Err(refused.to_owned()));
    }

    #[test]
    fn ports_stay_within_their_range() {
        for (value, alone, privileged) in [
            (0, false, false),
            (1, false, true),
            (1023, false, true),
            (1024, true, true),
            (65535, true, true),
            (65536, false, false),
            (u64::MAX, false, false),
        ] {
            assert_eq!(check_port(value, false).is_ok(), alone, "{value}");
            assert_eq!(check_port(value, true).is_ok(), privileged, "{value}");
        }
        assert!(port(None, true).is_err());
    }

    #[test]
    fn failures_stay_within_their_range() {
        for (value, taken) in [(0, false), (1, true), (10_000, true), (10_001, false)] {
            assert_eq!(max_failures(Some(value)).is_ok(), taken, "{value}");
        }
        assert!(max_failures(Some(u64::MAX)).is_err());
        assert!(max_failures(None).is_err());
    }

    #[test]
    fn a_whole_number_is_one_in_any_notation() {
        for (text, expected) in [
            ("3000", Some(3000)),
            ("3000.0", Some(3000)),
            ("3e3", Some(3000)),
            ("-0.0", Some(0)),
            ("18446744073709551616", Some(u64::MAX)),
            ("1e300", Some(u64::MAX)),
            ("0.5", None),
            ("-1", None),
            ("1e999", None),
            ("NaN", None),
        ] {
            assert_eq!(whole(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn names_are_listed_as_one_reads_them() {
        for (names, expected) in [
            (&[] as &[&str], "nothing"),
            (&["a"], "`a`"),
            (&["a", "b"], "`a` or `b`"),
            (&["a", "b", "c"], "`a`, `b` or `c`"),
        ] {
            assert_eq!(one_of(names), expected);
        }
    }
}
