//! The catalogue's table in the store.

use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::ports::{
    Condition, Cursor, Index, Item, Key, MAX_WRITES, Page, Query, SortKeys, Table, TableError,
    Write,
};
use redb::ReadableTable;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::encode;
use crate::store::{Entry, GSI1, GSI2, ITEMS, IndexTable, Store, StoreError, Tables, Work};

/// The most bytes of one page of a query (DynamoDB).
pub(crate) const MAX_PAGE_BYTES: usize = 1 << 20;
/// The most items of one page of a query.
pub(crate) const MAX_PAGE_ITEMS: u32 = 1_000;
/// The most bytes of one transaction (DynamoDB).
pub(crate) const MAX_TRANSACTION_BYTES: usize = 4 << 20;

/// The single table on one machine: bytewise order, conditional transactions, two indexes
/// that are never behind the table.
///
/// Reads run on the caller's thread: they touch the page cache, or the disk for a page.
pub struct LocalTable {
    store: Arc<Store>,
}

impl LocalTable {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// A table in a file of its own, created where there is none.
    ///
    /// # Errors
    /// [`TableError::Unavailable`] where the file cannot be opened or repaired, or is open
    /// in another process.
    pub fn open(path: &std::path::Path) -> Result<Self, TableError> {
        Ok(Self::new(Arc::new(Store::open(path)?)))
    }
}

impl From<StoreError> for TableError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.0)
    }
}

#[async_trait]
impl Table for LocalTable {
    async fn get(&self, key: &Key) -> Result<Option<Item>, TableError> {
        encode::key(key)?;
        let snapshot = self.store.read()?;
        let items = snapshot.open_table(ITEMS).map_err(StoreError::from)?;
        let bytes = items
            .get((key.pk.as_bytes(), key.sk.as_bytes()))
            .map_err(StoreError::from)?;
        Ok(match bytes {
            Some(bytes) => Some(encode::decode(key.clone(), bytes.value())?),
            None => None,
        })
    }

    async fn query(&self, query: &Query) -> Result<Page, TableError> {
        run_query(&self.store, query)
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), TableError> {
        let (answer, answered) = oneshot::channel();
        let work = Transaction::prepare(writes, answer)?;
        self.store.write(Box::new(work)).await?;
        answered
            .await
            .map_err(|_| TableError::Unavailable("the store was closed meanwhile".to_owned()))?
    }
}

/// One write, encoded before it reaches the writer thread.
struct Prepared {
    key: Key,
    condition: Condition,
    change: Change,
}

enum Change {
    Put {
        bytes: Vec<u8>,
        gsi1: Option<Key>,
        gsi2: Option<Key>,
    },
    Delete,
    None,
}

/// A transaction on its way to the writer thread.
struct Transaction {
    writes: Vec<Prepared>,
    refused: Option<(usize, Option<Vec<u8>>)>,
    answer: oneshot::Sender<Result<(), TableError>>,
}

impl Transaction {
    fn prepare(
        writes: Vec<Write>,
        answer: oneshot::Sender<Result<(), TableError>>,
    ) -> Result<Self, TableError> {
        if writes.is_empty() || writes.len() > MAX_WRITES {
            return Err(TableError::Limit(format!(
                "transaction: expected 1 to {MAX_WRITES} writes, found {}",
                writes.len()
            )));
        }
        let mut total = 0;
        let mut prepared = Vec::with_capacity(writes.len());
        for write in writes {
            let (key, condition, change) = match write {
                Write::Put(item, condition) => {
                    let bytes = encode::item(&item)?;
                    total += bytes.len();
                    let Item {
                        key, gsi1, gsi2, ..
                    } = item;
                    (key, condition, Change::Put { bytes, gsi1, gsi2 })
                }
                Write::Delete(key, condition) => (key, condition, Change::Delete),
                Write::Check(key, condition) => (key, condition, Change::None),
            };
            encode::key(&key)?;
            prepared.push(Prepared {
                key,
                condition,
                change,
            });
        }
        if total > MAX_TRANSACTION_BYTES {
            return Err(TableError::Limit(format!(
                "transaction: expected at most {MAX_TRANSACTION_BYTES} bytes, found {total}"
            )));
        }
        let mut keys: Vec<&Key> = prepared.iter().map(|write| &write.key).collect();
        keys.sort_unstable();
        if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(TableError::Limit(format!(
                "transaction: item {}/{} is named twice",
                twice[0].pk, twice[0].sk
            )));
        }
        Ok(Self {
            writes: prepared,
            refused: None,
            answer,
        })
    }

    /// The versions that the writes find, or the first whose condition does not hold.
    fn judge(&self, tables: &Tables<'_>) -> Result<Judgement, StoreError> {
        let mut versions = Vec::with_capacity(self.writes.len());
        for (at, write) in self.writes.iter().enumerate() {
            let bytes = tables
                .items
                .get((write.key.pk.as_bytes(), write.key.sk.as_bytes()))?;
            let found = bytes
                .as_ref()
                .map(|b| encode::version(b.value()))
                .transpose()?;
            let holds = match write.condition {
                Condition::Absent => found.is_none(),
                Condition::Version(version) => found == Some(version),
                Condition::None => true,
            };
            if !holds {
                return Ok(Err((at, bytes.map(|b| b.value().to_vec()))));
            }
            versions.push(found);
        }
        Ok(Ok(versions))
    }
}

type Judgement = Result<Vec<Option<u64>>, (usize, Option<Vec<u8>>)>;

impl Work for Transaction {
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        let versions = match self.judge(tables)? {
            Ok(versions) => versions,
            Err(refused) => {
                self.refused = Some(refused);
                return Ok(false);
            }
        };
        let mut has_written = false;
        for (write, version) in self.writes.iter_mut().zip(versions) {
            let key = (write.key.pk.as_bytes(), write.key.sk.as_bytes());
            match &mut write.change {
                Change::None => {}
                Change::Delete => {
                    let head = match tables.items.remove(key)? {
                        Some(old) => encode::head(old.value())?,
                        None => continue,
                    };
                    has_written = true;
                    move_entry(&mut tables.gsi1, key, head.gsi1.as_ref(), None)?;
                    move_entry(&mut tables.gsi2, key, head.gsi2.as_ref(), None)?;
                }
                Change::Put { bytes, gsi1, gsi2 } => {
                    has_written = true;
                    // 2^64 writes of one item do not happen: at a million a second that
                    // is half a million years.
                    encode::set_version(bytes, version.unwrap_or(0).saturating_add(1));
                    let head = match tables.items.insert(key, bytes.as_slice())? {
                        Some(old) => encode::head(old.value())?,
                        None => encode::Head::default(),
                    };
                    move_entry(&mut tables.gsi1, key, head.gsi1.as_ref(), gsi1.as_ref())?;
                    move_entry(&mut tables.gsi2, key, head.gsi2.as_ref(), gsi2.as_ref())?;
                }
            }
        }
        Ok(has_written)
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (committed, self.refused) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Ok(()),
            (Ok(()), Some((write, old))) => {
                let key = &self.writes[write].key;
                match old
                    .map(|bytes| encode::decode(key.clone(), &bytes))
                    .transpose()
                {
                    Ok(old) => Err(TableError::Conflict {
                        write,
                        old: old.map(Box::new),
                    }),
                    Err(error) => Err(error.into()),
                }
            }
        };
        // Whoever asked may have gone; the write stands all the same.
        let _ = self.answer.send(outcome);
    }
}

fn move_entry(
    index: &mut IndexTable<'_>,
    (pk, sk): (&[u8], &[u8]),
    from: Option<&Key>,
    to: Option<&Key>,
) -> Result<(), StoreError> {
    if from == to {
        return Ok(());
    }
    if let Some(from) = from {
        index.remove((from.pk.as_bytes(), from.sk.as_bytes(), pk, sk))?;
    }
    if let Some(to) = to {
        index.insert((to.pk.as_bytes(), to.sk.as_bytes(), pk, sk), ())?;
    }
    Ok(())
}

/// What a cursor says: the query it belongs to and the last entry that was given.
#[derive(Serialize, Deserialize)]
struct Place {
    query: String,
    sk: String,
    key: Option<Key>,
}

impl Place {
    fn read(query: &Query, cursor: &Cursor) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(&cursor.0).ok()?;
        let place: Self = serde_json::from_slice(&bytes).ok()?;
        let within = match &query.sort {
            SortKeys::All => true,
            SortKeys::Prefix(prefix) => place.sk.starts_with(prefix.as_str()),
            SortKeys::Between(low, high) => *low <= place.sk && place.sk <= *high,
        };
        let is_index = query.index != Index::Main;
        let ours = place.query == fingerprint(query) && place.key.is_some() == is_index;
        (ours && within).then_some(place)
    }

    fn cursor(&self) -> Cursor {
        Cursor(URL_SAFE_NO_PAD.encode(serde_json::json!(self).to_string()))
    }
}

/// Ties a cursor to its query. Not a secret: a cursor only ever leads within the
/// partition that the query itself names.
fn fingerprint(query: &Query) -> String {
    let parts = (query.index, &query.pk, query.descending);
    let text = format!("{parts:?}{:?}", query.sort);
    hex::encode(&Sha256::digest(text)[..8])
}

/// One page being filled.
struct Filling {
    page: Page,
    bytes: usize,
    limit: usize,
    last: Option<(String, Key)>,
}

impl Filling {
    /// True where the page takes no further item, so that it must have a cursor.
    fn is_full(&self) -> bool {
        self.page.items.len() >= self.limit || self.bytes >= MAX_PAGE_BYTES
    }

    fn push(&mut self, sk: &[u8], key: Key, bytes: &[u8]) -> Result<(), StoreError> {
        self.bytes += bytes.len() + key.pk.len() + key.sk.len();
        self.last = Some((text(sk)?, key.clone()));
        self.page.items.push(encode::decode(key, bytes)?);
        Ok(())
    }

    fn finish(mut self, query: &Query, more: bool) -> Page {
        if let (true, Some((sk, key))) = (more, self.last) {
            let key = (query.index != Index::Main).then_some(key);
            self.page.next = Some(
                Place {
                    query: fingerprint(query),
                    sk,
                    key,
                }
                .cursor(),
            );
        }
        self.page
    }
}

fn run_query(store: &Store, query: &Query) -> Result<Page, TableError> {
    let pk = query.pk.as_bytes();
    if !(1..=MAX_PAGE_ITEMS).contains(&query.limit) {
        return Err(TableError::Limit(format!(
            "query: expected a limit of 1 to {MAX_PAGE_ITEMS}, found {}",
            query.limit
        )));
    }
    if pk.is_empty() || pk.len() > encode::MAX_PK_BYTES {
        return Err(TableError::Limit(format!(
            "query: expected a partition key of 1 to {} bytes, found {}",
            encode::MAX_PK_BYTES,
            pk.len()
        )));
    }
    let place = match &query.after {
        None => None,
        Some(cursor) => Some(Place::read(query, cursor).ok_or_else(|| {
            TableError::Limit("query: the cursor belongs to another query".to_owned())
        })?),
    };
    let (low, high) = match sort_bounds(&query.sort) {
        Some(bounds) => bounds,
        None => return Ok(Page::default()),
    };
    let filling = Filling {
        page: Page::default(),
        bytes: 0,
        limit: query.limit as usize,
        last: None,
    };
    let page = match query.index {
        Index::Main => query_items(store, query, place.as_ref(), (&low, high.as_ref()), filling),
        Index::Gsi1 | Index::Gsi2 => {
            query_index(store, query, place.as_ref(), (&low, high.as_ref()), filling)
        }
    };
    Ok(page?)
}

/// Where a query's sort keys begin, and the first byte string behind them (`None`: the
/// end of the partition). `None` in all where no sort key can match.
fn sort_bounds(sort: &SortKeys) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    Some(match sort {
        SortKeys::All => (Vec::new(), None),
        SortKeys::Prefix(prefix) => {
            let low = prefix.as_bytes().to_vec();
            let mut high = low.clone();
            // UTF-8 never holds the byte FFh, so the last byte can always be raised.
            let Some(last) = high.last_mut() else {
                return Some((low, None));
            };
            *last = last.saturating_add(1);
            (low, Some(high))
        }
        SortKeys::Between(low, high) if low <= high => {
            (low.as_bytes().to_vec(), Some(successor(high.as_bytes())))
        }
        SortKeys::Between(..) => return None,
    })
}

/// The first byte string that comes after this one.
fn successor(bytes: &[u8]) -> Vec<u8> {
    let mut next = bytes.to_vec();
    next.push(0);
    next
}

type Within<'a> = (&'a [u8], Option<&'a Vec<u8>>);

fn query_items(
    store: &Store,
    query: &Query,
    place: Option<&Place>,
    (low, high): Within<'_>,
    mut filling: Filling,
) -> Result<Page, StoreError> {
    let snapshot = store.read()?;
    let items = snapshot.open_table(ITEMS)?;
    let pk = query.pk.as_bytes();
    let behind = successor(pk);
    let mut from = Bound::Included((pk, low));
    let mut to = match high {
        Some(high) => Bound::Excluded((pk, high.as_slice())),
        None => Bound::Excluded((behind.as_slice(), [].as_slice())),
    };
    if let Some(place) = place {
        let end = if query.descending { &mut to } else { &mut from };
        *end = Bound::Excluded((pk, place.sk.as_bytes()));
    }
    let mut range = items.range::<(&[u8], &[u8])>((from, to))?;
    loop {
        let entry = if query.descending {
            range.next_back()
        } else {
            range.next()
        };
        let Some(entry) = entry else {
            return Ok(filling.finish(query, false));
        };
        if filling.is_full() {
            return Ok(filling.finish(query, true));
        }
        let (key, bytes) = entry?;
        let (pk, sk) = key.value();
        filling.push(sk, Key::new(text(pk)?, text(sk)?), bytes.value())?;
    }
}

fn query_index(
    store: &Store,
    query: &Query,
    place: Option<&Place>,
    (low, high): Within<'_>,
    mut filling: Filling,
) -> Result<Page, StoreError> {
    const NONE: &[u8] = &[];
    let snapshot = store.read()?;
    let items = snapshot.open_table(ITEMS)?;
    let index = snapshot.open_table(if query.index == Index::Gsi1 {
        GSI1
    } else {
        GSI2
    })?;
    let pk = query.pk.as_bytes();
    let behind = successor(pk);
    let mut from: Bound<Entry<'_>> = Bound::Included((pk, low, NONE, NONE));
    let mut to: Bound<Entry<'_>> = match high {
        Some(high) => Bound::Excluded((pk, high.as_slice(), NONE, NONE)),
        None => Bound::Excluded((behind.as_slice(), NONE, NONE, NONE)),
    };
    if let Some(Place {
        sk, key: Some(key), ..
    }) = place
    {
        let end = if query.descending { &mut to } else { &mut from };
        *end = Bound::Excluded((pk, sk.as_bytes(), key.pk.as_bytes(), key.sk.as_bytes()));
    }
    let mut range = index.range::<Entry<'_>>((from, to))?;
    loop {
        let entry = if query.descending {
            range.next_back()
        } else {
            range.next()
        };
        let Some(entry) = entry else {
            return Ok(filling.finish(query, false));
        };
        if filling.is_full() {
            return Ok(filling.finish(query, true));
        }
        let (entry, _) = entry?;
        let (_, index_sk, pk, sk) = entry.value();
        let bytes = items
            .get((pk, sk))?
            .ok_or_else(|| StoreError("an index names an item that is not there".to_owned()))?;
        filling.push(index_sk, Key::new(text(pk)?, text(sk)?), bytes.value())?;
    }
}

fn text(bytes: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| StoreError("a key of the catalogue file is not UTF-8".to_owned()))
}
