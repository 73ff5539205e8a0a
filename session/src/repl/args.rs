//! The arguments that a line gave to a command.

use std::any::type_name;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::line::shown;

/// What the operator typed for the arguments of a command's usage line, in its order.
///
/// The words of the usage line are no arguments: of `debug <active|passive> to <recipient> [note]`,
/// the first is the choice, the second is `recipient`, and the third, `note`, may be absent. A
/// choice is named by its own text, so the arguments of the line `debug active to root` are:
///
/// | call | answer |
/// | --- | --- |
/// | `args.get("active\|passive")` and `args.at(0)` | `Some("active")` |
/// | `args.get("recipient")` and `args.at(1)` | `Some("root")` |
/// | `args.get("note")` and `args.at(2)` | `None` |
/// | `args.len()` | `2` |
///
/// A command is only called with arguments that fit its usage line, so every one that is not
/// optional is there. Text comes as it was typed: its case is kept, quotes and escapes are undone,
/// and it has no control characters but, inside of quotes, a tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The arguments of the usage line, shared with it.
    names: Arc<[String]>,
    /// What was given for them: shorter than the names where optional ones are absent.
    values: Vec<String>,
}

impl Args {
    pub(super) fn new(names: Arc<[String]>, values: Vec<String>) -> Self {
        debug_assert!(values.len() <= names.len());
        Self { names, values }
    }

    /// The argument of that name, written without its brackets. Where two equal choices share a
    /// name this is the first of them; [`at`](Self::at) reaches the other.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.at(self.index(name)?)
    }

    /// The argument at that place, counted from 0.
    pub fn at(&self, index: usize) -> Option<&str> {
        self.values.get(index).map(String::as_str)
    }

    /// The argument of that name as a `T`, read by the `FromStr` of `T`.
    ///
    /// # Errors
    ///
    /// The argument is absent, the usage line has none of that name, or its text is no `T`. The
    /// error says which argument it was, what was expected, and what was found, so an action can
    /// simply return it.
    pub fn parse<T: FromStr>(&self, name: &str) -> Result<T, ArgError> {
        if self.index(name).is_none() {
            return Err(ArgError(format!(
                "expected an argument of the usage line ({}), found `{}`",
                listed(&self.names),
                shown(name),
            )));
        }
        let found = self.get(name);
        found.and_then(|text| text.parse().ok()).ok_or_else(|| {
            let found =
                found.map_or_else(|| "none".to_owned(), |text| format!("`{}`", shown(text)));
            ArgError(format!(
                "argument `{name}`: expected {}, found {found}",
                described::<T>()
            ))
        })
    }

    /// How many arguments were given.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether none was given.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The name and the text of each argument that was given, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names
            .iter()
            .map(String::as_str)
            .zip(self.values.iter().map(String::as_str))
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }
}

/// Why an argument is not of the type that was asked for; its text is meant for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgError(String);

impl fmt::Display for ArgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ArgError {}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "it has none".to_owned();
    }
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `T` in the words of an operator, who need not know the names of types.
fn described<T>() -> String {
    let full = type_name::<T>();
    let text = match full {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number that is not negative",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "bool" => "`true` or `false`",
        "char" => "one character",
        _ => {
            let path = full.split('<').next().unwrap_or(full);
            let name = path.rsplit("::").next().unwrap_or(path);
            return format!("a value of type `{name}`");
        }
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn args(names: &[&str], values: &[&str]) -> Args {
        let owned = |texts: &[&str]| {
            texts
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>()
        };
        Args::new(owned(names).into(), owned(values))
    }

    #[test]
    fn arguments_are_found_by_name_and_by_place() {
        let args = args(&["on|off", "who", "note"], &["on", "Root"]);
        assert_eq!(args.get("on|off"), Some("on"));
        assert_eq!(args.get("who"), Some("Root"));
        assert_eq!(args.get("note"), None);
        assert_eq!(args.get("WHO"), None);
        assert_eq!((args.at(0), args.at(1)), (Some("on"), Some("Root")));
        assert_eq!((args.at(2), args.at(usize::MAX)), (None, None));
        assert_eq!((args.len(), args.is_empty()), (2, false));
        assert_eq!(
            args.iter().collect::<Vec<_>>(),
            [("on|off", "on"), ("who", "Root")]
        );
    }

    #[test]
    fn no_arguments() {
        let args = args(&[], &[]);
        assert!(args.is_empty());
        assert_eq!((args.len(), args.at(0), args.iter().count()), (0, None, 0));
    }

    #[test]
    fn equal_choices_are_told_apart_by_place() {
        let args = args(&["on|off", "on|off"], &["on", "off"]);
        assert_eq!((args.get("on|off"), args.at(1)), (Some("on"), Some("off")));
    }

    #[test]
    fn arguments_become_values() {
        let args = args(&["n", "f", "b", "ip"], &["65535", "2.5", "true", "::1"]);
        assert_eq!(args.parse("n"), Ok(u16::MAX));
        assert_eq!(args.parse("n"), Ok(65535i32));
        assert_eq!(args.parse("f"), Ok(2.5f64));
        assert_eq!(args.parse("b"), Ok(true));
        assert_eq!(args.parse("ip"), Ok(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])));
        assert_eq!(args.parse("n"), Ok("65535".to_owned()));
    }

    #[track_caller]
    fn check_error<T: FromStr + fmt::Debug>(value: &str, expected: &str) {
        let error = args(&["n", "more"], &[value]).parse::<T>("n").unwrap_err();
        assert_eq!(error.to_string(), format!("argument `n`: {expected}"));
    }

    #[test]
    fn an_error_says_what_was_expected_and_found() {
        check_error::<u8>("256", "expected a whole number from 0 to 255, found `256`");
        check_error::<u16>(
            "65536",
            "expected a whole number from 0 to 65535, found `65536`",
        );
        check_error::<u32>(
            "-1",
            "expected a whole number from 0 to 4294967295, found `-1`",
        );
        check_error::<usize>(
            "٣",
            "expected a whole number that is not negative, found `٣`",
        );
        check_error::<i8>(
            "128",
            "expected a whole number from -128 to 127, found `128`",
        );
        check_error::<i64>("1e3", "expected a whole number, found `1e3`");
        check_error::<f64>("two", "expected a number, found `two`");
        check_error::<bool>("TRUE", "expected `true` or `false`, found `TRUE`");
        check_error::<char>("ab", "expected one character, found `ab`");
        check_error::<IpAddr>("x", "expected a value of type `IpAddr`, found `x`");
        check_error::<u8>(
            "a\tb",
            r"expected a whole number from 0 to 255, found `a\tb`",
        );
    }

    #[test]
    fn an_absent_argument_and_an_unknown_one_are_told_apart() {
        let given = args(&["n", "more"], &["1"]);
        let error = given.parse::<u8>("more").unwrap_err();
        let absent = "argument `more`: expected a whole number from 0 to 255, found none";
        assert_eq!(error.to_string(), absent);
        let error = given.parse::<u8>("m").unwrap_err();
        let unknown = "expected an argument of the usage line (`n`, `more`), found `m`";
        assert_eq!(error.to_string(), unknown);
        let error = args(&[], &[]).parse::<u8>("m").unwrap_err();
        assert!(error.to_string().contains("(it has none)"), "{error}");
    }

    #[test]
    fn a_type_with_parameters_keeps_its_name() {
        assert_eq!(
            described::<std::num::Wrapping<IpAddr>>(),
            "a value of type `Wrapping`"
        );
    }
}
