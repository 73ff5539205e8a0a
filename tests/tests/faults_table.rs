//! `FAULTS.md` says which test holds which row, and `SECURITY.md` which test holds which rule. They
//! cannot lie: every test that they name exists, and every test of a row is named, as is every test
//! of the hostile worker. Each row that is most wanted has a defect that one of its tests must see.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of each row of the table.
fn rows() -> Vec<Vec<String>> {
    let table = fs::read_to_string(root().join("tests/FAULTS.md")).unwrap();
    table
        .lines()
        .filter(|line| {
            line.starts_with("| ") && !line.starts_with("| ---") && !line.starts_with("| row")
        })
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// `file::name` of every test that a cell names.
fn named(cell: &str) -> Vec<(String, String)> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|text| text.split_once("::"))
        .map(|(file, name)| {
            (
                file.to_owned(),
                name.rsplit("::").next().unwrap().to_owned(),
            )
        })
        .collect()
}

#[test]
fn every_row_has_its_cells_and_every_test_it_names_exists() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        assert_eq!(row.len(), 5, "{row:?}");
        let [id, priority, _, tests, status] = row.as_slice() else {
            continue;
        };
        assert!(seen.insert(id.clone()), "{id} stands twice");
        assert!(["P0", "P1", "P2"].contains(&priority.as_str()), "{row:?}");
        let named = named(tests);
        let may_have_none = status.starts_with("later") || status.starts_with("not here");
        assert!(!named.is_empty() || may_have_none, "{id} names no test");
        for (file, name) in named {
            expect_test(id, &file, &name);
        }
    }
}

#[track_caller]
fn expect_test(id: &str, file: &str, name: &str) {
    let source = fs::read_to_string(root().join(file))
        .unwrap_or_else(|error| panic!("{id}: {file}: {error}"));
    let head = source.split(&format!("fn {name}(")).next().unwrap();
    assert!(head.len() < source.len(), "{id}: {file} has no `{name}`");
    let attributes = head.rsplit("\n\n").next().unwrap();
    assert!(attributes.contains("#[test]"), "{id}: `{name}` is no test");
    assert!(
        !attributes.contains("#[ignore"),
        "{id}: `{name}` is ignored"
    );
}

#[test]
fn every_rule_of_security_names_tests_that_exist() {
    let security = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let rules = security.lines().filter(|line| line.contains(".rs::"));
    let rules: Vec<_> = rules.map(named).collect();
    assert!(rules.len() > 30, "{}", rules.len());
    for (file, name) in rules.into_iter().flatten() {
        expect_test("SECURITY.md", &file, &name);
    }
    let hostile = fs::read_to_string(root().join("tests/tests/hostile.rs")).unwrap();
    for after in hostile.split("#[test]\nfn ").skip(1) {
        let name = after.split('(').next().unwrap();
        assert!(
            security.contains(name) || name.starts_with("an_ordinary_worker"),
            "SECURITY.md does not name `{name}`"
        );
    }
}

#[test]
fn every_test_of_a_row_is_in_the_table() {
    let table = fs::read_to_string(root().join("tests/FAULTS.md")).unwrap();
    for entry in fs::read_dir(root().join("tests/tests")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        if !file.starts_with("faults_") || file == "faults_table.rs" {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        for after in source.split("#[test]\n").skip(1) {
            let Some((_, rest)) = after.split_once("fn ") else {
                continue;
            };
            let name = rest.split('(').next().unwrap();
            let id = name.split('_').next().unwrap().to_uppercase();
            let reference = format!("`tests/tests/{file}::{name}`");
            let row = format!("| {id} |");
            // Other rows may name it as well.
            let named = table
                .lines()
                .any(|line| line.starts_with(&row) && line.contains(&reference));
            assert!(named, "{reference} is not in the row {id}");
        }
    }
}

#[test]
fn every_row_of_priority_p0_has_a_defect_that_its_test_must_see() {
    let script = fs::read_to_string(root().join("tests/fault_mutants.py")).unwrap();
    let rows = rows();
    let mut seen = BTreeSet::new();
    for mutant in script.split("\n    (\"").skip(1) {
        let (id, rest) = mutant.split_once('"').unwrap();
        let mut texts = rest.split('"').filter(|text| text.contains(".rs::"));
        let test = format!("`{}`", texts.next().unwrap());
        let row = rows.iter().find(|row| row[0] == id);
        let row = row.unwrap_or_else(|| panic!("there is no row {id}"));
        assert!(row[3].contains(&test), "{id} does not name {test}");
        seen.insert(id);
    }
    for row in rows.iter().filter(|row| row[1] == "P0") {
        assert!(seen.contains(row[0].as_str()), "{} has none", row[0]);
    }
}
