//! What `tapemark resolver new` writes: it builds, its own tests pass, and all four decide
//! the same, within the invariants.

use std::path::Path;

use componentize::project::{Lang, files};
use model::{ConflictSet, Decision};
use policy::{find_conflicts, same_actions};
use serde_json::Value;

use super::guest::{Guest, assert_pure, build, can_build, plugins, run};

/// How many sampled sets of each small size the four are compared on.
const SETS: u64 = 8;

/// The golden case of all templates: `TAPEMARK_BLESS=1` writes down what is decided now.
fn case(guests: &[(Lang, Guest)]) {
    let path = plugins().join("templates/cases/five-requests.json");
    let mut case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let input: ConflictSet = serde_json::from_value(case["input"].clone()).unwrap();
    assert_eq!(find_conflicts(&input), input.conflicts);
    for (lang, guest) in guests {
        let (decided, _) = guest.decide(&input);
        if std::env::var_os("TAPEMARK_BLESS").is_some() {
            case["decision"] = serde_json::to_value(&decided).unwrap();
            let text = serde_json::to_string_pretty(&case).unwrap();
            std::fs::write(&path, text + "\n").unwrap();
        }
        let expected: Decision = serde_json::from_value(case["decision"].clone()).unwrap();
        assert!(same_actions(&expected, &decided), "{lang:?}: {decided:#?}");
    }
}

fn project(lang: Lang, folder: &Path) -> Guest {
    for file in files(lang, "first-try").unwrap() {
        let path = folder.join(file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file.contents).unwrap();
    }
    let guest = Guest::load(build(folder));
    run(folder, native_test(lang));
    guest.assert_conforms(&folder.join("cases"));
    guest
}

/// What the project's README says.
fn native_test(lang: Lang) -> &'static [&'static str] {
    match lang {
        Lang::Rust => &["cargo", "test", "--quiet"],
        Lang::Js => &["npm", "--silent", "test"],
        Lang::Python => &["python3", "-m", "unittest", "discover", "test"],
        Lang::C => &["sh", "test.sh"],
    }
}

#[test]
fn a_new_project_builds_and_all_languages_decide_alike() {
    let mut guests = Vec::new();
    for lang in Lang::ALL {
        if !can_build(lang) {
            continue;
        }
        // The same folder in each run: what was compiled in it may be used again.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("projects")
            .join(lang.name());
        let _ = std::fs::remove_dir_all(&folder);
        let guest = project(lang, &folder);
        assert_pure(&guest.component);
        assert_eq!(guest.describe().name, "first-try");
        guests.push((lang, guest));
    }
    case(&guests);
    let small = [0, 1, 7, 40].map(|size| (size, SETS));
    for (size, seeds) in small.into_iter().chain([(model::MAX_CONTENDERS, 1)]) {
        for seed in 0..seeds {
            let set = policy::sample(seed, size);
            let mut first = None;
            for (lang, guest) in &guests {
                // The host has checked the invariants.
                let (decided, _) = guest.decide(&set);
                let (other, expected) = first.get_or_insert((*lang, decided.clone()));
                assert!(
                    same_actions(expected, &decided),
                    "sample({seed}, {size}): {other:?} {expected:#?}\n{lang:?} {decided:#?}"
                );
            }
        }
    }
}
