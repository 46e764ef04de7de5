//! Requests that cannot all be honoured: what becomes of them in runs.

use model::{Bytes, Code, State};

use crate::machine::At;
use crate::{OPERATOR, Stage, Test};

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
