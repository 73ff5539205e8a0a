//! JSON with places: each value and each key knows the line and column where it begins.
//!
//! A syntax fault ends the reading, since what follows it cannot be told apart from its effects.
//! Keys that stand twice are kept as they are: whoever reads the tree decides.

use super::fault::{Fault, Position, excerpt};
use super::limits::MAX_DEPTH;

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) at: Position,
    pub(super) json: Json<'a>,
}

#[derive(Debug)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// As it is written, so that it can be shown so, and read as the type that is wanted.
    Number(&'a str),
    Text(String),
    Array(Vec<Node<'a>>),
    Object(Vec<Member<'a>>),
}

/// A key, where it begins, and its value.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) at: Position,
    pub(super) name: String,
    pub(super) value: Node<'a>,
}

/// Reads one JSON value that fills the whole text.
pub(super) fn read(text: &str) -> Result<Node<'_>, Fault> {
    let mut reader = Reader {
        rest: text,
        at: Position::START,
    };
    reader.skip_space();
    let node = reader.value(MAX_DEPTH)?;
    reader.skip_space();
    match reader.rest {
        "" => Ok(node),
        _ => Err(reader.fault("the end of the file")),
    }
}

struct Reader<'a> {
    rest: &'a str,
    at: Position,
}

impl<'a> Reader<'a> {
    /// `depth` is how many levels of nesting are left.
    fn value(&mut self, depth: usize) -> Result<Node<'a>, Fault> {
        let at = self.at;
        let json = match self.peek() {
            Some('{' | '[') if depth == 0 => {
                let text = format!("expected at most {MAX_DEPTH} levels of nesting, found more");
                return Err(Fault::syntax(at, text));
            }
            Some('{') => self.object(depth - 1)?,
            Some('[') => self.array(depth - 1)?,
            Some('"') => Json::Text(self.string()?),
            Some('-' | '0'..='9') => Json::Number(self.number()?),
            _ => self.word()?,
        };
        Ok(Node { at, json })
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, Fault> {
        let mut members = Vec::new();
        let mut more = self.opened('}');
        while more {
            let at = self.at;
            if self.peek() != Some('"') {
                return Err(self.fault("a key in double quotes"));
            }
            let name = self.string()?;
            self.skip_space();
            if !self.eat(':') {
                return Err(self.fault("`:`"));
            }
            self.skip_space();
            let value = self.value(depth)?;
            members.push(Member { at, name, value });
            more = self.continued('}')?;
        }
        Ok(Json::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, Fault> {
        let mut items = Vec::new();
        let mut more = self.opened(']');
        while more {
            items.push(self.value(depth)?);
            more = self.continued(']')?;
        }
        Ok(Json::Array(items))
    }

    /// Passes the opening bracket; true if an entry follows.
    fn opened(&mut self, close: char) -> bool {
        self.bump();
        self.skip_space();
        !self.eat(close)
    }

    /// Passes what stands behind an entry; true if another entry follows.
    fn continued(&mut self, close: char) -> Result<bool, Fault> {
        self.skip_space();
        if self.eat(close) {
            return Ok(false);
        }
        if !self.eat(',') {
            return Err(self.fault(&format!("`,` or `{close}`")));
        }
        self.skip_space();
        if self.peek() == Some(close) {
            let text =
                format!("expected another entry, found `{close}` (JSON has no trailing comma)");
            return Err(Fault::syntax(self.at, text));
        }
        Ok(true)
    }

    /// Finds the end of a string here; what it says is for `serde_json` to decode.
    fn string(&mut self) -> Result<String, Fault> {
        let (start, from) = (self.at, self.rest);
        self.bump();
        loop {
            match self.peek() {
                None | Some('\n' | '\r') => return Err(self.fault("a closing `\"`")),
                Some('\0'..='\u{1f}') => return Err(self.fault("an escape in its place")),
                Some('"') => break,
                Some('\\') => {
                    self.bump();
                    match self.peek() {
                        Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u') => self.bump(),
                        _ => return Err(self.fault("an escape such as `\\n` or `\\u0041`")),
                    }
                }
                Some(_) => self.bump(),
            }
        }
        self.bump();
        let token = self.since(from);
        serde_json::from_str(token).map_err(|_| {
            let text = format!(
                "expected whole `\\uXXXX` escapes, found `{}`",
                excerpt(token)
            );
            Fault::syntax(start, text)
        })
    }

    fn number(&mut self) -> Result<&'a str, Fault> {
        let from = self.rest;
        self.eat('-');
        let leading_zero = self.eat('0');
        if !leading_zero {
            self.digits()?;
        } else if matches!(self.peek(), Some('0'..='9')) {
            return Err(self.fault("a number without leading zeros"));
        }
        if self.eat('.') {
            self.digits()?;
        }
        if self.eat('e') || self.eat('E') {
            let _sign = self.eat('+') || self.eat('-');
            self.digits()?;
        }
        Ok(self.since(from))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !matches!(self.peek(), Some('0'..='9')) {
            return Err(self.fault("a digit"));
        }
        while matches!(self.peek(), Some('0'..='9')) {
            self.bump();
        }
        Ok(())
    }

    fn word(&mut self) -> Result<Json<'a>, Fault> {
        let word = self.letters();
        let json = match word {
            "null" => Json::Null,
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            _ => return Err(self.fault("a JSON value")),
        };
        word.chars().for_each(|_| self.bump());
        Ok(json)
    }

    /// The letters ahead, without passing them.
    fn letters(&self) -> &'a str {
        let end = self
            .rest
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        &self.rest[..end.unwrap_or(self.rest.len())]
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.bump();
        }
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) {
        let mut letters = self.rest.chars();
        if let Some(letter) = letters.next() {
            self.at.advance(letter);
            self.rest = letters.as_str();
        }
    }

    /// What was passed since the text ahead was `from`.
    fn since(&self, from: &'a str) -> &'a str {
        &from[..from.len() - self.rest.len()]
    }

    fn fault(&self, expected: &str) -> Fault {
        Fault::syntax(
            self.at,
            format!("expected {expected}, found {}", self.ahead()),
        )
    }

    /// What stands here, with a word on what is usual elsewhere but not in JSON.
    fn ahead(&self) -> String {
        match (self.peek(), self.letters()) {
            (None, _) => String::from("the end of the file"),
            (Some('\n' | '\r'), _) => String::from("the end of the line"),
            (Some('/' | '#'), _) => String::from("a comment (JSON has none)"),
            (Some('\''), _) => String::from("`'` (JSON has double quotes only)"),
            (Some(letter), "") => format!("`{}`", excerpt(letter.encode_utf8(&mut [0; 4]))),
            (Some(_), word) => format!("`{}`", excerpt(word)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = concat!(
        r#"{"a":[0,-1,2.5,1e+3,-0,12E-2],"b":{"c":null,"d":[true,false,{}],"":"x\"y\\\u0041"},"#,
        "\n\t\"é🦀\" : [ [ ] , \"\" ]\r\n}"
    );

    /// Any text that one reader takes and the other refuses would be a hole in one of them.
    fn agrees(text: &str) {
        let ours = read(text).map_err(|_| ());
        let theirs = serde_json::from_str::<serde_json::Value>(text);
        // A number too large for a float is well written all the same.
        let theirs = theirs.map_err(|error| error.to_string());
        if theirs
            .as_ref()
            .is_err_and(|error| error.starts_with("number out of range"))
        {
            return;
        }
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{text:?}: {theirs:?}");
    }

    #[test]
    fn it_takes_what_serde_json_takes_and_no_more() {
        for text in [
            "0", "-", "01", "1.", "1.e2", ".1", "1e", "1e+", "--1", "+1", "0x1", "1_0",
        ] {
            agrees(text);
        }
        for text in [
            "nul",
            "nulll",
            "true1",
            "True",
            "\"\\u12\"",
            "\"\\ud83e\"",
            "\"\\ude80\"",
        ] {
            agrees(text);
        }
        for text in [
            "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{a:1}", "{,}", "[", "\"",
        ] {
            agrees(text);
        }
        for text in [
            "\"\\ud83e\\udd80\"",
            "\"\u{7f}\"",
            "\"\u{1f}\"",
            "\u{feff}1",
            "1\u{a0}",
        ] {
            agrees(text);
        }
    }

    #[test]
    fn it_agrees_on_every_slip_in_a_sample() {
        const SLIPS: &str = "{}[]:,\"\\ 0-.eEtu\n\u{1}";
        // An interpreter takes minutes for what a processor does in an instant.
        let step = if cfg!(miri) { 17 } else { 1 };
        let places = SAMPLE.char_indices().step_by(step);
        for (place, letter) in places {
            let (before, after) = (&SAMPLE[..place], &SAMPLE[place + letter.len_utf8()..]);
            agrees(before);
            agrees(&format!("{before}{after}"));
            for slip in SLIPS.chars() {
                agrees(&format!("{before}{slip}{after}"));
                agrees(&format!("{before}{slip}{letter}{after}"));
            }
        }
    }

    #[test]
    fn what_is_read_is_what_stands_there() {
        let tree = read(SAMPLE).unwrap();
        let expected: serde_json::Value = serde_json::from_str(SAMPLE).unwrap();
        assert_eq!(plain(&tree), expected);
    }

    fn plain(node: &Node<'_>) -> serde_json::Value {
        match &node.json {
            Json::Null => serde_json::Value::Null,
            Json::Bool(value) => (*value).into(),
            Json::Number(digits) => serde_json::from_str(digits).unwrap(),
            Json::Text(text) => text.clone().into(),
            Json::Array(items) => items.iter().map(plain).collect(),
            Json::Object(members) => members
                .iter()
                .map(|member| (member.name.clone(), plain(&member.value)))
                .collect(),
        }
    }

    #[test]
    fn each_key_and_value_knows_its_place() {
        let tree = read(" {\r\n\t\"é🦀\" : [ 1,\n2 ] }").unwrap();
        let at = |line, column| Position { line, column };
        let Json::Object(members) = &tree.json else {
            panic!("{tree:?}")
        };
        let Json::Array(items) = &members[0].value.json else {
            panic!("{members:?}")
        };
        assert_eq!((tree.at, members[0].at), (at(1, 2), at(2, 2)));
        assert_eq!(members[0].value.at, at(2, 9));
        assert_eq!((items[0].at, items[1].at), (at(2, 11), at(3, 1)));
    }

    #[test]
    fn nesting_is_limited() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        for depth in [MAX_DEPTH + 1, MAX_DEPTH * 1000] {
            assert!(read(&nested(depth)).is_err(), "{depth}");
        }
    }
}
