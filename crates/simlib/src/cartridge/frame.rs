//! One object of the tape in a cartridge file: a 32-byte header, then the record's bytes.

/// Bytes of a frame header.
pub(crate) const HEADER: usize = 32;
const MAGIC: [u8; 4] = *b"TMF1";

/// What the object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Record = 1,
    Filemark = 2,
}

/// A frame header, all numbers big-endian: magic (4), kind (1), zero (3), payload length (4),
/// CRC-32C of the payload (4), object number (8), zero (4), CRC-32C of the 28 bytes before (4).
///
/// The object number tells a frame in its place from one left over by an older, longer tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) len: u32,
    pub(crate) payload_crc: u32,
    pub(crate) object: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut b = [0; HEADER];
        b[0..4].copy_from_slice(&MAGIC);
        b[4] = self.kind as u8;
        b[8..12].copy_from_slice(&self.len.to_be_bytes());
        b[12..16].copy_from_slice(&self.payload_crc.to_be_bytes());
        b[16..24].copy_from_slice(&self.object.to_be_bytes());
        let crc = crc32c::crc32c(&b[..28]);
        b[28..32].copy_from_slice(&crc.to_be_bytes());
        b
    }

    /// `None` where the bytes are no whole, undamaged header.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let b: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
        let word = |at: usize| u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        if b[0..4] != MAGIC || word(28) != crc32c::crc32c(&b[..28]) {
            return None;
        }
        let kind = match b[4] {
            1 => Kind::Record,
            2 => Kind::Filemark,
            _ => return None,
        };
        let object = u64::from(word(16)) << 32 | u64::from(word(20));
        Some(Self {
            kind,
            len: word(8),
            payload_crc: word(12),
            object,
        })
    }
}
