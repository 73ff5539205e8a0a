//! A worker's output as it arrives: cut into lines for the log, and kept as a tail for the report.

use std::collections::VecDeque;

use crate::text;

/// A longer line is split, so that one line cannot hold the memory of the monitor.
pub(crate) const MAX_OUTPUT_LINE: usize = 8 * 1024;

/// How much of a worker's output a crash report can tell.
pub(crate) const TAIL_BYTES: usize = 64 * 1024;

/// Cuts a stream of bytes into lines, whatever the reads happened to return.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
    /// The line being read has been told in part already.
    split: bool,
}

impl Lines {
    /// Takes in what was read and gives each line that is now whole, without its line ending.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = MAX_OUTPUT_LINE - self.partial.len();
            let window = &rest[..rest.len().min(room)];
            if let Some(end) = window.iter().position(|&byte| byte == b'\n') {
                self.partial.extend_from_slice(&window[..end]);
                rest = &rest[end + 1..];
                self.end_line(&mut each);
            } else {
                self.partial.extend_from_slice(window);
                rest = &rest[window.len()..];
                if self.partial.len() == MAX_OUTPUT_LINE {
                    self.split_line(&mut each);
                }
            }
        }
    }

    /// Gives the last line of a stream that ended without a newline.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            each(&self.partial);
        }
        *self = Self::default();
    }

    fn end_line(&mut self, each: &mut impl FnMut(&[u8])) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        // The newline of a line that was told in full by its pieces is no empty line.
        if !(self.split && line.is_empty()) {
            each(line);
        }
        self.partial.clear();
        self.split = false;
    }

    fn split_line(&mut self, each: &mut impl FnMut(&[u8])) {
        let cut = self.partial.len() - unfinished(&self.partial);
        each(&self.partial[..cut]);
        self.partial.drain(..cut);
        self.split = true;
    }
}

/// How many bytes at the end belong together with bytes yet to come: a character that is cut, or
/// the first half of a CRLF.
fn unfinished(bytes: &[u8]) -> usize {
    for (back, &byte) in bytes.iter().rev().take(3).enumerate() {
        let needed = match byte {
            0x80..=0xbf => continue,
            b'\r' | 0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if needed > back + 1 { back + 1 } else { 0 };
    }
    0
}

/// The last [`TAIL_BYTES`] of a worker's output. Memory grows with the output, never past that.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    ring: VecDeque<u8>,
    dropped: u64,
    /// The oldest byte kept is not the first of its line.
    cut_line: bool,
}

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let excess = bytes.len().saturating_sub(TAIL_BYTES);
        let (lost, kept) = bytes.split_at(excess);
        let overflow = (self.ring.len() + kept.len()).saturating_sub(TAIL_BYTES);
        // Bytes lost on the way in are newer than all that was in the ring.
        let newest_dropped = lost
            .last()
            .or_else(|| self.ring.get(overflow.checked_sub(1)?));
        if let Some(&byte) = newest_dropped {
            self.cut_line = byte != b'\n';
        }
        self.dropped += (overflow + lost.len()) as u64;
        self.ring.drain(..overflow);
        self.grow(kept.len());
        self.ring.extend(kept);
    }

    /// How many bytes are no longer there.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The tail as text, from the start of a line where the line before it is gone. Bytes that are
    /// no text are shown in hex; control characters are as the worker wrote them.
    pub(crate) fn text(&self) -> String {
        let (older, newer) = self.ring.as_slices();
        let bytes = [older, newer].concat();
        text::lossy(if self.cut_line {
            from_line_start(&bytes)
        } else {
            &bytes
        })
        .into_owned()
    }

    /// Doubles, as a `VecDeque` would, yet stops at the cap.
    fn grow(&mut self, more: usize) {
        let needed = self.ring.len() + more;
        if needed > self.ring.capacity() {
            let target = needed.max(self.ring.capacity() * 2).min(TAIL_BYTES);
            self.ring.reserve_exact(target - self.ring.len());
        }
    }
}

/// Skips what is left of a line whose start is missing, or the rest of a cut character where there
/// is no other line to start with.
fn from_line_start(bytes: &[u8]) -> &[u8] {
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) if end + 1 < bytes.len() => &bytes[end + 1..],
        _ => {
            let cut = bytes
                .iter()
                .take(3)
                .take_while(|&&byte| byte & 0xc0 == 0x80)
                .count();
            &bytes[cut..]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in chunks of `size` and returns the lines.
    fn lines(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for chunk in bytes.chunks(size) {
            lines.push(chunk, |line| out.push(line.to_vec()));
        }
        lines.finish(|line| out.push(line.to_vec()));
        out
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_arrive() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("\n", &[""]),
            ("a\nb\n", &["a", "b"]),
            ("a\n\n\nb", &["a", "", "", "b"]),
            ("a\r\nb\r\n", &["a", "b"]),
            ("\r\n", &[""]),
            ("a\r\r\n", &["a\r"]),
            ("10%\r20%\n", &["10%\r20%"]),
            ("end\r", &["end\r"]),
        ];
        for (text, expected) in cases {
            for size in [1, 2, 3, 100] {
                let found = lines(text.as_bytes(), size);
                let found: Vec<_> = found.iter().map(|l| str::from_utf8(l).unwrap()).collect();
                assert_eq!(found, expected, "{text:?} in chunks of {size}");
            }
        }
    }

    #[test]
    fn a_line_at_the_cap_is_one_and_past_it_is_split() {
        assert_eq!(MAX_OUTPUT_LINE, 8_192);
        let far = if cfg!(miri) { 3 } else { 1_000 } * MAX_OUTPUT_LINE + 5;
        for ending in ["\n", "\r\n"] {
            for len in [
                MAX_OUTPUT_LINE - 1,
                MAX_OUTPUT_LINE,
                MAX_OUTPUT_LINE + 1,
                far,
            ] {
                let text = format!("{}{ending}next{ending}", "x".repeat(len));
                for size in [1_000, 8_192, 8_193, 1 << 24] {
                    let found = lines(text.as_bytes(), size);
                    let (next, pieces) = found.split_last().unwrap();
                    assert_eq!(next, b"next");
                    assert_eq!(
                        pieces.len(),
                        len.div_ceil(MAX_OUTPUT_LINE),
                        "{len} by {size}"
                    );
                    assert!(pieces.iter().all(|piece| piece.len() <= MAX_OUTPUT_LINE));
                    assert_eq!(pieces.concat().len(), len);
                }
            }
        }
    }

    #[test]
    fn an_empty_line_after_a_split_one_is_still_told() {
        let text = format!("{}\n\nx", "y".repeat(MAX_OUTPUT_LINE));
        assert_eq!(
            lines(text.as_bytes(), 100)[1..],
            [b"".to_vec(), b"x".to_vec()]
        );
    }

    #[test]
    fn a_split_keeps_characters_whole() {
        for c in ["é", "字", "🦀"] {
            for shift in 0..if cfg!(miri) { 2 } else { 4 } {
                let text = format!("{}{}", "x".repeat(shift), c.repeat(MAX_OUTPUT_LINE));
                let found = lines(text.as_bytes(), 4_000);
                assert!(
                    found.iter().all(|piece| str::from_utf8(piece).is_ok()),
                    "{c} at {shift}"
                );
                assert_eq!(found.concat(), text.as_bytes());
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_split_too() {
        for byte in [0x80, 0xff, b'\r', 0xf4, 0] {
            let bytes = vec![byte; 3 * MAX_OUTPUT_LINE];
            let found = lines(&bytes, 999);
            assert!(
                found
                    .iter()
                    .all(|p| (1..=MAX_OUTPUT_LINE).contains(&p.len())),
                "{byte:#x}"
            );
            assert_eq!(found.concat(), bytes);
        }
    }

    #[test]
    fn finish_tells_the_rest_once() {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        lines.push(b"rest", |_| panic!("no line is whole yet"));
        lines.finish(|line| out.push(line.to_vec()));
        lines.finish(|_| panic!("nothing is left"));
        assert_eq!(out, [b"rest".to_vec()]);
    }

    #[test]
    fn the_tail_grows_with_the_output_and_stops_at_the_cap() {
        let mut tail = Tail::default();
        assert_eq!(tail.ring.capacity(), 0);
        tail.push(b"small\n");
        assert!(tail.ring.capacity() < 100);
        let chunk = "0123456\n".repeat(125);
        for _ in 0..100 {
            tail.push(chunk.as_bytes());
            assert!(tail.ring.capacity() <= TAIL_BYTES);
        }
        assert_eq!(tail.ring.len(), TAIL_BYTES);
    }

    #[test]
    fn the_tail_grows_seldom_and_only_when_it_is_full() {
        let mut tail = Tail::default();
        let (mut capacity, mut grown) = (0, 0);
        for _ in 0..if cfg!(miri) { 1_000 } else { TAIL_BYTES } {
            tail.push(b"x");
            if tail.ring.capacity() != capacity {
                assert_eq!(tail.ring.len(), capacity + 1);
                capacity = tail.ring.capacity();
                grown += 1;
            }
        }
        assert!(grown <= 17, "{grown} times");
    }

    #[test]
    fn the_tail_at_and_past_its_cap() {
        assert_eq!(TAIL_BYTES, 65_536);
        for (len, dropped) in [
            (0, 0),
            (TAIL_BYTES, 0),
            (TAIL_BYTES + 1, 1),
            (10 * TAIL_BYTES + 7, 9 * TAIL_BYTES as u64 + 7),
        ] {
            let bytes = b"abcdefghijklmnopqrstuvwxyz".repeat(len.div_ceil(26));
            let bytes = &bytes[..len];
            let sizes = [TAIL_BYTES - 1, usize::MAX, TAIL_BYTES + 1, 999];
            for size in &sizes[..if cfg!(miri) { 2 } else { 4 }] {
                let mut tail = Tail::default();
                bytes.chunks(*size).for_each(|chunk| tail.push(chunk));
                assert_eq!(tail.dropped(), dropped, "{len} by {size}");
                assert!(tail.ring.len() <= TAIL_BYTES && tail.ring.capacity() <= TAIL_BYTES);
                let expected = &bytes[len.saturating_sub(TAIL_BYTES)..];
                assert!(tail.text().as_bytes() == expected, "{len} by {size}");
            }
        }
    }

    #[test]
    fn the_tail_starts_at_a_line_start_when_bytes_were_dropped() {
        let line = "0123456\n"; // a divisor of the cap
        let whole = line.repeat(TAIL_BYTES / line.len());
        for (cut, skipped) in [(0, 0), (1, 7), (7, 1), (8, 0), (9, 7)] {
            for at_once in [true, false] {
                let mut tail = Tail::default();
                let more = &line.repeat(2)[..cut];
                if at_once {
                    tail.push(format!("{whole}{more}").as_bytes());
                } else {
                    tail.push(whole.as_bytes());
                    tail.push(more.as_bytes());
                }
                let text = tail.text();
                assert!(text.starts_with("0123456\n"), "{cut}: {:?}", &text[..9]);
                assert_eq!(text.len(), TAIL_BYTES - skipped, "{cut}");
            }
        }
    }

    #[test]
    fn a_tail_without_another_line_start_is_kept_whole() {
        let mut tail = Tail::default();
        tail.push("字".repeat(TAIL_BYTES).as_bytes());
        assert!(tail.text().chars().all(|c| c == '字'));

        let mut tail = Tail::default();
        tail.push(format!("{}\n", "x".repeat(2 * TAIL_BYTES)).as_bytes());
        assert_eq!(tail.text().len(), TAIL_BYTES);
    }

    #[test]
    fn the_tail_shows_bytes_that_are_no_text() {
        let mut tail = Tail::default();
        tail.push(b"a\xffb\x1b");
        assert_eq!(tail.text(), "a\\xffb\x1b");
    }
}
