//! What the author of a conflict resolver uses offline: decision records as a file, and
//! what is done with them.
//!
//! It never talks to an installation, never changes a record, and never prints: the
//! command line does.
//!
//! ```
//! use kit::records::Reader;
//!
//! let file = b"\n";
//! let records: Vec<_> = Reader::new(&file[..]).collect();
//! assert!(records.is_empty(), "an empty line is no record");
//! ```

pub mod conformance;
pub mod generate;
pub mod measure;
pub mod records;
pub mod replay;
pub mod score;
pub mod subject;
pub mod train;
