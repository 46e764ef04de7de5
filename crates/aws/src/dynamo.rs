//! The catalogue's table on DynamoDB.

mod fault;
mod transact;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use control::ports::{
    Condition, Index, Item, Key, MAX_WRITES, Page, Query, SortKeys, Table, TableError, Write,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::client::{Backoff, Connection, REQUESTS_AT_ONCE};
use crate::encode::{self, check_key, text};
use crate::requests::{Counters, Requests, count};
use crate::{cursor, schema};
use fault::explain;
use write::{Kind, Prepared};

/// The most items of one page of a query.
const MAX_PAGE_ITEMS: u32 = 1_000;
/// The most bytes of one transaction (API reference, TransactWriteItems: 4 MB).
const MAX_TRANSACTION_BYTES: usize = 4 << 20;

/// The single table on DynamoDB: conditional writes, transactions that can be said twice,
/// consistent reads of the table, eventually consistent ones of its two indexes.
///
/// One write by itself is a conditional put, not a transaction of one: half the price, and
/// it cannot stand in the way of another transaction.
#[derive(Clone)]
pub struct DynamoTable {
    client: aws_sdk_dynamodb::Client,
    name: String,
    backoff: Backoff,
    counters: Arc<Counters>,
    turns: Arc<Semaphore>,
}

impl DynamoTable {
    /// The table of that name, through a client built from the environment. Nothing is
    /// asked of DynamoDB yet.
    pub async fn connect(connection: &Connection, name: impl Into<String>) -> Self {
        Self::with_client(connection.dynamodb().await, name)
    }

    /// The table of that name, through a client that somebody else set up: with
    /// [`crate::table_retries`] and [`crate::table_timeouts`], unless for a reason.
    pub fn with_client(client: aws_sdk_dynamodb::Client, name: impl Into<String>) -> Self {
        Self {
            client,
            name: name.into(),
            backoff: Backoff::default(),
            counters: Arc::default(),
            turns: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
        }
    }

    /// The same table with other pauses between tries.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The client it asks through.
    pub const fn client(&self) -> &aws_sdk_dynamodb::Client {
        &self.client
    }

    /// How often DynamoDB was asked since this table was opened.
    pub fn requests(&self) -> Requests {
        self.counters.now()
    }

    /// Waits where too many requests are under way.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, TableError> {
        let closing = |_| TableError::Unavailable("the process is closing".to_owned());
        self.turns.acquire().await.map_err(closing)
    }

    /// A consistent read.
    async fn read(&self, key: &Key) -> Result<Option<Item>, TableError> {
        let _turn = self.turn().await?;
        count(&self.counters.gets, 1);
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(encode::key(key)))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| explain(&error))?;
        self.counters.read(answer.consumed_capacity());
        count(&self.counters.items_read, answer.item.iter().len());
        answer.item.map(encode::item).transpose()
    }
}

#[async_trait]
impl Table for DynamoTable {
    async fn get(&self, key: &Key) -> Result<Option<Item>, TableError> {
        check_key(key)?;
        self.read(key).await
    }

    async fn query(&self, query: &Query) -> Result<Page, TableError> {
        check_query(query)?;
        let start = match &query.after {
            Some(cursor) => Some(cursor::start(query, cursor)?),
            None => None,
        };
        let (pk, sk) = cursor::key_names(query.index);
        let mut names = HashMap::from([("#pk".to_owned(), pk.to_owned())]);
        let mut values = HashMap::from([(":pk".to_owned(), text(&query.pk))]);
        let mut condition = "#pk = :pk".to_owned();
        match &query.sort {
            SortKeys::Prefix(prefix) if !prefix.is_empty() => {
                condition.push_str(" AND begins_with(#sk, :low)");
                values.insert(":low".to_owned(), text(prefix));
            }
            SortKeys::All | SortKeys::Prefix(_) => {}
            // DynamoDB calls such a range an error; nothing lies in it.
            SortKeys::Between(low, high) if low > high || high.is_empty() => {
                return Ok(Page::default());
            }
            SortKeys::Between(low, high) => {
                values.insert(":high".to_owned(), text(high));
                if low.is_empty() {
                    condition.push_str(" AND #sk <= :high");
                } else {
                    condition.push_str(" AND #sk BETWEEN :low AND :high");
                    values.insert(":low".to_owned(), text(low));
                }
            }
        }
        if values.len() > 1 {
            names.insert("#sk".to_owned(), sk.to_owned());
        }
        let _turn = self.turn().await?;
        count(&self.counters.queries, 1);
        let answer = self
            .client
            .query()
            .table_name(&self.name)
            .set_index_name(cursor::schema(query.index).map(|schema| schema.name.to_owned()))
            .key_condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .set_exclusive_start_key(start)
            // A global index has no consistent reads.
            .consistent_read(query.index == Index::Main)
            .scan_index_forward(!query.descending)
            .limit(i32::try_from(query.limit).unwrap_or(i32::MAX))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| explain(&error))?;
        self.counters.read(answer.consumed_capacity());
        let next = match answer.last_evaluated_key() {
            Some(last) if !last.is_empty() => Some(cursor::after(query, last)?),
            _ => None,
        };
        let items = answer
            .items
            .unwrap_or_default()
            .into_iter()
            .map(encode::item)
            .collect::<Result<Vec<_>, _>>()?;
        count(&self.counters.items_read, items.len());
        Ok(Page { items, next })
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), TableError> {
        let token = token()?;
        let mut prepared = prepare(writes, &token)?;
        // Asks nothing and does nothing.
        prepared.retain(|write| write.kind != Kind::Check || write.condition != Condition::None);
        match prepared.as_slice() {
            [] => Ok(()),
            [one] if one.is_single() => self.write_one(one, &token).await,
            many => self.write_all(many, &token).await,
        }
    }
}

/// Checks every limit of a transaction, so that nothing is sent that DynamoDB refuses.
fn prepare(writes: Vec<Write>, token: &str) -> Result<Vec<Prepared>, TableError> {
    if writes.is_empty() || writes.len() > MAX_WRITES {
        return Err(TableError::Limit(format!(
            "transaction: expected 1 to {MAX_WRITES} writes, found {}",
            writes.len()
        )));
    }
    let prepared = writes
        .into_iter()
        .enumerate()
        .map(|(at, write)| Prepared::new(at, write, token))
        .collect::<Result<Vec<_>, _>>()?;
    let total: usize = prepared.iter().map(|write| write.bytes).sum();
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
    Ok(prepared)
}

fn check_query(query: &Query) -> Result<(), TableError> {
    if !(1..=MAX_PAGE_ITEMS).contains(&query.limit) {
        return Err(TableError::Limit(format!(
            "query: expected a limit of 1 to {MAX_PAGE_ITEMS}, found {}",
            query.limit
        )));
    }
    let bounds = match &query.sort {
        SortKeys::All => vec![],
        SortKeys::Prefix(prefix) => vec![prefix],
        SortKeys::Between(low, high) => vec![low, high],
    };
    let long = |bound: &&String| bound.len() > encode::MAX_SK_BYTES;
    if query.pk.is_empty() || query.pk.len() > encode::MAX_PK_BYTES || bounds.iter().any(long) {
        return Err(TableError::Limit(format!(
            "query: expected a partition key of 1 to {} bytes and sort keys of at most {}, \
             found {} and {:?}",
            encode::MAX_PK_BYTES,
            encode::MAX_SK_BYTES,
            query.pk.len(),
            bounds.iter().map(|bound| bound.len()).collect::<Vec<_>>(),
        )));
    }
    Ok(())
}

/// A name for one call of [`Table::transact`], whatever DynamoDB is asked for it: 128
/// random bits, at most 36 characters (API reference, ClientRequestToken).
fn token() -> Result<String, TableError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| TableError::Unavailable(format!("no randomness: {error}")))?;
    Ok(hex::encode(bytes))
}

/// The names that conditions use, as far as they use them.
fn names(used: &[(&str, &str)]) -> HashMap<String, String> {
    used.iter()
        .map(|(short, name)| ((*short).to_owned(), (*name).to_owned()))
        .collect()
}

/// What a condition says in DynamoDB's words.
fn expression(condition: Condition) -> Option<Expression> {
    match condition {
        Condition::Absent => Some(Expression {
            text: "attribute_not_exists(#pk)".to_owned(),
            names: names(&[("#pk", schema::PK)]),
            values: HashMap::new(),
        }),
        Condition::Version(version) => Some(Expression {
            text: "#v = :seen".to_owned(),
            names: names(&[("#v", schema::VERSION)]),
            values: HashMap::from([(":seen".to_owned(), encode::number(version))]),
        }),
        Condition::None => None,
    }
}

/// A condition expression with what its placeholders stand for.
#[derive(Clone)]
struct Expression {
    text: String,
    names: HashMap<String, String>,
    values: encode::Attributes,
}
