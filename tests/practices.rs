//! docs/practices.md names tests and keys: each of them is there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn what_the_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/practices.md")).unwrap();
    let keys = fs::read_to_string(root.join("docs/configuration.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("|---"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells[3] != "shown by")
        .collect();
    assert!(rows.len() > 25, "the tables are not where they were");
    let mut missing = BTreeSet::new();
    for cells in rows {
        let [practice, answer, named, tests] = cells[..] else { panic!("{cells:?}") };
        assert!(!answer.is_empty() && !tests.is_empty(), "{practice}: nothing shows it");
        for key in words(named).filter(|key| !keys.contains(&format!("`{key}`"))) {
            missing.insert(format!("{practice}: there is no key {key}"));
        }
        for test in words(tests) {
            let (file, name) = test.split_once(": ").expect("a file and a name");
            match fs::read_to_string(root.join(file)) {
                Ok(text) if text.contains(name) => {}
                Ok(_) => drop(missing.insert(format!("{file} has no test {name}"))),
                Err(_) => drop(missing.insert(format!("there is no file {file}"))),
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// What stands in backticks.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
