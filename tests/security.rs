//! docs/security.md names tests and keys: each of them is there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeSet, fs, path::Path};

/// The attacks that must have a row, by words that stand in it.
const ATTACKS: &[&str] = &[
    "Connection flood",
    "Slowloris: a request head",
    "Slowloris: a body or a frame",
    "never reads",
    "Ping flood",
    "Fragment flood",
    "Giant frames",
    "Tiny frames",
    "Compressed bombs",
    "Join and leave storms",
    "Presence and typing storms",
    "Room-name floods",
    "Token replay",
    "Cross-site WebSocket hijacking",
    "Request smuggling",
    "X-Forwarded-For",
    "Log injection",
    "Vocabulary bombs",
    "The HTTP API",
    "HTTP API abuse",
];

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// What stands in backticks.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_attack_has_its_bound_and_a_test_that_exists() {
    let page = read("docs/security.md").unwrap();
    let keys = read("docs/configuration.md").unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells[0] != "attack")
        .collect();
    let mut faults = BTreeSet::new();
    for wanted in ATTACKS {
        if !rows.iter().any(|cells| cells[0].contains(wanted)) {
            faults.insert(format!("no row for {wanted}"));
        }
    }
    for cells in rows {
        let [attack, bound, named, tests] = cells[..] else { panic!("{cells:?}") };
        if bound.is_empty() || words(tests).next().is_none() {
            faults.insert(format!("{attack}: no bound or no test"));
        }
        for key in words(named).filter(|key| !keys.contains(&format!("`{key}`"))) {
            faults.insert(format!("{attack}: there is no key {key}"));
        }
        for test in words(tests) {
            let (file, name) = test.split_once(": ").expect("a file and a name");
            let found = read(file).is_some_and(|text| {
                // A test of Rust is a function of just that name.
                let function = format!("fn {name}(");
                if file.ends_with(".rs") && !file.contains("/fuzz/") {
                    text.contains(&function)
                } else {
                    text.contains(name)
                }
            });
            if !found {
                faults.insert(format!("{attack}: {file} has no test {name}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
