//! Requests that cannot all be honoured: the policy by tables and properties, and what
//! becomes of it in runs.

use std::collections::BTreeMap;

use control::conflict::{
    DefaultPolicy, Resolver, Violation, check_decision, decide, decide_checked,
};
use expect_test::{Expect, expect};
use jiff::Timestamp;
use model::{
    Action, Bytes, CheckpointId, Code, ConflictSet, Contender, Decision, GroupId, Priority, Sha256,
    State, VolumeView,
};
use proptest::prelude::*;

use crate::machine::At;
use crate::{OPERATOR, Stage, Test};

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
        content: crate::agent::sha256(content),
        bytes: Bytes(number("bytes").unwrap_or(1)),
        artifacts: 1,
        priority: Priority::try_from(number("priority").unwrap_or(5) as u8).unwrap(),
        deadline: number("deadline").map(|s| Timestamp::from_second(s as i64).unwrap()),
        submitted_at: Timestamp::from_second(at.parse().unwrap()).unwrap(),
        attempt: 0,
        settled: options.contains_key("settled"),
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
        contenders: lines
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .map(contender)
            .collect(),
        volumes: vec![VolumeView {
            volume: "V001".parse().unwrap(),
            free: Bytes(100),
            mounted: false,
        }],
        conflicts: Vec::new(),
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
        let decision = decide(&set);
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
    let decision = decide(&set("1@10 pay x parent=9 settled\n2@20 pay y parent=9"));
    let Action::Reject { refusal } = &decision.verdicts[1].action else {
        panic!("{decision:?}");
    };
    expect![[r#"
        pay v2: expected parent 00000000-0009-7101-8101-010101010101 to have no successor, found 00000000-0001-7101-8101-010101010101 (version v1)"#]]
    .assert_eq(&refusal.message);
}

struct Fixed(Decision);

impl Resolver for Fixed {
    fn decide(&self, _set: &ConflictSet) -> Result<Decision, String> {
        Ok(self.0.clone())
    }
}

/// Whatever a resolver says, it cannot lose, split or corrupt.
#[test]
fn a_decision_that_breaks_an_invariant_is_not_used() {
    let set = set("1@10 pay x\n2@20 pay x\n3@30 shop y group=7\n4@30 pay z group=7");
    let good = decide(&set);
    assert_eq!(check_decision(&set, &good), Ok(()));
    let check = |change: &dyn Fn(&mut Decision), expected: Violation| {
        let mut decision = good.clone();
        change(&mut decision);
        assert_eq!(check_decision(&set, &decision), Err(expected));
        assert_eq!(decide_checked(&Fixed(decision), &set), good);
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
    let mut decision = decide(&settled);
    decision.verdicts[0].action = Action::Defer {
        until: Timestamp::from_second(1001).unwrap(),
    };
    assert_eq!(
        check_decision(&settled, &decision),
        Err(Violation::Settled(id(1)))
    );
    let large = self::set("1@10 pay x bytes=101");
    let mut decision = decide(&large);
    decision.verdicts[0].action = Action::Proceed { order: 0 };
    assert_eq!(
        check_decision(&large, &decision),
        Err(Violation::Capacity(id(1)))
    );
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
        let decision = decide(&set);
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
        prop_assert_eq!(decide(&one), decide(&other));
        prop_assert_eq!(
            control::conflict::find_conflicts(&one),
            control::conflict::find_conflicts(&other)
        );
    }
}

#[tokio::test]
async fn a_newer_version_takes_the_place_of_one_that_waits_for_the_agent() -> Test {
    let mut stage = Stage::new(11, 2, Bytes::gib(1), &["pay"]).await?;
    let old = stage.submit(stage.world.sample("pay", "1")).await;
    stage.settle().await?;
    assert_eq!(stage.machine.at(old.group), At::Execute);
    let new = stage.submit(stage.world.sample("pay", "2")).await;
    stage.settle().await?;
    assert_eq!(stage.machine.at(old.group), At::Superseded);
    assert_eq!(
        stage.state(old.checkpoints[0]).await,
        State::Superseded {
            by: new.checkpoints[0]
        }
    );
    stage.finish().await?;
    assert_eq!(stage.state(new.checkpoints[0]).await, State::Committed);
    let written: usize = stage.tapes.values().map(|tape| tape.written.len()).sum();
    assert_eq!(written, 1, "the old one never reached a tape");
    assert!(stage.world.objects.pinned().is_empty());
    let volumes = stage.control.volumes(&OPERATOR, &"lib".parse()?).await?;
    assert!(volumes.iter().all(|volume| volume.reserved == Bytes::ZERO));
    Ok(())
}

#[tokio::test]
async fn once_claimed_it_is_written_and_the_newer_one_after_it() -> Test {
    let mut stage = Stage::new(12, 2, Bytes::gib(1), &["pay"]).await?;
    let old = stage.submit(stage.world.sample("pay", "1")).await;
    stage.settle().await?;
    let agent = &mut stage.agents[0];
    agent.open(&stage.control).await?;
    agent.ready(&stage.control, &mut stage.tapes).await?;
    agent.claim(&stage.control, 10).await?;
    let new = stage.submit(stage.world.sample("pay", "2")).await;
    stage.settle().await?;
    assert_eq!(stage.machine.at(old.group), At::Execute);
    stage.finish().await?;
    for outcome in [old, new] {
        assert_eq!(stage.state(outcome.checkpoints[0]).await, State::Committed);
    }
    Ok(())
}

/// The newer version allocates while the agent claims the older one: whoever is first
/// wins, and never both.
#[tokio::test]
async fn supersede_and_claim_race_and_one_of_them_wins() -> Test {
    let (mut claimed, mut superseded) = (0, 0);
    for seed in 0..24 {
        let mut stage = Stage::new(100 + seed, 1, Bytes::gib(1), &["pay", "other"]).await?;
        let old = stage.submit(stage.world.sample("pay", "1")).await;
        stage.submit(stage.world.sample("other", "1")).await;
        stage.settle().await?;
        let agent = &mut stage.agents[0];
        agent.open(&stage.control).await?;
        agent.ready(&stage.control, &mut stage.tapes).await?;
        let new = stage.submit(stage.world.sample("pay", "2")).await;
        stage.machine.deliver(&stage.control, true).await?;
        let name = new.group.to_string();
        stage.machine.step(&stage.control, &name, false).await;
        let claim = async {
            for _ in 0..seed * 2 {
                tokio::task::yield_now().await;
            }
            stage.agents[0].claim(&stage.control, 10).await
        };
        let allocate = stage.machine.step(&stage.control, &name, false);
        let (claim, ()) = tokio::join!(claim, allocate);
        let has_old = stage.agents[0]
            .claimed
            .iter()
            .any(|item| item.key.as_str().starts_with(&old.group.to_string()));
        assert!(claim? >= 1);
        match stage.state(old.checkpoints[0]).await {
            State::Superseded { .. } => {
                assert!(!has_old, "claimed and superseded");
                superseded += 1;
            }
            State::Executing => {
                assert!(has_old);
                claimed += 1;
            }
            other => panic!("{other:?}"),
        }
        stage.finish().await?;
        assert_eq!(stage.state(new.checkpoints[0]).await, State::Committed);
    }
    assert!(claimed > 0 && superseded > 0, "{claimed} {superseded}");
    Ok(())
}

#[tokio::test]
async fn a_duplicate_is_restored_from_what_stands_for_it() -> Test {
    let mut stage = Stage::new(13, 2, Bytes::gib(1), &["pay"]).await?;
    let same = |stage: &Stage, version: &str| {
        let member = stage.world.member("pay", version, b"the same");
        stage.world.submission(version, &[member])
    };
    let first = stage.submit(same(&stage, "1")).await;
    stage.settle().await?;
    let second = stage.submit(same(&stage, "2")).await;
    stage.settle().await?;
    assert_eq!(stage.machine.at(second.group), At::Follow);
    stage.finish().await?;
    let third = stage.submit(same(&stage, "3")).await;
    stage.finish().await?;
    let into = State::Merged {
        into: first.checkpoints[0],
    };
    for outcome in [&second, &third] {
        assert_eq!(stage.machine.at(outcome.group), At::Merged);
        assert_eq!(stage.state(outcome.checkpoints[0]).await, into);
    }
    assert!(stage.world.objects.pinned().is_empty());
    let restore = stage
        .control
        .restore(&OPERATOR, third.checkpoints[0], Vec::new())
        .await?;
    stage.finish().await?;
    let view = stage.control.restore_view(&OPERATOR, restore).await?;
    assert_eq!(view.state, control::RestoreState::Done);
    assert_eq!(view.checkpoint, third.checkpoints[0]);
    Ok(())
}

/// The one that was to stand for both is called off: the duplicate goes its own way.
#[tokio::test]
async fn a_duplicate_survives_the_failure_of_the_one_it_followed() -> Test {
    let mut stage = Stage::new(14, 2, Bytes::gib(1), &["pay"]).await?;
    let same = |stage: &Stage, version: &str| {
        let member = stage.world.member("pay", version, b"the same");
        stage.world.submission(version, &[member])
    };
    let first = stage.submit(same(&stage, "1")).await;
    stage.settle().await?;
    let second = stage.submit(same(&stage, "2")).await;
    let third = stage.submit(same(&stage, "3")).await;
    stage.settle().await?;
    stage.control.cancel(&OPERATOR, first.group).await?;
    stage.finish().await?;
    assert_eq!(
        stage.code(first.checkpoints[0]).await,
        Some(Code::Cancelled)
    );
    assert_eq!(stage.machine.at(first.group), At::Failed);
    assert_eq!(stage.state(second.checkpoints[0]).await, State::Committed);
    let into = State::Merged {
        into: second.checkpoints[0],
    };
    assert_eq!(stage.state(third.checkpoints[0]).await, into);
    Ok(())
}

#[tokio::test]
async fn a_second_successor_of_a_parent_is_refused_as_a_fork_unless_branched() -> Test {
    let mut stage = Stage::new(15, 2, Bytes::gib(1), &["pay"]).await?;
    let root = stage.submit(stage.world.sample("pay", "1")).await;
    stage.finish().await?;
    let child = |stage: &Stage, version: &str, branch: Option<&str>| {
        let mut json = stage.world.sample("pay", version);
        json["members"][0]["parent"] = serde_json::json!(root.checkpoints[0]);
        if let Some(branch) = branch {
            json["members"][0]["branch"] = branch.into();
        }
        json
    };
    let first = stage.submit(child(&stage, "2", None)).await;
    stage.finish().await?;
    let fork = stage.submit(child(&stage, "3", None)).await;
    let branched = stage.submit(child(&stage, "4", Some("hotfix"))).await;
    stage.finish().await?;
    assert_eq!(stage.state(first.checkpoints[0]).await, State::Committed);
    assert_eq!(
        stage.code(fork.checkpoints[0]).await,
        Some(Code::LineageFork)
    );
    assert_eq!(stage.state(branched.checkpoints[0]).await, State::Committed);
    let (group, _) = stage.control.group(&OPERATOR, fork.group).await?;
    assert!(group.refusals[0].message.contains("to have no successor"));
    Ok(())
}

/// A resolver that errs is replaced by the built-in policy.
#[test]
fn a_resolver_that_fails_is_replaced() {
    struct Broken;
    impl Resolver for Broken {
        fn decide(&self, _set: &ConflictSet) -> Result<Decision, String> {
            Err("out of fuel".to_owned())
        }
    }
    let set = set("1@10 pay x\n2@20 pay y");
    assert_eq!(decide_checked(&Broken, &set), decide(&set));
    assert_eq!(DefaultPolicy.decide(&set), Ok(decide(&set)));
    assert_ne!(Sha256::EMPTY, set.contenders[0].content);
}
