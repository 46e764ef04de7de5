//! The table on DynamoDB keeps the contract of every table, and keeps it where answers are
//! lost, requests are throttled, and transactions meet each other.
//!
//! DynamoDB is dynoxide, in this process: one server a test; and MiniStack for the contract,
//! which `.ci/setup` installs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod faults;
mod homes;
#[path = "../launch/launch.rs"]
mod launch;
mod server;

use control::ports::Table;

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
