//! A tape library in the process: changer, drives, cartridges as files, mechanics, faults.
//!
//! It answers the command blocks a real LTO-9 library answers, with the same bytes, through the
//! same [`scsi::Transport`]. What it does not know it refuses as hardware does: 5/20/00 for a
//! command, 5/24/00 for a field.
//!
//! It **never** is used by production code but as a `Transport`, never looks at what is written,
//! and never depends on time, chance or threads for what it answers: the same commands give the
//! same bytes. It has one initiator: all handles share the unit attentions.
//!
//! ```
//! use scsi::{Changer, Drive, FilemarkMode};
//! use simlib::{Config, SimLibrary};
//!
//! let dir = tempfile::tempdir()?;
//! let library = SimLibrary::create(dir.path(), Config::default(), 3)?;
//! let mut changer = Changer::new(library.changer());
//! let slot = changer.inventory()?.slots[0].address;
//! changer.move_medium(slot, library.bay(0))?;
//! let mut drive = Drive::new(library.drive(0).unwrap());
//! drive.requalify()?;
//! drive.write_record(b"a record")?;
//! drive.write_filemarks(1, FilemarkMode::Synchronous)?;
//! assert_eq!(drive.position()?.record.0, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Faithful, and where not
//! - Writes and immediate filemarks go to the drive's buffer, and to the cartridge file when the
//!   buffer is full or something flushes it: a synchronous filemark, moving, reading, unloading,
//!   early warning. A kill, power loss or reset loses the buffer.
//! - Writing in the middle of a tape makes everything behind it unreachable.
//! - Capacity counts record bytes only; filemarks are free and are still taken when no record
//!   fits. Real drives spend part of a data set on them.
//! - Variable-block mode only; no partitions, no erase, no encryption, no block protection yet.

mod cartridge;
mod changer;
mod config;
mod drive;
mod error;
mod fault;
mod files;
mod identity;
mod library;
mod reply;
pub mod timing;

pub use cartridge::{DumpedFile, dump_files};
pub use config::Config;
pub use error::SimError;
pub use fault::{Effect, Fault, FaultScript};
pub use library::{ChangerHandle, Damage, DriveHandle, SimLibrary, Standing};
pub use timing::{LtoModel, Timing, VirtualClock};

/// Density code of LTO-9.
pub const DENSITY_LTO9: u8 = 0x60;
