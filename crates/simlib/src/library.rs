//! The library as a whole: making it, opening it, its handles, and the operator's hand.

mod operator;

pub use operator::{Damage, Standing};

use crate::cartridge::{Cartridge, tape_path};
use crate::changer::{
    Bay, ChangerUnit, FIRST_DRIVE, FIRST_MAIL_SLOT, FIRST_SLOT, Geometry, Held, State,
};
use crate::config::Config;
use crate::drive::{Build, DriveUnit};
use crate::error::SimError;
use crate::fault::{Fault, Faults, Seen};
use parking_lot::Mutex;
use scsi::{Completion, Data, ElementAddress, ElementKind, Transport, TransportError, VolumeTag};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A simulated tape library in a directory. Cheap to clone; clones are the same library.
///
/// Dropping the last clone and handle is what a kill of the process is: drive buffers are gone,
/// and only what was flushed is on the cartridges.
#[derive(Clone)]
pub struct SimLibrary {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    changer: Mutex<ChangerUnit>,
    drives: Vec<Bay>,
    faults: Faults,
    config: Config,
    /// Held for its lock only.
    _lock: File,
}

impl SimLibrary {
    /// Makes a library in `dir` with `cartridges` blank cartridges `TM0001L9`, `TM0002L9` and so
    /// on in its first slots, and opens it.
    ///
    /// # Errors
    /// [`SimError::Config`] where they do not fit the slots, [`SimError::Format`] where there is
    /// a library already.
    pub fn create(dir: &Path, config: Config, cartridges: u16) -> Result<Self, SimError> {
        config.check()?;
        if cartridges > config.slots {
            let problem = format!("{cartridges} cartridges do not fit {} slots", config.slots);
            return Err(SimError::Config(problem));
        }
        let path = dir.join("library.json");
        if path.exists() {
            return Err(SimError::Format {
                path,
                expected: "an empty place for a new library",
                found: "a library".to_owned(),
            });
        }
        let shelves = dir.join("cartridges");
        std::fs::create_dir_all(&shelves).map_err(SimError::io("make directory", &shelves))?;
        let mut state = State::default();
        for number in 0..cartridges {
            let barcode = format!("TM{:04}L9", number + 1);
            Cartridge::create(dir, &barcode, config.capacity)?;
            let held = Held {
                barcode,
                source: None,
                imported: false,
            };
            state.elements.insert(FIRST_SLOT + number, held);
        }
        state.save(&path)?;
        Self::open(dir, config)
    }

    /// Opens the library in `dir`: power-on. Cartridges are where they were; one in a drive is
    /// loaded again.
    ///
    /// # Errors
    /// [`SimError::InUse`] where another process (or handle) has it open; [`SimError::Config`]
    /// where a cartridge lies in an element that this configuration does not have.
    pub fn open(dir: &Path, config: Config) -> Result<Self, SimError> {
        config.check()?;
        let path = dir.join("library.json");
        let state = State::load(&path)?;
        let lock_path = dir.join("library.lock");
        let lock = File::create(&lock_path).map_err(SimError::io("create", &lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SimError::InUse(dir.to_owned()),
            TryLockError::Error(source) => SimError::io("lock", &lock_path)(source),
        })?;
        let geometry = Geometry {
            slots: config.slots,
            mail_slots: config.mail_slots,
            drives: config.drives,
        };
        for (address, held) in &state.elements {
            crate::cartridge::check_barcode(&held.barcode)?;
            if geometry.kind(*address).is_none() {
                let problem = format!("{} lies in element {address}, which is gone", held.barcode);
                return Err(SimError::Config(problem));
            }
        }
        let mut drives = Vec::new();
        for number in 0..config.drives {
            let build = Build {
                dir: dir.to_owned(),
                serial: format!("SIMDRV{:04}", number + 1),
                config: config.clone(),
            };
            let mut drive = DriveUnit::new(build);
            if let Some(held) = state.elements.get(&(FIRST_DRIVE + number)) {
                drive.insert(held.barcode.clone());
            }
            drives.push(Bay::new(drive));
        }
        let serial = "SIMLIB0001".to_owned();
        let changer = ChangerUnit::new(state, geometry, path, serial, &config);
        Ok(Self {
            shared: Arc::new(Shared {
                dir: dir.to_owned(),
                changer: Mutex::new(changer),
                drives,
                faults: Faults::new(config.faults.clone()),
                config,
                _lock: lock,
            }),
        })
    }

    /// Opens the library in `dir`, or makes it where there is none.
    ///
    /// # Errors
    /// As [`SimLibrary::open`] and [`SimLibrary::create`].
    pub fn open_or_create(dir: &Path, config: Config, cartridges: u16) -> Result<Self, SimError> {
        if dir.join("library.json").exists() {
            Self::open(dir, config)
        } else {
            Self::create(dir, config, cartridges)
        }
    }

    /// A path to the changer.
    pub fn changer(&self) -> ChangerHandle {
        ChangerHandle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// A path to drive `number`, counted from 0; `None` where there are fewer.
    pub fn drive(&self, number: usize) -> Option<DriveHandle> {
        (number < self.shared.drives.len()).then(|| DriveHandle {
            shared: Arc::clone(&self.shared),
            number,
        })
    }

    /// How many drives there are.
    pub fn drives(&self) -> usize {
        self.shared.drives.len()
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// The cartridge file of a barcode; see [`crate::dump_files`].
    pub fn cartridge_path(&self, barcode: &VolumeTag) -> PathBuf {
        tape_path(&self.shared.dir, barcode.as_str())
    }

    /// Address of slot `number`, counted from 0.
    pub fn slot(&self, number: u16) -> ElementAddress {
        ElementAddress(FIRST_SLOT + number)
    }

    /// Address of mail slot `number`, counted from 0.
    pub fn mail_slot(&self, number: u16) -> ElementAddress {
        ElementAddress(FIRST_MAIL_SLOT + number)
    }

    /// Address of drive `number`, counted from 0.
    pub fn bay(&self, number: u16) -> ElementAddress {
        ElementAddress(FIRST_DRIVE + number)
    }

    /// Arms one more fault.
    pub fn arm(&self, fault: Fault) {
        self.shared.faults.arm(fault);
    }

    /// Disarms all faults.
    pub fn disarm(&self) {
        self.shared.faults.disarm();
    }

    /// Faults that have not struck as often as they should.
    pub fn pending_faults(&self) -> usize {
        self.shared.faults.pending()
    }
}

/// A path to the changer.
#[derive(Clone)]
pub struct ChangerHandle {
    shared: Arc<Shared>,
}

impl Transport for ChangerHandle {
    fn exec(
        &mut self,
        cdb: &[u8],
        data: Data<'_>,
        timeout: Duration,
    ) -> Result<Completion, TransportError> {
        let mut changer = self.shared.changer.lock();
        let struck = self.shared.faults.strike(&Seen {
            opcode: cdb.first().copied().unwrap_or(0),
            drive: None,
            volume: changer.moved_by(cdb),
            record: None,
        });
        changer.exec(cdb, data, timeout, struck, &self.shared.drives)
    }
}

/// A path to one drive. Drives work side by side: a command locks its own drive only.
#[derive(Clone)]
pub struct DriveHandle {
    shared: Arc<Shared>,
    number: usize,
}

impl DriveHandle {
    /// Which drive, counted from 0.
    pub fn number(&self) -> usize {
        self.number
    }
}

impl Transport for DriveHandle {
    fn exec(
        &mut self,
        cdb: &[u8],
        data: Data<'_>,
        timeout: Duration,
    ) -> Result<Completion, TransportError> {
        let Some(drive) = self.shared.drives.get(self.number) else {
            return Err(TransportError::Offline {
                detail: "no such drive".to_owned(),
            });
        };
        let mut drive = drive.unit.lock();
        let struck = self.shared.faults.strike(&Seen {
            opcode: cdb.first().copied().unwrap_or(0),
            drive: Some(self.number),
            volume: drive.barcode(),
            record: drive.record(),
        });
        drive.exec(cdb, data, timeout, struck)
    }
}

/// What an element is, for the operator's methods.
fn kind_of(geometry: Geometry, address: ElementAddress) -> Option<ElementKind> {
    geometry.kind(address.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use scsi::{Changer, Drive, FilemarkMode};

    /// A drive in the middle of a command (here: its lock is held) keeps neither the other drive
    /// nor the inventory from their work. Were it otherwise, this test would not end.
    #[test]
    fn a_drive_at_work_blocks_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let library = SimLibrary::create(dir.path(), Config::default(), 2).unwrap();
        let mut changer = Changer::new(library.changer());
        changer.inventory().unwrap();
        for number in 0..2 {
            changer
                .move_medium(library.slot(number), library.bay(number))
                .unwrap();
        }
        let at_work = library.shared.drives[0].unit.lock();
        let mut other = Drive::new(library.drive(1).unwrap());
        other.requalify().unwrap();
        other.write_record(b"meanwhile").unwrap();
        other.write_filemarks(1, FilemarkMode::Synchronous).unwrap();
        other.unload().unwrap();
        let inventory = changer.inventory().unwrap();
        assert!(!inventory.drives[0].accessible);
        assert!(inventory.drives[1].accessible);
        changer
            .move_medium(library.bay(1), library.slot(1))
            .unwrap();
        drop(at_work);
    }
}
