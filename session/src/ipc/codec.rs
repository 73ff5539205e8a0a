//! Bytes to lines, lines to verbs: pure, and bounded whatever comes in.

use std::fmt;
use std::io::{self, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// The longest line, without its newline: a request for more is a file, not a message.
pub(crate) const MAX_LINE: usize = 1024 * 1024;

/// The longest word on a bad line: one line of a log.
const MAX_WHY: usize = 512;

/// A partial line's buffer that grew past this is given back once the line is complete.
const KEEP_CAPACITY: usize = 16 * 1024;

/// A line that is no message. It is counted and skipped, and the next line is as good as ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadLine {
    /// Longer than [`MAX_LINE`].
    TooLong,
    /// Not a verb, or not with these fields; what serde says of it.
    NotAVerb(String),
    /// These last bytes before the end had no newline.
    Cut(Vec<u8>),
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadLine::TooLong => {
                write!(f, "expected a line of at most {MAX_LINE} bytes, found more")
            }
            BadLine::NotAVerb(why) => write!(f, "expected a message of protocol 1: {why}"),
            BadLine::Cut(partial) => {
                let length = partial.len();
                write!(
                    f,
                    "expected a newline, found the end after {length} bytes of a line"
                )
            }
        }
    }
}

/// Splits a stream of bytes into lines. Holds at most one partial line, and never more of it
/// than its limit: for the channel [`MAX_LINE`].
#[derive(Debug)]
pub(crate) struct LineBuffer {
    /// The longest line, without its newline.
    limit: usize,
    partial: Vec<u8>,
    /// The rest of a line that is too long is thrown away as it comes.
    skipping: bool,
}

impl Default for LineBuffer {
    fn default() -> LineBuffer {
        LineBuffer::with_limit(MAX_LINE)
    }
}

impl LineBuffer {
    pub(crate) fn with_limit(limit: usize) -> LineBuffer {
        LineBuffer {
            limit,
            partial: Vec::new(),
            skipping: false,
        }
    }

    /// Hands each line that is complete to `each`, without its newline.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Result<&[u8], BadLine>)) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at(at);
            rest = &after[1..];
            self.complete(line, &mut each);
        }
        if self.skipping {
            return;
        }
        if self.partial.len() + rest.len() > self.limit {
            self.partial = Vec::new();
            self.skipping = true;
            return;
        }
        self.partial.extend_from_slice(rest);
    }

    fn complete(&mut self, line: &[u8], each: &mut impl FnMut(Result<&[u8], BadLine>)) {
        if std::mem::take(&mut self.skipping) || self.partial.len() + line.len() > self.limit {
            self.partial = Vec::new();
            each(Err(BadLine::TooLong));
            return;
        }
        if self.partial.is_empty() {
            each(Ok(line));
            return;
        }
        self.partial.extend_from_slice(line);
        each(Ok(&self.partial));
        self.partial.clear();
        self.partial.shrink_to(KEEP_CAPACITY);
    }

    /// One `read`, and the lines it completes; the number of bytes read, 0 at the end.
    pub(crate) fn read_from(
        &mut self,
        source: &mut impl Read,
        scratch: &mut [u8],
        each: impl FnMut(Result<&[u8], BadLine>),
    ) -> io::Result<usize> {
        let count = source.read(scratch)?;
        self.feed(&scratch[..count], each);
        Ok(count)
    }

    /// To be asked at the end of the stream: was a line cut off?
    pub(crate) fn finish(&mut self) -> Option<BadLine> {
        let partial = std::mem::take(&mut self.partial);
        match (std::mem::take(&mut self.skipping), partial.is_empty()) {
            (true, _) => Some(BadLine::TooLong),
            (false, true) => None,
            (false, false) => Some(BadLine::Cut(partial)),
        }
    }
}

/// One line, without its newline, as a verb.
pub(crate) fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, BadLine> {
    let text = str::from_utf8(line).map_err(not_a_verb)?;
    serde_json::from_str(text).map_err(not_a_verb)
}

/// What was found there may be as long as the line, and is nobody's to read in full.
fn not_a_verb(error: impl fmt::Display) -> BadLine {
    let why = error.to_string();
    BadLine::NotAVerb(crate::text::clip(&why, MAX_WHY).into_owned())
}

/// A verb as one line with its newline.
pub(crate) fn encode(verb: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(verb).map_err(Error::Json)?;
    if line.len() > MAX_LINE {
        return Err(Error::TooLong {
            length: line.len(),
            limit: MAX_LINE,
        });
    }
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::message::{Text, ToMonitor, ToWorker};

    /// Far above a bound, and not too far for an interpreter.
    const FAR: usize = if cfg!(miri) { 1_000 } else { 100_000 };

    /// What a buffer makes of the bytes, fed in pieces of this size.
    fn fed(
        limit: usize,
        bytes: &[u8],
        piece: usize,
    ) -> (Vec<Result<Vec<u8>, BadLine>>, LineBuffer) {
        let mut buffer = LineBuffer::with_limit(limit);
        let mut lines = Vec::new();
        for piece in bytes.chunks(piece) {
            buffer.feed(piece, |line| lines.push(line.map(<[u8]>::to_vec)));
        }
        (lines, buffer)
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_are_cut() {
        let bytes = b"one\n\n12345678\n123456789\nfar too long for this\nlast\ncut";
        let (whole, _) = fed(8, bytes, bytes.len());
        let line = |text: &str| Ok(text.as_bytes().to_vec());
        let long = || Err(BadLine::TooLong);
        assert_eq!(
            whole,
            [
                line("one"),
                line(""),
                line("12345678"),
                long(),
                long(),
                line("last")
            ]
        );
        for piece in 1..bytes.len() {
            let (lines, mut buffer) = fed(8, bytes, piece);
            assert_eq!(lines, whole, "pieces of {piece}");
            assert_eq!(buffer.finish(), Some(BadLine::Cut(b"cut".to_vec())));
        }
    }

    #[test]
    fn a_line_without_an_end_holds_no_more_than_its_limit() {
        for (length, kept, skipping) in [(8, 8, false), (9, 0, true), (FAR, 0, true)] {
            let (lines, buffer) = fed(8, &vec![b'x'; length], 5);
            assert_eq!(lines, []);
            assert_eq!((buffer.partial.len(), buffer.skipping), (kept, skipping));
            assert!(buffer.partial.capacity() <= 16);
        }
    }

    #[test]
    fn only_the_memory_of_an_uncommon_line_is_given_back() {
        for (length, kept) in [(10_000, true), (100_000, false)] {
            let (_, mut buffer) = fed(MAX_LINE, &vec![b'x'; length], 1000);
            buffer.feed(b"\n", |line| assert_eq!(line.map(<[u8]>::len), Ok(length)));
            assert_eq!(buffer.partial.capacity() >= length, kept, "{length}");
        }
    }

    #[test]
    fn bytes_come_from_any_reader() {
        let mut source: &[u8] = b"a\nb";
        let mut lines = 0;
        let count = LineBuffer::default().read_from(&mut source, &mut [0; 64], |_| lines += 1);
        assert_eq!((count.unwrap(), lines), (3, 1));
    }

    #[test]
    fn what_is_no_verb_is_refused_and_never_panics() {
        for line in [
            "",
            " ",
            "null",
            "[]",
            "{}",
            "\u{feff}{\"ready\":{}}",
            "{\"ready\":{}}x",
            "{\"ready\":[]}x",
            "{\"ready\":{\"a\":1}}",
            "{\"Ready\":{}}",
            "{\"ready\":{},\"ready\":{}}",
            "{\"welcome\":{}}",
            "{\"kill\":{\"reason\":1,\"graceful\":true,\"code\":0}}",
            "{\"kill\":{\"reason\":\"x\",\"graceful\":true,\"code\":-1}}",
            "{\"kill\":{\"reason\":\"x\",\"reason\":\"y\",\"graceful\":true,\"code\":0}}",
            "{\"set_port\":{\"name\":\"server\",\"port\":1e999,\"restart\":true}}",
            "{\"lifecycle\":{\"text\":\"\\ud800\"}}",
            "{\"lifecycle\":{\"text\":\"\u{1}\"}}",
            "{\"message\":{\"name\":\"x\"}}",
            "{\"__proto__\":{}}",
            "\u{0}",
        ] {
            assert!(decode::<ToMonitor>(line.as_bytes()).is_err(), "{line:?}");
        }
        let deep = format!(
            "{{\"message\":{{\"name\":\"x\",\"args\":{}{}}}}}",
            "[".repeat(FAR),
            "]".repeat(FAR)
        );
        // Arguments stay text until their listener is there, and are too deep for it then.
        let Ok(ToMonitor::Message(message)) = decode(deep.as_bytes()) else {
            panic!("not a message")
        };
        assert!(serde_json::from_str::<serde_json::Value>(message.args.get()).is_err());
        assert!(decode::<ToMonitor>(&[0xff, 0xfe]).is_err());
        assert!(
            decode::<ToMonitor>(b"{\"ready\":{}}\r").is_ok(),
            "blanks around a verb do no harm"
        );
        assert!(
            decode::<ToWorker>(b"{\"hello\":{\"protocol\":1,\"generation\":1,\"pid\":1}}").is_err()
        );
    }

    #[test]
    fn a_bad_line_says_what_was_expected() {
        for (line, told) in [
            (
                BadLine::TooLong,
                "expected a line of at most 1048576 bytes, found more",
            ),
            (
                BadLine::NotAVerb("this".to_owned()),
                "expected a message of protocol 1: this",
            ),
            (
                BadLine::Cut(b"cut".to_vec()),
                "expected a newline, found the end after 3 bytes of a line",
            ),
        ] {
            assert_eq!(line.to_string(), told);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "a megabyte is much to interpret")]
    fn a_line_has_a_longest_length() {
        assert_eq!(MAX_LINE, 1_048_576);
        let verb = |length: usize| {
            let text = "x".repeat(length);
            ToMonitor::Lifecycle(Text { text })
        };
        let frame = encode(&verb(0)).unwrap().len() - 1;
        for (length, fits) in [
            (MAX_LINE, true),
            (MAX_LINE + 1, false),
            (3 * MAX_LINE, false),
        ] {
            assert_eq!(encode(&verb(length - frame)).is_ok(), fits, "{length}");
        }
        let line = encode(&verb(10)).unwrap();
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
    }
}
