//! What the changer tells of its elements.

use super::{Bays, ChangerUnit, FIRST_DRIVE};
use crate::identity::designator;
use crate::reply::{Answer, Block, bad_field, padded, send};
use scsi::cdb::op;
use scsi::{Data, ElementKind};

/// What READ ELEMENT STATUS asks for beside the state.
#[derive(Clone, Copy)]
struct Wish {
    voltag: bool,
    dvcid: bool,
}

impl ChangerUnit {
    /// MODE SENSE of page 1Dh, element address assignment.
    pub(super) fn mode_sense(&self, block: Block, data: Data<'_>) -> Answer {
        if block.u8(2) & 0x3f != 0x1d || block.u8(3) != 0 {
            return Err(bad_field(2));
        }
        let mut page = vec![0x1d, 0x12];
        for kind in ElementKind::ALL {
            let (first, count) = self.geometry.range(kind);
            page.extend_from_slice(&first.to_be_bytes());
            page.extend_from_slice(&count.to_be_bytes());
        }
        page.extend_from_slice(&[0, 0]);
        let (mut out, allocation) = if block.opcode() == op::MODE_SENSE_10 {
            (
                vec![0, page.len() as u8 + 6, 0, 0, 0, 0, 0, 0],
                usize::from(block.u16(7)),
            )
        } else {
            (
                vec![page.len() as u8 + 3, 0, 0, 0],
                usize::from(block.u8(4)),
            )
        };
        out.extend_from_slice(&page);
        send(data, &out, allocation)
    }

    /// READ ELEMENT STATUS.
    pub(super) fn element_status(&self, block: Block, data: Data<'_>, bays: &Bays) -> Answer {
        let kinds = match block.u8(1) & 0x0f {
            0 => ElementKind::ALL.to_vec(),
            code => vec![ElementKind::from_byte(code).ok_or_else(|| bad_field(1))?],
        };
        let wish = Wish {
            voltag: block.bit(1, 4),
            dvcid: block.bit(6, 0),
        };
        let (start, mut left) = (block.u16(2), usize::from(block.u16(4)));
        let allocation = block.u24(7) as usize;
        let mut body = Vec::new();
        let (mut first_reported, mut reported) = (None, 0u16);
        for kind in kinds {
            let (first, count) = self.geometry.range(kind);
            let addresses: Vec<u16> = (first..first + count)
                .filter(|address| *address >= start)
                .take(left)
                .collect();
            left -= addresses.len();
            let Some(lowest) = addresses.first() else {
                continue;
            };
            first_reported.get_or_insert(*lowest);
            reported += addresses.len() as u16;
            let descriptors: Vec<Vec<u8>> = addresses
                .iter()
                .map(|at| self.descriptor(*at, kind, wish, bays))
                .collect();
            let longest = descriptors.iter().map(Vec::len).max().unwrap_or(0);
            body.extend_from_slice(&[kind as u8, u8::from(wish.voltag) << 7]);
            body.extend_from_slice(&(longest as u16).to_be_bytes());
            body.extend_from_slice(&((longest * descriptors.len()) as u32).to_be_bytes());
            for mut descriptor in descriptors {
                descriptor.resize(longest, 0);
                body.extend_from_slice(&descriptor);
            }
        }
        let mut out = first_reported.unwrap_or(0).to_be_bytes().to_vec();
        out.extend_from_slice(&reported.to_be_bytes());
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(&body);
        send(data, &out, allocation)
    }

    fn descriptor(&self, address: u16, kind: ElementKind, wish: Wish, bays: &Bays) -> Vec<u8> {
        let held = self.state.elements.get(&address);
        let bay = bays.get(usize::from(address.wrapping_sub(FIRST_DRIVE)));
        let drive = bay
            .filter(|_| kind == ElementKind::Drive)
            .map(|bay| &bay.outside);
        let accessible = match (&drive, kind) {
            (Some(drive), _) => drive.accessible(),
            (None, ElementKind::Transport) => false,
            (None, _) => true,
        };
        let imported = held.is_some_and(|held| held.imported) && kind == ElementKind::MailSlot;
        let mut out = address.to_be_bytes().to_vec();
        // Mail slots also say that they can be imported to and exported from (INENAB, EXENAB).
        let mail = if kind == ElementKind::MailSlot {
            0x30
        } else {
            0
        };
        out.push(
            mail | u8::from(accessible) << 3 | u8::from(imported) << 1 | u8::from(held.is_some()),
        );
        out.extend_from_slice(&[0; 6]);
        let source = held.and_then(|held| held.source);
        out.push(u8::from(source.is_some()) << 7);
        out.extend_from_slice(&source.unwrap_or(0).to_be_bytes());
        if wish.voltag {
            let tag = held.map_or("", |held| held.barcode.as_str());
            out.extend_from_slice(&padded::<32>(tag));
            out.extend_from_slice(&[0; 4]);
        }
        match drive {
            Some(drive) if wish.dvcid => {
                out.extend_from_slice(&designator(drive.product, &drive.serial));
            }
            _ => out.extend_from_slice(&[0; 4]),
        }
        out
    }
}
