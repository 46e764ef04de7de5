//! The ports in memory, for tests: deterministic, with the conflict semantics of the real
//! table, and with faults on demand.

mod resolvers;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use model::work::{Inventory, SeenDrive};
use model::{
    ArtifactSource, Bytes, CheckpointId, LibraryId, Pool, RestoreId, RetentionClass, Service,
    Sha256, Slot, SlotKind,
};
use serde_json::{Value, json};

use crate::ledger::HashChain;
use crate::ports::{Clock, ObjectError, ObjectInfo, Objects, Ports, Randomness, WorkQueue};
use crate::{Control, Principal};

pub use resolvers::ScriptedResolvers;
pub use table::{Lag, MemoryTable};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Objects in memory. Sources are `file:///sources/…`; everything else is not allowed.
#[derive(Debug, Default)]
pub struct MemoryObjects {
    sources: Mutex<BTreeMap<String, Vec<u8>>>,
    pinned: Mutex<BTreeMap<(CheckpointId, u32), Vec<u8>>>,
    documents: Mutex<BTreeMap<String, Vec<u8>>>,
    refuse_unpin: Mutex<u32>,
}

impl MemoryObjects {
    /// Puts a source under `/sources/name` and returns its text.
    pub fn put_source(&self, name: &str, bytes: &[u8]) -> String {
        let path = format!("/sources/{name}");
        lock(&self.sources).insert(path.clone(), bytes.to_vec());
        format!("file://{path}")
    }

    /// Checkpoints that have something pinned.
    pub fn pinned(&self) -> BTreeSet<CheckpointId> {
        lock(&self.pinned).keys().map(|(id, _)| *id).collect()
    }

    /// The next `n` calls to unpin fail.
    pub fn refuse_unpin(&self, n: u32) {
        *lock(&self.refuse_unpin) = n;
    }

    /// The pinned bytes of an artifact.
    pub fn fetch(&self, checkpoint: CheckpointId, index: u32) -> Option<Vec<u8>> {
        lock(&self.pinned).get(&(checkpoint, index)).cloned()
    }

    fn source(&self, source: &ArtifactSource) -> Result<Vec<u8>, ObjectError> {
        match source {
            ArtifactSource::File { path } if path.starts_with("/sources/") => lock(&self.sources)
                .get(path)
                .cloned()
                .ok_or_else(|| ObjectError::Missing(source.to_string())),
            _ => Err(ObjectError::NotAllowed(source.to_string())),
        }
    }
}

#[async_trait]
impl Objects for MemoryObjects {
    async fn head(&self, source: &ArtifactSource) -> Result<ObjectInfo, ObjectError> {
        let bytes = self.source(source)?;
        Ok(ObjectInfo {
            size: Bytes(bytes.len() as u64),
            sha256: None,
        })
    }

    async fn pin(
        &self,
        checkpoint: CheckpointId,
        index: u32,
        source: &ArtifactSource,
        size: Bytes,
        sha256: Sha256,
    ) -> Result<(), ObjectError> {
        tokio::task::yield_now().await;
        let bytes = self.source(source)?;
        let found = Bytes(bytes.len() as u64);
        if found != size {
            return Err(ObjectError::Mismatch {
                what: "size",
                expected: size.to_string(),
                found: found.to_string(),
            });
        }
        let found = crate::digest(&bytes);
        if found != sha256 {
            return Err(ObjectError::Mismatch {
                what: "sha256",
                expected: sha256.to_string(),
                found: found.to_string(),
            });
        }
        lock(&self.pinned).insert((checkpoint, index), bytes);
        Ok(())
    }

    async fn fetch_url(&self, checkpoint: CheckpointId, index: u32) -> Result<String, ObjectError> {
        Ok(format!("file:///pinned/{checkpoint}/{index}"))
    }

    async fn unpin(&self, checkpoint: CheckpointId) -> Result<(), ObjectError> {
        {
            let mut refuse = lock(&self.refuse_unpin);
            if *refuse > 0 {
                *refuse -= 1;
                return Err(ObjectError::Unavailable("a fault was asked for".to_owned()));
            }
        }
        lock(&self.pinned).retain(|(id, _), _| *id != checkpoint);
        Ok(())
    }

    async fn put_document(&self, name: &str, body: Vec<u8>) -> Result<(), ObjectError> {
        lock(&self.documents).insert(name.to_owned(), body);
        Ok(())
    }

    async fn document(&self, name: &str) -> Result<Vec<u8>, ObjectError> {
        lock(&self.documents)
            .get(name)
            .cloned()
            .ok_or_else(|| ObjectError::Missing(name.to_owned()))
    }

    async fn delivery_url(&self, restore: RestoreId) -> Result<String, ObjectError> {
        Ok(format!("file:///delivered/{restore}"))
    }
}

/// A bell for all libraries.
#[derive(Debug, Default)]
pub struct MemoryQueue {
    rings: AtomicU64,
    bell: tokio::sync::Notify,
}

#[async_trait]
impl WorkQueue for MemoryQueue {
    async fn ring(&self, _library: &LibraryId) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        self.bell.notify_waiters();
    }

    fn ticket(&self, _library: &LibraryId) -> u64 {
        self.rings.load(Ordering::SeqCst)
    }

    async fn wait(&self, _library: &LibraryId, ticket: u64, at_most: Duration) {
        let rung = self.bell.notified();
        if self.rings.load(Ordering::SeqCst) == ticket {
            // Time running out is an answer too.
            let _ = tokio::time::timeout(at_most, rung).await;
        }
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl Default for ManualClock {
    /// 2026-01-01 00:00 UTC.
    fn default() -> Self {
        Self(Mutex::new(
            Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH),
        ))
    }
}

impl ManualClock {
    /// Moves the clock.
    pub fn advance(&self, by: Duration) {
        let mut now = lock(&self.0);
        *now = now.checked_add(by).unwrap_or(Timestamp::MAX);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *lock(&self.0)
    }
}

/// Bytes that follow from a seed: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub struct SeededRandomness(Mutex<u64>);

impl SeededRandomness {
    /// Starts from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Randomness for SeededRandomness {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = lock(&self.0);
        for chunk in buffer.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// All ports in memory, with a library `lib` of two drives and a pool `main`.
pub struct World {
    /// The table.
    pub table: Arc<MemoryTable>,
    /// The objects.
    pub objects: Arc<MemoryObjects>,
    /// The clock.
    pub clock: Arc<ManualClock>,
    /// The resolvers.
    pub resolvers: Arc<ScriptedResolvers>,
    ports: Ports,
}

impl World {
    /// An empty world; everything random in it follows from the seed.
    pub fn new(seed: u64) -> Self {
        let table = Arc::new(MemoryTable::default());
        let objects = Arc::new(MemoryObjects::default());
        let clock = Arc::new(ManualClock::default());
        let resolvers = Arc::new(ScriptedResolvers::default());
        let ports = Ports {
            table: Arc::clone(&table) as _,
            objects: Arc::clone(&objects) as _,
            queue: Arc::new(MemoryQueue::default()),
            clock: Arc::clone(&clock) as _,
            randomness: Arc::new(SeededRandomness::new(seed)),
            ledger: Arc::new(HashChain),
            resolvers: Arc::clone(&resolvers) as _,
        };
        Self {
            table,
            objects,
            clock,
            resolvers,
            ports,
        }
    }

    /// The ports.
    pub fn ports(&self) -> Ports {
        self.ports.clone()
    }

    /// A control plane over them, as a fresh process has it.
    pub fn control(&self) -> Control {
        Control::new(self.ports())
    }

    /// Sets up the pool, drives `D1` and `D2`, `volumes` blank volumes of that capacity,
    /// and the services.
    ///
    /// # Errors
    /// What the control plane refuses with.
    pub async fn set_up(
        &self,
        volumes: u32,
        capacity: Bytes,
        services: &[&str],
    ) -> Result<Control, Box<dyn std::error::Error>> {
        let control = self.control();
        let pool = Pool {
            name: "main".parse()?,
            library: "lib".parse()?,
            copies: 1,
            reserve: Bytes::ZERO,
            write_drives: 2,
            fallback: model::Fallback::BuiltIn,
        };
        control.put_pool(&Principal::Operator, pool).await?;
        let services = services
            .iter()
            .map(|name| {
                Ok(Service {
                    name: name.parse()?,
                    pool: "main".parse()?,
                    retention: vec![RetentionClass::default()],
                    frozen: false,
                    provenance_key: None,
                })
            })
            .collect::<Result<_, model::InvalidId>>()?;
        control
            .register_services(&Principal::Operator, services)
            .await?;
        control
            .inventory(self.inventory(volumes, capacity)?)
            .await?;
        Ok(control)
    }

    /// An inventory of two empty drives and `volumes` volumes `V001`, `V002`…
    ///
    /// # Errors
    /// None for fewer than 10 to the 29th volumes.
    pub fn inventory(&self, volumes: u32, capacity: Bytes) -> Result<Inventory, model::InvalidId> {
        Ok(Inventory {
            agent: "agent".parse()?,
            library: "lib".parse()?,
            slots: (1..=volumes)
                .map(|n| {
                    Ok(Slot {
                        element: u16::try_from(n).unwrap_or(u16::MAX),
                        kind: SlotKind::Storage,
                        volume: Some(format!("V{n:03}").parse()?),
                        full: true,
                    })
                })
                .collect::<Result<_, model::InvalidId>>()?,
            drives: ["D1", "D2"]
                .into_iter()
                .map(|serial| {
                    Ok(SeenDrive {
                        serial: serial.parse()?,
                        element: 256,
                        volume: None,
                        fault: None,
                    })
                })
                .collect::<Result<_, model::InvalidId>>()?,
            native_capacity: capacity,
        })
    }

    /// The JSON of a member with one artifact of that content.
    pub fn member(&self, service: &str, version: &str, content: &[u8]) -> Value {
        let sha256 = crate::digest(content);
        let source = self.objects.put_source(&sha256.to_hex(), content);
        json!({
            "service": service,
            "version": version,
            "artifacts": [{
                "name": "bin/app",
                "source": source,
                "size": content.len(),
                "sha256": sha256,
            }],
        })
    }

    /// The JSON of a submission of these members, with a key of its own.
    pub fn submission(&self, key: &str, members: &[Value]) -> Value {
        json!({"idempotency_key": key, "members": members})
    }

    /// The JSON of a submission of one small checkpoint.
    pub fn sample(&self, service: &str, version: &str) -> Value {
        let content = format!("{service} {version}");
        let member = self.member(service, version, content.as_bytes());
        self.submission(&format!("{service}/{version}"), &[member])
    }
}
