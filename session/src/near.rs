//! "Did you mean …?": the known name nearest to one that is not known.

/// More edits than this, and the two names have nothing to do with each other.
const MAX_DISTANCE: usize = 2;

/// The known name nearest to `name`, if there is one near enough to be meant. Case costs nothing:
/// `EXIT` is near `exit`. Of two equally near, the first is told.
pub(crate) fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = folded(name);
    known
        .into_iter()
        .filter_map(|candidate| Some((distance(&name, &folded(candidate))?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn folded(name: &str) -> Vec<char> {
    name.chars().map(|c| c.to_ascii_lowercase()).collect()
}

/// The number of characters to insert, delete or replace, or `None` where the names are not near.
fn distance(a: &[char], b: &[char]) -> Option<usize> {
    // Lengths are compared first, so that an endless name costs no table. Half a word wrong is
    // another word: without this, every two-letter name would be near every other.
    let limit = MAX_DISTANCE.min(a.len().min(b.len()) / 2);
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 6] = ["exit", "restart", "reload", "set", "status", "reports"];

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(near(name, KNOWN), expected, "{name:?}");
    }

    #[test]
    fn a_slip_is_near_and_a_different_word_is_not() {
        check("exit", Some("exit"));
        check("EXIT", Some("exit"));
        check("exi", Some("exit"));
        check("exti", Some("exit"));
        check("statusx", Some("status"));
        check("stauts", Some("status"));
        check("restrat", Some("restart"));
        check("sett", Some("set"));
        check("", None);
        check("x", None);
        check("sxx", None);
        check("deploy", None);
    }

    #[test]
    fn two_edits_are_near_three_and_many_are_not() {
        check("statusxx", Some("status"));
        check("statusxxx", None);
        check(&format!("status{}", "x".repeat(100_000)), None);
        check("xtatux", Some("status"));
        check("xtxtux", None);
    }

    #[test]
    fn the_nearest_wins_and_then_the_first() {
        assert_eq!(near("abcd", ["abxx", "abcx"]), Some("abcx"));
        assert_eq!(near("abcd", ["abcy", "abcx"]), Some("abcy"));
        assert_eq!(near("abcd", []), None);
    }
}
