//! What a simulated library is made of.

use crate::error::SimError;
use crate::fault::FaultScript;
use crate::timing::Timing;
use scsi::FormFactor;
use std::time::Duration;

/// A library of LTO-9 drives. Sizes in bytes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Storage slots, 1 to 10,000.
    pub slots: u16,
    /// Mail slots, 0 to 200.
    pub mail_slots: u16,
    /// Drives, 1 to 200.
    pub drives: u16,
    /// Build of the drives.
    pub form: FormFactor,
    /// Record bytes a new cartridge holds.
    pub capacity: u64,
    /// Early warning is reported within this many bytes of the end.
    pub early_warning: u64,
    /// Longest record a drive takes, at most 16,777,215.
    pub max_record: u32,
    /// A drive's buffer: writes return once there, until it is full. An LTO drive has 1 GiB and
    /// more; here every drive really takes this much memory.
    pub buffer: usize,
    /// Ask the host's file system to sync at every flush. Without it cartridges survive the kill
    /// of the process, not of the machine.
    pub fsync: bool,
    /// A move out of a loaded drive makes it unload first; otherwise it is refused (5/53/02).
    pub implicit_unload: bool,
    /// Time.
    pub timing: Timing,
    /// What the robot takes for a move.
    pub robot_move: Duration,
    /// What a synchronous filemark takes, beside the data.
    pub sync: Duration,
    /// Faults armed from the start.
    pub faults: FaultScript,
}

impl Default for Config {
    /// 24 slots, 4 mail slots, 2 full-height drives, 18 TB cartridges, no timing, no faults.
    fn default() -> Self {
        Self {
            slots: 24,
            mail_slots: 4,
            drives: 2,
            form: FormFactor::FullHeight,
            capacity: 18_000_000_000_000,
            early_warning: 4_000_000_000,
            max_record: 8 << 20,
            buffer: 32 << 20,
            fsync: false,
            implicit_unload: false,
            timing: Timing::Off,
            robot_move: Duration::from_secs(15),
            sync: Duration::from_secs(3),
            faults: FaultScript::none(),
        }
    }
}

impl Config {
    /// Cartridges of `capacity` bytes with early warning in the last sixteenth (at most 4 GB).
    pub fn with_capacity(self, capacity: u64) -> Self {
        Self {
            capacity,
            early_warning: (capacity / 16).min(4_000_000_000),
            ..self
        }
    }

    pub(crate) fn check(&self) -> Result<(), SimError> {
        let limits = [
            ("slots", u64::from(self.slots), 1, 10_000),
            ("mail_slots", u64::from(self.mail_slots), 0, 200),
            ("drives", u64::from(self.drives), 1, 200),
            ("max_record", u64::from(self.max_record), 1, 0xff_ffff),
            ("buffer", self.buffer as u64, 1, 1 << 32),
            ("capacity", self.capacity, 1, 1 << 60),
        ];
        for (name, value, low, high) in limits {
            if !(low..=high).contains(&value) {
                let problem = format!("{name} is {value}, must be {low} to {high}");
                return Err(SimError::Config(problem));
            }
        }
        Ok(())
    }
}
