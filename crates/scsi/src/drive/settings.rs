//! Mode pages, log pages and cartridge memory of a drive. All of it stays possible while the
//! drive is poisoned.

use super::Drive;
use crate::cdb::spc;
use crate::error::ScsiError;
use crate::log::{self, TapeAlerts, TapeCapacity, VolumeStatistics};
use crate::mam::{self, Attribute};
use crate::mode::{self, ModeData};
use crate::transport::Transport;

/// Allocation for log pages and attributes: more than any drive returns.
const PLENTY: u16 = 0x8000;

impl<T: Transport> Drive<T> {
    /// MODE SENSE(10) of one page, current values.
    ///
    /// # Errors
    /// [`ScsiError::Malformed`] where the answer has no header; 5/24/00 where the drive has no
    /// such page.
    pub fn mode_page(&mut self, page: u8, subpage: u8) -> Result<ModeData, ScsiError> {
        let bytes = self.ask(spc::mode_sense_10(page, subpage, 512), 512)?;
        ModeData::parse_10(&bytes).ok_or(ScsiError::Malformed {
            what: "MODE SENSE(10) data",
            expected: "a mode parameter header",
            found: bytes.len(),
        })
    }

    /// MODE SELECT(10) of one page, with the block descriptor as in `data`.
    ///
    /// # Errors
    /// 5/26/00 where the drive refuses a value.
    pub fn set_mode_page(&mut self, data: &ModeData) -> Result<(), ScsiError> {
        let parameters = data.select_10();
        let length = u16::try_from(parameters.len()).map_err(|_| ScsiError::TooLarge {
            what: "mode parameter list in bytes",
            asked: parameters.len(),
            limit: usize::from(u16::MAX),
        })?;
        self.tell(spc::mode_select_10(length), &parameters)
    }

    /// Variable-block mode with buffered writes, and drive compression off (page 0Fh, DCE = 0):
    /// what Tapemark writes is compressed already, and remaining capacity stays exact.
    ///
    /// # Errors
    /// As [`Drive::mode_page`] and [`Drive::set_mode_page`].
    pub fn set_up_for_writing(&mut self) -> Result<(), ScsiError> {
        let mut data = self.mode_page(0x0f, 0)?;
        data.page = mode::compression_off(&data.page).ok_or(ScsiError::Malformed {
            what: "data compression mode page",
            expected: "page 0Fh",
            found: data.page.len(),
        })?;
        data.buffered = 1;
        data.block_length = Some(0);
        self.set_mode_page(&data)
    }

    /// Sets the distance before early warning at which programmable early warning is reported
    /// (mode page 10h/01h, PEWS), in megabytes of 10^6; 0 turns it off.
    ///
    /// # Errors
    /// As [`Drive::mode_page`] and [`Drive::set_mode_page`].
    pub fn set_programmable_early_warning(&mut self, megabytes: u16) -> Result<(), ScsiError> {
        let mut data = self.mode_page(0x10, 0x01)?;
        let page = mode::with_programmable_early_warning(&data.page, megabytes);
        data.page = page.ok_or(ScsiError::Malformed {
            what: "device configuration extension mode page",
            expected: "page 10h subpage 01h",
            found: data.page.len(),
        })?;
        self.set_mode_page(&data)
    }

    /// The medium is write protected (WP of the mode parameter header).
    ///
    /// # Errors
    /// As [`Drive::mode_page`].
    pub fn write_protected(&mut self) -> Result<bool, ScsiError> {
        Ok(self.mode_page(0x10, 0)?.write_protected)
    }

    /// LOG SENSE of one page, raw.
    ///
    /// # Errors
    /// 5/24/00 where the drive has no such page.
    pub fn log_page(&mut self, page: u8) -> Result<Vec<u8>, ScsiError> {
        self.ask(spc::log_sense(page, 0, PLENTY), usize::from(PLENTY))
    }

    /// Log page 17h.
    ///
    /// # Errors
    /// [`ScsiError::Malformed`] where the answer is another page.
    pub fn volume_statistics(&mut self) -> Result<VolumeStatistics, ScsiError> {
        let bytes = self.log_page(log::page::VOLUME_STATISTICS)?;
        VolumeStatistics::parse(&bytes).ok_or(malformed_log(bytes.len()))
    }

    /// Log page 31h.
    ///
    /// # Errors
    /// [`ScsiError::Malformed`] where the answer is another page or lacks partition 0.
    pub fn tape_capacity(&mut self) -> Result<TapeCapacity, ScsiError> {
        let bytes = self.log_page(log::page::TAPE_CAPACITY)?;
        TapeCapacity::parse(&bytes).ok_or(malformed_log(bytes.len()))
    }

    /// TapeAlert flags through page 12h, which does not clear them (reading 2Eh would, and hide
    /// them from whoever looks next).
    ///
    /// # Errors
    /// [`ScsiError::Malformed`] where the answer is another page.
    pub fn tape_alerts(&mut self) -> Result<TapeAlerts, ScsiError> {
        let bytes = self.log_page(log::page::TAPE_ALERT_RESPONSE)?;
        TapeAlerts::from_response_page(&bytes).ok_or(malformed_log(bytes.len()))
    }

    /// READ ATTRIBUTE: all attributes of the cartridge from `first` on, partition 0.
    ///
    /// # Errors
    /// 2/3A/00 where there is no cartridge.
    pub fn attributes(&mut self, first: u16) -> Result<Vec<Attribute>, ScsiError> {
        let allocation = usize::from(PLENTY);
        let bytes = self.ask(spc::read_attribute(0, first, u32::from(PLENTY)), allocation)?;
        Ok(mam::parse(&bytes))
    }

    /// One attribute, where the cartridge has it.
    ///
    /// # Errors
    /// As [`Drive::attributes`]; 5/24/00, by which drives say that there is no such attribute, is
    /// `None`.
    pub fn attribute(&mut self, id: u16) -> Result<Option<Attribute>, ScsiError> {
        match self.attributes(id) {
            Ok(attributes) => Ok(attributes.into_iter().find(|attribute| attribute.id == id)),
            Err(ScsiError::Check { sense, .. })
                if (sense.code.asc, sense.code.ascq) == (0x24, 0x00) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// WRITE ATTRIBUTE of host attributes (0800h to 0BFFh), partition 0.
    ///
    /// # Errors
    /// 5/26/xx where the cartridge has no such attribute or the length is wrong.
    pub fn set_attributes(&mut self, attributes: &[Attribute]) -> Result<(), ScsiError> {
        let parameters = mam::encode(attributes);
        let length = parameters.len() as u32;
        self.tell(spc::write_attribute(0, length), &parameters)
    }
}

fn malformed_log(found: usize) -> ScsiError {
    ScsiError::Malformed {
        what: "LOG SENSE data",
        expected: "the page asked for",
        found,
    }
}
