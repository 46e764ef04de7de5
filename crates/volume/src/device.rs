//! The seam under the format: a device that stores records and filemarks in a row.

use std::error::Error;

use model::RecordNo;

/// What a read met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// A record of so many bytes, whole, at the front of the buffer.
    Record(usize),
    /// A record longer than the buffer, which holds its beginning; the device stands behind
    /// it. Carries the record's length in bytes where the device tells, or a lower bound.
    TooLong(u64),
    /// A filemark; the device stands behind it.
    Filemark,
    /// End of data; the device stands at it.
    EndOfData,
}

/// A write that was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOutcome {
    /// The end of the medium is near: finish, then take another volume. An ordinary outcome.
    pub early_warning: bool,
}

/// How far spacing got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spaced {
    /// All the way.
    All,
    /// End of data came first; the device stands at it.
    EndOfData,
    /// The beginning of the medium came first; the device stands at it.
    Beginning,
}

/// What kind of failure a device reported, as far as the format must tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceErrorKind {
    /// The medium failed under a read or a write (sense key 3).
    Medium,
    /// The record or filemark did not fit on the medium (sense key D): not, or not wholly,
    /// written.
    Overflow,
    /// A reset, a change of medium or a deferred error: the position is not what the caller
    /// believes, and what was not synchronised may be lost.
    Poisoned,
    /// Anything else: the drive, the path to it.
    Drive,
}

impl DeviceErrorKind {
    const fn text(self) -> &'static str {
        match self {
            Self::Medium => "the medium failed",
            Self::Overflow => "the volume is full",
            Self::Poisoned => "the drive was reset or its medium changed",
            Self::Drive => "the drive failed",
        }
    }
}

/// A failure of the device, with what the device said.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", kind.text())]
pub struct DeviceError {
    /// What kind of failure.
    pub kind: DeviceErrorKind,
    /// What the device said.
    pub source: Box<dyn Error + Send + Sync>,
}

impl DeviceError {
    /// A failure of `kind`.
    pub fn new(kind: DeviceErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
        }
    }
}

/// A tape drive with a cartridge in it, in variable-block mode, reduced to what the format
/// needs. Objects (records and filemarks) are counted from 0 at the beginning of the medium, as
/// READ POSITION counts them (SSC-5 7.7).
///
/// A device never retries a write, and never reports success for a position it did not reach.
pub trait RecordDevice {
    /// Reads the next object. The buffer is at least as long as the longest record expected;
    /// a shorter record is an ordinary outcome.
    ///
    /// # Errors
    /// As the device reports. After [`DeviceErrorKind::Medium`] the position is undefined until
    /// the next [`RecordDevice::locate`].
    fn read_record(&mut self, buf: &mut [u8]) -> Result<ReadOutcome, DeviceError>;

    /// Writes one record (1 to 524,288 bytes) at the position, which must be end of data.
    ///
    /// # Errors
    /// As the device reports; the writer is unusable afterwards.
    fn write_record(&mut self, record: &[u8]) -> Result<WriteOutcome, DeviceError>;

    /// Writes one filemark. With `sync` it returns when everything written so far is on the
    /// medium; without, the mark goes to the drive's buffer.
    ///
    /// # Errors
    /// As [`RecordDevice::write_record`].
    fn write_filemark(&mut self, sync: bool) -> Result<WriteOutcome, DeviceError>;

    /// Returns when everything written so far is on the medium (WRITE FILEMARKS with count 0
    /// and IMMED 0). Writes no mark.
    ///
    /// # Errors
    /// As [`RecordDevice::write_record`].
    fn synchronize(&mut self) -> Result<WriteOutcome, DeviceError>;

    /// The number of the next object, asked from the device and not remembered.
    ///
    /// # Errors
    /// As the device reports; a position that the device does not know is an error.
    fn position(&mut self) -> Result<RecordNo, DeviceError>;

    /// Goes to an object. Beyond end of data it stops at end of data, which is no error here:
    /// ask [`RecordDevice::position`].
    ///
    /// # Errors
    /// As the device reports.
    fn locate(&mut self, to: RecordNo) -> Result<(), DeviceError>;

    /// Goes to end of data.
    ///
    /// # Errors
    /// As the device reports.
    fn space_to_end_of_data(&mut self) -> Result<(), DeviceError>;

    /// Goes over `count` filemarks: forwards to behind the last one, or, where negative,
    /// backwards to before it.
    ///
    /// # Errors
    /// As the device reports. Meeting an end is no error.
    fn space_filemarks(&mut self, count: i32) -> Result<Spaced, DeviceError>;

    /// Goes to object 0.
    ///
    /// # Errors
    /// As the device reports.
    fn rewind(&mut self) -> Result<(), DeviceError>;
}

impl<D: RecordDevice + ?Sized> RecordDevice for &mut D {
    fn read_record(&mut self, buf: &mut [u8]) -> Result<ReadOutcome, DeviceError> {
        (**self).read_record(buf)
    }
    fn write_record(&mut self, record: &[u8]) -> Result<WriteOutcome, DeviceError> {
        (**self).write_record(record)
    }
    fn write_filemark(&mut self, sync: bool) -> Result<WriteOutcome, DeviceError> {
        (**self).write_filemark(sync)
    }
    fn synchronize(&mut self) -> Result<WriteOutcome, DeviceError> {
        (**self).synchronize()
    }
    fn position(&mut self) -> Result<RecordNo, DeviceError> {
        (**self).position()
    }
    fn locate(&mut self, to: RecordNo) -> Result<(), DeviceError> {
        (**self).locate(to)
    }
    fn space_to_end_of_data(&mut self) -> Result<(), DeviceError> {
        (**self).space_to_end_of_data()
    }
    fn space_filemarks(&mut self, count: i32) -> Result<Spaced, DeviceError> {
        (**self).space_filemarks(count)
    }
    fn rewind(&mut self) -> Result<(), DeviceError> {
        (**self).rewind()
    }
}
