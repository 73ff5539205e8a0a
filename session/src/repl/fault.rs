//! What may be wrong with a usage line.

use std::fmt;

use super::builtin;
use super::line::shown;
use super::usage::{MAX_PARTS, MAX_USAGE};

/// Why a usage line is not one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError {
    /// The line, as it may be shown.
    pub(super) usage: String,
    pub(super) fault: UsageFault,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum UsageFault {
    Empty,
    /// The line has this many bytes.
    TooLong(usize),
    TooManyParts,
    /// The first part, which names the command, is no word.
    NameIsNoWord(String),
    /// The name belongs to a built-in command.
    Reserved(String),
    /// A part without its closing bracket.
    Unclosed(String),
    BadCharacter {
        part: String,
        found: char,
    },
    /// A part with no text where a word, a name or an option belongs.
    Nameless(String),
    RepeatedOption {
        part: String,
        option: String,
    },
    RepeatedName(String),
    RequiredAfterOptional(String),
    /// Some line would fit this usage line as well as that one.
    Ambiguous(String),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "usage line `{}`: {}", self.usage, self.fault)
    }
}

impl std::error::Error for UsageError {}

impl fmt::Display for UsageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "expected the name of a command, found none"),
            Self::TooLong(found) => {
                write!(f, "expected at most {MAX_USAGE} bytes, found {found}")
            }
            Self::TooManyParts => write!(f, "expected at most {MAX_PARTS} parts, found more"),
            Self::NameIsNoWord(part) => {
                write!(
                    f,
                    "expected a plain word as the name of the command, found `{part}`"
                )
            }
            Self::Reserved(name) => {
                let names = builtin::names()
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>();
                write!(
                    f,
                    "expected a name other than {}, found `{name}`",
                    names.join(", ")
                )
            }
            Self::Unclosed(part) => write!(
                f,
                "expected a closing bracket and no blanks inside, found `{}`",
                shown(part),
            ),
            Self::BadCharacter { part, found } => write!(
                f,
                "expected ASCII letters, digits, `-`, `_` and `.`, found `{}` in `{}`",
                shown(&found.to_string()),
                shown(part),
            ),
            Self::Nameless(part) => write!(
                f,
                "expected a name or an option, found nothing at a place in `{}`",
                shown(part),
            ),
            Self::RepeatedOption { part, option } => write!(
                f,
                "expected each option once, found `{option}` twice in `{}`",
                shown(part),
            ),
            Self::RepeatedName(name) => {
                write!(
                    f,
                    "expected each argument to have its own name, found `{name}` twice"
                )
            }
            Self::RequiredAfterOptional(part) => {
                write!(
                    f,
                    "expected only optional parts after an optional one, found `{part}`"
                )
            }
            Self::Ambiguous(other) => {
                write!(
                    f,
                    "expected a form of its own, found one that some line shares with `{other}`"
                )
            }
        }
    }
}
