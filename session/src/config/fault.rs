//! What is wrong with a configuration, where, and how it is told.

use std::fmt::{self, Display, Write as _};

/// Enough to work through, and a bound on what one file can put on a terminal; the rest is counted.
pub(crate) const MAX_SHOWN: usize = 100;
/// Enough of a value to recognise it by.
const MAX_EXCERPT: usize = 60;

/// All that is wrong with one file, in the order of the file; one line each.
#[derive(Debug)]
pub(crate) struct Faults {
    file: String,
    /// The first of them, in order.
    first: Vec<Fault>,
    /// How many more there are.
    more: usize,
}

impl Faults {
    pub(super) fn none(file: &str) -> Faults {
        Faults {
            file: file.to_owned(),
            first: Vec::new(),
            more: 0,
        }
    }

    pub(super) fn one(file: &str, fault: Fault) -> Faults {
        Faults {
            first: vec![fault],
            ..Faults::none(file)
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Puts a fault in its place. Past the limit neither path nor text is even made, so that a
    /// small file cannot grow into a flood of them.
    pub(super) fn add(&mut self, at: Position, path: &Path<'_>, text: &dyn Fn() -> String) {
        let place = self.first.partition_point(|fault| fault.at <= at);
        if place == MAX_SHOWN {
            self.more += 1;
            return;
        }
        self.first.insert(place, Fault::new(at, path, text()));
        if self.first.len() > MAX_SHOWN {
            self.first.truncate(MAX_SHOWN);
            self.more += 1;
        }
    }
}

impl Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Faults { file, first, more } = self;
        let file = Excerpt(file, usize::MAX);
        for (index, Fault { at, path, text }) in first.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(
                out,
                "{separator}{file}:{}:{}: {path}: {text}",
                at.line, at.column
            )?;
        }
        match more {
            0 => Ok(()),
            more => write!(out, "\n{file}: and {more} more"),
        }
    }
}

impl std::error::Error for Faults {}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Fault {
    at: Position,
    path: String,
    text: String,
}

impl Fault {
    pub(super) fn new(at: Position, path: &Path<'_>, text: String) -> Fault {
        Fault {
            at,
            path: path.to_string(),
            text,
        }
    }

    /// A fault of the text as such, before there is any value to name.
    pub(super) fn syntax(at: Position, text: String) -> Fault {
        Fault {
            at,
            path: String::from("syntax"),
            text,
        }
    }
}

/// A place in the file, counted from 1 and in characters, as editors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Position {
    pub(super) const START: Position = Position { line: 1, column: 1 };

    pub(super) fn advance(&mut self, passed: char) {
        if passed == '\n' {
            *self = Position {
                line: self.line + 1,
                column: 1,
            };
        } else {
            self.column += 1;
        }
    }
}

/// The way from the top of the file to one value. It is a list through the callers' stack frames,
/// so that it costs nothing until a fault needs it.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Top,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Path::Top => out.write_str("top level"),
            Path::Key(Path::Top, name) => write!(out, "{}", Name(name)),
            Path::Key(parent, name) => write!(out, "{parent}.{}", Name(name)),
            Path::Index(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}

/// A key as it stands in a path: bare where that is clear, else in quotes.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |letter: char| letter.is_ascii_alphanumeric() || "_-$".contains(letter);
        if !self.0.is_empty() && self.0.chars().all(bare) {
            Excerpt(self.0, MAX_EXCERPT).fmt(out)
        } else {
            write!(out, "\"{}\"", excerpt(self.0))
        }
    }
}

/// The start of a foreign text, fit for a terminal.
pub(super) fn excerpt(text: &str) -> impl Display {
    Excerpt(text, MAX_EXCERPT)
}

/// At most so many characters of a text, with nothing in it that a terminal would act on.
struct Excerpt<'a>(&'a str, usize);

impl Display for Excerpt<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Excerpt(text, most) = *self;
        let mut rest = text.chars();
        for letter in rest.by_ref().take(most) {
            match letter {
                '\'' | '"' | '\\' => out.write_char(letter)?,
                _ => write!(out, "{}", letter.escape_debug())?,
            }
        }
        out.write_str(if rest.as_str().is_empty() { "" } else { "…" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(lines: impl IntoIterator<Item = usize>) -> Faults {
        let mut faults = Faults::none("c.json");
        for line in lines {
            let at = Position { line, column: 1 };
            faults.add(at, &Path::Key(&Path::Top, "host"), &|| {
                format!("text {line}")
            });
        }
        faults
    }

    #[test]
    fn faults_stand_in_the_order_of_the_file() {
        let expected =
            "c.json:1:1: host: text 1\nc.json:2:1: host: text 2\nc.json:3:1: host: text 3";
        assert_eq!(faults([3, 1, 2]).to_string(), expected);
    }

    #[test]
    fn past_the_limit_faults_are_counted() {
        for (count, lines, last) in [
            (MAX_SHOWN, MAX_SHOWN, "c.json:100:1: host: text 100"),
            (MAX_SHOWN + 1, MAX_SHOWN + 1, "c.json: and 1 more"),
            (MAX_SHOWN * 10, MAX_SHOWN + 1, "c.json: and 900 more"),
        ] {
            // Whichever way they come, the first of the file are kept.
            let forward = faults(1..=count).to_string();
            assert_eq!(forward, faults((1..=count).rev()).to_string());
            assert_eq!(forward.lines().count(), lines);
            assert_eq!(forward.lines().last(), Some(last));
        }
    }

    #[test]
    fn a_path_names_each_step() {
        let app = Path::Key(&Path::Top, "app");
        let third = Path::Index(&app, 2);
        for (path, expected) in [
            (Path::Top, "top level"),
            (third, "app[2]"),
            (Path::Key(&third, "a-b"), "app[2].a-b"),
            (Path::Key(&app, ""), "app.\"\""),
            (Path::Key(&app, "two words"), "app.\"two words\""),
            (Path::Key(&app, "\u{1b}[31m"), "app.\"\\u{1b}[31m\""),
        ] {
            assert_eq!(path.to_string(), expected);
        }
    }

    #[test]
    fn an_excerpt_is_short_and_harmless() {
        for (text, expected) in [
            ("it's \"so\"", "it's \"so\"".to_owned()),
            (
                "a\nb\u{7f}\u{9b}\u{202e}",
                "a\\nb\\u{7f}\\u{9b}\\u{202e}".to_owned(),
            ),
            (&"é".repeat(60), "é".repeat(60)),
            (&"é".repeat(61), "é".repeat(60) + "…"),
            (&"é".repeat(100_000), "é".repeat(60) + "…"),
        ] {
            assert_eq!(excerpt(text).to_string(), expected);
        }
    }
}
