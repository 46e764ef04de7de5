//! Every port of this crate passes the suite of its contract.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use std::path::PathBuf;
use std::sync::Arc;

use control::ports::{
    Condition, Cursor, Index, Item, Key, Query, SortKeys, Table, TableError, Write,
};
use embedded::contract::{self, ObjectsUnderTest};
use embedded::{LocalObjects, LocalTable};
use model::ArtifactSource;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_table_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let counter = std::sync::atomic::AtomicU32::new(0);
    let make = async || {
        let number = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let table = LocalTable::open(&directory.path().join(format!("{number}.redb"))).unwrap();
        Arc::new(table) as Arc<dyn Table>
    };
    contract::table(&make).await;
    contract::table_moments(&make).await;
    contract::table_sizes(&make).await;
    let one = make().await;
    contract::claims(async || one.clone()).await;
}

#[tokio::test]
async fn the_local_table_refuses_a_cursor_of_another_query() {
    let directory = tempfile::tempdir().unwrap();
    let table = LocalTable::open(&directory.path().join("catalogue.redb")).unwrap();
    for sk in ["1", "2", "3"] {
        let item = Item {
            key: Key::new("P", sk),
            version: 0,
            gsi1: Some(Key::new("P", sk)),
            gsi2: None,
            expires_at: None,
            body: serde_json::Value::Null,
        };
        table
            .transact(vec![Write::Put(item, Condition::Absent)])
            .await
            .unwrap();
    }
    let query = Query {
        index: Index::Main,
        pk: "P".to_owned(),
        sort: SortKeys::All,
        descending: false,
        limit: 1,
        after: None,
    };
    let after = table.query(&query).await.unwrap().next;
    let query = Query {
        after,
        limit: 2,
        ..query
    };
    assert_eq!(
        table.query(&query).await.unwrap().items.len(),
        2,
        "another limit is no matter"
    );
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
        Query {
            after: Some(Cursor("rubbish".to_owned())),
            ..query.clone()
        },
    ] {
        let refused = table.query(&other).await;
        assert!(
            matches!(refused, Err(TableError::Limit(_))),
            "{other:?}: {refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_in_memory_keeps_the_contract() {
    let make = async || Arc::new(control::testing::MemoryTable::default()) as Arc<dyn Table>;
    contract::table(make).await;
    let one = make().await;
    contract::claims(async || one.clone()).await;
    contract::table_moments(make).await;
}

/// As it stands in for DynamoDB: whatever the contract promises, it promises no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_in_memory_keeps_the_contract_with_indexes_that_are_behind() {
    use control::testing::{Lag, MemoryTable};
    for lag in [
        Lag::Behind(3),
        Lag::Drawn {
            seed: 1,
            at_most: 10,
        },
    ] {
        contract::table(async || {
            let table = MemoryTable::default();
            table.lag(lag);
            Arc::new(table) as Arc<dyn Table>
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_objects_keep_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let counter = std::sync::atomic::AtomicU32::new(0);
    contract::objects(async || {
        let number = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let data = directory.path().join(format!("{number}"));
        let root = directory.path().join(format!("{number}-root"));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::create_dir_all(&root).unwrap();
        let objects = LocalObjects::open(&data, std::slice::from_ref(&root), None).unwrap();
        ObjectsUnderTest {
            objects: Arc::new(objects),
            offer: Box::new(move |name, bytes| {
                let path: PathBuf = root.join(name);
                std::fs::write(&path, bytes).unwrap();
                ArtifactSource::File {
                    path: path.to_str().unwrap().to_owned(),
                }
            }),
            fetch: Box::new(|url| std::fs::read(url.strip_prefix("file://").unwrap()).ok()),
        }
    })
    .await;
}
