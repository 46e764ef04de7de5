//! A tape drive (SSC) behind a transport.

mod outcome;
mod settings;
mod state;

pub use outcome::{
    BlockLimits, FilemarkMode, PoisonCause, ReadOutcome, Readiness, Requalified, Spaced, Written,
};

use crate::cdb::{Cdb, U24, ssc};
use crate::error::ScsiError;
use crate::link::{Link, Reply};
use crate::patience::Patience;
use crate::position::ObjectNumber;
use crate::sense::{Code, Sense, SenseKey};
use crate::timeouts::Timeouts;
use crate::transport::{Data, Transport};

/// How many unit attentions in a row are taken before a device is given up as babbling.
const MAX_ATTENTIONS: usize = 16;

/// Typed commands for one tape drive in variable-block mode.
///
/// # Poison
/// A unit attention (medium changed 28h, reset 29h, parameters changed 2Ah, and any other), a
/// transport failure or a deferred error means that the tape may not be where the caller
/// believes. The drive is then *poisoned*: every command that positions, reads or writes returns
/// [`ScsiError::Poisoned`] without reaching the device, until [`Drive::requalify`] is called.
/// Otherwise a filemark meant for the end would land at the beginning of a rewound tape and
/// blank it (Linux commit 9604eea5bd3a tells of two production tapes). Commands that only ask
/// (`position`, `inquiry`, log and mode pages, attributes) and `load`, `unload` and
/// `prevent_removal` stay possible.
pub struct Drive<T> {
    link: Link<T>,
    poison: Option<PoisonCause>,
    attentions: Vec<Sense>,
    recovered_errors: u64,
}

impl<T: Transport> Drive<T> {
    /// A drive of unknown make: waits as long as the slowest known one. [`Drive::identify`]
    /// narrows that.
    pub fn new(transport: T) -> Self {
        Self {
            link: Link {
                transport,
                timeouts: Timeouts::longest(),
                patience: Patience::none(),
            },
            poison: None,
            attentions: Vec::new(),
            recovered_errors: 0,
        }
    }

    /// Sets the timeout table.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.link.timeouts = timeouts;
    }

    /// Sets how a drive that is busy is asked again; without, its first BUSY is the answer.
    pub fn set_patience(&mut self, patience: Patience) {
        self.link.patience = patience;
    }

    /// Errors the drive recovered from and reported (sense key 1) since this handle was made.
    pub fn recovered_errors(&self) -> u64 {
        self.recovered_errors
    }

    /// Why the drive is poisoned, if it is.
    pub fn poisoned(&self) -> Option<&PoisonCause> {
        self.poison.as_ref()
    }

    /// REWIND to beginning of partition, after flushing.
    ///
    /// # Errors
    /// [`ScsiError::Poisoned`]; write errors of the flush.
    pub fn rewind(&mut self) -> Result<(), ScsiError> {
        self.guarded(ssc::rewind(), Data::None)?.done().map(drop)
    }

    /// LOCATE(16) to `record` in the current partition, after flushing.
    ///
    /// # Errors
    /// [`ScsiError::Check`] with 8/00/05 where the tape ends before `record` (the tape then
    /// stands at end of data); [`ScsiError::Poisoned`].
    pub fn locate(&mut self, record: ObjectNumber) -> Result<(), ScsiError> {
        self.guarded(ssc::locate_16(record.0), Data::None)?
            .done()
            .map(drop)
    }

    /// SPACE over `count` filemarks, forwards (to behind the last) or, negative, backwards (to
    /// before it).
    ///
    /// # Errors
    /// [`ScsiError::Poisoned`]; [`ScsiError::Check`] for anything but the ends of the tape.
    pub fn space_filemarks(&mut self, count: i64) -> Result<Spaced, ScsiError> {
        self.space(ssc::SpaceCode::Filemarks, count)
    }

    /// SPACE over `count` records, forwards or backwards; stops behind (before) a filemark.
    ///
    /// # Errors
    /// As [`Drive::space_filemarks`].
    pub fn space_records(&mut self, count: i64) -> Result<Spaced, ScsiError> {
        self.space(ssc::SpaceCode::Records, count)
    }

    /// SPACE to end of data.
    ///
    /// # Errors
    /// [`ScsiError::Poisoned`]; [`ScsiError::Check`] with 8/14/03 where end of data was lost.
    pub fn space_to_eod(&mut self) -> Result<(), ScsiError> {
        self.guarded(ssc::space_6(ssc::SpaceCode::EndOfData, 0), Data::None)?
            .done()
            .map(drop)
    }

    /// WRITE(6): one record of 1 to 16,777,215 bytes (and the drive's own limit, see
    /// [`Drive::block_limits`]) into the drive's buffer. It is on the medium only after a
    /// synchronous filemark.
    ///
    /// # Errors
    /// [`ScsiError::VolumeOverflow`] where the volume is full; [`ScsiError::Poisoned`];
    /// [`ScsiError::Deferred`] where an earlier record failed.
    pub fn write_record(&mut self, record: &[u8]) -> Result<Written, ScsiError> {
        let length = length_24("record length in bytes", record.len())?;
        let reply = self.guarded(ssc::write_6(length), Data::Out(record))?;
        written(reply, record.len() as u64)
    }

    /// WRITE FILEMARKS(6). `count` 0 with [`FilemarkMode::Synchronous`] only flushes.
    ///
    /// # Errors
    /// As [`Drive::write_record`]; after a failed synchronous filemark nothing written since the
    /// last one is proven.
    pub fn write_filemarks(
        &mut self,
        count: u32,
        mode: FilemarkMode,
    ) -> Result<Written, ScsiError> {
        let count = length_24("number of filemarks", count as usize)?;
        let immediate = mode == FilemarkMode::Immediate;
        let reply = self.guarded(ssc::write_filemarks_6(count, immediate), Data::None)?;
        written(reply, 0)
    }

    /// READ(6) of the next object into `buffer`, whose length (1 to 16,777,215) is the longest
    /// record expected.
    ///
    /// SILI stays 0: the length of a short record then comes in INFORMATION, which every target
    /// fills rightly, while the residual is wrong on some.
    ///
    /// # Errors
    /// [`ScsiError::Check`] for unreadable records (3/11/xx); [`ScsiError::Poisoned`].
    pub fn read_record(&mut self, buffer: &mut [u8]) -> Result<ReadOutcome, ScsiError> {
        let asked = buffer.len();
        let length = length_24("read length in bytes", asked)?;
        let reply = self.guarded(ssc::read_6(length, false), Data::In(buffer))?;
        let Some(sense) = reply.sense else {
            return Ok(ReadOutcome::Record {
                len: reply.moved(asked),
            });
        };
        match sense.key {
            SenseKey::NoSense | SenseKey::RecoveredError if sense.filemark => {
                Ok(ReadOutcome::Filemark)
            }
            SenseKey::NoSense | SenseKey::RecoveredError if sense.ili => {
                read_length(asked, sense).ok_or_else(|| reply.into_error())
            }
            SenseKey::NoSense | SenseKey::RecoveredError => Ok(ReadOutcome::Record {
                len: reply.moved(asked),
            }),
            SenseKey::BlankCheck if sense.code != Code::new(0x14, 0x03) => {
                Ok(ReadOutcome::EndOfData)
            }
            _ => Err(reply.into_error()),
        }
    }

    fn space(&mut self, code: ssc::SpaceCode, count: i64) -> Result<Spaced, ScsiError> {
        let cdb = match i32::try_from(count) {
            Ok(short @ -0x80_0000..=0x7f_ffff) => ssc::space_6(code, short),
            _ => ssc::space_16(code, count),
        };
        let reply = self.guarded(cdb, Data::None)?;
        let Some(sense) = reply.sense.filter(|_| !reply.succeeded()) else {
            return Ok(Spaced::All);
        };
        let missing = sense.information.map_or(0, i64::unsigned_abs);
        match sense.key {
            SenseKey::BlankCheck if sense.code != Code::new(0x14, 0x03) => {
                Ok(Spaced::EndOfData { missing })
            }
            SenseKey::NoSense if sense.filemark => Ok(Spaced::Filemark { missing }),
            SenseKey::NoSense if sense.code == Code::new(0x00, 0x05) => {
                Ok(Spaced::EndOfData { missing })
            }
            SenseKey::NoSense if sense.eom && count < 0 => {
                Ok(Spaced::BeginningOfPartition { missing })
            }
            _ => Err(reply.into_error()),
        }
    }

    /// Runs a command, notes attentions and failures, and turns them into poison.
    fn exec(&mut self, cdb: Cdb, data: Data<'_>) -> Result<Reply, ScsiError> {
        let outcome = self.link.exec(cdb, data);
        match &outcome {
            Ok(reply) => match reply.sense {
                Some(sense) if is_change(&sense) => {
                    self.note_attention(sense);
                }
                Some(sense) if sense.key == SenseKey::RecoveredError => {
                    self.recovered_errors += 1;
                }
                _ => {}
            },
            Err(ScsiError::Transport { source, .. }) => {
                self.poison
                    .get_or_insert(PoisonCause::Transport(source.clone()));
            }
            Err(ScsiError::Deferred { sense, .. })
                if !matches!(sense.key, SenseKey::NoSense | SenseKey::RecoveredError) =>
            {
                self.poison.get_or_insert(PoisonCause::Deferred(*sense));
            }
            Err(_) => {}
        }
        outcome
    }

    fn note_attention(&mut self, sense: Sense) {
        if self.attentions.len() < MAX_ATTENTIONS * 4 {
            self.attentions.push(sense);
        }
        self.poison.get_or_insert(PoisonCause::Attention(sense));
    }

    /// A command that positions, reads or writes.
    fn guarded(&mut self, cdb: Cdb, data: Data<'_>) -> Result<Reply, ScsiError> {
        if let Some(cause) = &self.poison {
            return Err(ScsiError::Poisoned(cause.clone()));
        }
        let reply = self.exec(cdb, data)?;
        match &self.poison {
            Some(cause) => Err(ScsiError::Poisoned(cause.clone())),
            None => Ok(reply),
        }
    }

    /// A command that moves the medium as a whole; a pending attention is recorded and the
    /// command, which was not executed, sent again.
    fn medium_command(&mut self, cdb: Cdb) -> Result<(), ScsiError> {
        for _ in 0..MAX_ATTENTIONS {
            let reply = self.exec(cdb, Data::None)?;
            if !reply.sense.is_some_and(|sense| is_change(&sense)) {
                return reply.done().map(drop);
            }
        }
        self.exec(cdb, Data::None)?.done().map(drop)
    }

    /// A command that only asks; attentions are recorded, and the question asked again.
    pub(crate) fn ask(&mut self, cdb: Cdb, allocation: usize) -> Result<Vec<u8>, ScsiError> {
        let mut buffer = vec![0; allocation];
        for _ in 0..MAX_ATTENTIONS {
            let reply = self.exec(cdb, Data::In(&mut buffer))?;
            if reply.sense.is_some_and(|sense| is_change(&sense)) {
                continue;
            }
            let reply = reply.done()?;
            buffer.truncate(reply.moved(allocation));
            return Ok(buffer);
        }
        Err(self.exec(cdb, Data::In(&mut buffer))?.into_error())
    }

    /// A command that only sets parameters; attentions are recorded, and it is sent again.
    pub(crate) fn tell(&mut self, cdb: Cdb, parameters: &[u8]) -> Result<(), ScsiError> {
        for _ in 0..MAX_ATTENTIONS {
            let reply = self.exec(cdb, Data::Out(parameters))?;
            if !reply.sense.is_some_and(|sense| is_change(&sense)) {
                return reply.done().map(drop);
            }
        }
        Err(self.exec(cdb, Data::Out(parameters))?.into_error())
    }
}

/// Every unit attention tells of a change, but for 6/00/02, by which some drives report early
/// warning.
fn is_change(sense: &Sense) -> bool {
    sense.key == SenseKey::UnitAttention && sense.code != Code::new(0x00, 0x02)
}

fn length_24(what: &'static str, asked: usize) -> Result<U24, ScsiError> {
    U24::new(asked).ok_or(ScsiError::TooLarge {
        what,
        asked,
        limit: U24::MAX,
    })
}

/// The outcome of a write or write filemarks.
fn written(reply: Reply, all: u64) -> Result<Written, ScsiError> {
    let Some(sense) = reply.sense else {
        return Ok(Written::default());
    };
    match sense.key {
        SenseKey::VolumeOverflow => {
            let residual = sense.information.map_or(all, i64::unsigned_abs);
            Err(ScsiError::VolumeOverflow { residual })
        }
        SenseKey::NoSense | SenseKey::RecoveredError | SenseKey::UnitAttention => {
            let programmable = sense.code == Code::new(0x00, 0x07);
            Ok(Written {
                early_warning: !programmable && (sense.eom || sense.code == Code::new(0x00, 0x02)),
                programmable_early_warning: programmable,
                recovered: (sense.key == SenseKey::RecoveredError).then_some(sense.code),
                cleaning_requested: matches!(
                    (sense.code.asc, sense.code.ascq),
                    (0x00, 0x17) | (0x82, 0x82)
                ),
            })
        }
        _ => Err(reply.into_error()),
    }
}

/// The outcome of a read with ILI: INFORMATION is asked minus actual.
fn read_length(asked: usize, sense: Sense) -> Option<ReadOutcome> {
    let missing = sense.information?;
    match usize::try_from(missing) {
        Ok(missing) => Some(ReadOutcome::Record {
            len: asked.checked_sub(missing)?,
        }),
        Err(_) => Some(ReadOutcome::Overlength {
            record: u64::try_from(asked)
                .ok()?
                .checked_add(missing.unsigned_abs())?,
        }),
    }
}
