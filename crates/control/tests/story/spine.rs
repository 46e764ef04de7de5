//! From submission to commit and back, when nothing goes wrong.

use control::ledger::{HashChain, verify_chain};
use control::ports::Ledger as _;
use control::testing::World;
use control::{ListCheckpoints, Principal, RestoreState, parse_submission};
use model::{Bytes, State};
use serde_json::json;

use crate::agent::{Agent, Tapes};
use crate::machine::{At, Machine};
use crate::{Test, event};

const OPERATOR: Principal = Principal::Operator;

#[tokio::test]
async fn a_checkpoint_goes_from_submission_to_commit_and_back() -> Test {
    let world = World::new(1);
    let control = world.set_up(2, Bytes::gib(1), &["payments"]).await?;
    let submission = parse_submission(world.sample("payments", "1.0")).unwrap();
    let outcome = control.submit(&OPERATOR, submission).await.unwrap();
    let id = outcome.checkpoints[0];

    let mut machine = Machine::default();
    let mut agent = Agent::new("D1", "life 1");
    let mut tapes = Tapes::new();
    machine.settle(&control).await?;
    assert_eq!(machine.at(outcome.group), At::Execute);
    assert_eq!(agent.run(&control, &mut tapes).await?, 1);
    let view = control.checkpoint(&OPERATOR, id).await?;
    assert_eq!(view.group.lifecycle.state(), &State::Written);
    assert!(
        view.placements.is_empty(),
        "nothing is visible before commit"
    );

    machine.settle(&control).await?;
    assert_eq!(agent.run(&control, &mut tapes).await?, 1);
    machine.settle(&control).await?;
    assert_eq!(machine.at(outcome.group), At::Committed);
    let view = control.checkpoint(&OPERATOR, id).await?;
    assert_eq!(view.group.lifecycle.state(), &State::Committed);
    let index = view.checkpoint.ledger_index;
    assert_eq!(index, Some(1), "after the decision that let it go ahead");
    assert_eq!(view.placements.len(), 1);
    assert!(world.objects.pinned().is_empty(), "pins are let go");

    let volume = control
        .volume(&OPERATOR, &view.placements[0].volume)
        .await?;
    assert_eq!((volume.reserved, volume.checkpoints), (Bytes::ZERO, 1));
    assert_eq!(volume.used, view.placements[0].bytes());
    assert_eq!(volume.abandoned, Bytes::ZERO);

    let head = control.ledger_head().await?;
    let leaves = control.ledger_leaves(0, 10).await?;
    verify_chain(
        &HashChain,
        &HashChain.empty(),
        leaves.iter().map(String::as_str),
        &head,
    )?;
    let events: Vec<_> = leaves.iter().map(|leaf| event(leaf)).collect();
    assert_eq!(events, ["decided", "committed"]);

    let restore = control.restore(&OPERATOR, id, Vec::new()).await?;
    agent.run(&control, &mut tapes).await?;
    let view = control.restore_view(&OPERATOR, restore).await?;
    assert_eq!(view.state, RestoreState::Done);
    assert_eq!(view.artifacts, 1);
    assert_eq!(view.delivered, Some(format!("file:///delivered/{restore}")));
    Ok(())
}

#[tokio::test]
async fn a_group_of_three_becomes_visible_at_once() -> Test {
    let world = World::new(2);
    let control = world.set_up(2, Bytes::gib(1), &["a", "b", "c"]).await?;
    let members = ["a", "b", "c"].map(|s| world.member(s, "1", s.as_bytes()));
    let submission = parse_submission(world.submission("k", &members)).unwrap();
    let outcome = control.submit(&OPERATOR, submission).await.unwrap();
    let mut machine = Machine::default();
    let mut agent = Agent::new("D1", "life 1");
    let mut tapes = Tapes::new();
    machine.settle(&control).await?;
    agent.open(&control).await?;
    agent.ready(&control, &mut tapes).await?;
    agent.claim(&control, 200).await?;
    assert_eq!(agent.claimed.len(), 3);
    for _ in 0..2 {
        agent.work(&mut tapes);
    }
    agent.report(&control, &tapes).await?;
    machine.settle(&control).await?;
    assert_eq!(machine.at(outcome.group), At::Execute, "one is missing");
    agent.work(&mut tapes);
    agent.report(&control, &tapes).await?;
    machine.settle(&control).await?;
    agent.run(&control, &mut tapes).await?;
    machine.settle(&control).await?;
    let (group, checkpoints) = control.group(&OPERATOR, outcome.group).await?;
    assert_eq!(group.lifecycle.state(), &State::Committed);
    let indices: Vec<_> = checkpoints.iter().map(|c| c.ledger_index).collect();
    assert_eq!(indices, [Some(1), Some(2), Some(3)]);
    Ok(())
}

/// Costs are counted, not timed: they are what DynamoDB bills and what a disk syncs.
#[tokio::test]
async fn the_cost_of_a_checkpoint_is_small_and_does_not_grow() -> Test {
    let world = World::new(3);
    let names: Vec<_> = (0..40).map(|n| format!("service-{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let control = world.set_up(4, Bytes::gib(100), &names).await?;
    let mut machine = Machine::default();
    let mut agent = Agent::new("D1", "life 1");
    let mut tapes = Tapes::new();
    let mut costs = Vec::new();
    for round in 0..12 {
        world.clock.advance(std::time::Duration::from_secs(60));
        let before = [
            world.table.transactions(),
            world.table.reads(),
            world.table.items_read(),
        ];
        for name in &names {
            let submission = parse_submission(world.sample(name, &format!("{round}"))).unwrap();
            control.submit(&OPERATOR, submission).await.unwrap();
        }
        for _ in 0..5 {
            machine.settle(&control).await?;
            agent.run(&control, &mut tapes).await?;
        }
        machine.settle(&control).await?;
        let after = [
            world.table.transactions(),
            world.table.reads(),
            world.table.items_read(),
        ];
        costs.push([0, 1, 2].map(|n| (after[n] - before[n]) as f64 / names.len() as f64));
        let open = machine.runs.values().find(|run| run.at != At::Committed);
        assert!(open.is_none(), "{open:?}");
    }
    eprintln!("transactions, reads and items read a checkpoint: {costs:?}");
    // Alone, without sharing any of its transactions with others: at most ten and a bit.
    assert!(costs[0][0] <= 10.0, "{costs:?}");
    for (first, last) in costs[1].iter().zip(costs[11]) {
        assert!(last <= first * 1.1, "{costs:?}");
    }
    Ok(())
}

#[tokio::test]
async fn runs_that_commit_together_share_transactions() -> Test {
    let world = World::new(4);
    let names: Vec<_> = (0..60).map(|n| format!("service-{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let control = world.set_up(4, Bytes::gib(100), &names).await?;
    let mut machine = Machine::default();
    let mut agent = Agent::new("D1", "life 1");
    let mut tapes = Tapes::new();
    for name in &names {
        let submission = parse_submission(world.sample(name, "1")).unwrap();
        control.submit(&OPERATOR, submission).await.unwrap();
    }
    machine.deliver(&control, true).await?;
    for name in machine.ready() {
        machine.step(&control, &name, false).await;
    }
    // All sixty allocate at the same time, as an engine would have them.
    let invoke = |phase, op: &'static str, machine: &Machine| {
        let control = control.clone();
        let payloads: Vec<_> = machine
            .runs
            .values()
            .map(|run| json!({"op": op, "run": run.run, "group": run.group, "placement": 0}))
            .collect();
        async move {
            futures::future::join_all(payloads.into_iter().map(|p| control.run_phase(phase, p)))
                .await
        }
    };
    let before = world.table.transactions();
    for answer in invoke(control::Phase::Allocate, "place", &machine).await {
        assert_eq!(answer?["outcome"], "proceed");
    }
    // Whoever comes first goes alone, all others together: each time what was decided, and
    // what became of it.
    let transactions = world.table.transactions() - before;
    assert!(transactions <= 4, "{transactions}");
    machine.settle(&control).await?;
    // Two drives are kept busy.
    let mut other = Agent::new("D2", "life 1");
    assert_eq!(agent.run(&control, &mut tapes).await?, 30);
    assert_eq!(other.run(&control, &mut tapes).await?, 30);
    machine.deliver(&control, true).await?;
    for _ in 0..2 {
        for name in machine.ready() {
            machine.step(&control, &name, false).await;
        }
    }
    agent.run(&control, &mut tapes).await?;
    other.run(&control, &mut tapes).await?;
    machine.deliver(&control, true).await?;
    let before = world.table.transactions();
    for answer in invoke(control::Phase::Verify, "commit", &machine).await {
        answer?;
    }
    let transactions = world.table.transactions() - before;
    assert!(transactions <= 6, "{transactions}");
    assert_eq!(control.checkpoints_committed().await?, 60);
    let leaves = control.ledger_leaves(0, 100).await?;
    let size = control.ledger_head().await?.size;
    assert_eq!(leaves.len() as u64, size);
    let (decided, _) = control.decisions(&OPERATOR, 200, None).await?;
    assert_eq!(size, 60 + decided.len() as u64, "a leaf each");
    assert!(
        decided.len() <= 2,
        "those that ask together are one decision"
    );
    assert_eq!(control.ledger_leaves(7, 5).await?, leaves[7..12]);
    assert!(control.ledger_leaves(size, 5).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn lists_are_newest_first_and_go_on_where_they_ended() -> Test {
    let world = World::new(5);
    let control = world.set_up(1, Bytes::gib(1), &["a", "b"]).await?;
    let mut ids = Vec::new();
    for n in 0..6 {
        world.clock.advance(std::time::Duration::from_secs(1));
        let service = if n % 2 == 0 { "a" } else { "b" };
        let submission = parse_submission(world.sample(service, &format!("{n}"))).unwrap();
        ids.push(
            control
                .submit(&OPERATOR, submission)
                .await
                .unwrap()
                .checkpoints[0],
        );
    }
    ids.reverse();
    let scoped = Principal::Services(vec!["a".parse()?, "b".parse()?]);
    for who in [OPERATOR, scoped] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let list = ListCheckpoints {
                service: None,
                limit: 4,
                after,
            };
            let (page, next) = control.list_checkpoints(&who, list).await?;
            found.extend(page.into_iter().map(|view| view.checkpoint.id));
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, ids);
    }
    let of_b = ListCheckpoints {
        service: Some("b".parse()?),
        limit: 10,
        after: None,
    };
    let only_a = Principal::Services(vec!["a".parse()?]);
    let refusal = control.list_checkpoints(&only_a, of_b).await.unwrap_err();
    assert_eq!(refusal.code, model::Code::Forbidden);
    Ok(())
}
