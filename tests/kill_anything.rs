//! Kill anything at any moment and start it again: no committed checkpoint is lost, none is
//! half visible, nothing on tape is overwritten, and what was submitted is committed in the
//! end, without anybody's help.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::PathBuf;

use support::{Stack, noise, tree};

/// Where the agent dies, and at which time of passing: after the first checkpoint is
/// committed, before the others are.
const POINTS: [&str; 5] = [
    "mid-segment:8",
    "after-records-before-filemark:2",
    "after-filemark-before-report:2",
    "after-report-before-commit:3",
    "during-read-back:6",
];

/// How many services submit while the agent is about to die.
const SERVICES: u8 = 5;

struct Submitted {
    group: String,
    checkpoint: String,
    files: PathBuf,
}

/// One checkpoint that is safe on tape before anything dies.
fn settle(stack: &Stack) -> Submitted {
    stack.register(&["settled"]);
    stack.file("settled/app", &noise(99, 200_000));
    let files = stack.work().join("settled");
    let checkpoint = stack.commit("settled", "1.0", &files);
    let group = stack.status(&checkpoint)["group"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    Submitted {
        group,
        checkpoint,
        files,
    }
}

/// Submissions that nobody waits for: artifacts above and below the size that travels
/// bundled.
fn submit_all(stack: &Stack) -> Vec<Submitted> {
    let names: Vec<_> = (0..SERVICES).map(|n| format!("service-{n}")).collect();
    stack.register(&names.iter().map(String::as_str).collect::<Vec<_>>());
    names
        .iter()
        .zip(0u64..)
        .map(|(name, n)| {
            stack.file(&format!("{name}/big"), &noise(n, 3 << 20));
            stack.file(&format!("{name}/small"), &noise(n + 100, 5_000));
            let files = stack.work().join(name);
            let answer = stack
                .run([
                    "submit",
                    "--service",
                    name,
                    "--version",
                    "1.0",
                    files.to_str().unwrap(),
                ])
                .ok();
            Submitted {
                group: answer["id"].as_str().unwrap().to_owned(),
                checkpoint: answer["checkpoints"][0]["id"].as_str().unwrap().to_owned(),
                files,
            }
        })
        .collect()
}

/// Everything that must be true once all is quiet again.
fn check_all(stack: &Stack, all: &[Submitted]) {
    for one in all {
        let status = stack.wait_for(&one.group, &["committed", "failed", "parked", "rejected"]);
        assert_eq!(status["state"], "committed", "{status}\n{}", stack.logs());
    }
    for one in all {
        let restored = stack.restore(&one.checkpoint);
        assert_eq!(tree(&restored), tree(&one.files), "{}", one.checkpoint);
    }
    let ledger = stack.run(["ledger", "verify"]).ok();
    assert_eq!(ledger["verified"], true);
    assert_eq!(ledger["committed"], all.len());

    // The tape says the same as the catalogue, at the same places: what was there before
    // the kill was not written over.
    let mut volumes: Vec<String> = all
        .iter()
        .map(|one| {
            let status = stack.status(&one.checkpoint);
            status["placements"][0]["volume"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    volumes.sort();
    volumes.dedup();
    let reports: String = volumes
        .iter()
        .map(|volume| stack.run(["volume", "scan", volume]).ok().to_string())
        .collect();
    for one in all {
        assert!(
            reports.contains(&one.checkpoint),
            "{} is not on tape",
            one.checkpoint
        );
    }
}

fn with_a_dying_agent(point: &str, kill_the_stack_too: bool) {
    let mut stack = Stack::start_with(&[], &[("TAPEMARK_KILL_AT", point)]);
    let agent = stack.agent_pid();
    let mut all = vec![settle(&stack)];
    let before = stack.status(&all[0].checkpoint)["placements"].clone();
    assert_eq!(stack.agent_pid(), agent, "{point} came too early");
    all.extend(submit_all(&stack));
    stack.until(&format!("death at {point}"), || {
        let pid = std::fs::read_to_string(stack.data().join("agent.pid")).unwrap_or_default();
        (pid.trim() != agent.to_string()).then_some(())
    });
    if kill_the_stack_too {
        stack.kill();
        stack.forget_environment();
        stack.up();
    }
    check_all(&stack, &all);
    assert_eq!(stack.status(&all[0].checkpoint)["placements"], before);
}

#[test]
fn the_agent_dies_in_the_middle_of_a_segment() {
    with_a_dying_agent(POINTS[0], false);
}

#[test]
fn the_agent_dies_after_the_records_and_before_the_filemark() {
    with_a_dying_agent(POINTS[1], false);
}

#[test]
fn the_agent_dies_after_the_filemark_and_before_the_report() {
    with_a_dying_agent(POINTS[2], false);
}

#[test]
fn the_agent_dies_after_the_report_and_before_the_commit() {
    with_a_dying_agent(POINTS[3], false);
}

#[test]
fn the_agent_dies_while_it_reads_back() {
    with_a_dying_agent(POINTS[4], false);
}

#[test]
fn everything_dies_at_each_of_these_moments() {
    for point in POINTS {
        with_a_dying_agent(point, true);
    }
}

#[test]
fn everything_dies_again_and_again_while_work_comes_in() {
    let mut stack = Stack::start();
    let mut all = vec![settle(&stack)];
    all.extend(submit_all(&stack));
    // Each life ends as soon as it has got a little further than the one before.
    for committed in [1, 3, 5] {
        stack.until(&format!("{committed} commits"), || {
            let head = stack.run(["ledger", "verify"]);
            (head.code == 0 && head.json["committed"].as_u64()? >= committed).then_some(())
        });
        stack.kill_and_restart();
    }
    check_all(&stack, &all);
}
