//! Inventories: what stands where; cartridges and drives seen for the first time.

use std::collections::BTreeSet;

use model::work::{Inventory, InventoryAnswer, SeenDrive};
use model::{Barcode, Bytes, Fence, LibraryId, VolumeLifecycle};

use crate::catalogue::{Answer, TRIES, Tx, lost_race, query};
use crate::ports::{Index, SortKeys};
use crate::records::{
    DriveLease, DriveMeta, LibraryRecord, VolumeAccount, VolumeLease, VolumeMeta,
};
use crate::{Control, keys};

/// Faults in a row after which a drive stays down whatever an inventory says.
const FAULTS: u32 = 3;

impl Control {
    /// Takes an inventory: registers cartridges and drives seen for the first time, notes
    /// which cartridges are gone. New cartridges go to the library's first pool; without
    /// a pool they wait for the next inventory. Cleaning cartridges (`CLN…`) are left
    /// alone.
    ///
    /// # Errors
    /// `Transient` or `Conflict` where the catalogue could not be asked or kept changing.
    pub async fn inventory(&self, question: Inventory) -> Answer<InventoryAnswer> {
        let seen: BTreeSet<&Barcode> = question
            .slots
            .iter()
            .filter_map(|slot| slot.volume.as_ref())
            .chain(
                question
                    .drives
                    .iter()
                    .filter_map(|drive| drive.volume.as_ref()),
            )
            .filter(|barcode| !barcode.as_str().starts_with("CLN"))
            .collect();
        let known = self.volume_metas(&question.library).await?;
        let mut missing = Vec::new();
        for volume in &known {
            let present = seen.contains(&volume.barcode);
            if !present {
                missing.push(volume.barcode.clone());
            }
            if present != volume.present {
                self.set_present(&volume.barcode, present).await?;
            }
        }
        let known: BTreeSet<_> = known.iter().map(|volume| &volume.barcode).collect();
        let mut registered = Vec::new();
        let library = self
            .get::<LibraryRecord>(&keys::library(&question.library))
            .await?;
        if let Some(library) = library {
            for barcode in seen.into_iter().filter(|barcode| !known.contains(barcode)) {
                let new = self
                    .register_volume(&library.value, barcode, question.native_capacity)
                    .await?;
                if new {
                    registered.push(barcode.clone());
                }
            }
        }
        for drive in &question.drives {
            self.see_drive(&question.library, drive).await?;
        }
        self.ports.queue.ring(&question.library).await;
        Ok(InventoryAnswer {
            registered,
            missing,
        })
    }

    async fn volume_metas(&self, library: &LibraryId) -> Answer<Vec<VolumeMeta>> {
        let mut question = query(Index::Gsi1, keys::volumes_of(library), SortKeys::All, 1000);
        let mut metas = Vec::new();
        loop {
            let page = self.ports.table.query(&question).await?;
            for item in page.items.into_iter().filter(|item| item.key.sk == "META") {
                metas.push(crate::catalogue::from_item::<VolumeMeta>(item)?.value);
            }
            if page.next.is_none() {
                return Ok(metas);
            }
            question.after = page.next;
        }
    }

    async fn set_present(&self, barcode: &Barcode, present: bool) -> Answer<()> {
        for _ in 0..TRIES {
            let Some(seen) = self.get::<VolumeMeta>(&keys::volume(barcode)).await? else {
                return Ok(());
            };
            let mut volume = seen.value;
            volume.present = present;
            let mut tx = Tx::new();
            tx.replace(&volume, seen.version);
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer;
            }
        }
        Ok(())
    }

    /// True where it was not registered before.
    async fn register_volume(
        &self,
        library: &LibraryRecord,
        barcode: &Barcode,
        capacity: Bytes,
    ) -> Answer<bool> {
        let mut tx = Tx::new();
        tx.create(&VolumeMeta {
            barcode: barcode.clone(),
            library: library.library.clone(),
            pool: library.default_pool.clone(),
            lifecycle: VolumeLifecycle::scratch(),
            uuid: None,
            drawn: None,
            position: None,
            capacity,
            used: Bytes::ZERO,
            present: true,
        });
        tx.create(&VolumeAccount {
            barcode: barcode.clone(),
            library: library.library.clone(),
            reserved: Bytes::ZERO,
            checkpoints: 0,
            abandoned: Bytes::ZERO,
        });
        tx.create(&VolumeLease {
            barcode: barcode.clone(),
            library: library.library.clone(),
            fence: Fence::default(),
            hold: None,
        });
        let answer = self.transact(tx).await;
        if lost_race(&answer) {
            return Ok(false);
        }
        answer.map(|()| true)
    }

    async fn see_drive(&self, library: &LibraryId, drive: &SeenDrive) -> Answer<()> {
        for _ in 0..TRIES {
            let known = self
                .get::<DriveMeta>(&keys::drive(library, &drive.serial))
                .await?;
            let mut tx = Tx::new();
            match known {
                Some(seen) => {
                    let mut meta = seen.value.clone();
                    meta.element = drive.element;
                    meta.volume = drive.volume.clone();
                    if drive.fault.is_some() || meta.faults < FAULTS {
                        meta.down = drive.fault.clone();
                    }
                    if meta == seen.value {
                        return Ok(());
                    }
                    tx.replace(&meta, seen.version);
                }
                None => {
                    tx.create(&DriveMeta {
                        serial: drive.serial.clone(),
                        library: library.clone(),
                        element: drive.element,
                        volume: drive.volume.clone(),
                        down: drive.fault.clone(),
                        faults: 0,
                    });
                    tx.create(&DriveLease {
                        serial: drive.serial.clone(),
                        library: library.clone(),
                        fence: Fence::default(),
                        hold: None,
                    });
                }
            }
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer;
            }
        }
        Ok(())
    }
}
