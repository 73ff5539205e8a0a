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
