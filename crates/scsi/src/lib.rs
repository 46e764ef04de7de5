//! SCSI for tape: command blocks, sense data, and typed commands for a drive (SSC) and a
//! changer (SMC) over a [`Transport`].
//!
//! This crate **never** knows what a checkpoint is, never repeats a write or a move that may
//! have been done (one answered BUSY was not: [`Patience`]), never forgets a unit attention, and holds no thread, no clock and no `unsafe`.
//!
//! Layers, lowest first:
//! - [`cdb`] builds command blocks; [`sense`], [`inquiry`], [`mode`], [`log`], [`mam`],
//!   [`position`] and [`element`] read and write what travels back. All are pure functions over
//!   bytes that never panic, whatever a device answers.
//! - [`Transport`] carries a command block to one logical unit and brings status, sense and
//!   residual back.
//! - [`Drive`] and [`Changer`] are what other crates use.
//! - [`classify`] says what a sense means for the caller; [`Timeouts`] how long to wait.
//!
//! ```
//! use scsi::{Completion, Data, Drive, Transport, TransportError};
//!
//! /// A logical unit that answers GOOD to everything.
//! struct AlwaysGood;
//! impl Transport for AlwaysGood {
//!     fn exec(
//!         &mut self,
//!         _cdb: &[u8],
//!         _data: Data<'_>,
//!         _timeout: std::time::Duration,
//!     ) -> Result<Completion, TransportError> {
//!         Ok(Completion::good())
//!     }
//! }
//!
//! let mut drive = Drive::new(AlwaysGood);
//! let written = drive.write_record(b"eighty bytes of label")?;
//! assert!(!written.early_warning);
//! # Ok::<(), scsi::ScsiError>(())
//! ```

pub mod cdb;
pub mod element;
pub mod inquiry;
pub mod log;
pub mod mam;
pub mod mode;
pub mod position;
pub mod sense;

mod action;
mod changer;
mod drive;
mod error;
mod link;
mod patience;
mod timeouts;
mod transport;
mod wire;

pub use action::{Action, classify};
pub use changer::{Changer, Inventory};
pub use drive::{
    BlockLimits, Drive, FilemarkMode, PoisonCause, ReadOutcome, Readiness, Requalified, Spaced,
    Written,
};
pub use element::{Element, ElementAddress, ElementKind, VolumeTag};
pub use error::{ElementProblem, ScsiError};
pub use inquiry::Inquiry;
pub use mam::Attribute;
pub use patience::Patience;
pub use position::{ObjectNumber, Position};
pub use sense::{Code, Sense, SenseKey};
pub use timeouts::{FormFactor, Generation, Timeouts};
pub use transport::{Completion, Data, Status, Transport, TransportError};
