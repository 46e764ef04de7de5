//! What DynamoDB's global indexes are and an emulator's are not: behind the table.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use control::ports::{Condition, Index, Item, Key, Page, Query, Table, TableError, Write};
use control::testing::MemoryTable;
use model::{Bytes, CheckpointId, State};
use tokio::sync::Mutex;

use crate::{OPERATOR, Stage, Test, names};

/// A table whose indexes show what stood in it when they last caught up.
#[derive(Default)]
pub(crate) struct Lagging {
    table: MemoryTable,
    /// The table as the indexes know it.
    behind: MemoryTable,
    pending: Mutex<VecDeque<Vec<Write>>>,
    /// At most so many transactions behind.
    at_most: usize,
    /// How many transactions nearer each question brings them: time passes.
    nearer: usize,
}

impl Lagging {
    pub(crate) fn behind_by(at_most: usize) -> Self {
        Self {
            at_most,
            nearer: 1,
            ..Self::default()
        }
    }

    async fn let_lag(&self, at_most: usize) -> Result<(), TableError> {
        let mut pending = self.pending.lock().await;
        while pending.len() > at_most {
            if let Some(writes) = pending.pop_front() {
                self.behind.transact(writes).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn catch_up(&self) {
        self.let_lag(0).await.unwrap();
    }
}

#[async_trait]
impl Table for Lagging {
    async fn get(&self, key: &Key) -> Result<Option<Item>, TableError> {
        self.table.get(key).await
    }

    async fn query(&self, query: &Query) -> Result<Page, TableError> {
        match query.index {
            Index::Main => self.table.query(query).await,
            Index::Gsi1 | Index::Gsi2 => {
                let page = self.behind.query(query).await;
                let left = self.pending.lock().await.len();
                self.let_lag(left.saturating_sub(self.nearer)).await?;
                page
            }
        }
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), TableError> {
        let mut pending = self.pending.lock().await;
        self.table.transact(writes.clone()).await?;
        // What happened is not asked again.
        let done = writes
            .into_iter()
            .filter_map(|write| match write {
                Write::Put(item, _) => Some(Write::Put(item, Condition::None)),
                Write::Delete(key, _) => Some(Write::Delete(key, Condition::None)),
                Write::Check(..) => None,
            })
            .collect::<Vec<_>>();
        if !done.is_empty() {
            pending.push_back(done);
        }
        drop(pending);
        self.let_lag(self.at_most).await
    }
}

async fn finish_with(table: &Lagging, stage: &mut Stage, ids: &[CheckpointId]) -> Test {
    for _ in 0..20 {
        stage.finish().await?;
        table.catch_up().await;
        let mut open = 0;
        for id in ids {
            open += usize::from(stage.state(*id).await != State::Committed);
        }
        if open == 0 {
            return Ok(());
        }
    }
    panic!("it does not come to its end: {:?}", stage.machine.runs);
}

/// Claims, sessions and room: they look through an index and decide by the table.
#[tokio::test]
async fn checkpoints_that_do_not_contend_commit_whatever_the_indexes_show() -> Test {
    for lag in [1, 3, 10] {
        let table = Arc::new(Lagging::behind_by(lag));
        let mut stage = Stage::new(table.clone(), &names(5)).await?;
        table.catch_up().await;
        for round in 0..3 {
            let mut ids = Vec::new();
            for name in names(5) {
                ids.push(stage.submit(&name, &format!("{round}")).await);
            }
            finish_with(&table, &mut stage, &ids).await?;
        }
        table.catch_up().await;
        let volumes = stage.control.volumes(&OPERATOR, &"lib".parse()?).await?;
        let checkpoints: u64 = volumes.iter().map(|volume| volume.checkpoints).sum();
        assert_eq!(checkpoints, 15, "{lag} behind");
        assert!(volumes.iter().all(|volume| volume.reserved == Bytes::ZERO));
        let written: usize = stage.tapes.values().map(|tape| tape.written.len()).sum();
        assert_eq!(written, 15, "each one once");
    }
    Ok(())
}
