//! How often AWS was asked: what a bill is made of.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aws_sdk_dynamodb::types::ConsumedCapacity;

/// Requests to DynamoDB since the table was opened. Repeats by the SDK itself are not seen
/// here; those of this crate are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// GetItem.
    pub gets: u64,
    /// Query.
    pub queries: u64,
    /// Items that gets and queries gave.
    pub items_read: u64,
    /// PutItem, UpdateItem and DeleteItem.
    pub single_writes: u64,
    /// TransactWriteItems.
    pub transactions: u64,
    /// Writes and checks in transactions.
    pub transacted: u64,
    /// How many of the above were repeats: throttled, in another's way, or without answer.
    pub repeats: u64,
    /// Half read units, as DynamoDB counted them. An eventually consistent read of 4 KB is
    /// one half.
    pub half_reads: u64,
    /// Write units, as DynamoDB counted them: 1 KB is one, twice that in a transaction, and
    /// again for each index that the item stands in.
    pub writes: u64,
}

/// The counters behind [`Requests`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) gets: AtomicU64,
    pub(crate) queries: AtomicU64,
    pub(crate) items_read: AtomicU64,
    pub(crate) single_writes: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) transacted: AtomicU64,
    pub(crate) repeats: AtomicU64,
    half_reads: AtomicU64,
    writes: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Relaxed);
}

impl Counters {
    pub(crate) fn now(&self) -> Requests {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        Requests {
            gets: of(&self.gets),
            queries: of(&self.queries),
            items_read: of(&self.items_read),
            single_writes: of(&self.single_writes),
            transactions: of(&self.transactions),
            transacted: of(&self.transacted),
            repeats: of(&self.repeats),
            half_reads: of(&self.half_reads),
            writes: of(&self.writes),
        }
    }

    pub(crate) fn read<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        count(&self.half_reads, (units(consumed) * 2.0).round() as usize);
    }

    pub(crate) fn wrote<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        count(&self.writes, units(consumed).round() as usize);
    }
}

fn units<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) -> f64 {
    consumed
        .into_iter()
        .filter_map(ConsumedCapacity::capacity_units)
        .sum()
}
