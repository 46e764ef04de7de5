//! Room: promised before it is used, never promised twice, and cut where one volume is
//! too small.

use control::reserve_estimate;
use model::{Bytes, Code, State};

use crate::machine::At;
use crate::{OPERATOR, Stage, Test};

#[tokio::test]
async fn an_artifact_larger_than_a_volume_lies_on_several_and_comes_back_whole() -> Test {
    let mut stage = Stage::new(41, 4, Bytes::mib(8), &["a", "b"]).await?;
    let member = stage.world.member("a", "1", &vec![7; 14 << 20]);
    let big = stage.submit(stage.world.submission("big", &[member])).await;
    stage.finish().await?;
    let id = big.checkpoints[0];
    assert_eq!(stage.state(id).await, State::Committed);
    let view = stage.control.checkpoint(&OPERATOR, id).await?;
    let parts: Vec<_> = view.placements.iter().map(|p| (p.part, p.parts)).collect();
    assert_eq!(parts, [(0, 3), (1, 3), (2, 3)]);
    let mut volumes: Vec<_> = view.placements.iter().map(|p| &p.volume).collect();
    volumes.sort();
    volumes.dedup();
    assert_eq!(volumes.len(), 3);
    let restore = stage.control.restore(&OPERATOR, id, Vec::new()).await?;
    stage.finish().await?;
    let view = stage.control.restore_view(&OPERATOR, restore).await?;
    assert_eq!(view.state, control::RestoreState::Done);
    assert_eq!(view.bytes, Bytes(14 << 20));
    Ok(())
}

#[tokio::test]
async fn what_does_not_fit_now_waits_and_what_never_fits_is_refused() -> Test {
    let mut stage = Stage::new(42, 1, Bytes::mib(16), &["a", "b", "c"]).await?;
    let of = |stage: &Stage, name: &str, mib: usize| {
        let member = stage.world.member(name, "1", &vec![1; mib << 20]);
        stage.world.submission(name, &[member])
    };
    let first = stage.submit(of(&stage, "a", 6)).await;
    let second = stage.submit(of(&stage, "b", 6)).await;
    let never = stage.submit(of(&stage, "c", 15)).await;
    stage.settle().await?;
    assert_eq!(stage.machine.at(first.group), At::Execute);
    assert_eq!(stage.machine.at(never.group), At::Rejected);
    assert_eq!(stage.code(never.checkpoints[0]).await, Some(Code::PoolFull));
    // 6 MiB and overhead twice do not fit at once with promises on the safe side.
    let twice = reserve_estimate(Bytes::mib(6), 1).plus(reserve_estimate(Bytes::mib(6), 1));
    assert!(twice > Bytes::mib(16));
    assert_eq!(stage.machine.at(second.group), At::Allocate, "it waits");
    // The first is called off: now there is room.
    stage.control.cancel(&OPERATOR, first.group).await?;
    stage.finish().await?;
    assert_eq!(stage.state(second.checkpoints[0]).await, State::Committed);
    Ok(())
}

#[tokio::test]
async fn promises_never_exceed_a_volume_however_many_ask_at_once() -> Test {
    let names: Vec<_> = (0..30).map(|n| format!("s{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(43, 3, Bytes::mib(20), &names).await?;
    for name in &names {
        stage.submit(stage.world.sample(name, "1")).await;
    }
    stage.machine.deliver(&stage.control, true).await?;
    for name in stage.machine.ready() {
        stage.machine.step(&stage.control, &name, false).await;
    }
    // Two processes, each with all runs at once.
    let other = stage.world.control();
    let place = |control: &control::Control| {
        let control = control.clone();
        let payloads: Vec<_> = stage
            .machine
            .runs
            .values()
            .map(|run| {
                serde_json::json!({"op": "place", "run": run.run, "group": run.group, "placement": 0})
            })
            .collect();
        async move {
            futures::future::join_all(
                payloads
                    .into_iter()
                    .map(|p| control.run_phase(control::Phase::Allocate, p)),
            )
            .await
        }
    };
    let (one, two) = tokio::join!(place(&stage.control), place(&other));
    for answer in one.into_iter().chain(two) {
        if let Err(refusal) = answer {
            assert!(refusal.code.is_retryable(), "{refusal}");
        }
    }
    let each = reserve_estimate(Bytes(5), 1);
    let mut placed = 0;
    for volume in stage.control.volumes(&OPERATOR, &"lib".parse()?).await? {
        assert!(volume.reserved <= volume.capacity);
        assert_eq!(volume.reserved.0 % each.0, 0);
        placed += volume.reserved.0 / each.0;
    }
    assert_eq!(placed, 27, "nine on each");
    stage.finish().await?;
    let committed = stage
        .machine
        .runs
        .values()
        .filter(|run| run.at == At::Committed)
        .count();
    assert_eq!(committed, 30, "the others follow");
    Ok(())
}

#[tokio::test]
async fn a_pool_says_what_it_cannot_do() -> Test {
    let stage = Stage::new(44, 1, Bytes::gib(1), &["a"]).await?;
    let pool = stage.control.pool(&OPERATOR, &"main".parse()?).await?;
    for (field, pool) in [
        (
            "copies",
            model::Pool {
                copies: 2,
                ..pool.clone()
            },
        ),
        (
            "write_drives",
            model::Pool {
                write_drives: 0,
                ..pool.clone()
            },
        ),
        (
            "library",
            model::Pool {
                library: "other".parse()?,
                ..pool.clone()
            },
        ),
    ] {
        let refusal = stage.control.put_pool(&OPERATOR, pool).await.unwrap_err();
        assert_eq!(refusal.code, Code::InvalidRequest);
        assert_eq!(refusal.field.as_deref(), Some(field));
    }
    let tenant = control::Principal::Services(vec!["a".parse()?]);
    let refusal = stage.control.put_pool(&tenant, pool).await.unwrap_err();
    assert_eq!(refusal.code, Code::Forbidden);
    Ok(())
}
