//! Faults on demand: a script says when, and what happens then.

use parking_lot::Mutex;
use scsi::cdb::name_of;
use scsi::{Sense, SenseKey};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A list of faults, in the order they are tried.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FaultScript {
    /// The faults.
    pub faults: Vec<Fault>,
}

impl FaultScript {
    /// No faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// The same with one more fault.
    pub fn with(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}

/// One fault: which commands it looks at, on which of them it strikes, and what it does.
///
/// ```
/// use simlib::{Effect, Fault};
/// let third_write_fails = Fault::on("WRITE(6)").drive(0).nth(3).effect(Effect::sense(3, 0x0c, 0));
/// let json = serde_json::to_string(&third_write_fails).unwrap();
/// assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), third_write_fails);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only this command, by the standard's name (`WRITE(6)`, `MOVE MEDIUM`); `None` is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Only this drive, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive: Option<usize>,
    /// Only while this volume is in the drive (or, for a move, is the one moved).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Only when the tape stands at this object number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// Strikes at the n-th command that matches, counted from 1.
    #[serde(default = "one")]
    pub nth: u64,
    /// How many matching commands in a row it strikes.
    #[serde(default = "one")]
    pub times: u64,
    /// What happens.
    pub effect: Effect,
}

fn one() -> u64 {
    1
}

impl Fault {
    /// A fault on a command, by the standard's name; builder start.
    pub fn on(command: &str) -> Self {
        Self {
            command: Some(command.to_owned()),
            ..Self::on_any()
        }
    }

    /// A fault on whatever command comes.
    pub fn on_any() -> Self {
        Self {
            command: None,
            drive: None,
            volume: None,
            record: None,
            nth: 1,
            times: 1,
            effect: Effect::Busy,
        }
    }

    /// Only on this drive.
    pub fn drive(self, drive: usize) -> Self {
        Self {
            drive: Some(drive),
            ..self
        }
    }

    /// Only with this volume.
    pub fn volume(self, barcode: &str) -> Self {
        Self {
            volume: Some(barcode.to_owned()),
            ..self
        }
    }

    /// Only at this object number.
    pub fn record(self, record: u64) -> Self {
        Self {
            record: Some(record),
            ..self
        }
    }

    /// At the n-th match, counted from 1.
    pub fn nth(self, nth: u64) -> Self {
        Self { nth, ..self }
    }

    /// This many times.
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// What happens.
    pub fn effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    fn matches(&self, seen: &Seen<'_>) -> bool {
        self.command
            .as_deref()
            .is_none_or(|name| name == name_of(seen.opcode))
            && self.drive.is_none_or(|drive| seen.drive == Some(drive))
            && self
                .volume
                .as_deref()
                .is_none_or(|volume| seen.volume == Some(volume))
            && self.record.is_none_or(|record| seen.record == Some(record))
    }
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// CHECK CONDITION with this sense; the command is not executed unless `executed`.
    Sense {
        /// Sense key, 0 to 15.
        key: u8,
        /// Additional sense code.
        asc: u8,
        /// Additional sense code qualifier.
        ascq: u8,
        /// Reported as a deferred error (71h). What the drive had in its buffer is lost.
        #[serde(default)]
        deferred: bool,
        /// The command is executed first (a recovered error, a cleaning request). A deferred
        /// error then leaves this command GOOD and is reported by the next one.
        #[serde(default)]
        executed: bool,
    },
    /// Status BUSY; the command is not executed.
    Busy,
    /// The drive loses power and gets it back: buffer gone but for its first `kept` objects
    /// (which were under way to the medium), tape rewound, modes at default. The command gets no
    /// answer, the next one 29/01.
    PowerLoss {
        /// Objects of the buffer that still reach the medium.
        #[serde(default)]
        kept: u64,
        /// End of data is not written behind them: the drive will not find it (8/14/03).
        #[serde(default)]
        torn: bool,
    },
    /// A bus reset: buffer gone, tape rewound, modes at default. The command is not executed
    /// and gets 29/02.
    Reset,
    /// The drive stays silent until its power is cycled.
    Offline,
    /// The answer is lost: the command is executed, but the host only sees a time-out.
    LostAnswer,
    /// Damages the record the tape stands at before the command; silent damage is not noticed by
    /// the drive.
    Corrupt {
        /// The drive's own check code is made to fit.
        #[serde(default)]
        silent: bool,
    },
    /// The picker jams (4/15/01). With `dropped` the cartridge stays in the gripper.
    Jam {
        /// The cartridge left its source.
        #[serde(default)]
        dropped: bool,
    },
}

impl Effect {
    /// A current error; the command is not executed.
    pub fn sense(key: u8, asc: u8, ascq: u8) -> Self {
        Self::Sense {
            key,
            asc,
            ascq,
            deferred: false,
            executed: false,
        }
    }

    /// A deferred error: what was buffered is lost, the command is not executed.
    pub fn deferred(key: u8, asc: u8, ascq: u8) -> Self {
        Self::Sense {
            key,
            asc,
            ascq,
            deferred: true,
            executed: false,
        }
    }

    /// The command is answered GOOD, then its data and all that was buffered is lost, and the
    /// next command is not executed but reports that.
    pub fn deferred_later(key: u8, asc: u8, ascq: u8) -> Self {
        Self::Sense {
            key,
            asc,
            ascq,
            deferred: true,
            executed: true,
        }
    }

    /// The command is executed and this sense reported with it.
    pub fn with_sense(key: u8, asc: u8, ascq: u8) -> Self {
        Self::Sense {
            key,
            asc,
            ascq,
            deferred: false,
            executed: true,
        }
    }
}

pub(crate) fn sense_of(key: u8, asc: u8, ascq: u8, deferred: bool) -> Sense {
    let mut sense = Sense::new(SenseKey::from_byte(key), asc, ascq);
    sense.deferred = deferred;
    sense.eom = (asc, ascq) == (0x00, 0x02);
    sense
}

/// A command as faults see it.
pub(crate) struct Seen<'a> {
    pub(crate) opcode: u8,
    pub(crate) drive: Option<usize>,
    pub(crate) volume: Option<&'a str>,
    pub(crate) record: Option<u64>,
}

/// The faults of a library, with what they have seen.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Mutex<Vec<Armed>>,
    /// Length of `armed`, so that a library without faults takes no lock.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    matched: u64,
    struck: u64,
}

impl Faults {
    pub(crate) fn new(script: FaultScript) -> Self {
        let faults = Self::default();
        script
            .faults
            .into_iter()
            .for_each(|fault| faults.arm(fault));
        faults
    }

    pub(crate) fn arm(&self, fault: Fault) {
        let mut armed = self.armed.lock();
        armed.push(Armed {
            fault,
            matched: 0,
            struck: 0,
        });
        self.count.store(armed.len(), Ordering::Release);
    }

    pub(crate) fn disarm(&self) {
        let mut armed = self.armed.lock();
        armed.clear();
        self.count.store(0, Ordering::Release);
    }

    /// Faults that have not struck (as often as they should) yet.
    pub(crate) fn pending(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// What happens to this command. Every matching fault counts it, the first due one strikes.
    pub(crate) fn strike(&self, seen: &Seen<'_>) -> Option<Effect> {
        if self.pending() == 0 {
            return None;
        }
        let mut armed = self.armed.lock();
        let mut struck = None;
        for entry in armed.iter_mut().filter(|entry| entry.fault.matches(seen)) {
            entry.matched += 1;
            if struck.is_none() && entry.matched >= entry.fault.nth {
                struck = Some(entry.fault.effect.clone());
                entry.struck += 1;
            }
        }
        armed.retain(|entry| entry.struck < entry.fault.times);
        self.count.store(armed.len(), Ordering::Release);
        struck
    }
}
