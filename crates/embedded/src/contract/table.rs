use std::sync::Arc;

use control::ports::{
    Condition, Cursor, Index, Item, Key, MAX_WRITES, Page, Query, SortKeys, Table, TableError,
    Write,
};
use serde_json::{Value, json};

/// The table's contract: conditions, all-or-nothing, conflicts that return the old item,
/// order and paging in both directions, indexes that follow their items, races.
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
    indexes_follow_their_items(make().await.as_ref()).await;
    equal_index_keys_stand_side_by_side(make().await.as_ref()).await;
    one_claim_wins(&make().await).await;
    increments_are_not_lost(&make().await).await;
    writers_of_two_items_never_tear_them(&make().await).await;
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
        let found = table.query(&all_of(index, pk)).await.unwrap().items;
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

async fn order_is_bytewise(table: &dyn Table) {
    let ordered = [
        "!", "#", "0", "10", "2", "A", "Z", "a", "a\u{0}", "aa", "z", "é", "漢", "🎞",
    ];
    for sk in ordered.iter().rev() {
        table
            .transact(vec![put("P", sk, json!({}), Condition::None)])
            .await
            .unwrap();
    }
    // Partitions whose names begin alike or lie next to it do not show.
    for pk in ["P\u{0}", "P#", "PP", "O", "Q"] {
        table
            .transact(vec![put(pk, "x", json!({}), Condition::None)])
            .await
            .unwrap();
    }
    let mut query = all_of(Index::Main, "P");
    assert_eq!(sort_keys(table, &query).await, ordered);
    query.descending = true;
    let backwards: Vec<_> = ordered.iter().rev().copied().collect();
    assert_eq!(sort_keys(table, &query).await, backwards);
}

async fn sort_keys_are_filtered(table: &dyn Table) {
    for sk in ["A", "B#", "B#1", "B#2", "B#2x", "B$", "C"] {
        table
            .transact(vec![put("P", sk, json!({}), Condition::None)])
            .await
            .unwrap();
    }
    let between = |low: &str, high: &str| SortKeys::Between(low.to_owned(), high.to_owned());
    let cases: [(SortKeys, &[&str]); 7] = [
        (
            SortKeys::Prefix("B#".to_owned()),
            &["B#", "B#1", "B#2", "B#2x"],
        ),
        (SortKeys::Prefix("X".to_owned()), &[]),
        (between("B#1", "B#2"), &["B#1", "B#2"]),
        (between("B", "B$"), &["B#", "B#1", "B#2", "B#2x", "B$"]),
        (between("C", "C"), &["C"]),
        (between("D", "Z"), &[]),
        (SortKeys::All, &["A", "B#", "B#1", "B#2", "B#2x", "B$", "C"]),
    ];
    for (sort, expected) in cases {
        for descending in [false, true] {
            let query = Query {
                sort: sort.clone(),
                descending,
                ..all_of(Index::Main, "P")
            };
            let mut found = sort_keys(table, &query).await;
            if descending {
                found.reverse();
            }
            assert_eq!(found, expected, "{sort:?} descending={descending}");
            let small = Query { limit: 1, ..query };
            assert_eq!(
                walk(table, small).await.0.len(),
                expected.len(),
                "{sort:?} by ones"
            );
        }
    }
}

async fn pages_join_up(table: &dyn Table) {
    for n in 0..25 {
        let mut item = item("P", &format!("{n:03}"), json!(n));
        item.gsi1 = Some(Key::new("G", format!("{:03}", n / 5))); // Five of each.
        table
            .transact(vec![Write::Put(item, Condition::None)])
            .await
            .unwrap();
    }
    for (index, pk) in [(Index::Main, "P"), (Index::Gsi1, "G")] {
        let (whole, _) = walk(table, all_of(index, pk)).await;
        assert_eq!(whole.len(), 25, "{index:?}");
        for limit in [1, 2, 7, 24, 25, 26] {
            for descending in [false, true] {
                let query = Query {
                    limit,
                    descending,
                    ..all_of(index, pk)
                };
                let (mut found, pages) = walk(table, query).await;
                if descending {
                    found.reverse();
                }
                assert_eq!(
                    found, whole,
                    "{index:?} by {limit}, descending={descending}"
                );
                assert!(pages >= 25_usize.div_ceil(limit as usize));
            }
        }
    }
    // What is written behind the cursor shows; what is written before it does not.
    let query = Query {
        limit: 10,
        ..all_of(Index::Main, "P")
    };
    let first = table.query(&query).await.unwrap();
    for sk in ["0045", "0155"] {
        table
            .transact(vec![put("P", sk, json!({}), Condition::None)])
            .await
            .unwrap();
    }
    let rest = walk(
        table,
        Query {
            after: first.next,
            limit: 1_000,
            ..query
        },
    )
    .await
    .0;
    assert_eq!(rest.len(), 16);
    assert!(rest.iter().any(|item| item.key.sk == "0155"));
}

/// Refused, or at least nothing that the query itself could not give: whatever a client
/// makes up for a cursor, it leads nowhere else.
fn is_within(result: &Result<Page, TableError>, query: &Query) -> bool {
    let is_asked_for = |item: &Item| {
        let key = match query.index {
            Index::Main => Some(&item.key),
            Index::Gsi1 => item.gsi1.as_ref(),
            Index::Gsi2 => item.gsi2.as_ref(),
        };
        key.is_some_and(|key| match &query.sort {
            SortKeys::All => key.pk == query.pk,
            SortKeys::Prefix(prefix) => key.pk == query.pk && key.sk.starts_with(prefix),
            SortKeys::Between(low, high) => key.pk == query.pk && (low..=high).contains(&&key.sk),
        })
    };
    match result {
        Ok(page) => page.items.iter().all(is_asked_for),
        result => is_limit(result),
    }
}

async fn cursors_keep_to_their_query(table: &dyn Table) {
    for (pk, sk) in [("P", "1"), ("P", "2"), ("Q", "1"), ("Q", "2")] {
        let mut item = item(pk, sk, json!({}));
        item.gsi1 = Some(Key::new(pk, sk));
        table
            .transact(vec![Write::Put(item, Condition::None)])
            .await
            .unwrap();
    }
    let query = Query {
        limit: 1,
        ..all_of(Index::Main, "P")
    };
    let cursor = table
        .query(&query)
        .await
        .unwrap()
        .next
        .expect("one of two was given");
    for other in [
        Query {
            pk: "Q".to_owned(),
            ..query.clone()
        },
        Query {
            index: Index::Gsi1,
            ..query.clone()
        },
        Query {
            descending: true,
            ..query.clone()
        },
        Query {
            sort: SortKeys::Prefix("1".to_owned()),
            ..query.clone()
        },
    ] {
        let result = table
            .query(&Query {
                after: Some(cursor.clone()),
                ..other.clone()
            })
            .await;
        assert!(
            is_within(&result, &other),
            "a cursor of another query, {other:?}: {result:?}"
        );
    }
    for rubbish in ["", "x", "e30", "AAAA", "{}"] {
        let after = Some(Cursor(rubbish.to_owned()));
        let result = table
            .query(&Query {
                after,
                ..query.clone()
            })
            .await;
        assert!(is_within(&result, &query), "{rubbish:?}: {result:?}");
    }
}

async fn large_pages_are_cut(table: &dyn Table) {
    let text = "x".repeat(300_000);
    for n in 0..6 {
        table
            .transact(vec![put("P", &n.to_string(), json!(text), Condition::None)])
            .await
            .unwrap();
    }
    let (items, pages) = walk(table, all_of(Index::Main, "P")).await;
    assert_eq!(items.len(), 6);
    assert!(pages >= 2, "1.8 MB do not fit into one page of 1 MB");
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

async fn indexes_follow_their_items(table: &dyn Table) {
    let write = |gsi1: Option<(&str, &str)>, gsi2: Option<(&str, &str)>| {
        let mut item = item("P", "1", json!({}));
        item.gsi1 = gsi1.map(|(pk, sk)| Key::new(pk, sk));
        item.gsi2 = gsi2.map(|(pk, sk)| Key::new(pk, sk));
        vec![Write::Put(item, Condition::None)]
    };
    let found = async |index, pk: &str| {
        let items = table.query(&all_of(index, pk)).await.unwrap().items;
        items.iter().map(|item| item.version).collect::<Vec<_>>()
    };
    table
        .transact(write(Some(("A", "1")), Some(("A", "1"))))
        .await
        .unwrap();
    assert_eq!(found(Index::Gsi1, "A").await, [1]);
    assert_eq!(found(Index::Gsi2, "A").await, [1]);
    assert_eq!(found(Index::Main, "A").await, [] as [u64; 0]);

    table
        .transact(write(Some(("B", "1")), Some(("A", "1"))))
        .await
        .unwrap();
    assert_eq!(found(Index::Gsi1, "A").await, [] as [u64; 0], "moved away");
    assert_eq!(found(Index::Gsi1, "B").await, [2], "moved here");
    assert_eq!(
        found(Index::Gsi2, "A").await,
        [2],
        "stayed, and shows the new version"
    );

    table.transact(write(Some(("B", "2")), None)).await.unwrap();
    assert_eq!(
        found(Index::Gsi1, "B").await,
        [3],
        "moved within its partition: one entry"
    );
    assert_eq!(
        found(Index::Gsi2, "A").await,
        [] as [u64; 0],
        "left the index"
    );

    let mut refused = write(Some(("C", "1")), Some(("C", "1")));
    refused.push(Write::Check(Key::new("P", "9"), Condition::Version(1)));
    assert!(is_conflict(&table.transact(refused).await));
    assert_eq!(
        found(Index::Gsi1, "B").await,
        [3],
        "a refused transaction moves nothing"
    );
    assert_eq!(found(Index::Gsi1, "C").await, [] as [u64; 0]);

    table
        .transact(vec![Write::Delete(Key::new("P", "1"), Condition::None)])
        .await
        .unwrap();
    assert_eq!(
        found(Index::Gsi1, "B").await,
        [] as [u64; 0],
        "deleted with its item"
    );
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

async fn one_claim_wins(table: &Arc<dyn Table>) {
    const CLAIMS: usize = 20;
    let racers = (0..8).map(|racer| {
        let table = table.clone();
        tokio::spawn(async move {
            let mut won = Vec::new();
            for claim in 0..CLAIMS {
                let writes = vec![
                    put("C", &format!("{claim:02}"), json!(racer), Condition::Absent),
                    put(
                        "W",
                        &format!("{claim:02}#{racer}"),
                        json!(racer),
                        Condition::None,
                    ),
                ];
                match table.transact(writes).await {
                    Ok(()) => won.push(claim),
                    Err(TableError::Conflict {
                        write: 0,
                        old: Some(old),
                    }) => {
                        assert_ne!(old.body, json!(racer), "lost against itself");
                    }
                    Err(other) => panic!("claim {claim}: {other:?}"),
                }
            }
            won
        })
    });
    let mut won = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        won.extend(racer.await.unwrap());
    }
    won.sort_unstable();
    assert_eq!(
        won,
        (0..CLAIMS).collect::<Vec<_>>(),
        "each claim has exactly one winner"
    );
    let traces = walk(table.as_ref(), all_of(Index::Main, "W")).await.0;
    assert_eq!(traces.len(), CLAIMS, "losers leave no trace");
}

async fn increments_are_not_lost(table: &Arc<dyn Table>) {
    let counter = Key::new("P", "counter");
    table
        .transact(vec![put("P", "counter", json!(0), Condition::Absent)])
        .await
        .unwrap();
    let racers = (0..8).map(|_| {
        let (table, counter) = (table.clone(), counter.clone());
        tokio::spawn(async move {
            for _ in 0..25 {
                loop {
                    let seen = table.get(&counter).await.unwrap().unwrap();
                    let next = json!(seen.body.as_u64().unwrap() + 1);
                    let condition = Condition::Version(seen.version);
                    match table
                        .transact(vec![put("P", "counter", next, condition)])
                        .await
                    {
                        Ok(()) => break,
                        Err(TableError::Conflict { .. }) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
        })
    });
    for racer in racers.collect::<Vec<_>>() {
        racer.await.unwrap();
    }
    let counter = table.get(&counter).await.unwrap().unwrap();
    assert_eq!((counter.body, counter.version), (json!(200), 201));
}

async fn writers_of_two_items_never_tear_them(table: &Arc<dyn Table>) {
    let pair = |n: usize| {
        vec![
            put("T", "a", json!(n), Condition::None),
            put("T", "b", json!(n), Condition::None),
        ]
    };
    table.transact(pair(0)).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let table = table.clone();
            tokio::spawn(async move {
                for round in 0..25 {
                    table.transact(pair(writer * 100 + round)).await.unwrap();
                }
            })
        })
        .collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        let page = table.query(&all_of(Index::Main, "T")).await.unwrap();
        assert_eq!(
            page.items[0].body, page.items[1].body,
            "one page shows one moment"
        );
        assert_eq!(page.items[0].version, page.items[1].version);
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
}
