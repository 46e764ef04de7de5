mod queries;
mod races;

use std::sync::Arc;
use std::time::{Duration, Instant};

use control::ports::{
    Condition, Cursor, Index, Item, Key, MAX_WRITES, Page, Query, SortKeys, Table, TableError,
    Write,
};
use serde_json::{Value, json};

use queries::*;
pub use races::claims;
use races::*;

/// The table's contract: conditions, all-or-nothing, conflicts that return the old item,
/// order and paging in both directions, indexes that follow their items in time, races.
///
/// `make` gives an empty table each time it is called.
///
/// # Panics
/// Where the table breaks the contract.
pub async fn table<F, Made>(make: F)
where
    F: Fn() -> Made,
    Made: Future<Output = Arc<dyn Table>>,
{
    conditions_decide(make().await.as_ref()).await;
    versions_count(make().await.as_ref()).await;
    all_or_nothing(make().await.as_ref()).await;
    conflicts_tell_which_and_what(make().await.as_ref()).await;
    items_come_back_whole(make().await.as_ref()).await;
    order_is_bytewise(make().await.as_ref()).await;
    sort_keys_are_filtered(make().await.as_ref()).await;
    pages_join_up(make().await.as_ref()).await;
    cursors_keep_to_their_query(make().await.as_ref()).await;
    indexes_follow_their_items(make().await.as_ref(), PATIENCE).await;
    equal_index_keys_stand_side_by_side(make().await.as_ref()).await;
    one_claim_wins(&make().await).await;
    increments_are_not_lost(&make().await).await;
    writers_of_two_items_never_tear_them(&make().await).await;
}

/// What a table on one machine does besides, and DynamoDB does not: indexes show at once
/// what was written, and a page shows all its items as of one moment. Nothing may rely on
/// it but tests.
///
/// # Panics
/// Where an index is behind, or a page shows a transaction in part.
pub async fn table_moments<F, Made>(make: F)
where
    F: Fn() -> Made,
    Made: Future<Output = Arc<dyn Table>>,
{
    indexes_follow_their_items(make().await.as_ref(), Duration::ZERO).await;
    a_page_is_one_moment(&make().await).await;
}

/// What every table that is not only a test's own must do as well: DynamoDB's limits on
/// keys, items, transactions (4 MB) and pages (1 MB).
///
/// # Panics
/// Where the table breaks the contract.
pub async fn table_sizes<F, Made>(make: F)
where
    F: Fn() -> Made,
    Made: Future<Output = Arc<dyn Table>>,
{
    large_pages_are_cut(make().await.as_ref()).await;
    large_transactions_are_refused(make().await.as_ref()).await;
    limits_hold(make().await.as_ref()).await;
}

/// An index is behind the table for milliseconds as a rule, says DynamoDB, without a bound.
const PATIENCE: Duration = Duration::from_secs(30);

fn item(pk: &str, sk: &str, body: Value) -> Item {
    Item {
        key: Key::new(pk, sk),
        version: 0,
        gsi1: None,
        gsi2: None,
        expires_at: None,
        body,
    }
}

fn put(pk: &str, sk: &str, body: Value, condition: Condition) -> Write {
    Write::Put(item(pk, sk, body), condition)
}

fn all_of(index: Index, pk: &str) -> Query {
    Query {
        index,
        pk: pk.to_owned(),
        sort: SortKeys::All,
        descending: false,
        limit: 1_000,
        after: None,
    }
}

async fn body(table: &dyn Table, pk: &str, sk: &str) -> Option<Value> {
    table
        .get(&Key::new(pk, sk))
        .await
        .unwrap()
        .map(|item| item.body)
}

async fn sort_keys(table: &dyn Table, query: &Query) -> Vec<String> {
    let page = table.query(query).await.unwrap();
    page.items.into_iter().map(|item| item.key.sk).collect()
}

/// All pages of a query, and how many there were.
async fn walk(table: &dyn Table, mut query: Query) -> (Vec<Item>, usize) {
    let (mut items, mut pages) = (Vec::new(), 0);
    loop {
        let Page { items: some, next } = table.query(&query).await.unwrap();
        assert!(
            some.len() <= query.limit as usize,
            "a page holds at most the limit"
        );
        items.extend(some);
        pages += 1;
        assert!(pages < 10_000, "paging does not end");
        match next {
            Some(cursor) => query.after = Some(cursor),
            None => return (items, pages),
        }
    }
}

fn is_conflict(result: &Result<(), TableError>) -> bool {
    matches!(result, Err(TableError::Conflict { .. }))
}

fn is_limit<T: std::fmt::Debug>(result: &Result<T, TableError>) -> bool {
    matches!(result, Err(TableError::Limit(_)))
}

async fn conditions_decide(table: &dyn Table) {
    use Condition::{Absent, None, Version};
    let key = Key::new("P", "1");
    let write = |condition| put("P", "1", json!({}), condition);
    let check = |condition| Write::Check(key.clone(), condition);
    let delete = |condition| Write::Delete(key.clone(), condition);

    assert!(
        table.get(&key).await.unwrap().is_none(),
        "an empty table has no item"
    );
    for refused in [
        write(Version(0)),
        write(Version(1)),
        check(Version(1)),
        delete(Version(1)),
    ] {
        let result = table.transact(vec![refused.clone()]).await;
        assert!(
            is_conflict(&result),
            "{refused:?} without an item: {result:?}"
        );
    }
    for taken in [
        check(Absent),
        delete(Absent),
        delete(None),
        check(None),
        write(Absent),
    ] {
        let result = table.transact(vec![taken.clone()]).await;
        assert!(result.is_ok(), "{taken:?} without an item: {result:?}");
    }
    for refused in [
        write(Absent),
        check(Absent),
        delete(Absent),
        write(Version(2)),
        check(Version(0)),
    ] {
        let result = table.transact(vec![refused.clone()]).await;
        assert!(
            is_conflict(&result),
            "{refused:?} with version 1: {result:?}"
        );
    }
    for taken in [
        check(Version(1)),
        check(None),
        write(Version(1)),
        write(None),
    ] {
        let result = table.transact(vec![taken.clone()]).await;
        assert!(result.is_ok(), "{taken:?} with an item: {result:?}");
    }
    table.transact(vec![delete(Version(3))]).await.unwrap();
    assert!(
        table.get(&key).await.unwrap().is_none(),
        "a deleted item is gone"
    );
}

async fn versions_count(table: &dyn Table) {
    let key = Key::new("P", "1");
    for version in 1..=5 {
        let mut sent = item("P", "1", json!(version));
        sent.version = 77; // Ignored: the table counts.
        table
            .transact(vec![Write::Put(sent, Condition::None)])
            .await
            .unwrap();
        assert_eq!(table.get(&key).await.unwrap().unwrap().version, version);
    }
    table
        .transact(vec![Write::Check(key.clone(), Condition::Version(5))])
        .await
        .unwrap();
    assert_eq!(
        table.get(&key).await.unwrap().unwrap().version,
        5,
        "a check changes nothing"
    );
    table
        .transact(vec![Write::Delete(key.clone(), Condition::None)])
        .await
        .unwrap();
    table
        .transact(vec![put("P", "1", json!(0), Condition::Absent)])
        .await
        .unwrap();
    assert_eq!(
        table.get(&key).await.unwrap().unwrap().version,
        1,
        "a new item begins at 1"
    );
}

async fn all_or_nothing(table: &dyn Table) {
    table
        .transact(vec![put("P", "old", json!("old"), Condition::None)])
        .await
        .unwrap();
    let writes = vec![
        put("P", "new", json!("new"), Condition::Absent),
        Write::Delete(Key::new("P", "old"), Condition::Version(1)),
        put("Q", "far", json!("far"), Condition::None),
        Write::Check(Key::new("P", "missing"), Condition::Version(1)),
    ];
    assert!(is_conflict(&table.transact(writes.clone()).await));
    assert_eq!(body(table, "P", "new").await, None);
    assert_eq!(body(table, "P", "old").await, Some(json!("old")));
    assert_eq!(body(table, "Q", "far").await, None);

    table.transact(writes[..3].to_vec()).await.unwrap();
    assert_eq!(body(table, "P", "new").await, Some(json!("new")));
    assert_eq!(body(table, "P", "old").await, None);
    assert_eq!(body(table, "Q", "far").await, Some(json!("far")));

    let many = (0..MAX_WRITES).map(|n| put("M", &n.to_string(), json!(n), Condition::Absent));
    table.transact(many.collect()).await.unwrap();
    assert_eq!(
        walk(table, all_of(Index::Main, "M")).await.0.len(),
        MAX_WRITES
    );
}

async fn conflicts_tell_which_and_what(table: &dyn Table) {
    let mut there = item("P", "1", json!({ "who": "first" }));
    there.gsi1 = Some(Key::new("G", "1"));
    table
        .transact(vec![Write::Put(there.clone(), Condition::Absent)])
        .await
        .unwrap();
    there.version = 1;

    let result = table
        .transact(vec![
            put("P", "0", json!({}), Condition::Absent),
            put("P", "1", json!({}), Condition::Absent),
            put("P", "2", json!({}), Condition::Version(9)),
        ])
        .await;
    let expected = TableError::Conflict {
        write: 1,
        old: Some(Box::new(there)),
    };
    assert_eq!(
        result,
        Err(expected),
        "the first failed condition and the item as it stands"
    );

    let result = table
        .transact(vec![put("P", "2", json!({}), Condition::Version(9))])
        .await;
    assert_eq!(
        result,
        Err(TableError::Conflict {
            write: 0,
            old: None
        })
    );
}

async fn items_come_back_whole(table: &dyn Table) {
    let mut sent = item(
        "größe#漢字",
        "a b#\u{1}",
        json!({
            "text": "quote \" back \\ null \u{0} emoji 🎞", "empty": "", "list": [1, null, true, {}],
            "big": u64::MAX, "small": i64::MIN, "fraction": 0.1, "nested": { "a": { "b": [] } },
        }),
    );
    sent.gsi1 = Some(Key::new("G1", "x"));
    sent.gsi2 = Some(Key::new("G2", "y"));
    sent.expires_at = Some("2026-01-02T03:04:05Z".parse().unwrap());
    table
        .transact(vec![Write::Put(sent.clone(), Condition::Absent)])
        .await
        .unwrap();
    sent.version = 1;
    assert_eq!(table.get(&sent.key).await.unwrap(), Some(sent.clone()));
    for (index, pk) in [
        (Index::Main, "größe#漢字"),
        (Index::Gsi1, "G1"),
        (Index::Gsi2, "G2"),
    ] {
        let query = all_of(index, pk);
        let found = until(table, &query, PATIENCE, |found| !found.is_empty()).await;
        assert_eq!(found, [sent.clone()], "{index:?}");
    }
    let mut past = sent.clone();
    past.expires_at = Some("1970-01-01T00:00:01Z".parse().unwrap());
    table
        .transact(vec![Write::Put(past, Condition::Version(1))])
        .await
        .unwrap();
    assert!(
        table.get(&sent.key).await.unwrap().is_some(),
        "expired items are the reader's affair"
    );
}

async fn large_transactions_are_refused(table: &dyn Table) {
    let text = "x".repeat(380_000);
    let large = |n: usize| {
        (0..n)
            .map(|n| put("P", &n.to_string(), json!(text), Condition::None))
            .collect()
    };
    let result = table.transact(large(12)).await;
    assert!(is_limit(&result), "4.5 MB: {result:?}");
    assert!(table.get(&Key::new("P", "0")).await.unwrap().is_none());
    table.transact(large(10)).await.unwrap();
}

async fn indexes_follow_their_items(table: &dyn Table, patience: Duration) {
    let write = |gsi1: Option<(&str, &str)>, gsi2: Option<(&str, &str)>| {
        let mut item = item("P", "1", json!({}));
        item.gsi1 = gsi1.map(|(pk, sk)| Key::new(pk, sk));
        item.gsi2 = gsi2.map(|(pk, sk)| Key::new(pk, sk));
        vec![Write::Put(item, Condition::None)]
    };
    let shows = async |index, pk: &str, versions: &[u64], what: &str| {
        let as_expected = |items: &[Item]| {
            let found = items.iter().map(|item| item.version);
            found.eq(versions.iter().copied())
        };
        let found = until(table, &all_of(index, pk), patience, as_expected).await;
        assert!(as_expected(&found), "{what}: {found:?}");
    };
    table
        .transact(write(Some(("A", "1")), Some(("A", "1"))))
        .await
        .unwrap();
    shows(Index::Gsi1, "A", &[1], "as written").await;
    shows(Index::Gsi2, "A", &[1], "as written").await;
    shows(Index::Main, "A", &[], "as written").await;

    table
        .transact(write(Some(("B", "1")), Some(("A", "1"))))
        .await
        .unwrap();
    shows(Index::Gsi1, "A", &[], "moved away").await;
    shows(Index::Gsi1, "B", &[2], "moved here").await;
    shows(Index::Gsi2, "A", &[2], "stayed, and shows the new version").await;

    table.transact(write(Some(("B", "2")), None)).await.unwrap();
    shows(
        Index::Gsi1,
        "B",
        &[3],
        "moved within its partition: one entry",
    )
    .await;
    shows(Index::Gsi2, "A", &[], "left the index").await;

    let mut refused = write(Some(("C", "1")), Some(("C", "1")));
    refused.push(Write::Check(Key::new("P", "9"), Condition::Version(1)));
    assert!(is_conflict(&table.transact(refused).await));
    shows(
        Index::Gsi1,
        "B",
        &[3],
        "a refused transaction moves nothing",
    )
    .await;
    shows(Index::Gsi1, "C", &[], "as written").await;

    table
        .transact(vec![Write::Delete(Key::new("P", "1"), Condition::None)])
        .await
        .unwrap();
    shows(Index::Gsi1, "B", &[], "deleted with its item").await;
}

/// What a query gives once it fits, or after so long.
async fn until(
    table: &dyn Table,
    query: &Query,
    patience: Duration,
    fits: impl Fn(&[Item]) -> bool,
) -> Vec<Item> {
    let begun = Instant::now();
    loop {
        let (items, _) = walk(table, query.clone()).await;
        if fits(&items) || begun.elapsed() >= patience {
            return items;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn equal_index_keys_stand_side_by_side(table: &dyn Table) {
    for n in 0..3 {
        let mut item = item(&format!("P{n}"), "1", json!(n));
        item.gsi2 = Some(Key::new("G", "same"));
        table
            .transact(vec![Write::Put(item, Condition::None)])
            .await
            .unwrap();
    }
    until(table, &all_of(Index::Gsi2, "G"), PATIENCE, |found| {
        found.len() == 3
    })
    .await;
    for limit in [1, 2, 3] {
        let query = Query {
            limit,
            ..all_of(Index::Gsi2, "G")
        };
        let (mut items, _) = walk(table, query).await;
        items.sort_by(|a, b| a.key.cmp(&b.key));
        let bodies: Vec<_> = items.into_iter().map(|item| item.body).collect();
        assert_eq!(bodies, [json!(0), json!(1), json!(2)], "by {limit}");
    }
}

async fn limits_hold(table: &dyn Table) {
    let one = |pk: &str, sk: &str| vec![put(pk, sk, json!({}), Condition::None)];
    let many = |n: usize| (0..n).map(|n| put("M", &n.to_string(), json!(n), Condition::None));
    let large = |bytes: usize| json!({ "x": "x".repeat(bytes) });
    let refused: Vec<(&str, Vec<Write>)> = vec![
        ("no write at all", vec![]),
        ("101 writes", many(MAX_WRITES + 1).collect()),
        (
            "one key twice",
            vec![
                put("P", "1", json!({}), Condition::None),
                Write::Check(Key::new("P", "1"), Condition::None),
            ],
        ),
        (
            "an item over 400 KB",
            vec![put("P", "1", large(400 * 1024), Condition::None)],
        ),
        ("an empty partition key", one("", "1")),
        ("an empty sort key", one("P", "")),
        (
            "a partition key of 2,049 bytes",
            one(&"p".repeat(2049), "1"),
        ),
        ("a sort key of 1,025 bytes", one("P", &"s".repeat(1025))),
    ];
    for (what, writes) in refused {
        let result = table.transact(writes).await;
        assert!(is_limit(&result), "{what}: {result:?}");
    }
    assert!(
        table
            .query(&all_of(Index::Main, "P"))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    for limit in [0, 1_001] {
        let result = table
            .query(&Query {
                limit,
                ..all_of(Index::Main, "P")
            })
            .await;
        assert!(is_limit(&result), "a limit of {limit}: {result:?}");
    }
    table
        .transact(one(&"p".repeat(2048), &"s".repeat(1024)))
        .await
        .unwrap();
    table
        .transact(vec![put("P", "1", large(390_000), Condition::None)])
        .await
        .unwrap();
}
