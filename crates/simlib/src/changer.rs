//! The simulated changer: elements, moves, and what an operator does by hand.

mod status;

use crate::drive::{DriveUnit, Outside};
use crate::error::SimError;
use crate::fault::{Effect, sense_of};
use crate::identity::{Identity, inquiry};
use crate::reply::{Answer, Block, Check, bad_field, completion, no_such_command, send};
use crate::timing::Timeline;
use parking_lot::Mutex;
use scsi::cdb::op;
use scsi::{Completion, Data, ElementKind, Sense, SenseKey, Status, TransportError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Element addresses, laid out as in an IBM library.
pub(crate) const PICKER: u16 = 1;
/// First drive.
pub(crate) const FIRST_DRIVE: u16 = 257;
/// First mail slot.
pub(crate) const FIRST_MAIL_SLOT: u16 = 768;
/// First slot.
pub(crate) const FIRST_SLOT: u16 = 1024;

/// A cartridge in an element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) barcode: String,
    /// Slot it came from.
    #[serde(default)]
    pub(crate) source: Option<u16>,
    /// An operator put it there.
    #[serde(default)]
    pub(crate) imported: bool,
}

/// What survives the process: which cartridge is where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) elements: BTreeMap<u16, Held>,
}

impl State {
    pub(crate) fn load(path: &Path) -> Result<Self, SimError> {
        let text = std::fs::read(path).map_err(SimError::io("read library state", path))?;
        serde_json::from_slice(&text).map_err(|error| SimError::Format {
            path: path.to_owned(),
            expected: "a library state file",
            found: error.to_string(),
        })
    }

    pub(crate) fn save(&self, path: &Path) -> Result<(), SimError> {
        let text = serde_json::to_vec_pretty(self).expect("numbers and text are JSON");
        crate::files::replace(path, &text)
    }
}

/// Numbers of elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) slots: u16,
    pub(crate) mail_slots: u16,
    pub(crate) drives: u16,
}

impl Geometry {
    fn range(self, kind: ElementKind) -> (u16, u16) {
        match kind {
            ElementKind::Transport => (PICKER, 1),
            ElementKind::Slot => (FIRST_SLOT, self.slots),
            ElementKind::MailSlot => (FIRST_MAIL_SLOT, self.mail_slots),
            ElementKind::Drive => (FIRST_DRIVE, self.drives),
        }
    }

    pub(crate) fn kind(self, address: u16) -> Option<ElementKind> {
        ElementKind::ALL.into_iter().find(|kind| {
            let (first, count) = self.range(*kind);
            (first..first + count).contains(&address)
        })
    }
}

/// The robot and its shelves.
pub(crate) struct ChangerUnit {
    pub(crate) state: State,
    geometry: Geometry,
    path: PathBuf,
    serial: String,
    attentions: VecDeque<Sense>,
    door_locked: bool,
    online: bool,
    time: Timeline,
    /// What the command under way costs.
    cost: Duration,
    robot_move: Duration,
    timing: crate::Timing,
    implicit_unload: bool,
}

/// The drives as the robot reaches them. Locked one at a time, and always behind the changer's
/// own lock; a drive never locks the changer.
pub(crate) type Bays = [Bay];

/// A drive in its place.
pub(crate) struct Bay {
    pub(crate) unit: Mutex<DriveUnit>,
    /// Looked at without waiting for the drive.
    pub(crate) outside: Arc<Outside>,
}

impl Bay {
    pub(crate) fn new(unit: DriveUnit) -> Self {
        Self {
            outside: unit.outside(),
            unit: Mutex::new(unit),
        }
    }
}

impl ChangerUnit {
    pub(crate) fn new(
        state: State,
        geometry: Geometry,
        path: PathBuf,
        serial: String,
        config: &crate::Config,
    ) -> Self {
        let mut changer = Self {
            state,
            geometry,
            path,
            serial,
            attentions: VecDeque::new(),
            door_locked: false,
            online: true,
            time: Timeline::default(),
            cost: Duration::ZERO,
            robot_move: config.robot_move,
            timing: config.timing.clone(),
            implicit_unload: config.implicit_unload,
        };
        changer.attention(0x29, 0x00);
        changer
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn door_locked(&self) -> bool {
        self.door_locked
    }

    pub(crate) fn attention(&mut self, asc: u8, ascq: u8) {
        let sense = Sense::new(SenseKey::UnitAttention, asc, ascq);
        if !self.attentions.contains(&sense) {
            self.attentions.push_back(sense);
        }
    }

    /// Power off and on.
    pub(crate) fn power_cycle(&mut self) {
        self.attentions.clear();
        self.door_locked = false;
        self.online = true;
        self.attention(0x29, 0x00);
    }

    /// Makes the shelves on disk what they are in memory.
    pub(crate) fn save(&self) -> Result<(), SimError> {
        self.state.save(&self.path)
    }

    /// Barcode of the cartridge a move command would move.
    pub(crate) fn moved_by(&self, cdb: &[u8]) -> Option<&str> {
        let block = Block::new(cdb).filter(|block| block.opcode() == op::MOVE_MEDIUM)?;
        self.state
            .elements
            .get(&block.u16(4))
            .map(|held| held.barcode.as_str())
    }

    pub(crate) fn exec(
        &mut self,
        cdb: &[u8],
        data: Data<'_>,
        timeout: Duration,
        struck: Option<Effect>,
        bays: &Bays,
    ) -> Result<Completion, TransportError> {
        let opcode = cdb.first().copied().unwrap_or(0);
        let expected = data.len();
        let silent = || TransportError::Offline {
            detail: "changer does not answer selection".to_owned(),
        };
        if !self.online {
            return Err(silent());
        }
        match struck {
            Some(Effect::Busy) => {
                return Ok(Completion {
                    status: Status::Busy,
                    sense: Vec::new(),
                    residual: expected,
                });
            }
            Some(Effect::Sense {
                key,
                asc,
                ascq,
                deferred,
                executed: false,
            }) => {
                let check = Check::of(sense_of(key, asc, ascq, deferred)).residual(expected);
                return Ok(completion(Err(check)));
            }
            Some(Effect::Reset) => self.power_cycle(),
            Some(Effect::PowerLoss { .. }) => {
                self.power_cycle();
                return Err(silent());
            }
            Some(Effect::Jam { dropped }) => {
                let check = self.jam(cdb, dropped, bays);
                return Ok(completion(Err(check.residual(expected))));
            }
            Some(Effect::Offline) => {
                self.online = false;
                return Err(silent());
            }
            _ => {}
        }
        self.cost = Duration::ZERO;
        let answer = self.execute(cdb, data, bays);
        let lost = matches!(struck, Some(Effect::LostAnswer));
        let too_long = self.cost > timeout && !matches!(self.timing, crate::Timing::Off);
        if lost || too_long {
            return Err(TransportError::Timeout {
                opcode,
                after: timeout,
            });
        }
        Ok(match (answer, struck) {
            (Ok(residual), Some(Effect::Sense { key, asc, ascq, .. })) => {
                let sense = sense_of(key, asc, ascq, false);
                completion(Err(Check::of(sense).residual(residual)))
            }
            (answer, _) => completion(answer),
        })
    }

    fn execute(&mut self, cdb: &[u8], data: Data<'_>, bays: &Bays) -> Answer {
        let Some(block) = Block::new(cdb) else {
            return Err(bad_field(0));
        };
        if block.opcode() == op::INQUIRY {
            let identity = Identity {
                device_type: scsi::Inquiry::CHANGER,
                product: "03584L32",
                serial: &self.serial,
            };
            return inquiry(&identity, block, data);
        }
        if block.opcode() == op::REQUEST_SENSE {
            let sense = self.attentions.pop_front();
            let sense = sense.unwrap_or(Sense::new(SenseKey::NoSense, 0, 0));
            return send(data, &sense.to_fixed(), usize::from(block.u8(4)));
        }
        if let Some(sense) = self.attentions.pop_front() {
            return Err(Check::of(sense).residual(data.len()));
        }
        match block.opcode() {
            op::TEST_UNIT_READY | op::INITIALIZE_ELEMENT_STATUS => Ok(0),
            op::INITIALIZE_ELEMENT_STATUS_WITH_RANGE => Ok(0),
            op::PREVENT_ALLOW => {
                self.door_locked = block.u8(4) & 0x01 != 0;
                Ok(0)
            }
            op::MODE_SENSE_6 | op::MODE_SENSE_10 => self.mode_sense(block, data),
            op::READ_ELEMENT_STATUS => self.element_status(block, data, bays),
            op::MOVE_MEDIUM => self.move_medium(block, bays),
            _ => Err(no_such_command()),
        }
    }

    /// MOVE MEDIUM.
    fn move_medium(&mut self, block: Block, bays: &Bays) -> Answer {
        let (picker, from, to) = (block.u16(2), block.u16(4), block.u16(6));
        // Address 0 is "whatever picker there is" (SMC-3 "MOVE MEDIUM command").
        if picker != PICKER && picker != 0 {
            return Err(no_such_element());
        }
        let (Some(_), Some(_)) = (self.geometry.kind(from), self.geometry.kind(to)) else {
            return Err(no_such_element());
        };
        if block.bit(10, 0) {
            return Err(bad_field(10));
        }
        let Some(held) = self.state.elements.get(&from).cloned() else {
            return Err(Check::new(SenseKey::IllegalRequest, 0x3b, 0x0e));
        };
        if from == to {
            return Ok(0);
        }
        if self.state.elements.contains_key(&to) {
            return Err(Check::new(SenseKey::IllegalRequest, 0x3b, 0x0d));
        }
        self.leave(from, bays)?;
        self.cost += self.robot_move;
        self.time.spend(&self.timing, self.robot_move);
        // The shelves are right on disk before the drive sees the cartridge: a kill in between
        // finds it in the drive, where it is loaded at the next start.
        let source = match self.geometry.kind(from) {
            Some(ElementKind::Slot) => Some(from),
            _ => held.source,
        };
        let barcode = held.barcode.clone();
        self.state.elements.remove(&from);
        self.state.elements.insert(
            to,
            Held {
                source,
                imported: false,
                ..held
            },
        );
        if self.save().is_err() {
            return Err(Check::new(SenseKey::HardwareError, 0x44, 0x00));
        }
        self.enter(to, barcode, bays);
        Ok(0)
    }

    /// A jammed move: with `dropped` the cartridge is left in the gripper.
    fn jam(&mut self, cdb: &[u8], dropped: bool, bays: &Bays) -> Check {
        let jammed = Check::new(SenseKey::HardwareError, 0x15, 0x01);
        let Some(block) = Block::new(cdb).filter(|block| block.opcode() == op::MOVE_MEDIUM) else {
            return jammed;
        };
        let from = block.u16(4);
        let takes = dropped && !self.state.elements.contains_key(&PICKER);
        if takes && self.state.elements.contains_key(&from) && self.leave(from, bays).is_ok() {
            if let Some(held) = self.state.elements.remove(&from) {
                self.state.elements.insert(PICKER, held);
            }
            if self.save().is_err() {
                return Check::new(SenseKey::HardwareError, 0x44, 0x00);
            }
        }
        jammed
    }

    /// Takes the cartridge out where the element is a drive.
    fn leave(&mut self, from: u16, bays: &Bays) -> Result<(), Check> {
        let Some(bay) = self.bay(from, bays) else {
            return Ok(());
        };
        let mut drive = bay.unit.lock();
        if drive.removal_prevented() || !drive.accessible() && !self.implicit_unload {
            return Err(Check::new(SenseKey::IllegalRequest, 0x53, 0x02));
        }
        if !drive.accessible() {
            self.cost += drive
                .unload_by_robot()
                .map_err(|_| Check::new(SenseKey::HardwareError, 0x53, 0x00))?;
        }
        self.time.meet(&mut drive.time);
        drive.take();
        Ok(())
    }

    /// Hands the cartridge over where the element is a drive.
    pub(crate) fn enter(&mut self, to: u16, barcode: String, bays: &Bays) {
        if let Some(bay) = self.bay(to, bays) {
            let mut drive = bay.unit.lock();
            self.time.meet(&mut drive.time);
            drive.insert(barcode);
        }
    }

    fn bay<'a>(&self, address: u16, bays: &'a Bays) -> Option<&'a Bay> {
        (self.geometry.kind(address) == Some(ElementKind::Drive))
            .then(|| bays.get(usize::from(address - FIRST_DRIVE)))?
    }
}

fn no_such_element() -> Check {
    Check::new(SenseKey::IllegalRequest, 0x21, 0x01)
}
