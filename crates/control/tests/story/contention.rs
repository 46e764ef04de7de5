//! Many processes change what everybody shares at the same time: the ledger's head, the
//! accounts of volumes, a pool's history. Each Lambda is such a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use control::ports::{Item, Key, Page, Query, Table, TableError, Write};
use control::testing::MemoryTable;
use control::{Control, Phase};
use model::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::machine::At;
use crate::{Stage, Test};

/// About what DynamoDB takes in its own region.
const READ: Duration = Duration::from_millis(4);
const WRITE: Duration = Duration::from_millis(15);

/// A table that takes its time, and counts who was too late.
struct Far {
    table: Arc<MemoryTable>,
    conflicts: AtomicU64,
}

#[async_trait]
impl Table for Far {
    async fn get(&self, key: &Key) -> Result<Option<Item>, TableError> {
        sleep(READ / 2).await;
        let found = self.table.get(key).await;
        sleep(READ / 2).await;
        found
    }

    async fn query(&self, query: &Query) -> Result<Page, TableError> {
        sleep(READ / 2).await;
        let found = self.table.query(query).await;
        sleep(READ / 2).await;
        found
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), TableError> {
        sleep(WRITE / 2).await;
        let answer = self.table.transact(writes).await;
        if let Err(TableError::Conflict { .. }) = &answer {
            self.conflicts.fetch_add(1, Ordering::Relaxed);
        }
        sleep(WRITE / 2).await;
        answer
    }
}

/// Time is virtual: it passes where all wait.
#[tokio::test(start_paused = true)]
async fn forty_processes_that_ask_at_once_are_all_served_by_one_invocation_each() -> Test {
    let names: Vec<_> = (0..40).map(|n| format!("service-{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(1200, 2, Bytes::gib(100), &names).await?;
    let far = Arc::new(Far {
        table: Arc::clone(&stage.world.table),
        conflicts: AtomicU64::new(0),
    });
    for name in &names {
        stage.submit(stage.world.sample(name, "1")).await;
    }
    let mut ports = stage.world.ports();
    ports.table = far.clone();
    for (phase, op, at) in [
        (Phase::Allocate, "place", At::Allocate),
        (Phase::Verify, "commit", At::Commit),
    ] {
        stage.machine.deliver(&stage.control, true).await?;
        while stage.machine.runs.values().any(|run| run.at != at) {
            let mut moved = stage.machine.deliver(&stage.control, true).await?;
            for name in stage.machine.ready() {
                if stage.machine.runs[&name].at != at {
                    stage.machine.step(&stage.control, &name, false).await;
                    moved += 1;
                }
            }
            if moved == 0 {
                for agent in &mut stage.agents {
                    agent.run(&stage.control, &mut stage.tapes).await?;
                }
            }
        }
        let begun = Instant::now();
        far.conflicts.store(0, Ordering::Relaxed);
        let calls = stage.machine.runs.values().map(|run| {
            let control = Control::new(ports.clone());
            let input = json!({"op": op, "run": run.run, "group": run.group, "placement": 0});
            async move { control.run_phase(phase, input).await }
        });
        let answers = futures::future::join_all(calls).await;
        let refused = answers.iter().filter(|answer| answer.is_err()).count();
        let conflicts = far.conflicts.load(Ordering::Relaxed);
        let took = begun.elapsed();
        eprintln!(
            "{op}: {refused} of 40 have to be invoked again, {conflicts} conflicts, {took:?}"
        );
        assert_eq!(refused, 0, "{op}");
        assert!(took < Duration::from_secs(20), "{op}: {took:?}");
    }
    Ok(())
}
