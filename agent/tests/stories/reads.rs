//! Reading: back for comparison, out for a restore, over all for a scan.

use model::Code;
use model::work::{Order, Outcome};
use simlib::Damage;

use crate::rig::{Rig, V1, tag, verify_order};

#[tokio::test(start_paused = true)]
async fn a_restore_is_equal_byte_for_byte() {
    let mut rig = Rig::new();
    let files = [
        ("bin/app", crate::rig::noise(1, 2_500_000)),
        ("etc/conf.toml", b"a = 1\n".to_vec()),
        ("empty", Vec::new()),
        ("größe/漢字.txt", vec![0; 70_000]),
    ];
    let order = rig.checkpoint_of(&files);
    let key = rig.control.submit(V1, "w", Order::Write(order));
    let agent = rig.start();
    let placement = rig.control.placement(&key).await;
    let restore = rig.restore_order(placement.clone(), "out");
    let key = rig.control.submit(V1, "r", restore);
    let outcome = rig.control.outcome(&key).await;
    assert!(
        matches!(outcome, Outcome::Restored { artifacts: 4, .. }),
        "{outcome:?}"
    );
    for (name, bytes) in &files {
        let found = std::fs::read(rig.restore_dir("out").join(name)).unwrap();
        assert!(found == *bytes, "{name}");
    }
    // Outside of what the operator allows, nothing is made.
    let Order::Restore(mut order) = rig.restore_order(placement, "out") else {
        panic!()
    };
    let outside = rig.dir.path().join("elsewhere");
    order.deliver = format!("file://{}", outside.display());
    let key = rig.control.submit(V1, "r2", Order::Restore(order));
    assert_eq!(rig.control.refusal(&key).await.code, Code::SourceNotAllowed);
    assert!(!outside.exists());
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn damage_on_the_medium_is_found_and_costs_one_checkpoint() {
    let mut rig = Rig::new();
    let orders: Vec<_> = (0..3).map(|_| rig.checkpoint(1_200_000)).collect();
    let keys: Vec<_> = (0..3)
        .map(|n| {
            rig.control
                .submit(V1, &format!("k{n}"), Order::Write(orders[n].clone()))
        })
        .collect();
    let agent = rig.start();
    let mut placements = Vec::new();
    for key in &keys {
        placements.push(rig.control.placement(key).await);
    }
    let second = |n: usize| placements[n].segments[0].first.0 + 1;
    rig.sim
        .corrupt(&tag(V1), second(0), Damage::Silent)
        .unwrap();
    rig.sim
        .corrupt(&tag(V1), second(1), Damage::Unreadable)
        .unwrap();
    let verify: Vec<_> = (0..3)
        .map(|n| {
            rig.control.submit(
                V1,
                &format!("v{n}"),
                verify_order(&orders[n], placements[n].clone()),
            )
        })
        .collect();
    assert_eq!(
        rig.control.refusal(&verify[0]).await.code,
        Code::VerifyMismatch
    );
    assert_eq!(rig.control.refusal(&verify[1]).await.code, Code::MediaError);
    assert!(matches!(
        rig.control.outcome(&verify[2]).await,
        Outcome::Verified { .. }
    ));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_an_identity_ciphertext_is_compared_and_restores_are_refused() {
    let mut rig = Rig::new();
    rig.config.identity_file = None;
    let order = rig.checkpoint(1_200_000);
    let key = rig.control.submit(V1, "w", Order::Write(order.clone()));
    let agent = rig.start();
    let placement = rig.control.placement(&key).await;
    let verify = rig
        .control
        .submit(V1, "v", verify_order(&order, placement.clone()));
    assert!(matches!(
        rig.control.outcome(&verify).await,
        Outcome::Verified { .. }
    ));
    let restore = rig.restore_order(placement, "out");
    let restore = rig.control.submit(V1, "r", restore);
    assert_eq!(rig.control.refusal(&restore).await.code, Code::KeyMissing);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_scan_lists_what_was_written_with_names() {
    let mut rig = Rig::new();
    let orders: Vec<_> = (0..3).map(|_| rig.checkpoint(10_000)).collect();
    let agent = rig.start();
    for (n, order) in orders.iter().enumerate() {
        let key = rig
            .control
            .submit(V1, &format!("k{n}"), Order::Write(order.clone()));
        rig.control.placement(&key).await;
    }
    let key = rig.control.submit(V1, "s", Order::Scan);
    let Outcome::Scanned { report } = rig.control.outcome(&key).await else {
        panic!()
    };
    agent.stop().await;
    for order in &orders {
        assert!(report.contains(&order.checkpoint.to_string()), "{report}");
    }
    assert!(report.contains("etc/größe.toml"), "{report}");
}
