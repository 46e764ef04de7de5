//! Medium auxiliary memory: attributes a cartridge carries in its chip (SPC-5 clause "MAM
//! attributes").

use crate::wire::{be, clamp, text, u8_at, u16_at};

/// Attribute identifiers (SPC-5 tables "Device type attributes", "Medium type attributes" and
/// "Host type attributes").
pub mod id {
    /// Remaining capacity in the partition, MiB, 8 bytes.
    pub const REMAINING_CAPACITY: u16 = 0x0000;
    /// Maximum capacity of the partition, MiB, 8 bytes.
    pub const MAXIMUM_CAPACITY: u16 = 0x0001;
    /// How often the cartridge was loaded, 8 bytes.
    pub const LOAD_COUNT: u16 = 0x0003;
    /// Bytes left for host attributes, 8 bytes.
    pub const MAM_SPACE_REMAINING: u16 = 0x0004;
    /// Density code as formatted, 1 byte.
    pub const FORMATTED_DENSITY: u16 = 0x0006;
    /// How often the cartridge was initialised, 2 bytes.
    pub const INITIALIZATION_COUNT: u16 = 0x0007;
    /// Volume change reference: changes when the medium's content changes, 4 bytes.
    pub const VOLUME_CHANGE_REFERENCE: u16 = 0x0009;
    /// Vendor (8) and serial (32) of the drive of the last load.
    pub const DRIVE_AT_LAST_LOAD: u16 = 0x020a;
    /// MiB written in the medium's life, 8 bytes.
    pub const MIB_WRITTEN_LIFETIME: u16 = 0x0220;
    /// MiB read in the medium's life, 8 bytes.
    pub const MIB_READ_LIFETIME: u16 = 0x0221;
    /// Maker of the medium, 8 characters.
    pub const MEDIUM_MANUFACTURER: u16 = 0x0400;
    /// Serial number of the medium, 32 characters.
    pub const MEDIUM_SERIAL: u16 = 0x0401;
    /// Length of the tape, metres, 4 bytes.
    pub const MEDIUM_LENGTH: u16 = 0x0402;
    /// Width of the tape, tenths of a millimetre, 4 bytes.
    pub const MEDIUM_WIDTH: u16 = 0x0403;
    /// Density code of the medium, 1 byte.
    pub const MEDIUM_DENSITY: u16 = 0x0405;
    /// Date of manufacture, `YYYYMMDD`.
    pub const MANUFACTURE_DATE: u16 = 0x0406;
    /// Capacity of the memory, bytes, 8 bytes.
    pub const MAM_CAPACITY: u16 = 0x0407;
    /// Type of the medium: 0 data, 1 cleaning, 80h WORM.
    pub const MEDIUM_TYPE: u16 = 0x0408;
    /// Vendor of the application, 8 characters.
    pub const APPLICATION_VENDOR: u16 = 0x0800;
    /// Name of the application, 32 characters.
    pub const APPLICATION_NAME: u16 = 0x0801;
    /// Version of the application, 8 characters.
    pub const APPLICATION_VERSION: u16 = 0x0802;
    /// User's text label, 160 bytes.
    pub const USER_LABEL: u16 = 0x0803;
    /// Date and time last written, `YYYYMMDDHHMM`.
    pub const LAST_WRITTEN: u16 = 0x0804;
    /// Localisation of the text attributes: 00h ASCII, 81h UTF-8.
    pub const TEXT_LOCALIZATION: u16 = 0x0805;
    /// Barcode, 32 characters.
    pub const BARCODE: u16 = 0x0806;
    /// Name of the owning host, 80 bytes.
    pub const OWNING_HOST: u16 = 0x0807;
    /// Media pool, 160 bytes.
    pub const MEDIA_POOL: u16 = 0x0808;
    /// Version of the format the application uses, 16 characters.
    pub const FORMAT_VERSION: u16 = 0x080b;
    /// Volume coherency information, variable.
    pub const VOLUME_COHERENCY: u16 = 0x080c;
    /// Medium globally unique identifier, 36 characters.
    pub const MEDIUM_UUID: u16 = 0x0820;

    /// The bounds of the attributes a host may write.
    pub const HOST_RANGE: std::ops::RangeInclusive<u16> = 0x0800..=0x0bff;
}

/// FORMAT field (SPC-5 table "FORMAT field").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// Bytes or a number.
    Binary = 0,
    /// ASCII.
    Ascii = 1,
    /// Text in the localisation of attribute 0805h.
    Text = 2,
}

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its identifier; see [`id`].
    pub id: u16,
    /// Hosts may not write it.
    pub read_only: bool,
    /// How its value is to be read.
    pub format: Format,
    /// Its value.
    pub value: Vec<u8>,
}

impl Attribute {
    /// A host attribute of text, cut or padded with blanks to `width` bytes.
    pub fn text(id: u16, width: usize, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.resize(width, b' ');
        Self {
            id,
            read_only: false,
            format: Format::Ascii,
            value: bytes,
        }
    }

    /// A host attribute of bytes.
    pub fn binary(id: u16, value: Vec<u8>) -> Self {
        Self {
            id,
            read_only: false,
            format: Format::Binary,
            value,
        }
    }

    /// The value as a big-endian number, where it is 1 to 8 bytes long.
    pub fn number(&self) -> Option<u64> {
        (1..=8)
            .contains(&self.value.len())
            .then(|| be(&self.value, 0, self.value.len()))?
    }

    /// The value as text without padding.
    pub fn as_text(&self) -> String {
        text(&self.value)
    }

    /// Its wire form (SPC-5 table "MAM ATTRIBUTE format"). A value longer than 65,535 bytes is
    /// cut there.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let value = self
            .value
            .get(..usize::from(u16::MAX))
            .unwrap_or(&self.value);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.push(u8::from(self.read_only) << 7 | self.format as u8);
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.extend_from_slice(value);
    }
}

/// A list of attributes behind its four-byte length: what READ ATTRIBUTE returns and WRITE
/// ATTRIBUTE takes.
pub fn encode(attributes: &[Attribute]) -> Vec<u8> {
    let mut out = vec![0; 4];
    attributes
        .iter()
        .for_each(|attribute| attribute.write_to(&mut out));
    let length = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// Reads such a list; an attribute cut short ends it.
pub fn parse(bytes: &[u8]) -> Vec<Attribute> {
    let announced = be(bytes, 0, 4).unwrap_or(0) as usize;
    let mut rest = clamp(bytes, 4, announced);
    let mut found = Vec::new();
    while let (Some(id), Some(flags), Some(length)) =
        (u16_at(rest, 0), u8_at(rest, 2), u16_at(rest, 3))
    {
        let end = 5 + usize::from(length);
        let Some(value) = rest.get(5..end) else { break };
        let format = match flags & 0x03 {
            1 => Format::Ascii,
            2 => Format::Text,
            _ => Format::Binary,
        };
        found.push(Attribute {
            id,
            read_only: flags & 0x80 != 0,
            format,
            value: value.to_vec(),
        });
        rest = rest.get(end..).unwrap_or(&[]);
    }
    found
}
