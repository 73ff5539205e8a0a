//! Foreign text made safe to show: what a worker, a file or a peer wrote can neither move the
//! cursor, nor recolour the terminal, nor pass for a line of the monitor.
//!
//! Escapes are for the eye. A backslash stays as it is, so that paths remain readable and text that
//! was escaped once does not change when it is escaped again.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// The longest colour sequence that is let through; a true-colour pair of both grounds needs 38.
pub(crate) const MAX_SGR_BYTES: usize = 48;

/// Ends every line that changed colours, so that it cannot paint the lines after it.
const RESET: &str = "\x1b[0m";

/// Makes every control and invisible format character visible, newline and tab included: for text
/// that is shown inside a line.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_hidden) else {
        return Cow::Borrowed(text);
    };
    let (clean, rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(clean);
    rest.chars().for_each(|c| show(&mut out, c));
    Cow::Owned(out)
}

/// Like [`escape`], for one line of a worker's output: tabs stay, and so do plain colour sequences
/// (`ESC [ digits ; … m`) where `colours` says that the reader can show them.
pub(crate) fn escape_output(line: &str, colours: bool) -> Cow<'_, str> {
    if !line.contains(|c| c != '\t' && is_hidden(c)) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 16);
    let mut coloured = false;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let mut len = c.len_utf8();
        if colours && let Some(sequence) = sgr(rest) {
            out.push_str(sequence);
            coloured = true;
            len = sequence.len();
        } else if c == '\t' {
            out.push(c);
        } else {
            show(&mut out, c);
        }
        rest = &rest[len..];
    }
    if coloured && !out.ends_with(RESET) {
        out.push_str(RESET);
    }
    Cow::Owned(out)
}

/// Reads bytes as UTF-8 and shows each byte that is none as `\xNN`.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

/// `1 probe`, `2 probes`.
pub(crate) fn count(number: impl Into<u64>, one: &str) -> String {
    let number = number.into();
    let ending = match (number, one.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {one}{ending}")
}

/// A time in seconds, all of it: `2`, `0.05`.
pub(crate) fn seconds(time: Duration) -> String {
    let text = rounded_seconds(time, 9);
    let text = text.trim_end_matches('0');
    text.strip_suffix('.').unwrap_or(text).to_owned()
}

/// A time in seconds, to so many decimal places, of which there are one to nine: `1.500`.
///
/// Written as the whole numbers that it is made of: to write floats would take 14 KB of code.
pub(crate) fn rounded_seconds(time: Duration, places: u32) -> String {
    let places = places.clamp(1, 9);
    let unit = 10_u32.pow(9 - places);
    let (mut whole, mut part) = (time.as_secs(), (time.subsec_nanos() + unit / 2) / unit);
    if part == 10_u32.pow(places) {
        (whole, part) = (whole.saturating_add(1), 0);
    }
    format!("{whole}.{part:0width$}", width = places as usize)
}

/// Keeps at most `max_bytes` of a text, whole characters only, and says how much is missing.
pub(crate) fn clip(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    let end = (0..=max_bytes)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    Cow::Owned(format!(
        "{}… ({} cut)",
        &text[..end],
        count((text.len() - end) as u64, "byte")
    ))
}

/// Characters that act on the terminal or on the reading order instead of showing themselves.
fn is_hidden(c: char) -> bool {
    c.is_control() // C0, DEL and C1
        || matches!(c,
            '\u{ad}' // soft hyphen
            | '\u{61c}' | '\u{200e}' | '\u{200f}' // direction marks
            | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{feff}' // zero width
            | '\u{2028}' | '\u{2029}' // line and paragraph separator
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // bidi embeddings and isolates
            | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' // invisible operators, old formats
            | '\u{fff9}'..='\u{fffb}' // annotations
            | '\u{e0000}'..='\u{e007f}') // tags
}

fn show(out: &mut String, c: char) {
    // Writing to a `String` cannot fail.
    let _ = match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c)),
        c if is_hidden(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
        c => out.write_char(c),
    };
}

/// The colour sequence that `text` starts with.
fn sgr(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    let len = "\x1b[".len() + end + 1;
    (parameters[end..].starts_with('m') && len <= MAX_SGR_BYTES).then(|| &text[..len])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters that matter here, drawn far more often than chance would draw them.
    const ALPHABET: &[&str] = &[
        "a", "7", ";", "[", "m", "\\", "\x1b", "\x1b[", "\x1b[31m", "\x1b[0m", "\x1b]0;", "\x07",
        "\n", "\r", "\t", "\0", "\x7f", "\u{9b}", "\u{85}", "\u{202e}", "\u{200b}", "é", "字",
        "🦀",
    ];

    /// Texts of up to 40 pieces from a fixed seed.
    fn samples() -> impl Iterator<Item = String> {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed >> 33).unwrap()
        };
        let count = if cfg!(miri) { 50 } else { 20_000 };
        (0..count).map(move |_| {
            let len = next() % 40;
            (0..len)
                .map(|_| ALPHABET[next() % ALPHABET.len()])
                .collect()
        })
    }

    /// What is left of an output line when tabs and well-formed colour sequences are taken away.
    fn without_tabs_and_colours(line: &str) -> String {
        let mut out = String::new();
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            if let Some(end) = rest.strip_prefix("\x1b[").and_then(|r| r.find('m'))
                && rest[2..2 + end]
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b == b';')
            {
                rest = &rest[2 + end + 1..];
                continue;
            }
            if c != '\t' {
                out.push(c);
            }
            rest = &rest[c.len_utf8()..];
        }
        out
    }

    #[test]
    fn escape_shows_what_acts_instead_of_showing() {
        for (text, shown) in [
            ("plain, über, 字, 🦀", "plain, über, 字, 🦀"),
            ("C:\\temp", "C:\\temp"),
            ("a\nb\r\n\tc", "a\\nb\\r\\n\\tc"),
            ("\x1b[2J\x07\0\x7f", "\\x1b[2J\\x07\\x00\\x7f"),
            ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
            ("\x1b]8;;http://x\x1b\\", "\\x1b]8;;http://x\\x1b\\"),
            ("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}"),
            (
                "a\u{202e}b\u{2066}c\u{200f}",
                "a\\u{202e}b\\u{2066}c\\u{200f}",
            ),
            (
                "x\u{200b}y\u{feff}z\u{ad}\u{2028}",
                "x\\u{200b}y\\u{feff}z\\u{ad}\\u{2028}",
            ),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(escape(text), shown, "{text:?}");
        }
    }

    #[test]
    fn clean_text_is_not_copied() {
        assert!(matches!(escape("clean"), Cow::Borrowed(_)));
        assert!(matches!(escape_output("a\tb", false), Cow::Borrowed(_)));
        assert!(matches!(lossy(b"clean"), Cow::Borrowed(_)));
        assert!(matches!(clip("clean", 5), Cow::Borrowed(_)));
    }

    #[test]
    fn escaped_text_has_no_hidden_character_and_does_not_change_again() {
        for text in samples() {
            let once = escape(&text);
            assert!(!once.contains(is_hidden), "{text:?}");
            assert!(!once.contains(char::is_control), "{text:?}");
            assert_eq!(escape(&once), once, "{text:?}");
        }
    }

    #[test]
    fn output_keeps_tabs_and_whole_colour_sequences_only() {
        for (line, shown) in [
            ("a\tb", "a\tb"),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
            (
                "\x1b[mx\x1b[1;38;5;9mbold\x1b[0m",
                "\x1b[mx\x1b[1;38;5;9mbold\x1b[0m",
            ),
            ("\x1b[31mleft open", "\x1b[31mleft open\x1b[0m"),
            ("\x1b[2Jx", "\\x1b[2Jx"),
            ("\x1b[31", "\\x1b[31"),
            ("\x1b[", "\\x1b["),
            ("\x1b[31字m", "\\x1b[31字m"),
            ("\x1b[?25lm", "\\x1b[?25lm"),
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("\x1b\x1b[7mx", "\\x1b\x1b[7mx\x1b[0m"),
            ("10%\r20%", "10%\\r20%"),
        ] {
            assert_eq!(escape_output(line, true), shown, "{line:?}");
        }
        assert_eq!(
            escape_output("\x1b[31mred\tx\x1b[0m", false),
            "\\x1b[31mred\tx\\x1b[0m"
        );
    }

    #[test]
    fn output_never_carries_another_control_character() {
        for line in samples() {
            for colours in [true, false] {
                let once = escape_output(&line, colours);
                let left = match colours {
                    true => without_tabs_and_colours(&once),
                    false => once.replace('\t', ""),
                };
                assert!(!left.contains(is_hidden), "{line:?} → {once:?}");
                assert_eq!(escape_output(&once, colours), once, "{line:?}");
            }
        }
    }

    #[test]
    fn times_are_written_as_floats_would_be() {
        let nanos = [
            0,
            1,
            49_999_999,
            50_000_000,
            1_500_000_000,
            1_999_400_000,
            1_999_600_000,
            30_000_000_000,
            86_399_999_999_999,
            86_400_000_000_000,
        ];
        for time in nanos.map(Duration::from_nanos) {
            let float = time.as_secs_f64();
            assert_eq!(seconds(time), float.to_string());
            assert_eq!(rounded_seconds(time, 3), format!("{float:.3}"));
            assert_eq!(rounded_seconds(time, 9), format!("{float:.9}"));
        }
        assert_eq!(rounded_seconds(Duration::from_millis(1950), 1), "2.0");
        assert_eq!(rounded_seconds(Duration::from_millis(1949), 1), "1.9");
        assert_eq!(seconds(Duration::MAX), "18446744073709551615.999999999");
        assert_eq!(rounded_seconds(Duration::MAX, 1), "18446744073709551615.0");
    }

    #[test]
    fn the_length_of_a_colour_sequence_is_bounded() {
        let sequence = |len: usize| format!("\x1b[{}m", "1".repeat(len - 3));
        let kept = |len| escape_output(&sequence(len), true).starts_with('\x1b');
        assert!(kept(MAX_SGR_BYTES));
        assert!(!kept(MAX_SGR_BYTES + 1));
        assert!(!kept(if cfg!(miri) { 1_000 } else { 1_000_000 }));
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hex() {
        for (bytes, shown) in [
            (&b"ok"[..], "ok"),
            (b"a\xffb\x9b31m", "a\\xffb\\x9b31m"),
            (b"\xe5\xad", "\\xe5\\xad"),
            (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
            ("字\x1b".as_bytes(), "字\x1b"),
        ] {
            assert_eq!(lossy(bytes), shown, "{bytes:?}");
        }
    }

    #[test]
    fn one_is_no_plural() {
        for (number, shown) in [(0_u64, "0 probes"), (1, "1 probe"), (2, "2 probes")] {
            assert_eq!(count(number, "probe"), shown);
        }
    }

    #[test]
    fn clip_cuts_whole_characters_and_says_how_much() {
        for (text, max, shown) in [
            ("abc", 4, "abc"),
            ("abc", 3, "abc"),
            ("abcd", 3, "abc… (1 byte cut)"),
            ("a字b", 3, "a… (4 bytes cut)"),
            ("🦀", 0, "… (4 bytes cut)"),
        ] {
            assert_eq!(clip(text, max), shown, "{text:?} at {max}");
        }
        let far = "x".repeat(100_000);
        assert_eq!(clip(&far, 10), "xxxxxxxxxx… (99990 bytes cut)");
    }
}
