//! Identity, limits, and cartridge memory.

use super::DriveUnit;
use crate::identity::{Identity, inquiry};
use crate::reply::{Answer, Block, Check, bad_field, bad_parameter, received, send};
use scsi::{Data, Sense, SenseKey, mam};

impl DriveUnit {
    /// INQUIRY and its VPD pages.
    pub(super) fn inquiry(&mut self, block: Block, data: Data<'_>) -> Answer {
        let identity = Identity {
            device_type: scsi::Inquiry::TAPE,
            product: self.outside.product,
            serial: &self.build.serial,
        };
        inquiry(&identity, block, data)
    }

    /// REQUEST SENSE: the pending condition, or the state of the drive.
    pub(super) fn request_sense(&mut self, block: Block, data: Data<'_>) -> Answer {
        let pending = self.attentions.pop_front().or_else(|| self.deferred.take());
        let sense = match pending {
            Some(sense) => sense,
            None => match self.ready() {
                Ok(_) => Sense::new(SenseKey::NoSense, 0, 0),
                Err(check) => check.sense,
            },
        };
        let allocation = usize::from(block.u8(4));
        if block.bit(1, 0) {
            send(data, &sense.to_descriptor(), allocation)
        } else {
            send(data, &sense.to_fixed(), allocation)
        }
    }

    /// READ BLOCK LIMITS.
    pub(super) fn block_limits(&mut self, data: Data<'_>) -> Answer {
        let [_, a, b, c] = self.build.config.max_record.to_be_bytes();
        send(data, &[0, a, b, c, 0, 1], 6)
    }

    /// READ ATTRIBUTE, service actions 00h (values) and 01h (list).
    pub(super) fn read_attribute(&mut self, block: Block, data: Data<'_>) -> Answer {
        let action = block.u8(1) & 0x1f;
        if block.u8(7) != 0 {
            return Err(bad_field(7));
        }
        let (buffered, _) = (self.buffered().1, ());
        let cartridge = self.ready()?;
        let used = cartridge.index.end().bytes + buffered;
        let mut all = cartridge.memory.attributes(cartridge.capacity, used);
        let first = block.u16(8);
        all.retain(|attribute| attribute.id >= first);
        let allocation = block.u32(10) as usize;
        match action {
            0x00 => {
                // SPC-5: the first attribute asked for must be there.
                if first != 0 && all.first().is_none_or(|attribute| attribute.id != first) {
                    return Err(bad_field(8));
                }
                // Whoever has seen the reference must see another one after the next write.
                if all.iter().any(|a| a.id == mam::id::VOLUME_CHANGE_REFERENCE) {
                    cartridge.memory.reference_seen = true;
                }
                send(data, &mam::encode(&all), allocation)
            }
            0x01 => {
                let mut out = ((all.len() * 2) as u32).to_be_bytes().to_vec();
                all.iter()
                    .for_each(|a| out.extend_from_slice(&a.id.to_be_bytes()));
                send(data, &out, allocation)
            }
            _ => Err(bad_field(1)),
        }
    }

    /// WRITE ATTRIBUTE.
    pub(super) fn write_attribute(&mut self, block: Block, data: Data<'_>) -> Answer {
        if block.u8(7) != 0 {
            return Err(bad_field(7));
        }
        let length = block.u32(10) as usize;
        let bytes = received(&data, length)?;
        let cartridge = self.ready()?;
        let mut memory = cartridge.memory.clone();
        let mut at = 4u16;
        for attribute in mam::parse(bytes) {
            let size = 5 + attribute.value.len() as u16;
            if !memory.set(attribute) {
                return Err(bad_parameter(at));
            }
            at = at.saturating_add(size);
        }
        if usize::from(at) != length.max(4) {
            return Err(crate::reply::short_parameters());
        }
        cartridge.memory = memory;
        match cartridge.save_memory() {
            Ok(()) => Ok(0),
            Err(_) => Err(Check::new(SenseKey::HardwareError, 0x44, 0x00)),
        }
    }
}
