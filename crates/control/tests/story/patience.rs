//! What a resolver costs those who wait: being busy or slow is no reason to refuse anybody,
//! no fault of a resolver, and nobody waits for ever.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use control::ports::{Item, Key, Page, Query, Table, TableError, Write};
use control::testing::MemoryTable;
use control::{Control, Phase, parse_submission};
use model::{Action, Bytes, CallOutcome, CheckpointId, Code, Fallback, GroupId, Limits, State};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::machine::At;
use crate::resolvers::{all, defer_for, latest, native, place_all, stage_all};
use crate::{OPERATOR, Stage, Test};

#[tokio::test]
async fn a_deadline_before_1970_is_refused_by_its_field() -> Test {
    let stage = Stage::new(300, 1, Bytes::gib(1), &["a"]).await?;
    for (deadline, accepted) in [
        ("1969-12-31T23:59:59.9999Z", false),
        ("-009999-01-02T01:59:59Z", false),
        ("1970-01-01T00:00:00Z", true),
    ] {
        let mut json = stage.world.sample("a", "1");
        json["deadline"] = json!(deadline);
        let parsed = parse_submission(json.clone());
        if accepted {
            assert!(parsed.is_ok());
            continue;
        }
        let refusals = parsed.unwrap_err();
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        assert_eq!(refusals[0].code, Code::InvalidRequest);
        assert_eq!(refusals[0].field.as_deref(), Some("deadline"));
        assert!(refusals[0].message.contains("1970"), "{}", refusals[0]);
        // Nor from those who parsed it by themselves.
        json["deadline"] = Value::Null;
        let mut submission = parse_submission(json).unwrap();
        submission.deadline = Some(deadline.parse()?);
        let refused = stage.control.submit(&OPERATOR, submission).await;
        assert!(refused.is_err());
    }
    Ok(())
}

#[tokio::test]
async fn what_was_not_called_says_nothing_of_a_resolver() -> Test {
    let names: Vec<_> = (0..8).map(|n| format!("s{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(301, 1, Bytes::gib(1), &names).await?;
    stage
        .world
        .bind("pool:main", "away", |set| {
            if set.contenders[0].service.as_str() < "s6" {
                let why = "no place to run it in time".to_owned();
                return Err(CallOutcome::Unavailable { why });
            }
            if set.contenders[0].service.as_str() == "s6" {
                return Err(CallOutcome::OutOfFuel);
            }
            native(set)
        })
        .await?;
    let mut fallbacks = Vec::new();
    for name in &names {
        stage.submit(stage.world.sample(name, "1")).await;
        stage.settle().await?;
        fallbacks.push(latest(&stage).await.fallback);
    }
    // The fallback decides all the same.
    assert_eq!(fallbacks[..7], [Some(Fallback::BuiltIn); 7]);
    assert_eq!(fallbacks[7], None);
    let binding = stage.control.bindings(&OPERATOR).await?.remove(0);
    assert_eq!(binding.quarantined, None);
    assert_eq!(binding.recent, [true, false]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_port_is_not_out_of_time() -> Test {
    let mut stage = Stage::new(302, 1, Bytes::gib(1), &["a"]).await?;
    stage.world.bind("pool:main", "queues", native).await?;
    // 1.8 s in the queue, and as long as a first call may take after it.
    let takes = Duration::from_millis(1800 + 250 + 2900);
    stage.world.resolvers.slow(b"queues", takes);
    stage.submit(stage.world.sample("a", "1")).await;
    stage.settle().await?;
    let record = latest(&stage).await;
    assert_eq!(record.call.outcome, CallOutcome::Decided);
    Ok(())
}

/// 64 that ask at once of a resolver that takes 1.9 s, staged.
async fn many(seed: u64) -> Result<Stage, Box<dyn std::error::Error>> {
    let names: Vec<_> = (0..64).map(|n| format!("s{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(seed, 1, Bytes::gib(1), &names).await?;
    stage.world.bind("pool:main", "slow", native).await?;
    let takes = Duration::from_millis(1900);
    stage.world.resolvers.slow(b"slow", takes);
    for name in &names {
        stage.submit(stage.world.sample(name, "1")).await;
    }
    stage_all(&mut stage).await?;
    Ok(stage)
}

#[tokio::test(start_paused = true)]
async fn those_who_lost_a_race_are_decided_anew_together() -> Test {
    let stage = many(303).await?;
    let begun = Instant::now();
    let other = stage.world.control();
    let run = stage.machine.runs.values().last().unwrap();
    let payload = json!({"op": "place", "run": run.run, "group": run.group, "placement": 0});
    // Another process is faster with one of them, while the others are being decided.
    let faster = async {
        let resolvers = &stage.world.resolvers;
        tokio::time::sleep(Duration::from_millis(2000)).await;
        resolvers.slow(b"slow", Duration::from_millis(100));
        let answer = other.run_phase(Phase::Allocate, payload).await;
        resolvers.slow(b"slow", Duration::from_millis(1900));
        answer
    };
    let (answers, faster) = tokio::join!(place_all(&stage), faster);
    assert_eq!(faster?["outcome"], "proceed");
    for answer in answers {
        assert_eq!(answer?["outcome"], "proceed");
    }
    let asked = stage.world.resolvers.asked(b"slow").len();
    // The first one's, all others', the other process's; and those who lost, in halves.
    assert_eq!(asked, 5);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    Ok(())
}

/// A table where somebody else is faster with any promise of room.
struct Busy(Arc<MemoryTable>);

#[async_trait]
impl Table for Busy {
    async fn get(&self, key: &Key) -> Result<Option<Item>, TableError> {
        self.0.get(key).await
    }

    async fn query(&self, query: &Query) -> Result<Page, TableError> {
        self.0.query(query).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), TableError> {
        let is_account = |w: &Write| matches!(w, Write::Put(item, _) if item.key.sk == "ACCT");
        if let Some(write) = writes.iter().position(is_account) {
            return Err(TableError::Conflict { write, old: None });
        }
        self.0.transact(writes).await
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_loses_each_race_is_told_before_the_task_is_over() -> Test {
    let mut stage = many(304).await?;
    let mut ports = stage.world.ports();
    ports.table = Arc::new(Busy(Arc::clone(&stage.world.table)));
    let quiet = std::mem::replace(&mut stage.control, Control::new(ports));
    let begun = Instant::now();
    for answer in place_all(&stage).await {
        assert_eq!(answer.unwrap_err().code, Code::Conflict);
    }
    // The one that came first has a round of its own, with tries for ten seconds.
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
    // Once it is quiet, all of them go ahead.
    stage.control = quiet;
    for answer in place_all(&stage).await {
        assert_eq!(answer?["outcome"], "proceed");
    }
    Ok(())
}

/// 64 that ask at once of a resolver each, which takes so long.
async fn each_its_own(seed: u64, takes: Duration) -> Result<Stage, Box<dyn std::error::Error>> {
    let names: Vec<_> = (0..64).map(|n| format!("s{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(seed, 1, Bytes::gib(1), &names).await?;
    let limits = Limits::CAP;
    for name in &names {
        let component = name.as_bytes().to_vec();
        stage.world.resolvers.script(&component, native);
        stage.world.resolvers.slow(&component, takes);
        let control = &stage.control;
        control
            .publish_resolver(&OPERATOR, name, "1.0.0", component, limits)
            .await?;
        let scope = format!("service:{name}").parse()?;
        control.bind_resolver(&OPERATOR, scope, name, None).await?;
        stage.submit(stage.world.sample(name, "1")).await;
    }
    stage_all(&mut stage).await?;
    Ok(stage)
}

#[tokio::test(start_paused = true)]
async fn sets_that_a_round_had_no_time_for_are_decided_in_the_next() -> Test {
    let stage = each_its_own(305, Duration::from_millis(1900)).await?;
    for answer in place_all(&stage).await {
        assert_eq!(answer?["outcome"], "proceed");
    }
    for n in 0..64 {
        // By nobody twice, and by no fallback.
        let asked = stage.world.resolvers.asked(format!("s{n:02}").as_bytes());
        assert_eq!(asked.len(), 1, "{n}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_number_of_resolvers_that_hang_keeps_others_waiting_for_a_minute() -> Test {
    let stage = each_its_own(309, Duration::from_secs(3600)).await?;
    let begun = Instant::now();
    let mut busy = 0;
    for answer in place_all(&stage).await {
        match answer {
            Ok(answer) => assert_eq!(answer["outcome"], "proceed", "by the fallback"),
            Err(refusal) => {
                assert_eq!(refusal.code, Code::Conflict);
                busy += 1;
            }
        }
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!((1..60).contains(&busy), "{busy}");
    Ok(())
}

/// Room that is promised to a group of the set is room for that group.
#[tokio::test]
async fn what_a_group_was_promised_is_not_counted_against_it() -> Test {
    for bound in [false, true] {
        let mut stage = Stage::new(306, 1, Bytes::mib(200), &["a", "x", "y"]).await?;
        if bound {
            let proceed = Action::Proceed { order: 1 };
            stage
                .world
                .bind("pool:main", "all", move |set| Ok(all(set, &proceed)))
                .await?;
        }
        let mut groups = Vec::new();
        for (n, other) in [(1, "x"), (2, "y")] {
            // Two services: neither supersedes the other.
            let version = n.to_string();
            let world = &stage.world;
            let big = world.member("a", &version, &vec![n; 70 << 20]);
            let small = world.member(other, "1", other.as_bytes());
            let json = world.submission(&version, &[big, small]);
            groups.push(stage.submit(json).await.group);
            stage.settle().await?;
        }
        let record = latest(&stage).await;
        assert_eq!(record.contenders, 4);
        assert_eq!(
            (record.call.outcome, record.fallback),
            (CallOutcome::Decided, None)
        );
        for group in groups {
            assert_eq!(stage.machine.at(group), At::Execute, "{bound}");
        }
        let volumes = stage.control.volumes(&OPERATOR, &"lib".parse()?).await?;
        assert!(volumes[0].reserved > Bytes::mib(140));
        assert!(volumes[0].reserved <= volumes[0].capacity);
        let (_, input) = stage.control.decision(&OPERATOR, record.id).await?;
        let input: Value = serde_json::from_str(&input)?;
        let free: u64 = serde_json::from_value(input["volumes"][0]["free"].clone())?;
        assert!((140 << 20..200 << 20).contains(&free), "{free}");
    }
    Ok(())
}

/// The oldest waits for a day; all others are to be merged into it.
async fn duplicates(
    stage: &mut Stage,
    count: u32,
    at_once: bool,
) -> Result<Vec<GroupId>, Box<dyn std::error::Error>> {
    stage
        .world
        .bind("pool:main", "merges", |set| {
            let oldest = set.contenders.iter().min_by_key(|c| policy::age(c));
            let oldest = oldest.unwrap();
            if set.now > oldest.submitted_at + jiff::SignedDuration::from_hours(24) {
                return native(set);
            }
            let mut decision = all(set, &Action::Merge { into: oldest.id });
            let until = set.now + jiff::SignedDuration::from_hours(24);
            for verdict in &mut decision.verdicts {
                if verdict.id == oldest.id {
                    verdict.action = Action::Defer { until };
                }
            }
            Ok(decision)
        })
        .await?;
    let mut groups = Vec::new();
    for n in 0..count {
        let member = stage.world.member("a", "1", b"the same");
        let json = stage.world.submission(&format!("d{n}"), &[member]);
        groups.push(stage.submit(json).await.group);
        if !at_once {
            stage.settle().await?;
        }
    }
    Ok(groups)
}

#[tokio::test]
async fn a_duplicate_that_finds_no_place_behind_its_leader_waits_all_the_same() -> Test {
    for at_once in [false, true] {
        let mut stage = Stage::new(307, 1, Bytes::gib(1), &["a"]).await?;
        let groups = duplicates(&mut stage, 25, at_once).await?;
        stage.settle().await?;
        let at = |at: At| {
            groups
                .iter()
                .filter(|g| stage.machine.at(**g) == at)
                .count()
        };
        let mut behind = 0;
        for group in &groups {
            let (group, _) = stage.control.group(&OPERATOR, *group).await?;
            let reason = group.deferred.map(|deferred| deferred.reason);
            behind += usize::from(reason.is_some_and(|r| r.starts_with("waits for a place")));
        }
        // Those who were told to wait while there was room wait for another duplicate.
        let expected = if at_once { (24, 1, 0) } else { (20, 5, 4) };
        assert_eq!((at(At::Follow), at(At::Allocate), behind), expected);
        for _ in 0..30 {
            stage.world.clock.advance(Duration::from_secs(3600));
            stage.finish().await?;
        }
        let at = |at: At| {
            groups
                .iter()
                .filter(|g| stage.machine.at(**g) == at)
                .count()
        };
        assert_eq!((at(At::Committed), at(At::Merged)), (1, 24));
    }
    Ok(())
}

#[tokio::test]
async fn nobody_is_put_off_until_the_execution_is_over() -> Test {
    let mut stage = Stage::new(308, 1, Bytes::gib(1), &["a"]).await?;
    let never = |set: &model::ConflictSet| Ok(defer_for(set, 24 * 3600));
    stage.world.bind("pool:main", "never", never).await?;
    let outcome = stage.submit(stage.world.sample("a", "1")).await;
    let id: CheckpointId = outcome.checkpoints[0];
    let mut days = 0;
    stage.settle().await?;
    while stage.machine.at(outcome.group) == At::Allocate && days < 90 {
        assert!(!stage.world.objects.pinned().is_empty());
        stage.world.clock.advance(Duration::from_secs(24 * 3600));
        stage.settle().await?;
        days += 1;
    }
    assert_eq!(days, 85);
    assert_eq!(stage.machine.at(outcome.group), At::Rejected);
    let State::Rejected { refusal } = stage.state(id).await else {
        panic!("not refused");
    };
    assert_eq!(refusal.code, Code::ResolverFailed);
    assert!(refusal.message.contains("85 days"), "{refusal}");
    assert!(stage.world.objects.pinned().is_empty());
    Ok(())
}
