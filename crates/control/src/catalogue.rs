//! The single table as typed items: reading, writing, transactions.
//!
//! Every write that another writer could race carries a condition. A record that is
//! written without one is always in a transaction with a conditional write that guards it.

use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use model::{Code, Refusal};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::outbox::EffectRecord;
use crate::ports::{
    Condition, Cursor, Index, Item, Key, ObjectError, Query, SortKeys, TableError, Write,
};
use crate::{Control, Effect};

/// How often an optimistic transaction is tried before the caller hears `Conflict`.
pub(crate) const TRIES: u32 = 6;

/// What everybody changes (the ledger's head, accounts of volumes, a pool's history) is tried
/// for so long: each Lambda is a process of its own, and of those that come together one is
/// served at a time, in some 30 ms. A task has 120 seconds in all, waiting for the turn
/// included, and its run tries again by itself.
pub(crate) const RETRY_WALL: Duration = Duration::from_secs(30);

/// The longest first pause of one who lost a race for those, and the longest of all: drawn
/// evenly from nothing to twice as much each time, so that forty who come together try
/// about as often as one after the other is served.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// How many reads run at once for one call.
pub(crate) const READS_AT_ONCE: usize = 16;

/// What the control plane answers.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// A record of the table.
pub(crate) trait Record: Serialize + DeserializeOwned + Send {
    /// Its primary key.
    fn key(&self) -> Key;
    /// Its key in the first index.
    fn gsi1(&self) -> Option<Key> {
        None
    }
    /// Its key in the second index.
    fn gsi2(&self) -> Option<Key> {
        None
    }
    /// After which it means nothing.
    fn expires_at(&self) -> Option<Timestamp> {
        None
    }
}

/// A record and the version under which it was read.
#[derive(Clone, Debug)]
pub(crate) struct Seen<T> {
    pub(crate) value: T,
    pub(crate) version: u64,
}

/// The writes of one transaction, collected.
#[derive(Debug, Default)]
pub(crate) struct Tx {
    pub(crate) writes: Vec<Write>,
    tells: bool,
}

impl Tx {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Puts a record that must not exist.
    pub(crate) fn create<R: Record>(&mut self, record: &R) {
        self.writes
            .push(Write::Put(to_item(record), Condition::Absent));
    }

    /// Puts a record over the version that was seen.
    pub(crate) fn replace<R: Record>(&mut self, record: &R, version: u64) {
        self.writes
            .push(Write::Put(to_item(record), Condition::Version(version)));
    }

    /// Puts a record that another write of this transaction guards.
    pub(crate) fn put<R: Record>(&mut self, record: &R) {
        self.writes
            .push(Write::Put(to_item(record), Condition::None));
    }

    pub(crate) fn delete(&mut self, key: Key, condition: Condition) {
        self.writes.push(Write::Delete(key, condition));
    }

    pub(crate) fn check(&mut self, key: Key, version: u64) {
        self.writes
            .push(Write::Check(key, Condition::Version(version)));
    }

    pub(crate) fn tell(&mut self, record: &EffectRecord) {
        self.tells = true;
        self.put(record);
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.tells |= other.tells;
        self.writes.extend(other.writes);
    }

    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }
}

fn to_item<R: Record>(record: &R) -> Item {
    Item {
        key: record.key(),
        version: 0,
        gsi1: record.gsi1(),
        gsi2: record.gsi2(),
        expires_at: record.expires_at(),
        body: serde_json::to_value(record).expect("records serialise: their map keys are strings"),
    }
}

pub(crate) fn from_item<R: Record>(item: Item) -> Answer<Seen<R>> {
    let value = serde_json::from_value(item.body).map_err(|error| {
        Refusal::new(
            Code::Internal,
            format!(
                "expected a record at {}/{}: {error}",
                item.key.pk, item.key.sk
            ),
        )
    })?;
    Ok(Seen {
        value,
        version: item.version,
    })
}

impl From<TableError> for Refusal {
    fn from(error: TableError) -> Self {
        let code = match error {
            TableError::Conflict { .. } => Code::Conflict,
            TableError::Limit(_) => Code::Internal,
            TableError::Unavailable(_) => Code::Transient,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ObjectError> for Refusal {
    fn from(error: ObjectError) -> Self {
        let code = match &error {
            ObjectError::Missing(_) => Code::ArtifactMissing,
            ObjectError::NotAllowed(_) => Code::SourceNotAllowed,
            ObjectError::Mismatch { what: "size", .. } => Code::SizeMismatch,
            ObjectError::Mismatch { .. } => Code::ChecksumMismatch,
            ObjectError::Unavailable(_) => Code::Transient,
        };
        Self::new(code, error.to_string())
    }
}

/// True where trying the same again on fresh reads may help.
pub(crate) fn lost_race<T>(answer: &Answer<T>) -> bool {
    matches!(answer, Err(refusal) if refusal.code == Code::Conflict)
}

impl Control {
    /// One record.
    pub(crate) async fn get<R: Record>(&self, key: &Key) -> Answer<Option<Seen<R>>> {
        match self.ports.table.get(key).await? {
            Some(item) => from_item(item).map(Some),
            None => Ok(None),
        }
    }

    /// Records by their keys, in the order of the keys.
    pub(crate) async fn get_all<R: Record>(&self, keys: Vec<Key>) -> Answer<Vec<Option<Seen<R>>>> {
        stream::iter(keys)
            .map(|key| async move { self.get(&key).await })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    /// One page of records.
    pub(crate) async fn page<R: Record>(
        &self,
        query: Query,
    ) -> Answer<(Vec<Seen<R>>, Option<Cursor>)> {
        let page = self.ports.table.query(&query).await?;
        let items = page
            .items
            .into_iter()
            .map(from_item)
            .collect::<Answer<_>>()?;
        Ok((items, page.next))
    }

    /// The first records of a partition, ascending, at most `limit` (1 to 1,000).
    pub(crate) async fn first<R: Record>(
        &self,
        index: Index,
        pk: String,
        sort: SortKeys,
        limit: u32,
    ) -> Answer<Vec<Seen<R>>> {
        Ok(self.page(query(index, pk, sort, limit)).await?.0)
    }

    /// All writes or none. `Conflict` where a condition did not hold.
    pub(crate) async fn transact(&self, tx: Tx) -> Answer<()> {
        if tx.writes.is_empty() {
            return Ok(());
        }
        self.ports.table.transact(tx.writes).await?;
        if tx.tells {
            self.bell.notify_one();
        }
        Ok(())
    }

    /// An effect with a fresh id, so that effects sort by time.
    pub(crate) fn effect(&self, effect: Effect) -> EffectRecord {
        EffectRecord {
            id: self.fresh(uuid_text),
            effect,
        }
    }

    /// Before the same is tried again for the `lost`-th time, from 1: those who lost the same
    /// race come back at different times.
    pub(crate) async fn give_way(&self, lost: u32) {
        let longest = FIRST_PAUSE * (1 << lost.saturating_sub(1).min(8));
        let mut random = [0];
        self.ports.randomness.fill(&mut random);
        let share = f64::from(random[0]) / 256.0;
        tokio::time::sleep(longest.min(LONGEST_PAUSE).mul_f64(share)).await;
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// A fresh UUIDv7 of the kind that `make` builds.
    pub(crate) fn fresh<T>(&self, make: fn(u64, &[u8; 10]) -> T) -> T {
        let mut random = [0; 10];
        self.ports.randomness.fill(&mut random);
        make(millis(self.now()), &random)
    }
}

fn uuid_text(millis: u64, random: &[u8; 10]) -> String {
    model::RestoreId::from_parts(millis, random).to_string()
}

/// A query for the first page, ascending.
pub(crate) fn query(index: Index, pk: String, sort: SortKeys, limit: u32) -> Query {
    Query {
        index,
        pk,
        sort,
        descending: false,
        limit,
        after: None,
    }
}

/// Unix milliseconds; 0 before 1970.
pub(crate) fn millis(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}

/// `now` and so many seconds; the end of time where that overflows.
pub(crate) fn later(now: Timestamp, seconds: i64) -> Timestamp {
    now.checked_add(jiff::SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
