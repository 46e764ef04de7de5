//! The process is killed with SIGKILL in the middle of a storm of writes, again and again.
//! Every transaction that was acknowledged is there afterwards, and none is half there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use control::ports::{Condition, Index, Item, Key, Query, SortKeys, Table, Write};
use embedded::LocalTable;
use serde_json::json;

/// Set for the child: the catalogue file, and the number of its first transaction.
const CHILD: &str = "TAPEMARK_TEST_WRITE_STORM";
const ROUNDS: u64 = 6;
const WRITERS: u64 = 16;

fn item(pk: String, n: u64) -> Item {
    let gsi1 = Some(Key::new("ALL", format!("{n:08}#{pk}")));
    let body = json!({ "n": n, "filling": "x".repeat(n as usize % 2_000) });
    Item {
        key: Key::new(pk, format!("{n:08}")),
        version: 0,
        gsi1,
        gsi2: None,
        expires_at: None,
        body,
    }
}

/// Transaction number n: three new items, and a counter that every transaction of its
/// writer raises.
fn transaction(n: u64, seen: u64) -> Vec<Write> {
    let counter = Item {
        gsi1: None,
        body: json!(n),
        ..item("COUNTER".to_owned(), n % WRITERS)
    };
    let was = if seen == 0 {
        Condition::Absent
    } else {
        Condition::Version(seen)
    };
    let mut writes = vec![Write::Put(counter, was)];
    writes.extend((0..3).map(|part| Write::Put(item(format!("PART{part}"), n), Condition::Absent)));
    writes
}

/// The child's life: writes as fast as it can until it is killed, and says what was
/// acknowledged. Without the variable this is no test of its own and does nothing.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(setting) = std::env::var(CHILD) else {
        return;
    };
    let (path, first) = setting.rsplit_once('@').unwrap();
    let first: u64 = first.parse().unwrap();
    let table = std::sync::Arc::new(LocalTable::open(Path::new(path)).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let writers = (0..WRITERS).map(|writer| {
            let table = table.clone();
            tokio::spawn(async move {
                let key = Key::new("COUNTER", format!("{writer:08}"));
                let mut seen = table
                    .get(&key)
                    .await
                    .unwrap()
                    .map_or(0, |item| item.version);
                for n in (first..).filter(|n| n % WRITERS == writer) {
                    table.transact(transaction(n, seen)).await.unwrap();
                    seen += 1;
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "acknowledged {n}").unwrap();
                    out.flush().unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

/// Starts the child, kills it after so many acknowledgements, and gives all of them.
fn storm(path: &Path, first: u64, kill_after: usize) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_that_writes_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD, format!("{}@{first}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((_, n)) = line.split_once("acknowledged ") {
            acknowledged.push(n.parse().unwrap());
        }
        if acknowledged.len() == kill_after {
            child.kill().unwrap(); // SIGKILL; the lines that follow were on their way.
        }
    }
    let status = child.wait().unwrap();
    assert!(
        !status.success(),
        "the child was to be killed in the middle"
    );
    assert!(
        acknowledged.len() >= kill_after,
        "the child died of itself: {status}"
    );
    acknowledged
}

async fn all(table: &LocalTable, index: Index, pk: &str) -> Vec<Item> {
    let mut query = Query {
        index,
        pk: pk.to_owned(),
        sort: SortKeys::All,
        descending: false,
        limit: 1_000,
        after: None,
    };
    let mut items = Vec::new();
    loop {
        let page = table.query(&query).await.unwrap();
        items.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return items,
        }
    }
}

#[test]
fn acknowledged_transactions_survive_sigkill_and_none_is_torn() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalogue.redb");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut acknowledged = Vec::new();
    let mut first = 0;
    for round in 0..ROUNDS {
        acknowledged.extend(storm(&path, first, 40 + 97 * round as usize));
        // Opening repairs what the kill left.
        let table = LocalTable::open(&path).unwrap();
        runtime.block_on(async {
            let parts = [
                all(&table, Index::Main, "PART0").await,
                all(&table, Index::Main, "PART1").await,
                all(&table, Index::Main, "PART2").await,
            ];
            let numbers = |items: &[Item]| -> Vec<u64> {
                items
                    .iter()
                    .map(|item| item.body["n"].as_u64().unwrap())
                    .collect()
            };
            let present = numbers(&parts[0]);
            assert_eq!(
                present,
                numbers(&parts[1]),
                "round {round}: a transaction is torn"
            );
            assert_eq!(
                present,
                numbers(&parts[2]),
                "round {round}: a transaction is torn"
            );
            for n in &acknowledged {
                assert!(
                    present.binary_search(n).is_ok(),
                    "round {round}: {n} was lost"
                );
            }
            let indexed = all(&table, Index::Gsi1, "ALL").await.len();
            assert_eq!(
                indexed,
                3 * present.len(),
                "round {round}: the index is behind"
            );
            for counter in all(&table, Index::Main, "COUNTER").await {
                let writer: u64 = counter.key.sk.parse().unwrap();
                let mut its = present.iter().filter(|n| *n % WRITERS == writer).copied();
                assert_eq!(its.clone().count() as u64, counter.version, "round {round}");
                assert_eq!(its.next_back(), counter.body.as_u64(), "round {round}");
            }
            first = present.last().map_or(0, |n| n + 1);
        });
    }
}
