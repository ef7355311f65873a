//! The list itself: every published row is in it, names a test that exists or the part that comes later, and every test
//! that is there is in it, with the mutation that it bites on.

use super::{PLAYED, command_line, secrets};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Everything that was published, by the first name of each row.
const PUBLISHED: [&str; 32] = [
    "CVE-2026-25253",
    "CVE-2026-25593",
    "CVE-2026-28472",
    "#9517",
    "CVE-2026-26322",
    "CVE-2026-26324",
    "GHSA-943q-mwmv-hhvh",
    "CVE-2026-3690",
    "GHSA-cjv3-m589-v3rx",
    "GHSA-5847-rm3g-23mw",
    "CVE-2026-22174",
    "GHSA-mfg5-7q5g-f37j",
    "ClawJacked",
    "GHSA-v865-p3gq-hw6m",
    "GHSA-4jpw-hj22-2xmc",
    "GHSA-5wcw-8jjv-m286",
    "GHSA-rqpp-rjj8-7wv8",
    "GHSA-7h7g-x2px-94hj",
    "bootstrap replay",
    "CVE-2026-41386",
    "CVE-2026-35656",
    "GHSA-rm59-992w-x2mv",
    "CVE-2026-33579",
    "CVE-2026-34503",
    "CVE-2026-41399",
    "CVE-2026-41299",
    "PR #57647",
    "GHSA-m8wm-r5vq-qjpg",
    "CVE-2026-53821",
    "CVE-2026-53832",
    "PR #42507",
    "CVE-2024-37890",
];

struct Row<'a> {
    id: &'a str,
    rule: &'a str,
    /// Names of tests, or `later: ` and the part.
    held: Vec<&'a str>,
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let lines = text.lines().filter(|line| !line.starts_with("# ") && !line.is_empty());
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let [ids, rule, _, held] = cells[..] else { panic!("four cells: {line}") };
            let held = held.split(", ").collect();
            Row { id: ids.split(", ").next().unwrap(), rule, held }
        })
        .collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/advisories")
}

#[test]
fn every_published_row_is_tested_or_waits_for_its_part() {
    let text = include_str!("advisories.tsv");
    let rows = rows(text);
    let ids: Vec<&str> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, PUBLISHED);
    let tests: BTreeSet<&str> = PLAYED.iter().chain(command_line::NAMES).copied().collect();
    let mut named = BTreeSet::new();
    for row in &rows {
        assert!(!row.rule.is_empty() && !row.held.is_empty(), "{}", row.id);
        for held in &row.held {
            match held.strip_prefix("later: ") {
                Some(part) => assert!(!part.is_empty(), "{}", row.id),
                None => {
                    assert!(tests.contains(held), "{}: there is no test {held}", row.id);
                    named.insert(*held);
                }
            }
        }
    }
    assert_eq!(named, tests, "each test teaches a row");
}

#[test]
fn every_test_has_a_mutation_that_takes_its_guard_out() {
    let patches: BTreeSet<String> = std::fs::read_dir(folder().join("mutations"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let tests = PLAYED.iter().chain(command_line::NAMES).chain(secrets::NAMES);
    let wanted: BTreeSet<String> = tests.map(|test| format!("{}.patch", test.replace("::", "."))).collect();
    assert_eq!(patches, wanted);
    for name in &patches {
        let text = std::fs::read_to_string(folder().join("mutations").join(name)).unwrap();
        assert!(text.contains("\n@@"), "{name} is no patch");
        // What is taken out is a guard of the program, not of the test.
        for line in text.lines().filter_map(|line| line.strip_prefix("+++ b/")) {
            assert!(line.starts_with("proto/src/") || line.starts_with("src/"), "{name} changes {line}");
        }
    }
}

#[test]
fn every_rule_of_the_threat_model_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for part in ["proto", "src", "runtime-std", "runtime-smol", "tests"] {
        collect(&root.join(part), &mut tests);
    }
    assert!(tests.len() > 400, "these are not the tests: {}", tests.len());
    let text = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let mut rules = Vec::new();
    // The tables whose last column is one of tests.
    let mut in_rules = false;
    for line in text.lines() {
        in_rules = line.starts_with('|') && (in_rules || line.ends_with("| tests |"));
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if !in_rules || line.ends_with("| tests |") || line.starts_with("| ---") {
            continue;
        }
        let [rule, _, named] = cells[..] else { panic!("three cells: {line}") };
        rules.push(rule.to_owned());
        let named: Vec<&str> = named.split(", ").map(|name| name.trim_matches('`')).collect();
        assert!(named.iter().all(|name| !name.is_empty()), "{rule}: no tests");
        for name in named {
            assert!(tests.contains(name), "{rule}: there is no test {name}");
        }
    }
    for n in 1..=8 {
        assert!(rules.iter().any(|rule| rule.starts_with(&format!("**R{n}** "))), "R{n} is missing");
    }
}

/// Every test below a folder, as `file::name`; scenarios and what a macro names count, since they are functions too.
fn collect(folder: &Path, tests: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| {
                let line = line.trim_start().trim_start_matches("pub(crate) ");
                line.strip_prefix("fn ")?.split(['(', '<']).next()
            });
            tests.extend(names.map(|name| format!("{stem}::{name}")));
        }
    }
}
