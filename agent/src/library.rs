//! The library: one changer, its drives, and the moves between them.
//!
//! One owner: the changer is behind a mutex, so one move runs at a time, and its elements
//! are read again before and after each move (Bareos 1866: a restore began on a tape that
//! was being unloaded). Drives are paired with elements by serial number, never by index.
//!
//! Lock order: changer, then drives. Nobody who holds a drive asks for the changer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::work::SeenDrive;
use model::{Barcode, Bytes, Code, DriveSerial, LibraryId, Refusal, Slot, SlotKind};
use parking_lot::Mutex;
use scsi::{
    Changer, Drive, Element, ElementKind, ElementProblem, Inventory, Patience, Readiness,
    ScsiError, Transport, VolumeTag,
};

use crate::lease::Lease;
use crate::trouble::Trouble;

/// A transport of any kind.
pub type BoxTransport = Box<dyn Transport>;

/// A drive that a session and the owner of the library share.
pub(crate) type SharedDrive = Arc<Mutex<Drive<BoxTransport>>>;

/// How often a drive that is becoming ready is asked.
const READY_POLL: Duration = Duration::from_secs(1);
/// How often at most: an LTO-9 cartridge may initialise for two hours at its first load.
const READY_POLLS: u32 = 3 * 3600;

/// The transports of a library, however they were made.
pub struct Hardware {
    /// The changer.
    pub changer: BoxTransport,
    /// The drives, in any order.
    pub drives: Vec<BoxTransport>,
    /// What a cartridge of the library holds.
    pub native_capacity: Bytes,
    /// How time passes while a device is busy: `std::thread::sleep`, or a test's own.
    pub wait: fn(Duration),
}

/// One library and all its drives.
pub(crate) struct Library {
    id: LibraryId,
    native_capacity: Bytes,
    changer: Mutex<Changer<BoxTransport>>,
    decks: BTreeMap<DriveSerial, Deck>,
}

/// One drive.
struct Deck {
    drive: SharedDrive,
    fault: Mutex<Option<Refusal>>,
    /// What was in it when its element was last looked at.
    mounted: Mutex<Option<Barcode>>,
}

/// A move that failed: for good, or perhaps only because the library was not as thought.
enum MoveError {
    Final(Trouble),
    Again(Refusal),
}

impl From<Trouble> for MoveError {
    fn from(trouble: Trouble) -> Self {
        Self::Final(trouble)
    }
}

impl Library {
    /// Takes possession of the hardware: asks each drive who it is.
    ///
    /// # Errors
    /// When a drive does not answer or its serial number is none.
    pub(crate) fn new(id: LibraryId, hardware: Hardware) -> anyhow::Result<Self> {
        let mut decks = BTreeMap::new();
        for transport in hardware.drives {
            let mut drive = Drive::new(transport);
            drive.set_patience(Patience::waiting(hardware.wait));
            drive.identify()?;
            let serial: DriveSerial = drive.serial()?.trim().parse()?;
            let deck = Deck {
                drive: Arc::new(Mutex::new(drive)),
                fault: Mutex::new(None),
                mounted: Mutex::new(None),
            };
            anyhow::ensure!(
                decks.insert(serial.clone(), deck).is_none(),
                "two drives say that their serial number is {serial}"
            );
        }
        let mut changer = Changer::new(hardware.changer);
        changer.set_patience(Patience::waiting(hardware.wait));
        Ok(Self {
            id,
            native_capacity: hardware.native_capacity,
            changer: Mutex::new(changer),
            decks,
        })
    }

    /// Its name.
    pub(crate) fn id(&self) -> &LibraryId {
        &self.id
    }

    /// What one of its cartridges holds.
    pub(crate) fn native_capacity(&self) -> Bytes {
        self.native_capacity
    }

    /// The serial numbers of its drives.
    pub(crate) fn drives(&self) -> impl Iterator<Item = &DriveSerial> {
        self.decks.keys()
    }

    /// A drive.
    ///
    /// # Errors
    /// `Trouble::Drive` where there is no such drive.
    pub(crate) fn drive(&self, serial: &DriveSerial) -> Result<SharedDrive, Trouble> {
        self.deck(serial).map(|deck| Arc::clone(&deck.drive))
    }

    /// Takes a drive out of service, for a reason.
    pub(crate) fn take_down(&self, serial: &DriveSerial, why: &Refusal) {
        if let Ok(deck) = self.deck(serial) {
            tracing::error!(drive = %serial, refusal = %why, "the drive is taken out of service");
            *deck.fault.lock() = Some(why.clone());
        }
    }

    /// Why a drive is out of service, if it is.
    pub(crate) fn fault(&self, serial: &DriveSerial) -> Option<Refusal> {
        self.deck(serial)
            .ok()
            .and_then(|deck| deck.fault.lock().clone())
    }

    /// What was in the drive when the library was last looked at.
    pub(crate) fn mounted(&self, serial: &DriveSerial) -> Option<Barcode> {
        self.deck(serial)
            .ok()
            .and_then(|deck| deck.mounted.lock().clone())
    }

    /// What stands where.
    ///
    /// # Errors
    /// When the changer does not answer.
    pub(crate) fn inventory(&self) -> Result<(Vec<Slot>, Vec<SeenDrive>), Refusal> {
        let inventory = self
            .look(&mut self.changer.lock())
            .map_err(|trouble| trouble.refusal().clone())?;
        let slot = |element: &Element, kind| Slot {
            element: element.address.0,
            kind,
            volume: barcode(element),
            full: element.full,
        };
        let storage = inventory
            .slots
            .iter()
            .map(|element| slot(element, SlotKind::Storage));
        let mail = inventory
            .mail_slots
            .iter()
            .map(|element| slot(element, SlotKind::Mail));
        let drives = self.decks.iter().filter_map(|(serial, deck)| {
            let element = inventory.drive_by_serial(serial.as_str())?;
            Some(SeenDrive {
                serial: serial.clone(),
                element: element.address.0,
                volume: barcode(element),
                fault: deck.fault.lock().clone(),
            })
        });
        Ok((storage.chain(mail).collect(), drives.collect()))
    }

    /// Puts the volume into the drive and the drive into a state to work with: a volume
    /// that is there stays, another one is unloaded and brought back to where it came
    /// from. A failed move is tried once more, after the library has looked at every
    /// element again.
    ///
    /// # Errors
    /// [`Trouble`]: `VolumeMissing`, `ChangerFault`, `DriveFault`, or the lost hold.
    pub(crate) fn mount(
        &self,
        serial: &DriveSerial,
        volume: &Barcode,
        lease: &Lease,
    ) -> Result<(), Trouble> {
        let deck = self.deck(serial)?;
        let mut changer = self.changer.lock();
        lease.check().map_err(Trouble::Lost)?;
        match self.try_mount(&mut changer, deck, serial, volume, lease) {
            Ok(()) => {}
            Err(MoveError::Final(trouble)) => return Err(trouble),
            Err(MoveError::Again(refusal)) => {
                tracing::warn!(drive = %serial, %volume, %refusal, "looking at every element, then trying once more");
                changer
                    .initialize_element_status()
                    .map_err(|error| match again(&error) {
                        MoveError::Final(trouble) => trouble,
                        MoveError::Again(refusal) => Trouble::Drive(refusal),
                    })?;
                lease.check().map_err(Trouble::Lost)?;
                self.try_mount(&mut changer, deck, serial, volume, lease)
                    .map_err(|error| match error {
                        MoveError::Final(trouble) => trouble,
                        MoveError::Again(refusal) => Trouble::Drive(refusal),
                    })?;
            }
        }
        drop(changer);
        make_ready(&mut deck.drive.lock(), lease)
    }

    fn try_mount(
        &self,
        changer: &mut Changer<BoxTransport>,
        deck: &Deck,
        serial: &DriveSerial,
        volume: &Barcode,
        lease: &Lease,
    ) -> Result<(), MoveError> {
        let inventory = self.look(changer)?;
        let drive = element_of(&inventory, serial)?;
        if barcode(drive).as_ref() == Some(volume) {
            return Ok(());
        }
        let Some(source) =
            VolumeTag::new(volume.as_str()).and_then(|tag| inventory.find(&tag).cloned())
        else {
            return Err(MoveError::Final(Trouble::Volume(Refusal::new(
                Code::VolumeMissing,
                format!(
                    "expected volume {volume} in library {}, found it nowhere",
                    self.id
                ),
            ))));
        };
        if drive.full {
            self.dismount(changer, &inventory, drive, deck)?;
        }
        if source.kind == ElementKind::Drive {
            // The volume is in another drive, whose session is over: the grant of this one
            // ended it. Wait until its last command is done, then let the cartridge out.
            let other = source
                .drive_serial
                .as_deref()
                .and_then(|serial| serial.parse().ok());
            let other = other
                .map(|serial: DriveSerial| self.deck(&serial))
                .transpose()?;
            if let Some(other) = other {
                other
                    .drive
                    .lock()
                    .unload()
                    .map_err(|error| Trouble::of_scsi(&error))?;
            }
        }
        lease.check().map_err(Trouble::Lost)?;
        tracing::info!(%volume, drive = %serial, from = source.address.0, "mounting");
        changer
            .move_medium(source.address, drive.address)
            .map_err(|error| again(&error))?;
        let inventory = self.look(changer)?;
        let found = barcode(element_of(&inventory, serial)?);
        if found.as_ref() == Some(volume) {
            return Ok(());
        }
        let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
        Err(MoveError::Again(Refusal::new(
            Code::ChangerFault,
            format!("after the move: expected {volume} in drive {serial}, found {found}"),
        )))
    }

    fn dismount(
        &self,
        changer: &mut Changer<BoxTransport>,
        inventory: &Inventory,
        drive: &Element,
        deck: &Deck,
    ) -> Result<(), MoveError> {
        deck.drive
            .lock()
            .unload()
            .map_err(|error| Trouble::of_scsi(&error))?;
        let home = drive
            .source
            .and_then(|address| inventory.at(address))
            .filter(|element| !element.full && element.kind == ElementKind::Slot)
            .or_else(|| inventory.empty_slot())
            .ok_or_else(|| {
                Trouble::Passing(Refusal::new(
                    Code::ChangerFault,
                    format!(
                        "library {}: expected an empty slot, found all full",
                        self.id
                    ),
                ))
            })?;
        changer
            .move_medium(drive.address, home.address)
            .map_err(|error| again(&error))?;
        let after = self.look(changer)?;
        match after.at(drive.address) {
            Some(element) if !element.full => Ok(()),
            _ => Err(MoveError::Again(Refusal::new(
                Code::ChangerFault,
                format!(
                    "after the move: expected {} to be empty, found it full",
                    drive.address
                ),
            ))),
        }
    }

    /// Asks the changer what stands where. Where it does not say, no drive is to blame.
    fn look(&self, changer: &mut Changer<BoxTransport>) -> Result<Inventory, Trouble> {
        let inventory = changer
            .inventory()
            .map_err(|error| Trouble::Passing(changer_fault(&error)))?;
        for (serial, deck) in &self.decks {
            *deck.mounted.lock() = inventory.drive_by_serial(serial.as_str()).and_then(barcode);
        }
        Ok(inventory)
    }

    fn deck(&self, serial: &DriveSerial) -> Result<&Deck, Trouble> {
        self.decks.get(serial).ok_or_else(|| {
            let known: Vec<_> = self.decks.keys().map(DriveSerial::as_str).collect();
            Trouble::Drive(Refusal::new(
                Code::DriveFault,
                format!(
                    "library {}: expected one of drives {known:?}, found {serial}",
                    self.id
                ),
            ))
        })
    }
}

fn element_of<'a>(inventory: &'a Inventory, serial: &DriveSerial) -> Result<&'a Element, Trouble> {
    inventory.drive_by_serial(serial.as_str()).ok_or_else(|| {
        Trouble::Drive(Refusal::new(
            Code::ChangerFault,
            format!("expected the changer to name a drive with serial {serial}, found none"),
        ))
    })
}

fn barcode(element: &Element) -> Option<Barcode> {
    element
        .tag
        .as_ref()
        .and_then(|tag| tag.as_str().parse().ok())
}

fn changer_fault(error: &ScsiError) -> Refusal {
    Refusal::new(Code::ChangerFault, error.to_string())
}

/// Every failed move is tried again after a look, except where the drive is known to be
/// the reason, or the changer was busy for longer than it was waited for.
fn again(error: &ScsiError) -> MoveError {
    match error {
        busy if busy.is_busy() => MoveError::Final(Trouble::Passing(changer_fault(error))),
        ScsiError::Element {
            problem: ElementProblem::LoadFailed,
            ..
        } => MoveError::Final(Trouble::Drive(Refusal::new(
            Code::DriveFault,
            error.to_string(),
        ))),
        _ => MoveError::Again(changer_fault(error)),
    }
}

/// Loads what is in the drive, takes its unit attentions and waits until it is ready.
fn make_ready(drive: &mut Drive<BoxTransport>, lease: &Lease) -> Result<(), Trouble> {
    let failed = |error: ScsiError| Trouble::of_scsi(&error);
    let mut loaded = false;
    for _ in 0..READY_POLLS {
        lease.check().map_err(Trouble::Lost)?;
        match drive.requalify().map_err(failed)?.readiness {
            Readiness::Ready => return Ok(()),
            Readiness::BecomingReady(_) => std::thread::sleep(READY_POLL),
            _ if !loaded => {
                drive.load().map_err(failed)?;
                loaded = true;
            }
            other => {
                return Err(Trouble::Drive(Refusal::new(
                    Code::DriveFault,
                    format!("expected the drive to be ready after loading, found {other:?}"),
                )));
            }
        }
    }
    Err(Trouble::Drive(Refusal::new(
        Code::DriveFault,
        "expected the drive to be ready within three hours, found it still becoming so",
    )))
}
