//! Identity, state, and the medium as a whole: what stays possible while the drive is poisoned,
//! and how the poison ends.

use super::{BlockLimits, Drive, MAX_ATTENTIONS, Readiness, Requalified, is_change};
use crate::cdb::{spc, ssc};
use crate::error::ScsiError;
use crate::inquiry::{self, Designator, Inquiry};
use crate::position::{Position, ShortPosition};
use crate::sense::{Sense, SenseKey};
use crate::timeouts::{FormFactor, Generation, Timeouts};
use crate::transport::{Data, Transport};

impl<T: Transport> Drive<T> {
    /// INQUIRY.
    ///
    /// # Errors
    /// [`ScsiError::Malformed`] on fewer than 36 bytes; otherwise as the device answers.
    pub fn inquiry(&mut self) -> Result<Inquiry, ScsiError> {
        let bytes = self.ask(spc::inquiry(96), 96)?;
        Inquiry::parse(&bytes).ok_or(ScsiError::Malformed {
            what: "standard INQUIRY data",
            expected: "at least 36 bytes",
            found: bytes.len(),
        })
    }

    /// INQUIRY, then the timeout table of the generation found (full height: its table is never
    /// used where the product says `HH`). An unknown product keeps the longest table.
    ///
    /// # Errors
    /// As [`Drive::inquiry`].
    pub fn identify(&mut self) -> Result<Inquiry, ScsiError> {
        let inquiry = self.inquiry()?;
        if let Some(generation) = Generation::from_product(&inquiry.product) {
            // IBM half-height drives call themselves ULT3580-HH9 or ULTRIUM-HH9.
            let half = inquiry.product.to_ascii_uppercase().contains("HH");
            let form = if half {
                FormFactor::HalfHeight
            } else {
                FormFactor::FullHeight
            };
            self.link.timeouts = Timeouts::of_drive(generation, form);
        }
        Ok(inquiry)
    }

    /// Unit serial number (VPD page 80h): what pairs a drive with its element in the changer.
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

    /// The VPD pages the drive has (VPD page 00h).
    ///
    /// # Errors
    /// As the device answers.
    pub fn vpd_pages(&mut self) -> Result<Vec<u8>, ScsiError> {
        let bytes = self.ask(spc::inquiry_vpd(0x00, 0x100), 0x100)?;
        Ok(inquiry::supported_pages(&bytes).to_vec())
    }

    /// Device identification (VPD page 83h).
    ///
    /// # Errors
    /// As the device answers; a page without designators is an empty list.
    pub fn designators(&mut self) -> Result<Vec<Designator>, ScsiError> {
        let bytes = self.ask(spc::inquiry_vpd(0x83, 0x1000), 0x1000)?;
        Ok(inquiry::designators(&bytes))
    }

    /// REQUEST SENSE: what the drive would say next, or what it is busy with. A unit attention
    /// taken this way poisons the drive like any other.
    ///
    /// # Errors
    /// [`ScsiError::Malformed`] where the answer is no sense data.
    pub fn request_sense(&mut self) -> Result<Sense, ScsiError> {
        let bytes = self.ask(spc::request_sense(false, 252), 252)?;
        let sense = Sense::parse(&bytes).ok_or(ScsiError::Malformed {
            what: "REQUEST SENSE data",
            expected: "fixed or descriptor format sense",
            found: bytes.len(),
        })?;
        if is_change(&sense) {
            self.note_attention(sense);
        }
        Ok(sense)
    }

    /// TEST UNIT READY. A unit attention is recorded, poisons the drive, and is returned as
    /// [`Readiness::Attention`]; call again for the state behind it.
    ///
    /// # Errors
    /// Transport failures, and a sense that is neither "ready" nor "not ready".
    pub fn readiness(&mut self) -> Result<Readiness, ScsiError> {
        let reply = self.exec(spc::test_unit_ready(), Data::None)?;
        match reply.sense {
            None => Ok(Readiness::Ready),
            Some(sense) => match (sense.key, sense.code.asc, sense.code.ascq) {
                (SenseKey::UnitAttention, ..) => Ok(Readiness::Attention(sense)),
                (SenseKey::NotReady, 0x04, 0x00 | 0x01 | 0x04 | 0x07) => {
                    Ok(Readiness::BecomingReady(sense))
                }
                (SenseKey::NotReady, 0x3a, _) => Ok(Readiness::NoMedium),
                (SenseKey::NotReady, ..) => Ok(Readiness::NotReady(sense)),
                _ => reply.done().map(|_| Readiness::Ready),
            },
        }
    }

    /// Ends the poison: takes all pending unit attentions, then asks for readiness and position.
    ///
    /// The caller must still prove that the tape is the one it means (label) and stands where it
    /// believes (end of data) before writing.
    ///
    /// # Errors
    /// Transport failures, and devices that report more than 16 attentions in a row; the drive
    /// stays poisoned then.
    pub fn requalify(&mut self) -> Result<Requalified, ScsiError> {
        let mut readiness = self.readiness()?;
        for _ in 0..MAX_ATTENTIONS {
            if !matches!(readiness, Readiness::Attention(_)) {
                break;
            }
            readiness = self.readiness()?;
        }
        if let Readiness::Attention(sense) = readiness {
            return Err(ScsiError::Attention {
                command: "TEST UNIT READY",
                sense,
            });
        }
        let position = match readiness {
            Readiness::Ready => Some(self.position()?),
            _ => None,
        };
        self.poison = None;
        Ok(Requalified {
            attentions: std::mem::take(&mut self.attentions),
            readiness,
            position,
        })
    }

    /// READ POSITION, long form.
    ///
    /// # Errors
    /// [`ScsiError::PositionUnknown`] where the drive does not know or answers short.
    pub fn position(&mut self) -> Result<Position, ScsiError> {
        let bytes = self.ask(ssc::read_position_long(), 32)?;
        Position::parse_long(&bytes).ok_or(ScsiError::PositionUnknown)
    }

    /// READ POSITION, short form: also tells what waits in the buffer.
    ///
    /// # Errors
    /// [`ScsiError::PositionUnknown`] where the drive does not know, answers short, or stands
    /// beyond object 2^32.
    pub fn short_position(&mut self) -> Result<ShortPosition, ScsiError> {
        let bytes = self.ask(ssc::read_position_short(), 20)?;
        ShortPosition::parse(&bytes).ok_or(ScsiError::PositionUnknown)
    }

    /// READ BLOCK LIMITS.
    ///
    /// # Errors
    /// [`ScsiError::Malformed`] on fewer than 6 bytes.
    pub fn block_limits(&mut self) -> Result<BlockLimits, ScsiError> {
        let bytes = self.ask(ssc::read_block_limits(), 6)?;
        BlockLimits::parse(&bytes).ok_or(ScsiError::Malformed {
            what: "READ BLOCK LIMITS data",
            expected: "6 bytes",
            found: bytes.len(),
        })
    }

    /// LOAD: threads the medium and waits until it is ready at beginning of partition. The drive
    /// then reports 28/00, so [`Drive::requalify`] must follow.
    ///
    /// # Errors
    /// [`ScsiError::Check`] with 2/3A/00 where there is no cartridge.
    pub fn load(&mut self) -> Result<(), ScsiError> {
        self.medium_command(ssc::load_unload(true))
    }

    /// UNLOAD: flushes, rewinds and ejects. The drive handle is poisoned no further by it; the
    /// next medium announces itself with 28/00.
    ///
    /// # Errors
    /// [`ScsiError::Check`] with 5/53/02 where removal is prevented, or with the write error that
    /// kept buffered data from the medium.
    pub fn unload(&mut self) -> Result<(), ScsiError> {
        self.medium_command(ssc::load_unload(false))
    }

    /// PREVENT ALLOW MEDIUM REMOVAL.
    ///
    /// # Errors
    /// As the device answers.
    pub fn prevent_removal(&mut self, prevent: bool) -> Result<(), ScsiError> {
        self.medium_command(spc::prevent_allow(prevent))
    }
}
