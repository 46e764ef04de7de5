//! The books: what is promised on each volume, changed together by those who wait.

use std::collections::BTreeMap;

use model::{Barcode, Bytes, Code, Refusal};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::catalogue::{Answer, Tx};
use crate::combine::Combiner;
use crate::decide::Shadows;
use crate::phases::{AllocateAsk, CommitAsk};
use crate::records::{Part, VolumeAccount};
use crate::{Control, keys};

/// What clones of a [`Control`] share: callers that change the books take turns.
#[derive(Default)]
pub(crate) struct Combined {
    pub(crate) turn: Mutex<()>,
    pub(crate) allocate: Combiner<AllocateAsk, Answer<Value>>,
    pub(crate) commit: Combiner<CommitAsk, Answer<Value>>,
    pub(crate) shadows: Shadows,
}

/// Accounts as they were read, with changes not written yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts(BTreeMap<Barcode, Entry>);

#[derive(Clone, Debug)]
struct Entry {
    account: VolumeAccount,
    version: u64,
    changed: bool,
}

impl Accounts {
    pub(crate) fn holds(&self, volume: &Barcode) -> bool {
        self.0.contains_key(volume)
    }

    pub(crate) fn reserved(&self, volume: &Barcode) -> Bytes {
        self.0
            .get(volume)
            .map_or(Bytes::ZERO, |entry| entry.account.reserved)
    }

    fn change(&mut self, volume: &Barcode, change: impl FnOnce(&mut VolumeAccount)) {
        if let Some(entry) = self.0.get_mut(volume) {
            entry.changed = true;
            change(&mut entry.account);
        }
    }

    pub(crate) fn reserve(&mut self, volume: &Barcode, bytes: Bytes) {
        self.change(volume, |account| {
            account.reserved = account.reserved.plus(bytes);
        });
    }

    /// Lets the promise of a part go.
    pub(crate) fn release(&mut self, part: &mut Part) {
        let bytes = std::mem::take(&mut part.reserved);
        if bytes > Bytes::ZERO {
            self.change(&part.volume, |account| {
                account.reserved = account.reserved.minus(bytes);
            });
        }
    }

    /// Lets the promise go, and counts what was written as abandoned.
    pub(crate) fn abandon(&mut self, part: &mut Part) {
        self.release(part);
        if let Some(placement) = part.written.take() {
            self.abandoned(&part.volume, placement.bytes());
        }
    }

    pub(crate) fn abandoned(&mut self, volume: &Barcode, bytes: Bytes) {
        if bytes > Bytes::ZERO {
            self.change(volume, |account| {
                account.abandoned = account.abandoned.plus(bytes);
            });
        }
    }

    pub(crate) fn count_checkpoint(&mut self, volume: &Barcode) {
        self.change(volume, |account| account.checkpoints += 1);
    }

    /// How many writes [`Accounts::write`] adds.
    pub(crate) fn changes(&self) -> usize {
        self.0.values().filter(|entry| entry.changed).count()
    }

    /// Adds the changes to `tx`. To be called once a transaction; where it succeeds the
    /// accounts may be used on, as they then stand in the table.
    pub(crate) fn write(&mut self, tx: &mut Tx) {
        for entry in self.0.values_mut().filter(|entry| entry.changed) {
            tx.replace(&entry.account, entry.version);
            entry.changed = false;
            entry.version += 1;
        }
    }
}

impl Control {
    /// The accounts of these volumes.
    pub(crate) async fn accounts(
        &self,
        volumes: impl IntoIterator<Item = Barcode>,
    ) -> Answer<Accounts> {
        let mut accounts = Accounts::default();
        self.add_accounts(&mut accounts, volumes).await?;
        Ok(accounts)
    }

    /// Reads the accounts that are not there yet.
    pub(crate) async fn add_accounts(
        &self,
        accounts: &mut Accounts,
        volumes: impl IntoIterator<Item = Barcode>,
    ) -> Answer<()> {
        let missing: Vec<_> = volumes
            .into_iter()
            .filter(|volume| !accounts.holds(volume))
            .collect();
        let found = self
            .get_all::<VolumeAccount>(missing.iter().map(keys::account).collect())
            .await?;
        for (volume, seen) in missing.into_iter().zip(found) {
            let seen = seen.ok_or_else(|| {
                Refusal::new(Code::Internal, format!("volume {volume} has no account"))
            })?;
            accounts.0.insert(
                volume,
                Entry {
                    account: seen.value,
                    version: seen.version,
                    changed: false,
                },
            );
        }
        Ok(())
    }
}
