//! One command, its timeout, and its outcome sorted into "answered" and "failed".

use crate::cdb::Cdb;
use crate::error::ScsiError;
use crate::patience::Patience;
use crate::sense::{Sense, SenseKey};
use crate::timeouts::Timeouts;
use crate::transport::{Data, Status, Transport};

pub(crate) struct Link<T> {
    pub(crate) transport: T,
    pub(crate) timeouts: Timeouts,
    pub(crate) patience: Patience,
}

/// A command that was answered with GOOD or with readable, current sense.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    pub(crate) command: &'static str,
    pub(crate) sense: Option<Sense>,
    pub(crate) residual: usize,
}

impl Reply {
    /// The reply as an error, whatever its sense.
    pub(crate) fn into_error(self) -> ScsiError {
        match self.sense {
            Some(sense) => ScsiError::Check {
                command: self.command,
                sense,
                residual: self.residual,
            },
            None => ScsiError::Status {
                command: self.command,
                status: Status::Good,
            },
        }
    }

    /// True where the command did its work: GOOD, or a check that only tells something.
    pub(crate) fn succeeded(&self) -> bool {
        self.sense.is_none_or(|sense| {
            matches!(sense.key, SenseKey::RecoveredError | SenseKey::Completed)
                || sense.key == SenseKey::NoSense && !(sense.filemark || sense.ili || sense.eom)
        })
    }

    /// `Ok` where the command did its work.
    pub(crate) fn done(self) -> Result<Self, ScsiError> {
        if self.succeeded() {
            Ok(self)
        } else {
            Err(self.into_error())
        }
    }

    /// Bytes moved of a data phase of `length`.
    pub(crate) fn moved(&self, length: usize) -> usize {
        length.saturating_sub(self.residual)
    }
}

impl<T: Transport> Link<T> {
    /// Sends a command, and sends it again while the device says that it did nothing because
    /// it is busy: the one place where that is done.
    pub(crate) fn exec(&mut self, cdb: Cdb, mut data: Data<'_>) -> Result<Reply, ScsiError> {
        let command = cdb.name();
        let timeout = self.timeouts.of(&cdb);
        let mut send = || {
            self.transport
                .exec(&cdb, data.reborrow(), timeout)
                .map_err(|source| ScsiError::Transport { command, source })
        };
        let mut completion = send()?;
        for wait in Patience::waits() {
            if !completion.status.is_busy() || !self.patience.wait(wait) {
                break;
            }
            completion = send()?;
        }
        let residual = completion.residual;
        match completion.status {
            Status::Good => Ok(Reply {
                command,
                sense: None,
                residual,
            }),
            Status::CheckCondition => match Sense::parse(&completion.sense) {
                None => Err(ScsiError::UnreadableSense {
                    command,
                    sense: completion.sense,
                }),
                Some(sense) if sense.deferred => Err(ScsiError::Deferred { command, sense }),
                Some(sense) => Ok(Reply {
                    command,
                    sense: Some(sense),
                    residual,
                }),
            },
            status => Err(ScsiError::Status { command, status }),
        }
    }
}
