//! The session key: who has it may end the session from outside, through the worker.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// The most guesses in one window; the others are answered "no" unseen.
const MAX_GUESSES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Held by the monitor alone: never in an environment, an argument list, a log or a report.
pub(super) struct SessionKey {
    text: String,
    window: Option<Instant>,
    guesses: u32,
}

impl SessionKey {
    /// A version 4 GUID: 122 random bits from the operating system.
    pub(super) fn generate() -> Result<SessionKey> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::os("draw the session key")(std::io::Error::other(error)))?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = String::with_capacity(36);
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        Ok(SessionKey { text, window: None, guesses: 0 })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Compares in a time that depends on the length of the offer alone.
    pub(super) fn accepts(&mut self, offered: &str, now: Instant) -> bool {
        if self.window.is_none_or(|start| now.saturating_duration_since(start) >= WINDOW) {
            self.window = Some(now);
            self.guesses = 0;
        }
        self.guesses += 1;
        let (key, offered) = (self.text.as_bytes(), offered.as_bytes());
        let mut difference = usize::from(key.len() != offered.len());
        for (index, byte) in key.iter().enumerate() {
            let other = offered.get(index).copied().unwrap_or(0);
            difference |= usize::from(byte ^ other);
        }
        std::hint::black_box(difference) == 0 && self.guesses <= MAX_GUESSES
    }
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "asks the operating system")]
    fn a_key_is_a_random_guid_of_version_4() {
        let (one, other) = (SessionKey::generate().unwrap(), SessionKey::generate().unwrap());
        assert_ne!(one.text(), other.text());
        let dashes: Vec<usize> = one.text().match_indices('-').map(|(at, _)| at).collect();
        assert_eq!((one.text().len(), dashes), (36, vec![8, 13, 18, 23]));
        assert_eq!(&one.text()[14..15], "4");
        assert!(matches!(&one.text()[19..20], "8" | "9" | "a" | "b"));
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the operating system")]
    fn only_the_key_is_accepted_and_guesses_are_limited() {
        let mut key = SessionKey::generate().unwrap();
        let right = key.text().to_owned();
        let start = Instant::now();
        for wrong in ["", "x", &right[1..], &format!("{right}x"), &right.to_uppercase().replace('A', "b")] {
            assert!(!key.accepts(wrong, start) || wrong == right, "{wrong}");
        }
        for guess in 6..=MAX_GUESSES {
            assert!(key.accepts(&right, start), "guess {guess}");
        }
        assert!(!key.accepts(&right, start), "one above the limit");
        for _ in 0..1000 {
            assert!(!key.accepts(&right, start + WINDOW / 2));
        }
        assert!(key.accepts(&right, start + WINDOW));
    }
}
