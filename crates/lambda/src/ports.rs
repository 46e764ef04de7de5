//! The ports that every function has, built once, before the first event.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws::{Connection, DynamoTable, Place, S3Objects};
use control::Control;
use control::ledger::HashChain;
use control::ports::system::{SystemClock, SystemRandomness};
use control::ports::{Objects, Ports, Resolvers, Table, WorkQueue};
use model::LibraryId;

use crate::{Environment, Wrong};

/// Table and objects from the environment. Nothing is asked of AWS yet: clients connect
/// with their first request.
pub struct Basis {
    /// What the function was told.
    pub environment: Environment,
    /// Where AWS is: its own endpoints, or those of the SDK's variables.
    pub connection: Connection,
    /// The catalogue.
    pub table: DynamoTable,
    /// Artifacts and documents.
    pub objects: Arc<dyn Objects>,
}

impl Basis {
    /// Builds the clients.
    ///
    /// # Errors
    /// Where a variable is missing or malformed.
    pub async fn new(environment: Environment) -> Result<Self, Wrong> {
        let table = environment.table()?;
        let place = place(&environment)?;
        let connection = Connection::default();
        // Both read the same environment; one after the other costs nothing.
        let table = DynamoTable::connect(&connection, table).await;
        let documents = environment.documents_bucket()?;
        let objects =
            S3Objects::with_client(connection.s3().await, place).with_documents(documents);
        Ok(Self {
            environment,
            connection,
            table,
            objects: Arc::new(objects),
        })
    }

    /// A control plane on them.
    pub fn control(&self, queue: Arc<dyn WorkQueue>, resolvers: Arc<dyn Resolvers>) -> Control {
        let table: Arc<dyn Table> = Arc::new(self.table.clone());
        Control::new(Ports {
            table,
            objects: Arc::clone(&self.objects),
            queue,
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
            ledger: Arc::new(HashChain),
            resolvers,
        })
    }
}

fn place(environment: &Environment) -> Result<Place, Wrong> {
    Ok(Place {
        bucket: environment.pins_bucket()?,
        sources: environment.sources()?.0.into_iter().collect(),
        restore_root: environment.restore_root()?,
    })
}

/// No bell: for functions that never make work ready.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBell;

#[async_trait]
impl WorkQueue for NoBell {
    async fn ring(&self, _library: &LibraryId) {}

    fn ticket(&self, _library: &LibraryId) -> u64 {
        0
    }

    async fn wait(&self, _library: &LibraryId, _ticket: u64, at_most: Duration) {
        tokio::time::sleep(at_most).await;
    }
}
