//! INQUIRY data (SPC-5 clause "INQUIRY command") and the vital product data pages 00h, 80h, 83h.

use crate::wire::{be, clamp, text, u8_at};

/// Standard INQUIRY data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inquiry {
    /// PERIPHERAL DEVICE TYPE: 01h tape, 08h changer.
    pub device_type: u8,
    /// RMB: the medium can be taken out.
    pub removable: bool,
    /// T10 VENDOR IDENTIFICATION, without padding.
    pub vendor: String,
    /// PRODUCT IDENTIFICATION, without padding.
    pub product: String,
    /// PRODUCT REVISION LEVEL, without padding.
    pub revision: String,
}

impl Inquiry {
    /// PERIPHERAL DEVICE TYPE of a tape drive.
    pub const TAPE: u8 = 0x01;
    /// PERIPHERAL DEVICE TYPE of a media changer.
    pub const CHANGER: u8 = 0x08;

    /// Reads standard INQUIRY data; `None` below the 36 bytes every device must return.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            device_type: u8_at(bytes, 0)? & 0x1f,
            removable: u8_at(bytes, 1)? & 0x80 != 0,
            vendor: text(bytes.get(8..16)?),
            product: text(bytes.get(16..32)?),
            revision: text(bytes.get(32..36)?),
        })
    }
}

/// The body of VPD page `page`; `None` where the answer is some other page (some devices answer
/// an unknown page with stale data) or too short for a header.
pub fn vpd_body(bytes: &[u8], page: u8) -> Option<&[u8]> {
    if u8_at(bytes, 1)? != page {
        return None;
    }
    let announced = usize::try_from(be(bytes, 2, 2)?).ok()?;
    Some(clamp(bytes, 4, announced))
}

/// The VPD pages a device has (VPD page 00h), ascending as it lists them; empty where the answer
/// is another page.
pub fn supported_pages(bytes: &[u8]) -> &[u8] {
    vpd_body(bytes, 0x00).unwrap_or(&[])
}

/// Unit serial number (VPD page 80h), without padding; `None` where it is empty.
pub fn serial(bytes: &[u8]) -> Option<String> {
    Some(text(vpd_body(bytes, 0x80)?)).filter(|serial| !serial.is_empty())
}

/// One designation descriptor of VPD page 83h, or one device identifier of a drive element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Designator {
    /// CODE SET: 1 binary, 2 ASCII, 3 UTF-8.
    pub code_set: u8,
    /// ASSOCIATION: 0 logical unit, 1 target port, 2 target device.
    pub association: u8,
    /// DESIGNATOR TYPE: 0 vendor specific, 1 T10 vendor ID, 3 NAA, 8 SCSI name.
    pub kind: u8,
    /// The designator itself.
    pub value: Vec<u8>,
}

impl Designator {
    /// Reads one descriptor at the front of `bytes` and says how long it is; a descriptor cut
    /// short by the device gives the bytes that are there.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = usize::from(u8_at(bytes, 3)?);
        let designator = Self {
            code_set: u8_at(bytes, 0)? & 0x0f,
            association: (u8_at(bytes, 1)? >> 4) & 0x03,
            kind: u8_at(bytes, 1)? & 0x0f,
            value: clamp(bytes, 4, length).to_vec(),
        };
        Some((designator, 4 + length))
    }

    /// Its text, where it is text.
    pub fn text(&self) -> Option<String> {
        matches!(self.code_set, 2 | 3).then(|| text(&self.value))
    }

    /// The unit serial number inside a T10 vendor ID designator: vendor (8), product (16), then
    /// serial, as tape makers and changers fill it. A shorter or vendor-specific ASCII value is
    /// taken whole.
    pub fn serial(&self) -> Option<String> {
        let whole = self.text()?;
        let serial = match (self.kind, self.value.get(24..)) {
            (1, Some(tail)) => text(tail),
            _ => whole,
        };
        Some(serial).filter(|serial| !serial.is_empty())
    }
}

/// All designators of VPD page 83h.
pub fn designators(bytes: &[u8]) -> Vec<Designator> {
    let mut rest = vpd_body(bytes, 0x83).unwrap_or(&[]);
    let mut found = Vec::new();
    while let Some((designator, length)) = Designator::parse(rest) {
        found.push(designator);
        rest = rest.get(length..).unwrap_or(&[]);
    }
    found
}
