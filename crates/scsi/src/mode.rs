//! Mode parameters (SPC-5 clause "Mode parameters", SSC-5 clause "Mode parameters"): header,
//! block descriptor, pages 0Fh and 10h/01h.

use crate::wire::{be, clamp, u8_at, u16_at};

/// What MODE SENSE(10) returned: header, the one block descriptor tapes have, one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeData {
    /// MEDIUM TYPE.
    pub medium_type: u8,
    /// WP: the medium is write protected.
    pub write_protected: bool,
    /// BUFFERED MODE: 0 unbuffered, 1 buffered.
    pub buffered: u8,
    /// DENSITY CODE of the block descriptor, where there is one.
    pub density: Option<u8>,
    /// BLOCK LENGTH of the block descriptor: 0 is variable-block mode.
    pub block_length: Option<u32>,
    /// The page, page header included; empty where the device sent none.
    pub page: Vec<u8>,
}

impl ModeData {
    /// Reads mode parameters of MODE SENSE(10).
    pub fn parse_10(bytes: &[u8]) -> Option<Self> {
        let announced = usize::from(u16_at(bytes, 0)?);
        let within = clamp(bytes, 0, announced + 2);
        let descriptors = usize::from(u16_at(within, 6)?);
        Self::parse(
            within,
            (u8_at(within, 2)?, u8_at(within, 3)?),
            8,
            descriptors,
        )
    }

    /// Reads mode parameters of MODE SENSE(6).
    pub fn parse_6(bytes: &[u8]) -> Option<Self> {
        let announced = usize::from(u8_at(bytes, 0)?);
        let within = clamp(bytes, 0, announced + 1);
        let descriptors = usize::from(u8_at(within, 3)?);
        Self::parse(
            within,
            (u8_at(within, 1)?, u8_at(within, 2)?),
            4,
            descriptors,
        )
    }

    fn parse(
        bytes: &[u8],
        (medium, specific): (u8, u8),
        header: usize,
        descriptors: usize,
    ) -> Option<Self> {
        let descriptor = bytes.get(header..).filter(|_| descriptors >= 8);
        Some(Self {
            medium_type: medium,
            write_protected: specific & 0x80 != 0,
            buffered: (specific >> 4) & 0x07,
            density: descriptor.and_then(|d| u8_at(d, 0)),
            block_length: descriptor
                .and_then(|d| be(d, 5, 3))
                .map(|length| length as u32),
            page: bytes.get(header + descriptors..).unwrap_or(&[]).to_vec(),
        })
    }

    /// The parameter list for MODE SELECT(10) that sends the header, the block descriptor and
    /// `page` back: lengths and the page's PS bit cleared, as SPC-5 asks.
    pub fn select_10(&self) -> Vec<u8> {
        let mut out = vec![
            0,
            0,
            self.medium_type,
            (self.buffered & 0x07) << 4,
            0,
            0,
            0,
            0,
        ];
        if let Some(block_length) = self.block_length {
            let [_, a, b, c] = block_length.to_be_bytes();
            out[7] = 8;
            out.extend_from_slice(&[self.density.unwrap_or(0), 0, 0, 0, 0, a, b, c]);
        }
        let at = out.len();
        out.extend_from_slice(&self.page);
        if let Some(first) = out.get_mut(at) {
            *first &= 0x7f;
        }
        out
    }
}

/// Data compression page (SSC-5 mode page 0Fh): clears DCE, so that the drive stores what it is
/// given. `None` where `page` is not that page.
pub fn compression_off(page: &[u8]) -> Option<Vec<u8>> {
    let mut page = page.to_vec();
    if u8_at(&page, 0)? & 0x3f != 0x0f {
        return None;
    }
    *page.get_mut(2)? &= 0x7f;
    Some(page)
}

/// DCE of the data compression page.
pub fn compression_enabled(page: &[u8]) -> Option<bool> {
    (u8_at(page, 0)? & 0x3f == 0x0f).then_some(u8_at(page, 2)? & 0x80 != 0)
}

/// Device configuration extension (SSC-5 mode page 10h subpage 01h): the size of the zone before
/// early warning in which programmable early warning is reported (PEWS), in megabytes of 10^6.
pub fn programmable_early_warning(page: &[u8]) -> Option<u16> {
    is_extension(page)?;
    u16_at(page, 6)
}

/// The page with another PEWS.
pub fn with_programmable_early_warning(page: &[u8], megabytes: u16) -> Option<Vec<u8>> {
    is_extension(page)?;
    let mut page = page.to_vec();
    page.get_mut(6..8)?
        .copy_from_slice(&megabytes.to_be_bytes());
    Some(page)
}

fn is_extension(page: &[u8]) -> Option<()> {
    (u8_at(page, 0)? & 0x7f == 0x50 && u8_at(page, 1)? == 0x01).then_some(())
}
