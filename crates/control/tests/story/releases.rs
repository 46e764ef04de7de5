//! Releases of resolvers, what is bound to them, and what is tried out beside them.

use std::time::Duration;

use control::ledger::{HashChain, verify_chain};
use control::ports::Ledger as _;
use model::{Action, Bytes, CallOutcome, Code, ConflictSet, Decision, Limits, Scope, State};
use serde_json::Value;

use crate::machine::At;
use crate::{OPERATOR, Stage, Test, all_leaves};

type Decided = Result<Decision, CallOutcome>;

#[allow(clippy::unnecessary_wraps, reason = "what a script is")]
fn native(set: &ConflictSet) -> Decided {
    Ok(policy::priority_deadline(set))
}

/// As the native policy, but another order.
#[allow(clippy::unnecessary_wraps, reason = "what a script is")]
fn reordered(set: &ConflictSet) -> Decided {
    let mut decision = policy::priority_deadline(set);
    for verdict in &mut decision.verdicts {
        if let Action::Proceed { order } = &mut verdict.action {
            *order = 7;
        }
    }
    Ok(decision)
}

fn pool() -> Scope {
    "pool:main".parse().unwrap()
}

#[tokio::test]
async fn a_release_is_for_good_and_says_what_is_wrong_with_it() -> Test {
    let stage = Stage::new(300, 1, Bytes::gib(1), &["a"]).await?;
    let control = &stage.control;
    stage.world.resolvers.script(b"one", native);
    stage.world.resolvers.script(b"two", native);
    let publish = |name: &'static str, version: &'static str, bytes: &[u8], limits: Limits| {
        let bytes = bytes.to_vec();
        async move {
            control
                .publish_resolver(&OPERATOR, name, version, bytes, limits)
                .await
        }
    };
    let default = Limits::DEFAULT;
    let first = publish("fair", "1.0.0", b"one", default).await?;
    stage.world.clock.advance(Duration::from_secs(1));
    let again = publish("fair", "1.0.0", b"one", default).await?;
    assert_eq!(first, again);
    let large = Limits {
        memory: Bytes::gib(1),
        ..default
    };
    let none = Limits { fuel: 0, ..default };
    for (answer, code, field) in [
        (
            publish("fair", "1.0.0", b"two", default).await,
            Code::VersionExists,
            "version",
        ),
        (
            publish("Fair", "1.0.0", b"one", default).await,
            Code::InvalidRequest,
            "name",
        ),
        (
            publish("", "1.0.0", b"one", default).await,
            Code::InvalidRequest,
            "name",
        ),
        (
            publish("fair", "1.0", b"one", default).await,
            Code::InvalidRequest,
            "version",
        ),
        (
            publish("fair", "1.1.0", b"one", large).await,
            Code::InvalidRequest,
            "limits.memory",
        ),
        (
            publish("fair", "1.1.0", b"one", none).await,
            Code::InvalidRequest,
            "limits.fuel",
        ),
    ] {
        let refusal = answer.unwrap_err();
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (code, Some(field))
        );
    }
    let refusal = publish("fair", "1.1.0", b"unknown", default)
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::ResolverInvalid);
    let second = publish("fair", "1.0.1-rc.1", b"two", default).await?;
    publish("other", "0.1.0", b"two", default).await?;
    let names = |releases: Vec<model::Release>| -> Vec<String> {
        releases.iter().map(|r| r.id.to_string()).collect()
    };
    let (page, next) = control.releases(&OPERATOR, 2, None).await?;
    assert_eq!(names(page), ["fair@1.0.0", "fair@1.0.1-rc.1"]);
    let (page, next) = control.releases(&OPERATOR, 2, next).await?;
    assert_eq!((names(page), next), (vec!["other@0.1.0".to_owned()], None));
    assert_eq!(control.release(&OPERATOR, "fair", None).await?, second);
    assert_eq!(
        control.release(&OPERATOR, "fair", Some("1.0.0")).await?,
        first
    );

    // Withdrawn: no more to be bound, and no more the newest.
    control
        .bind_resolver(&OPERATOR, pool(), "fair", None)
        .await?;
    let refusal = control
        .withdraw_release(&OPERATOR, "fair", "1.0.1-rc.1")
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::InvalidRequest);
    assert!(refusal.message.contains("pool:main"), "{refusal}");
    control
        .bind_resolver(&OPERATOR, pool(), "fair", Some("1.0.0"))
        .await?;
    let withdrawn = control
        .withdraw_release(&OPERATOR, "fair", "1.0.1-rc.1")
        .await?;
    assert!(withdrawn.withdrawn_at.is_some());
    assert_eq!(control.release(&OPERATOR, "fair", None).await?, first);
    let refusals = [
        control
            .bind_resolver(&OPERATOR, pool(), "fair", Some("1.0.1-rc.1"))
            .await
            .err(),
        control.rollback_resolver(&OPERATOR, pool()).await.err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.unwrap().code, Code::InvalidRequest);
    }
    for scope in ["service:nobody", "pool:none", "library:none"] {
        let refusal = control
            .bind_resolver(&OPERATOR, scope.parse()?, "fair", None)
            .await
            .unwrap_err();
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (Code::NotFound, Some("scope"))
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_shadow_is_recorded_and_changes_nothing() -> Test {
    let mut stage = Stage::new(310, 1, Bytes::gib(1), &["a", "b", "c"]).await?;
    stage.world.bind("pool:main", "live", native).await?;
    stage
        .world
        .publish("candidate", |set| {
            match set.contenders[0].service.as_str() {
                "a" => reordered(set),
                "b" => native(set),
                _ => Err(CallOutcome::OutOfFuel),
            }
        })
        .await?;
    let control = stage.control.clone();
    let shadow = |percent, until| {
        control.shadow_resolver(&OPERATOR, pool(), "candidate", None, percent, until)
    };
    for (refused, field) in [
        (shadow(0, None).await, "percent"),
        (shadow(101, None).await, "percent"),
        (shadow(50, Some(jiff::Timestamp::UNIX_EPOCH)).await, "until"),
        (
            control
                .shadow_resolver(&OPERATOR, pool(), "live", None, 100, None)
                .await,
            "name",
        ),
    ] {
        let refusal = refused.unwrap_err();
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (Code::InvalidRequest, Some(field))
        );
    }
    shadow(100, None).await?;
    for name in ["a", "b", "c"] {
        stage.submit(stage.world.sample(name, "1")).await;
        stage.settle().await?;
    }
    control.run_shadows().await;
    let (records, _) = control.decisions(&OPERATOR, 10, None).await?;
    let seen: Vec<_> = records
        .iter()
        .rev()
        .map(|record| {
            let shadow = record.shadow.as_ref().unwrap();
            assert_eq!(shadow.release.name, "candidate");
            assert_eq!(record.resolver.as_ref().unwrap().name, "live");
            (shadow.differs, shadow.call.outcome.name())
        })
        .collect();
    assert_eq!(
        seen,
        [
            (true, "decided"),
            (false, "decided"),
            (false, "out_of_fuel")
        ]
    );
    // The order of `a` is the live one's.
    let native_order = policy::order(&stage.world.resolvers.asked(b"live")[0].contenders[0]);
    let Action::Proceed { order } = records[2].decision.verdicts[0].action else {
        panic!("{:?}", records[2].decision);
    };
    assert_eq!(order, native_order);
    let binding = control.bindings(&OPERATOR).await?.remove(0);
    assert_eq!(
        binding.recent,
        [true, true, true],
        "a shadow's failures count for nothing"
    );
    let shadow = binding.shadow.unwrap();
    assert_eq!((shadow.decided, shadow.differing, shadow.failed), (2, 1, 1));
    stage.finish().await?;
    assert_eq!(control.checkpoints_committed().await?, 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_shadow() -> Test {
    let mut stage = Stage::new(311, 1, Bytes::gib(1), &["a", "b"]).await?;
    stage.world.bind("pool:main", "live", native).await?;
    stage.world.publish("slow", native).await?;
    stage.world.resolvers.slow(b"slow", Duration::from_secs(2));
    let control = stage.control.clone();
    control
        .shadow_resolver(&OPERATOR, pool(), "slow", None, 100, None)
        .await?;
    let begun = tokio::time::Instant::now();
    for name in ["a", "b"] {
        stage.submit(stage.world.sample(name, "1")).await;
        stage.finish().await?;
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(control.checkpoints_committed().await?, 2);
    control.run_shadows().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(4), "one at a time");
    let shadow = control.bindings(&OPERATOR).await?.remove(0).shadow.unwrap();
    assert_eq!((shadow.decided, shadow.differing, shadow.failed), (2, 0, 0));
    Ok(())
}

#[tokio::test]
async fn a_shadow_sees_its_share_and_ends_in_time() -> Test {
    let names: Vec<_> = (0..60).map(|n| format!("s{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(312, 1, Bytes::gib(1), &names).await?;
    stage.world.bind("pool:main", "live", native).await?;
    stage.world.publish("candidate", reordered).await?;
    let control = stage.control.clone();
    let until = Some(stage.world.ports().clock.now() + jiff::SignedDuration::from_hours(1));
    control
        .shadow_resolver(&OPERATOR, pool(), "candidate", None, 30, until)
        .await?;
    for (n, name) in names.iter().enumerate() {
        if n == 50 {
            stage.world.clock.advance(Duration::from_secs(3600));
        }
        stage.submit(stage.world.sample(name, "1")).await;
        stage.settle().await?;
        control.run_shadows().await;
    }
    let (records, _) = control.decisions(&OPERATOR, 100, None).await?;
    let seen: Vec<_> = records.iter().rev().map(|r| r.shadow.is_some()).collect();
    let early = seen[..50].iter().filter(|seen| **seen).count();
    assert!((5..30).contains(&early), "{early} of 50 at 30 percent");
    assert!(seen[50..].iter().all(|seen| !seen));
    let shadow = control.bindings(&OPERATOR).await?.remove(0).shadow.unwrap();
    assert_eq!(shadow.decided, early as u64);
    Ok(())
}

#[tokio::test]
async fn promoted_and_rolled_back() -> Test {
    let mut stage = Stage::new(320, 1, Bytes::gib(1), &["a", "b", "c"]).await?;
    stage
        .world
        .bind("pool:main", "old", |_| Err(CallOutcome::OutOfFuel))
        .await?;
    stage.world.publish("new", reordered).await?;
    let control = stage.control.clone();
    for refused in [
        control.promote_resolver(&OPERATOR, pool()).await,
        control.rollback_resolver(&OPERATOR, pool()).await,
        control.unshadow_resolver(&OPERATOR, pool()).await,
    ] {
        assert_eq!(refused.unwrap_err().code, Code::InvalidRequest);
    }
    stage.submit(stage.world.sample("a", "1")).await;
    stage.settle().await?;
    control
        .shadow_resolver(&OPERATOR, pool(), "new", None, 100, None)
        .await?;
    let binding = control.promote_resolver(&OPERATOR, pool()).await?;
    assert_eq!(binding.live.name, "new");
    assert_eq!(binding.previous.map(|r| r.name).as_deref(), Some("old"));
    assert_eq!((binding.shadow, binding.recent.len()), (None, 0));
    stage.submit(stage.world.sample("b", "1")).await;
    stage.settle().await?;
    let (records, _) = control.decisions(&OPERATOR, 1, None).await?;
    assert_eq!(records[0].resolver.as_ref().unwrap().name, "new");
    assert_eq!(records[0].call.outcome, CallOutcome::Decided);
    let binding = control.rollback_resolver(&OPERATOR, pool()).await?;
    assert_eq!(binding.live.name, "old");
    assert_eq!(binding.previous.map(|r| r.name).as_deref(), Some("new"));
    let binding = control.rollback_resolver(&OPERATOR, pool()).await?;
    assert_eq!(binding.live.name, "new");
    control.unbind_resolver(&OPERATOR, &pool()).await?;
    assert!(control.bindings(&OPERATOR).await?.is_empty());
    let gone = control
        .unbind_resolver(&OPERATOR, &pool())
        .await
        .unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
    stage.finish().await?;
    assert_eq!(control.checkpoints_committed().await?, 2);
    Ok(())
}

/// What stands in a record is enough to make the decision again, and the ledger says that
/// nobody changed it since.
#[tokio::test]
async fn a_decision_can_be_made_again_and_stands_in_the_ledger() -> Test {
    let names: Vec<_> = (0..6).map(|n| format!("s{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(330, 1, Bytes::gib(1), &names).await?;
    stage.world.bind("service:s1", "mine", reordered).await?;
    stage
        .world
        .bind("service:s2", "broken", |_| Err(CallOutcome::OutOfFuel))
        .await?;
    for version in ["1", "2"] {
        for name in &names {
            stage.submit(stage.world.sample(name, version)).await;
            stage.settle().await?;
        }
    }
    stage.finish().await?;
    let control = &stage.control;
    let leaves = all_leaves(control).await?;
    let head = control.ledger_head().await?;
    let texts = leaves.iter().map(String::as_str);
    verify_chain(&HashChain, &HashChain.empty(), texts, &head)?;
    let leaves: Vec<Value> = leaves
        .iter()
        .map(|leaf| serde_json::from_str(leaf))
        .collect::<Result<_, _>>()?;
    let mut after = None;
    let mut records = Vec::new();
    loop {
        let (page, next) = control.decisions(&OPERATOR, 5, after).await?;
        records.extend(page);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(records.len(), 12);
    assert!(records.is_sorted_by(|a, b| a.id > b.id), "newest first");
    for record in records {
        let (again, input) = control.decision(&OPERATOR, record.id).await?;
        assert_eq!(again, record);
        assert_eq!(policy::digest(&input), record.input);
        let set: ConflictSet = serde_json::from_str(&input)?;
        assert_eq!(policy::canonical_set(&set), input);
        assert_eq!(set.contenders.len(), record.contenders as usize);
        assert_eq!(set.drives.len(), 2);
        assert!(!set.volumes.is_empty());
        let replayed = match record.resolver.as_ref().map(|r| r.name.as_str()) {
            Some("mine") => reordered(&set).ok(),
            Some(_) => None,
            None => native(&set).ok(),
        };
        let digest = |d: &Decision| policy::digest(policy::canonical_decision(d));
        assert_eq!(record.call.output, replayed.as_ref().map(digest));
        assert_eq!(record.call.decision, replayed);
        let applied = replayed.unwrap_or_else(|| policy::priority_deadline(&set));
        assert!(policy::same_actions(&record.decision, &applied));
        let leaf = leaves
            .iter()
            .find(|leaf| leaf["id"] == record.id.to_string())
            .unwrap();
        assert_eq!(leaf["event"], "decided");
        assert_eq!(leaf["input"], record.input.to_string());
        assert_eq!(leaf["decision"], digest(&record.decision).to_string());
        assert_eq!(leaf["outcome"], record.call.outcome.name());
        assert_eq!(leaf["fallback"].is_null(), record.fallback.is_none());
    }
    Ok(())
}

/// A crash, or an answer that is lost, before or after what was decided is recorded or
/// applied.
#[tokio::test]
async fn a_transaction_lost_around_a_decision_loses_nothing() -> Test {
    // The first transaction records, the second applies.
    for n in 0..2 {
        for happens in [false, true] {
            let mut stage = Stage::new(340, 1, Bytes::gib(1), &["a"]).await?;
            stage.world.bind("pool:main", "live", reordered).await?;
            let first = stage.submit(stage.world.sample("a", "1")).await;
            stage.settle().await?;
            let second = stage.submit(stage.world.sample("a", "2")).await;
            stage.machine.deliver(&stage.control, true).await?;
            let name = second.group.to_string();
            stage.machine.step(&stage.control, &name, false).await;
            assert_eq!(stage.machine.at(second.group), At::Allocate);
            stage.world.table.fail_transaction(n, happens);
            stage.machine.step(&stage.control, &name, false).await;
            stage.control = stage.world.control();
            stage.finish().await?;
            let context = format!("{n} {happens}");
            assert_eq!(
                stage.state(second.checkpoints[0]).await,
                State::Committed,
                "{context}"
            );
            assert!(
                matches!(
                    stage.state(first.checkpoints[0]).await,
                    State::Superseded { .. }
                ),
                "{context}"
            );
            let leaves = all_leaves(&stage.control).await?;
            let (records, _) = stage.control.decisions(&OPERATOR, 100, None).await?;
            assert_eq!(leaves.len(), records.len() + 1, "{context}: a leaf each");
            for volume in stage.control.volumes(&OPERATOR, &"lib".parse()?).await? {
                assert_eq!(volume.reserved, Bytes::ZERO, "{context}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn decisions_are_forgotten_after_a_quarter_and_their_leaves_never() -> Test {
    let mut stage = Stage::new(350, 1, Bytes::gib(1), &["a", "b"]).await?;
    stage.submit(stage.world.sample("a", "1")).await;
    stage.finish().await?;
    let day = Duration::from_secs(24 * 3600);
    stage.world.clock.advance(day * 60);
    stage.control.sweep().await?;
    stage.submit(stage.world.sample("b", "1")).await;
    stage.finish().await?;
    let (records, _) = stage.control.decisions(&OPERATOR, 10, None).await?;
    assert_eq!(records.len(), 2);
    stage.world.clock.advance(day * 33);
    stage.control.sweep().await?;
    let (left, _) = stage.control.decisions(&OPERATOR, 10, None).await?;
    assert_eq!(left, records[..1]);
    let gone = stage.control.decision(&OPERATOR, records[1].id).await;
    assert_eq!(gone.unwrap_err().code, Code::NotFound);
    let kept = stage.world.table.dump();
    let kept = kept.iter().filter(|item| item.key.pk.starts_with("DEC#"));
    assert_eq!(kept.count(), 2);
    assert_eq!(all_leaves(&stage.control).await?.len(), 4);
    Ok(())
}
