//! The known name that a mistyped one most likely stood for.

/// Two slips still read as a typing mistake; three make another word.
const MAX_DISTANCE: usize = 2;

/// Finds the known name nearest to `name`, if it is near enough to be worth suggesting.
///
/// The case of ASCII letters does not count, so that `polling_route` and `POLLINGROUTE` both find
/// `pollingRoute`. (The tables of all other letters take 12 KB.)
pub(crate) fn near<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .filter_map(|candidate| Some((distance(name, candidate)?, *candidate)))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The number of single-letter edits between two names, or `None` past [`MAX_DISTANCE`].
fn distance(left: &str, right: &str) -> Option<usize> {
    // The byte lengths are compared first, so that a huge name costs nothing: one character has
    // at most four bytes.
    if left.len().abs_diff(right.len()) > 4 * MAX_DISTANCE {
        return None;
    }
    let letters = |text: &str| -> Vec<char> {
        let letters = text.chars();
        letters.map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let (left, right) = (letters(left), letters(right));

    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, from) in left.iter().enumerate() {
        let mut diagonal = row;
        above[0] = row + 1;
        for (column, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = above[column + 1];
            above[column + 1] = replaced.min(diagonal + 1).min(above[column] + 1);
        }
    }

    let edits = above[right.len()];
    // Of a short name, something must be left after the edits: `xy` is no slip of `ab`.
    let shorter = left.len().min(right.len());
    (edits <= MAX_DISTANCE && edits < shorter).then_some(edits)
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn a_slip_finds_its_name() {
        let known = ["pollingRoute", "ports", "host", "app"];
        for (name, expected) in [
            ("ports", Some("ports")),
            ("port", Some("ports")),
            ("prots", Some("ports")),
            ("polling_route", Some("pollingRoute")),
            ("POLLINGROUTE", Some("pollingRoute")),
            ("polingRout", Some("pollingRoute")),
            ("polngRout", None),
            ("hsot", Some("host")),
            ("xy", None),
            ("", None),
            ("völlig", None),
        ] {
            assert_eq!(near(name, &known), expected, "{name}");
        }
    }

    #[test]
    fn the_nearest_wins_and_the_first_of_equals() {
        assert_eq!(near("rest", &["restart", "reset", "test"]), Some("reset"));
        assert_eq!(near("exit", &[]), None);
    }

    #[test]
    fn the_limit_is_two_edits() {
        assert_eq!(near("abcdefgh", &["abcdefgh__"]), Some("abcdefgh__"));
        assert_eq!(near("abcdefgh", &["abcdefgh___"]), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "a megabyte is much to interpret")]
    fn a_long_name_is_like_none() {
        assert_eq!(near(&"abcdefgh".repeat(100_000), &["abcdefgh"]), None);
    }
}
