//! The built-in resolvers, as components in the host, on thousands of sampled sets. With
//! `TAPEMARK_GUESTS_DIR` they are taken from there instead of `plugins/fixtures`: that is
//! how `plugins/build.sh --check` compares what a rebuilt component decides.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use jiff::SignedDuration;
use model::{
    Action, Call, CallOutcome, CheckpointId, Code, ConflictSet, Contender, Decision, Limits,
    Sha256, Verdict,
};
use policy::{age, check_decision, is_settled, priority_deadline, same_lineage, sample};
use resolver::{Allocation, Host, Loaded};

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins")
}

fn component(name: &str) -> Vec<u8> {
    let directory = std::env::var_os("TAPEMARK_GUESTS_DIR")
        .map_or_else(|| plugins().join("fixtures"), PathBuf::from);
    let path = directory.join(format!("{name}.wasm"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

static HOST: LazyLock<Host> = LazyLock::new(|| Host::new(Allocation::OnDemand).unwrap());

/// Each component is compiled once.
fn loaded(name: &str) -> Loaded {
    static LOADED: Mutex<BTreeMap<String, Loaded>> = Mutex::new(BTreeMap::new());
    // A test that failed in here leaves the map as good as it was.
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    loaded
        .entry(name.to_owned())
        .or_insert_with(|| HOST.load_component(&component(name)).unwrap())
        .clone()
}

/// The default limits, with wall time enough for a busy machine.
fn patient() -> Limits {
    Limits {
        wall_ms: Limits::CAP.wall_ms,
        ..Limits::DEFAULT
    }
}

fn call(name: &str, set: &ConflictSet) -> Call {
    HOST.call(&loaded(name), set, &patient())
}

fn decide(name: &str, set: &ConflictSet) -> Decision {
    let call = call(name, set);
    let size = set.contenders.len();
    assert_eq!(
        call.outcome,
        CallOutcome::Decided,
        "{name}, {size} requests"
    );
    call.decision.unwrap()
}

/// Small sets, where every rule meets every other, and some of the largest.
fn sets(count: u64) -> impl Iterator<Item = (u64, ConflictSet)> {
    let small = (0..count).map(|seed| (seed, sample(seed, (seed % 41) as usize)));
    let large = (0..count / 200).map(|seed| (seed, sample(seed, 256)));
    small.chain(large)
}

/// Name, digest of the component, by `guests.lock`.
fn lock() -> Vec<(String, Sha256)> {
    let text = fs::read_to_string(plugins().join("fixtures/guests.lock")).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap().to_owned();
            (name, words.next().unwrap().parse().unwrap())
        })
        .collect()
}

/// All but the hostile one.
fn names() -> Vec<String> {
    let names = lock().into_iter().map(|(name, _)| name);
    names.filter(|name| name != "hostile").collect()
}

fn contender(set: &ConflictSet, id: CheckpointId) -> &Contender {
    set.contenders.iter().find(|c| c.id == id).unwrap()
}

fn of<'a>(decision: &'a Decision, c: &Contender) -> &'a Verdict {
    decision.verdicts.iter().find(|v| v.id == c.id).unwrap()
}

fn is_fork(a: &Contender, b: &Contender) -> bool {
    a.group != b.group
        && same_lineage(a, b)
        && a.parent.is_some()
        && a.parent == b.parent
        && a.content != b.content
}

#[test]
fn each_fixture_is_what_the_lock_says_and_nothing_is_left_out() {
    let lock = lock();
    for (name, digest) in &lock {
        let path = plugins().join(format!("fixtures/{name}.wasm"));
        assert_eq!(
            resolver::inspect(&fs::read(path).unwrap())
                .unwrap()
                .component,
            *digest,
            "{name}: run plugins/build.sh {name}"
        );
    }
    for entry in fs::read_dir(plugins().join("builtin")).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            lock.iter().any(|(locked, _)| locked == name),
            "{name} has no fixture: run plugins/build.sh {name}"
        );
    }
}

#[test]
fn each_component_keeps_the_contract_and_goes_by_its_name() {
    for name in names() {
        let inspection = resolver::inspect(&component(&name)).unwrap();
        assert_eq!(inspection.findings, [], "{name}");
        let info = HOST.describe(&loaded(&name), &Limits::DEFAULT).unwrap();
        assert_eq!(info.name, name);
        assert!(!info.summary.is_empty());
    }
}

/// The component is the default; the native function is its fallback. Which of the two
/// decided must not show.
#[test]
fn priority_deadline_decides_as_the_native_policy_does_to_the_last_word() {
    for (seed, set) in sets(4000) {
        let size = set.contenders.len();
        assert_eq!(
            decide("priority-deadline", &set),
            priority_deadline(&set),
            "sample({seed}, {size})"
        );
    }
}

/// The host checks invariants itself, and says `Invalid`; here they are checked without
/// it.
#[test]
fn every_built_in_decides_every_sample_within_the_invariants() {
    for name in names() {
        for (seed, set) in sets(600) {
            let decision = decide(&name, &set);
            assert_eq!(
                check_decision(&set, &decision),
                Ok(()),
                "{name}: sample({seed}, {})",
                set.contenders.len()
            );
        }
    }
}

/// Other toolchains give other bytes; what they decide, and with which words, stays. Where
/// nothing was rebuilt this holds one compilation against another.
#[test]
fn a_rebuilt_component_decides_as_its_fixture_does() {
    for name in names() {
        let fixture = plugins().join(format!("fixtures/{name}.wasm"));
        let fixture = HOST.load_component(&fs::read(fixture).unwrap()).unwrap();
        for (seed, set) in sets(200) {
            assert_eq!(
                HOST.call(&fixture, &set, &patient()).output,
                call(&name, &set).output,
                "{name}: sample({seed}, {})",
                set.contenders.len()
            );
        }
    }
}

#[test]
fn the_order_in_which_a_set_lists_things_changes_no_decision() {
    for name in names() {
        for (seed, set) in sets(120) {
            let mut turned = set.clone();
            turned.contenders.reverse();
            turned.volumes.reverse();
            turned.drives.reverse();
            turned.conflicts.reverse();
            turned.history.reverse();
            assert_eq!(
                call(&name, &set).output,
                call(&name, &turned).output,
                "{name}: sample({seed}, {})",
                set.contenders.len()
            );
        }
    }
}

/// Fuel is the contract: the same on each run. The share says what room an author has who
/// starts from one of these.
#[test]
fn the_largest_sets_leave_most_of_the_fuel() {
    for name in [
        "priority-deadline",
        "last-writer",
        "lineage-guard",
        "fair-share",
        "deadline-first",
    ] {
        for seed in 0..8 {
            let set = sample(seed, 256);
            let (one, two) = (
                call(name, &set).fuel.unwrap(),
                call(name, &set).fuel.unwrap(),
            );
            assert_eq!(one, two, "{name}");
            assert!(one < Limits::DEFAULT.fuel / 4, "{name}: {one}");
        }
    }
}

#[test]
fn with_last_writer_nothing_goes_before_a_newer_one_of_its_lineage() {
    let mut superseded = 0;
    for (seed, set) in sets(600) {
        let decision = decide("last-writer", &set);
        for c in &set.contenders {
            let alone = set.contenders.iter().filter(|o| o.group == c.group).count() == 1;
            let verdict = of(&decision, c);
            superseded += usize::from(matches!(verdict.action, Action::Supersede { .. }));
            let waits = matches!(
                verdict.action,
                Action::Proceed { .. } | Action::Defer { .. }
            );
            if !alone || !waits || is_settled(&set, c.group) {
                continue;
            }
            // Whoever is newer was refused, or holds what goes ahead anyway.
            for o in set
                .contenders
                .iter()
                .filter(|o| same_lineage(o, c) && age(o) > age(c))
            {
                let gone = matches!(
                    of(&decision, o).action,
                    Action::Reject { .. } | Action::Merge { .. }
                );
                assert!(gone, "seed {seed}: {} goes before {}", c.id, o.id);
            }
        }
    }
    assert!(superseded > 1000, "{superseded}");
}

#[test]
fn lineage_guard_supersedes_no_fork_and_says_what_differs() {
    let mut refused = 0;
    for (seed, set) in sets(600) {
        let decision = decide("lineage-guard", &set);
        for c in &set.contenders {
            let verdict = of(&decision, c);
            match &verdict.action {
                Action::Supersede { by } => {
                    let by = contender(&set, *by);
                    let held = set.contenders.iter().any(|o| {
                        let same = same_lineage(o, c) && o.content == c.content;
                        same && o.group != c.group && is_settled(&set, o.group)
                    });
                    assert!(
                        !is_fork(c, by) || held,
                        "seed {seed}: {} by {}",
                        c.id,
                        by.id
                    );
                }
                Action::Reject { refusal } if refusal.code == Code::LineageFork => {
                    let mine = set.contenders.iter().filter(|o| o.group == c.group);
                    let named = mine.flat_map(|m| {
                        let rivals = set.contenders.iter().filter(|o| is_fork(m, o));
                        rivals.map(|o| format!("{} | {}", o.id, m.id))
                    });
                    let named = named
                        .into_iter()
                        .filter(|pair| verdict.reason.contains(pair));
                    assert_eq!(named.count(), 1, "seed {seed}: {}", verdict.reason);
                    assert!(verdict.reason.contains("to do: submit again with parent"));
                    refused += 1;
                }
                _ => {}
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn fair_share_moves_requests_in_line_and_by_four_hours_at_most() {
    let mut moved = 0;
    for (seed, set) in sets(600) {
        let (fair, default) = (decide("fair-share", &set), priority_deadline(&set));
        for c in &set.contenders {
            let (ours, theirs) = (&of(&fair, c).action, &of(&default, c).action);
            let waits = |a: &Action| matches!(a, Action::Proceed { .. } | Action::Defer { .. });
            assert_eq!(waits(ours), waits(theirs), "seed {seed}: {}", c.id);
            if !waits(ours) {
                assert_eq!(ours, theirs, "seed {seed}: {}", c.id);
            }
            moved += usize::from(of(&fair, c).reason.contains("later"));
            if let Action::Proceed { order } = ours {
                let latest = c
                    .submitted_at
                    .checked_add(SignedDuration::from_hours(4))
                    .unwrap();
                let due = order & ((1 << 48) - 1);
                assert_eq!(order >> 48, u64::from(9 - c.priority.get()));
                assert!(
                    due <= latest.as_millisecond() as u64,
                    "seed {seed}: {}",
                    c.id
                );
            }
        }
    }
    assert!(moved > 1000, "{moved}");
}

/// The example policy exists in four languages; these cases hold them together.
/// `TAPEMARK_BLESS=1 cargo test -p resolver --test builtins cases` writes them anew.
#[test]
fn the_cases_of_the_examples_are_what_the_rust_example_decides() {
    let directory = plugins().join("examples/cases");
    let bless = std::env::var_os("TAPEMARK_BLESS").is_some();
    let mut actions: BTreeMap<&str, usize> = BTreeMap::new();
    for (seed, size) in [
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 4),
        (55, 6),
        (6, 8),
        (7, 10),
        (2, 12),
        (56, 16),
        (10, 16),
        (11, 20),
        (0, 24),
        (35, 28),
        (32, 32),
    ] {
        let set = sample(seed, size);
        let decision = decide("deadline-first", &set);
        for verdict in &decision.verdicts {
            *actions.entry(verdict.action.name()).or_default() += 1;
        }
        let expected = serde_json::json!({
            "note": format!("policy::sample({seed}, {size})"),
            "input": set,
            "decision": decision,
        });
        let path = directory.join(format!("sample-{seed:02}-{size:03}.json"));
        if bless {
            fs::write(&path, format!("{expected:#}\n")).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; TAPEMARK_BLESS=1 writes it", path.display())
        });
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            found,
            expected,
            "{}; TAPEMARK_BLESS=1 writes it",
            path.display()
        );
    }
    for name in ["proceed", "supersede", "merge", "defer", "reject"] {
        assert!(actions.get(name).is_some_and(|n| *n >= 5), "{actions:?}");
    }
}
