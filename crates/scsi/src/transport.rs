//! The seam under everything: one command block to one logical unit.

use std::time::Duration;

/// Carries command blocks to one logical unit, one at a time.
///
/// An implementation returns `Ok` whenever the device answered at all, whatever the status;
/// [`TransportError`] means that nobody knows whether the command was executed.
pub trait Transport: Send {
    /// Sends `cdb` with its data and waits at most `timeout` for the status.
    ///
    /// # Errors
    /// When no status came back: see [`TransportError`]. The caller must then assume that the
    /// command may have been executed, in whole or in part.
    fn exec(
        &mut self,
        cdb: &[u8],
        data: Data<'_>,
        timeout: Duration,
    ) -> Result<Completion, TransportError>;
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn exec(
        &mut self,
        cdb: &[u8],
        data: Data<'_>,
        timeout: Duration,
    ) -> Result<Completion, TransportError> {
        (**self).exec(cdb, data, timeout)
    }
}

/// The data phase of a command.
#[derive(Debug)]
pub enum Data<'a> {
    /// No data phase.
    None,
    /// The device fills this buffer, from its start.
    In(&'a mut [u8]),
    /// The device takes these bytes.
    Out(&'a [u8]),
}

impl Data<'_> {
    /// The same data phase once more.
    pub(crate) fn reborrow(&mut self) -> Data<'_> {
        match self {
            Data::None => Data::None,
            Data::In(buffer) => Data::In(buffer),
            Data::Out(bytes) => Data::Out(bytes),
        }
    }

    /// Bytes the data phase may move.
    pub fn len(&self) -> usize {
        match self {
            Data::None => 0,
            Data::In(buffer) => buffer.len(),
            Data::Out(bytes) => bytes.len(),
        }
    }

    /// True where the data phase moves nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// SCSI status (SAM-5 table "Status codes").
    pub status: Status,
    /// Sense bytes as they came; empty unless the status is CHECK CONDITION.
    pub sense: Vec<u8>,
    /// Bytes of the data buffer that were **not** moved.
    pub residual: usize,
}

impl Completion {
    /// GOOD, no sense, everything moved.
    pub fn good() -> Self {
        Self {
            status: Status::Good,
            sense: Vec::new(),
            residual: 0,
        }
    }

    /// CHECK CONDITION with these sense bytes.
    pub fn check(sense: Vec<u8>, residual: usize) -> Self {
        Self {
            status: Status::CheckCondition,
            sense,
            residual,
        }
    }
}

/// SCSI status byte (SAM-5, "Status codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 00h: done.
    Good,
    /// 02h: read the sense.
    CheckCondition,
    /// 08h: not now; nothing was done.
    Busy,
    /// 18h: another initiator holds a reservation; nothing was done.
    ReservationConflict,
    /// 28h: queue full; nothing was done.
    TaskSetFull,
    /// Anything else.
    Other(u8),
}

impl Status {
    /// From the status byte.
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0x00 => Status::Good,
            0x02 => Status::CheckCondition,
            0x08 => Status::Busy,
            0x18 => Status::ReservationConflict,
            0x28 => Status::TaskSetFull,
            other => Status::Other(other),
        }
    }

    /// BUSY or TASK SET FULL: not now, and nothing was done.
    pub fn is_busy(self) -> bool {
        matches!(self, Status::Busy | Status::TaskSetFull)
    }

    /// The status byte.
    pub fn byte(self) -> u8 {
        match self {
            Status::Good => 0x00,
            Status::CheckCondition => 0x02,
            Status::Busy => 0x08,
            Status::ReservationConflict => 0x18,
            Status::TaskSetFull => 0x28,
            Status::Other(byte) => byte,
        }
    }
}

/// No status came back. Treat the command as perhaps executed and the device as perhaps reset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The device did not answer in time.
    #[error("no answer to command {opcode:#04x} within {after:?}")]
    Timeout {
        /// First byte of the command block.
        opcode: u8,
        /// The time allowed.
        after: Duration,
    },
    /// The device is gone: powered off, unplugged, or its path is down.
    #[error("device is offline: {detail}")]
    Offline {
        /// What the path said.
        detail: String,
    },
    /// The host adapter or its driver failed the command.
    #[error(
        "host adapter failed the command: host status {host:#04x}, driver status {driver:#04x}"
    )]
    Host {
        /// Host byte of the adapter.
        host: u16,
        /// Driver byte of the adapter.
        driver: u16,
    },
}
