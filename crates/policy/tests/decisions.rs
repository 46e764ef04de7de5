//! The policy by tables and by properties, and what no decision may break.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use jiff::Timestamp;
use model::{
    Action, Bytes, CheckpointId, ConflictSet, Contender, Decision, GroupId, Priority, Sha256,
    VolumeState, VolumeView,
};
use policy::{Violation, check_decision, find_conflicts, priority_deadline};
use proptest::prelude::*;
use sha2::Digest as _;

/// A contender in words: `id@seconds service content [group=N] [parent=N] [settled]
/// [priority=N] [deadline=N] [bytes=N]`.
fn contender(line: &str) -> Contender {
    let mut words = line.split_whitespace();
    let (id, at) = words.next().unwrap().split_once('@').unwrap();
    let service = words.next().unwrap();
    let content = words.next().unwrap();
    let mut options: BTreeMap<&str, &str> = BTreeMap::new();
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, "1"));
        options.insert(name, value);
    }
    let number = |name: &str| options.get(name).map(|value| value.parse::<u64>().unwrap());
    let id: u64 = id.parse().unwrap();
    Contender {
        id: checkpoint(id),
        group: GroupId::from_parts(number("group").unwrap_or(id), &[2; 10]),
        service: service.parse().unwrap(),
        branch: None,
        parent: number("parent").map(checkpoint),
        version: format!("v{id}").parse().unwrap(),
        content: Sha256(sha2::Sha256::digest(content.as_bytes()).into()),
        bytes: Bytes(number("bytes").unwrap_or(1)),
        artifacts: 1,
        priority: Priority::try_from(number("priority").unwrap_or(5) as u8).unwrap(),
        deadline: number("deadline").map(|s| Timestamp::from_second(s as i64).unwrap()),
        submitted_at: Timestamp::from_second(at.parse().unwrap()).unwrap(),
        attempt: 0,
        settled: options.contains_key("settled"),
        retention: model::RetentionClass::default(),
        labels: BTreeMap::new(),
    }
}

fn checkpoint(n: u64) -> CheckpointId {
    CheckpointId::from_parts(n, &[1; 10])
}

fn name(id: CheckpointId) -> u64 {
    (id.0.as_u128() >> 80) as u64
}

fn set(lines: &str) -> ConflictSet {
    ConflictSet {
        now: Timestamp::from_second(1000).unwrap(),
        library: "lib".parse().unwrap(),
        pool: "main".parse().unwrap(),
        contenders: lines
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .map(contender)
            .collect(),
        volumes: vec![VolumeView {
            volume: "V001".parse().unwrap(),
            state: VolumeState::Scratch,
            free: Bytes(100),
            mounted: false,
        }],
        drives: Vec::new(),
        conflicts: Vec::new(),
        history: Vec::new(),
    }
}

fn text(decision: &Decision) -> String {
    let mut proceeding: Vec<_> = decision
        .verdicts
        .iter()
        .filter_map(|v| match v.action {
            Action::Proceed { order } => Some((order, v.id)),
            _ => None,
        })
        .collect();
    proceeding.sort_unstable();
    decision
        .verdicts
        .iter()
        .map(|v| {
            let what = match &v.action {
                Action::Proceed { .. } => {
                    let place = proceeding.iter().position(|(_, id)| *id == v.id);
                    format!("proceeds as {}", place.unwrap() + 1)
                }
                Action::Supersede { by } => format!("superseded by {}", name(*by)),
                Action::Merge { into } => format!("merged into {}", name(*into)),
                Action::Defer { until } => format!("deferred until {until}"),
                Action::Reject { refusal } => format!("refused: {}", refusal.code),
                other => format!("{other:?}"),
            };
            format!("{} {what}\n", name(v.id))
        })
        .collect()
}

#[test]
fn the_built_in_policy_by_example() {
    let check = |lines: &str, expected: Expect| {
        let set = set(lines);
        let decision = priority_deadline(&set);
        assert_eq!(check_decision(&set, &decision), Ok(()), "{lines}");
        expected.assert_eq(&text(&decision));
    };
    // A newer request supersedes an older one; once claimed, it does not.
    check(
        "1@10 pay x\n2@20 pay y",
        expect![[r#"
        1 superseded by 2
        2 proceeds as 1
    "#]],
    );
    check(
        "1@10 pay x settled\n2@20 pay y",
        expect![[r#"
        1 proceeds as 1
        2 proceeds as 2
    "#]],
    );
    check(
        "1@10 pay x\n2@20 shop y",
        expect![[r#"
        1 proceeds as 1
        2 proceeds as 2
    "#]],
    );
    // Of duplicates the oldest stands for all, or the one that is settled.
    check(
        "1@10 pay x\n2@20 pay x\n3@30 pay x",
        expect![[r#"
        1 proceeds as 1
        2 merged into 1
        3 merged into 1
    "#]],
    );
    check(
        "1@10 pay x\n2@20 pay x settled",
        expect![[r#"
        1 merged into 2
        2 proceeds as 1
    "#]],
    );
    // Back to the first content: the one in between goes, the first stands.
    check(
        "1@10 pay x\n2@20 pay y\n3@30 pay x",
        expect![[r#"
        1 proceeds as 1
        2 superseded by 3
        3 merged into 1
    "#]],
    );
    // A second successor of a parent is a fork; the same content is a duplicate.
    check(
        "1@10 pay x parent=9 settled\n2@20 pay y parent=9",
        expect![[r#"
        1 proceeds as 1
        2 refused: Tapemark.LineageFork
    "#]],
    );
    check(
        "1@10 pay x parent=9 settled\n2@20 pay x parent=9",
        expect![[r#"
        1 proceeds as 1
        2 merged into 1
    "#]],
    );
    // A refused one supersedes nobody.
    check(
        "1@10 pay x parent=9 settled\n2@20 pay y\n3@30 pay z parent=9",
        expect![[r#"
        1 proceeds as 1
        2 proceeds as 2
        3 refused: Tapemark.LineageFork
    "#]],
    );
    // Groups are decided as one.
    check(
        "1@10 pay x group=7\n2@10 shop x group=7\n3@20 pay y",
        expect![[r#"
        1 proceeds as 1
        2 proceeds as 2
        3 proceeds as 3
    "#]],
    );
    check(
        "1@10 pay x group=7\n2@10 shop x group=7\n3@20 pay y group=8\n4@20 shop y group=8",
        expect![[r#"
            1 superseded by 3
            2 superseded by 4
            3 proceeds as 1
            4 proceeds as 2
        "#]],
    );
    check(
        "1@10 pay x settled\n2@20 pay x group=7\n3@20 shop y group=7",
        expect![[r#"
        1 proceeds as 1
        2 proceeds as 2
        3 proceeds as 3
    "#]],
    );
    // Priority, then deadline, then age.
    check(
        "1@10 a x\n2@20 b x priority=9\n3@30 c x deadline=2000\n4@40 d x deadline=1500\n5@50 e x priority=1 deadline=1001",
        expect![[r#"
            1 proceeds as 4
            2 proceeds as 1
            3 proceeds as 3
            4 proceeds as 2
            5 proceeds as 5
        "#]],
    );
    check(
        "1@10 pay x deadline=999\n2@20 shop y bytes=101",
        expect![[r#"
        1 refused: Tapemark.DeadlineMissed
        2 deferred until 1970-01-01T00:16:55Z
    "#]],
    );
}

#[test]
fn a_fork_says_what_it_collides_with() {
    let decision = priority_deadline(&set("1@10 pay x parent=9 settled\n2@20 pay y parent=9"));
    let Action::Reject { refusal } = &decision.verdicts[1].action else {
        panic!("{decision:?}");
    };
    expect![[r#"
        pay v2: expected parent 00000000-0009-7101-8101-010101010101 to have no successor, found 00000000-0001-7101-8101-010101010101 (version v1)"#]]
    .assert_eq(&refusal.message);
}

/// Whatever a resolver says, it cannot lose, split or corrupt.
#[test]
fn a_decision_that_breaks_an_invariant_is_not_used() {
    let set = set("1@10 pay x\n2@20 pay x\n3@30 shop y group=7\n4@30 pay z group=7");
    let good = priority_deadline(&set);
    assert_eq!(check_decision(&set, &good), Ok(()));
    let check = |change: &dyn Fn(&mut Decision), expected: Violation| {
        let mut decision = good.clone();
        change(&mut decision);
        assert_eq!(check_decision(&set, &decision), Err(expected));
    };
    let id = checkpoint;
    check(
        &|d| drop(d.verdicts.remove(0)),
        Violation::Count {
            id: id(1),
            found: 0,
        },
    );
    check(
        &|d| d.verdicts.push(d.verdicts[0].clone()),
        Violation::Count {
            id: id(1),
            found: 2,
        },
    );
    check(&|d| d.verdicts[0].id = id(99), Violation::Unknown(id(99)));
    check(
        &|d| d.verdicts[0].action = Action::Merge { into: id(4) },
        Violation::NotSame(id(1), id(4)),
    );
    check(
        &|d| d.verdicts[0].action = Action::Supersede { by: id(3) },
        Violation::NotNewer(id(1), id(3)),
    );
    check(
        &|d| {
            d.verdicts[0].action = Action::Merge { into: id(2) };
            d.verdicts[1].action = Action::Merge { into: id(1) };
        },
        Violation::Lost(id(1)),
    );
    check(
        &|d| d.verdicts[2].action = Action::Defer { until: set.now },
        Violation::Defer(id(3)),
    );
    check(
        &|d| d.verdicts[2].action = Action::Proceed { order: 0 },
        Violation::Split(id(3)),
    );
    let settled = self::set("1@10 pay x settled");
    let mut decision = priority_deadline(&settled);
    decision.verdicts[0].action = Action::Defer {
        until: Timestamp::from_second(1001).unwrap(),
    };
    assert_eq!(
        check_decision(&settled, &decision),
        Err(Violation::Settled(id(1)))
    );
    let large = self::set("1@10 pay x bytes=101");
    let mut decision = priority_deadline(&large);
    decision.verdicts[0].action = Action::Proceed { order: 0 };
    assert_eq!(
        check_decision(&large, &decision),
        Err(Violation::Capacity {
            needed: Bytes(101),
            free: Bytes(100),
        })
    );
}

/// Found by sampling: 1 holds what 2 has settled, so its group may go ahead; the newer 3
/// is no fork of it then, whichever of the two is looked at first.
#[test]
fn settled_content_begins_no_second_history_on_either_side_of_a_fork() {
    let set = set("1@10 pay x group=7 parent=50\n4@10 shop z group=7\n\
                   2@20 pay x parent=51 settled\n3@30 pay y parent=50");
    let decision = priority_deadline(&set);
    assert_eq!(check_decision(&set, &decision), Ok(()));
    expect![[r#"
        1 proceeds as 1
        2 proceeds as 2
        3 proceeds as 3
        4 proceeds as 4
    "#]]
    .assert_eq(&text(&decision));
}

fn contenders() -> impl Strategy<Value = Vec<Contender>> {
    let one = (
        0..4_u64,
        0..3_u64,
        0..3_u64,
        0..3_u64,
        any::<bool>(),
        0..10_u64,
        0..3_u64,
    );
    prop::collection::vec(one, 1..12).prop_map(|list| {
        list.into_iter()
            .zip(1..)
            .map(
                |((group, service, content, parent, settled, priority, deadline), n)| {
                    // Members of a group share their time, priority, deadline and settledness.
                    let group = 100 + group * 7 + n % 5;
                    let mut line = format!(
                        "{n}@{} s{service} c{content} group={group} priority={} bytes={}",
                        group * 3,
                        if settled { group % 10 } else { priority % 2 },
                        1 + content,
                    );
                    if parent > 0 {
                        line += &format!(" parent={}", 50 + parent);
                    }
                    if group % 3 == 0 {
                        line += " settled";
                    }
                    if deadline == 2 && group % 3 == 1 {
                        line += &format!(" deadline={}", 990 + n * 5);
                    }
                    contender(&line)
                },
            )
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Every decision of the built-in policy keeps the invariants, whatever comes.
    #[test]
    fn the_policy_loses_nothing_splits_nothing_and_runs_in_no_circle(list in contenders()) {
        let mut set = set("");
        set.contenders = list;
        let decision = priority_deadline(&set);
        prop_assert_eq!(check_decision(&set, &decision), Ok(()));
        prop_assert_eq!(decision.verdicts.len(), set.contenders.len());
        // In each lineage that has somebody who may go on, somebody does.
        for c in &set.contenders {
            let fate = |id| &decision.verdicts.iter().find(|v| v.id == id).unwrap().action;
            let mut at = c.id;
            for _ in 0..set.contenders.len() {
                at = match fate(at) {
                    Action::Supersede { by } => *by,
                    Action::Merge { into } => *into,
                    _ => break,
                };
            }
            let goes_on = matches!(fate(at), Action::Proceed { .. } | Action::Defer { .. });
            prop_assert!(at == c.id || goes_on);
        }
    }

    #[test]
    fn the_order_in_which_requests_are_listed_does_not_matter(
        list in contenders(),
        seed in any::<u64>(),
    ) {
        let mut one = set("");
        one.contenders = list;
        let mut other = one.clone();
        let mut state = seed;
        other.contenders.sort_by_key(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        });
        prop_assert_eq!(priority_deadline(&one), priority_deadline(&other));
        prop_assert_eq!(
            find_conflicts(&one),
            find_conflicts(&other)
        );
    }
}
