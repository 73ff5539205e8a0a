use super::*;

#[test]
fn stat_lines_are_read() {
    use Condition::{Alive, Dead, Stopped, Traced};
    let stat = |name: &str, condition, parent, group| {
        Some(Stat {
            name: name.to_owned(),
            condition,
            parent,
            group,
        })
    };
    let long = format!("1 ({}) S 1 9 9", "n".repeat(64));
    let cases: [(&[u8], Option<Stat>); 17] = [
        (
            b"4711 (nginx) S 1 4710 4710 0 -1 4194560",
            stat("nginx", Alive, 1, 4710),
        ),
        (b"1 (a b) R 0 9 9", stat("a b", Alive, 0, 9)),
        (b"1 (a) S 1 1) S 12 9 9", stat("a) S 1 1", Alive, 12, 9)),
        (b"1 (a) T 1 9 9", stat("a", Stopped, 1, 9)),
        (b"1 (T) t 1 9 9", stat("T", Traced, 1, 9)),
        (b"1 () Z 0 9 9", stat("", Dead, 0, 9)),
        (b"1 (x) X 0 9 9", stat("x", Dead, 0, 9)),
        (
            b"1 (\x1b[2J\n\xff) S 0 9 9",
            stat("\\x1b[2J\\n\\xff", Alive, 0, 9),
        ),
        (long.as_bytes(), stat(&"n".repeat(MAX_NAME), Alive, 1, 9)),
        (b"", None),
        (b"1 nginx S 1 9 9", None),
        (b")( S 1 9 9", None),
        (b"1 (nginx)", None),
        (b"1 (nginx) S", None),
        (b"1 (nginx) S 1", None),
        (b"1 (nginx) S x 9", None),
        (b"1 (nginx) S 1 -1 9", None),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_stat(text), expected, "{}", text.escape_ascii());
    }
}

#[test]
fn names_are_shortened_at_their_bound() {
    for (length, kept) in [
        (MAX_NAME, MAX_NAME),
        (MAX_NAME + 1, MAX_NAME),
        (4096, MAX_NAME),
    ] {
        assert_eq!(shown(&vec![b'n'; length]).len(), kept);
    }
}

#[test]
fn children_are_listed_up_to_the_bound() {
    assert!(read_children(&b""[..]).is_empty());
    assert_eq!(read_children(&b"12 345 "[..]), [12, 345]);
    // A number that is cut off is another process's.
    assert_eq!(read_children(&b"12 34"[..]), [12]);
    assert_eq!(read_children(&b"12 x 7 "[..]), [12, 7]);
    let bound = usize::try_from(MAX_CHILDREN).unwrap();
    for length in [bound, bound + 8, 100 * bound] {
        let list = "1234567 ".repeat(length / 8);
        assert_eq!(read_children(list.as_bytes()).len(), bound / 8);
    }
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "reads /proc")]
fn a_process_of_this_system_is_looked_at() {
    let me = look_at(std::process::id()).unwrap();
    assert_eq!(me.condition, Condition::Alive);
    assert_eq!(me.parent, crate::sys::parent_id());
    let mut child = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let known = children_of_this_thread();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(known.contains(&child.id()), "{known:?}");
    assert_eq!(look_at(child.id()), None);
}
