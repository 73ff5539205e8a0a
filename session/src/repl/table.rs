//! All commands by their usage lines, and what a line asks of them.

use super::args::Args;
use super::builtin::{self, BUILTINS, Command};
use super::fault::UsageError;
use super::line::{self, shown};
use super::usage::{Misfit, Usage};
use crate::near::near;

/// The built-in commands, and those of the program.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    /// How many of the entries are the program's.
    added: usize,
}

#[derive(Debug)]
struct Entry {
    usage: Usage,
    target: Target,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Builtin {
        about: &'static str,
        read: fn(&Args) -> Result<Command, String>,
    },
    User(CommandId),
}

/// The place of a command among those that the program added, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommandId(pub(crate) usize);

/// What a line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Resolved {
    /// Nothing but blanks.
    Empty,
    Builtin(Command),
    User(CommandId, Args),
    /// Nothing may be done; the text says why, and is safe to show.
    Refused(String),
}

impl Table {
    /// The built-in commands.
    pub(crate) fn new() -> Self {
        let entries = BUILTINS.map(|builtin::Builtin { usage, about, read }| Entry {
            usage: Usage::parse(usage)
                .expect("the usage lines of built-in commands are well formed"),
            target: Target::Builtin { about, read },
        });
        Self {
            entries: entries.into(),
            added: 0,
        }
    }

    /// Adds a command of the program by its usage line.
    pub(crate) fn add(&mut self, usage: &str) -> Result<CommandId, UsageError> {
        let usage = Usage::parse(usage)?;
        usage.check_free()?;
        for entry in &self.entries {
            usage.check_distinct(&entry.usage)?;
        }
        let id = CommandId(self.added);
        self.added += 1;
        self.entries.push(Entry {
            usage,
            target: Target::User(id),
        });
        Ok(id)
    }

    /// What `line` asks for. Only a line that fits a usage line as a whole asks for anything.
    pub(crate) fn resolve(&self, line: &str) -> Resolved {
        let tokens = match line::tokens(line) {
            Ok(tokens) => tokens,
            Err(error) => return Resolved::Refused(error.to_string()),
        };
        let Some(name) = tokens.first() else {
            return Resolved::Empty;
        };
        let mut fitting: Option<(&Entry, Args)> = None;
        let mut misfits = Vec::new();
        for entry in self.named(name) {
            match entry.usage.fit(&tokens) {
                Ok(args) => {
                    let special = fitting.as_ref().is_none_or(|(other, _)| {
                        entry.usage.cmp_special(&other.usage, tokens.len()).is_lt()
                    });
                    if special {
                        fitting = Some((entry, args));
                    }
                }
                Err(misfit) => misfits.push(misfit),
            }
        }
        match fitting {
            Some((entry, args)) => self.resolved(entry, args),
            None if misfits.is_empty() => Resolved::Refused(self.unknown(name)),
            None => Resolved::Refused(self.refusal(name, &misfit_text(&misfits, &tokens))),
        }
    }

    /// One line for each command: the built-in ones with what they do, then the program's.
    pub(crate) fn help(&self) -> Vec<String> {
        help_lines(self.entries.iter())
    }

    /// The forms of one command, or why there are none.
    pub(crate) fn help_about(&self, name: &str) -> Result<Vec<String>, String> {
        let lines = help_lines(self.named(name));
        if lines.is_empty() {
            Err(self.unknown(name))
        } else {
            Ok(lines)
        }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Entry> + Clone {
        self.entries
            .iter()
            .filter(move |entry| entry.usage.name() == name)
    }

    fn resolved(&self, entry: &Entry, args: Args) -> Resolved {
        match entry.target {
            Target::User(id) => Resolved::User(id, args),
            Target::Builtin { read, .. } => match read(&args) {
                Ok(command) => Resolved::Builtin(command),
                Err(wrong) => Resolved::Refused(self.refusal(entry.usage.name(), &wrong)),
            },
        }
    }

    fn refusal(&self, name: &str, wrong: &str) -> String {
        format!("{wrong}; usage: {}", self.forms(name))
    }

    fn unknown(&self, name: &str) -> String {
        let known = self.entries.iter().map(|entry| entry.usage.name());
        let hint = near(name, &known.collect::<Vec<_>>()).map_or_else(String::new, |near| {
            format!("did you mean `{near}`? usage: {}; ", self.forms(near))
        });
        format!(
            "unknown command `{}`; {hint}type `help` for all commands",
            shown(name)
        )
    }

    /// The usage lines of one command.
    fn forms(&self, name: &str) -> String {
        joined(
            self.named(name)
                .map(|entry| format!("`{}`", entry.usage.text())),
            ", ",
        )
    }
}

fn help_lines<'a>(entries: impl Iterator<Item = &'a Entry> + Clone) -> Vec<String> {
    let described = |entry: &&Entry| matches!(entry.target, Target::Builtin { .. });
    let lengths = entries
        .clone()
        .filter(described)
        .map(|entry| entry.usage.text().len());
    let width = lengths.max().unwrap_or(0);
    let line = |entry: &Entry| match entry.target {
        Target::Builtin { about, .. } => format!("{:width$}  {about}", entry.usage.text()),
        Target::User(_) => entry.usage.text().to_owned(),
    };
    entries.map(line).collect()
}

/// What the forms that went furthest expected next: the others are not what was meant.
fn misfit_text(misfits: &[Misfit], tokens: &[String]) -> String {
    let at = misfits.iter().map(|misfit| misfit.at).max().unwrap_or(0);
    let mut expected: Vec<&str> = Vec::new();
    for misfit in misfits.iter().filter(|misfit| misfit.at == at) {
        if !expected.contains(&misfit.expected.as_str()) {
            expected.push(&misfit.expected);
        }
    }
    let found = tokens.get(at).map_or_else(
        || "the end of the line".to_owned(),
        |token| format!("`{}`", shown(token)),
    );
    format!("expected {}, found {found}", expected.join(" or "))
}

fn joined(texts: impl Iterator<Item = String>, between: &str) -> String {
    texts.collect::<Vec<_>>().join(between)
}
