//! One line of text, cut into whole tokens.

use std::borrow::Cow;
use std::fmt;

/// The longest line, in bytes: a command is a few words, so more is a slip of the paste buffer.
pub(crate) const MAX_LINE: usize = 4 * 1024;

/// The most tokens of a line: well above the parts of any usage line, so that one word too many is
/// still answered with the forms that exist.
pub(super) const MAX_TOKENS: usize = 64;

/// The most characters of a token that a message repeats: enough to recognise it by.
pub(super) const MAX_ECHO: usize = 64;

/// What separates tokens. Other spaces of Unicode do not: a pasted one must not split a name.
pub(super) const BLANKS: [char; 2] = [' ', '\t'];

/// Why a line is not a row of tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineError {
    /// The line has this many bytes.
    TooLong(usize),
    TooManyTokens,
    /// A character that a terminal would obey instead of showing it.
    Hidden {
        column: usize,
        found: char,
    },
    Unterminated,
    /// A quote inside of a token that does not start with one.
    QuoteInside(String),
    /// Text that is glued to a closing quote.
    AfterQuote(String),
    /// A backslash before something other than a quote or a backslash.
    Escape(char),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(found) => {
                write!(
                    f,
                    "expected a line of at most {MAX_LINE} bytes, found {found}"
                )
            }
            Self::TooManyTokens => write!(f, "expected at most {MAX_TOKENS} words, found more"),
            Self::Hidden { column, found } => write!(
                f,
                "expected visible text, found the control character `{}` in column {column}",
                found.escape_default(),
            ),
            Self::Unterminated => write!(f, "expected a closing `\"`, found the end of the line"),
            Self::QuoteInside(token) => write!(
                f,
                "expected a quote only around a whole word, found `{}`; write it as `\"…\"` with \
                 `\\\"` for a quote",
                shown(token),
            ),
            Self::AfterQuote(token) => write!(
                f,
                "expected a blank after a closing `\"`, found `{}`",
                shown(token),
            ),
            Self::Escape(found) => write!(
                f,
                "expected `\\\"` or `\\\\` inside of quotes, found `\\{}`",
                escape(&found.to_string()),
            ),
        }
    }
}

/// Cuts `line` at its blanks. `"two words"` is one token, in which `\"` and `\\` stand for a quote
/// and a backslash. One line ending, of either kind, is no part of the line.
pub(super) fn tokens(line: &str) -> Result<Vec<String>, LineError> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    // The length is known without a look at the text, however long it is.
    if line.len() > MAX_LINE {
        return Err(LineError::TooLong(line.len()));
    }
    if let Some((at, found)) = line
        .chars()
        .enumerate()
        .find(|(_, c)| is_hidden(*c) && !BLANKS.contains(c))
    {
        return Err(LineError::Hidden {
            column: at + 1,
            found,
        });
    }
    let mut tokens = Vec::new();
    let mut rest = line.trim_start_matches(BLANKS);
    while !rest.is_empty() {
        if tokens.len() == MAX_TOKENS {
            return Err(LineError::TooManyTokens);
        }
        let (token, after) = match rest.strip_prefix('"') {
            Some(inside) => quoted(inside)?,
            None => bare(rest)?,
        };
        tokens.push(token);
        rest = after.trim_start_matches(BLANKS);
    }
    Ok(tokens)
}

/// Text of the operator as a message may repeat it: harmless to a terminal, and short.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_ECHO) {
        Some((end, _)) => format!("{}…", escape(&text[..end])),
        None => escape(text).into_owned(),
    }
}

/// `text` with every hidden character written as its escape.
fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hidden(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Whether `c` acts on a terminal, or reorders or breaks the text around it, instead of showing.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn bare(text: &str) -> Result<(String, &str), LineError> {
    let (token, after) = text.split_at(text.find(BLANKS).unwrap_or(text.len()));
    if token.contains('"') {
        return Err(LineError::QuoteInside(token.to_owned()));
    }
    Ok((token.to_owned(), after))
}

/// The token whose opening quote was just read, and what follows its closing one.
fn quoted(text: &str) -> Result<(String, &str), LineError> {
    let mut token = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next() {
            None => return Err(LineError::Unterminated),
            Some('"') => break,
            Some('\\') => match rest.next() {
                None => return Err(LineError::Unterminated),
                Some(c @ ('"' | '\\')) => token.push(c),
                Some(other) => return Err(LineError::Escape(other)),
            },
            Some(c) => token.push(c),
        }
    }
    let after = rest.as_str();
    if !after.is_empty() && !after.starts_with(BLANKS) {
        let glued = after.split(BLANKS).next().unwrap_or(after);
        return Err(LineError::AfterQuote(glued.to_owned()));
    }
    Ok((token, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        assert_eq!(tokens(line).unwrap(), expected, "{line:?}");
    }

    #[track_caller]
    fn check_error(line: &str, expected: &LineError) {
        assert_eq!(tokens(line).as_ref(), Err(expected), "{line:?}");
    }

    #[test]
    fn a_line_is_cut_at_its_blanks_and_keeps_its_case() {
        check("", &[]);
        check(" \t  ", &[]);
        check("exit", &["exit"]);
        check("\t exit   Clean \t", &["exit", "Clean"]);
        check("größe ٣ 'a b'", &["größe", "٣", "'a", "b'"]);
        check("a\u{a0}b", &["a\u{a0}b"]);
        check(r"C:\new x", &[r"C:\new", "x"]);
    }

    #[test]
    fn one_line_ending_is_no_part_of_the_line() {
        check("exit clean\n", &["exit", "clean"]);
        check("exit clean\r\n", &["exit", "clean"]);
        check("exit clean\r", &["exit", "clean"]);
        check_error(
            "exit\n\n",
            &LineError::Hidden {
                column: 5,
                found: '\n',
            },
        );
        check_error(
            "exit\r\r\n",
            &LineError::Hidden {
                column: 5,
                found: '\r',
            },
        );
    }

    #[test]
    fn quotes_make_one_token() {
        check(r#"say "two words""#, &["say", "two words"]);
        check(r#""" a"#, &["", "a"]);
        check(r#""a \"b\" \\ c""#, &[r#"a "b" \ c"#]);
        check("\"a\tb\"\t\"c\"", &["a\tb", "c"]);
    }

    #[test]
    fn bad_quotes_are_refused() {
        for line in ["\"", "say \"two", "\"a\\\"", "\"a\\", "a \"\" \""] {
            check_error(line, &LineError::Unterminated);
        }
        check_error("a\"b\" c", &LineError::QuoteInside("a\"b\"".into()));
        check_error("a\"", &LineError::QuoteInside("a\"".into()));
        check_error("\"a\"b c", &LineError::AfterQuote("b".into()));
        check_error("\"a\"\"b\"", &LineError::AfterQuote("\"b\"".into()));
        check_error("\"a\\n\"", &LineError::Escape('n'));
    }

    #[test]
    fn hidden_characters_are_refused_where_they_are() {
        for found in [
            '\0', '\x1b', '\x07', '\x7f', '\u{85}', '\u{202e}', '\u{2066}', '\u{200f}',
        ] {
            check_error(
                &format!("ä {found}x"),
                &LineError::Hidden { column: 3, found },
            );
            check_error(
                &format!("\"ä{found}\""),
                &LineError::Hidden { column: 3, found },
            );
        }
    }

    #[test]
    fn the_longest_line_and_one_byte_more() {
        assert_eq!(tokens(&"x".repeat(MAX_LINE)).unwrap()[0].len(), MAX_LINE);
        assert_eq!(
            tokens(&format!("{}\r\n", "x".repeat(MAX_LINE)))
                .unwrap()
                .len(),
            1
        );
        check_error(&"x".repeat(MAX_LINE + 1), &LineError::TooLong(MAX_LINE + 1));
        // The bound counts bytes, whatever they spell.
        assert!(tokens(&"é".repeat(MAX_LINE / 2)).is_ok());
        check_error(
            &"é".repeat(MAX_LINE / 2 + 1),
            &LineError::TooLong(MAX_LINE + 2),
        );
    }

    #[test]
    fn the_most_tokens_and_one_more() {
        assert_eq!(tokens(&"x ".repeat(MAX_TOKENS)).unwrap().len(), MAX_TOKENS);
        check_error(&"x ".repeat(MAX_TOKENS + 1), &LineError::TooManyTokens);
        check_error(&"x ".repeat(MAX_LINE / 2), &LineError::TooManyTokens);
    }

    #[test]
    fn what_is_shown_is_escaped_and_short() {
        assert_eq!(shown("plain ü"), "plain ü");
        assert_eq!(shown("a\x1b[31m\u{202e}"), r"a\u{1b}[31m\u{202e}");
        assert_eq!(shown(&"é".repeat(MAX_ECHO)), "é".repeat(MAX_ECHO));
        assert_eq!(
            shown(&"é".repeat(MAX_ECHO + 1)),
            format!("{}…", "é".repeat(MAX_ECHO))
        );
        assert_eq!(shown(&"x".repeat(100_000)).chars().count(), MAX_ECHO + 1);
    }

    /// Quoting any text and cutting the line gives the text back.
    #[test]
    fn a_quoted_text_comes_back_whole() {
        let alphabet = ['a', ' ', '"', '\\', 'é', '\'', '\t', '|'];
        for seed in 0..if cfg!(miri) { 64 } else { 8 * 8 * 8 * 8 } {
            let text: String = (0..4).map(|i| alphabet[(seed >> (3 * i)) & 7]).collect();
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            check(&format!("a \"{quoted}\" b"), &["a", &text, "b"]);
        }
    }
}
