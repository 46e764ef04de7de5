//! Mode and log pages.

use super::{DriveUnit, Modes};
use crate::reply::{
    Answer, Block, Check, bad_field, bad_parameter, received, send, short_parameters,
};
use scsi::log::{self, Parameter};
use scsi::{Data, cdb::op};

impl DriveUnit {
    /// MODE SENSE(6) and (10), current and default values of pages 0Fh, 10h, 10h/01h.
    pub(super) fn mode_sense(&mut self, block: Block, data: Data<'_>) -> Answer {
        let ten = block.opcode() == op::MODE_SENSE_10;
        let (control, page, subpage) = (block.u8(2) >> 6, block.u8(2) & 0x3f, block.u8(3));
        let without_descriptor = block.bit(1, 3);
        let modes = match control {
            0 => self.modes,
            2 => Modes::default(),
            _ => return Err(bad_field(2)),
        };
        let pages = match (page, subpage) {
            (0x00, 0x00) => Vec::new(),
            (0x0f, 0x00) => compression_page(modes),
            (0x10, 0x00) => device_configuration_page(),
            (0x10, 0x01) => extension_page(modes),
            (0x3f, 0x00) => [compression_page(modes), device_configuration_page()].concat(),
            _ => return Err(bad_field(2)),
        };
        let protected = self.cartridge().is_some_and(|c| c.memory.write_protected);
        let medium_type = if self.cartridge().is_some() {
            MEDIUM_TYPE_LTO9
        } else {
            0
        };
        let specific = u8::from(protected) << 7 | modes.buffered << 4;
        let descriptor: &[u8] = if without_descriptor {
            &[]
        } else {
            &[crate::DENSITY_LTO9, 0, 0, 0, 0, 0, 0, 0]
        };
        let body = [descriptor, &pages].concat();
        let descriptor_length = descriptor.len() as u8;
        let mut out = if ten {
            let [hi, lo] = ((body.len() + 6) as u16).to_be_bytes();
            vec![hi, lo, medium_type, specific, 0, 0, 0, descriptor_length]
        } else {
            vec![
                (body.len() + 3) as u8,
                medium_type,
                specific,
                descriptor_length,
            ]
        };
        out.extend_from_slice(&body);
        let allocation = if ten {
            usize::from(block.u16(7))
        } else {
            usize::from(block.u8(4))
        };
        send(data, &out, allocation)
    }

    /// MODE SELECT(6) and (10) of the same pages. Nothing is changed where anything is refused.
    pub(super) fn mode_select(&mut self, block: Block, data: Data<'_>) -> Answer {
        let ten = block.opcode() == op::MODE_SELECT_10;
        if !block.bit(1, 4) || block.bit(1, 0) {
            return Err(bad_field(1));
        }
        let length = if ten {
            usize::from(block.u16(7))
        } else {
            usize::from(block.u8(4))
        };
        let list = received(&data, length)?;
        if list.is_empty() {
            return Ok(0);
        }
        let (header, specific, descriptors) = match ten {
            true => (
                8,
                list.get(3),
                list.get(6..8)
                    .map(|l| usize::from(l[0]) << 8 | usize::from(l[1])),
            ),
            false => (4, list.get(2), list.get(3).map(|l| usize::from(*l))),
        };
        let (Some(specific), Some(descriptors)) = (specific, descriptors) else {
            return Err(short_parameters());
        };
        let mut modes = Modes {
            buffered: specific >> 4 & 0x07,
            ..self.modes
        };
        if modes.buffered > 1 {
            return Err(bad_parameter(if ten { 3 } else { 2 }));
        }
        match descriptors {
            0 => {}
            8 => {
                let descriptor = list.get(header..header + 8).ok_or_else(short_parameters)?;
                // Variable-block mode only; density 0 (default), 7Fh (no change) or LTO-9.
                if !matches!(descriptor[0], 0 | 0x7f | crate::DENSITY_LTO9) {
                    return Err(bad_parameter(header as u16));
                }
                if descriptor[5..8] != [0, 0, 0] {
                    return Err(bad_parameter(header as u16 + 5));
                }
            }
            _ => return Err(bad_parameter(if ten { 6 } else { 3 })),
        }
        let mut at = header + descriptors;
        while at < list.len() {
            let rest = list.get(at..).unwrap_or(&[]);
            at += select_page(rest, at as u16, &mut modes)?;
        }
        self.modes = modes;
        Ok(0)
    }

    /// LOG SENSE of pages 00h, 12h, 17h, 2Eh, 31h.
    pub(super) fn log_sense(&mut self, block: Block, data: Data<'_>) -> Answer {
        let allocation = usize::from(block.u16(7));
        if block.u8(3) != 0 {
            return Err(bad_field(3));
        }
        let page = block.u8(2) & 0x3f;
        let out = match page {
            0x00 => vec![0x00, 0, 0, 5, 0x00, 0x12, 0x17, 0x2e, 0x31],
            log::page::TAPE_ALERT_RESPONSE => {
                log::encode(page, &[number(0, self.alerts.reverse_bits(), 8)])
            }
            log::page::VOLUME_STATISTICS => log::encode(page, &self.volume_statistics()?),
            log::page::TAPE_ALERT => {
                let alerts = std::mem::take(&mut self.alerts);
                let flags = (0..64u16).map(|bit| number(bit + 1, alerts >> bit & 1, 1));
                log::encode(page, &flags.collect::<Vec<_>>())
            }
            log::page::TAPE_CAPACITY => log::encode(page, &self.capacity_parameters()?),
            _ => return Err(bad_field(2)),
        };
        send(data, &out, allocation)
    }

    fn volume_statistics(&mut self) -> Result<Vec<Parameter>, Check> {
        const MB: u64 = 1_000_000;
        let counters = self.counters;
        let used = self.used()?;
        let cartridge = self.ready()?;
        let memory = &cartridge.memory;
        Ok(vec![
            number(0x0000, 1, 1),
            number(0x0001, memory.load_count, 4),
            number(0x0002, memory.bytes_written / DATA_SET, 8),
            number(0x0003, 0, 4),
            number(0x0004, counters.unrecovered_writes, 2),
            number(
                0x0007,
                (memory.bytes_read + counters.bytes_read) / DATA_SET,
                8,
            ),
            number(0x0008, 0, 4),
            number(0x0009, counters.unrecovered_reads, 2),
            number(0x0010, memory.bytes_written / MB, 8),
            number(0x0011, (memory.bytes_read + counters.bytes_read) / MB, 8),
            number(0x0016, cartridge.capacity / MB, 8),
            number(0x0017, used / MB, 8),
            number(0x0080, u64::from(memory.write_protected), 1),
            number(0x0081, 0, 1),
        ])
    }

    fn capacity_parameters(&mut self) -> Result<Vec<Parameter>, Check> {
        const MIB: u64 = 1 << 20;
        let used = self.used()?;
        let capacity = self.ready()?.capacity;
        Ok(vec![
            number(0x0001, capacity.saturating_sub(used) / MIB, 4),
            number(0x0002, 0, 4),
            number(0x0003, capacity / MIB, 4),
            number(0x0004, 0, 4),
        ])
    }

    /// Record bytes between beginning of tape and end of data, buffer included.
    fn used(&mut self) -> Result<u64, Check> {
        if !self.buffer.is_empty() {
            return Ok(self.position.bytes);
        }
        Ok(self.ready()?.index.end().bytes)
    }
}

/// MEDIUM TYPE of an LTO-9 data cartridge as IBM drives report it.
const MEDIUM_TYPE_LTO9: u8 = 0x98;
/// Bytes of an LTO-9 data set.
const DATA_SET: u64 = 9_500_000;

fn number(code: u16, value: u64, width: usize) -> Parameter {
    let bytes = value.to_be_bytes();
    Parameter {
        code,
        value: bytes.get(8 - width.min(8)..).unwrap_or(&bytes).to_vec(),
    }
}

/// Data compression (SSC-5 mode page 0Fh): DCE, DCC, DDE, algorithm 1.
fn compression_page(modes: Modes) -> Vec<u8> {
    let mut page = vec![0; 16];
    page[0] = 0x0f;
    page[1] = 0x0e;
    page[2] = u8::from(modes.compression) << 7 | 0x40;
    page[3] = 0x80;
    page[7] = 1;
    page[11] = 1;
    page
}

/// Device configuration (SSC-5 mode page 10h): early end generation and synchronise at early
/// warning are on.
fn device_configuration_page() -> Vec<u8> {
    let mut page = vec![0; 16];
    page[0] = 0x10;
    page[1] = 0x0e;
    page[8] = 0x40;
    page[10] = 0x18;
    page
}

/// Device configuration extension (SSC-5 mode page 10h/01h): PEWS.
fn extension_page(modes: Modes) -> Vec<u8> {
    let mut page = vec![0; 32];
    page[0] = 0x50;
    page[1] = 0x01;
    page[3] = 0x1c;
    page[6..8].copy_from_slice(&modes.programmable_early_warning.to_be_bytes());
    page
}

/// Takes one page of a MODE SELECT list and returns its length.
fn select_page(page: &[u8], at: u16, modes: &mut Modes) -> Result<usize, Check> {
    let (Some(first), Some(second)) = (page.first(), page.get(1)) else {
        return Err(short_parameters());
    };
    let whole = |length: usize| page.get(..length).ok_or_else(short_parameters);
    match (first & 0x7f, second) {
        (0x0f, 0x0e) => {
            modes.compression = whole(16)?[2] & 0x80 != 0;
            Ok(16)
        }
        // Everything on this page is fixed; sending it back unchanged is allowed.
        (0x10, 0x0e) => whole(16).map(|_| 16),
        (0x50, 0x01) => {
            let page = whole(32)?;
            if page[2..4] != [0x00, 0x1c] {
                return Err(bad_parameter(at + 2));
            }
            modes.programmable_early_warning = u16::from_be_bytes([page[6], page[7]]);
            Ok(32)
        }
        (0x0f | 0x10, _) => Err(bad_parameter(at + 1)),
        _ => Err(bad_parameter(at)),
    }
}
