//! Batches: many checkpoints, one filemark, one report.

use model::work::{Order, Outcome};
use model::{Bytes, Code};

use crate::rig::{Rig, V1, V2, verify_order};

#[tokio::test(start_paused = true)]
async fn a_batch_is_written_behind_one_filemark_and_read_back() {
    let mut rig = Rig::new();
    let orders: Vec<_> = (0..6).map(|_| rig.checkpoint(300_000)).collect();
    let keys: Vec<_> = (0..6)
        .map(|n| {
            rig.control.submit(
                V1,
                &format!("r/execute/{n}"),
                Order::Write(orders[n].clone()),
            )
        })
        .collect();
    let agent = rig.start();
    let mut last = None;
    for (n, key) in keys.iter().enumerate() {
        let placement = rig.control.placement(key).await;
        assert_eq!(placement.checkpoint, orders[n].checkpoint);
        assert!(placement.first_record() > last, "in the order of the claim");
        last = placement.first_record();
        rig.control.submit(
            V1,
            &format!("r/verify/{n}"),
            verify_order(&orders[n], placement),
        );
    }
    assert_eq!(
        rig.control.state.lock().reports,
        [(6, true)],
        "one report for six checkpoints"
    );
    for n in 0..6 {
        let outcome = rig
            .control
            .outcome(&format!("r/verify/{n}").parse().unwrap())
            .await;
        assert!(
            matches!(outcome, Outcome::Verified { artifacts: 2, .. }),
            "{outcome:?}"
        );
    }
    agent.stop().await;
    let state = rig.control.state.lock();
    assert_eq!(state.closed, 1);
    assert_eq!(
        state.volumes[&V1.parse().unwrap()]
            .position
            .as_ref()
            .unwrap()
            .manifests,
        6
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_artifact_fails_only_its_checkpoint() {
    let mut rig = Rig::new();
    let good = rig.checkpoint(1000);
    let mut missing = rig.checkpoint(1000);
    missing.artifacts[1].fetch = "file:///nowhere/at/all".into();
    let changed = rig.checkpoint(2_000_000);
    let path = changed.artifacts[0]
        .fetch
        .strip_prefix("file://")
        .unwrap()
        .to_owned();
    std::fs::write(path, crate::rig::noise(99, 2_000_000)).unwrap();
    let last = rig.checkpoint(1000);
    let submit = |key, order| rig.control.submit(V1, key, Order::Write(order));
    let keys = [
        submit("g", good),
        submit("m", missing),
        submit("c", changed),
        submit("l", last),
    ];
    let agent = rig.start();
    rig.control.placement(&keys[0]).await;
    assert_eq!(
        rig.control.refusal(&keys[1]).await.code,
        Code::ArtifactMissing
    );
    assert_eq!(
        rig.control.refusal(&keys[2]).await.code,
        Code::ChecksumMismatch
    );
    rig.control.placement(&keys[3]).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_checkpoints_ends_a_batch() {
    let mut rig = Rig::new();
    rig.config.batch.checkpoints = 3;
    let keys: Vec<_> = (0..7)
        .map(|n| {
            let order = rig.checkpoint(100);
            rig.control
                .submit(V1, &format!("k{n}"), Order::Write(order))
        })
        .collect();
    let agent = rig.start();
    for key in &keys {
        rig.control.placement(key).await;
    }
    agent.stop().await;
    assert_eq!(
        rig.control.state.lock().reports,
        [(3, true), (3, true), (1, true)]
    );
}

#[tokio::test(start_paused = true)]
async fn one_drive_serves_two_volumes_in_turn() {
    let mut rig = Rig::new();
    let first = rig.checkpoint(1000);
    let second = rig.checkpoint(1000);
    let first = rig.control.submit(V1, "a", Order::Write(first));
    let second = rig.control.submit(V2, "b", Order::Write(second));
    let agent = rig.start();
    assert_eq!(rig.control.placement(&first).await.volume.as_str(), V1);
    assert_eq!(rig.control.placement(&second).await.volume.as_str(), V2);
    let third = rig.checkpoint(1000);
    let third = rig.control.submit(V1, "c", Order::Write(third));
    rig.control.placement(&third).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_artifact_larger_than_a_part_lies_on_two_volumes_and_comes_back_whole() {
    let mut rig = Rig::new();
    let bytes = crate::rig::noise(5, 3_000_000);
    let whole = rig.checkpoint_of(&[("big.bin", bytes.clone())]);
    let cut = 1_700_000;
    let mut placements = Vec::new();
    let agent = rig.start();
    for (part, volume, offset, length) in [(0, V1, 0, cut), (1, V2, cut, 3_000_000 - cut)] {
        let mut order = whole.clone();
        (order.part, order.parts) = (part, 2);
        order.artifacts[0].range.offset = Bytes(offset);
        order.artifacts[0].range.length = Bytes(length);
        let key = rig
            .control
            .submit(volume, &format!("w{part}"), Order::Write(order));
        placements.push((volume, rig.control.placement(&key).await));
    }
    for (n, (volume, placement)) in placements.into_iter().enumerate() {
        let order = rig.restore_order(placement, "out");
        let key = rig.control.submit(volume, &format!("r{n}"), order);
        let outcome = rig.control.outcome(&key).await;
        assert!(
            matches!(outcome, Outcome::Restored { artifacts: 1, .. }),
            "{outcome:?}"
        );
    }
    agent.stop().await;
    assert!(std::fs::read(rig.restore_dir("out").join("big.bin")).unwrap() == bytes);
}
