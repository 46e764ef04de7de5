//! At most one content follows a parent, whatever a decision was shown and whoever made it;
//! and what is superseded has something newer that went ahead.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use control::Phase;
use futures::future::join_all;
use model::{
    Action, Bytes, CallOutcome, CheckpointId, Code, ConflictSet, Contender, Decision, GroupId,
    GroupOutcome, Refusal, State, Verdict,
};
use serde_json::{Value, json};

use crate::machine::At;
use crate::{OPERATOR, Stage, Test};

/// What is settled proceeds; the others as said.
#[allow(clippy::unnecessary_wraps, reason = "what a script is")]
fn each(set: &ConflictSet, say: impl Fn(&Contender) -> Action) -> Result<Decision, CallOutcome> {
    let verdicts = set.contenders.iter().map(|c| Verdict {
        id: c.id,
        action: match policy::is_settled(set, c.group) {
            true => Action::Proceed { order: 1 },
            false => say(c),
        },
        reason: "of a story".to_owned(),
    });
    Ok(Decision {
        verdicts: verdicts.collect(),
        reason: String::new(),
    })
}

fn no() -> Action {
    Action::Reject {
        refusal: Refusal::new(Code::PolicyRefused, "not this one"),
    }
}

const GO: Action = Action::Proceed { order: 1 };

fn wait(set: &ConflictSet, seconds: i64) -> Action {
    Action::Defer {
        until: set.now + jiff::SignedDuration::from_secs(seconds),
    }
}

fn newest(set: &ConflictSet) -> GroupId {
    let open = set.contenders.iter().filter(|c| !c.settled);
    open.max_by_key(|c| policy::age(c)).unwrap().group
}

fn size(set: &ConflictSet, group: GroupId) -> usize {
    set.contenders.iter().filter(|c| c.group == group).count()
}

/// A stage where `services[0]` has a committed checkpoint, for others to follow.
async fn with_parent(
    seed: u64,
    services: &[&str],
) -> Result<(Stage, CheckpointId), Box<dyn std::error::Error>> {
    let mut stage = Stage::new(seed, 4, Bytes::gib(1), services).await?;
    let first = stage.submit(stage.world.sample(services[0], "0")).await;
    stage.finish().await?;
    assert_eq!(stage.state(first.checkpoints[0]).await, State::Committed);
    Ok((stage, first.checkpoints[0]))
}

/// A version of a service, with content of its own.
fn version(stage: &Stage, service: &str, version: &str, parent: Option<CheckpointId>) -> Value {
    let content = format!("{service} {version}");
    let mut member = stage.world.member(service, version, content.as_bytes());
    member["parent"] = json!(parent);
    if parent.is_none() {
        member.as_object_mut().unwrap().remove("parent");
    }
    member
}

async fn submit(stage: &Stage, key: &str, members: &[Value]) -> GroupOutcome {
    stage.submit(stage.world.submission(key, members)).await
}

/// The groups' states, by name, once everything has come to its end.
async fn ends(
    stage: &mut Stage,
    groups: &[&GroupOutcome],
) -> Result<Vec<&'static str>, Box<dyn std::error::Error>> {
    for _ in 0..4 {
        stage.finish().await?;
        stage.world.clock.advance(Duration::from_secs(61));
    }
    stage.finish().await?;
    let mut names = Vec::new();
    for group in groups {
        assert!(stage.machine.at(group.group).is_end());
        names.push(stage.state(group.checkpoints[0]).await.name());
    }
    let volumes = stage.control.volumes(&OPERATOR, &"lib".parse()?).await?;
    assert!(volumes.iter().all(|volume| volume.reserved == Bytes::ZERO));
    assert!(stage.world.objects.pinned().is_empty());
    Ok(names)
}

#[tokio::test]
async fn the_native_policy_refuses_an_older_fork_that_is_placed_already() -> Test {
    let (mut stage, parent) = with_parent(900, &["a", "x", "y"]).await?;
    // Neither group can take the other one's place: each has a service of its own.
    let mut groups = Vec::new();
    for (v, own) in [("1", "x"), ("2", "y")] {
        let members = [
            version(&stage, "a", v, Some(parent)),
            version(&stage, own, v, None),
        ];
        groups.push(submit(&stage, v, &members).await);
        stage.settle().await?;
    }
    assert_eq!(stage.machine.at(groups[1].group), At::Execute);
    let code = stage.code(groups[0].checkpoints[0]).await;
    assert_eq!(code, Some(Code::LineageFork));
    let ends = ends(&mut stage, &[&groups[0], &groups[1]]).await?;
    assert_eq!(ends, ["failed", "committed"]);
    let written: usize = stage.tapes.values().map(|tape| tape.written.len()).sum();
    assert_eq!(written, 3, "the older one never reached a tape");
    Ok(())
}

#[tokio::test]
async fn a_resolver_that_refuses_the_older_fork_is_obeyed() -> Test {
    let (mut stage, parent) = with_parent(901, &["a"]).await?;
    let only_newest = |set: &ConflictSet| {
        let newest = newest(set);
        each(set, |c| if c.group == newest { GO } else { no() })
    };
    stage.world.bind("pool:main", "newest", only_newest).await?;
    let mut groups = Vec::new();
    for v in ["1", "2"] {
        let members = [version(&stage, "a", v, Some(parent))];
        groups.push(submit(&stage, v, &members).await);
        stage.settle().await?;
    }
    let code = stage.code(groups[0].checkpoints[0]).await;
    assert_eq!(code, Some(Code::PolicyRefused));
    let ends = ends(&mut stage, &[&groups[0], &groups[1]]).await?;
    assert_eq!(ends, ["failed", "committed"]);
    Ok(())
}

/// Once an agent has it, nobody ends it: not even who decided that before the claim.
#[tokio::test(start_paused = true)]
async fn a_fork_of_what_an_agent_has_claimed_meanwhile_is_refused() -> Test {
    let (mut stage, parent) = with_parent(902, &["a"]).await?;
    let first = submit(&stage, "1", &[version(&stage, "a", "1", Some(parent))]).await;
    stage.settle().await?;
    let only_newest = |set: &ConflictSet| {
        let newest = newest(set);
        each(set, |c| if c.group == newest { GO } else { no() })
    };
    stage.world.bind("pool:main", "newest", only_newest).await?;
    let takes = Duration::from_millis(100);
    stage.world.resolvers.slow(b"newest", takes);
    stage.agents[0].open(&stage.control).await?;
    stage.agents[0]
        .ready(&stage.control, &mut stage.tapes)
        .await?;
    let second = submit(&stage, "2", &[version(&stage, "a", "2", Some(parent))]).await;
    stage.machine.deliver(&stage.control, true).await?;
    let name = second.group.to_string();
    stage.machine.step(&stage.control, &name, false).await;
    let claim = async {
        tokio::time::sleep(takes / 2).await;
        stage.agents[0].claim(&stage.control, 10).await
    };
    let place = stage.machine.step(&stage.control, &name, false);
    let (claimed, ()) = tokio::join!(claim, place);
    assert_eq!(claimed?, 1);
    let sets = stage.world.resolvers.asked(b"newest");
    assert!(
        sets[0]
            .contenders
            .iter()
            .all(|c| c.group != first.group || !c.settled)
    );
    let ends = ends(&mut stage, &[&first, &second]).await?;
    assert_eq!(ends, ["committed", "rejected"]);
    let code = stage.code(second.checkpoints[0]).await;
    assert_eq!(code, Some(Code::LineageFork));
    Ok(())
}

/// Each run that can asks to be placed, all at the same time.
async fn place_all(stage: &Stage, groups: &[&GroupOutcome]) {
    let asks = groups.iter().map(|outcome| {
        let group = outcome.group;
        let payload = json!({"op": "place", "run": group, "group": group, "placement": 0});
        stage.control.run_phase(Phase::Allocate, payload)
    });
    join_all(asks).await;
}

#[tokio::test]
async fn two_resolvers_that_decide_at_the_same_time_cannot_fork_a_lineage() -> Test {
    let (mut stage, parent) = with_parent(903, &["a", "x", "q"]).await?;
    // The one of the service lets small groups go, the one of the pool large ones.
    for (scope, name, large) in [
        ("service:a", "small first", false),
        ("pool:main", "large first", true),
    ] {
        let decide = move |set: &ConflictSet| {
            each(set, |c| {
                let other = c.service.as_str() == "q";
                if other || (size(set, c.group) > 1) == large {
                    GO
                } else {
                    no()
                }
            })
        };
        let name = name.replace(' ', "-");
        stage.world.bind(scope, &name, decide).await?;
    }
    let q = submit(&stage, "q", &[version(&stage, "q", "1", None)]).await;
    let small = submit(&stage, "small", &[version(&stage, "a", "1", Some(parent))]).await;
    let members = [
        version(&stage, "a", "2", Some(parent)),
        version(&stage, "x", "1", None),
    ];
    let large = submit(&stage, "large", &members).await;
    stage.machine.deliver(&stage.control, true).await?;
    for name in stage.machine.ready() {
        stage.machine.step(&stage.control, &name, false).await;
    }
    place_all(&stage, &[&q, &small, &large]).await;
    let ends = ends(&mut stage, &[&q, &small, &large]).await?;
    assert_eq!(ends[0], "committed");
    let committed = ends[1..].iter().filter(|name| **name == "committed");
    assert_eq!(committed.count(), 1, "{ends:?}");
    Ok(())
}

/// Two processes, each with its own round: neither sees what the other one decides. What
/// goes ahead changes with each decision, and nothing that is on its way is ended.
#[tokio::test]
async fn two_processes_that_decide_at_the_same_time_cannot_fork_a_lineage() -> Test {
    let (mut stage, parent) = with_parent(920, &["a"]).await?;
    let calls = AtomicU32::new(0);
    stage
        .world
        .bind("pool:main", "in-turn", move |set| {
            let turn = calls.fetch_add(1, Ordering::Relaxed) % 2;
            let turn = ["1", "2"][turn as usize];
            each(set, |c| {
                if c.version.as_str() == turn {
                    GO
                } else {
                    wait(set, 5)
                }
            })
        })
        .await?;
    let first = submit(&stage, "1", &[version(&stage, "a", "1", Some(parent))]).await;
    let second = submit(&stage, "2", &[version(&stage, "a", "2", Some(parent))]).await;
    stage.machine.deliver(&stage.control, true).await?;
    for name in stage.machine.ready() {
        stage.machine.step(&stage.control, &name, false).await;
    }
    let other = stage.world.control();
    let ask = |control: &control::Control, group: GroupId| {
        let payload = json!({"op": "place", "run": group, "group": group, "placement": 0});
        let control = control.clone();
        async move { control.run_phase(Phase::Allocate, payload).await }
    };
    let _ = tokio::join!(ask(&stage.control, first.group), ask(&other, second.group));
    for _ in 0..4 {
        stage.world.clock.advance(Duration::from_secs(61));
        stage.settle().await?;
    }
    let mut ends = ends(&mut stage, &[&first, &second]).await?;
    ends.sort_unstable();
    assert_eq!(ends, ["committed", "rejected"]);
    Ok(())
}

/// Others wait to follow the same parent. The one that is committed is no longer the newest
/// of its lineage, and is shown all the same.
#[tokio::test]
async fn whoever_follows_a_parent_is_seen_behind_any_number_that_wait() -> Test {
    let (mut stage, parent) = with_parent(904, &["a"]).await?;
    stage
        .world
        .bind("pool:main", "patient", |set| {
            each(set, |c| match c.version.as_str() {
                "go" | "go-on" => GO,
                "00" if set.now > c.submitted_at + jiff::SignedDuration::from_secs(100) => GO,
                _ => wait(set, 100),
            })
        })
        .await?;
    let mut waiting = Vec::new();
    for n in 0..17 {
        let name = format!("{n:02}");
        let members = [version(&stage, "a", &name, Some(parent))];
        waiting.push(submit(&stage, &name, &members).await);
        stage.settle().await?;
    }
    let go = submit(&stage, "go", &[version(&stage, "a", "go", Some(parent))]).await;
    stage.finish().await?;
    let members = [version(&stage, "a", "go-on", Some(go.checkpoints[0]))];
    let on = submit(&stage, "go-on", &members).await;
    stage.finish().await?;
    for outcome in [&go, &on] {
        assert_eq!(stage.state(outcome.checkpoints[0]).await, State::Committed);
    }
    stage.world.clock.advance(Duration::from_secs(200));
    stage.finish().await?;
    let code = stage.code(waiting[0].checkpoints[0]).await;
    assert_eq!(code, Some(Code::LineageFork));
    let sets = stage.world.resolvers.asked(b"patient");
    let shown = sets.last().unwrap().contenders.iter();
    assert!(
        shown
            .into_iter()
            .any(|c| c.settled && c.id == go.checkpoints[0])
    );
    Ok(())
}

/// The place is free again once whoever had it has ended otherwise.
#[tokio::test]
async fn another_one_may_follow_where_the_first_was_called_off() -> Test {
    let (mut stage, parent) = with_parent(906, &["a"]).await?;
    let first = submit(&stage, "1", &[version(&stage, "a", "1", Some(parent))]).await;
    stage.settle().await?;
    stage.control.cancel(&OPERATOR, first.group).await?;
    stage.settle().await?;
    let second = submit(&stage, "2", &[version(&stage, "a", "2", Some(parent))]).await;
    stage.settle().await?;
    assert_eq!(stage.machine.at(second.group), At::Execute);
    let ends = ends(&mut stage, &[&second]).await?;
    assert_eq!(ends, ["committed"]);
    Ok(())
}

#[tokio::test]
async fn nothing_is_superseded_by_what_only_waits() -> Test {
    let mut stage = Stage::new(907, 2, Bytes::gib(1), &["a"]).await?;
    // It says that the newer one takes the older one's place, and then refuses it.
    stage
        .world
        .bind("pool:main", "fickle", |set| {
            let newest = newest(set);
            let by = set
                .contenders
                .iter()
                .find(|c| c.group == newest)
                .unwrap()
                .id;
            each(set, |c| match (set.contenders.len(), c.version.as_str()) {
                (1, "2") => no(),
                (1, _) if set.now > c.submitted_at + jiff::SignedDuration::from_mins(5) => GO,
                (1, _) => wait(set, 5),
                _ if c.group == newest && set.now.as_second() % 2 == 1 => no(),
                _ if c.group == newest => wait(set, 60),
                _ if set.now.as_second() % 2 == 1 => wait(set, 5),
                _ => Action::Supersede { by },
            })
        })
        .await?;
    let old = stage.submit(stage.world.sample("a", "1")).await;
    stage.settle().await?;
    let new = stage.submit(stage.world.sample("a", "2")).await;
    stage.settle().await?;
    stage.world.clock.advance(Duration::from_secs(30));
    stage.settle().await?;
    let (group, _) = stage.control.group(&OPERATOR, old.group).await?;
    assert!(group.deferred.unwrap().reason.starts_with("waits for"));
    let (group, _) = stage.control.group(&OPERATOR, new.group).await?;
    assert!(group.deferred.is_some());
    stage.world.clock.advance(Duration::from_secs(91));
    stage.settle().await?;
    assert_eq!(stage.machine.at(new.group), At::Rejected);
    stage.world.clock.advance(Duration::from_secs(300));
    let ends = ends(&mut stage, &[&old, &new]).await?;
    assert_eq!(ends, ["committed", "rejected"]);
    Ok(())
}

#[tokio::test]
async fn the_largest_group_gives_way_as_a_whole() -> Test {
    let names: Vec<_> = (0..24).map(|n| format!("s{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(908, 2, Bytes::gib(1), &names).await?;
    let members: Vec<_> = names
        .iter()
        .map(|s| version(&stage, s, "0", None))
        .collect();
    let first = submit(&stage, "0", &members).await;
    stage.finish().await?;
    let mut parents = BTreeMap::new();
    for id in &first.checkpoints {
        let view = stage.control.checkpoint(&OPERATOR, *id).await?;
        parents.insert(view.checkpoint.service.to_string(), *id);
    }
    let mut groups = Vec::new();
    for v in ["1", "2"] {
        let members = names
            .iter()
            .map(|s| version(&stage, s, v, Some(parents[*s])));
        let members: Vec<_> = members.collect();
        groups.push(submit(&stage, v, &members).await);
        stage.settle().await?;
    }
    assert_eq!(stage.machine.at(groups[0].group), At::Superseded);
    assert_eq!(stage.machine.at(groups[1].group), At::Execute);
    let ends = ends(&mut stage, &[&groups[0], &groups[1]]).await?;
    assert_eq!(ends, ["superseded", "committed"]);
    Ok(())
}

/// The place is part of the transaction that places a group, and is read by its key.
#[tokio::test]
async fn a_parent_costs_no_transaction_and_a_long_history_no_read() -> Test {
    let (mut stage, first) = with_parent(909, &["a", "b"]).await?;
    let mut costs = Vec::new();
    let mut parent = None;
    for n in 0..40 {
        let table = &stage.world.table;
        let before = (table.transactions(), table.reads());
        let name = format!("v{n}");
        // At first one without a parent, of another service.
        let service = if n == 0 { "b" } else { "a" };
        let members = [version(&stage, service, &name, parent)];
        let next = submit(&stage, &name, &members).await.checkpoints[0];
        stage.finish().await?;
        assert_eq!(stage.state(next).await, State::Committed);
        let table = &stage.world.table;
        costs.push((table.transactions() - before.0, table.reads() - before.1));
        parent = Some(if n == 0 { first } else { next });
    }
    assert!(costs.iter().all(|cost| cost.0 == costs[0].0), "{costs:?}");
    assert!(costs[1..].iter().all(|cost| *cost == costs[1]), "{costs:?}");
    Ok(())
}
