//! The head of an HTTP answer, read one byte at a time.
//!
//! A server may send anything, so this room holds no buffer, allocates nothing, looks at each byte
//! once, and gives the same answer however the bytes were cut into reads.

use std::fmt;

/// Interim answers (1xx) that are skipped: a real server sends one or two before it answers.
pub(crate) const MAX_INTERIM: u8 = 8;

/// How far the head has come. The last two are final: later bytes change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More bytes are needed.
    Partial,
    /// The head of the final answer is whole.
    Complete {
        status: u16,
        /// Bytes up to and with the empty line, interim answers included.
        head_len: usize,
        content_length: Option<u64>,
    },
    /// No HTTP client should trust what was sent.
    Bad(Malformed),
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Malformed {
    /// The line does not begin with `HTTP/1.0` or `HTTP/1.1` and a space.
    Version,
    /// The status is not exactly three digits from 100 to 599.
    StatusCode,
    /// A header line has no colon, or a name that is empty or not a token.
    HeaderName,
    /// A header line begins with a space or a tab, which continued the line before it in old HTTP.
    Folded,
    /// A carriage return without its line feed.
    BareReturn,
    /// A NUL byte.
    Nul,
    /// A content length that is no number, does not fit 64 bits, or contradicts another.
    ContentLength,
    /// More than [`MAX_INTERIM`] interim answers.
    EndlessInterim,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "expected `HTTP/1.0` or `HTTP/1.1`, found something else",
            Self::StatusCode => "expected a status of three digits from 100 to 599",
            Self::HeaderName => "expected `name: value`, found another header line",
            Self::Folded => "found a header line that begins with a space",
            Self::BareReturn => "found a carriage return without a line feed",
            Self::Nul => "found a NUL byte in the head",
            Self::ContentLength => "expected one content length, a number of bytes",
            Self::EndlessInterim => "found interim answers (1xx) without end",
        })
    }
}

/// A head that is being read.
#[derive(Debug)]
pub(crate) struct Head {
    progress: Progress,
    place: Place,
    /// A carriage return was read, and nothing but a line feed may follow it.
    returned: bool,
    read: usize,
    status: u16,
    content_length: Option<u64>,
    interim: u8,
}

impl Head {
    pub(crate) fn new() -> Self {
        Self {
            progress: Progress::Partial,
            place: Place::Status(0),
            returned: false,
            read: 0,
            status: 0,
            content_length: None,
            interim: 0,
        }
    }

    /// Takes the next bytes. Those behind the end of the head are the body and are left alone.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Progress {
        for &byte in bytes {
            if self.progress != Progress::Partial {
                break;
            }
            self.read += 1;
            match self.step(byte) {
                Ok(false) => {}
                Ok(true) => self.progress = self.complete(),
                Err(malformed) => self.progress = Progress::Bad(malformed),
            }
        }
        self.progress
    }

    fn complete(&self) -> Progress {
        Progress::Complete {
            status: self.status,
            head_len: self.read,
            content_length: self.content_length,
        }
    }

    /// Returns whether this byte ended the head.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        if std::mem::take(&mut self.returned) && byte != b'\n' {
            return Err(Malformed::BareReturn);
        }
        match byte {
            0 => Err(Malformed::Nul),
            b'\r' => {
                self.returned = true;
                Ok(false)
            }
            b'\n' => self.end_line(),
            _ => {
                self.place = self.within_line(byte)?;
                Ok(false)
            }
        }
    }

    fn within_line(&mut self, byte: u8) -> Result<Place, Malformed> {
        match self.place {
            Place::Status(at) => self.within_status(at, byte),
            Place::Reason => Ok(Place::Reason),
            Place::LineStart => match byte {
                b' ' | b'\t' => Err(Malformed::Folded),
                _ if is_token(byte) => Ok(Place::Name(Name::default().then(byte))),
                _ => Err(Malformed::HeaderName),
            },
            Place::Name(name) => match byte {
                b':' if name.is_content_length() => Ok(Place::Length(Length::Before)),
                b':' => Ok(Place::Value),
                _ if is_token(byte) => Ok(Place::Name(name.then(byte))),
                _ => Err(Malformed::HeaderName),
            },
            Place::Value => Ok(Place::Value),
            Place::Length(length) => Ok(Place::Length(length.then(byte)?)),
        }
    }

    /// Judged byte by byte, so that a peer with another protocol is told at once, not at the
    /// deadline.
    fn within_status(&mut self, at: usize, byte: u8) -> Result<Place, Malformed> {
        let next = Ok(Place::Status(at + 1));
        match (PREFIX.get(at), byte) {
            (Some(&expected), _) if byte == expected => next,
            (Some(_), _) => Err(Malformed::Version),
            (None, b'0' | b'1') if at == PREFIX.len() => next,
            (None, b' ') if at == PREFIX.len() + 1 => next,
            (None, _) if at < CODE_START => Err(Malformed::Version),
            (None, b'0'..=b'9') if at < CODE_END => {
                self.status = self.status * 10 + u16::from(byte - b'0');
                // The first digit decides the class, and with it whether the code is in range.
                let class_known = at > CODE_START || (1..=5).contains(&self.status);
                if class_known {
                    next
                } else {
                    Err(Malformed::StatusCode)
                }
            }
            (None, b' ') if at == CODE_END => Ok(Place::Reason),
            (None, _) => Err(Malformed::StatusCode),
        }
    }

    fn end_line(&mut self) -> Result<bool, Malformed> {
        match self.place {
            // Many servers leave out the space when they have no reason to give.
            Place::Status(CODE_END) | Place::Reason | Place::Value => {}
            Place::Status(at) if at < CODE_START => return Err(Malformed::Version),
            Place::Status(_) => return Err(Malformed::StatusCode),
            Place::Name(_) => return Err(Malformed::HeaderName),
            Place::Length(length) => {
                let bytes = length.value()?;
                if self.content_length.is_some_and(|earlier| earlier != bytes) {
                    return Err(Malformed::ContentLength);
                }
                self.content_length = Some(bytes);
            }
            Place::LineStart => return self.end_head(),
        }
        self.place = Place::LineStart;
        Ok(false)
    }

    fn end_head(&mut self) -> Result<bool, Malformed> {
        // 101 is final: no upgrade was asked for, and what follows it is not HTTP any more.
        if self.status >= 200 || self.status == 101 {
            return Ok(true);
        }
        if self.interim == MAX_INTERIM {
            return Err(Malformed::EndlessInterim);
        }
        *self = Self {
            read: self.read,
            interim: self.interim + 1,
            ..Self::new()
        };
        Ok(false)
    }
}

const PREFIX: &[u8] = b"HTTP/1.";
/// The prefix is followed by the minor version and a space.
const CODE_START: usize = PREFIX.len() + 2;
const CODE_END: usize = CODE_START + 3;

#[derive(Clone, Copy, Debug)]
enum Place {
    /// So many bytes into `HTTP/1.1 200`.
    Status(usize),
    Reason,
    LineStart,
    Name(Name),
    Value,
    /// In the value of a content length.
    Length(Length),
}

const CONTENT_LENGTH: &[u8] = b"content-length";

/// How much of [`CONTENT_LENGTH`] a header name has matched so far, if it still does.
#[derive(Clone, Copy, Debug)]
struct Name(Option<usize>);

impl Default for Name {
    fn default() -> Self {
        Self(Some(0))
    }
}

impl Name {
    fn then(self, byte: u8) -> Self {
        Self(self.0.and_then(|matched| {
            let same = CONTENT_LENGTH.get(matched) == Some(&byte.to_ascii_lowercase());
            same.then_some(matched + 1)
        }))
    }

    fn is_content_length(self) -> bool {
        self.0 == Some(CONTENT_LENGTH.len())
    }
}

/// The value of a content length: digits with white space around them.
#[derive(Clone, Copy, Debug)]
enum Length {
    Before,
    Digits(u64),
    After(u64),
}

impl Length {
    fn then(self, byte: u8) -> Result<Self, Malformed> {
        match (self, byte) {
            (Self::Before, b' ' | b'\t') => Ok(Self::Before),
            (Self::Before, b'0'..=b'9') => Ok(Self::Digits(u64::from(byte - b'0'))),
            (Self::Digits(value), b'0'..=b'9') => value
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(u64::from(byte - b'0')))
                .map(Self::Digits)
                .ok_or(Malformed::ContentLength),
            (Self::Digits(value) | Self::After(value), b' ' | b'\t') => Ok(Self::After(value)),
            _ => Err(Malformed::ContentLength),
        }
    }

    fn value(self) -> Result<u64, Malformed> {
        match self {
            Self::Digits(value) | Self::After(value) => Ok(value),
            Self::Before => Err(Malformed::ContentLength),
        }
    }
}

/// Whether the byte may be part of a header name.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
