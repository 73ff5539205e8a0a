//! `FAULTS.md` says which test holds which row. It cannot lie: every test that it names exists, and
//! every test of a row is named.

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
            let source = fs::read_to_string(root().join(&file))
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
            let line = table
                .lines()
                .find(|line| line.contains(&reference))
                .unwrap_or_else(|| panic!("{reference} is not in the table"));
            assert!(line.starts_with(&format!("| {id} |")), "{line}");
        }
    }
}
