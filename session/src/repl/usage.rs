//! A usage line, which is the pattern that a line must fit: `debug <active|passive> <recipient>`.
//!
//! A word stands for itself, `<a|b>` for one of its options, `<name>` for any one token, and
//! `[name]` or `[a|b]` for the same where it may be left out, at the end only.

use std::cmp::Ordering;
use std::sync::Arc;

use super::args::Args;
use super::builtin;
use super::fault::{UsageError, UsageFault};
use super::line::{BLANKS, shown};

/// The longest usage line, in bytes: it is shown on one line of a terminal, in help and refusals.
pub(super) const MAX_USAGE: usize = 256;

/// The most parts of a usage line, its name among them: nobody types more arguments by hand.
pub(super) const MAX_PARTS: usize = 16;

/// A usage line that was read.
#[derive(Debug)]
pub(super) struct Usage {
    /// The line as it is shown, one blank between its parts.
    text: String,
    parts: Vec<Part>,
    /// The names of the arguments: of all parts but the words.
    names: Arc<[String]>,
}

/// Where a line stops to fit, and what would have fitted there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// The place of the token, counted from 0; past the last one where the line ends too early.
    pub(super) at: usize,
    pub(super) expected: String,
}

impl Usage {
    /// Reads a usage line.
    pub(super) fn parse(usage: &str) -> Result<Self, UsageError> {
        let fault = |fault| UsageError {
            usage: shown(usage),
            fault,
        };
        if usage.len() > MAX_USAGE {
            return Err(fault(UsageFault::TooLong(usage.len())));
        }
        let mut parts = Vec::new();
        for text in usage.split(BLANKS).filter(|text| !text.is_empty()) {
            if parts.len() == MAX_PARTS {
                return Err(fault(UsageFault::TooManyParts));
            }
            parts.push(Part::parse(text).map_err(fault)?);
        }
        check(&parts).map_err(fault)?;
        let names = parts
            .iter()
            .filter_map(Part::argument)
            .map(str::to_owned)
            .collect();
        let texts: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
        Ok(Self {
            text: texts.join(" "),
            parts,
            names,
        })
    }

    /// Refuses a name that a command of the program may not take.
    pub(super) fn check_free(&self) -> Result<(), UsageError> {
        if builtin::is_reserved(self.name()) {
            return Err(self.fault(UsageFault::Reserved(self.name().to_owned())));
        }
        Ok(())
    }

    /// Refuses a usage line that some line would fit as well as `other`, so that which of the two
    /// is meant never depends on which was added first.
    pub(super) fn check_distinct(&self, other: &Self) -> Result<(), UsageError> {
        // A clash of the shortest lines that both accept is in every longer one, and without one
        // there the parts that tell the two apart are there, too.
        let shortest = self.required().max(other.required());
        let common = shortest <= self.parts.len().min(other.parts.len());
        let mut pairs = self.parts.iter().zip(&other.parts).take(shortest);
        if common && pairs.all(|(ours, theirs)| ours.kind.clashes(&theirs.kind)) {
            return Err(self.fault(UsageFault::Ambiguous(other.text.clone())));
        }
        Ok(())
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn name(&self) -> &str {
        self.parts.first().map_or("", |part| &part.text)
    }

    /// The arguments of a line that fits, or where it stops to fit.
    pub(super) fn fit(&self, tokens: &[String]) -> Result<Args, Misfit> {
        let mut values = Vec::new();
        for (at, part) in self.parts.iter().enumerate() {
            match tokens.get(at) {
                None if part.optional => break,
                Some(token) if part.kind.accepts(token) => {
                    values.extend(part.argument().map(|_| token.clone()));
                }
                _ => {
                    return Err(Misfit {
                        at,
                        expected: part.expected(),
                    });
                }
            }
        }
        if tokens.len() > self.parts.len() {
            let expected = "the end of the line".to_owned();
            return Err(Misfit {
                at: self.parts.len(),
                expected,
            });
        }
        Ok(Args::new(Arc::clone(&self.names), values))
    }

    /// Orders usage lines that fit the same line of `count` tokens, the most special one first: at
    /// the first part in which they differ, a word goes before a choice, and that before any text.
    pub(super) fn cmp_special(&self, other: &Self, count: usize) -> Ordering {
        let ranks = |usage: &Self| -> Vec<u8> {
            usage
                .parts
                .iter()
                .take(count)
                .map(|part| part.kind.rank())
                .collect()
        };
        ranks(self).cmp(&ranks(other))
    }

    fn required(&self) -> usize {
        self.parts.iter().filter(|part| !part.optional).count()
    }

    fn fault(&self, fault: UsageFault) -> UsageError {
        UsageError {
            usage: self.text.clone(),
            fault,
        }
    }
}

#[derive(Debug)]
struct Part {
    /// The part as it was written, with its brackets.
    text: String,
    kind: Kind,
    optional: bool,
}

#[derive(Debug)]
enum Kind {
    Word(String),
    Choice(Vec<String>),
    Text,
}

impl Part {
    fn parse(text: &str) -> Result<Self, UsageFault> {
        let open = text.starts_with(['<', '[']);
        let inner = match (text.strip_prefix('<'), text.strip_prefix('[')) {
            (Some(inside), _) => inside.strip_suffix('>'),
            (_, Some(inside)) => inside.strip_suffix(']'),
            (None, None) => Some(text),
        };
        let inner = inner.ok_or_else(|| UsageFault::Unclosed(text.to_owned()))?;
        let kind = if !open {
            check_word(text, inner)?;
            Kind::Word(inner.to_owned())
        } else if inner.contains('|') {
            Kind::Choice(options(text, inner)?)
        } else {
            check_word(text, inner)?;
            Kind::Text
        };
        Ok(Self {
            text: text.to_owned(),
            kind,
            optional: text.starts_with('['),
        })
    }

    /// The name of the argument that this part is, if it is one: its text without the brackets.
    fn argument(&self) -> Option<&str> {
        match self.kind {
            Kind::Word(_) => None,
            Kind::Choice(_) | Kind::Text => Some(self.text.trim_matches(['<', '>', '[', ']'])),
        }
    }

    fn expected(&self) -> String {
        match &self.kind {
            Kind::Word(word) => format!("`{word}`"),
            Kind::Choice(options) => {
                let quoted: Vec<_> = options.iter().map(|option| format!("`{option}`")).collect();
                quoted.join(" or ")
            }
            Kind::Text => format!("`{}`", self.text),
        }
    }
}

impl Kind {
    fn accepts(&self, token: &str) -> bool {
        match self {
            Self::Word(word) => word == token,
            Self::Choice(options) => options.iter().any(|option| option == token),
            Self::Text => true,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Word(_) => 0,
            Self::Choice(_) => 1,
            Self::Text => 2,
        }
    }

    /// Whether some token fits both, and neither is the more special.
    fn clashes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Word(ours), Self::Word(theirs)) => ours == theirs,
            (Self::Choice(ours), Self::Choice(theirs)) => {
                ours.iter().any(|option| theirs.contains(option))
            }
            (Self::Text, Self::Text) => true,
            _ => false,
        }
    }
}

/// The rules that span several parts.
fn check(parts: &[Part]) -> Result<(), UsageFault> {
    let Some(name) = parts.first() else {
        return Err(UsageFault::Empty);
    };
    if name.argument().is_some() {
        return Err(UsageFault::NameIsNoWord(name.text.clone()));
    }
    for (at, part) in parts.iter().enumerate() {
        let before = &parts[..at];
        if !part.optional && before.iter().any(|part| part.optional) {
            return Err(UsageFault::RequiredAfterOptional(part.text.clone()));
        }
        // Equal choices are told apart by their place: they have no name that could be another.
        let repeated = before
            .iter()
            .any(|earlier| earlier.argument() == part.argument());
        if matches!(part.kind, Kind::Text) && repeated {
            return Err(UsageFault::RepeatedName(
                part.argument().unwrap_or_default().to_owned(),
            ));
        }
    }
    Ok(())
}

fn options(part: &str, inner: &str) -> Result<Vec<String>, UsageFault> {
    let mut options: Vec<String> = Vec::new();
    for option in inner.split('|') {
        check_word(part, option)?;
        if options.iter().any(|known| known == option) {
            let (part, option) = (part.to_owned(), option.to_owned());
            return Err(UsageFault::RepeatedOption { part, option });
        }
        options.push(option.to_owned());
    }
    Ok(options)
}

/// Words are ASCII, so that two which look the same are the same.
fn check_word(part: &str, word: &str) -> Result<(), UsageFault> {
    if word.is_empty() {
        return Err(UsageFault::Nameless(part.to_owned()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match word.chars().find(|c| !allowed(*c)) {
        Some(found) => Err(UsageFault::BadCharacter {
            part: part.to_owned(),
            found,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[track_caller]
    fn usage(text: &str) -> Usage {
        Usage::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    fn check_fit(text: &str, line: &str, expected: &[(&str, &str)]) {
        let args = usage(text).fit(&tokens(line)).unwrap();
        assert_eq!(
            args.iter().collect::<Vec<_>>(),
            expected,
            "{text:?} {line:?}"
        );
    }

    #[track_caller]
    fn check_misfit(text: &str, line: &str, at: usize, expected: &str) {
        let misfit = usage(text).fit(&tokens(line)).unwrap_err();
        assert_eq!(
            (misfit.at, misfit.expected.as_str()),
            (at, expected),
            "{text:?} {line:?}"
        );
    }

    #[test]
    fn a_line_that_fits_gives_its_arguments() {
        check_fit("stop", "stop", &[]);
        check_fit(
            "debug <active|passive> <recipient>",
            "debug passive Root",
            &[("active|passive", "passive"), ("recipient", "Root")],
        );
        check_fit(
            "set <n> port <p>",
            "set port port port",
            &[("n", "port"), ("p", "port")],
        );
        check_fit("say <a> [b] [c|d]", "say 1", &[("a", "1")]);
        check_fit("say <a> [b] [c|d]", "say 1 2", &[("a", "1"), ("b", "2")]);
        check_fit(
            "say <a> [b] [c|d]",
            "say 1 2 d",
            &[("a", "1"), ("b", "2"), ("c|d", "d")],
        );
        check_fit(
            "mix <on|off> <on|off>",
            "mix on off",
            &[("on|off", "on"), ("on|off", "off")],
        );
    }

    #[test]
    fn a_line_that_does_not_fit_says_where() {
        check_misfit("exit <clean|force>", "exit", 1, "`clean` or `force`");
        check_misfit(
            "exit <clean|force>",
            "exit unclean",
            1,
            "`clean` or `force`",
        );
        check_misfit("exit <clean|force>", "exit Clean", 1, "`clean` or `force`");
        check_misfit(
            "exit <clean|force>",
            "exit clean now",
            2,
            "the end of the line",
        );
        check_misfit("set <n> port <p>", "set a prt 1", 2, "`port`");
        check_misfit("set <n> port <p>", "set a port", 3, "`<p>`");
        check_misfit("say <a> [b|c]", "say 1 d", 2, "`b` or `c`");
        check_misfit("say <a> [b|c]", "say 1 b c", 3, "the end of the line");
        check_misfit("say", "sa", 0, "`say`");
    }

    #[test]
    fn a_usage_line_is_shown_tidy() {
        assert_eq!(
            usage("  debug\t <a|b>   [who] ").text(),
            "debug <a|b> [who]"
        );
        assert_eq!(usage("  debug\t <a|b>   [who] ").name(), "debug");
    }

    #[track_caller]
    fn check_fault(text: &str, expected: UsageFault) {
        let usage = shown(text);
        let error = Usage::parse(text).expect_err(text);
        assert_eq!(
            error,
            UsageError {
                usage,
                fault: expected
            }
        );
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }

    #[test]
    fn a_bad_usage_line_says_what_is_wrong_with_it() {
        let owned = str::to_owned;
        check_fault("", UsageFault::Empty);
        check_fault(" \t ", UsageFault::Empty);
        check_fault("<a>", UsageFault::NameIsNoWord(owned("<a>")));
        check_fault("[a] b", UsageFault::NameIsNoWord(owned("[a]")));
        check_fault("<a|b> c", UsageFault::NameIsNoWord(owned("<a|b>")));
        for part in ["<a", "[a", "<a]", "[a>", "<", "[", "<two words>"] {
            let first = owned(part.split(' ').next().unwrap());
            check_fault(&format!("say {part}"), UsageFault::Unclosed(first));
        }
        for part in ["<>", "[]", "<|>", "<a|>", "<|a>", "<a||b>", "[a|]", "<|\0>"] {
            check_fault(&format!("say {part}"), UsageFault::Nameless(owned(part)));
        }
        let bad = [
            ("a>", '>'),
            ("a|b", '|'),
            ("<<a>>", '<'),
            ("<a>b>", '>'),
            ("[<a>]", '<'),
            ("\"a\"", '"'),
            ("größe", 'ö'),
            ("<a\u{202e}>", '\u{202e}'),
            ("a\0b", '\0'),
            ("a\nb", '\n'),
        ];
        for (part, found) in &bad {
            let expected = UsageFault::BadCharacter {
                part: owned(part),
                found: *found,
            };
            check_fault(&format!("say {part}"), expected);
        }
        let twice = UsageFault::RepeatedOption {
            part: owned("<a|b|a>"),
            option: owned("a"),
        };
        check_fault("say <a|b|a>", twice);
        check_fault("say <a> <b> <a>", UsageFault::RepeatedName(owned("a")));
        check_fault("say <a> [a]", UsageFault::RepeatedName(owned("a")));
        check_fault(
            "say [a] <b>",
            UsageFault::RequiredAfterOptional(owned("<b>")),
        );
        check_fault("say [a] b", UsageFault::RequiredAfterOptional(owned("b")));
    }

    #[test]
    fn a_fault_reads_as_a_sentence() {
        let error = Usage::parse("say <größe>").unwrap_err();
        let expected = "usage line `say <größe>`: expected ASCII letters, digits, `-`, `_` and \
                        `.`, found `ö` in `<größe>`";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn the_longest_usage_line_and_one_byte_more() {
        assert!(Usage::parse(&"x".repeat(MAX_USAGE)).is_ok());
        for length in [MAX_USAGE + 1, 100 * MAX_USAGE] {
            check_fault(&"x".repeat(length), UsageFault::TooLong(length));
        }
    }

    #[test]
    fn the_most_parts_and_one_more() {
        assert!(Usage::parse(&"x ".repeat(MAX_PARTS)).is_ok());
        for count in [MAX_PARTS + 1, MAX_USAGE / 2] {
            check_fault(&"x ".repeat(count), UsageFault::TooManyParts);
        }
    }

    #[track_caller]
    fn check_distinct(one: &str, other: &str, distinct: bool) {
        let (one, other) = (usage(one), usage(other));
        for (ours, theirs) in [(&one, &other), (&other, &one)] {
            let result = ours.check_distinct(theirs);
            assert_eq!(
                result.is_ok(),
                distinct,
                "{} / {}",
                ours.text(),
                theirs.text()
            );
        }
    }

    #[test]
    fn forms_that_share_a_line_are_refused() {
        check_distinct("a", "a", false);
        check_distinct("a <x>", "a <y>", false);
        check_distinct("a <x|y>", "a <y|z>", false);
        check_distinct("a [x]", "a", false);
        check_distinct("a [x]", "a <y>", false);
        check_distinct("a <x> [y]", "a [x]", false);
        check_distinct("a b <x>", "a b [y]", false);
    }

    #[test]
    fn forms_that_a_part_tells_apart_are_kept() {
        check_distinct("a", "b", true);
        check_distinct("a", "a <x>", true);
        check_distinct("a <x>", "a b", true);
        check_distinct("a <x>", "a <b|c>", true);
        check_distinct("a b", "a <b|c>", true);
        check_distinct("a <b|c>", "a <d|e>", true);
        check_distinct("set <x> port <y>", "set polling <z>", true);
        check_distinct("a <x> [y]", "a", true);
    }

    #[test]
    fn a_word_is_more_special_than_a_choice_and_that_than_any_text() {
        let usages = ["a b", "a <b|c>", "a <x>"].map(usage);
        for (i, one) in usages.iter().enumerate() {
            for (j, other) in usages.iter().enumerate() {
                assert_eq!(one.cmp_special(other, 2), i.cmp(&j));
            }
        }
    }
}
