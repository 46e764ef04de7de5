//! Cartridges coming and going, power and resets.

use super::{DriveUnit, Modes, Position, Seat};
use crate::cartridge::Cartridge;
use crate::error::SimError;
use crate::reply::{Answer, Block, Check};
use scsi::SenseKey;
use std::time::Duration;

impl DriveUnit {
    /// The robot (or power-on) finds this cartridge in the drive's mouth; the drive pulls it in
    /// and loads it.
    pub(crate) fn insert(&mut self, barcode: String) {
        self.sit(Seat::Ejected(barcode));
        self.thread();
        self.load_in_background();
        self.attention(0x28, 0x00);
    }

    /// The robot takes the cartridge out. The caller has looked at `accessible`.
    pub(crate) fn take(&mut self) -> Option<String> {
        match self.sit(Seat::Empty) {
            Seat::Ejected(barcode) | Seat::Failed(barcode) => Some(barcode),
            other => {
                self.sit(other);
                None
            }
        }
    }

    /// LOAD UNLOAD.
    pub(super) fn load_unload(&mut self, block: Block) -> Answer {
        if block.u8(4) & 0x01 != 0 {
            match &self.seat {
                Seat::Empty => return Err(Check::new(SenseKey::NotReady, 0x3a, 0x00)),
                Seat::Loaded(_) => {
                    // Threaded already: wait until ready, then back to beginning of partition.
                    self.wait_until_ready();
                    return self.rewind();
                }
                Seat::Ejected(_) | Seat::Failed(_) => {}
            }
            self.cost += self.model().load();
            self.thread();
            self.attention(0x28, 0x00);
            return match self.seat {
                Seat::Failed(_) => Err(Check::new(SenseKey::MediumError, 0x53, 0x00)),
                _ => Ok(0),
            };
        }
        if self.removal_prevented {
            return Err(Check::new(SenseKey::IllegalRequest, 0x53, 0x02));
        }
        match &self.seat {
            Seat::Loaded(_) => self.unload(),
            Seat::Empty => Err(Check::new(SenseKey::NotReady, 0x3a, 0x00)),
            Seat::Ejected(_) | Seat::Failed(_) => Ok(0),
        }
    }

    /// Flushes, rewinds and ejects.
    fn unload(&mut self) -> Answer {
        self.wait_until_ready();
        self.flush()?;
        let moved = self.counters.bytes_written + self.counters.bytes_read;
        self.cost += self.model().unload(self.position.bytes, moved);
        let read = self.counters.bytes_read;
        if let Some(cartridge) = self.cartridge() {
            cartridge.memory.bytes_read += read;
            // The index is only a shortcut, and the memory was saved when it mattered.
            let _ = cartridge.save_index();
            let _ = cartridge.save_memory();
        }
        if let Seat::Loaded(cartridge) = self.sit(Seat::Empty) {
            self.sit(Seat::Ejected(cartridge.barcode));
        }
        self.position = Position::default();
        self.alerts = 0;
        Ok(0)
    }

    /// The robot wants the cartridge: unload first. Returns what that took.
    pub(crate) fn unload_by_robot(&mut self) -> Result<Duration, Check> {
        self.cost = Duration::ZERO;
        let answer = self.unload();
        let cost = std::mem::take(&mut self.cost);
        self.time.spend(&self.build.config.timing, cost);
        answer.map(|_| cost)
    }

    /// Power off and on: buffer gone but for its first `kept` objects, modes at default, the
    /// cartridge threaded again and rewound. Also ends [`crate::Effect::Offline`].
    pub(crate) fn power_cycle(&mut self, kept: u64, torn: bool) {
        self.buffer
            .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        // What is under way to the medium when power fails either gets there or not.
        let _ = self.flush();
        if let Some(cartridge) = self.cartridge().filter(|_| torn) {
            cartridge.memory.torn_end = true;
            let _ = cartridge.save_memory();
        }
        self.forget();
        self.removal_prevented = false;
        self.online = true;
        self.attention(0x29, 0x01);
        if let Seat::Loaded(_) = self.seat {
            self.attention(0x28, 0x00);
            self.load_in_background();
        }
    }

    /// A bus reset: buffer gone, tape rewound, modes at default.
    pub(crate) fn reset(&mut self) {
        self.forget();
        self.removal_prevented = false;
        self.attention(0x29, 0x02);
    }

    fn forget(&mut self) {
        self.buffer.clear();
        self.attentions.clear();
        self.deferred = None;
        self.modes = Modes::default();
        self.position = Position::default();
    }

    /// What is in the buffer is lost; the head stands where the medium ends.
    pub(super) fn drop_buffer(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let start = self.buffer.start;
        self.buffer.clear();
        if let Some(cartridge) = self.cartridge() {
            let place = cartridge.index.place(start);
            self.position = Position::at(start, place);
        }
    }

    fn thread(&mut self) {
        let barcode = match self.sit(Seat::Empty) {
            Seat::Ejected(barcode) | Seat::Failed(barcode) => barcode,
            other => {
                self.sit(other);
                return;
            }
        };
        let seat = match self.open(&barcode) {
            Ok(cartridge) => Seat::Loaded(Box::new(cartridge)),
            Err(_) => Seat::Failed(barcode),
        };
        self.sit(seat);
        self.position = Position::default();
        self.counters = super::Counters::default();
    }

    fn open(&self, barcode: &str) -> Result<Cartridge, SimError> {
        let mut cartridge = Cartridge::open(&self.build.dir, barcode, self.build.config.fsync)?;
        cartridge.memory.load_count += 1;
        cartridge.memory.reference_seen = true;
        cartridge.memory.last_drive = format!("{:8}{}", "IBM", self.build.serial);
        cartridge.save_memory()?;
        Ok(cartridge)
    }
}
