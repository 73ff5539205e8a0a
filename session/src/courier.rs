//! The courier: a process of the program's own image that posts one message to `notify.webhook`.
//!
//! It is a process of its own so that nothing of it can touch the monitor: a server that never
//! answers, an HTTP client that panics or grows. The monitor ends it when its time is over.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process;

use crate::error::exit_code;
use crate::sys;

/// A report is less than half of this, with every byte of it escaped.
const MAX_LETTER: u64 = 4 * 1024 * 1024;
/// Far more than one request takes, and far less than a machine has: the client's own limit on
/// the head of an answer can be got around.
const MAX_MEMORY: u64 = 256 * 1024 * 1024;
/// The client's words for an answer that does not begin as one of HTTP.
const NO_STATUS_LINE: (u16, &str) = (503, "Server did not provide a status line");

/// Delivers what the process `monitor` has put on standard input: a line with the URL, then the
/// body. Exit code 0 says that it was taken; else standard error says why not.
pub(crate) fn run(monitor: u32) -> ! {
    sys::die_with_parent();
    if sys::parent_id() != monitor {
        process::exit(exit_code::OS.into());
    }
    sys::restrict_memory(MAX_MEMORY);
    // The monitor takes the end of this channel for the end of the process: it stays open.
    let channel = sys::take_stdin().map(File::from);
    let outcome = match &channel {
        Ok(channel) => read_letter(channel).and_then(|letter| deliver(&letter)),
        Err(error) => Err(error.to_string()),
    };
    let code = match outcome {
        Ok(()) => 0,
        Err(why) => {
            // If this fails, the exit code is left to tell.
            let _ = io::stderr().write_all(why.as_bytes());
            exit_code::INTERNAL
        }
    };
    process::exit(code.into())
}

/// The whole letter, or none: half of one is no report.
fn read_letter(channel: impl Read) -> Result<String, String> {
    let mut letter = Vec::new();
    let read = channel.take(MAX_LETTER + 1).read_to_end(&mut letter);
    read.map_err(|error| format!("the report could not be read: {error}"))?;
    if letter.len() as u64 > MAX_LETTER {
        return Err(format!(
            "expected a report of at most {MAX_LETTER} bytes, found more"
        ));
    }
    String::from_utf8(letter).map_err(|_| "the report is no text".to_owned())
}

fn deliver(letter: &str) -> Result<(), String> {
    let (url, body) = letter
        .split_once('\n')
        .ok_or_else(|| "the report was cut short".to_owned())?;
    // No timeout: the client would need a thread for it, and the monitor has one anyway. Of the
    // answer only the head is read.
    let answer = minreq::post(url)
        .with_header("Content-Type", "application/json")
        .with_header("User-Agent", concat!("session/", env!("CARGO_PKG_VERSION")))
        .with_header("Connection", "close")
        .with_body(body)
        .with_follow_redirects(false)
        .send_lazy()
        .map_err(|error| error.to_string())?;
    verdict(answer.status_code, &answer.reason_phrase)
}

fn verdict(status: u16, reason: &str) -> Result<(), String> {
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(format!("it answered {status}; redirects are not followed")),
        _ if (status, reason) == NO_STATUS_LINE => Err("it gave no HTTP answer".to_owned()),
        _ => Err(format!("it answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_of_success_is_one() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(verdict(status, ""), Ok(()));
        }
        for (status, reason, expected) in [
            (0, "", "it answered 0"),
            (103, "", "it answered 103"),
            (199, "", "it answered 199"),
            (300, "", "it answered 300; redirects are not followed"),
            (302, "Found", "it answered 302; redirects are not followed"),
            (400, "", "it answered 400"),
            (500, "OK", "it answered 500"),
            (503, "Service Unavailable", "it answered 503"),
            (503, NO_STATUS_LINE.1, "it gave no HTTP answer"),
            (u16::MAX, "", "it answered 65535"),
        ] {
            assert_eq!(verdict(status, reason), Err(expected.to_owned()));
        }
    }

    #[test]
    fn a_letter_comes_whole_or_not_at_all() {
        let read = |length: u64| read_letter(io::repeat(b'x').take(length));
        assert_eq!(read(0).as_deref(), Ok(""));
        assert!(read(MAX_LETTER).is_ok());
        for too_long in [MAX_LETTER + 1, 8 * MAX_LETTER] {
            let why = read(too_long).unwrap_err();
            assert!(why.contains("at most 4194304 bytes, found more"), "{why}");
        }
        assert!(read_letter(&b"\xff"[..]).is_err());
    }

    #[test]
    fn a_letter_that_was_cut_short_is_not_posted() {
        for letter in ["", "http://127.0.0.1:1/"] {
            assert_eq!(deliver(letter), Err("the report was cut short".to_owned()));
        }
    }
}
