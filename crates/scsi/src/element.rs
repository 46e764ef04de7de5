//! READ ELEMENT STATUS data (SMC-3 tables "Element status data", "Element status page" and the
//! element descriptors) and the element address assignment mode page 1Dh.

use crate::inquiry::Designator;
use crate::sense::Code;
use crate::wire::{be, clamp, text, u8_at, u16_at};
use std::fmt;

/// Address of an element of a changer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementAddress(pub u16);

impl fmt::Display for ElementAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "element {}", self.0)
    }
}

/// A barcode as the changer read it: at most 32 characters of printable ASCII, not empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeTag(String);

impl VolumeTag {
    /// From text; `None` where it is empty, longer than 32 or not printable ASCII.
    pub fn new(tag: &str) -> Option<Self> {
        let fits =
            !tag.is_empty() && tag.len() <= 32 && tag.bytes().all(|b| matches!(b, 0x21..=0x7e));
        fits.then(|| Self(tag.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Element type code (SMC-3 table "Element type code").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ElementKind {
    /// The picker (medium transport element).
    Transport = 1,
    /// A slot (storage element).
    Slot = 2,
    /// A mail slot (import/export element).
    MailSlot = 3,
    /// A drive (data transfer element).
    Drive = 4,
}

impl ElementKind {
    /// All four, in code order.
    pub const ALL: [Self; 4] = [Self::Transport, Self::Slot, Self::MailSlot, Self::Drive];

    /// From the type code.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| *kind as u8 == byte & 0x0f)
    }
}

/// One element's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its address.
    pub address: ElementAddress,
    /// What it is.
    pub kind: ElementKind,
    /// FULL: a medium is there.
    pub full: bool,
    /// ACCESS: the picker can reach the medium or place. A loaded drive that has not ejected is
    /// not accessible.
    pub accessible: bool,
    /// EXCEPT with its code: the element is in an abnormal state.
    pub exception: Option<Code>,
    /// IMPEXP: an operator put the medium there (mail slots only).
    pub imported: bool,
    /// The barcode, where the changer read one.
    pub tag: Option<VolumeTag>,
    /// The slot the medium came from, where the changer knows.
    pub source: Option<ElementAddress>,
    /// Serial number of the drive behind the element, from its device identifier.
    pub drive_serial: Option<String>,
}

/// Reads element status data of any number of pages.
///
/// Tolerant by design: changers announce more or less than they send, cut the last descriptor,
/// and append bytes of their own. What can be read is returned; a descriptor too short for its
/// address and flags is dropped.
pub fn parse_status(bytes: &[u8]) -> Vec<Element> {
    let announced = be(bytes, 5, 3).unwrap_or(0) as usize;
    // Some changers announce 8 bytes fewer than they send: trust the longer of both for the
    // pages' own counts, which are checked one by one below.
    let mut rest = bytes.get(8..).unwrap_or(&[]);
    let mut left = announced.saturating_add(8);
    let mut found = Vec::new();
    while left >= 8 && rest.len() >= 8 {
        let Some(kind) = u8_at(rest, 0).and_then(ElementKind::from_byte) else {
            break;
        };
        let tags = u8_at(rest, 1).unwrap_or(0);
        let descriptor = usize::from(u16_at(rest, 2).unwrap_or(0));
        let count = be(rest, 5, 3).unwrap_or(0) as usize;
        if descriptor < 3 || count == 0 {
            break;
        }
        let layout = Layout {
            primary_tag: tags & 0x80 != 0,
            alternate_tag: tags & 0x40 != 0,
        };
        let body = clamp(rest, 8, count);
        found.extend(
            body.chunks(descriptor)
                .filter_map(|d| parse_element(d, kind, layout)),
        );
        rest = rest.get(8 + count.min(rest.len() - 8)..).unwrap_or(&[]);
        left = left.saturating_sub(8 + count);
    }
    found
}

#[derive(Clone, Copy)]
struct Layout {
    primary_tag: bool,
    alternate_tag: bool,
}

/// Bytes of one volume tag: 32 of text, 2 reserved, 2 sequence (SMC-3 table "Volume tag").
const TAG: usize = 36;

fn parse_element(bytes: &[u8], kind: ElementKind, layout: Layout) -> Option<Element> {
    let address = ElementAddress(u16_at(bytes, 0)?);
    let flags = u8_at(bytes, 2)?;
    let exception = (flags & 0x04 != 0)
        .then(|| Code::new(u8_at(bytes, 4).unwrap_or(0), u8_at(bytes, 5).unwrap_or(0)));
    let source_valid = u8_at(bytes, 9).unwrap_or(0) & 0x80 != 0;
    let tag = bytes
        .get(12..12 + 32)
        .filter(|_| layout.primary_tag)
        .and_then(|field| VolumeTag::new(&text(field)));
    let identifier =
        12 + TAG * (usize::from(layout.primary_tag) + usize::from(layout.alternate_tag));
    let drive_serial = bytes
        .get(identifier..)
        .filter(|_| kind == ElementKind::Drive)
        .and_then(Designator::parse)
        .filter(|(designator, length)| {
            bytes.len() >= identifier + length && !designator.value.is_empty()
        })
        .and_then(|(designator, _)| designator.serial());
    Some(Element {
        address,
        kind,
        full: flags & 0x01 != 0,
        // ACCESS means nothing for the picker itself.
        accessible: kind == ElementKind::Transport || flags & 0x08 != 0,
        exception,
        imported: kind == ElementKind::MailSlot && flags & 0x02 != 0,
        tag,
        source: u16_at(bytes, 10)
            .filter(|_| source_valid)
            .map(ElementAddress),
        drive_serial,
    })
}

/// First address and number of elements of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// First address.
    pub first: u16,
    /// How many.
    pub count: u16,
}

/// Element address assignment (SMC-3 mode page 1Dh): how many elements of each kind, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Assignment {
    /// Pickers.
    pub transports: Range,
    /// Slots.
    pub slots: Range,
    /// Mail slots.
    pub mail_slots: Range,
    /// Drives.
    pub drives: Range,
}

impl Assignment {
    /// Reads the mode page, page header included.
    pub fn parse(page: &[u8]) -> Option<Self> {
        if u8_at(page, 0)? & 0x3f != 0x1d {
            return None;
        }
        let range = |at| {
            Some(Range {
                first: u16_at(page, at)?,
                count: u16_at(page, at + 2)?,
            })
        };
        Some(Self {
            transports: range(2)?,
            slots: range(6)?,
            mail_slots: range(10)?,
            drives: range(14)?,
        })
    }

    /// The range of one kind.
    pub fn of(&self, kind: ElementKind) -> Range {
        match kind {
            ElementKind::Transport => self.transports,
            ElementKind::Slot => self.slots,
            ElementKind::MailSlot => self.mail_slots,
            ElementKind::Drive => self.drives,
        }
    }
}
