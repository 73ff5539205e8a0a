//! The room as its owner sees it: lines in, commands or refusals out.

use std::time::{Duration, Instant};

use super::builtin::BUILTINS;
use super::fault::UsageFault;
use super::line::MAX_TOKENS;
use super::usage::{MAX_PARTS, MAX_USAGE};
use super::*;
use crate::machine::How;

const SET: &str =
    "`set <port-name> port <number> <true|false>`, `set polling <seconds> <true|false>`";

#[track_caller]
fn refused(table: &Table, line: &str) -> String {
    match table.resolve(line) {
        Resolved::Refused(text) => text,
        other => panic!("{line:?} became {other:?}"),
    }
}

/// The program's own commands that the tables below meet.
fn table() -> Table {
    let mut table = Table::new();
    for usage in [
        "debug <active|passive> <recipient>",
        "debug off",
        "say <text> [loud|quiet]",
    ] {
        table.add(usage).unwrap();
    }
    table
}

/// Lines that are almost a command. Each is refused with this text somewhere in the answer.
const NEAR_MISSES: &[(&str, &str)] = &[
    // The name is not whole, or not in its case.
    (
        "EXIT clean",
        "did you mean `exit`? usage: `exit <clean|force>`",
    ),
    (
        "Exit clean",
        "did you mean `exit`? usage: `exit <clean|force>`",
    ),
    ("exitclean", "unknown command `exitclean`"),
    ("exi clean", "did you mean `exit`?"),
    ("exit; clean", "did you mean `exit`?"),
    ("exit\u{a0}clean", "unknown command"),
    ("/exit clean", "did you mean `exit`?"),
    ("exit-clean", "unknown command `exit-clean`"),
    ("statusx", "did you mean `status`?"),
    ("stat", "did you mean `status`?"),
    ("reloaded", "did you mean `reload`?"),
    ("help!", "did you mean `help`?"),
    ("?", "unknown command `?`; type `help` for all commands"),
    ("quit", "type `help` for all commands"),
    ("9999x", "unknown command `9999x`"),
    ("\u{feff}help", "did you mean `help`?"),
    ("еxit clean", "did you mean `exit`?"),
    ("\"\"", "unknown command ``"),
    ("\"exit clean\"", "unknown command `exit clean`"),
    (
        "Debug off",
        "did you mean `debug`? usage: `debug <active|passive> <recipient>`, `debug off`",
    ),
    // Too few or too many words.
    (
        "exit",
        "expected `clean` or `force`, found the end of the line; usage: `exit <clean|force>`",
    ),
    (
        "exit clean now",
        "expected the end of the line, found `now`; usage: `exit <clean|force>`",
    ),
    (
        "exit clean force",
        "found `force`; usage: `exit <clean|force>`",
    ),
    ("exit clean \"\"", "expected the end of the line, found ``"),
    ("exit force # now", "found `#`; usage: `exit <clean|force>`"),
    ("restart", "usage: `restart <clean|force>`"),
    (
        "reload now",
        "expected the end of the line, found `now`; usage: `reload`",
    ),
    ("status all", "usage: `status`"),
    ("help exit clean", "usage: `help [command]`"),
    ("reports 1 2", "usage: `reports [n]`"),
    ("set", SET),
    (
        "set polling",
        "expected `port` or `<seconds>`, found the end of the line",
    ),
    ("set polling 5", SET),
    ("set polling 5 true now", SET),
    ("set server port", SET),
    ("set server port 3000", SET),
    ("set server port 3000 true now", SET),
    ("set server 3000 true", "expected `port`, found `3000`"),
    ("set port 3000 true", "expected `port`, found `3000`"),
    // A word that only contains, starts or resembles the right one.
    (
        "exit unclean",
        "expected `clean` or `force`, found `unclean`",
    ),
    ("exit cleanly", "usage: `exit <clean|force>`"),
    ("exit Clean", "usage: `exit <clean|force>`"),
    ("exit FORCE", "usage: `exit <clean|force>`"),
    ("exit clean|force", "found `clean|force`"),
    ("exit <clean>", "found `<clean>`"),
    ("exit \"clean \"", "found `clean `"),
    ("exit --force", "found `--force`"),
    ("exit 0", "usage: `exit <clean|force>`"),
    ("restart cleanly", "usage: `restart <clean|force>`"),
    ("restart reinforce", "usage: `restart <clean|force>`"),
    ("set server Port 3000 true", SET),
    ("set server ports 3000 true", SET),
    (
        "set server port 3000 TRUE",
        "expected `true` or `false`, found `TRUE`",
    ),
    ("set server port 3000 truely", SET),
    ("set server port 3000 untrue", SET),
    ("set server port 3000 1", SET),
    ("set server port 3000 yes", SET),
    ("set Polling 5 true", SET),
    ("set polling 5 True", SET),
    (
        "debug activ root",
        "expected `active` or `passive` or `off`, found `activ`",
    ),
    (
        "debug active",
        "expected `<recipient>`, found the end of the line",
    ),
    (
        "debug",
        "usage: `debug <active|passive> <recipient>`, `debug off`",
    ),
    ("say", "usage: `say <text> [loud|quiet]`"),
    ("say hello LOUD", "expected `loud` or `quiet`, found `LOUD`"),
    ("say two words loud", "usage: `say <text> [loud|quiet]`"),
    // A number that only contains one.
    (
        "set s3rver port 80800x true",
        "`number`: expected a whole number such as `3000`, found `80800x`",
    ),
    ("set server port x9999 true", SET),
    (
        "set server port 1e3 true",
        "found `1e3`; usage: `set <port-name>",
    ),
    ("set server port ٣ true", "found `٣`; usage: "),
    ("set server port ３０００ true", SET),
    ("set server port -3000 true", SET),
    ("set server port +3000 true", SET),
    ("set server port 03000 true", SET),
    ("set server port 3000.0 true", SET),
    ("set server port 3_000 true", SET),
    ("set server port 0xBB8 true", SET),
    ("set server port \"\" true", SET),
    ("set server port \" 3000\" true", SET),
    ("set server port 18446744073709551616 true", SET),
    ("set server port NaN true", SET),
    (
        "set polling -5 true",
        "`seconds`: expected a number such as `30` or `2.5`, found `-5`",
    ),
    ("set polling +5 true", SET),
    ("set polling 5s true", SET),
    ("set polling 9999x true", SET),
    ("set polling 1e3 true", SET),
    ("set polling .5 true", SET),
    ("set polling 5. true", SET),
    ("set polling 2,5 true", SET),
    ("set polling 05 true", SET),
    ("set polling NaN true", SET),
    ("set polling inf true", SET),
    ("set polling Infinity true", SET),
    ("set polling ٣ true", SET),
    (
        "reports -1",
        "`n`: expected a whole number such as `3000`, found `-1`; usage: `reports [n]`",
    ),
    ("reports all", "usage: `reports [n]`"),
    ("reports 1.5", "usage: `reports [n]`"),
    ("reports 3x", "usage: `reports [n]`"),
    // No row of tokens at all.
    ("\"", "expected a closing `\"`"),
    (
        "exit \"clean",
        "expected a closing `\"`, found the end of the line",
    ),
    ("exit clean\"", "expected a quote only around a whole word"),
    (
        "exit \"cl\"ean",
        "expected a blank after a closing `\"`, found `ean`",
    ),
    (
        "exit \"cl\\ean\"",
        "expected `\\\"` or `\\\\` inside of quotes, found `\\e`",
    ),
    (
        "exit clean\0",
        "found the control character `\\u{0}` in column 11",
    ),
    ("exit\0clean", "control character `\\u{0}` in column 5"),
    (
        "\x1b[Aexit clean",
        "control character `\\u{1b}` in column 1",
    ),
    (
        "exit clean\x1b[31m",
        "control character `\\u{1b}` in column 11",
    ),
    ("exit clean\x7f", "control character `\\u{7f}`"),
    ("exit clean\u{9b}31m", "control character `\\u{9b}`"),
    (
        "\u{202e}exit clean",
        "control character `\\u{202e}` in column 1",
    ),
    ("exit \u{2066}clean", "control character `\\u{2066}`"),
    (
        "exit clean\nexit force",
        "control character `\\n` in column 11",
    ),
    ("exit clean\rstatus", "control character `\\r` in column 11"),
];

#[test]
fn near_misses_are_refused_and_do_nothing() {
    assert!(NEAR_MISSES.len() >= 60);
    let table = table();
    for (line, expected) in NEAR_MISSES {
        let text = refused(&table, line);
        assert!(text.contains(expected), "{line:?} was refused with: {text}");
        assert!(
            !text.contains(char::is_control),
            "{line:?} was refused with: {text:?}"
        );
        assert!(
            !text.contains(['\u{202e}', '\u{2066}']),
            "{line:?} was refused with: {text:?}"
        );
    }
}

#[test]
fn whole_lines_become_typed_commands() {
    let port = |name: &str, port, restart| Command::SetPort {
        name: name.into(),
        port,
        restart,
    };
    let polling = |seconds, now| Command::SetPolling { seconds, now };
    let help = |about: Option<&str>| Command::Help {
        about: about.map(str::to_owned),
    };
    let lines = [
        ("help", help(None)),
        ("help exit", help(Some("exit"))),
        ("help Nothing", help(Some("Nothing"))),
        ("status", Command::Status),
        ("reports", Command::Reports { count: None }),
        ("reports 0", Command::Reports { count: Some(0) }),
        ("reports 16", Command::Reports { count: Some(16) }),
        ("exit clean", Command::Exit(How::Clean)),
        ("exit force", Command::Exit(How::Force)),
        (" \texit \t force\t ", Command::Exit(How::Force)),
        ("exit clean\r\n", Command::Exit(How::Clean)),
        ("\"exit\" \"clean\"", Command::Exit(How::Clean)),
        ("restart clean", Command::Restart(How::Clean)),
        ("restart force", Command::Restart(How::Force)),
        ("reload", Command::Reload),
        ("set server port 3000 true", port("server", 3000, true)),
        ("set server port 3000 false", port("server", 3000, false)),
        ("set s3rver port 0 true", port("s3rver", 0, true)),
        ("set Server port 80800 true", port("Server", 80800, true)),
        (
            "set __proto__ port 18446744073709551615 true",
            port("__proto__", u64::MAX, true),
        ),
        ("set polling port 3000 true", port("polling", 3000, true)),
        ("set port port 3000 true", port("port", 3000, true)),
        ("set polling 5 true", polling(5.0, true)),
        ("set polling 2.5 false", polling(2.5, false)),
        ("set polling 0 true", polling(0.0, true)),
        ("set polling 86401 true", polling(86401.0, true)),
    ];
    let table = table();
    for (line, expected) in lines {
        assert_eq!(table.resolve(line), Resolved::Builtin(expected), "{line:?}");
        // Whatever was resolved before, the same line means the same again.
        assert!(matches!(
            table.resolve("exit unclean"),
            Resolved::Refused(_)
        ));
    }
}

#[test]
fn a_line_of_blanks_asks_for_nothing() {
    for line in ["", " ", "\t", "\n", "\r\n", " \t \r\n"] {
        assert_eq!(table().resolve(line), Resolved::Empty, "{line:?}");
    }
}

#[track_caller]
fn check_user(table: &Table, line: &str, id: usize, expected: &[(&str, &str)]) {
    match table.resolve(line) {
        Resolved::User(found, args) => {
            assert_eq!(found, CommandId(id), "{line:?}");
            assert_eq!(args.iter().collect::<Vec<_>>(), expected, "{line:?}");
        }
        other => panic!("{line:?} became {other:?}"),
    }
}

#[test]
fn the_programs_commands_get_their_arguments() {
    let table = table();
    let active = [("active|passive", "active"), ("recipient", "Ada Lovelace")];
    check_user(&table, "debug active \"Ada Lovelace\"", 0, &active);
    check_user(&table, "debug off", 1, &[]);
    check_user(&table, "say \"\"", 2, &[("text", "")]);
    check_user(
        &table,
        "say EXIT quiet",
        2,
        &[("text", "EXIT"), ("loud|quiet", "quiet")],
    );
    check_user(&table, r#"say "a \"b\" \\""#, 2, &[("text", r#"a "b" \"#)]);
}

#[test]
fn the_most_special_form_wins_whichever_was_added_first() {
    let forms = [
        "go <any>",
        "go <home|away>",
        "go home",
        "go <any> [far]",
        "go <home|away> now",
    ];
    let lines = [
        "go home",
        "go away",
        "go out",
        "go home now",
        "go out now",
        "go away soon",
    ];
    // `go <any> [far]` shares the line `go x` with `go <any>`, so it takes its place.
    for first in [
        [0, 1, 2, 4],
        [2, 1, 4, 0],
        [4, 0, 2, 1],
        [3, 1, 2, 4],
        [2, 4, 1, 3],
    ] {
        let mut table = Table::new();
        for form in first {
            table.add(forms[form]).unwrap();
        }
        let meant = lines.map(|line| match table.resolve(line) {
            Resolved::User(CommandId(id), _) => Some(forms[first[id]]),
            _ => None,
        });
        let any = if first.contains(&3) {
            forms[3]
        } else {
            forms[0]
        };
        let far = first.contains(&3).then_some(forms[3]);
        let expected = [
            Some(forms[2]),
            Some(forms[1]),
            Some(any),
            Some(forms[4]),
            far,
            far,
        ];
        assert_eq!(meant, expected, "{first:?}");
    }
}

#[test]
fn built_in_names_are_reserved() {
    for builtin in &BUILTINS {
        let name = builtin.usage.split(' ').next().unwrap();
        for usage in [
            name.to_owned(),
            format!("{name} <x>"),
            format!("{name} of mine"),
        ] {
            let error = Table::new().add(&usage).unwrap_err();
            assert_eq!(
                error.fault,
                UsageFault::Reserved(name.to_owned()),
                "{usage}"
            );
            let text = error.to_string();
            for reserved in [
                "exit", "restart", "reload", "set", "help", "status", "reports",
            ] {
                assert!(text.contains(&format!("`{reserved}`")), "{text}");
            }
        }
    }
}

#[test]
fn a_refused_usage_line_takes_no_place() {
    let mut table = Table::new();
    assert_eq!(table.add("a <x>"), Ok(CommandId(0)));
    assert!(table.add("a <y>").is_err());
    assert!(table.add("exit now").is_err());
    assert!(table.add("b <").is_err());
    assert_eq!(table.add("b"), Ok(CommandId(1)));
    let error = table.add("a [z]").unwrap_err();
    let expected = "usage line `a [z]`: expected a form of its own, found one that some line \
                    shares with `a <x>`";
    assert_eq!(error.to_string(), expected);
    check_user(&table, "b", 1, &[]);
}

#[test]
fn help_lists_every_command_once() {
    let table = table();
    let lines = table.help();
    assert_eq!(lines.len(), BUILTINS.len() + 3);
    for (line, builtin) in lines.iter().zip(&BUILTINS) {
        assert!(
            line.starts_with(builtin.usage) && line.ends_with(builtin.about),
            "{line}"
        );
        assert!(line.len() <= 120, "{line}");
    }
    let columns = lines
        .iter()
        .zip(&BUILTINS)
        .map(|(line, builtin)| line.rfind(builtin.about));
    assert!(
        columns
            .collect::<Vec<_>>()
            .windows(2)
            .all(|pair| pair[0] == pair[1])
    );
    let added = [
        "debug <active|passive> <recipient>",
        "debug off",
        "say <text> [loud|quiet]",
    ];
    assert_eq!(lines[BUILTINS.len()..], added);
}

#[test]
fn help_about_one_command() {
    let table = table();
    assert_eq!(table.help_about("set").unwrap().len(), 2);
    let debug = table.help_about("debug").unwrap();
    assert_eq!(debug, ["debug <active|passive> <recipient>", "debug off"]);
    let text = table.help_about("reloa\x1b").unwrap_err();
    assert!(
        text.starts_with(r"unknown command `reloa\u{1b}`; did you mean `reload`?"),
        "{text}"
    );
}

#[test]
fn the_longest_line_is_read_and_a_longer_one_is_not() {
    let table = table();
    let line = |length: usize| format!("say {}", "x".repeat(length - 4));
    assert!(matches!(table.resolve(&line(MAX_LINE)), Resolved::User(..)));
    let text = refused(&table, &line(MAX_LINE + 1));
    assert_eq!(text, "expected a line of at most 4096 bytes, found 4097");
}

/// A hundred megabytes of anything are refused by their length; the next line works.
#[test]
fn an_endless_line_is_not_even_looked_at() {
    let (length, times) = if cfg!(miri) {
        (100 * 1024, 1)
    } else {
        (100 * 1024 * 1024, 100)
    };
    let table = table();
    for unit in ["x", "\"", " ", "x ", "\\"] {
        let line = unit.repeat(length / unit.len());
        let started = Instant::now();
        for _ in 0..times {
            assert!(refused(&table, &line).starts_with("expected a line of at most"));
        }
        // One look at each byte, a hundred times over, would be ten billion steps. The clock of an
        // interpreter counts its own steps and tells nothing.
        assert!(
            cfg!(miri) || started.elapsed() < Duration::from_secs(1),
            "{unit:?}"
        );
    }
    assert_eq!(table.resolve("status"), Resolved::Builtin(Command::Status));
}

#[test]
fn a_refusal_is_short_whatever_the_line() {
    let table = table();
    for line in [
        "x".repeat(MAX_LINE),
        format!("exit {}", "é".repeat(2000)),
        "\u{feff}".repeat(900),
    ] {
        assert!(refused(&table, &line).len() < 1024);
    }
}

#[test]
fn words_up_to_the_bound_are_answered_with_the_forms() {
    let table = table();
    let line = |count: usize| format!("exit{}", " x".repeat(count - 1));
    assert!(refused(&table, &line(MAX_TOKENS)).contains("usage: `exit <clean|force>`"));
    for count in [MAX_TOKENS + 1, MAX_LINE / 2 - 1] {
        assert_eq!(
            refused(&table, &line(count)),
            "expected at most 64 words, found more"
        );
    }
    // The longest form that can be added can be typed.
    const { assert!(MAX_PARTS < MAX_TOKENS && MAX_USAGE < MAX_LINE) };
}

/// A small generator: the same numbers every time, and no dependency.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// Words thrown together at random never panic, and become a command only where the words say
/// exactly that command.
#[test]
fn random_lines_are_exact_or_refused() {
    let words = [
        "exit", "clean", "force", "restart", "reload", "set", "port", "polling", "true", "false",
        "status", "reports", "help", "server", "3000", "2.5", "-5", "\"\"", "\"", "Exit", "x",
    ];
    let (table, mut numbers) = (table(), Numbers(7));
    let mut accepted = 0;
    for _ in 0..if cfg!(miri) { 20 } else { 50_000 } {
        let count = numbers.below(6);
        let line: Vec<_> = (0..count)
            .map(|_| words[numbers.below(words.len())])
            .collect();
        let Resolved::Builtin(command) = table.resolve(&line.join(" ")) else {
            continue;
        };
        accepted += 1;
        let text = |value: &str| {
            if value.is_empty() || value.contains(' ') {
                format!("\"{value}\"")
            } else {
                value.to_owned()
            }
        };
        let how = |how: How| if how == How::Clean { "clean" } else { "force" };
        let spelled = match command {
            Command::Help { about } => {
                about.map_or("help".into(), |a| format!("help {}", text(&a)))
            }
            Command::Status => "status".into(),
            Command::Reports { count } => {
                count.map_or("reports".into(), |n| format!("reports {n}"))
            }
            Command::Exit(h) => format!("exit {}", how(h)),
            Command::Restart(h) => format!("restart {}", how(h)),
            Command::Reload => "reload".into(),
            Command::SetPort {
                name,
                port,
                restart,
            } => {
                format!("set {} port {port} {restart}", text(&name))
            }
            Command::SetPolling { seconds, now } => format!("set polling {seconds} {now}"),
        };
        assert_eq!(spelled, line.join(" "));
    }
    assert!(cfg!(miri) || accepted > 0);
}

/// Any characters at all: no panic, and nothing hidden in the answer.
#[test]
fn random_characters_are_answered_in_visible_ones() {
    let some = [
        'e', 'x', ' ', '"', '\\', '\t', '\0', '\x1b', '\u{202e}', 'é', '\u{85}', '<', '|', '٣',
    ];
    let (table, mut numbers) = (table(), Numbers(11));
    for _ in 0..if cfg!(miri) { 20 } else { 20_000 } {
        let count = numbers.below(12);
        let line: String = (0..count)
            .map(|_| some[numbers.below(some.len())])
            .collect();
        if let Resolved::Refused(text) = table.resolve(&line) {
            assert!(!text.contains(char::is_control), "{line:?}: {text:?}");
            assert!(!text.contains('\u{202e}'), "{line:?}: {text:?}");
        }
    }
}

/// Any usage line is added or refused, and one that was added fits the line that spells it.
#[test]
fn random_usage_lines_are_added_or_refused() {
    let some = [
        "go", "a", "b", "<x>", "<y>", "[z]", "<a|b>", "[a|b]", "<", "a|", "é", "",
    ];
    let mut numbers = Numbers(13);
    let mut added = 0;
    for _ in 0..if cfg!(miri) { 20 } else { 20_000 } {
        let count = numbers.below(5);
        let parts: Vec<_> = (0..count)
            .map(|_| some[numbers.below(some.len())])
            .collect();
        let usage = parts.join(" ");
        let mut table = Table::new();
        if table.add(&usage).is_err() {
            continue;
        }
        added += 1;
        let line = usage.replace("a|b", "a").replace(['<', '>', '[', ']'], "");
        assert!(
            matches!(table.resolve(&line), Resolved::User(CommandId(0), _)),
            "{usage:?}"
        );
        assert!(table.add(&usage).is_err(), "{usage:?} twice");
    }
    assert!(cfg!(miri) || added > 0);
}
