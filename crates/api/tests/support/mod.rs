//! An API over ports that answer nothing: what is tested on it never reaches them.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use api::{Api, FileTokens, RunHistory, Scope, TokenStore};
use async_trait::async_trait;
use control::Control;
use control::ports::{
    Clock, Item, Key, Ledger, LedgerHead, ObjectError, ObjectInfo, Objects, Page, Ports, Query,
    Randomness, Table, TableError, WorkQueue, Write,
};
use jiff::Timestamp;
use model::{ArtifactSource, Bytes, CheckpointId, Code, LibraryId, Refusal, RunId, Sha256};

struct Nothing;

fn down() -> TableError {
    TableError::Unavailable("these ports answer nothing".to_owned())
}

fn gone() -> ObjectError {
    ObjectError::Unavailable("these ports answer nothing".to_owned())
}

#[async_trait]
impl Table for Nothing {
    async fn get(&self, _: &Key) -> Result<Option<Item>, TableError> {
        Err(down())
    }
    async fn query(&self, _: &Query) -> Result<Page, TableError> {
        Err(down())
    }
    async fn transact(&self, _: Vec<Write>) -> Result<(), TableError> {
        Err(down())
    }
}

#[async_trait]
impl Objects for Nothing {
    async fn head(&self, _: &ArtifactSource) -> Result<ObjectInfo, ObjectError> {
        Err(gone())
    }
    async fn pin(
        &self,
        _: CheckpointId,
        _: u32,
        _: &ArtifactSource,
        _: Bytes,
        _: Sha256,
    ) -> Result<(), ObjectError> {
        Err(gone())
    }
    async fn fetch_url(&self, _: CheckpointId, _: u32) -> Result<String, ObjectError> {
        Err(gone())
    }
    async fn unpin(&self, _: CheckpointId) -> Result<(), ObjectError> {
        Err(gone())
    }
    async fn put_document(&self, _: &str, _: Vec<u8>) -> Result<(), ObjectError> {
        Err(gone())
    }
    async fn document(&self, _: &str) -> Result<Vec<u8>, ObjectError> {
        Err(gone())
    }
    async fn delivery_url(&self, _: model::RestoreId) -> Result<String, ObjectError> {
        Err(gone())
    }
}

#[async_trait]
impl WorkQueue for Nothing {
    fn ring(&self, _: &LibraryId) {}
    fn ticket(&self, _: &LibraryId) -> u64 {
        0
    }
    async fn wait(&self, _: &LibraryId, _: u64, _: Duration) {}
}

impl Clock for Nothing {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

impl Randomness for Nothing {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

impl Ledger for Nothing {
    fn empty(&self) -> LedgerHead {
        LedgerHead {
            size: 0,
            root: Sha256::EMPTY,
        }
    }
    fn append(&self, head: &LedgerHead, _: &[u8]) -> LedgerHead {
        LedgerHead {
            size: head.size + 1,
            root: head.root,
        }
    }
}

#[async_trait]
impl RunHistory for Nothing {
    async fn history(&self, run: &RunId) -> Result<Vec<serde_json::Value>, Refusal> {
        Err(Refusal::new(Code::NotFound, format!("no run {run}")))
    }
}

/// A served API.
pub struct Server {
    /// Where.
    pub url: String,
    /// A token that may do everything.
    pub operator: String,
    /// A token for the service `payments`.
    pub scoped: String,
    _dir: tempfile::TempDir,
}

/// Serves the API on a free port until the test ends.
pub async fn serve() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let tokens = FileTokens::open(dir.path().join("tokens.json")).unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let operator = tokens.create("operator", Scope::Operator, now).unwrap();
    let services = Scope::Services(vec!["payments".parse().unwrap()]);
    let scoped = tokens.create("payments", services, now).unwrap();
    let nothing = Arc::new(Nothing);
    let api = Api {
        control: Control::new(Ports {
            table: nothing.clone(),
            objects: nothing.clone(),
            queue: nothing.clone(),
            clock: nothing.clone(),
            randomness: nothing.clone(),
            ledger: nothing.clone(),
        }),
        tokens: Arc::new(tokens),
        runs: nothing.clone(),
        clock: nothing,
        library: "library".parse().unwrap(),
        local: true,
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, api::router(api)).await });
    Server {
        url,
        operator: operator.expose().to_owned(),
        scoped: scoped.expose().to_owned(),
        _dir: dir,
    }
}
