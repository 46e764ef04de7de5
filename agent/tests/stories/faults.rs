//! What hardware does: write errors, resets, the end of the medium, a jammed robot.

use model::Code;
use model::work::{Order, Outcome};
use simlib::{Config, Effect, Fault};

use crate::rig::{Rig, V1, V2, verify_order};

#[tokio::test(start_paused = true)]
async fn a_write_error_takes_the_batch_and_the_volume_and_nothing_proven() {
    let mut rig = Rig::new();
    let safe = rig.checkpoint(500_000);
    let safe_key = rig.control.submit(V1, "safe", Order::Write(safe.clone()));
    let agent = rig.start();
    let placement = rig.control.placement(&safe_key).await;
    rig.sim.arm(
        Fault::on("WRITE(6)")
            .nth(5)
            .effect(Effect::sense(3, 0x0c, 0)),
    );
    let orders: Vec<_> = (0..3).map(|_| rig.checkpoint(1_500_000)).collect();
    // Together, so that they are one batch.
    let keys: Vec<_> = {
        orders
            .into_iter()
            .enumerate()
            .map(|(n, order)| {
                rig.control
                    .submit(V1, &format!("k{n}"), Order::Write(order))
            })
            .collect()
    };
    for key in &keys {
        assert_eq!(rig.control.refusal(key).await.code, Code::MediaError);
    }
    assert_eq!(rig.control.volume_fault(V1).await.code, Code::MediaError);
    assert!(
        rig.control.state.lock().drive_faults.is_empty(),
        "one failure does not blame the drive"
    );
    // What was proven before is read as ever.
    let key = rig.control.submit(V1, "v", verify_order(&safe, placement));
    assert!(matches!(
        rig.control.outcome(&key).await,
        Outcome::Verified { .. }
    ));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_second_write_error_in_a_row_takes_the_drive() {
    let mut rig = Rig::new();
    rig.sim.arm(
        Fault::on("WRITE(6)")
            .nth(4)
            .times(40)
            .effect(Effect::sense(3, 0x0c, 0)),
    );
    let order = rig.checkpoint(2_000_000);
    let first = rig.control.submit(V1, "a", Order::Write(order));
    let agent = rig.start();
    assert_eq!(rig.control.refusal(&first).await.code, Code::MediaError);
    let order = rig.checkpoint(2_000_000);
    rig.control.submit(V2, "b", Order::Write(order));
    let fault = rig
        .control
        .until(|state| state.drive_faults.values().next().cloned())
        .await;
    assert_eq!(fault.code, Code::DriveFault);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_reset_the_tape_is_proven_again_and_the_work_done() {
    let mut rig = Rig::new();
    let orders: Vec<_> = (0..3).map(|_| rig.checkpoint(1_500_000)).collect();
    // Two records are the label; the reset comes in the middle of the second checkpoint.
    rig.sim
        .arm(Fault::on("WRITE(6)").nth(9).effect(Effect::Reset));
    let keys: Vec<_> = (0..3)
        .map(|n| {
            rig.control
                .submit(V1, &format!("k{n}"), Order::Write(orders[n].clone()))
        })
        .collect();
    let agent = rig.start();
    let mut records = std::collections::BTreeSet::new();
    for (n, key) in keys.iter().enumerate() {
        let placement = rig.control.placement(key).await;
        for segment in &placement.segments {
            assert!(records.insert(segment.first));
        }
        let key = rig
            .control
            .submit(V1, &format!("v{n}"), verify_order(&orders[n], placement));
        assert!(matches!(
            rig.control.outcome(&key).await,
            Outcome::Verified { .. }
        ));
    }
    assert_eq!(rig.sim.pending_faults(), 0, "the reset came");
    {
        let state = rig.control.state.lock();
        assert!(
            state.drive_faults.is_empty() && state.volumes[&V1.parse().unwrap()].fault.is_none()
        );
    }
    agent.stop().await;
}

fn small() -> Config {
    // 6 MiB of cartridge, early warning 2 MiB before its end.
    Config {
        drives: 1,
        slots: 8,
        capacity: 6 << 20,
        early_warning: 2 << 20,
        ..Config::default()
    }
}

#[tokio::test(start_paused = true)]
async fn early_warning_in_a_segment_ends_the_volume_in_order() {
    let mut rig = Rig::with(small());
    let orders: Vec<_> = (0..6).map(|_| rig.checkpoint(1_000_000)).collect();
    let keys: Vec<_> = (0..6)
        .map(|n| {
            rig.control
                .submit(V1, &format!("k{n}"), Order::Write(orders[n].clone()))
        })
        .collect();
    let agent = rig.start();
    let mut written = Vec::new();
    for key in &keys {
        match rig.control.outcome(key).await {
            Outcome::Written { placement } => written.push(placement),
            Outcome::Failed { refusal } => assert_eq!(refusal.code, Code::VolumeFull),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        (2..6).contains(&written.len()),
        "some fit: {}",
        written.len()
    );
    assert_eq!(rig.control.volume_fault(V1).await.code, Code::VolumeFull);
    // A full volume is read as ever, and has an index.
    for (n, placement) in written.into_iter().enumerate() {
        let key = rig
            .control
            .submit(V1, &format!("v{n}"), verify_order(&orders[n], placement));
        assert!(matches!(
            rig.control.outcome(&key).await,
            Outcome::Verified { .. }
        ));
    }
    let key = rig.control.submit(V1, "scan", Order::Scan);
    let Outcome::Scanned { report } = rig.control.outcome(&key).await else {
        panic!()
    };
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["indexes"].as_array().unwrap().len(), 1, "{report:#}");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_overflows_the_volume_goes_elsewhere() {
    let mut rig = Rig::with(small());
    let order = rig.checkpoint(9_000_000);
    let key = rig.control.submit(V1, "a", Order::Write(order));
    let agent = rig.start();
    assert_eq!(rig.control.refusal(&key).await.code, Code::VolumeFull);
    assert_eq!(rig.control.volume_fault(V1).await.code, Code::VolumeFull);
    assert!(rig.control.state.lock().drive_faults.is_empty());
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_jam_is_tried_once_more_then_it_is_a_fault() {
    let mut rig = Rig::new();
    rig.sim
        .arm(Fault::on("MOVE MEDIUM").effect(Effect::Jam { dropped: false }));
    let order = rig.checkpoint(1000);
    let key = rig.control.submit(V1, "a", Order::Write(order));
    let agent = rig.start();
    rig.control.placement(&key).await;
    rig.sim.arm(
        Fault::on("MOVE MEDIUM")
            .times(10)
            .effect(Effect::Jam { dropped: false }),
    );
    let order = rig.checkpoint(1000);
    let key = rig.control.submit(V2, "b", Order::Write(order));
    let fault = rig
        .control
        .until(|state| state.drive_faults.values().next().cloned())
        .await;
    assert_eq!(fault.code, Code::ChangerFault);
    assert!(rig.control.state.lock().item(&key).outcome.is_none());
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_device_is_asked_again_and_no_drive_is_blamed() {
    let mut rig = Rig::new();
    for command in ["READ ELEMENT STATUS", "MOVE MEDIUM", "WRITE(6)"] {
        rig.sim
            .arm(Fault::on(command).times(3).effect(Effect::Busy));
    }
    let order = rig.checkpoint(1_500_000);
    let key = rig.control.submit(V1, "a", Order::Write(order));
    let agent = rig.start();
    rig.control.placement(&key).await;
    {
        let state = rig.control.state.lock();
        assert!(state.drive_faults.is_empty());
        assert_eq!(state.closed, 0, "one session did it");
    }
    assert_eq!(rig.sim.pending_faults(), 0, "each was busy");
    // A changer that is busy for longer than it is waited for, again and again.
    rig.sim.arm(
        Fault::on("READ ELEMENT STATUS")
            .times(50)
            .effect(Effect::Busy),
    );
    let order = rig.checkpoint(1000);
    let key = rig.control.submit(V2, "b", Order::Write(order));
    rig.control.placement(&key).await;
    {
        let state = rig.control.state.lock();
        assert!(state.drive_faults.is_empty());
        assert!(state.closed >= 2, "it gave up, and came again");
    }
    agent.stop().await;
}
