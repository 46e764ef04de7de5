//! Decision records as a file: JSON Lines, one decision a line.
//!
//! Reading streams: it holds one line at a time, however long the file.

use std::io::{self, BufRead, Read as _, Write};

use model::{ConflictSet, DecisionRecord};
use serde::{Deserialize, Serialize};

/// The longest line, in bytes: a canonical conflict set of 256 KiB, and a record whose
/// decisions (live, shadow, applied) and reasons of 1 KiB for 256 requests come to less
/// than 4 MiB even where every byte is escaped.
pub const MAX_LINE_BYTES: usize = 8 << 20;

/// One line of the file: a decision, and what it was made on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// What was decided, by whom, and how that went.
    pub record: DecisionRecord,
    /// What it was decided on.
    pub input: ConflictSet,
}

/// Why a file of records cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// A line is not a record.
    #[error(
        "line {line}: expected {{\"record\": ..., \"input\": ...}} as `tapemark resolver record` \
         writes it, found: {source}"
    )]
    Line {
        /// Which, counted from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A line is too long.
    #[error("line {line}: expected at most {MAX_LINE_BYTES} bytes, found more")]
    TooLong {
        /// Which, counted from 1.
        line: u64,
    },
    /// The record's input digest is not that of its input.
    #[error("line {line}: expected an input with SHA-256 {expected}, found {found}")]
    Digest {
        /// Which, counted from 1.
        line: u64,
        /// As the record says.
        expected: model::Sha256,
        /// As the input has it.
        found: model::Sha256,
    },
    /// The file cannot be read on.
    #[error("line {line}: {source}")]
    Io {
        /// Which, counted from 1.
        line: u64,
        /// What came of it.
        source: io::Error,
    },
}

/// Reads records, one after the other; ends after the first error.
pub struct Reader<R> {
    from: R,
    line: u64,
    text: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `from`.
    pub fn new(from: R) -> Self {
        Self {
            from,
            line: 0,
            text: Vec::new(),
            ended: false,
        }
    }

    /// The next line that is not empty, with its number; none at the end.
    ///
    /// # Errors
    /// [`RecordsError::TooLong`] and [`RecordsError::Io`].
    pub fn next_line(&mut self) -> Result<Option<(u64, &[u8])>, RecordsError> {
        loop {
            self.line += 1;
            self.text.clear();
            let line = self.line;
            let most = MAX_LINE_BYTES as u64 + 1;
            let read = (&mut self.from)
                .take(most)
                .read_until(b'\n', &mut self.text)
                .map_err(|source| RecordsError::Io { line, source })?;
            if read == 0 {
                return Ok(None);
            }
            if self.text.last() != Some(&b'\n') && read as u64 == most {
                return Err(RecordsError::TooLong { line });
            }
            if !self.text.trim_ascii().is_empty() {
                return Ok(Some((line, self.text.trim_ascii())));
            }
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Recorded, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match self.next_line() {
            Ok(None) => None,
            Ok(Some((line, text))) => Some(parse(line, text)),
            Err(error) => Some(Err(error)),
        };
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// A record from its line, whose number is told in errors.
///
/// # Errors
/// [`RecordsError::Line`].
pub fn parse(line: u64, text: &[u8]) -> Result<Recorded, RecordsError> {
    serde_json::from_slice(text).map_err(|source| RecordsError::Line { line, source })
}

/// Checks that the input is the one the record was made on. It costs a canonical form, so
/// readers ask for it where a wrong input would be taken for a wrong resolver.
///
/// # Errors
/// [`RecordsError::Digest`].
pub fn check_digest(
    line: u64,
    record: &DecisionRecord,
    input: &ConflictSet,
) -> Result<(), RecordsError> {
    let found = policy::digest(policy::canonical_set(input));
    let expected = record.input;
    if found == expected {
        return Ok(());
    }
    Err(RecordsError::Digest {
        line,
        expected,
        found,
    })
}

/// Writes one record as one line.
///
/// # Errors
/// As `to` has them.
pub fn write(to: &mut impl Write, recorded: &Recorded) -> io::Result<()> {
    serde_json::to_writer(&mut *to, recorded)?;
    to.write_all(b"\n")
}
