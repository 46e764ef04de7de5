//! The table in memory, and what DynamoDB does that a map does not: global indexes that are
//! behind the table, and queries that are not one moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::lock;
use crate::ports::{
    Condition, Cursor, Index, Item, Key, MAX_WRITES, Page, Query, SortKeys, Table, TableError,
    Write,
};

/// How far the indexes are behind the table.
///
/// DynamoDB copies each written item to its indexes by itself and promises no time. Where
/// there is a lag at all, a query of the table reads its items one after the other, as
/// DynamoDB does, so that what others write meanwhile shows in a part of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// Not at all.
    #[default]
    None,
    /// At most so many transactions. Each question brings them one nearer: time passes.
    Behind(u64),
    /// They show what they show now until [`MemoryTable::catch_up`].
    Frozen,
    /// Item by item in an order drawn from the seed, at most so many transactions behind.
    Drawn {
        /// What the order follows from.
        seed: u64,
        /// At most so many transactions behind.
        at_most: u64,
    },
}

/// A change that the indexes do not show yet.
#[derive(Debug)]
struct Change {
    transaction: u64,
    key: Key,
    item: Option<Item>,
}

/// What the indexes show.
#[derive(Debug, Default)]
struct Indexes {
    lag: Lag,
    /// The items as they knew them, where they stand in one of them.
    items: BTreeMap<Key, Item>,
    /// Index key and primary key.
    keys: [BTreeSet<(Key, Key)>; 2],
    pending: VecDeque<Change>,
    transactions: u64,
    drawn: u64,
}

impl Indexes {
    fn apply(&mut self, change: Change) {
        if let Some(old) = self.items.remove(&change.key) {
            for (keys, key) in self.keys.iter_mut().zip([old.gsi1, old.gsi2]) {
                if let Some(key) = key {
                    keys.remove(&(key, change.key.clone()));
                }
            }
        }
        let Some(item) = change.item else { return };
        for (keys, key) in self.keys.iter_mut().zip([&item.gsi1, &item.gsi2]) {
            if let Some(key) = key {
                keys.insert((key.clone(), change.key.clone()));
            }
        }
        if item.gsi1.is_some() || item.gsi2.is_some() {
            self.items.insert(change.key, item);
        }
    }

    /// Applies what is more than so many transactions behind.
    fn let_lag(&mut self, at_most: u64) {
        while let Some(first) = self.pending.front() {
            if first.transaction + at_most > self.transactions {
                return;
            }
            if let Some(change) = self.pending.pop_front() {
                self.apply(change);
            }
        }
    }

    /// A number below `below` (SplitMix64).
    fn draw(&mut self, below: usize) -> usize {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.drawn;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from(z % below.max(1) as u64).unwrap_or(0)
    }

    /// Applies up to two changes of any items, each item's own in order.
    fn draw_some(&mut self) {
        for _ in 0..self.draw(3) {
            let n = self.draw(self.pending.len());
            let Some(key) = self.pending.get(n).map(|change| change.key.clone()) else {
                return;
            };
            let first = self.pending.iter().position(|change| change.key == key);
            if let Some(change) = first.and_then(|first| self.pending.remove(first)) {
                self.apply(change);
            }
        }
    }

    fn written(&mut self, changes: Vec<(Key, Option<Item>)>) {
        self.transactions += 1;
        let transaction = self.transactions;
        let changes = changes.into_iter();
        self.pending.extend(changes.map(|(key, item)| Change {
            transaction,
            key,
            item,
        }));
        match self.lag {
            Lag::None => self.let_lag(0),
            Lag::Behind(at_most) => self.let_lag(at_most),
            Lag::Frozen => {}
            Lag::Drawn { at_most, .. } => {
                self.let_lag(at_most);
                self.draw_some();
            }
        }
    }

    fn asked(&mut self) {
        match self.lag {
            Lag::None | Lag::Frozen => {}
            Lag::Behind(_) => {
                if let Some(first) = self.pending.front() {
                    self.let_lag(self.transactions - first.transaction);
                }
            }
            Lag::Drawn { .. } => self.draw_some(),
        }
    }
}

/// A table in memory.
#[derive(Debug, Default)]
pub struct MemoryTable {
    items: Mutex<BTreeMap<Key, Item>>,
    indexes: Mutex<Indexes>,
    transactions: AtomicU64,
    reads: AtomicU64,
    items_read: AtomicU64,
    faults: Mutex<Faults>,
}

/// What goes wrong next.
#[derive(Debug, Default)]
struct Faults {
    /// Transactions until one fails, and whether it happens all the same.
    fail_in: Option<(u64, bool)>,
}

impl MemoryTable {
    /// How many transactions were asked for.
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// How many gets and queries were asked for.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// How many items gets and queries gave.
    pub fn items_read(&self) -> u64 {
        self.items_read.load(Ordering::Relaxed)
    }

    /// The transaction after `n` others answers `Unavailable`: having happened all the
    /// same where `happens`, else not.
    pub fn fail_transaction(&self, n: u64, happens: bool) {
        lock(&self.faults).fail_in = Some((n, happens));
    }

    /// How far the indexes are behind from now on. What they are behind already they stay
    /// until then, or until they catch up.
    pub fn lag(&self, lag: Lag) {
        let mut indexes = lock(&self.indexes);
        indexes.lag = lag;
        if let Lag::Drawn { seed, .. } = lag {
            indexes.drawn = seed;
        }
    }

    /// The indexes show everything that was written.
    pub fn catch_up(&self) {
        lock(&self.indexes).let_lag(0);
    }

    /// Every item, for checks of invariants.
    pub fn dump(&self) -> Vec<Item> {
        lock(&self.items).values().cloned().collect()
    }

    /// Items by their keys, each as it is when its turn comes.
    async fn one_by_one(&self, keys: Vec<(Key, Key)>) -> Vec<Item> {
        let mut found = Vec::with_capacity(keys.len());
        for (_, key) in keys {
            tokio::task::yield_now().await;
            found.extend(lock(&self.items).get(&key).cloned());
        }
        found
    }

    fn check(
        items: &BTreeMap<Key, Item>,
        n: usize,
        key: &Key,
        condition: Condition,
    ) -> Result<(), TableError> {
        let old = items.get(key);
        let holds = match condition {
            Condition::Absent => old.is_none(),
            Condition::Version(version) => old.is_some_and(|item| item.version == version),
            Condition::None => true,
        };
        if holds {
            return Ok(());
        }
        Err(TableError::Conflict {
            write: n,
            old: old.cloned().map(Box::new),
        })
    }
}

fn limits(writes: &[Write]) -> Result<(), TableError> {
    if writes.is_empty() || writes.len() > MAX_WRITES {
        return Err(TableError::Limit(format!(
            "expected 1 to {MAX_WRITES} writes, found {}",
            writes.len()
        )));
    }
    let mut keys = BTreeSet::new();
    for write in writes {
        let key = match write {
            Write::Put(item, _) => &item.key,
            Write::Delete(key, _) | Write::Check(key, _) => key,
        };
        if !keys.insert(key) {
            return Err(TableError::Limit(format!("two writes of {key:?}")));
        }
        if let Write::Put(item, _) = write
            && item.body.to_string().len() > 400_000
        {
            return Err(TableError::Limit(format!("{key:?} is over 400 KB")));
        }
    }
    Ok(())
}

/// Where the keys of a query begin.
fn from(query: &Query) -> Key {
    let low = match &query.sort {
        SortKeys::All => "",
        SortKeys::Prefix(low) | SortKeys::Between(low, _) => low,
    };
    Key::new(query.pk.clone(), low)
}

/// True where a key that is not before [`from`] is asked for.
fn fits(query: &Query, key: &Key) -> bool {
    key.pk == query.pk
        && match &query.sort {
            SortKeys::All => true,
            SortKeys::Prefix(prefix) => key.sk.starts_with(prefix),
            SortKeys::Between(_, high) => key.sk <= *high,
        }
}

/// The page of a query, of all that it finds in ascending order: index key and primary key.
fn page(query: &Query, mut found: Vec<(Key, Key)>) -> (Vec<(Key, Key)>, Option<Cursor>) {
    if query.descending {
        found.reverse();
    }
    let text = |keys: &(Key, Key)| format!("{}\0{}\0{}", keys.0.sk, keys.1.pk, keys.1.sk);
    if let Some(Cursor(after)) = &query.after {
        // Where it is gone meanwhile, on from what comes next.
        let at = found.iter().position(|keys| text(keys) == *after);
        let from = at.map(|at| at + 1).or_else(|| {
            let behind = |keys| (text(keys) > *after) != query.descending;
            found.iter().position(behind)
        });
        found.drain(..from.unwrap_or(found.len()));
    }
    let more = found.len() > query.limit as usize;
    found.truncate(query.limit as usize);
    let next = found.last().filter(|_| more).map(|keys| Cursor(text(keys)));
    (found, next)
}

#[async_trait]
impl Table for MemoryTable {
    async fn get(&self, key: &Key) -> Result<Option<Item>, TableError> {
        tokio::task::yield_now().await;
        self.reads.fetch_add(1, Ordering::Relaxed);
        let item = lock(&self.items).get(key).cloned();
        self.items_read
            .fetch_add(u64::from(item.is_some()), Ordering::Relaxed);
        Ok(item)
    }

    async fn query(&self, query: &Query) -> Result<Page, TableError> {
        tokio::task::yield_now().await;
        self.reads.fetch_add(1, Ordering::Relaxed);
        if query.limit == 0 || query.limit > 1000 {
            return Err(TableError::Limit(format!(
                "expected a limit of 1 to 1,000, found {}",
                query.limit
            )));
        }
        let (items, next) = match query.index {
            Index::Main => {
                let (keys, next, items) = {
                    let items = lock(&self.items);
                    let keys = items
                        .range(from(query)..)
                        .take_while(|(key, _)| fits(query, key))
                        .map(|(key, _)| (key.clone(), key.clone()));
                    let (keys, next) = page(query, keys.collect());
                    let now = (lock(&self.indexes).lag == Lag::None).then(|| {
                        let found = keys.iter().filter_map(|(_, key)| items.get(key));
                        found.cloned().collect::<Vec<_>>()
                    });
                    (keys, next, now)
                };
                match items {
                    Some(items) => (items, next),
                    None => (self.one_by_one(keys).await, next),
                }
            }
            Index::Gsi1 | Index::Gsi2 => {
                let mut indexes = lock(&self.indexes);
                let keys = indexes.keys[usize::from(query.index == Index::Gsi2)]
                    .range((from(query), Key::new("", ""))..)
                    .take_while(|(key, _)| fits(query, key))
                    .cloned();
                let (keys, next) = page(query, keys.collect());
                let found = keys.iter().filter_map(|(_, key)| indexes.items.get(key));
                let items = found.cloned().collect();
                indexes.asked();
                (items, next)
            }
        };
        self.items_read
            .fetch_add(items.len() as u64, Ordering::Relaxed);
        Ok(Page { items, next })
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), TableError> {
        tokio::task::yield_now().await;
        limits(&writes)?;
        self.transactions.fetch_add(1, Ordering::Relaxed);
        let fault = {
            let mut faults = lock(&self.faults);
            match faults.fail_in {
                Some((0, happens)) => {
                    faults.fail_in = None;
                    Some(happens)
                }
                Some((n, happens)) => {
                    faults.fail_in = Some((n - 1, happens));
                    None
                }
                None => None,
            }
        };
        let lost = || TableError::Unavailable("a fault was asked for".to_owned());
        if fault == Some(false) {
            return Err(lost());
        }
        let mut items = lock(&self.items);
        for (n, write) in writes.iter().enumerate() {
            match write {
                Write::Put(item, condition) => Self::check(&items, n, &item.key, *condition)?,
                Write::Delete(key, condition) | Write::Check(key, condition) => {
                    Self::check(&items, n, key, *condition)?;
                }
            }
        }
        let mut changes = Vec::with_capacity(writes.len());
        for write in writes {
            match write {
                Write::Put(mut item, _) => {
                    item.version = items.get(&item.key).map_or(1, |old| old.version + 1);
                    changes.push((item.key.clone(), Some(item.clone())));
                    items.insert(item.key.clone(), item);
                }
                Write::Delete(key, _) => {
                    items.remove(&key);
                    changes.push((key, None));
                }
                Write::Check(..) => {}
            }
        }
        lock(&self.indexes).written(changes);
        match fault {
            Some(_) => Err(lost()),
            None => Ok(()),
        }
    }
}
