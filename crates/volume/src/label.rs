//! File 0 and file 1 of a volume: who it is, and how to read it without Tapemark.

use jiff::Timestamp;
use model::{Barcode, Bytes, LibraryId, PoolName, RecordNo, VolumePosition, VolumeUuid};
use serde::{Deserialize, Serialize};

use crate::device::{ReadOutcome, RecordDevice};
use crate::error::VolumeError;
use crate::walk::{go, read_small, record_buffer};
use crate::{FORMAT_VERSION, RECORD_BYTES, tar};

/// The length of the VOL1 record (ISO 1001, ANSI X3.27).
pub(crate) const VOL1_BYTES: usize = 80;

/// What byte positions 25 to 37 of VOL1 say (implementation identifier).
const IMPLEMENTATION: &[u8; 13] = b"TAPEMARK     ";

/// The most bytes of the label tar that a reader takes.
const MAX_LABEL_BYTES: Bytes = Bytes::mib(4);

const LABEL_FORMAT: &str = "tapemark/label";
const LABEL_NAME: &str = "LABEL.json";
const README: &str = include_str!("label/README.txt");
const EXTRAS: [(&str, &str); 5] = [
    ("restore.sh", include_str!("label/restore.sh")),
    (
        "schema/LABEL.schema.json",
        include_str!("label/LABEL.schema.json"),
    ),
    (
        "schema/MANIFEST.schema.json",
        include_str!("label/MANIFEST.schema.json"),
    ),
    (
        "schema/SEALED.schema.json",
        include_str!("label/SEALED.schema.json"),
    ),
    (
        "schema/INDEX.schema.json",
        include_str!("label/INDEX.schema.json"),
    ),
];

/// What a volume says it is. Written once, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its identity, drawn when it was labelled.
    pub uuid: VolumeUuid,
    /// The barcode of the cartridge.
    pub barcode: Barcode,
    /// The pool it was labelled for.
    pub pool: PoolName,
    /// The library it was labelled in.
    pub library: LibraryId,
    /// When it was labelled.
    pub created: Timestamp,
    /// The age recipients (`age1…`) that members and sealed parts were encrypted to when it was
    /// labelled. Public. Every member's own age header says which recipients open it.
    pub recipients: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct LabelDocument {
    format: String,
    version: u32,
    record_bytes: u32,
    #[serde(flatten)]
    label: Label,
}

/// A label of ours, and where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLabel {
    /// The label.
    pub label: Label,
    /// The first object behind it: where the first placement begins.
    pub next: RecordNo,
    /// The bytes in its records.
    pub bytes: Bytes,
}

impl FoundLabel {
    /// The position of a volume that holds its label and nothing else.
    pub const fn position(&self) -> VolumePosition {
        VolumePosition {
            next: self.next,
            last_manifest: None,
            manifests: 0,
        }
    }
}

/// What stands at the beginning of a tape.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelState {
    /// Nothing: the first read met end of data at the beginning of the medium.
    Blank,
    /// A label of ours.
    Ours(FoundLabel),
    /// A label of ours that a crash cut off: a VOL1 of ours, and end of data before the label's
    /// filemark. Nothing else can be on such a tape, because data are written only behind a
    /// synchronised label; [`write_label`] may finish it for the same cartridge.
    Torn {
        /// The volume identifier in VOL1.
        volume_id: String,
    },
    /// Other software's data.
    Foreign {
        /// What stands there.
        found: String,
    },
    /// A VOL1 of ours whose label cannot be understood.
    Damaged {
        /// What is wrong.
        found: String,
    },
}

/// Writes the label on a blank tape, or finishes a torn one of the same cartridge, and
/// synchronises it. The device must stand at a tape that nobody else writes.
///
/// # Errors
/// [`VolumeError::Foreign`], [`VolumeError::WrongVolume`] or [`VolumeError::Format`] where
/// something else is on the tape, [`VolumeError::Position`] where the drive counts other than
/// we do, and device errors.
pub fn write_label<D: RecordDevice>(
    dev: &mut D,
    label: &Label,
) -> Result<VolumePosition, VolumeError> {
    match read_label(dev)? {
        LabelState::Blank => {}
        LabelState::Torn { volume_id } if volume_id == id_of(&label.barcode) => {}
        LabelState::Torn { volume_id } => {
            return Err(VolumeError::WrongVolume {
                expected: label.barcode.clone(),
                found: volume_id,
            });
        }
        LabelState::Ours(found) => {
            return Err(VolumeError::WrongVolume {
                expected: label.barcode.clone(),
                found: format!(
                    "{} that is labelled already ({})",
                    found.label.barcode, found.label.uuid
                ),
            });
        }
        LabelState::Foreign { found } | LabelState::Damaged { found } => {
            return Err(VolumeError::Foreign {
                expected: label.barcode.clone(),
                found,
            });
        }
    }
    dev.rewind()?;
    go(dev, RecordNo(0))?;
    dev.write_record(&vol1(&label.barcode))?;
    dev.write_filemark(false)?;
    let mut next = 2;
    for record in label_tar(label)?.chunks(RECORD_BYTES) {
        dev.write_record(record)?;
        next += 1;
    }
    dev.write_filemark(true)?;
    next += 1;
    let found = dev.position()?;
    if found != RecordNo(next) {
        return Err(VolumeError::Position {
            what: "position behind the label",
            expected: next.to_string(),
            found: found.to_string(),
        });
    }
    Ok(VolumePosition {
        next: found,
        last_manifest: None,
        manifests: 0,
    })
}

/// Rewinds and reads what stands at the beginning of the tape. The device then stands behind
/// what was read.
///
/// A tape is blank only where the first read meets end of data: a record of another length, a
/// filemark and a read error are never taken for a blank tape.
///
/// # Errors
/// Device errors, a medium error among them.
pub fn read_label<D: RecordDevice>(dev: &mut D) -> Result<LabelState, VolumeError> {
    dev.rewind()?;
    let mut buf = record_buffer();
    let foreign = |found: String| Ok(LabelState::Foreign { found });
    let len = match dev.read_record(&mut buf)? {
        ReadOutcome::EndOfData => {
            // End of data anywhere else would mean that the rewind did not happen.
            go(dev, RecordNo(0))?;
            return Ok(LabelState::Blank);
        }
        ReadOutcome::Filemark => return foreign("a filemark at the beginning".into()),
        ReadOutcome::TooLong(len) => return foreign(format!("a record of {len} bytes")),
        ReadOutcome::Record(len) => len,
    };
    if len != VOL1_BYTES || &buf[..4] != b"VOL1" || &buf[24..37] != IMPLEMENTATION {
        let start: String = buf[..len.min(40)]
            .iter()
            .map(|b| {
                if b.is_ascii_graphic() {
                    *b as char
                } else {
                    '.'
                }
            })
            .collect();
        return foreign(format!("a record of {len} bytes that begins {start:?}"));
    }
    let volume_id = String::from_utf8_lossy(&buf[4..10]).trim_end().to_owned();
    let damaged = |found: String| Ok(LabelState::Damaged { found });
    match dev.read_record(&mut buf)? {
        ReadOutcome::EndOfData => return Ok(LabelState::Torn { volume_id }),
        ReadOutcome::Filemark => {}
        other => return damaged(format!("{other:?} behind VOL1, not a filemark")),
    }
    let tar = match read_small(dev, &mut buf, MAX_LABEL_BYTES) {
        Ok(tar) => tar,
        Err(VolumeError::Device(error)) => return Err(error.into()),
        Err(error) => return damaged(error.to_string()),
    };
    if !tar.closed {
        return Ok(LabelState::Torn { volume_id });
    }
    let Some(json) = tar.member(LABEL_NAME) else {
        return damaged("no LABEL.json in the label".into());
    };
    let document: LabelDocument = match serde_json::from_slice(json) {
        Ok(document) => document,
        Err(error) => return damaged(format!("LABEL.json: {error}")),
    };
    if document.format != LABEL_FORMAT || document.version != FORMAT_VERSION {
        return damaged(format!(
            "LABEL.json of format {} version {}, not {LABEL_FORMAT} version {FORMAT_VERSION}",
            document.format, document.version
        ));
    }
    if document.record_bytes as usize != RECORD_BYTES || id_of(&document.label.barcode) != volume_id
    {
        return damaged("LABEL.json and VOL1 disagree".into());
    }
    Ok(LabelState::Ours(FoundLabel {
        label: document.label,
        next: RecordNo(3 + tar.records),
        bytes: Bytes((VOL1_BYTES + tar.bytes.len()) as u64),
    }))
}

/// The volume identifier in VOL1: the first six characters of the barcode.
fn id_of(barcode: &Barcode) -> &str {
    let text = barcode.as_str();
    &text[..text.len().min(6)]
}

/// The VOL1 record: ISO 1001:1986 clause 8.1 (ANSI X3.27 level 4); unused fields are spaces.
fn vol1(barcode: &Barcode) -> [u8; VOL1_BYTES] {
    let mut record = [b' '; VOL1_BYTES];
    record[..4].copy_from_slice(b"VOL1");
    let id = id_of(barcode).as_bytes();
    record[4..4 + id.len()].copy_from_slice(id);
    record[24..37].copy_from_slice(IMPLEMENTATION);
    record[79] = b'4';
    record
}

fn label_tar(label: &Label) -> Result<Vec<u8>, VolumeError> {
    let document = LabelDocument {
        format: LABEL_FORMAT.to_owned(),
        version: FORMAT_VERSION,
        record_bytes: RECORD_BYTES as u32,
        label: label.clone(),
    };
    let mut json = serde_json::to_vec_pretty(&document)
        .map_err(|error| VolumeError::Damaged(format!("LABEL.json: {error}")))?;
    json.push(b'\n');
    let readme = README
        .replace("{barcode}", label.barcode.as_str())
        .replace("{uuid}", &label.uuid.to_string())
        .replace("{recipients}", &label.recipients.join("\n  "));
    let mut out = Vec::new();
    let mut add = |name: &str, content: &[u8]| {
        out.extend_from_slice(&tar::header(name, content.len() as u64, label.created));
        out.extend_from_slice(content);
        out.resize(out.len() + tar::padding(content.len() as u64), 0);
    };
    add("README.txt", readme.as_bytes());
    add(LABEL_NAME, &json);
    for (name, content) in EXTRAS {
        add(name, content.as_bytes());
    }
    out.resize(out.len() + tar::END, 0);
    Ok(out)
}
