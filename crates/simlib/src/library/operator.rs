//! What people and accidents do to a library, beside its SCSI side.

use super::{SimLibrary, kind_of};
use crate::cartridge::{Cartridge, check_barcode};
use crate::changer::Held;
use crate::error::SimError;
use scsi::{ElementAddress, ElementKind, VolumeTag};

/// How a record is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The drive notices: 3/11/00 on reading.
    Unreadable,
    /// The drive delivers other bytes with GOOD status.
    Silent,
}

/// Where a drive's head is, and what it still holds, as nobody but a simulator can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Object number.
    pub record: u64,
    /// Objects in the buffer.
    pub buffered_objects: u64,
    /// Record bytes in the buffer.
    pub buffered_bytes: u64,
}

impl SimLibrary {
    /// Power off and on again for one drive, buffer lost; ends [`crate::Effect::Offline`].
    /// Unknown drive numbers are ignored.
    pub fn power_cycle(&self, drive: usize) {
        if let Some(drive) = self.shared.drives.get(drive) {
            drive.unit.lock().power_cycle(0, false);
        }
    }

    /// Power off and on again for the changer: 29/00, and ends [`crate::Effect::Offline`] there.
    pub fn power_cycle_changer(&self) {
        self.shared.changer.lock().power_cycle();
    }

    /// Bus reset of one drive: buffer lost, tape rewound, 29/02 next.
    pub fn reset(&self, drive: usize) {
        if let Some(drive) = self.shared.drives.get(drive) {
            drive.unit.lock().reset();
        }
    }

    /// The drive wants attention: TapeAlert flag 1 to 64.
    pub fn set_tape_alert(&self, drive: usize, flag: u8) {
        if let Some(drive) = self.shared.drives.get(drive) {
            drive.unit.lock().set_alert(flag);
        }
    }

    /// Where the drive's head is; `None` where nothing is threaded.
    pub fn standing(&self, drive: usize) -> Option<Standing> {
        let drive = self.shared.drives.get(drive)?.unit.lock();
        let (buffered_objects, buffered_bytes) = drive.buffered();
        Some(Standing {
            record: drive.record()?,
            buffered_objects,
            buffered_bytes,
        })
    }

    /// Damages one record on the medium of a cartridge, wherever the cartridge is. Records still
    /// in a drive's buffer are not on the medium.
    ///
    /// # Errors
    /// [`SimError::NoRecord`] where there is no such record (or it is a filemark).
    pub fn corrupt(&self, tag: &VolumeTag, record: u64, damage: Damage) -> Result<(), SimError> {
        self.with_cartridge(tag, |cartridge| {
            if cartridge.damage(record, damage == Damage::Silent)? {
                return Ok(());
            }
            Err(SimError::NoRecord {
                barcode: cartridge.barcode.clone(),
                record,
                objects: cartridge.index.objects(),
            })
        })
    }

    /// Moves the write-protect switch of a cartridge.
    ///
    /// # Errors
    /// [`SimError::NoCartridge`].
    pub fn write_protect(&self, tag: &VolumeTag, protected: bool) -> Result<(), SimError> {
        self.with_cartridge(tag, |cartridge| {
            cartridge.memory.write_protected = protected;
            cartridge.save_memory()
        })
    }

    /// An operator opens the door and exchanges what lies in two slots. The changer reports
    /// 28/01; its barcodes are right, but nobody else's knowledge is.
    ///
    /// # Errors
    /// [`SimError::Place`] where an address is no slot or mail slot, or the door is locked.
    pub fn swap_by_hand(&self, a: ElementAddress, b: ElementAddress) -> Result<(), SimError> {
        let mut changer = self.shared.changer.lock();
        self.reachable(&changer, a)?;
        self.reachable(&changer, b)?;
        let elements = &mut changer.state.elements;
        let (in_a, in_b) = (elements.remove(&a.0), elements.remove(&b.0));
        in_a.map(|held| elements.insert(b.0, held));
        in_b.map(|held| elements.insert(a.0, held));
        changer.save()?;
        changer.attention(0x28, 0x01);
        Ok(())
    }

    /// An operator exchanges the *labels'* contents: the cartridges of two barcodes trade their
    /// tapes, so that each barcode now names the wrong tape. Both must lie outside drives.
    ///
    /// # Errors
    /// [`SimError::Place`] where one is in a drive; [`SimError::NoCartridge`].
    pub fn swap_tapes_behind_barcodes(&self, a: &VolumeTag, b: &VolumeTag) -> Result<(), SimError> {
        let changer = self.shared.changer.lock();
        for tag in [a, b] {
            let (address, _) = self.holder(&changer, tag)?;
            self.reachable(&changer, ElementAddress(address))?;
        }
        let (path_a, path_b) = (self.cartridge_path(a), self.cartridge_path(b));
        for extension in ["tape", "index", "memory"] {
            let (a, b) = (
                path_a.with_extension(extension),
                path_b.with_extension(extension),
            );
            let aside = a.with_extension("aside");
            let moves = [(&a, &aside), (&b, &a), (&aside, &b)];
            for (from, to) in moves.into_iter().filter(|(from, _)| from.exists()) {
                std::fs::rename(from, to).map_err(SimError::io("rename", from))?;
            }
        }
        Ok(())
    }

    /// An operator puts a blank cartridge with this barcode into a free mail slot.
    ///
    /// # Errors
    /// [`SimError::Place`] where the address is no free mail slot or the door is locked;
    /// [`SimError::Format`] where the barcode exists.
    pub fn insert_blank(&self, slot: ElementAddress, tag: &VolumeTag) -> Result<(), SimError> {
        check_barcode(tag.as_str())?;
        let path = self.cartridge_path(tag);
        if path.exists() {
            return Err(SimError::Format {
                path,
                expected: "a new barcode",
                found: "a cartridge".to_owned(),
            });
        }
        let mut changer = self.shared.changer.lock();
        self.reachable(&changer, slot)?;
        if changer.state.elements.contains_key(&slot.0) {
            return Err(SimError::Place {
                address: slot.0,
                problem: "is full",
            });
        }
        Cartridge::create(self.dir(), tag.as_str(), self.config().capacity)?;
        let imported = kind_of(changer.geometry(), slot) == Some(ElementKind::MailSlot);
        let held = Held {
            barcode: tag.as_str().to_owned(),
            source: None,
            imported,
        };
        changer.state.elements.insert(slot.0, held);
        changer.save()?;
        changer.attention(0x28, 0x01);
        Ok(())
    }

    /// As [`SimLibrary::insert_blank`], with a cartridge that somebody else has written: each
    /// tape file is a list of records.
    ///
    /// # Errors
    /// As [`SimLibrary::insert_blank`].
    pub fn insert_foreign(
        &self,
        slot: ElementAddress,
        tag: &VolumeTag,
        files: &[Vec<Vec<u8>>],
    ) -> Result<(), SimError> {
        self.insert_blank(slot, tag)?;
        self.with_cartridge(tag, |cartridge| cartridge.record(files))
    }

    /// An operator takes a cartridge out of a slot or mail slot. Its files stay in the directory
    /// and it can be put back by [`SimLibrary::put_back`].
    ///
    /// # Errors
    /// [`SimError::Place`] where it is in a drive or the door is locked.
    pub fn take_out(&self, tag: &VolumeTag) -> Result<(), SimError> {
        let mut changer = self.shared.changer.lock();
        let (address, _) = self.holder(&changer, tag)?;
        self.reachable(&changer, ElementAddress(address))?;
        changer.state.elements.remove(&address);
        changer.save()?;
        changer.attention(0x28, 0x01);
        Ok(())
    }

    /// An operator puts a cartridge that was taken out (or lay in a jammed gripper) into a free
    /// slot or mail slot.
    ///
    /// # Errors
    /// [`SimError::Place`] where the place is not free; [`SimError::NoCartridge`] where there is
    /// no such cartridge outside the library.
    pub fn put_back(&self, slot: ElementAddress, tag: &VolumeTag) -> Result<(), SimError> {
        check_barcode(tag.as_str())?;
        let mut changer = self.shared.changer.lock();
        self.reachable(&changer, slot)?;
        if changer.state.elements.contains_key(&slot.0) {
            return Err(SimError::Place {
                address: slot.0,
                problem: "is full",
            });
        }
        let inside = self.holder(&changer, tag).ok().map(|(address, _)| address);
        let gripper = inside.filter(|address| *address == crate::changer::PICKER);
        if inside.is_some() && gripper.is_none() || !self.cartridge_path(tag).exists() {
            return Err(SimError::NoCartridge {
                barcode: tag.to_string(),
                place: "outside the library",
            });
        }
        gripper.map(|address| changer.state.elements.remove(&address));
        let imported = kind_of(changer.geometry(), slot) == Some(ElementKind::MailSlot);
        let held = Held {
            barcode: tag.as_str().to_owned(),
            source: None,
            imported,
        };
        changer.state.elements.insert(slot.0, held);
        changer.save()?;
        changer.attention(0x28, 0x01);
        Ok(())
    }

    /// A slot or mail slot behind an unlocked door.
    fn reachable(
        &self,
        changer: &crate::changer::ChangerUnit,
        address: ElementAddress,
    ) -> Result<(), SimError> {
        let place = |problem| SimError::Place {
            address: address.0,
            problem,
        };
        match kind_of(changer.geometry(), address) {
            Some(ElementKind::Slot | ElementKind::MailSlot) if changer.door_locked() => {
                Err(place("is behind a locked door"))
            }
            Some(ElementKind::Slot | ElementKind::MailSlot) => Ok(()),
            Some(_) => Err(place("is no place for an operator's hand")),
            None => Err(place("does not exist")),
        }
    }

    fn holder<'a>(
        &self,
        changer: &'a crate::changer::ChangerUnit,
        tag: &VolumeTag,
    ) -> Result<(u16, &'a Held), SimError> {
        let found = changer
            .state
            .elements
            .iter()
            .find(|(_, held)| held.barcode == tag.as_str());
        found
            .map(|(address, held)| (*address, held))
            .ok_or_else(|| SimError::NoCartridge {
                barcode: tag.to_string(),
                place: "in the library",
            })
    }

    /// Runs `work` on a cartridge: the drive's own where it is threaded, else opened for it.
    fn with_cartridge<R>(
        &self,
        tag: &VolumeTag,
        work: impl FnOnce(&mut Cartridge) -> Result<R, SimError>,
    ) -> Result<R, SimError> {
        check_barcode(tag.as_str())?;
        // The changer's lock keeps the cartridge where it is meanwhile.
        let _changer = self.shared.changer.lock();
        for drive in &self.shared.drives {
            let mut drive = drive.unit.lock();
            if let Some(cartridge) = drive.cartridge().filter(|c| c.barcode == tag.as_str()) {
                return work(cartridge);
            }
        }
        if !self.cartridge_path(tag).exists() {
            return Err(SimError::NoCartridge {
                barcode: tag.to_string(),
                place: "at all",
            });
        }
        work(&mut Cartridge::open(self.dir(), tag.as_str(), false)?)
    }
}
