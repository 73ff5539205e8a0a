//! Bytes to lines, lines to verbs: pure, and bounded whatever comes in.

use std::fmt;
use std::io::{self, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// The longest line, without its newline: a request for more is a file, not a message.
pub(crate) const MAX_LINE: usize = 1024 * 1024;

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
        LineBuffer { limit, partial: Vec::new(), skipping: false }
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
    serde_json::from_slice(line).map_err(|error| BadLine::NotAVerb(error.to_string()))
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
