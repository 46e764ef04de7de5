//! Conflicts that a bound resolver decides: who decides, what becomes of it, and what is
//! kept of it.

use std::time::Duration;

use control::Principal;
use futures::future::join_all;
use model::{
    Action, Bytes, CallOutcome, Code, ConflictSet, Decision, DecisionRecord, Fallback, Limits,
    MAX_CONTENDERS, MAX_HISTORY, MAX_INPUT_BYTES, Refusal, State, Verdict,
};
use serde_json::{Value, json};

use crate::machine::At;
use crate::{OPERATOR, Stage, Test};

pub(crate) type Decided = Result<Decision, CallOutcome>;

#[allow(clippy::unnecessary_wraps, reason = "what a script is")]
pub(crate) fn native(set: &ConflictSet) -> Decided {
    Ok(policy::priority_deadline(set))
}

/// All that is not settled gets the same action, the rest proceeds.
pub(crate) fn all(set: &ConflictSet, action: &Action) -> Decision {
    let verdicts = set.contenders.iter().map(|c| Verdict {
        id: c.id,
        action: if policy::is_settled(set, c.group) {
            Action::Proceed { order: 1 }
        } else {
            action.clone()
        },
        reason: "all alike".to_owned(),
    });
    Decision {
        verdicts: verdicts.collect(),
        reason: String::new(),
    }
}

pub(crate) fn defer_for(set: &ConflictSet, seconds: i64) -> Decision {
    let until = set.now + jiff::SignedDuration::from_secs(seconds);
    all(set, &Action::Defer { until })
}

pub(crate) async fn latest(stage: &Stage) -> DecisionRecord {
    let (mut found, _) = stage.control.decisions(&OPERATOR, 1, None).await.unwrap();
    found.remove(0)
}

/// Each run that can asks to be placed, all at the same time.
pub(crate) async fn place_all(stage: &Stage) -> Vec<Result<Value, Refusal>> {
    let asks = stage.machine.runs.values().map(|run| {
        let payload = json!({"op": "place", "run": run.run, "group": run.group, "placement": 0});
        stage.control.run_phase(control::Phase::Allocate, payload)
    });
    join_all(asks).await
}

/// Up to where the runs ask to be placed.
pub(crate) async fn stage_all(stage: &mut Stage) -> Test {
    stage.machine.deliver(&stage.control, true).await?;
    for name in stage.machine.ready() {
        stage.machine.step(&stage.control, &name, false).await;
    }
    Ok(())
}

#[tokio::test]
async fn the_narrowest_binding_decides_and_none_means_the_native_policy() -> Test {
    let mut stage = Stage::new(200, 2, Bytes::gib(1), &["a", "b", "c"]).await?;
    for (scope, name) in [
        ("service:a", "of-service"),
        ("pool:main", "of-pool"),
        ("library:lib", "of-library"),
    ] {
        stage.world.bind(scope, name, native).await?;
    }
    let who = |record: &DecisionRecord| {
        let scope = record.scope.as_ref().map(ToString::to_string);
        let resolver = record.resolver.as_ref().map(|r| r.name.clone());
        (scope.unwrap_or_default(), resolver.unwrap_or_default())
    };
    let mut found = Vec::new();
    for (name, members) in [("1", &["a"][..]), ("2", &["b"]), ("3", &["a", "b"])] {
        let members: Vec<_> = members
            .iter()
            .map(|s| stage.world.member(s, name, format!("{s}{name}").as_bytes()))
            .collect();
        stage.submit(stage.world.submission(name, &members)).await;
        stage.finish().await?;
        found.push(who(&latest(&stage).await));
    }
    for scope in ["pool:main", "library:lib"] {
        let control = &stage.control;
        control.unbind_resolver(&OPERATOR, &scope.parse()?).await?;
        stage.submit(stage.world.sample("c", scope)).await;
        stage.finish().await?;
        let record = latest(&stage).await;
        found.push(who(&record));
        if record.scope.is_none() {
            assert_eq!(record.call.engine.version, "native");
            assert_eq!(record.call.outcome, CallOutcome::Decided);
        }
    }
    let expected = [
        ("service:a", "of-service"),
        ("pool:main", "of-pool"),
        // Of several services: no service's alone.
        ("pool:main", "of-pool"),
        ("library:lib", "of-library"),
        ("", ""),
    ];
    assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    Ok(())
}

#[tokio::test]
async fn a_round_is_one_set_and_its_order_is_the_order_of_the_work() -> Test {
    let names: Vec<_> = (0..8).map(|n| format!("s{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(201, 1, Bytes::gib(1), &names).await?;
    // Later names first: the reverse of how they were submitted.
    stage
        .world
        .bind("pool:main", "reverse", |set| {
            let mut decision = policy::priority_deadline(set);
            for (verdict, c) in decision.verdicts.iter_mut().zip(&set.contenders) {
                let name: u64 = c.service.as_str()[1..].parse().unwrap();
                let order = if name == 7 { (1 << 53) - 1 } else { 100 - name };
                verdict.action = Action::Proceed { order };
            }
            Ok(decision)
        })
        .await?;
    for name in &names {
        stage.submit(stage.world.sample(name, "1")).await;
    }
    stage_all(&mut stage).await?;
    for answer in place_all(&stage).await {
        assert_eq!(answer?["outcome"], "proceed");
    }
    let sets = stage.world.resolvers.asked(b"reverse");
    let sizes: Vec<_> = sets.iter().map(|set| set.contenders.len()).collect();
    assert_eq!(sizes, [1, 7], "whoever came first, and all others together");
    stage.settle().await?;
    let agent = &mut stage.agents[0];
    agent.open(&stage.control).await?;
    agent.ready(&stage.control, &mut stage.tapes).await?;
    agent.claim(&stage.control, 20).await?;
    let mut written = Vec::new();
    for item in &agent.claimed {
        let group: model::GroupId = item.key.as_str()[..36].parse()?;
        let (_, checkpoints) = stage.control.group(&OPERATOR, group).await?;
        written.push(checkpoints[0].service.to_string());
    }
    assert_eq!(written, ["s6", "s5", "s4", "s3", "s2", "s1", "s0", "s7"]);
    stage.finish().await?;
    assert_eq!(stage.control.checkpoints_committed().await?, 8);
    Ok(())
}

/// Names and scripts of resolvers that do not decide, and how that is recorded.
type Failure = (&'static str, fn(&ConflictSet) -> Decided);

fn failures() -> Vec<Failure> {
    vec![
        ("error", |_| {
            Err(CallOutcome::Error {
                code: "acme.shrug".to_owned(),
                message: "?".repeat(5000),
            })
        }),
        ("trap", |_| {
            Err(CallOutcome::Trap {
                kind: "unreachable".to_owned(),
                message: "at 0x17".to_owned(),
            })
        }),
        ("out_of_fuel", |_| Err(CallOutcome::OutOfFuel)),
        ("timed_out", |_| Err(CallOutcome::TimedOut)),
        // Lies: the port says that these are decisions.
        ("invalid", |set| {
            let mut decision = policy::priority_deadline(set);
            decision.verdicts.clear();
            Ok(decision)
        }),
        ("invalid", |set| Ok(defer_for(set, -5))),
        ("invalid", |set| Ok(defer_for(set, 25 * 3600))),
        ("invalid", |set| {
            let mut decision = policy::priority_deadline(set);
            decision.verdicts[0].reason = "r".repeat(1025);
            Ok(decision)
        }),
        ("invalid", |set| {
            Ok(all(set, &Action::Proceed { order: 1 << 53 }))
        }),
    ]
}

#[tokio::test]
async fn a_resolver_that_does_not_decide_never_fails_a_run() -> Test {
    for (n, (expected, script)) in failures().into_iter().enumerate() {
        for fallback in [Fallback::BuiltIn, Fallback::Defer, Fallback::Reject] {
            let mut stage = Stage::new(210, 1, Bytes::gib(1), &["a"]).await?;
            let mut pool = stage.control.pool(&OPERATOR, &"main".parse()?).await?;
            pool.fallback = fallback;
            stage.control.put_pool(&OPERATOR, pool).await?;
            stage.world.bind("pool:main", "broken", script).await?;
            let outcome = stage.submit(stage.world.sample("a", "1")).await;
            stage.settle().await?;
            let record = latest(&stage).await;
            let context = format!("{n} {expected} {fallback:?}: {record:?}");
            assert_eq!(record.call.outcome.name(), expected, "{context}");
            assert_eq!(record.fallback, Some(fallback), "{context}");
            let at = stage.machine.at(outcome.group);
            let (group, _) = stage.control.group(&OPERATOR, outcome.group).await?;
            match fallback {
                Fallback::BuiltIn => assert_eq!(at, At::Execute, "{context}"),
                Fallback::Defer => {
                    assert_eq!(at, At::Allocate, "{context}");
                    let deferred = group.deferred.unwrap();
                    assert_eq!(
                        deferred.until,
                        record.at + jiff::SignedDuration::from_mins(1)
                    );
                }
                Fallback::Reject => {
                    assert_eq!(at, At::Rejected, "{context}");
                    let code = stage.code(outcome.checkpoints[0]).await;
                    assert_eq!(code, Some(Code::ResolverFailed));
                }
            }
            assert_eq!(group.decision, Some(record.id));
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_or_is_lost_is_decided_without() -> Test {
    let mut stage = Stage::new(211, 1, Bytes::gib(1), &["a", "b"]).await?;
    stage.world.bind("pool:main", "slow", native).await?;
    let hour = Duration::from_secs(3600);
    stage.world.resolvers.slow(b"slow", hour);
    let begun = tokio::time::Instant::now();
    let first = stage.submit(stage.world.sample("a", "1")).await;
    stage.settle().await?;
    assert!(begun.elapsed() < Duration::from_secs(6));
    assert_eq!(stage.machine.at(first.group), At::Execute);
    let record = latest(&stage).await;
    assert_eq!(record.call.outcome, CallOutcome::TimedOut);
    stage.world.resolvers.lose(b"slow");
    let second = stage.submit(stage.world.sample("b", "1")).await;
    stage.settle().await?;
    assert_eq!(stage.machine.at(second.group), At::Execute);
    let record = latest(&stage).await;
    assert_eq!(record.call.outcome.name(), "unavailable");
    let bindings = stage.control.bindings(&OPERATOR).await?;
    assert_eq!(bindings[0].recent, [false], "the lost one was not called");
    Ok(())
}

#[tokio::test]
async fn five_failures_of_twenty_are_quarantine_until_somebody_binds_again() -> Test {
    let names: Vec<_> = (0..12).map(|n| format!("s{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(220, 1, Bytes::gib(1), &names).await?;
    // Every second call fails.
    stage
        .world
        .bind("pool:main", "shaky", |set| {
            let name: u32 = set.contenders[0].service.as_str()[1..].parse().unwrap();
            if name % 2 == 1 {
                return Err(CallOutcome::OutOfFuel);
            }
            native(set)
        })
        .await?;
    for name in &names {
        stage.submit(stage.world.sample(name, "1")).await;
        stage.settle().await?;
    }
    let asked = stage.world.resolvers.asked(b"shaky").len();
    assert_eq!(asked, 10, "the fifth failure is the tenth call");
    let binding = stage.control.bindings(&OPERATOR).await?.remove(0);
    assert!(binding.quarantined.is_some());
    assert_eq!(
        binding.recent.iter().filter(|decided| !**decided).count(),
        5
    );
    let record = latest(&stage).await;
    assert_eq!(record.call.outcome.name(), "unavailable");
    assert_eq!(record.fallback, Some(Fallback::BuiltIn));
    let scope = "pool:main".parse()?;
    let binding = stage
        .control
        .bind_resolver(&OPERATOR, scope, "shaky", None)
        .await?;
    assert_eq!((binding.recent.len(), binding.quarantined), (0, None));
    stage.submit(stage.world.sample("s00", "2")).await;
    stage.finish().await?;
    assert_eq!(stage.world.resolvers.asked(b"shaky").len(), 11);
    let committed = stage.control.checkpoints_committed().await?;
    assert_eq!(committed, 12, "the older s00 was superseded");
    Ok(())
}

#[tokio::test]
async fn a_deferral_is_kept_to_and_told_and_ends_in_no_failure() -> Test {
    let mut stage = Stage::new(230, 1, Bytes::gib(1), &["a"]).await?;
    stage
        .world
        .bind("service:a", "patient", |set| {
            let asked = set.contenders[0].submitted_at;
            if set.now < asked + jiff::SignedDuration::from_hours(20) {
                return Ok(defer_for(set, 24 * 3600));
            }
            native(set)
        })
        .await?;
    let outcome = stage.submit(stage.world.sample("a", "1")).await;
    stage.settle().await?;
    let (group, _) = stage.control.group(&OPERATOR, outcome.group).await?;
    let deferred = group.deferred.unwrap();
    assert_eq!(deferred.reason, "all alike");
    let record = latest(&stage).await;
    assert_eq!(
        deferred.until,
        record.at + jiff::SignedDuration::from_hours(24)
    );
    assert_eq!(group.lifecycle.state(), &State::Staged);
    // Whoever asks too early hears the same, and nobody decides.
    for _ in 0..23 {
        stage.world.clock.advance(Duration::from_secs(3600));
        let answer = place_all(&stage).await.remove(0)?;
        assert_eq!(answer["outcome"], "deferred");
        assert_eq!(answer["until"], deferred.until.to_string());
    }
    assert_eq!(stage.world.resolvers.asked(b"patient").len(), 1);
    stage.world.clock.advance(Duration::from_secs(3601));
    stage.finish().await?;
    assert_eq!(stage.state(outcome.checkpoints[0]).await, State::Committed);
    let (group, _) = stage.control.group(&OPERATOR, outcome.group).await?;
    assert_eq!(group.deferred, None);
    assert_eq!(stage.world.resolvers.asked(b"patient").len(), 2);
    Ok(())
}

/// An operator may call it off while it waits.
#[tokio::test]
async fn a_group_that_waits_can_be_called_off() -> Test {
    let mut stage = Stage::new(231, 1, Bytes::gib(1), &["a"]).await?;
    let forever = |set: &ConflictSet| Ok(defer_for(set, 3600));
    stage.world.bind("pool:main", "never", forever).await?;
    let outcome = stage.submit(stage.world.sample("a", "1")).await;
    stage.settle().await?;
    stage.control.cancel(&OPERATOR, outcome.group).await?;
    stage.settle().await?;
    assert_eq!(stage.machine.at(outcome.group), At::Rejected);
    assert!(stage.world.objects.pinned().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_resolver_that_defers_for_ever_is_asked_less_and_less() -> Test {
    let mut stage = Stage::new(232, 1, Bytes::gib(1), &["a"]).await?;
    let again = |set: &ConflictSet| Ok(defer_for(set, 1));
    stage.world.bind("pool:main", "never", again).await?;
    let outcome = stage.submit(stage.world.sample("a", "1")).await;
    let mut waits = Vec::new();
    for _ in 0..302 {
        stage.settle().await?;
        let (group, _) = stage.control.group(&OPERATOR, outcome.group).await?;
        let until = group.deferred.unwrap().until;
        let wait = until.duration_since(latest(&stage).await.at);
        waits.push(wait.as_secs());
        stage.world.clock.advance(wait.unsigned_abs());
    }
    assert_eq!((waits[0], waits[29]), (1, 1));
    assert_eq!((waits[30], waits[299]), (600, 600));
    assert_eq!(waits[300], 7200);
    Ok(())
}

#[tokio::test]
async fn a_refusal_ends_the_run_whatever_its_code() -> Test {
    for (code, expected) in [
        (Code::PolicyRefused, Code::PolicyRefused),
        (Code::LineageFork, Code::LineageFork),
        // The state machine would try these again, or take them for something else.
        (Code::NoCapacity, Code::PolicyRefused),
        (Code::Transient, Code::PolicyRefused),
        (Code::Superseded, Code::PolicyRefused),
    ] {
        let mut stage = Stage::new(233, 1, Bytes::gib(1), &["a"]).await?;
        let refusal = Refusal::new(code, "acme.quota: enough for today");
        stage
            .world
            .bind("pool:main", "strict", move |set| {
                let refusal = refusal.clone();
                Ok(all(set, &Action::Reject { refusal }))
            })
            .await?;
        let outcome = stage.submit(stage.world.sample("a", "1")).await;
        stage.settle().await?;
        assert_eq!(stage.machine.at(outcome.group), At::Rejected);
        assert_eq!(stage.code(outcome.checkpoints[0]).await, Some(expected));
        let (group, _) = stage.control.group(&OPERATOR, outcome.group).await?;
        assert!(group.refusals[0].message.contains("acme.quota"));
        assert!(stage.world.objects.pinned().is_empty());
    }
    Ok(())
}

/// A resolver may have the newest of several duplicates stand for all; following an
/// older one is what the control plane does by itself. Either way nobody waits for
/// somebody who waits for it.
#[tokio::test]
async fn duplicates_merged_into_the_newest_end_on_tape_once() -> Test {
    let mut stage = Stage::new(234, 1, Bytes::gib(1), &["a"]).await?;
    stage
        .world
        .bind("pool:main", "newest", |set| {
            let newest = set
                .contenders
                .iter()
                .max_by_key(|c| policy::age(c))
                .unwrap();
            let settled = set.contenders.iter().any(|c| c.settled);
            let verdicts = set.contenders.iter().map(|c| Verdict {
                id: c.id,
                action: if c.id == newest.id || c.settled || settled {
                    Action::Proceed { order: 5 }
                } else {
                    Action::Merge { into: newest.id }
                },
                reason: "the newest stands for all".to_owned(),
            });
            if settled {
                return native(set);
            }
            Ok(Decision {
                verdicts: verdicts.collect(),
                reason: String::new(),
            })
        })
        .await?;
    let mut outcomes = Vec::new();
    for version in ["1", "2", "3"] {
        let member = stage.world.member("a", version, b"the same");
        outcomes.push(
            stage
                .submit(stage.world.submission(version, &[member]))
                .await,
        );
    }
    stage_all(&mut stage).await?;
    place_all(&stage).await;
    for _ in 0..8 {
        stage.finish().await?;
        stage.world.clock.advance(Duration::from_secs(61));
    }
    let written: usize = stage.tapes.values().map(|tape| tape.written.len()).sum();
    let mut ends = Vec::new();
    for outcome in &outcomes {
        ends.push(stage.machine.at(outcome.group));
    }
    assert!(
        ends.iter()
            .all(|at| matches!(at, At::Committed | At::Merged)),
        "{ends:?}"
    );
    let committed = ends.iter().filter(|at| **at == At::Committed).count();
    assert_eq!(committed, written);
    assert!(written <= 2, "{ends:?}");
    Ok(())
}

#[tokio::test]
async fn the_history_is_of_the_pool_newest_first_bounded_and_each_once() -> Test {
    let names: Vec<_> = (0..70).map(|n| format!("s{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(240, 1, Bytes::gib(1), &names).await?;
    stage
        .world
        .bind("pool:main", "looks", |set| {
            // Each is put off once: it is in the history then, and once.
            let first = set
                .history
                .iter()
                .all(|past| past.id != set.contenders[0].id);
            if first {
                return Ok(defer_for(set, 1));
            }
            native(set)
        })
        .await?;
    for name in &names {
        let mut json = stage.world.sample(name, "1");
        json["labels"] = json!({"team": "t".repeat(300), "why": "w".repeat(300)});
        stage.submit(json).await;
        stage.settle().await?;
        stage.world.clock.advance(Duration::from_secs(2));
        stage.settle().await?;
    }
    let asked = stage.world.resolvers.asked(b"looks");
    assert_eq!(asked.len(), 140);
    let last = &asked[139].history;
    assert_eq!(last.len(), MAX_HISTORY);
    assert!(last.is_sorted_by(|a, b| a.decided_at >= b.decided_at));
    let mut ids: Vec<_> = last.iter().map(|past| past.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), MAX_HISTORY);
    assert_eq!(last[0].outcome, "defer");
    assert_eq!(last[1].outcome, "proceed");
    assert_eq!(last[0].service.as_str(), "s69");
    // What does not fit is left out, not cut.
    assert_eq!(last[0].labels.keys().collect::<Vec<_>>(), ["team"]);
    assert!(asked[137].history.len() == MAX_HISTORY && asked[2].history.len() == 1);
    Ok(())
}

/// 24 services a group, many groups that wait, labels of 32 KiB: more than a set holds.
#[tokio::test]
async fn a_set_stays_within_its_limits_and_no_group_is_shown_in_part() -> Test {
    let names: Vec<_> = (0..24).map(|n| format!("s{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(241, 1, Bytes::gib(1), &names).await?;
    let waits = |set: &ConflictSet| Ok(defer_for(set, 24 * 3600));
    stage.world.bind("pool:main", "waits", waits).await?;
    let mut last = None;
    for n in 0..13 {
        let members: Vec<_> = names
            .iter()
            .map(|s| {
                stage
                    .world
                    .member(s, &format!("{n}"), format!("{s}{n}").as_bytes())
            })
            .collect();
        let mut json = stage.world.submission(&format!("g{n}"), &members);
        if n == 12 {
            for label in 0..32 {
                json["labels"][format!("label{label}")] = "x".repeat(1000).into();
            }
        }
        last = Some(stage.submit(json).await);
        stage.settle().await?;
    }
    let last = last.unwrap();
    assert_eq!(stage.machine.at(last.group), At::Allocate);
    let asked = stage.world.resolvers.asked(b"waits");
    assert_eq!(asked.len(), 13);
    let mut sizes = Vec::new();
    for set in &asked {
        assert!(set.contenders.len() <= MAX_CONTENDERS);
        assert!(policy::canonical_set(set).len() <= MAX_INPUT_BYTES);
        for c in &set.contenders {
            let of_group = set.contenders.iter().filter(|o| o.group == c.group);
            assert_eq!(of_group.count(), 24);
        }
        sizes.push(set.contenders.len() / 24);
    }
    assert_eq!(&sizes[..12], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10]);
    let set = &asked[12];
    let own = set.contenders.iter().filter(|c| c.group == last.group);
    assert_eq!(own.count(), 24);
    assert!(set.contenders.iter().all(|c| c.labels.is_empty()));
    assert!(sizes[12] >= 2, "{sizes:?}");
    Ok(())
}

#[tokio::test]
async fn only_operators_publish_bind_and_look_at_decisions() -> Test {
    let stage = Stage::new(250, 1, Bytes::gib(1), &["a"]).await?;
    let tenant = Principal::Services(vec!["a".parse()?]);
    let control = &stage.control;
    let scope = || "service:a".parse::<model::Scope>().unwrap();
    let limits = Limits::DEFAULT;
    let id = model::DecisionId::from_parts(0, &[0; 10]);
    let answers = [
        control
            .publish_resolver(&tenant, "n", "1.0.0", vec![1], limits)
            .await
            .err(),
        control.withdraw_release(&tenant, "n", "1.0.0").await.err(),
        control
            .bind_resolver(&tenant, scope(), "n", None)
            .await
            .err(),
        control.unbind_resolver(&tenant, &scope()).await.err(),
        control
            .shadow_resolver(&tenant, scope(), "n", None, 100, None)
            .await
            .err(),
        control.unshadow_resolver(&tenant, scope()).await.err(),
        control.promote_resolver(&tenant, scope()).await.err(),
        control.rollback_resolver(&tenant, scope()).await.err(),
        control.bindings(&tenant).await.err(),
        control.decisions(&tenant, 1, None).await.err(),
        control.decision(&tenant, id).await.err(),
    ];
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(
            answer.map(|refusal| refusal.code),
            Some(Code::Forbidden),
            "{n}"
        );
    }
    Ok(())
}
