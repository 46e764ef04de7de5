//! One member: decide whether compression helps, then compress and encrypt into memory.

use std::io::Write;

use age::stream::StreamWriter;

use crate::seal::{LEVEL, SealError, Sealer};

/// How much of a member is looked at to decide whether to compress it.
const SAMPLE_BYTES: usize = 128 * 1024;

/// Compression is kept when the sample becomes smaller than 15/16 of itself.
const WORTH: (usize, usize) = (15, 16);

/// A member being packed. Content goes in, stored bytes come out.
pub(crate) struct Packer<'s> {
    sealer: &'s Sealer,
    state: State,
}

enum State {
    /// Collecting the sample; holds the buffer that the stored bytes will go to.
    Sampling {
        head: Vec<u8>,
        out: Vec<u8>,
    },
    Plain(StreamWriter<Vec<u8>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, StreamWriter<Vec<u8>>>>),
    /// Between states: only seen after a failure.
    Failed,
}

impl<'s> Packer<'s> {
    /// Begins a member whose stored bytes go to `out`, which is cleared.
    pub(crate) fn new(sealer: &'s Sealer, mut out: Vec<u8>) -> Self {
        out.clear();
        Self {
            sealer,
            state: State::Sampling {
                head: Vec::new(),
                out,
            },
        }
    }

    /// Takes content.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), SealError> {
        if let State::Sampling { head, .. } = &mut self.state {
            let take = bytes.len().min(SAMPLE_BYTES - head.len());
            head.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if head.len() < SAMPLE_BYTES {
                return Ok(());
            }
            self.decide()?;
        }
        match &mut self.state {
            State::Plain(writer) => writer.write_all(bytes)?,
            State::Zstd(writer) => writer.write_all(bytes)?,
            State::Sampling { .. } | State::Failed => {
                return Err(SealError::Failed("the member failed before".into()));
            }
        }
        Ok(())
    }

    /// Ends the member: its stored bytes, and the suffix that tells how to open them.
    pub(crate) fn finish(mut self) -> Result<(Vec<u8>, &'static str), SealError> {
        if matches!(self.state, State::Sampling { .. }) {
            self.decide()?;
        }
        match self.state {
            State::Plain(writer) => Ok((writer.finish()?, ".age")),
            State::Zstd(writer) => Ok((writer.finish()?.finish()?, ".zst.age")),
            State::Sampling { .. } | State::Failed => {
                Err(SealError::Failed("the member failed before".into()))
            }
        }
    }

    fn decide(&mut self) -> Result<(), SealError> {
        let State::Sampling { head, out } = std::mem::replace(&mut self.state, State::Failed)
        else {
            return Ok(());
        };
        let sealed = self.sealer.writer(out)?;
        self.state = if helps(&head) {
            let mut encoder = zstd::stream::write::Encoder::new(sealed, LEVEL)?;
            encoder.include_checksum(true)?;
            encoder.write_all(&head)?;
            State::Zstd(Box::new(encoder))
        } else {
            let mut sealed = sealed;
            sealed.write_all(&head)?;
            State::Plain(sealed)
        };
        Ok(())
    }
}

/// Whether compression makes the sample enough smaller.
fn helps(sample: &[u8]) -> bool {
    // Level 1 decides about level 3: what does not shrink at 1 hardly does at 3.
    zstd::bulk::compress(sample, 1)
        .is_ok_and(|small| small.len() * WORTH.1 < sample.len() * WORTH.0)
}
