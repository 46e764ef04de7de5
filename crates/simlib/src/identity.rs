//! INQUIRY as drives and changer answer it.

use crate::reply::{Answer, Block, bad_field, padded, send};
use scsi::Data;

/// Who answers.
pub(crate) struct Identity<'a> {
    pub(crate) device_type: u8,
    pub(crate) product: &'a str,
    pub(crate) serial: &'a str,
}

const VENDOR: &str = "IBM";
const REVISION: &str = "TMS1";

/// A T10 vendor ID designator: vendor, product, serial (SPC-5 table "T10 vendor ID based
/// designator").
pub(crate) fn designator(product: &str, serial: &str) -> Vec<u8> {
    let mut out = vec![0x02, 0x01, 0x00, (24 + serial.len()) as u8];
    out.extend_from_slice(&padded::<8>(VENDOR));
    out.extend_from_slice(&padded::<16>(product));
    out.extend_from_slice(serial.as_bytes());
    out
}

/// INQUIRY (SPC-5): standard data, VPD pages 00h, 80h, 83h.
pub(crate) fn inquiry(identity: &Identity<'_>, block: Block, data: Data<'_>) -> Answer {
    let allocation = usize::from(block.u16(3));
    let page = block.u8(2);
    if !block.bit(1, 0) {
        if page != 0 {
            return Err(bad_field(2));
        }
        let mut out = [0u8; 96];
        out[0] = identity.device_type;
        // Removable medium, SPC-4, response format 2, length of the rest.
        out[1..5].copy_from_slice(&[0x80, 0x06, 0x02, 96 - 5]);
        out[8..16].copy_from_slice(&padded::<8>(VENDOR));
        out[16..32].copy_from_slice(&padded::<16>(identity.product));
        out[32..36].copy_from_slice(&padded::<4>(REVISION));
        return send(data, &out, allocation);
    }
    let body = match page {
        0x00 => vec![0x00, 0x80, 0x83],
        0x80 => identity.serial.as_bytes().to_vec(),
        0x83 => designator(identity.product, identity.serial),
        _ => return Err(bad_field(2)),
    };
    let [hi, lo] = (body.len() as u16).to_be_bytes();
    let mut out = vec![identity.device_type, page, hi, lo];
    out.extend_from_slice(&body);
    send(data, &out, allocation)
}
