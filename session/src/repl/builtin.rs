//! The built-in commands: their usage lines, and the closed set of values that they become.

use super::args::Args;
use super::line::shown;
use crate::machine::How;

/// What an operator asked for. Only the syntax of its values was checked: whether a port or an
/// interval is allowed, and a name known, is for the owner to say, by the rules of the
/// configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Help {
        about: Option<String>,
    },
    Status,
    Reports {
        count: Option<usize>,
    },
    Exit(How),
    Restart(How),
    Reload,
    SetPort {
        name: String,
        port: u64,
        restart: bool,
    },
    SetPolling {
        seconds: f64,
        now: bool,
    },
}

/// A built-in command.
pub(super) struct Builtin {
    pub(super) usage: &'static str,
    pub(super) about: &'static str,
    /// The command, from arguments that fit the usage line, or what is wrong with one of them.
    pub(super) read: fn(&Args) -> Result<Command, String>,
}

pub(super) const BUILTINS: [Builtin; 8] = [
    Builtin {
        usage: "help [command]",
        about: "show all commands, or the forms of one",
        read: |args| {
            Ok(Command::Help {
                about: args.get("command").map(str::to_owned),
            })
        },
    },
    Builtin {
        usage: "status",
        about: "show the worker, its restarts and its health",
        read: |_| Ok(Command::Status),
    },
    Builtin {
        usage: "reports [n]",
        about: "show the last crash reports, or the last n",
        read: |args| {
            Ok(Command::Reports {
                count: count(args)?,
            })
        },
    },
    Builtin {
        usage: "exit <clean|force>",
        about: "end the session; force: without the worker's exit handlers",
        read: |args| Ok(Command::Exit(how(args))),
    },
    Builtin {
        usage: "restart <clean|force>",
        about: "end the worker and start the next one",
        read: |args| Ok(Command::Restart(how(args))),
    },
    Builtin {
        usage: "reload",
        about: "start the next worker beside this one, and end this one when that is ready",
        read: |_| Ok(Command::Reload),
    },
    Builtin {
        usage: "set <port-name> port <number> <true|false>",
        about: "set a port; true: restart the worker now",
        read: |args| {
            let name = args.get("port-name").unwrap_or_default().to_owned();
            Ok(Command::SetPort {
                name,
                port: whole(args, "number")?,
                restart: flag(args),
            })
        },
    },
    Builtin {
        usage: "set polling <seconds> <true|false>",
        about: "set the polling interval; true: now, false: from the next worker on",
        read: |args| {
            Ok(Command::SetPolling {
                seconds: seconds(args)?,
                now: flag(args),
            })
        },
    },
];

/// The names of the built-in commands, each once.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let name = |builtin: &Builtin| builtin.usage.split(' ').next().unwrap_or(builtin.usage);
    let mut names: Vec<_> = BUILTINS.iter().map(name).collect();
    // The forms of one name stand side by side.
    names.dedup();
    names.into_iter()
}

/// Whether no command of the program may have that name: an operator must be able to rely on what
/// `exit force` does.
pub(super) fn is_reserved(name: &str) -> bool {
    names().any(|known| known == name)
}

/// The usage line has accepted one of the two.
fn how(args: &Args) -> How {
    match args.get("clean|force") {
        Some("force") => How::Force,
        _ => How::Clean,
    }
}

fn flag(args: &Args) -> bool {
    args.get("true|false") == Some("true")
}

fn count(args: &Args) -> Result<Option<usize>, String> {
    if args.get("n").is_none() {
        return Ok(None);
    }
    let count = whole(args, "n")?;
    // No store of reports holds more than memory can count.
    Ok(Some(usize::try_from(count).unwrap_or(usize::MAX)))
}

/// ASCII digits and nothing else: one spelling for each number.
fn whole(args: &Args, name: &str) -> Result<u64, String> {
    let text = args.get(name).unwrap_or_default();
    let number = if is_whole(text) {
        text.parse().ok()
    } else {
        None
    };
    number.ok_or_else(|| wrong(name, "a whole number such as `3000`", text))
}

/// A whole number with or without a fraction; no sign, exponent, infinity or not-a-number.
fn seconds(args: &Args) -> Result<f64, String> {
    let text = args.get("seconds").unwrap_or_default();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    // Such a text is a number of JSON, and read as one; enough digits overflow, which is refused.
    let number = if is_whole(whole) && is_digits(fraction) {
        crate::config::plain_number(text).and_then(|number| number.as_f64())
    } else {
        None
    };
    number.ok_or_else(|| wrong("seconds", "a number such as `30` or `2.5`", text))
}

fn is_whole(text: &str) -> bool {
    is_digits(text) && (text == "0" || !text.starts_with('0'))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn wrong(name: &str, expected: &str, found: &str) -> String {
    format!("`{name}`: expected {expected}, found `{}`", shown(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(name: &str, value: &str) -> Args {
        Args::new(vec![name.to_owned()].into(), vec![value.to_owned()])
    }

    #[test]
    fn names_are_the_ones_promised() {
        let expected = [
            "help", "status", "reports", "exit", "restart", "reload", "set",
        ];
        assert_eq!(names().collect::<Vec<_>>(), expected);
        assert!(expected.iter().all(|name| is_reserved(name)));
        assert!(!is_reserved("Exit") && !is_reserved("exi") && !is_reserved(""));
    }

    #[test]
    fn whole_numbers_have_one_spelling() {
        let max = u64::MAX.to_string();
        for (text, expected) in [("0", 0), ("7", 7), ("80800", 80800), (&max, u64::MAX)] {
            assert_eq!(whole(&args("n", text), "n"), Ok(expected));
        }
        let far = "9".repeat(4000);
        for text in [
            "",
            "-1",
            "+1",
            "00",
            "01",
            "1 ",
            " 1",
            "1.0",
            "1e3",
            "0x10",
            "1_000",
            "1,000",
            "٣",
            "１",
            "²",
            "18446744073709551616",
            &far,
            "NaN",
            "inf",
        ] {
            let error = whole(&args("n", text), "n").expect_err(text);
            let expected = "`n`: expected a whole number such as `3000`, found ";
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn seconds_are_plain_and_finite() {
        let long = format!("0.{}", "3".repeat(4000));
        for (text, expected) in [("0", 0.0), ("5", 5.0), ("2.5", 2.5), ("0.10", 0.1)] {
            assert_eq!(seconds(&args("seconds", text)), Ok(expected));
        }
        // The last bit is right only where a crate beside us asks serde_json for that.
        let third = seconds(&args("seconds", &long)).unwrap();
        assert!((third - 1.0 / 3.0).abs() < f64::EPSILON);
        assert!(seconds(&args("seconds", &"9".repeat(308))).is_ok());
        let (above, far) = ("9".repeat(309), "9".repeat(4000));
        for text in [
            "", ".", ".5", "5.", "-5", "+5", "05", "00.5", "1e3", "2.5e1", "2.5.5", "inf", "NaN",
            "infinity", "٣", "2.٣", "2,5", "5s", "1_0", &above, &far,
        ] {
            assert!(seconds(&args("seconds", text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_count_is_optional() {
        let none = Args::new(vec!["n".to_owned()].into(), Vec::new());
        assert_eq!(count(&none), Ok(None));
        assert_eq!(count(&args("n", "3")), Ok(Some(3)));
        assert_eq!(
            count(&args("n", &u64::MAX.to_string())),
            Ok(Some(usize::MAX))
        );
        assert!(count(&args("n", "-1")).is_err());
    }
}
