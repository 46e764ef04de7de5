//! The power goes at every moment at which a step is written, and the executions finish
//! all the same.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::runner::{Status, Told, log};
use crate::store::Moment;

const RUNS: [&str; 3] = ["run-a", "run-b", "run-c"];

/// One life of the process: true where it saw all executions end.
fn live(file: &Path, world: &Arc<World>, plug: Option<Plug>) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = world.clone();
    let finished = runtime.block_on(async move {
        let Ok(runner) = open(file, STORY, world.clone(), flying(), plug).await else {
            return false;
        };
        // What the outbox does: it starts runs again until it is told that they run.
        for name in RUNS {
            if runner
                .start_execution(&run(name), json!({ "name": name }))
                .await
                .is_err()
            {
                return false;
            }
        }
        let agent = tokio::spawn({
            let (world, runner) = (world.clone(), runner.clone());
            async move {
                loop {
                    // Everything ever dispatched is answered again in each life.
                    let dispatched = world.dispatched.lock().clone();
                    for (name, token) in dispatched {
                        let _ = runner
                            .task_succeeded(&token, json!(format!("wrote {name}")))
                            .await;
                    }
                    world.bell.notified().await;
                }
            }
        });
        world.bell.notify_one();
        let mut all = true;
        for name in RUNS {
            all &= runner.ended(&run(name)).await.is_ok();
        }
        agent.abort();
        all
    });
    drop(runtime);
    finished
}

fn cut_at(count: u32) -> (Plug, Arc<AtomicU32>) {
    let seen = Arc::new(AtomicU32::new(0));
    let counter = seen.clone();
    let plug: Plug = Arc::new(move |_| counter.fetch_add(1, Ordering::SeqCst) == count);
    (plug, seen)
}

/// What the store holds at the end, for each run.
fn judge(file: &Path, world: &World, context: &str) {
    let store = Store::open(file).unwrap();
    for name in RUNS {
        let header = log::header(&store, name).unwrap().unwrap();
        assert_eq!(header.status, Status::Succeeded, "{context}: {name}");
        let done = json!({ "name": name, "done": true });
        assert_eq!(header.output, Some(done.clone()), "{context}: {name}");
        assert_eq!(
            world.verified.lock().get(name),
            Some(&done),
            "{context}: {name}"
        );

        let records = log::records(&store, name).unwrap();
        for (number, record) in records.iter().enumerate() {
            assert_eq!(
                record.number, number as u64,
                "{context}: the log of {name} has no gap"
            );
        }
        let definition = log::definition(&store, &header.definition)
            .unwrap()
            .unwrap();
        let machine = asl::Machine::parse(&definition).unwrap();
        let once = asl::Execution::replay(&machine, records.clone()).unwrap();
        let twice = asl::Execution::replay(&machine, records).unwrap();
        assert_eq!(
            once.history(),
            twice.history(),
            "{context}: {name} replays the same"
        );
        let ends = once
            .history()
            .iter()
            .filter(|event| event.kind == "ExecutionSucceeded")
            .count();
        assert_eq!(ends, 1, "{context}: {name} ends once");
        let taken = once
            .history()
            .iter()
            .filter(|event| event.kind == "TaskSucceeded")
            .count();
        assert_eq!(
            taken, 2,
            "{context}: one outcome for Validate, one for Execute"
        );
    }
    for status in Status::ALL {
        let listed = log::list(&store, status, 10, None).unwrap().items.len();
        let expected = if status == Status::Succeeded {
            RUNS.len()
        } else {
            0
        };
        assert_eq!(listed, expected, "{context}: {status:?}");
    }
}

#[test]
fn the_power_may_go_before_and_after_every_commit() {
    let mut moments = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runs.redb");
        let world = Arc::new(World::default());
        let (plug, seen) = cut_at(moments);
        let first = live(&file, &world, Some(plug));
        let was_cut = seen.load(Ordering::SeqCst) > moments;
        assert!(
            first || was_cut,
            "moment {moments}: executions stopped without a cut"
        );
        if !first {
            assert!(
                live(&file, &world, None),
                "moment {moments}: the second life did not finish"
            );
        }
        judge(&file, &world, &format!("cut at moment {moments}"));
        if !was_cut {
            break;
        }
        moments += 1;
    }
    // Each run is begun, and told of two retries, a result, two timers, a pause, a token
    // and a verification; runs share commits, and each commit has two moments.
    assert!(moments >= 16, "only {moments} moments were tried");
}

#[test]
fn the_power_may_go_again_and_again() {
    for step in 1..=4 {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runs.redb");
        let world = Arc::new(World::default());
        let mut lives = 0;
        // Each life lasts `step` moments: each gets a little further than the one before.
        while !live(&file, &world, Some(cut_at(2 * step + 1).0)) {
            lives += 1;
            assert!(
                lives < 200,
                "no progress when each life lasts {step} commits"
            );
        }
        assert!(lives > 0);
        judge(&file, &world, &format!("{lives} lives of {step} commits"));
        for name in RUNS {
            let calls = world.calls(Phase::Validate, name);
            assert!(
                (3..=3 + lives).contains(&calls),
                "{name} was validated {calls} times"
            );
        }
    }
}

#[test]
fn what_was_answered_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs.redb");
    let world = Arc::new(World::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let token = runtime.block_on(async {
        let runner = open(&file, STORY, world.clone(), flying(), None)
            .await
            .unwrap();
        runner
            .start_execution(&run("run-a"), json!({ "name": "run-a" }))
            .await
            .unwrap();
        world.bell.notified().await;
        let token = world.dispatched.lock()["run-a"].clone();
        let told = runner.task_succeeded(&token, json!("wrote")).await.unwrap();
        assert_eq!(told, Told::Taken);
        token
    });
    // The process dies right after the answer.
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let runner = open(&file, STORY, world.clone(), flying(), None)
            .await
            .unwrap();
        let told = runner.task_succeeded(&token, json!("again")).await.unwrap();
        assert_eq!(told, Told::Unknown, "a token is used once");
        let view = runner.ended(&run("run-a")).await.unwrap();
        assert_eq!(view.status, Status::Succeeded);
        let history = runner.history(&run("run-a")).await.unwrap();
        let outputs: Vec<_> = history
            .iter()
            .filter_map(|event| event["taskSucceededEventDetails"]["output"].as_str())
            .collect();
        assert_eq!(outputs.last(), Some(&"\"wrote\""));
    });
    assert_eq!(
        world.calls(Phase::Execute, "run-a"),
        1,
        "answered work is not dispatched again"
    );
}

#[test]
fn a_commit_has_two_moments() {
    let directory = tempfile::tempdir().unwrap();
    let moments = Arc::new(Mutex::new(Vec::new()));
    let seen = moments.clone();
    let plug: Plug = Arc::new(move |moment| {
        seen.lock().push(moment);
        false
    });
    let world = Arc::new(World::default());
    assert!(live(
        &directory.path().join("runs.redb"),
        &world,
        Some(plug)
    ));
    let mut counts = BTreeMap::new();
    for pair in moments.lock().chunks(2) {
        assert_eq!(pair, [Moment::BeforeCommit, Moment::AfterCommit]);
        *counts.entry("commits").or_insert(0) += 1;
    }
    assert!(counts["commits"] > 0);
}
