//! What each parser of foreign bytes allocates at most, whatever comes in.

use crate::config;
use crate::ipc::codec::{LineBuffer, MAX_LINE, decode};
use crate::ipc::message::ToMonitor;
use crate::output::{Lines, MAX_OUTPUT_LINE, TAIL_BYTES, Tail};
use crate::repl::{self, Table};
use crate::sys::counting::peak_of;
use crate::text;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Much more than any cap, in pieces of this size.
const PIECE: usize = 64 * KIB;
const PIECES: usize = 16 * 64;

#[test]
fn a_line_without_end_costs_no_more_than_the_longest_line() {
    let piece = vec![b'x'; PIECE];
    let peak = peak_of(|| {
        let mut lines = LineBuffer::default();
        for _ in 0..PIECES {
            lines.feed(&piece, |line| assert!(line.is_err()));
        }
        lines
    });
    // A buffer that grows by doubling holds the old and the new one for a moment.
    assert!(peak <= 3 * MAX_LINE, "{peak}");
}

#[test]
fn a_message_costs_a_small_multiple_of_its_line() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let many = format!("[{}0]", "0,".repeat(MAX_LINE / 2 - 64));
    let long = format!("\"{}\"", "a".repeat(MAX_LINE - 64));
    let escaped = format!("\"{}\"", "\\u0000".repeat(MAX_LINE / 6 - 16));
    let keys = format!(
        "{{{}\"z\":0}}",
        (0..20_000)
            .map(|at| format!("\"{at}\":0,"))
            .collect::<String>()
    );
    for args in [deep, many, long, escaped, keys] {
        for verb in [
            format!("{{\"message\":{{\"name\":\"n\",\"args\":{args}}}}}"),
            format!("{{\"lifecycle\":{{\"text\":{args}}}}}"),
            format!("{{\"{args}\":{{}}}}"),
            args,
        ] {
            let peak = peak_of(|| decode::<ToMonitor>(verb.as_bytes()));
            // Of an unknown verb, serde has its name and a sentence about it, which grows by doubling.
            assert!(
                peak <= 5 * verb.len() + 8 * KIB,
                "{peak} for {} bytes: {}",
                verb.len(),
                text::clip(&verb, 60)
            );
        }
    }
}

#[test]
fn a_configuration_of_the_largest_kind_costs_a_multiple_of_its_size_and_more_costs_nothing() {
    let largest = 256 * KIB;
    let texts = [
        "[".repeat(largest),
        format!("{{{}", "\"a\":0,".repeat(largest / 6 - 1)),
        format!("{{\"app\":[{}0]}}", "0,".repeat(largest / 2 - 16)),
        format!("{{\"ports\":{{{}", "\"\u{1b}\":1,".repeat(largest / 6 - 16)),
        "\u{0}".repeat(largest),
    ];
    for text in texts {
        let peak = peak_of(|| drop(config::parse(text.as_bytes(), "test")));
        assert!(peak <= 40 * MIB, "{peak} for {}", text::clip(&text, 20));
    }
    let beyond = "[".repeat(64 * MIB);
    let peak = peak_of(|| drop(config::parse(beyond.as_bytes(), "test")));
    assert!(peak <= 64 * KIB, "{peak}");
}

#[test]
fn a_command_costs_little_however_long_it_is() {
    let mut table = Table::new();
    table.add("debug <active|passive> <recipient>").unwrap();
    for line in [
        "x".repeat(16 * MIB),
        "a ".repeat(8 * MIB),
        "\u{1b}".repeat(repl::MAX_LINE),
        "\"".repeat(repl::MAX_LINE),
        format!("debug active {}", "r".repeat(repl::MAX_LINE - 13)),
    ] {
        let peak = peak_of(|| drop(table.resolve(&line)));
        assert!(peak <= 128 * KIB, "{peak}");
    }
}

#[test]
fn output_without_end_costs_its_longest_line_and_its_tail() {
    let piece = vec![b'x'; PIECE];
    let peak = peak_of(|| {
        let (mut lines, mut tail) = (Lines::default(), Tail::default());
        for _ in 0..PIECES {
            lines.push(&piece, |line| assert!(line.len() <= MAX_OUTPUT_LINE));
            tail.push(&piece);
        }
        (lines, tail)
    });
    assert!(peak <= 3 * (MAX_OUTPUT_LINE + TAIL_BYTES), "{peak}");
}
