//! The power goes: what was not synchronised is on the disk in part, in any order, or not
//! at all. Every acknowledged transaction is there afterwards, and none is half there.

use std::io;
use std::sync::Arc;

use control::ports::{Condition, Item, Key, Table, Write};
use parking_lot::Mutex;
use redb::{Database, StorageBackend};
use serde_json::json;

use super::Store;
use crate::LocalTable;

/// What a disk may tear: writes are whole by the sector only.
const SECTOR: usize = 512;

/// A disk with a volatile cache and a fuse.
#[derive(Debug, Default)]
struct Disk {
    durable: Vec<u8>,
    cached: Vec<u8>,
    pending: Vec<Pending>,
    /// How many more writes and synchronisations the fuse lasts.
    left: u64,
}

#[derive(Debug)]
enum Pending {
    Length(usize),
    Write(usize, Vec<u8>),
}

#[derive(Clone, Debug)]
struct Backend(Arc<Mutex<Disk>>);

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn apply(bytes: &mut Vec<u8>, pending: &Pending, mut keeps: impl FnMut() -> bool) {
    match pending {
        Pending::Length(length) => bytes.resize(*length, 0),
        Pending::Write(offset, data) => {
            for (n, sector) in data.chunks(SECTOR).enumerate() {
                let at = offset + n * SECTOR;
                if keeps() && at + sector.len() <= bytes.len() {
                    bytes[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
    }
}

impl Disk {
    fn burn(&mut self) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("the power is off"))?;
        Ok(())
    }

    /// The disk after the power came back.
    fn after_power_loss(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for pending in &self.pending {
            let all_or_none = random.next() % 3;
            apply(&mut bytes, pending, || match all_or_none {
                0 => false,
                1 => true,
                _ => random.next().is_multiple_of(2),
            });
        }
        bytes
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock();
        let offset = offset as usize;
        let found = disk.cached.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.burn()?;
        disk.cached.resize(length as usize, 0);
        disk.pending.push(Pending::Length(length as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.burn()?;
        disk.durable = disk.cached.clone();
        disk.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.burn()?;
        let pending = Pending::Write(offset as usize, data.to_vec());
        apply(&mut disk.cached, &pending, || true);
        disk.pending.push(pending);
        Ok(())
    }
}

fn pair(n: u64, padding: u64) -> Vec<Write> {
    let item = |sk: &str| Item {
        key: Key::new("P", sk),
        version: 0,
        gsi1: Some(Key::new("G", format!("{n:08}"))),
        gsi2: None,
        expires_at: None,
        body: json!({ "n": n, "padding": "x".repeat(padding as usize) }),
    };
    vec![
        Write::Put(item("a"), Condition::None),
        Write::Put(item("b"), Condition::None),
    ]
}

fn open(disk: &Arc<Mutex<Disk>>) -> Option<LocalTable> {
    let database = Database::builder()
        .create_with_backend(Backend(disk.clone()))
        .ok()?;
    Some(LocalTable::new(Arc::new(Store::on(database, None).ok()?)))
}

async fn found(table: &LocalTable, sk: &str) -> Option<u64> {
    let item = table
        .get(&Key::new("P", sk))
        .await
        .expect("the catalogue can be read")?;
    item.body["n"].as_u64()
}

#[tokio::test]
async fn acknowledged_transactions_survive_a_power_loss_and_none_is_torn() {
    let mut cut_while_writing = 0;
    for seed in 0..150 {
        let mut random = Random(seed);
        let mut bytes = Vec::new();
        let mut acknowledged = 0;
        // Several lives of one disk, each ended by its fuse.
        for life in 0..4 {
            let disk = Disk {
                durable: bytes.clone(),
                cached: bytes.clone(),
                pending: Vec::new(),
                left: 20 + random.next() % 400,
            };
            let disk = Arc::new(Mutex::new(disk));
            let mut attempted = acknowledged;
            if let Some(table) = open(&disk) {
                // The fuse does not last for so many.
                for _ in 0..200 {
                    attempted += 1;
                    match table.transact(pair(attempted, random.next() % 6_000)).await {
                        Ok(()) => acknowledged = attempted,
                        Err(_) => break,
                    }
                }
                cut_while_writing += 1;
            }
            bytes = disk.lock().after_power_loss(&mut random);

            let copy = Disk {
                durable: bytes.clone(),
                cached: bytes.clone(),
                pending: Vec::new(),
                left: u64::MAX,
            };
            let context = format!("seed {seed}, life {life}");
            let table = open(&Arc::new(Mutex::new(copy)));
            let table = table.unwrap_or_else(|| panic!("{context}: the file cannot be opened"));
            let (a, b) = (found(&table, "a").await, found(&table, "b").await);
            assert_eq!(a, b, "{context}: a transaction is torn");
            let present = a.unwrap_or(0);
            assert!(
                (acknowledged..=attempted).contains(&present),
                "{context}: expected {acknowledged} to {attempted}, found {present}"
            );
            acknowledged = present;
        }
    }
    assert!(
        cut_while_writing > 300,
        "only {cut_while_writing} cuts fell into writing"
    );
}
