use super::*;

const PARTIAL: Progress = Progress::Partial;

fn whole(status: u16, head_len: usize, content_length: Option<u64>) -> Progress {
    Progress::Complete {
        status,
        head_len,
        content_length,
    }
}

fn bad(malformed: Malformed) -> Progress {
    Progress::Bad(malformed)
}

fn parse(bytes: &[u8]) -> Progress {
    Head::new().push(bytes)
}

/// Every answer, with what is to be made of it.
fn corpus() -> Vec<(Vec<u8>, Progress)> {
    let mut cases: Vec<(Vec<u8>, Progress)> = Vec::new();
    cases.extend(status_lines());
    cases.extend(header_lines());
    cases.extend(content_lengths());
    cases.extend(interim_answers());
    cases
}

fn owned(cases: &[(&str, Progress)]) -> Vec<(Vec<u8>, Progress)> {
    cases
        .iter()
        .map(|(text, progress)| (text.as_bytes().to_vec(), *progress))
        .collect()
}

fn status_lines() -> Vec<(Vec<u8>, Progress)> {
    let mut cases = owned(&[
        ("", PARTIAL),
        ("H", PARTIAL),
        ("HTTP/1.1 200", PARTIAL),
        ("HTTP/1.1 200 OK", PARTIAL),
        ("HTTP/1.1 200 OK\r\n", PARTIAL),
        ("HTTP/1.1 200 OK\r\n\r", PARTIAL),
        ("HTTP/1.1 200 OK\r\n\r\n", whole(200, 19, None)),
        ("HTTP/1.0 200 OK\r\n\r\n", whole(200, 19, None)),
        ("HTTP/1.1 200 OK\n\n", whole(200, 17, None)),
        ("HTTP/1.1 200 OK\n\r\n", whole(200, 18, None)),
        ("HTTP/1.1 200\r\n\r\n", whole(200, 16, None)),
        ("HTTP/1.1 200 \r\n\r\n", whole(200, 17, None)),
        (
            "HTTP/1.1 200 all is well, thanks\r\n\r\n",
            whole(200, 36, None),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", whole(204, 27, None)),
        ("HTTP/1.1 302 Found\r\n\r\n", whole(302, 22, None)),
        ("HTTP/1.1 500 \r\n\r\n", whole(500, 17, None)),
        ("HTTP/1.1 599 x\r\n\r\nbody", whole(599, 18, None)),
        ("HTTP/1.1 600 x\r\n\r\n", bad(Malformed::StatusCode)),
        ("HTTP/1.1 099 x\r\n\r\n", bad(Malformed::StatusCode)),
        ("HTTP/1.1 000 x\r\n\r\n", bad(Malformed::StatusCode)),
        ("HTTP/1.1 20 OK\r\n\r\n", bad(Malformed::StatusCode)),
        ("HTTP/1.1 20\r\n\r\n", bad(Malformed::StatusCode)),
        ("HTTP/1.1 2000 OK\r\n\r\n", bad(Malformed::StatusCode)),
        // At once, not at the end of the line.
        ("HTTP/1.1 2000", bad(Malformed::StatusCode)),
        ("HTTP/1.1 200OK\r\n\r\n", bad(Malformed::StatusCode)),
        ("HTTP/1.1 2e2 OK\r\n\r\n", bad(Malformed::StatusCode)),
        ("HTTP/1.1 -20 OK\r\n\r\n", bad(Malformed::StatusCode)),
        ("HTTP/1.1  200 OK\r\n\r\n", bad(Malformed::StatusCode)),
        ("HTTP/1.1\t200 OK\r\n\r\n", bad(Malformed::Version)),
        ("HTTP/1.1\r\n\r\n", bad(Malformed::Version)),
        ("HTTP/1.1 \r\n\r\n", bad(Malformed::StatusCode)),
        ("HTTP/1.2 200 OK\r\n\r\n", bad(Malformed::Version)),
        ("HTTP/1.10 200 OK\r\n\r\n", bad(Malformed::Version)),
        ("HTTP/2.0 200 OK\r\n\r\n", bad(Malformed::Version)),
        ("HTTP/2 200\r\n\r\n", bad(Malformed::Version)),
        ("http/1.1 200 OK\r\n\r\n", bad(Malformed::Version)),
        ("HTTP 200 OK\r\n\r\n", bad(Malformed::Version)),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", bad(Malformed::Version)),
        (" HTTP/1.1 200 OK\r\n\r\n", bad(Malformed::Version)),
        ("SSH-2.0-OpenSSH_9.6\r\n", bad(Malformed::Version)),
        ("<html>", bad(Malformed::Version)),
        ("HTTP/1.1 200 O\rK\r\n\r\n", bad(Malformed::BareReturn)),
        ("HTTP/1.1 200 OK\r\r\n\r\n", bad(Malformed::BareReturn)),
        ("HTTP/1.1 200 O\0K\r\n\r\n", bad(Malformed::Nul)),
        ("\0", bad(Malformed::Nul)),
    ]);
    // A server that speaks TLS answers plain text with an alert.
    cases.push((vec![0x15, 3, 1, 0, 2, 2, 70], bad(Malformed::Version)));
    cases.push((
        b"HTTP/1.1 200 \xff\xfe\r\n\r\n".to_vec(),
        whole(200, 19, None),
    ));
    cases
}

fn header_lines() -> Vec<(Vec<u8>, Progress)> {
    let lines = [
        ("Date: now\r\n", Ok(None)),
        ("Date: now\n", Ok(None)),
        ("Empty:\r\n", Ok(None)),
        ("X-Odd!#$%&'*+-.^_`|~9: :::\r\n", Ok(None)),
        ("Content-Length-Of: 5\r\n", Ok(None)),
        ("X-Content-Length: 5\r\n", Ok(None)),
        ("Content-Lengt: 5\r\n", Ok(None)),
        ("A: 1\r\n continued\r\n", Err(Malformed::Folded)),
        ("A: 1\r\n\tcontinued\r\n", Err(Malformed::Folded)),
        (" A: 1\r\n", Err(Malformed::Folded)),
        ("no colon\r\n", Err(Malformed::HeaderName)),
        ("nocolon\r\n", Err(Malformed::HeaderName)),
        ("Name : 1\r\n", Err(Malformed::HeaderName)),
        (": 1\r\n", Err(Malformed::HeaderName)),
        ("(A): 1\r\n", Err(Malformed::HeaderName)),
        ("(A: 1\r\n", Err(Malformed::HeaderName)),
        ("\u{e9}: 1\r\n", Err(Malformed::HeaderName)),
        ("A: 1\0\r\n", Err(Malformed::Nul)),
        ("A\0: 1\r\n", Err(Malformed::Nul)),
        ("A: 1\r2\r\n", Err(Malformed::BareReturn)),
        ("A\r: 1\r\n", Err(Malformed::BareReturn)),
        ("\rA: 1\r\n", Err(Malformed::BareReturn)),
    ];
    let mut cases = with_lines(&lines);
    // The length at which a line has broken another client, and its neighbours.
    let lengths: &[usize] = if cfg!(miri) {
        &[8191]
    } else {
        &[8190, 8191, 8192, 16_384]
    };
    for &length in lengths {
        let line = format!("A: {}\n", "a".repeat(length - 4));
        cases.extend(with_lines(&[(&line, Ok(None))]));
    }
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(16_384));
    cases.push((endless.into_bytes(), PARTIAL));
    cases
}

fn content_lengths() -> Vec<(Vec<u8>, Progress)> {
    with_lines(&[
        ("Content-Length: 0\r\n", Ok(Some(0))),
        ("content-length:5\r\n", Ok(Some(5))),
        ("CONTENT-LENGTH: \t 5 \t\r\n", Ok(Some(5))),
        ("Content-Length: 0000000000000000000000005\n", Ok(Some(5))),
        ("Content-Length: 10000000000\r\n", Ok(Some(10_000_000_000))),
        (
            "Content-Length: 18446744073709551615\r\n",
            Ok(Some(u64::MAX)),
        ),
        (
            "Content-Length: 18446744073709551616\r\n",
            Err(Malformed::ContentLength),
        ),
        (
            "Content-Length: 99999999999999999999999\r\n",
            Err(Malformed::ContentLength),
        ),
        ("Content-Length: -1\r\n", Err(Malformed::ContentLength)),
        ("Content-Length: +1\r\n", Err(Malformed::ContentLength)),
        ("Content-Length: 0x5\r\n", Err(Malformed::ContentLength)),
        ("Content-Length: 5.0\r\n", Err(Malformed::ContentLength)),
        ("Content-Length: 5 5\r\n", Err(Malformed::ContentLength)),
        ("Content-Length: 5, 5\r\n", Err(Malformed::ContentLength)),
        ("Content-Length:\r\n", Err(Malformed::ContentLength)),
        ("Content-Length: \r\n", Err(Malformed::ContentLength)),
        ("Content-Length: five\r\n", Err(Malformed::ContentLength)),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Ok(Some(5))),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            Err(Malformed::ContentLength),
        ),
    ])
}

fn interim_answers() -> Vec<(Vec<u8>, Progress)> {
    const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let mut cases = owned(&[
        (CONTINUE, PARTIAL),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",
            PARTIAL,
        ),
        (
            "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 500 x\r\n\r\n",
            whole(500, 36, None),
        ),
        ("HTTP/1.1 199 x\n\nHTTP/1.0 200\n\n", whole(200, 30, None)),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n\x7f",
            whole(101, 36, None),
        ),
        ("HTTP/1.1 100 x\r\n\r\njunk", bad(Malformed::Version)),
        ("HTTP/1.1 100 x\r\nA\r\n\r\n", bad(Malformed::HeaderName)),
        // What an interim answer says of itself is not true of the final one.
        (
            "HTTP/1.1 103 x\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 x\r\n\r\n",
            whole(200, 55, None),
        ),
    ]);
    for (count, skipped) in [(1, true), (8, true), (9, false), (500, false)] {
        let text = CONTINUE.repeat(count) + "HTTP/1.1 200 OK\r\n\r\n";
        let progress = match skipped {
            true => whole(200, text.len(), None),
            false => bad(Malformed::EndlessInterim),
        };
        cases.push((text.into_bytes(), progress));
    }
    cases
}

/// The header lines in an answer that is well otherwise, with a body behind it.
fn with_lines(lines: &[(&str, Result<Option<u64>, Malformed>)]) -> Vec<(Vec<u8>, Progress)> {
    let case = |(lines, expected): &(&str, Result<Option<u64>, Malformed>)| {
        let head = format!("HTTP/1.1 200 OK\r\nServer: test\r\n{lines}\r\n");
        let progress = match *expected {
            Ok(content_length) => whole(200, head.len(), content_length),
            Err(malformed) => bad(malformed),
        };
        ((head + "body\r\n\r\n").into_bytes(), progress)
    };
    lines.iter().map(case).collect()
}

/// The beginning of an answer, short enough to be read in a failure.
fn excerpt(bytes: &[u8]) -> String {
    bytes.escape_ascii().take(120).map(char::from).collect()
}

#[test]
fn every_answer_is_judged() {
    let corpus = corpus();
    assert!(
        corpus.len() >= 60,
        "the corpus has shrunk to {}",
        corpus.len()
    );
    for (bytes, expected) in corpus {
        assert_eq!(parse(&bytes), expected, "{}", excerpt(&bytes));
    }
}

#[test]
fn a_cut_between_any_two_bytes_changes_nothing() {
    for (bytes, expected) in corpus() {
        // Long answers take minutes under miri and reach no place that short ones do not.
        if cfg!(miri) && bytes.len() > 64 {
            continue;
        }
        let mut head = Head::new();
        let mut last = head.push(&[]);
        for byte in &bytes {
            last = head.push(std::slice::from_ref(byte));
        }
        assert_eq!(last, expected, "byte by byte: {}", excerpt(&bytes));

        // Cutting a long answer everywhere would take its length squared.
        let cuts = if cfg!(miri) { 8 } else { 64 };
        let step = bytes.len() / cuts + 1;
        for cut in (0..=bytes.len()).step_by(step) {
            let (before, after) = bytes.split_at(cut);
            let mut head = Head::new();
            head.push(before);
            assert_eq!(
                head.push(after),
                expected,
                "cut at {cut}: {}",
                excerpt(&bytes)
            );
        }
    }
}

#[test]
fn a_prefix_is_partial_or_already_what_the_whole_is() {
    for (bytes, expected) in corpus()
        .into_iter()
        .filter(|(bytes, _)| bytes.len() < if cfg!(miri) { 32 } else { 256 })
    {
        for cut in 0..bytes.len() {
            let progress = parse(&bytes[..cut]);
            let ok = progress == PARTIAL || progress == expected;
            assert!(ok, "{progress:?} at {cut}: {}", excerpt(&bytes));
        }
    }
}

#[test]
fn what_follows_a_final_answer_is_not_looked_at() {
    for (first, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", whole(200, 19, None)),
        ("HTTP/3", bad(Malformed::Version)),
    ] {
        let mut head = Head::new();
        assert_eq!(head.push(first.as_bytes()), expected);
        assert_eq!(head.push(b"\0\r\rHTTP/1.1 500 x\r\n\r\n"), expected);
    }
}

#[test]
fn any_single_changed_byte_is_survived() {
    let answer = b"HTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\n\r\n";
    assert_eq!(parse(answer), whole(200, answer.len(), Some(5)));
    for at in 0..answer.len() {
        // All 256 values natively; under miri the ones that have a meaning.
        let values: Vec<u8> = if cfg!(miri) {
            b"\0\r\n :9a\xff".to_vec()
        } else {
            (0..=255).collect()
        };
        for value in values {
            let mut changed = answer.to_vec();
            changed[at] = value;
            if let Progress::Complete {
                status, head_len, ..
            } = parse(&changed)
            {
                assert!(
                    (100..=599).contains(&status),
                    "{status} from {}",
                    excerpt(&changed)
                );
                assert!(head_len <= answer.len());
            }
        }
    }
}

#[test]
fn each_fault_has_words_of_its_own() {
    use Malformed::*;
    let faults = [
        Version,
        StatusCode,
        HeaderName,
        Folded,
        BareReturn,
        Nul,
        ContentLength,
        EndlessInterim,
    ];
    let mut told: Vec<_> = faults.iter().map(Malformed::to_string).collect();
    assert!(
        told.iter()
            .all(|text| text.starts_with("expected ") || text.starts_with("found ")),
        "{told:?}"
    );
    told.sort();
    told.dedup();
    assert_eq!(told.len(), faults.len());
}
