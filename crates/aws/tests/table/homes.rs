//! The contract, in each home that a DynamoDB table has here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws::DynamoTable;
use control::ports::Table;
use embedded::contract;
use endpoints::{ANY_PORT, Endpoints, Home};

use crate::launch;
use crate::server::{QUICK, client};

fn named(endpoint: &str, name: &str) -> DynamoTable {
    DynamoTable::with_client(client(endpoint), name).with_backoff(QUICK)
}

async fn made(endpoint: &str, name: &str) -> Arc<dyn Table> {
    let table = named(endpoint, name);
    aws::schema::create_table(table.client(), name)
        .await
        .unwrap();
    Arc::new(table)
}

/// The suite of the table, and races of eight connections.
async fn keeps_the_contract(endpoint: &str) {
    let count = AtomicU32::new(0);
    let make = || async {
        let number = count.fetch_add(1, Ordering::Relaxed);
        made(endpoint, &format!("tapemark-{number}")).await
    };
    contract::table(make).await;
    contract::table_sizes(make).await;
    made(endpoint, "claims").await;
    contract::claims(|| async { Arc::new(named(endpoint, "claims")) as Arc<dyn Table> }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_this_process_and_in_memory() {
    let running = Endpoints::start(Home::Memory, ANY_PORT).await.unwrap();
    keeps_the_contract(&running.dynamodb_url).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_this_process_and_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::Directory(directory.path().to_owned());
    let running = Endpoints::start(home, ANY_PORT).await.unwrap();
    keeps_the_contract(&running.dynamodb_url).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_ministack() {
    let Some(ministack) = launch::ministack() else {
        return;
    };
    let client = client(&ministack.endpoint);
    ministack
        .until(async || client.list_tables().send().await.is_ok())
        .await;
    keeps_the_contract(&ministack.endpoint).await;
}
