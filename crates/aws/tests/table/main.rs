//! The table on DynamoDB keeps the contract of every table, and keeps it where answers are
//! lost, requests are throttled, and transactions meet each other.
//!
//! DynamoDB is dynoxide, in this process: one server a test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod faults;
mod server;

use std::sync::Arc;

use control::ports::Table;

#[tokio::test(flavor = "multi_thread")]
async fn the_table_keeps_the_contract() {
    embedded::contract::table(|| async { Arc::new(server::table().await) as Arc<dyn Table> }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_keeps_the_limits_on_sizes() {
    embedded::contract::table_sizes(|| async { Arc::new(server::table().await) as Arc<dyn Table> })
        .await;
}

/// As conditional puts by themselves, from eight threads with a connection pool each; the
/// contract has the same race in transactions.
#[tokio::test(flavor = "multi_thread")]
async fn of_eight_threads_that_claim_twenty_items_one_wins_each() {
    use control::ports::{Condition, Item, Key, TableError, Write};
    let (endpoint, table) = server::endpoint().await;
    let threads: Vec<_> = (0..8)
        .map(|racer| {
            let endpoint = endpoint.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let table = server::at(&endpoint);
                    let mut won = Vec::new();
                    for claim in 0..20 {
                        let item = Item {
                            key: Key::new("C", format!("{claim:02}")),
                            version: 0,
                            gsi1: None,
                            gsi2: None,
                            expires_at: None,
                            // The same from all: only the call's token tells them apart.
                            body: "claimed".into(),
                        };
                        match table
                            .transact(vec![Write::Put(item, Condition::Absent)])
                            .await
                        {
                            Ok(()) => won.push(claim),
                            Err(TableError::Conflict { old: Some(_), .. }) => {}
                            Err(other) => panic!("racer {racer}, claim {claim}: {other:?}"),
                        }
                    }
                    won
                })
            })
        })
        .collect();
    let mut won: Vec<_> = tokio::task::spawn_blocking(|| {
        let won = threads.into_iter().map(|thread| thread.join().unwrap());
        won.flatten().collect()
    })
    .await
    .unwrap();
    won.sort_unstable();
    assert_eq!(won, (0..20).collect::<Vec<i32>>());
    for claim in 0..20 {
        let item = table.get(&Key::new("C", format!("{claim:02}"))).await;
        assert_eq!(item.unwrap().unwrap().version, 1);
    }
}

#[tokio::test]
async fn making_the_table_twice_changes_nothing() {
    let table = server::table().await;
    let client = table.client();
    aws::schema::create_table(client, server::TABLE)
        .await
        .unwrap();
    let found = client
        .describe_table()
        .table_name(server::TABLE)
        .send()
        .await
        .unwrap();
    let found = found.table.unwrap();
    let mut indexes: Vec<_> = found
        .global_secondary_indexes()
        .iter()
        .filter_map(|index| index.index_name())
        .collect();
    indexes.sort_unstable();
    assert_eq!(indexes, ["gsi1", "gsi2"]);
    let ttl = client
        .describe_time_to_live()
        .table_name(server::TABLE)
        .send()
        .await
        .unwrap();
    let ttl = ttl.time_to_live_description.unwrap();
    assert_eq!(ttl.attribute_name(), Some(aws::schema::EXPIRES));
}

/// 1.8 MB in items of 300 KB: DynamoDB ends a page at 1 MB, and the cursor goes on there.
#[tokio::test]
async fn a_partition_larger_than_a_page_is_read_in_pages_that_join_up() {
    use control::ports::{Condition, Index, Item, Key, Query, SortKeys, Write};
    let table = server::table().await;
    for n in 0..6 {
        let item = Item {
            key: Key::new("P", format!("{n}")),
            version: 0,
            gsi1: Some(Key::new("G", "same")),
            gsi2: None,
            expires_at: None,
            body: serde_json::json!({ "n": n, "x": "x".repeat(300_000) }),
        };
        table
            .transact(vec![Write::Put(item, Condition::Absent)])
            .await
            .unwrap();
    }
    for (index, pk) in [(Index::Main, "P"), (Index::Gsi1, "G")] {
        for descending in [false, true] {
            let mut query = Query {
                index,
                pk: pk.to_owned(),
                sort: SortKeys::All,
                descending,
                limit: 1_000,
                after: None,
            };
            let mut sizes = Vec::new();
            let mut found = Vec::new();
            loop {
                let page = table.query(&query).await.unwrap();
                sizes.push(page.items.len());
                found.extend(
                    page.items
                        .into_iter()
                        .map(|item| item.body["n"].as_u64().unwrap()),
                );
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
            assert!(sizes[0] < 6, "{index:?}: a page of 1.8 MB");
            found.sort_unstable();
            assert_eq!(
                found,
                [0, 1, 2, 3, 4, 5],
                "{index:?}, descending={descending}"
            );
        }
    }
}
