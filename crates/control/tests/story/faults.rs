//! What happens when agents die, leases run out, media fail and answers get lost.

use std::time::Duration;

use control::RestoreState;
use model::work::{Claim, Inventory, OpenSession, Renew, WorkKind};
use model::{Bytes, Code, DriveState, Refusal, State, VolumeState};

use crate::agent::Agent;
use crate::machine::At;
use crate::{OPERATOR, Stage, Test};

fn refusal(code: Code) -> Refusal {
    Refusal::new(code, "a fault was asked for")
}

async fn three(seed: u64) -> Result<(Stage, Vec<model::CheckpointId>), Box<dyn std::error::Error>> {
    let mut stage = Stage::new(seed, 3, Bytes::gib(1), &["a", "b", "c"]).await?;
    let mut pool = stage.control.pool(&OPERATOR, &"main".parse()?).await?;
    pool.write_drives = 1;
    stage.control.put_pool(&OPERATOR, pool).await?;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let outcome = stage.submit(stage.world.sample(name, "1")).await;
        ids.extend(outcome.checkpoints);
    }
    stage.settle().await?;
    Ok((stage, ids))
}

async fn all_committed(stage: &Stage, ids: &[model::CheckpointId]) {
    for id in ids {
        assert_eq!(stage.state(*id).await, State::Committed);
    }
}

fn writes(stage: &Stage) -> usize {
    stage.tapes.values().map(|tape| tape.written.len()).sum()
}

#[tokio::test]
async fn eight_claim_at_once_and_each_item_goes_to_one() -> Test {
    let mut stage = Stage::new(21, 1, Bytes::gib(1), &["a", "b", "c", "d", "e"]).await?;
    for name in ["a", "b", "c", "d", "e"] {
        stage.submit(stage.world.sample(name, "1")).await;
    }
    stage.settle().await?;
    let agent = &mut stage.agents[0];
    agent.open(&stage.control).await?;
    agent.ready(&stage.control, &mut stage.tapes).await?;
    let claim = || {
        stage.control.claim(Claim {
            session: agent.reference(),
            kinds: vec![WorkKind::Write],
            max_items: 3,
            max_bytes: Bytes::gib(1),
            wait_ms: 0,
        })
    };
    let answers = futures::future::join_all((0..8).map(|_| claim())).await;
    let mut keys = Vec::new();
    for answer in answers {
        keys.extend(answer?.items.into_iter().map(|item| item.key));
    }
    let claimed = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), claimed, "an item was given twice");
    while let Some(item) = claim().await?.items.first() {
        keys.push(item.key.clone());
    }
    Ok(())
}

#[tokio::test]
async fn two_drives_never_get_one_volume() -> Test {
    let (stage, _) = three(22).await?;
    let open = |drive: &str, agent: &str| {
        stage.control.open_session(OpenSession {
            agent: agent.parse().unwrap(),
            instance: "life 1".to_owned(),
            library: "lib".parse().unwrap(),
            drive: drive.parse().unwrap(),
            mounted: None,
            wait_ms: 0,
        })
    };
    let (one, two) = tokio::join!(open("D1", "agent"), open("D2", "agent"));
    let sessions = [one?.session, two?.session];
    assert_eq!(sessions.iter().flatten().count(), 1);
    // Nor does another agent get the drive before the lease ran out.
    let drive = sessions.iter().flatten().next().unwrap().drive.clone();
    let answer = open(drive.as_str(), "another").await;
    assert_eq!(answer.unwrap_err().code, Code::Busy);
    stage.world.clock.advance(Duration::from_secs(61));
    let taken = open(drive.as_str(), "another").await?.session.unwrap();
    assert!(taken.fence > sessions.iter().flatten().next().unwrap().fence);
    Ok(())
}

#[tokio::test]
async fn nothing_is_claimed_before_the_volume_is_proven() -> Test {
    let (mut stage, _) = three(23).await?;
    stage.agents[0].open(&stage.control).await?;
    let answer = stage.agents[0].claim(&stage.control, 10).await;
    assert_eq!(answer.unwrap_err().code, Code::InvalidRequest);
    Ok(())
}

/// Records on tape behind a filemark, the report never sent: the next life of the agent
/// finds them and they are not written again.
#[tokio::test]
async fn what_a_dead_agent_wrote_and_did_not_report_is_adopted() -> Test {
    let (mut stage, ids) = three(24).await?;
    let agent = &mut stage.agents[0];
    agent.open(&stage.control).await?;
    agent.ready(&stage.control, &mut stage.tapes).await?;
    agent.claim(&stage.control, 10).await?;
    agent.work(&mut stage.tapes);
    agent.work(&mut stage.tapes);
    agent.restart("life 2".to_owned());
    stage.finish().await?;
    all_committed(&stage, &ids).await;
    assert_eq!(writes(&stage), 3);
    let view = stage.control.checkpoint(&OPERATOR, ids[0]).await?;
    assert_eq!(view.placements[0].fence.0, 1, "written by the first life");
    Ok(())
}

/// The report arrived in part, the control plane died before the position: nothing is
/// counted twice.
#[tokio::test]
async fn a_report_cut_short_by_a_fault_is_completed_by_its_repetition() -> Test {
    for fault in 0..6 {
        for happens in [false, true] {
            let (mut stage, ids) = three(25).await?;
            let agent = &mut stage.agents[0];
            agent.open(&stage.control).await?;
            agent.ready(&stage.control, &mut stage.tapes).await?;
            agent.claim(&stage.control, 10).await?;
            for _ in 0..3 {
                agent.work(&mut stage.tapes);
            }
            stage.world.table.fail_transaction(fault, happens);
            let first = agent.report(&stage.control, &stage.tapes).await;
            if first.is_err() {
                let refused = agent.report(&stage.control, &stage.tapes).await?;
                assert!(refused.is_empty(), "{refused:?}");
            }
            stage.world.table.fail_transaction(u64::MAX, false);
            stage.finish().await?;
            all_committed(&stage, &ids).await;
            assert_eq!(writes(&stage), 3);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_report_may_be_sent_twice() -> Test {
    let (mut stage, ids) = three(26).await?;
    for _ in 0..2 {
        let agent = &mut stage.agents[0];
        agent.open(&stage.control).await?;
        agent.ready(&stage.control, &mut stage.tapes).await?;
        agent.claim(&stage.control, 10).await?;
        for _ in 0..3 {
            agent.work(&mut stage.tapes);
        }
        let results = agent.unreported.clone();
        assert!(agent.report(&stage.control, &stage.tapes).await?.is_empty());
        agent.unreported = results;
        assert!(agent.report(&stage.control, &stage.tapes).await?.is_empty());
        agent.close(&stage.control, None).await?;
        stage.settle().await?;
    }
    all_committed(&stage, &ids).await;
    Ok(())
}

/// A paused agent wakes up after its lease ran out and another has the volume: it can
/// record nothing, whatever it tries.
#[tokio::test]
async fn a_stale_agent_can_record_nothing() -> Test {
    let (mut stage, ids) = three(27).await?;
    let [stale, fresh] = &mut stage.agents;
    stale.open(&stage.control).await?;
    stale.ready(&stage.control, &mut stage.tapes).await?;
    stale.claim(&stage.control, 2).await?;
    stage.world.clock.advance(Duration::from_secs(61));
    stage.control.sweep().await?;
    // The cartridge is moved to the other drive by hand; the first one is empty.
    let mut inventory = stage.world.inventory(3, Bytes::gib(1))?;
    inventory.slots.retain(|slot| slot.volume != stale.mounted);
    inventory.drives[1].volume = stale.mounted.clone();
    stage.control.inventory(inventory).await?;
    fresh.mounted = stale.mounted.clone();
    assert!(fresh.open(&stage.control).await?);
    fresh.ready(&stage.control, &mut stage.tapes).await?;

    stale.work(&mut stage.tapes);
    assert_eq!(
        stage.tapes.values().map(|t| t.written.len()).sum::<usize>(),
        0
    );
    stale.mounted = None;
    let lost = Some(Code::FenceLost);
    let code = |answer: Result<_, Refusal>| answer.err().map(|r| r.code);
    assert_eq!(
        code(stale.report(&stage.control, &stage.tapes).await.map(drop)),
        lost
    );
    assert_eq!(code(stale.claim(&stage.control, 10).await.map(drop)), lost);
    let renew = Renew {
        session: stale.reference(),
        moved: Bytes::ZERO,
        doing: String::new(),
    };
    assert_eq!(code(stage.control.renew(renew).await.map(drop)), lost);
    assert_eq!(code(stale.close(&stage.control, None).await), lost);
    assert_eq!(fresh.claim(&stage.control, 10).await?, 3);
    while !fresh.claimed.is_empty() {
        fresh.work(&mut stage.tapes);
    }
    fresh.report(&stage.control, &stage.tapes).await?;
    fresh.close(&stage.control, None).await?;
    stage.finish().await?;
    all_committed(&stage, &ids).await;
    Ok(())
}

#[tokio::test]
async fn renewing_keeps_a_session_alive_and_a_sweep_ends_it_otherwise() -> Test {
    let (mut stage, ids) = three(28).await?;
    let agent = &mut stage.agents[0];
    agent.open(&stage.control).await?;
    agent.ready(&stage.control, &mut stage.tapes).await?;
    agent.claim(&stage.control, 10).await?;
    for _ in 0..5 {
        stage.world.clock.advance(Duration::from_secs(40));
        stage.control.sweep().await?;
        let renew = Renew {
            session: agent.reference(),
            moved: Bytes(1),
            doing: "writing".to_owned(),
        };
        assert!(stage.control.renew(renew).await?.expires > stage.world.ports().clock.now());
    }
    let drives = stage.control.drives(&OPERATOR, &"lib".parse()?).await?;
    assert_eq!(drives[0].state, DriveState::InSession);
    stage.world.clock.advance(Duration::from_secs(61));
    stage.control.sweep().await?;
    let drives = stage.control.drives(&OPERATOR, &"lib".parse()?).await?;
    assert_eq!(drives[0].state, DriveState::Loaded);
    stage.agents[0].restart("life 2".to_owned());
    stage.finish().await?;
    all_committed(&stage, &ids).await;
    Ok(())
}

/// An item that kills every agent that touches it does not do so for ever.
#[tokio::test]
async fn an_item_claimed_too_often_without_a_result_is_failed() -> Test {
    let (mut stage, _) = three(29).await?;
    for life in 0..100 {
        let agent = &mut stage.agents[0];
        agent.restart(format!("life {life}"));
        if agent.open(&stage.control).await? {
            agent.ready(&stage.control, &mut stage.tapes).await?;
            agent.claim(&stage.control, 10).await?;
        }
        stage.settle().await?;
        stage.agents[0].restart(format!("dead {life}"));
    }
    // Five attempts of eight grants each, then the runs give up.
    assert!(stage.machine.runs.values().all(|run| run.at == At::Failed));
    Ok(())
}

#[tokio::test]
async fn a_medium_that_fails_takes_no_more_and_the_work_goes_elsewhere() -> Test {
    for code in [
        Code::MediaError,
        Code::VolumeFull,
        Code::PositionMismatch,
        Code::ForeignVolume,
    ] {
        let (mut stage, ids) = three(30).await?;
        let agent = &mut stage.agents[0];
        agent.open(&stage.control).await?;
        agent.ready(&stage.control, &mut stage.tapes).await?;
        agent.claim(&stage.control, 10).await?;
        agent.work(&mut stage.tapes);
        agent.report(&stage.control, &stage.tapes).await?;
        let first = agent.mounted.take().unwrap();
        agent.close(&stage.control, Some(refusal(code))).await?;
        let volume = stage.control.volume(&OPERATOR, &first).await?;
        let state = volume.lifecycle.state().name();
        match code {
            Code::VolumeFull => assert_eq!(state, "full"),
            Code::ForeignVolume => assert_eq!(state, "withdrawn"),
            _ => assert_eq!(state, "read_only"),
        }
        stage.finish().await?;
        all_committed(&stage, &ids).await;
        let volume = stage.control.volume(&OPERATOR, &first).await?;
        // What was written and not verified on a full volume stays there; on one in
        // doubt it is abandoned.
        let kept = u64::from(code == Code::VolumeFull);
        assert_eq!(volume.checkpoints, kept, "{code}");
        assert_eq!(volume.abandoned == Bytes::ZERO, kept == 1, "{code}");
        for volume in stage.control.volumes(&OPERATOR, &"lib".parse()?).await? {
            assert_eq!(volume.reserved, Bytes::ZERO, "{code}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_reads_back_differently_is_written_again_elsewhere() -> Test {
    let (mut stage, ids) = three(31).await?;
    let agent = &mut stage.agents[0];
    agent.run(&stage.control, &mut stage.tapes).await?;
    let first = agent.mounted.clone().unwrap();
    stage.tapes.get_mut(&first).unwrap().rotten = true;
    stage.finish().await?;
    all_committed(&stage, &ids).await;
    let volume = stage.control.volume(&OPERATOR, &first).await?;
    let VolumeState::ReadOnly { refusal } = volume.lifecycle.state() else {
        panic!("{volume:?}");
    };
    assert_eq!(refusal.code, Code::VerifyMismatch);
    assert_eq!(volume.checkpoints, 0);
    for id in ids {
        let view = stage.control.checkpoint(&OPERATOR, id).await?;
        assert_ne!(view.placements[0].volume, first);
    }
    Ok(())
}

#[tokio::test]
async fn three_bad_volumes_are_enough() -> Test {
    let (mut stage, ids) = three(32).await?;
    for _ in 0..20 {
        stage.settle().await?;
        for agent in &mut stage.agents {
            agent.run(&stage.control, &mut stage.tapes).await?;
        }
        for tape in stage.tapes.values_mut() {
            tape.rotten = true;
        }
    }
    for id in ids {
        let code = stage.code(id).await;
        assert!(
            matches!(code, Some(Code::VerifyMismatch | Code::PoolFull)),
            "{code:?}"
        );
    }
    assert!(stage.world.objects.pinned().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_drive_that_fails_is_taken_down_and_its_work_goes_to_the_other() -> Test {
    let (mut stage, ids) = three(33).await?;
    let agent = &mut stage.agents[0];
    agent.open(&stage.control).await?;
    agent.ready(&stage.control, &mut stage.tapes).await?;
    agent.claim(&stage.control, 10).await?;
    let session = agent.reference();
    agent.restart("life 2".to_owned());
    stage
        .control
        .close_session(model::work::Close {
            session,
            volume_fault: None,
            drive_fault: Some(refusal(Code::DriveFault)),
        })
        .await?;
    let drives = stage.control.drives(&OPERATOR, &"lib".parse()?).await?;
    assert_eq!(drives[0].state, DriveState::Down);
    let answer = stage.agents[0].open(&stage.control).await;
    assert_eq!(answer.unwrap_err().code, Code::DriveFault);
    let done = stage.agents[1]
        .run(&stage.control, &mut stage.tapes)
        .await?;
    assert_eq!(done, 3);
    // An inventory that finds it well puts it into service again.
    stage
        .control
        .inventory(stage.world.inventory(3, Bytes::gib(1))?)
        .await?;
    stage.finish().await?;
    all_committed(&stage, &ids).await;
    Ok(())
}

#[tokio::test]
async fn an_inventory_registers_once_and_says_what_is_missing() -> Test {
    let stage = Stage::new(34, 3, Bytes::gib(1), &["a"]).await?;
    let inventory = stage.world.inventory(3, Bytes::gib(1))?;
    let answer = stage.control.inventory(inventory.clone()).await?;
    assert_eq!((answer.registered.len(), answer.missing.len()), (0, 0));
    let mut fewer: Inventory = stage.world.inventory(2, Bytes::gib(1))?;
    fewer.slots[0].volume = Some("CLN001L1".parse()?);
    let answer = stage.control.inventory(fewer).await?;
    assert_eq!(answer.registered, []);
    assert_eq!(answer.missing, ["V001".parse()?, "V003".parse()?]);
    let answer = stage.control.inventory(inventory).await?;
    assert_eq!((answer.registered.len(), answer.missing.len()), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_group_is_called_off_until_it_is_claimed_and_not_after() -> Test {
    let (mut stage, ids) = three(35).await?;
    let group = stage.control.checkpoint(&OPERATOR, ids[2]).await?.group.id;
    stage.control.cancel(&OPERATOR, group).await?;
    stage.control.cancel(&OPERATOR, group).await?;
    stage.settle().await?;
    assert_eq!(stage.machine.at(group), At::Failed);
    assert_eq!(stage.code(ids[2]).await, Some(Code::Cancelled));
    let agent = &mut stage.agents[0];
    agent.open(&stage.control).await?;
    agent.ready(&stage.control, &mut stage.tapes).await?;
    assert_eq!(agent.claim(&stage.control, 10).await?, 2);
    let group = stage.control.checkpoint(&OPERATOR, ids[0]).await?.group.id;
    let answer = stage.control.cancel(&OPERATOR, group).await;
    assert_eq!(answer.unwrap_err().code, Code::Conflict);
    stage.agents[0].restart("life 2".to_owned());
    stage.finish().await?;
    all_committed(&stage, &ids[..2]).await;

    // Before its run has begun, too.
    let early = stage.submit(stage.world.sample("a", "2")).await;
    stage.control.cancel(&OPERATOR, early.group).await?;
    stage.finish().await?;
    assert_eq!(stage.machine.at(early.group), At::Rejected);
    Ok(())
}

/// The state machine knows no way: an operator decides.
#[tokio::test]
async fn a_parked_run_goes_on_or_gives_up_as_the_operator_says() -> Test {
    for resume in [true, false] {
        let (mut stage, ids) = three(36).await?;
        let agent = &mut stage.agents[0];
        agent.run(&stage.control, &mut stage.tapes).await?;
        stage.settle().await?;
        let agent = &mut stage.agents[0];
        agent.open(&stage.control).await?;
        agent.ready(&stage.control, &mut stage.tapes).await?;
        agent.claim(&stage.control, 1).await?;
        agent.work(&mut stage.tapes);
        agent.unreported[0].outcome = model::work::Outcome::Failed {
            refusal: refusal(Code::KeyMissing),
        };
        agent.report(&stage.control, &stage.tapes).await?;
        agent.close(&stage.control, None).await?;
        stage.finish().await?;
        let parked: Vec<_> = stage
            .machine
            .runs
            .values()
            .filter(|run| run.at == At::Park)
            .collect();
        assert_eq!(parked.len(), 1);
        let group = parked[0].group.as_str().unwrap().parse()?;
        stage
            .control
            .decide_parked(&OPERATOR, group, resume)
            .await?;
        let again = stage.control.decide_parked(&OPERATOR, group, resume).await;
        assert_eq!(again.unwrap_err().code, Code::Conflict);
        stage.finish().await?;
        if resume {
            all_committed(&stage, &ids).await;
        } else {
            assert_eq!(stage.machine.at(group), At::Failed);
            let failed = futures::future::join_all(ids.iter().map(|id| stage.code(*id))).await;
            assert_eq!(
                failed.into_iter().flatten().collect::<Vec<_>>(),
                [Code::KeyMissing]
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn effects_told_twice_and_invocations_delivered_twice_change_nothing() -> Test {
    let (mut stage, ids) = three(37).await?;
    for _ in 0..30 {
        // Not forgotten after telling, then told again.
        stage.machine.deliver(&stage.control, false).await?;
        stage.machine.deliver(&stage.control, true).await?;
        for name in stage.machine.ready() {
            stage.machine.step(&stage.control, &name, true).await;
        }
        for agent in &mut stage.agents {
            agent.run(&stage.control, &mut stage.tapes).await?;
        }
    }
    all_committed(&stage, &ids).await;
    assert_eq!(writes(&stage), 3);
    assert_eq!(stage.control.checkpoints_committed().await?, 3);
    assert!(stage.control.pending_effects(10).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_unpinned_now_is_unpinned_by_a_sweep() -> Test {
    let (mut stage, ids) = three(38).await?;
    stage.world.objects.refuse_unpin(100);
    stage.finish().await?;
    all_committed(&stage, &ids).await;
    assert_eq!(stage.world.objects.pinned().len(), 3);
    stage.control.sweep().await?;
    assert_eq!(stage.world.objects.pinned().len(), 3);
    stage.world.objects.refuse_unpin(0);
    stage.control.sweep().await?;
    assert!(stage.world.objects.pinned().is_empty());
    Ok(())
}

#[tokio::test]
async fn only_what_is_committed_is_restored_and_only_by_its_own() -> Test {
    let (mut stage, ids) = three(39).await?;
    let restore = |who: control::Principal, only: Vec<model::ArtifactName>| {
        let control = stage.control.clone();
        let id = ids[0];
        async move { control.restore(&who, id, only).await }
    };
    let answer = restore(OPERATOR, Vec::new()).await;
    assert_eq!(answer.unwrap_err().code, Code::NotRestorable);
    let mut machine = std::mem::take(&mut stage.machine);
    for _ in 0..3 {
        machine.settle(&stage.control).await?;
        stage.agents[0]
            .run(&stage.control, &mut stage.tapes)
            .await?;
    }
    machine.settle(&stage.control).await?;
    let b = control::Principal::Services(vec!["b".parse()?]);
    assert_eq!(
        restore(b, Vec::new()).await.unwrap_err().code,
        Code::Forbidden
    );
    let answer = restore(OPERATOR, vec!["gone".parse()?]).await.unwrap_err();
    assert_eq!(
        (answer.code, answer.field.as_deref()),
        (Code::NotFound, Some("only[0]"))
    );
    let a = control::Principal::Services(vec!["a".parse()?]);
    let asked = restore(a, vec!["bin/app".parse()?]).await?;
    let checked = stage.control.reverify(&OPERATOR, ids[1]).await?;
    let volume = stage
        .control
        .checkpoint(&OPERATOR, ids[0])
        .await?
        .placements[0]
        .volume
        .clone();
    let scan = stage.control.scan_volume(&OPERATOR, &volume).await?;
    let view = stage.control.restore_view(&OPERATOR, asked).await?;
    assert_eq!((view.state, view.delivered), (RestoreState::Waiting, None));
    stage.agents[0]
        .run(&stage.control, &mut stage.tapes)
        .await?;
    for id in [asked, checked, scan] {
        let view = stage.control.restore_view(&OPERATOR, id).await?;
        assert_eq!(view.state, RestoreState::Done);
    }
    assert_eq!(
        stage.control.scan_report(&OPERATOR, scan).await?,
        r#"{"manifests":3}"#
    );

    // A re-verification that finds rot says so.
    stage.tapes.get_mut(&volume).unwrap().rotten = true;
    let rotten = stage.control.reverify(&OPERATOR, ids[1]).await?;
    stage.agents[0]
        .run(&stage.control, &mut stage.tapes)
        .await?;
    let view = stage.control.restore_view(&OPERATOR, rotten).await?;
    let RestoreState::Failed { refusal } = view.state else {
        panic!("{view:?}");
    };
    assert_eq!(refusal.code, Code::VerifyMismatch);
    Ok(())
}

/// A position before the catalogued end means that data are gone: nothing is taken.
#[tokio::test]
async fn a_tape_shorter_than_the_catalogue_says_is_refused() -> Test {
    let (mut stage, _) = three(40).await?;
    let agent = &mut stage.agents[0];
    agent.run(&stage.control, &mut stage.tapes).await?;
    stage.settle().await?;
    let agent: &mut Agent = &mut stage.agents[0];
    agent.open(&stage.control).await?;
    let mut wrong = stage.tapes.clone();
    let tape = wrong.get_mut(agent.mounted.as_ref().unwrap()).unwrap();
    tape.written.pop();
    let position = tape.position();
    let ready = model::work::SessionReady {
        session: agent.reference(),
        position,
        labelled: false,
        found: Vec::new(),
        abandoned: Bytes::ZERO,
        used: tape.used(),
    };
    let answer = stage.control.session_ready(ready).await;
    assert_eq!(answer.unwrap_err().code, Code::PositionMismatch);
    Ok(())
}
