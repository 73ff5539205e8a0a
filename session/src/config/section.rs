//! One object of the file: its members, each taken by name, and what is wrong with its keys.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::fault::{Faults, Path, Position, excerpt};
use super::json::{Json, Member, Node};
use super::limits::{Quoted, Refusal, did_you_mean, one_of};
use crate::near::near;

/// As many names as a message can list and still be read.
const MAX_LISTED: usize = 8;

/// One object of the file; without members where it is absent or no object.
pub(super) struct Section<'a> {
    /// Where it begins, if it is there.
    pub(super) at: Option<Position>,
    pub(super) path: Path<'a>,
    pub(super) members: &'a [Member<'a>],
}

impl<'a> Section<'a> {
    /// `known` is `None` where the names are the user's own.
    pub(super) fn new(
        node: Option<&'a Node<'a>>,
        path: Path<'a>,
        known: Option<&[&str]>,
        faults: &mut Faults,
    ) -> Section<'a> {
        let Some(node) = node else {
            return Section {
                at: None,
                path,
                members: &[],
            };
        };
        let Json::Object(members) = &node.json else {
            refuse(faults, node, &path, &Refusal::expected("an object"));
            return Section {
                at: None,
                path,
                members: &[],
            };
        };
        for member in members {
            if let Some(known) = known
                && !known.contains(&member.name.as_str())
            {
                let place = Path::Key(&path, &member.name);
                faults.add(member.at, &place, &|| unknown_key(&member.name, known));
            }
        }
        Section {
            at: Some(node.at),
            path,
            members,
        }
    }

    /// Puts what stands under `name` into `target`. What is absent leaves it as it is, and so does
    /// a fault; only then the answer is false.
    pub(super) fn set<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Json<'_>) -> Result<T, Refusal>,
        target: &mut T,
        faults: &mut Faults,
    ) -> bool {
        let Some(node) = self.find(name) else {
            return true;
        };
        match read(&node.json) {
            Ok(value) => {
                *target = value;
                true
            }
            Err(refusal) => {
                self.refuse(name, &refusal, faults);
                false
            }
        }
    }

    /// Refuses a value, be it for what it is next to another.
    pub(super) fn refuse(&self, name: &str, refusal: &Refusal, faults: &mut Faults) {
        if let Some(node) = self.find(name) {
            refuse(faults, node, &self.path(name), refusal);
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<&'a Node<'a>> {
        self.members
            .iter()
            .find(|member| member.name == name)
            .map(|member| &member.value)
    }

    pub(super) fn path<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path::Key(&self.path, name)
    }
}

/// Tells every key that stands twice, at whatever depth.
pub(super) fn repeated_keys(node: &Node<'_>, path: &Path<'_>, faults: &mut Faults) {
    match &node.json {
        Json::Object(members) => {
            let mut first = HashMap::with_capacity(members.len());
            for Member { at, name, value } in members {
                let place = Path::Key(path, name);
                match first.entry(name) {
                    Entry::Vacant(entry) => {
                        entry.insert(*at);
                    }
                    Entry::Occupied(entry) => {
                        let Position { line, column } = entry.get();
                        let found = format!("it again (first at {line}:{column})");
                        let refusal = Refusal::expected("each key once");
                        faults.add(*at, &place, &|| refusal.found(&found));
                    }
                }
                repeated_keys(value, &place, faults);
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                repeated_keys(item, &Path::Index(path, index), faults);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
    }
}

fn unknown_key(name: &str, known: &[&str]) -> String {
    let advice = near(name, known).map(did_you_mean);
    let expected = if known.len() > MAX_LISTED {
        String::from("a known key")
    } else {
        one_of(known)
    };
    Refusal::expected(expected)
        .advise(advice)
        .found(Quoted(excerpt(name)))
}

pub(super) fn refuse(faults: &mut Faults, node: &Node<'_>, path: &Path<'_>, refusal: &Refusal) {
    faults.add(node.at, path, &|| match refusal.own_words() {
        Some(found) => refusal.found(found),
        None => refusal.found(shown(&node.json)),
    });
}

/// A value as a message names it.
fn shown(json: &Json<'_>) -> String {
    match json {
        Json::Null => String::from("`null`"),
        Json::Bool(value) => Quoted(value).to_string(),
        Json::Number(digits) => Quoted(excerpt(digits)).to_string(),
        Json::Text(text) => format!("`\"{}\"`", excerpt(text)),
        Json::Array(_) => String::from("an array"),
        Json::Object(_) => String::from("an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_are_listed_as_long_as_one_reads_them() {
        let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        for (count, expected) in [
            (2, "`a` or `b`"),
            (MAX_LISTED, "`a`, `b`, `c`, `d`, `e`, `f`, `g` or `h`"),
            (MAX_LISTED + 1, "a known key"),
        ] {
            let told = unknown_key("zebra", &keys[..count]);
            assert_eq!(told, format!("expected {expected}, found `zebra`"));
        }
    }
}
