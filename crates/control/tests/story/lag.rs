//! What DynamoDB's global indexes are and a map's are not: behind the table. Whatever they
//! show, who contends is seen, what is claimed or open on a volume is found, and what was
//! published is there.

use std::time::Duration;

use control::ListCheckpoints;
use control::testing::Lag;
use model::{Bytes, Code, GroupOutcome, Limits, Refusal, State};

use crate::machine::At;
use crate::{OPERATOR, Stage, Test};

/// How far the indexes of a story are behind.
const LAGS: [Lag; 8] = [
    Lag::None,
    Lag::Behind(1),
    Lag::Behind(3),
    Lag::Behind(10),
    Lag::Frozen,
    Lag::Drawn {
        seed: 1,
        at_most: 5,
    },
    Lag::Drawn {
        seed: 2,
        at_most: 20,
    },
    Lag::Drawn {
        seed: 3,
        at_most: 100,
    },
];

/// A call that must come to its end, however far behind the indexes are.
async fn ends<T>(call: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let ended = tokio::time::timeout(Duration::from_secs(20), call).await;
    ended.unwrap_or_else(|_| panic!("it asks an index in a loop until it catches up"))
}

async fn submit(stage: &Stage, service: &str, version: &str, content: &str) -> GroupOutcome {
    let key = format!("{service}/{version}");
    let member = stage.world.member(service, version, content.as_bytes());
    stage.submit(stage.world.submission(&key, &[member])).await
}

/// The indexes catch up from time to time, until everything has come to its end.
async fn finish(stage: &mut Stage) -> Test {
    for _ in 0..12 {
        stage.world.table.catch_up();
        stage.finish().await?;
        stage.world.clock.advance(Duration::from_secs(61));
        stage.control.sweep().await?;
    }
    stage.world.table.catch_up();
    assert!(stage.machine.runs.values().all(|run| run.at.is_end()));
    let volumes = stage.control.volumes(&OPERATOR, &"lib".parse()?).await?;
    assert!(volumes.iter().all(|volume| volume.reserved == Bytes::ZERO));
    assert!(stage.world.objects.pinned().is_empty());
    Ok(())
}

fn written(stage: &Stage) -> usize {
    stage.tapes.values().map(|tape| tape.written.len()).sum()
}

#[tokio::test]
async fn of_two_requests_that_contend_one_is_written() -> Test {
    for lag in LAGS {
        for (content, ends) in [
            (["same", "same"], [At::Committed, At::Merged]),
            (["one", "other"], [At::Superseded, At::Committed]),
        ] {
            let mut stage = Stage::new(1100, 2, Bytes::gib(1), &["pay"]).await?;
            stage.world.table.lag(lag);
            let a = submit(&stage, "pay", "1", content[0]).await;
            let b = submit(&stage, "pay", "2", content[1]).await;
            stage.settle().await?;
            finish(&mut stage).await?;
            let found = [a.group, b.group].map(|group| stage.machine.at(group));
            assert_eq!(found, ends, "{lag:?}");
            assert_eq!(written(&stage), 1, "{lag:?}: one of {content:?}");
        }
    }
    Ok(())
}

/// Each process has its own turn: what one of them stages the other one sees.
#[tokio::test]
async fn of_forty_versions_in_as_many_processes_the_newest_is_written() -> Test {
    for lag in [Lag::Frozen, Lag::Behind(3)] {
        let mut stage = Stage::new(1101, 2, Bytes::gib(1), &["pay"]).await?;
        stage.world.table.lag(lag);
        let mut groups = Vec::new();
        for n in 0..40 {
            let name = format!("{n:02}");
            groups.push(submit(&stage, "pay", &name, &name).await.group);
        }
        stage.machine.deliver(&stage.control, true).await?;
        for _ in 0..2 {
            let steps = groups.iter().map(|group| {
                let control = stage.world.control();
                let run = &stage.machine.runs[&group.to_string()];
                let (phase, op) = match run.at {
                    At::Validate => (control::Phase::Validate, "check"),
                    _ => (control::Phase::Allocate, "place"),
                };
                let input = serde_json::json!({
                    "op": op, "run": run.run, "group": run.group, "placement": 0,
                });
                async move { control.run_phase(phase, input).await }
            });
            // Whoever loses races every time asks again, below.
            drop(futures::future::join_all(steps).await);
            for group in &groups {
                let name = group.to_string();
                stage.machine.step(&stage.control, &name, false).await;
            }
        }
        finish(&mut stage).await?;
        let last = groups.pop().unwrap();
        assert_eq!(stage.machine.at(last), At::Committed);
        assert!(
            groups
                .iter()
                .all(|g| stage.machine.at(*g) == At::Superseded)
        );
        assert_eq!(written(&stage), 1, "{lag:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_committed_a_moment_ago_stands_for_its_duplicate() -> Test {
    for lag in LAGS {
        let mut stage = Stage::new(1102, 2, Bytes::gib(1), &["pay"]).await?;
        let first = submit(&stage, "pay", "1", "same").await;
        stage.settle().await?;
        let agent = &mut stage.agents[0];
        agent.run(&stage.control, &mut stage.tapes).await?;
        stage.settle().await?;
        agent_of(&mut stage, 0).await?;
        stage.world.table.lag(lag);
        stage.settle().await?;
        assert_eq!(stage.machine.at(first.group), At::Committed);
        let second = submit(&stage, "pay", "2", "same").await;
        stage.settle().await?;
        assert_eq!(stage.machine.at(second.group), At::Merged, "{lag:?}");
        finish(&mut stage).await?;
        assert_eq!(written(&stage), 1);
    }
    Ok(())
}

async fn agent_of(stage: &mut Stage, n: usize) -> Result<usize, Refusal> {
    let agent = &mut stage.agents[n];
    agent.run(&stage.control, &mut stage.tapes).await
}

/// An older request that asks only after a newer one was committed is not written.
#[tokio::test]
async fn what_was_committed_a_moment_ago_supersedes_what_is_older() -> Test {
    for lag in LAGS {
        let mut stage = Stage::new(1103, 2, Bytes::gib(1), &["pay"]).await?;
        let old = submit(&stage, "pay", "1", "old").await;
        let new = submit(&stage, "pay", "2", "new").await;
        stage.machine.deliver(&stage.control, true).await?;
        // The run of the older one is late.
        let run = new.group.to_string();
        for _ in 0..3 {
            stage.machine.step(&stage.control, &run, false).await;
        }
        agent_of(&mut stage, 0).await?;
        stage.machine.deliver(&stage.control, true).await?;
        for _ in 0..2 {
            stage.machine.step(&stage.control, &run, false).await;
        }
        agent_of(&mut stage, 0).await?;
        stage.world.table.lag(lag);
        stage.machine.deliver(&stage.control, true).await?;
        for _ in 0..2 {
            stage.machine.step(&stage.control, &run, false).await;
        }
        assert_eq!(stage.machine.at(new.group), At::Committed);
        stage.settle().await?;
        assert_eq!(stage.machine.at(old.group), At::Superseded, "{lag:?}");
        finish(&mut stage).await?;
        assert_eq!(written(&stage), 1);
    }
    Ok(())
}

/// The index does not show that the item was claimed.
#[tokio::test]
async fn what_was_claimed_a_moment_ago_is_open_again_after_its_session() -> Test {
    for lag in LAGS {
        let mut stage = Stage::new(1104, 2, Bytes::gib(1), &["pay"]).await?;
        let group = submit(&stage, "pay", "1", "x").await.group;
        stage.settle().await?;
        let agent = &mut stage.agents[0];
        agent.open(&stage.control).await?;
        agent.ready(&stage.control, &mut stage.tapes).await?;
        stage.world.table.lag(lag);
        assert_eq!(agent.claim(&stage.control, 10).await?, 1);
        ends(agent.close(&stage.control, None)).await?;
        stage.world.table.catch_up();
        assert_eq!(agent_of(&mut stage, 0).await?, 1, "{lag:?}: claimed again");
        finish(&mut stage).await?;
        assert_eq!(stage.machine.at(group), At::Committed);
    }
    Ok(())
}

/// The index goes on showing it as claimed.
#[tokio::test]
async fn a_session_ends_though_the_index_shows_what_it_had_claimed() -> Test {
    for lag in LAGS {
        let mut stage = Stage::new(1105, 2, Bytes::gib(1), &["pay"]).await?;
        submit(&stage, "pay", "1", "x").await;
        stage.settle().await?;
        let agent = &mut stage.agents[0];
        agent.open(&stage.control).await?;
        agent.ready(&stage.control, &mut stage.tapes).await?;
        agent.claim(&stage.control, 10).await?;
        stage.world.table.lag(lag);
        let before = stage.world.table.reads();
        ends(agent.close(&stage.control, None)).await?;
        let reads = stage.world.table.reads() - before;
        assert!(reads < 20, "{lag:?}: {reads} reads");
        finish(&mut stage).await?;
        assert_eq!(written(&stage), 1);
    }
    Ok(())
}

/// Nobody can write to the volume or read from it any more, and the index does not show
/// who was going to.
#[tokio::test]
async fn open_work_of_a_volume_in_doubt_is_taken_elsewhere_at_once() -> Test {
    for lag in LAGS {
        for verify in [false, true] {
            let mut stage = Stage::new(1106, 1, Bytes::gib(1), &["a", "c"]).await?;
            let first = submit(&stage, "a", "1", "a").await.group;
            let mut last = first;
            if verify {
                last = submit(&stage, "c", "1", "c").await.group;
            }
            stage.settle().await?;
            let agent = &mut stage.agents[0];
            agent.open(&stage.control).await?;
            agent.ready(&stage.control, &mut stage.tapes).await?;
            agent.claim(&stage.control, 10).await?;
            if verify {
                agent.work(&mut stage.tapes);
                agent.work(&mut stage.tapes);
                agent.report(&stage.control, &stage.tapes).await?;
            }
            stage.world.table.lag(lag);
            if !verify {
                last = submit(&stage, "c", "1", "c").await.group;
            }
            stage.settle().await?;
            let run = stage.machine.runs[&last.to_string()].clone();
            let at = if verify { At::Verify } else { At::Execute };
            assert_eq!((run.at, run.placement), (at, 0));
            let more = stage.world.inventory(2, Bytes::gib(1))?;
            stage.control.inventory(more).await?;
            let fault = Refusal::new(Code::ForeignVolume, "another's data lie on it");
            ends(stage.agents[0].close(&stage.control, Some(fault))).await?;
            stage.world.table.catch_up();
            stage.settle().await?;
            for group in [first, last] {
                let run = &stage.machine.runs[&group.to_string()];
                let found = (run.at, run.placement);
                assert_eq!(found, (At::Execute, 1), "{lag:?}, verify: {verify}");
            }
            finish(&mut stage).await?;
            for group in [first, last] {
                assert_eq!(stage.machine.at(group), At::Committed);
            }
        }
    }
    Ok(())
}

/// The index shows open work that is done or gone: those who look for work go on to what
/// there is.
#[tokio::test]
async fn work_that_only_the_index_shows_stands_in_nobodys_way() -> Test {
    for lag in LAGS {
        let mut stage = Stage::new(1107, 1, Bytes::gib(1), &["a", "c"]).await?;
        submit(&stage, "a", "1", "a").await;
        stage.settle().await?;
        let agent = &mut stage.agents[0];
        agent.open(&stage.control).await?;
        agent.ready(&stage.control, &mut stage.tapes).await?;
        let more = stage.world.inventory(2, Bytes::gib(1))?;
        stage.control.inventory(more).await?;
        // On the other volume, which has less promised.
        let other = submit(&stage, "c", "1", "c").await.group;
        stage.settle().await?;
        stage.world.table.lag(lag);
        let fault = Refusal::new(Code::ForeignVolume, "another's data lie on it");
        ends(stage.agents[0].close(&stage.control, Some(fault))).await?;
        let agent = &mut stage.agents[1];
        assert!(ends(agent.open(&stage.control)).await?, "{lag:?}");
        agent.ready(&stage.control, &mut stage.tapes).await?;
        assert_eq!(agent.claim(&stage.control, 10).await?, 1, "{lag:?}");
        agent.work(&mut stage.tapes);
        agent.report(&stage.control, &stage.tapes).await?;
        agent.close(&stage.control, None).await?;
        finish(&mut stage).await?;
        assert_eq!(stage.machine.at(other), At::Committed);
    }
    Ok(())
}

#[tokio::test]
async fn a_release_is_there_and_can_be_bound_once_it_was_published() -> Test {
    for lag in LAGS {
        let stage = Stage::new(1108, 1, Bytes::gib(1), &["a"]).await?;
        stage.world.table.lag(lag);
        for version in ["1.0.0", "0.9.1", "1.1.0"] {
            stage.world.clock.advance(Duration::from_secs(1));
            let component = version.as_bytes().to_vec();
            let resolvers = &stage.world.resolvers;
            resolvers.script(&component, |set| Ok(policy::priority_deadline(set)));
            stage
                .control
                .publish_resolver(&OPERATOR, "fair", version, component, Limits::DEFAULT)
                .await?;
            let latest = stage.control.release(&OPERATOR, "fair", None).await?;
            assert_eq!(latest.id.version, version, "{lag:?}");
        }
        stage
            .control
            .withdraw_release(&OPERATOR, "fair", "1.1.0")
            .await?;
        let bound = stage
            .control
            .bind_resolver(&OPERATOR, "pool:main".parse()?, "fair", None)
            .await?;
        assert_eq!(bound.live.version, "0.9.1", "{lag:?}");
    }
    Ok(())
}

/// Lists alone are late.
#[tokio::test]
async fn a_list_shows_late_what_a_question_by_name_shows_at_once() -> Test {
    let stage = Stage::new(1109, 1, Bytes::gib(1), &["a"]).await?;
    stage.world.table.lag(Lag::Frozen);
    let outcome = submit(&stage, "a", "1", "a").await;
    let all = || ListCheckpoints {
        limit: 10,
        ..ListCheckpoints::default()
    };
    let (found, _) = stage.control.list_checkpoints(&OPERATOR, all()).await?;
    assert!(found.is_empty());
    assert_eq!(stage.state(outcome.checkpoints[0]).await, State::Submitted);
    stage.world.table.catch_up();
    let (found, _) = stage.control.list_checkpoints(&OPERATOR, all()).await?;
    assert_eq!(found.len(), 1);
    Ok(())
}
