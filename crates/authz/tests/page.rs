//! docs/security.md says what is so: each test that it names is there, and its tables have
//! the actions that there are.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use control::authority::{Action, Rule};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names of all functions in the sources of this project.
fn functions(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            functions(&path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).map(|rest| {
                rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            });
            found.extend(names);
        }
    }
}

fn quoted(page: &str) -> Vec<&str> {
    page.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let mut known = BTreeSet::new();
    for directory in ["agent", "cli", "crates", "functions", "tests"] {
        let directory = root().join(directory);
        if directory.is_dir() {
            functions(&directory, &mut known);
        }
    }
    let is_test = |word: &&str| {
        word.matches('_').count() >= 3
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
    };
    let named: Vec<_> = quoted(&page).into_iter().filter(is_test).collect();
    assert!(named.len() > 40, "{}", named.len());
    let missing: Vec<_> = named
        .into_iter()
        .filter(|name| !known.contains(*name))
        .collect();
    assert_eq!(missing, [] as [&str; 0]);
}

#[test]
fn the_page_says_of_each_action_who_may_do_it() {
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let row = |start: &str| {
        let at = page.find(start).unwrap();
        let end = page[at..]
            .find("\n\n")
            .or_else(|| page[at..].find('\n'))
            .unwrap();
        page[at..at + end].to_owned()
    };
    let line = |start: &str| row(start).lines().next().unwrap().to_owned();
    for (rule, text) in [
        (Rule::Own, line("| service (a token")),
        (Rule::Everybody, line("| everybody who is known")),
        (Rule::Operators, row("The rest is for operators")),
    ] {
        let found: BTreeSet<_> = quoted(&text)
            .into_iter()
            .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
            .collect();
        let expected: BTreeSet<_> = Action::ALL
            .iter()
            .filter(|action| action.rule() == rule)
            .map(|action| action.name())
            .collect();
        assert_eq!(found, expected, "{rule:?}");
    }
}
