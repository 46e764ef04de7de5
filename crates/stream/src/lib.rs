//! Tapemark's data path: artifacts are read, hashed, compressed, encrypted and cut into the
//! members of a placement; and back, through the same checks, into a sink.
//!
//! Synchronous and of bounded memory: at most three members of [`StreamOptions::part_limit`]
//! are in memory at a time, whatever the size of a checkpoint. A worker thread reads and seals
//! while the calling thread feeds the device.
//!
//! This crate **never** trusts a source (every whole artifact is hashed while it is read), never
//! reports bytes as read back before their digests matched, never allocates per record, and
//! holds no cryptography of its own: encryption is age, compression zstd.
//!
//! ```
//! use stream::{Opener, Sealer, generate_identity};
//! use volume::Unseal;
//!
//! let key = generate_identity();
//! let sealer = Sealer::new([key.recipient.as_str()])?;
//! let sealed = sealer.seal(b"names and sources")?;
//! let opener = Opener::parse(&key.identity)?;
//! let opened = opener.unseal(&sealed, model::Bytes::mib(1))?;
//! assert_eq!(opened, b"names and sources");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod pack;
mod prepare;
mod read;
mod seal;
mod sink;
mod source;
mod unpack;
mod write;

pub use error::StreamError;
pub use read::{Lost, ReadBack, ReadOptions, check_ciphertext, read_placement};
pub use seal::{GeneratedIdentity, Opener, SealError, Sealer, generate_identity};
pub use sink::{DirectorySink, NullSink, Sink};
pub use source::{FileSource, Source};
pub use write::{Flow, StreamOptions, Written, write_batch, write_placement};
