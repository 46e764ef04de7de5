//! Tapemark's on-tape format, version 1: label, segments, manifests, index. Written, read and
//! scanned through a [`RecordDevice`], which is a tape drive reduced to records and filemarks.
//!
//! `docs/tape-format.md` specifies the format byte by byte.
//!
//! This crate **never** talks SCSI, never encrypts or decrypts (sealed parts come and go as
//! bytes, opened through [`Unseal`]), never holds a segment in memory, never writes anywhere but
//! at a proven end of data, and never takes a tape that it could not read for a blank one.
//!
//! ```
//! use model::{Fence, VolumeUuid};
//! use volume::{Expected, Label, MemoryTape, VolumeWriter, WriterOptions, write_label};
//!
//! let mut tape = MemoryTape::new();
//! let label = Label {
//!     uuid: VolumeUuid::from_parts(1_763_000_000_000, &[7; 10]),
//!     barcode: "TM0001L9".parse()?,
//!     pool: "default".parse()?,
//!     library: "lib0".parse()?,
//!     created: "2026-11-22T16:00:00Z".parse()?,
//!     recipients: vec!["age1example".into()],
//! };
//! let position = write_label(&mut tape, &label)?;
//! let expected = Expected { barcode: label.barcode, uuid: label.uuid, fence: Fence(1), position };
//! let (writer, tail) = VolumeWriter::append(tape, &expected, WriterOptions::default())?;
//! assert!(tail.found.is_empty());
//! assert_eq!(writer.position().manifests, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod copy;
mod device;
mod error;
mod guard;
mod index;
mod label;
mod manifest;
mod memory;
mod reader;
mod scan;
mod sealed;
pub mod tar;
mod walk;
mod writer;

pub use copy::copy_placement;
pub use device::{DeviceError, DeviceErrorKind, ReadOutcome, RecordDevice, Spaced, WriteOutcome};
pub use error::VolumeError;
pub use guard::{Expected, Tail, prove_label};
pub use index::{INDEX_NAME, Index, IndexEntry};
pub use label::{FoundLabel, Label, LabelState, read_label, write_label};
pub use manifest::{
    Crc32cTable, Link, MANIFEST_NAME, Manifest, Member, MemberKind, PlacementHead, SEALED_NAME,
    SealedRef, Segment,
};
pub use memory::{Fault, MemoryTape, Object};
pub use reader::{Damage, PlacementReader, read_manifest};
pub use scan::{
    GroupStatus, Problem, ScanOptions, ScanReport, ScannedPlacement, Span, Unseal,
    restorable_groups, scan,
};
pub use sealed::{Sealed, SealedArtifact};
pub use writer::{MAX_PLACEMENT_BYTES, MemberInfo, PlacementWriter, VolumeWriter, WriterOptions};

use model::Bytes;

/// The version of the format that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// The length of every record of a tar, in bytes: 512 KiB (`tar -b 1024`), the last one of a
/// segment may be shorter. Host adapters commonly stop at 1 MiB; this leaves room.
pub const RECORD_BYTES: usize = 512 * 1024;

/// The longest name of a member, in bytes: what a ustar header holds with a NUL behind it.
pub const MAX_MEMBER_NAME_BYTES: usize = 99;

/// The most stored bytes of a member: 64 MiB of content, and 1 MiB for what compression and
/// encryption may add. A reader holds one member in memory.
pub const MAX_MEMBER_BYTES: Bytes = Bytes::mib(65);

/// The most bytes of a manifest segment that a reader takes: a placement of
/// [`MAX_PLACEMENT_BYTES`] has about 50 MB.
pub const MAX_MANIFEST_BYTES: Bytes = Bytes::mib(128);
