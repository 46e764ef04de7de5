//! A media changer (SMC) behind a transport.

use crate::cdb::{Cdb, U24, smc, spc};
use crate::element::{
    Assignment, Element, ElementAddress, ElementKind, Range, VolumeTag, parse_status,
};
use crate::error::{ElementProblem, ScsiError};
use crate::inquiry::{self, Inquiry};
use crate::link::{Link, Reply};
use crate::mode::ModeData;
use crate::patience::Patience;
use crate::sense::{Code, Sense, SenseKey};
use crate::timeouts::Timeouts;
use crate::transport::{Data, Transport};

/// How many unit attentions in a row are taken before a changer is given up as babbling.
const MAX_ATTENTIONS: usize = 16;

/// Typed commands for one changer.
///
/// A move is never repeated by itself: a unit attention returns [`ScsiError::Attention`] and the
/// caller takes a fresh [`Changer::inventory`]. Questions are asked again after an attention.
pub struct Changer<T> {
    link: Link<T>,
    assignment: Option<Assignment>,
    attentions: Vec<Sense>,
    /// Attentions ever noted.
    noted: u64,
}

/// All elements of a library at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// Pickers.
    pub transports: Vec<Element>,
    /// Slots.
    pub slots: Vec<Element>,
    /// Mail slots.
    pub mail_slots: Vec<Element>,
    /// Drives.
    pub drives: Vec<Element>,
}

impl Inventory {
    /// Every element.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        [
            &self.transports,
            &self.slots,
            &self.mail_slots,
            &self.drives,
        ]
        .into_iter()
        .flatten()
    }

    /// Where the volume is.
    pub fn find(&self, tag: &VolumeTag) -> Option<&Element> {
        self.elements()
            .find(|element| element.tag.as_ref() == Some(tag))
    }

    /// The drive with this serial number: the only right way to pair a drive with its element.
    pub fn drive_by_serial(&self, serial: &str) -> Option<&Element> {
        self.drives
            .iter()
            .find(|drive| drive.drive_serial.as_deref() == Some(serial))
    }

    /// The element at this address.
    pub fn at(&self, address: ElementAddress) -> Option<&Element> {
        self.elements().find(|element| element.address == address)
    }

    /// An empty slot, preferring the lowest address.
    pub fn empty_slot(&self) -> Option<&Element> {
        self.slots
            .iter()
            .find(|slot| !slot.full && slot.exception.is_none())
    }
}

impl<T: Transport> Changer<T> {
    /// A changer.
    pub fn new(transport: T) -> Self {
        Self {
            link: Link {
                transport,
                timeouts: Timeouts::longest(),
                patience: Patience::none(),
            },
            assignment: None,
            attentions: Vec::new(),
            noted: 0,
        }
    }

    /// Sets how a changer that is busy is asked again; without, its first BUSY is the answer.
    pub fn set_patience(&mut self, patience: Patience) {
        self.link.patience = patience;
    }

    /// The attentions since the last call, oldest first: 28/01 is a mail slot or door that was
    /// opened, 29/xx a reset.
    pub fn take_attentions(&mut self) -> Vec<Sense> {
        std::mem::take(&mut self.attentions)
    }

    /// INQUIRY.
    ///
    /// # Errors
    /// [`ScsiError::Malformed`] on fewer than 36 bytes.
    pub fn inquiry(&mut self) -> Result<Inquiry, ScsiError> {
        let bytes = self.ask(spc::inquiry(96), 96)?;
        Inquiry::parse(&bytes).ok_or(ScsiError::Malformed {
            what: "standard INQUIRY data",
            expected: "at least 36 bytes",
            found: bytes.len(),
        })
    }

    /// Unit serial number (VPD page 80h).
    ///
    /// # Errors
    /// [`ScsiError::Malformed`] where the page is missing or empty.
    pub fn serial(&mut self) -> Result<String, ScsiError> {
        let bytes = self.ask(spc::inquiry_vpd(0x80, 255), 255)?;
        inquiry::serial(&bytes).ok_or(ScsiError::Malformed {
            what: "unit serial number (VPD page 80h)",
            expected: "a page 80h that is not empty",
            found: bytes.len(),
        })
    }

    /// Element address assignment (mode page 1Dh), asked once and kept.
    ///
    /// # Errors
    /// [`ScsiError::Malformed`] where the changer returns something else.
    pub fn assignment(&mut self) -> Result<Assignment, ScsiError> {
        if let Some(known) = self.assignment {
            return Ok(known);
        }
        let bytes = self.ask(spc::mode_sense_6(0x1d, 0, 255), 255)?;
        let assignment = ModeData::parse_6(&bytes)
            .and_then(|data| Assignment::parse(&data.page))
            .ok_or(ScsiError::Malformed {
                what: "element address assignment (mode page 1Dh)",
                expected: "page 1Dh of 20 bytes",
                found: bytes.len(),
            })?;
        self.assignment = Some(assignment);
        Ok(assignment)
    }

    /// INITIALIZE ELEMENT STATUS: the library looks at every element. May take half an hour.
    ///
    /// # Errors
    /// As the device answers.
    pub fn initialize_element_status(&mut self) -> Result<(), ScsiError> {
        self.ask(smc::initialize_element_status(), 0).map(drop)
    }

    /// READ ELEMENT STATUS of every kind, with barcodes and drive serials.
    ///
    /// One command a kind: the answer to "all kinds" is unparseable on some targets. Drives are
    /// asked twice, as some changers cannot return barcodes and identifiers in one answer.
    ///
    /// A library that changes between two of these questions (28/01, 29/xx) is asked from the
    /// start, so that all of an inventory is of one moment.
    ///
    /// # Errors
    /// As the device answers; [`ScsiError::Attention`] where the library does not keep still.
    pub fn inventory(&mut self) -> Result<Inventory, ScsiError> {
        const PASSES: usize = 4;
        let mut changed = None;
        for _ in 0..PASSES {
            // What is pending before the first question makes it ask again by itself.
            let assignment = self.assignment()?;
            let transports = self.status_of(ElementKind::Transport, assignment.transports)?;
            let noted = self.noted;
            let mut status = |kind| self.status_of(kind, assignment.of(kind));
            let inventory = Inventory {
                transports,
                slots: status(ElementKind::Slot)?,
                mail_slots: status(ElementKind::MailSlot)?,
                drives: status(ElementKind::Drive)?,
            };
            if self.noted == noted && self.assignment == Some(assignment) {
                return Ok(inventory);
            }
            changed = self.attentions.last().copied();
        }
        Err(ScsiError::Attention {
            command: "READ ELEMENT STATUS",
            sense: changed.unwrap_or(Sense::new(SenseKey::UnitAttention, 0, 0)),
        })
    }

    /// MOVE MEDIUM with the first picker.
    ///
    /// # Errors
    /// [`ScsiError::Element`] names why it could not be done; [`ScsiError::Attention`] where the
    /// library changed since it was last looked at: take an inventory, then decide anew.
    pub fn move_medium(
        &mut self,
        from: ElementAddress,
        to: ElementAddress,
    ) -> Result<(), ScsiError> {
        let picker = self.assignment()?.transports.first;
        let reply = self.exec(smc::move_medium(picker, from.0, to.0), Data::None)?;
        let Some(sense) = reply.sense.filter(|_| !reply.succeeded()) else {
            return Ok(());
        };
        let problem = match (sense.key, sense.code.asc, sense.code.ascq) {
            (SenseKey::UnitAttention, ..) => {
                return Err(ScsiError::Attention {
                    command: reply.command,
                    sense,
                });
            }
            (_, 0x3b, 0x0e) => ElementProblem::SourceEmpty,
            (_, 0x3b, 0x0d) => ElementProblem::DestinationFull,
            (SenseKey::IllegalRequest, 0x21, 0x01) => ElementProblem::NoSuchElement,
            (_, 0x53, 0x02) => ElementProblem::RemovalPrevented,
            (_, 0x53, _) => ElementProblem::LoadFailed,
            (SenseKey::HardwareError, ..) => ElementProblem::Jammed,
            _ => return Err(reply.into_error()),
        };
        Err(ScsiError::Element { problem, sense })
    }

    /// PREVENT ALLOW MEDIUM REMOVAL: locks the mail slots' door.
    ///
    /// # Errors
    /// As the device answers.
    pub fn prevent_removal(&mut self, prevent: bool) -> Result<(), ScsiError> {
        self.ask(spc::prevent_allow(prevent), 0).map(drop)
    }

    fn status_of(&mut self, kind: ElementKind, range: Range) -> Result<Vec<Element>, ScsiError> {
        if range.count == 0 {
            return Ok(Vec::new());
        }
        let tags = smc::StatusWish {
            voltag: true,
            dvcid: false,
            curdata: true,
        };
        let mut elements = self.status(kind, range, tags)?;
        if kind == ElementKind::Drive {
            let identifiers = smc::StatusWish {
                voltag: false,
                dvcid: true,
                curdata: true,
            };
            // A changer without device identifiers has drives without serials: whoever pairs
            // drives by serial finds none, and says so.
            let identified = match self.status(kind, range, identifiers) {
                Err(error) if is_bad_field(&error) => Vec::new(),
                other => other?,
            };
            for identified in identified {
                if let Some(drive) = elements
                    .iter_mut()
                    .find(|e| e.address == identified.address)
                {
                    drive.drive_serial = identified.drive_serial;
                }
            }
        }
        Ok(elements)
    }

    fn status(
        &mut self,
        kind: ElementKind,
        range: Range,
        wish: smc::StatusWish,
    ) -> Result<Vec<Element>, ScsiError> {
        // Header, page header, and room for the longest descriptor (two tags and a device
        // identifier of 255 bytes) for every element, up to what 24 bits can ask.
        let allocation = (16 + usize::from(range.count) * 344).min(U24::MAX);
        let length = U24::new(allocation).expect("capped at U24::MAX in the line above");
        let (first, count) = (range.first, range.count);
        let cdb = smc::read_element_status(kind as u8, first, count, wish, length);
        let bytes = match self.ask(cdb, allocation) {
            // CURDATA only spares the robot a walk; older changers do not know it.
            Err(error) if wish.curdata && is_bad_field(&error) => {
                let plain = smc::StatusWish {
                    curdata: false,
                    ..wish
                };
                let cdb = smc::read_element_status(kind as u8, first, count, plain, length);
                self.ask(cdb, allocation)?
            }
            other => other?,
        };
        let mut elements = parse_status(&bytes);
        // Some changers ignore the range and the kind asked for.
        elements.retain(|element| {
            let offset = element.address.0.checked_sub(range.first);
            element.kind == kind && offset.is_some_and(|offset| offset < range.count)
        });
        Ok(elements)
    }

    fn exec(&mut self, cdb: Cdb, data: Data<'_>) -> Result<Reply, ScsiError> {
        let reply = self.link.exec(cdb, data)?;
        if let Some(sense) = reply.sense.filter(|s| s.key == SenseKey::UnitAttention) {
            self.noted += 1;
            if self.attentions.len() < MAX_ATTENTIONS * 4 {
                self.attentions.push(sense);
            }
            // The library may have been reconfigured while nobody looked.
            self.assignment = None;
        }
        Ok(reply)
    }

    fn ask(&mut self, cdb: Cdb, allocation: usize) -> Result<Vec<u8>, ScsiError> {
        let mut buffer = vec![0; allocation];
        for _ in 0..=MAX_ATTENTIONS {
            let data = if allocation == 0 {
                Data::None
            } else {
                Data::In(&mut buffer)
            };
            let reply = self.exec(cdb, data)?;
            if reply
                .sense
                .is_some_and(|sense| sense.key == SenseKey::UnitAttention)
            {
                continue;
            }
            let reply = reply.done()?;
            buffer.truncate(reply.moved(allocation));
            return Ok(buffer);
        }
        let sense =
            self.attentions
                .last()
                .copied()
                .unwrap_or(Sense::new(SenseKey::UnitAttention, 0, 0));
        Err(ScsiError::Attention {
            command: cdb.name(),
            sense,
        })
    }
}

/// 5/24/00: a field of the command block is not supported.
fn is_bad_field(error: &ScsiError) -> bool {
    error.sense().is_some_and(|sense| {
        sense.key == SenseKey::IllegalRequest && sense.code == Code::new(0x24, 0x00)
    })
}
