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
        let (expected, found) = self.sides();
        write!(f, "expected {expected}, found {found}")
    }
}

impl UsageFault {
    /// What was expected, and what was found.
    fn sides(&self) -> (String, String) {
        let quoted = |text: &str| format!("`{}`", shown(text));
        let (expected, found) = match self {
            Self::Empty => ("the name of a command", "none".into()),
            Self::TooLong(found) => {
                return (format!("at most {MAX_USAGE} bytes"), found.to_string());
            }
            Self::TooManyParts => return (format!("at most {MAX_PARTS} parts"), "more".into()),
            Self::NameIsNoWord(part) => ("a plain word as the name of the command", quoted(part)),
            Self::Reserved(name) => {
                let names: Vec<_> = builtin::names().map(quoted).collect();
                return (
                    format!("a name other than {}", names.join(", ")),
                    quoted(name),
                );
            }
            Self::Unclosed(part) => ("a closing bracket and no blanks inside", quoted(part)),
            Self::BadCharacter { part, found } => (
                "ASCII letters, digits, `-`, `_` and `.`",
                format!("{} in {}", quoted(&found.to_string()), quoted(part)),
            ),
            Self::Nameless(part) => (
                "a name or an option",
                format!("nothing at a place in {}", quoted(part)),
            ),
            Self::RepeatedOption { part, option } => (
                "each option once",
                format!("{} twice in {}", quoted(option), quoted(part)),
            ),
            Self::RepeatedName(name) => (
                "each argument to have its own name",
                format!("{} twice", quoted(name)),
            ),
            Self::RequiredAfterOptional(part) => {
                ("only optional parts after an optional one", quoted(part))
            }
            Self::Ambiguous(other) => (
                "a form of its own",
                format!("one that some line shares with `{other}`"),
            ),
        };
        (expected.to_owned(), found)
    }
}
