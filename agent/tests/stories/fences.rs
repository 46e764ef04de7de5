//! One writer: a lower fence never touches a drive, a session that is over stops.

use std::sync::Arc;
use std::time::Duration;

use model::Fence;
use model::work::Order;
use simlib::Config;
use tapemark_agent::KillPoints;

use crate::rig::{Rig, V1};

#[tokio::test(start_paused = true)]
async fn a_fence_lower_than_one_seen_is_refused_after_a_restart() {
    let mut rig = Rig::new();
    rig.control.state.lock().forge_fence = Some(Fence(9));
    let order = rig.checkpoint(1000);
    let key = rig.control.submit(V1, "a", Order::Write(order));
    let agent = rig.start();
    assert_eq!(rig.control.placement(&key).await.fence, Fence(9));
    agent.stop().await;
    let before = rig.sim.standing(0).unwrap();

    // A control plane that forgot: its next grant is lower.
    rig.control.state.lock().forge_fence = Some(Fence(5));
    let order = rig.checkpoint(1000);
    let key = rig.control.submit(V1, "b", Order::Write(order));
    let agent = rig.start();
    rig.control
        .until(|state| (state.volumes[&V1.parse().unwrap()].fence == Fence(5)).then_some(()))
        .await;
    agent.stop().await;
    assert_eq!(
        rig.sim.standing(0).unwrap(),
        before,
        "the tape did not move"
    );
    assert!(rig.control.state.lock().item(&key).outcome.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_given_to_somebody_else_stops() {
    let mut rig = Rig::new();
    let order = rig.checkpoint(1000);
    let key = rig.control.submit(V1, "a", Order::Write(order));
    let agent = rig.start();
    let old = rig.control.placement(&key).await.fence;
    rig.control.fence_off();
    let order = rig.checkpoint(1000);
    let key = rig.control.submit(V1, "b", Order::Write(order));
    let new = rig.control.placement(&key).await.fence;
    assert!(
        new.0 >= old.0 + 2,
        "only a new session wrote: {old} then {new}"
    );
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_stale_one_of_two_agents_stops_and_the_other_continues() {
    let mut rig = Rig::with(Config {
        drives: 2,
        slots: 8,
        ..Config::default()
    });
    let order = rig.checkpoint(1000);
    let key = rig.control.submit(V1, "a", Order::Write(order));
    let stale = rig.start();
    let before = rig.control.placement(&key).await;
    // The control plane gives the volume away; a second agent on the same library gets it.
    rig.control.fence_off();
    let mut config = rig.config.clone();
    config.agent = "agent-2".parse().unwrap();
    config.journal_dir = rig.dir.path().join("journal-2");
    let fresh = rig.start_with(KillPoints::default(), config);
    let order = rig.checkpoint(1000);
    let key = rig.control.submit(V1, "b", Order::Write(order));
    let after = rig.control.placement(&key).await;
    assert!(after.fence > before.fence);
    assert!(after.first_record() > before.segments.last().map(|s| s.first));
    stale.stop().await;
    fresh.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_answers_stops_before_its_lease_ends() {
    let mut rig = Rig::new();
    let order = rig.checkpoint(1000);
    let key = rig.control.submit(V1, "a", Order::Write(order));
    let agent = rig.start();
    rig.control.placement(&key).await;
    let control = Arc::clone(&rig.control);
    control.state.lock().cut = true;
    // The lease is 60 s; 300 virtual seconds later the session is long over.
    tokio::time::advance(Duration::from_secs(300)).await;
    control.state.lock().cut = false;
    control.poke();
    let order = rig.checkpoint(1000);
    let key = control.submit(V1, "b", Order::Write(order));
    let placement = control.placement(&key).await;
    assert!(
        placement.fence > Fence(1),
        "a new session, not the old one: {}",
        placement.fence
    );
    agent.stop().await;
}
