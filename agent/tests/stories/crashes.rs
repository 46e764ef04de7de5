//! Kill the agent at any moment: the next one continues, nothing is lost or overwritten.

use std::collections::BTreeSet;

use model::work::{Order, Outcome};
use tapemark_agent::KillPoints;

use crate::rig::{Rig, V1, verify_order};

/// Writes a batch, dies at `at` in the middle of another one, and starts again.
async fn story(at: &str, power_too: bool) -> Rig {
    let mut rig = Rig::new();
    let safe = rig.checkpoint(400_000);
    let safe_key = rig.control.submit(V1, "safe", Order::Write(safe.clone()));
    let first = rig.start();
    let safe_placement = rig.control.placement(&safe_key).await;
    first.stop().await;

    let orders: Vec<_> = (0..3).map(|_| rig.checkpoint(1_500_000)).collect();
    let keys: Vec<_> = (0..3)
        .map(|n| {
            rig.control
                .submit(V1, &format!("k{n}"), Order::Write(orders[n].clone()))
        })
        .collect();
    rig.start_to_die(at).dead().await;
    if power_too {
        rig.sim.power_cycle(0);
    }

    let second = rig.start();
    let mut spans = BTreeSet::new();
    let mut manifests = BTreeSet::new();
    let mut check = vec![(safe, safe_placement)];
    for (key, order) in keys.iter().zip(orders) {
        check.push((order, rig.control.placement(key).await));
    }
    for (n, (order, placement)) in check.into_iter().enumerate() {
        for segment in &placement.segments {
            for record in segment.first.0..=segment.first.0 + segment.records {
                assert!(
                    spans.insert(record),
                    "{at}: object {record} belongs to two placements"
                );
            }
        }
        assert!(manifests.insert(placement.manifest));
        let key = rig
            .control
            .submit(V1, &format!("v{n}"), verify_order(&order, placement));
        let outcome = rig.control.outcome(&key).await;
        assert!(
            matches!(outcome, Outcome::Verified { .. }),
            "{at}: {outcome:?}"
        );
    }
    second.stop().await;
    rig
}

#[tokio::test(start_paused = true)]
async fn killed_in_the_middle_of_a_segment() {
    for power_too in [false, true] {
        story("mid-segment:6", power_too).await;
    }
}

#[tokio::test(start_paused = true)]
async fn killed_after_the_records_before_the_filemark() {
    // The drive lives on and has everything in its buffer: the next agent adopts it.
    let rig = story(KillPoints::AFTER_RECORDS, false).await;
    assert_eq!(
        rig.control
            .state
            .lock()
            .items
            .iter()
            .filter(|item| item.adopted)
            .count(),
        3
    );
    // The drive dies too: everything is written again.
    let rig = story(KillPoints::AFTER_RECORDS, true).await;
    assert_eq!(
        rig.control
            .state
            .lock()
            .items
            .iter()
            .filter(|item| item.adopted)
            .count(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn killed_after_the_filemark_before_the_report() {
    for power_too in [false, true] {
        let rig = story(KillPoints::AFTER_FILEMARK, power_too).await;
        let state = rig.control.state.lock();
        assert_eq!(state.items.iter().filter(|item| item.adopted).count(), 3);
        assert_eq!(state.abandoned, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn killed_after_the_report() {
    for power_too in [false, true] {
        let rig = story(KillPoints::AFTER_REPORT, power_too).await;
        assert!(
            rig.control
                .state
                .lock()
                .items
                .iter()
                .all(|item| !item.adopted)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn killed_while_reading_back() {
    let mut rig = Rig::new();
    let order = rig.checkpoint(3_000_000);
    let key = rig.control.submit(V1, "w", Order::Write(order.clone()));
    let agent = rig.start();
    let placement = rig.control.placement(&key).await;
    agent.stop().await;
    let key = rig.control.submit(V1, "v", verify_order(&order, placement));
    rig.start_to_die("during-read-back:2").dead().await;
    let agent = rig.start();
    assert!(matches!(
        rig.control.outcome(&key).await,
        Outcome::Verified { .. }
    ));
    agent.stop().await;
}
