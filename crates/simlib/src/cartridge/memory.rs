//! The cartridge's own memory (MAM): counters the drive keeps and attributes a host writes.

use crate::error::SimError;
use scsi::mam::{Attribute, Format, id};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Kept beside the cartridge file as JSON, replaced atomically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) medium_serial: String,
    pub(crate) load_count: u64,
    pub(crate) initializations: u16,
    /// Changes when the content changes after somebody has seen the number.
    pub(crate) change_reference: u32,
    /// The number was read, or the cartridge loaded, since it last changed.
    pub(crate) reference_seen: bool,
    pub(crate) bytes_written: u64,
    pub(crate) bytes_read: u64,
    pub(crate) last_drive: String,
    pub(crate) write_protected: bool,
    /// The end of data was lost (a drive died while writing it): behind the last record the
    /// drive finds nothing it recognises.
    #[serde(default)]
    pub(crate) torn_end: bool,
    /// Host attributes: format and value.
    pub(crate) host: BTreeMap<u16, (u8, Vec<u8>)>,
}

/// Bytes of host attributes a cartridge can hold (LTO-9 MAM is 32 KiB; about half of it is the
/// drive's own).
const HOST_SPACE: usize = 16 * 1024;

/// Longest value of each host attribute, from SPC-5 table "Host type attributes".
fn host_limit(attribute: u16) -> Option<usize> {
    Some(match attribute {
        id::APPLICATION_VENDOR | id::APPLICATION_VERSION => 8,
        id::APPLICATION_NAME | id::BARCODE => 32,
        id::USER_LABEL | id::MEDIA_POOL => 160,
        id::LAST_WRITTEN => 12,
        id::TEXT_LOCALIZATION => 1,
        id::OWNING_HOST => 80,
        0x0809 | id::FORMAT_VERSION => 16,
        id::VOLUME_COHERENCY => 1024,
        id::MEDIUM_UUID | 0x0821 => 36,
        0x0800..=0x0bff => 256,
        _ => return None,
    })
}

impl Memory {
    pub(crate) fn new(medium_serial: String) -> Self {
        Self {
            medium_serial,
            load_count: 0,
            initializations: 1,
            change_reference: 1,
            reference_seen: true,
            bytes_written: 0,
            bytes_read: 0,
            last_drive: String::new(),
            write_protected: false,
            torn_end: false,
            host: BTreeMap::new(),
        }
    }

    pub(crate) fn load(path: &Path) -> Result<Self, SimError> {
        let text = std::fs::read(path).map_err(SimError::io("read cartridge memory", path))?;
        serde_json::from_slice(&text).map_err(|error| SimError::Format {
            path: path.to_owned(),
            expected: "a cartridge memory file",
            found: error.to_string(),
        })
    }

    pub(crate) fn save(&self, path: &Path) -> Result<(), SimError> {
        let text = serde_json::to_vec(self).expect("numbers, text and maps of them are JSON");
        crate::files::replace(path, &text)
    }

    /// The medium's content changed. True where that made a new reference number, which must
    /// then be saved.
    pub(crate) fn content_changed(&mut self) -> bool {
        let fresh = self.reference_seen;
        if fresh {
            self.change_reference = self.change_reference.wrapping_add(1);
            self.reference_seen = false;
        }
        fresh
    }

    /// All attributes, ascending, of a cartridge with this capacity and fill (bytes).
    pub(crate) fn attributes(&self, capacity: u64, used: u64) -> Vec<Attribute> {
        const MIB: u64 = 1 << 20;
        let binary = |id, value: &[u8]| Attribute {
            id,
            read_only: true,
            format: Format::Binary,
            value: value.to_vec(),
        };
        let number = |id, value: u64| binary(id, &value.to_be_bytes());
        let ascii = |id, width, value: &str| Attribute {
            read_only: true,
            ..Attribute::text(id, width, value)
        };
        let host_used: usize = self.host.values().map(|(_, value)| value.len() + 5).sum();
        let mut all = vec![
            number(id::REMAINING_CAPACITY, capacity.saturating_sub(used) / MIB),
            number(id::MAXIMUM_CAPACITY, capacity / MIB),
            number(id::LOAD_COUNT, self.load_count),
            number(
                id::MAM_SPACE_REMAINING,
                HOST_SPACE.saturating_sub(host_used) as u64,
            ),
            binary(id::FORMATTED_DENSITY, &[crate::DENSITY_LTO9]),
            binary(
                id::INITIALIZATION_COUNT,
                &self.initializations.to_be_bytes(),
            ),
            binary(
                id::VOLUME_CHANGE_REFERENCE,
                &self.change_reference.to_be_bytes(),
            ),
            ascii(id::DRIVE_AT_LAST_LOAD, 40, &self.last_drive),
            number(id::MIB_WRITTEN_LIFETIME, self.bytes_written / MIB),
            number(id::MIB_READ_LIFETIME, self.bytes_read / MIB),
            ascii(id::MEDIUM_MANUFACTURER, 8, "TAPEMARK"),
            ascii(id::MEDIUM_SERIAL, 32, &self.medium_serial),
            binary(id::MEDIUM_LENGTH, &1035u32.to_be_bytes()),
            binary(id::MEDIUM_WIDTH, &127u32.to_be_bytes()),
            binary(id::MEDIUM_DENSITY, &[crate::DENSITY_LTO9]),
            ascii(id::MANUFACTURE_DATE, 8, "20210907"),
            number(id::MAM_CAPACITY, 32 * 1024),
            binary(id::MEDIUM_TYPE, &[0]),
        ];
        all.extend(self.host.iter().map(|(id, (format, value))| Attribute {
            id: *id,
            read_only: false,
            format: match format {
                1 => Format::Ascii,
                2 => Format::Text,
                _ => Format::Binary,
            },
            value: value.clone(),
        }));
        all
    }

    /// Takes a host attribute; an empty value deletes it. `false` where the cartridge has no
    /// such attribute, the value is too long, or the memory full.
    pub(crate) fn set(&mut self, attribute: Attribute) -> bool {
        let Some(limit) = host_limit(attribute.id) else {
            return false;
        };
        let others: usize = self
            .host
            .iter()
            .filter(|(id, _)| **id != attribute.id)
            .map(|(_, (_, value))| value.len() + 5)
            .sum();
        if attribute.value.len() > limit || others + attribute.value.len() + 5 > HOST_SPACE {
            return false;
        }
        if attribute.value.is_empty() {
            self.host.remove(&attribute.id);
        } else {
            self.host
                .insert(attribute.id, (attribute.format as u8, attribute.value));
        }
        true
    }
}
