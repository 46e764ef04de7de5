//! The store: one file, one writer thread, many transactions a commit.
//!
//! Everybody who wants to write hands a [`Work`] to the writer thread. The thread takes
//! whatever has come together, applies it in order inside one transaction of the file,
//! makes that durable once, and only then answers everybody. One flush of the disk
//! (0.2 ms to 10 ms) thus serves up to [`MAX_WORKS_PER_COMMIT`] transactions. Readers take
//! snapshots and never wait for the writer.

#[cfg(test)]
mod power;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use redb::{Database, ReadTransaction, ReadableDatabase, TableDefinition, WriteTransaction};
use tokio::sync::mpsc;

/// The catalogue's items: (partition key, sort key) to an encoded item.
pub(crate) const ITEMS: TableDefinition<'static, (&[u8], &[u8]), &[u8]> =
    TableDefinition::new("items");
/// An entry of an index: its partition key, its sort key, the item's two keys.
pub(crate) type Entry<'a> = (&'a [u8], &'a [u8], &'a [u8], &'a [u8]);
/// The first index.
pub(crate) const GSI1: TableDefinition<'static, Entry<'static>, ()> = TableDefinition::new("gsi1");
/// The second index.
pub(crate) const GSI2: TableDefinition<'static, Entry<'static>, ()> = TableDefinition::new("gsi2");
/// Executions of the state machine: name to header.
pub(crate) const RUNS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("runs");
/// What happened to an execution: (name, number from 0) to a step.
pub(crate) const STEPS: TableDefinition<'static, (&str, u64), &[u8]> =
    TableDefinition::new("steps");
/// Executions by state: (state, start in nanoseconds, name).
pub(crate) const RUNS_BY_STATE: TableDefinition<'static, (&str, i128, &str), ()> =
    TableDefinition::new("runs_by_state");
/// Definitions that executions were started with: SHA-256 in hex to the text.
pub(crate) const DEFINITIONS: TableDefinition<'static, &str, &str> =
    TableDefinition::new("definitions");

/// The most works of one commit: bounds how much one flush can hold up.
pub(crate) const MAX_WORKS_PER_COMMIT: usize = 512;
/// The most works that wait. Whoever comes later waits for a place.
const MAX_WORKS_WAITING: usize = 2 * MAX_WORKS_PER_COMMIT;
/// Pages of the file kept in memory.
const CACHE_BYTES: usize = 64 << 20;

/// The file could not be asked, in words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StoreError(pub(crate) String);

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(error.into().to_string())
    }
}

/// The tables of one write transaction, open.
pub(crate) struct Tables<'t> {
    pub(crate) items: redb::Table<'t, (&'static [u8], &'static [u8]), &'static [u8]>,
    pub(crate) gsi1: IndexTable<'t>,
    pub(crate) gsi2: IndexTable<'t>,
    pub(crate) runs: redb::Table<'t, &'static str, &'static [u8]>,
    pub(crate) steps: redb::Table<'t, (&'static str, u64), &'static [u8]>,
    pub(crate) runs_by_state: redb::Table<'t, (&'static str, i128, &'static str), ()>,
    pub(crate) definitions: redb::Table<'t, &'static str, &'static str>,
}

/// One of the two indexes, open.
pub(crate) type IndexTable<'t> = redb::Table<'t, Entry<'static>, ()>;

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            items: transaction.open_table(ITEMS)?,
            gsi1: transaction.open_table(GSI1)?,
            gsi2: transaction.open_table(GSI2)?,
            runs: transaction.open_table(RUNS)?,
            steps: transaction.open_table(STEPS)?,
            runs_by_state: transaction.open_table(RUNS_BY_STATE)?,
            definitions: transaction.open_table(DEFINITIONS)?,
        })
    }
}

/// Something to write, and somebody who waits for the answer.
pub(crate) trait Work: Send {
    /// Writes it, or notes why not; says whether anything was written. An error undoes the
    /// whole commit.
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<bool, StoreError>;

    /// Tells the one who waits: after the commit became durable, or failed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// Where a test can pull the plug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Everything applied, nothing durable.
    BeforeCommit,
    /// Durable, nobody told.
    AfterCommit,
}

/// Says whether the power goes at this moment. For tests only; a store in use has none.
pub(crate) type Plug = Arc<dyn Fn(Moment) -> bool + Send + Sync>;

/// The open file. Cheap to clone behind an [`Arc`]; closed when the last one is dropped
/// or by [`Store::close`].
pub(crate) struct Store {
    database: Arc<Database>,
    works: Mutex<Option<mpsc::Sender<Box<dyn Work>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the file, or creates it. After a crash the file repairs itself here.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, None)
    }

    pub(crate) fn open_with(path: &Path, plug: Option<Plug>) -> Result<Self, StoreError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)?;
        Self::on(database, plug)
    }

    fn on(database: Database, plug: Option<Plug>) -> Result<Self, StoreError> {
        let transaction = database.begin_write()?;
        Tables::open(&transaction)?;
        transaction.commit()?;
        let database = Arc::new(database);
        let (works, waiting) = mpsc::channel(MAX_WORKS_WAITING);
        let writer = std::thread::Builder::new()
            .name("catalogue-writer".to_owned())
            .spawn({
                let database = database.clone();
                move || write_until_closed(&database, waiting, plug)
            })
            .map_err(|error| StoreError(format!("no thread for the writer: {error}")))?;
        Ok(Self {
            database,
            works: Mutex::new(Some(works)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Hands work to the writer; waits for a place where too many are waiting.
    pub(crate) async fn write(&self, work: Box<dyn Work>) -> Result<(), StoreError> {
        let works = self.works.lock().clone();
        let Some(works) = works else {
            return Err(closed());
        };
        works.send(work).await.map_err(|_| closed())
    }

    /// A snapshot: everything answered before this call is in it.
    pub(crate) fn read(&self) -> Result<ReadTransaction, StoreError> {
        Ok(self.database.begin_read()?)
    }

    /// Takes no more work, finishes what was taken, and waits for that. Blocks.
    pub(crate) fn close(&self) {
        drop(self.works.lock().take());
        if let Some(writer) = self.writer.lock().take() {
            // The writer panics on nothing; if it did, there is nothing left to do for it.
            let _ = writer.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> StoreError {
    StoreError("the store is closed".to_owned())
}

fn write_until_closed(
    database: &Database,
    mut waiting: mpsc::Receiver<Box<dyn Work>>,
    plug: Option<Plug>,
) {
    let mut works = Vec::with_capacity(MAX_WORKS_PER_COMMIT);
    while waiting.blocking_recv_many(&mut works, MAX_WORKS_PER_COMMIT) > 0 {
        let outcome = match commit(database, &mut works, plug.as_ref()) {
            Ok(true) => Ok(()),
            Ok(false) => return,
            Err(error) => {
                tracing::error!(%error, works = works.len(), "the catalogue could not be written");
                Err(error)
            }
        };
        for work in works.drain(..) {
            work.answer(outcome.clone());
        }
    }
}

/// Applies all works and makes them durable together; `false` where the plug was pulled.
fn commit(
    database: &Database,
    works: &mut [Box<dyn Work>],
    plug: Option<&Plug>,
) -> Result<bool, StoreError> {
    let pulled = |moment| plug.is_some_and(|plug| plug(moment));
    // Durability is Immediate unless asked otherwise: commit returns after the flush.
    let transaction = database.begin_write()?;
    let mut tables = Tables::open(&transaction)?;
    let mut has_written = false;
    for work in works {
        has_written |= work.apply(&mut tables)?;
    }
    drop(tables);
    if !has_written {
        // Every work was refused, by what is durable already: no flush for that.
        transaction.abort()?;
        return Ok(true);
    }
    if pulled(Moment::BeforeCommit) {
        return Ok(false);
    }
    transaction.commit()?;
    Ok(!pulled(Moment::AfterCommit))
}
