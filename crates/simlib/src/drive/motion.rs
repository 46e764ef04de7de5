//! Writing, reading and moving the tape.

use super::{Buffer, DriveUnit, Position};
use crate::cartridge::{Kind, ReadFault};
use crate::reply::{Answer, Block, Check, bad_field, send};
use scsi::{Data, SenseKey};

/// How near the end a position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Zone {
    Open,
    ProgrammableEarlyWarning,
    EarlyWarning,
}

impl DriveUnit {
    /// WRITE(6), variable-block mode.
    pub(super) fn write(&mut self, block: Block, data: Data<'_>) -> Answer {
        if block.bit(1, 0) {
            return Err(bad_field(1));
        }
        let length = block.u24(2) as usize;
        self.writable()?;
        if length == 0 {
            return Ok(0);
        }
        if length > self.build.config.max_record as usize {
            return Err(bad_field(2));
        }
        let Data::Out(record) = data else {
            return Err(Check::new(SenseKey::AbortedCommand, 0x4b, 0x00));
        };
        let Some(record) = record.get(..length) else {
            return Err(Check::new(SenseKey::AbortedCommand, 0x4b, 0x00));
        };
        let before = self.zone();
        let capacity = self.ready()?.capacity;
        if self.position.bytes + length as u64 > capacity {
            self.flush()?;
            let overflow = Check::new(SenseKey::VolumeOverflow, 0x00, 0x02).eom();
            return Err(overflow.information(length as i64).residual(length));
        }
        self.cost += self
            .model()
            .write(self.position.bytes, length as u64, None)
            .duration;
        let object = self.position.object;
        let limit = self.build.config.buffer;
        reserve(&mut self.buffer, limit, length);
        self.buffer.push(object, Kind::Record, record);
        self.position.passed(Kind::Record, length as u32);
        self.counters.bytes_written += length as u64;
        if self.buffer.image.len() >= limit || self.modes.buffered == 0 {
            self.flush()?;
        }
        self.warn(before)
    }

    /// WRITE FILEMARKS(6).
    pub(super) fn write_filemarks(&mut self, block: Block) -> Answer {
        let immediate = block.bit(1, 0);
        if block.u8(1) & 0x02 != 0 {
            return Err(bad_field(1));
        }
        let count = block.u24(2);
        if count == 0 {
            self.ready()?;
        } else {
            self.writable()?;
        }
        let before = self.zone();
        for _ in 0..count {
            let object = self.position.object;
            self.buffer.push(object, Kind::Filemark, &[]);
            self.position.passed(Kind::Filemark, 0);
            if self.buffer.image.len() >= self.build.config.buffer {
                self.flush()?;
            }
        }
        if !immediate {
            self.cost += self.model().sync();
            self.flush()?;
        }
        if count == 0 { Ok(0) } else { self.warn(before) }
    }

    /// Everything written so far goes to the medium. On failure the buffer is lost, as a drive
    /// that cannot write cannot keep what it was given either.
    pub(super) fn flush(&mut self) -> Answer {
        if self.buffer.is_empty() {
            return Ok(0);
        }
        let buffer = std::mem::take(&mut self.buffer);
        let Ok(cartridge) = self.threaded() else {
            return Err(Check::new(SenseKey::NotReady, 0x3a, 0x00));
        };
        let committed =
            cartridge.commit(buffer.start, &buffer.image, buffer.objects.iter().copied());
        let place = cartridge.index.place(buffer.start);
        let start = buffer.start;
        // The allocation is kept for the next objects.
        self.buffer = buffer;
        self.buffer.clear();
        if committed.is_err() {
            self.position = Position::at(start, place);
            self.write_failed();
            return Err(Check::new(SenseKey::MediumError, 0x0c, 0x00));
        }
        Ok(0)
    }

    /// READ(6), variable-block mode.
    pub(super) fn read(&mut self, block: Block, data: Data<'_>) -> Answer {
        let (fixed, sili) = (block.bit(1, 0), block.bit(1, 1));
        if fixed {
            return Err(bad_field(1));
        }
        let asked = block.u24(2) as usize;
        self.ready()?;
        self.flush()?;
        if asked == 0 {
            return Ok(0);
        }
        let Data::In(buffer) = data else {
            return Err(Check::new(SenseKey::AbortedCommand, 0x4b, 0x00));
        };
        let expected = buffer.len();
        let room = asked.min(expected);
        let (buffer, _) = buffer.split_at_mut(room);
        let number = self.position.object;
        let bytes = self.position.bytes;
        let cartridge = self.ready()?;
        let Some(object) = cartridge.index.get(number) else {
            let check = if cartridge.memory.torn_end {
                Check::new(SenseKey::MediumError, 0x14, 0x03)
            } else {
                Check::new(SenseKey::BlankCheck, 0x00, 0x05)
            };
            return Err(check.information(asked as i64).residual(expected));
        };
        if object.kind == Kind::Filemark {
            self.position.passed(Kind::Filemark, 0);
            let mark = Check::new(SenseKey::NoSense, 0x00, 0x01).filemark();
            return Err(mark.information(asked as i64).residual(expected));
        }
        if let Err(fault) = cartridge.read(number, object, buffer) {
            self.read_failed();
            let check = match fault {
                ReadFault::Damaged => {
                    // The drive has tried and passed over the record.
                    self.position.passed(Kind::Record, object.len);
                    Check::new(SenseKey::MediumError, 0x11, 0x00)
                }
                ReadFault::Io => Check::new(SenseKey::HardwareError, 0x44, 0x00),
            };
            return Err(check.information(asked as i64).residual(expected));
        }
        self.position.passed(Kind::Record, object.len);
        self.counters.bytes_read += u64::from(object.len);
        self.cost += self.model().read(bytes, u64::from(object.len));
        let length = object.len as usize;
        let residual = expected - length.min(room);
        let difference = asked as i64 - length as i64;
        // Over-length is reported whatever SILI says (SSC-5 "READ(6) command": with SILI one and
        // block length zero only the overlength condition is reported).
        if difference < 0 || difference > 0 && !sili {
            let wrong = Check::new(SenseKey::NoSense, 0x00, 0x00).ili();
            return Err(wrong.information(difference).residual(residual));
        }
        Ok(residual)
    }

    /// REWIND.
    pub(super) fn rewind(&mut self) -> Answer {
        self.ready()?;
        self.flush()?;
        self.cost += self.model().rewind(self.position.bytes);
        self.position = Position::default();
        Ok(0)
    }

    /// LOCATE(10), by object.
    pub(super) fn locate_10(&mut self, block: Block) -> Answer {
        if block.u8(1) & 0x06 != 0 {
            return Err(bad_field(1));
        }
        self.locate(u64::from(block.u32(3)))
    }

    /// LOCATE(16), by object.
    pub(super) fn locate_16(&mut self, block: Block) -> Answer {
        match block.u8(1) >> 3 & 0x07 {
            0 => {}
            3 => return self.space_to_end(),
            _ => return Err(bad_field(1)),
        }
        if block.bit(1, 1) && block.u8(3) != 0 {
            return Err(bad_field(3));
        }
        self.locate(block.u64(4))
    }

    fn locate(&mut self, object: u64) -> Answer {
        self.ready()?;
        self.flush()?;
        let cartridge = self.ready()?;
        let reached = object.min(cartridge.index.objects());
        self.go(reached)?;
        if reached < object {
            return Err(self.no_more_data());
        }
        Ok(0)
    }

    /// SPACE, both lengths.
    pub(super) fn space(&mut self, code: u8, count: i64) -> Answer {
        self.ready()?;
        self.flush()?;
        match code & 0x0f {
            0 => self.space_records(count),
            1 => self.space_filemarks(count),
            3 => self.space_to_end(),
            _ => Err(bad_field(1)),
        }
    }

    fn space_records(&mut self, count: i64) -> Answer {
        let (here, marks) = (self.position.object, self.position.marks);
        let index = &self.ready()?.index;
        let wanted = count.unsigned_abs();
        if count >= 0 {
            let end = index.objects();
            let target = here.saturating_add(wanted);
            if let Some(mark) = index.mark(marks).filter(|mark| *mark < target) {
                self.go(mark + 1)?;
                let missing = wanted - (mark - here);
                let check = Check::new(SenseKey::NoSense, 0x00, 0x01).filemark();
                return Err(check.information(missing as i64));
            }
            self.go(target.min(end))?;
            if target > end {
                return Err(self.no_more_data().information((target - end) as i64));
            }
            return Ok(0);
        }
        let mark = marks.checked_sub(1).and_then(|before| index.mark(before));
        if let Some(mark) = mark.filter(|mark| here.saturating_sub(wanted) <= *mark) {
            self.go(mark)?;
            let missing = wanted - (here - mark - 1);
            let check = Check::new(SenseKey::NoSense, 0x00, 0x01).filemark();
            return Err(check.information(missing as i64));
        }
        self.go(here.saturating_sub(wanted))?;
        if wanted > here {
            return Err(beginning(wanted - here));
        }
        Ok(0)
    }

    fn space_filemarks(&mut self, count: i64) -> Answer {
        let marks = self.position.marks;
        let index = &self.ready()?.index;
        let wanted = count.unsigned_abs();
        if count == 0 {
            return Ok(0);
        }
        if count > 0 {
            let last = marks.saturating_add(wanted - 1);
            let Some(mark) = index.mark(last) else {
                let (end, total) = (index.objects(), index.end().marks);
                self.go(end)?;
                let missing = wanted - (total - marks);
                return Err(self.no_more_data().information(missing as i64));
            };
            return self.go(mark + 1);
        }
        match marks
            .checked_sub(wanted)
            .and_then(|before| index.mark(before))
        {
            Some(mark) => self.go(mark),
            None => {
                self.go(0)?;
                Err(beginning(wanted - marks))
            }
        }
    }

    fn space_to_end(&mut self) -> Answer {
        self.ready()?;
        self.flush()?;
        let cartridge = self.ready()?;
        let (end, torn) = (cartridge.index.objects(), cartridge.memory.torn_end);
        self.go(end)?;
        if torn {
            Err(self.no_more_data())
        } else {
            Ok(0)
        }
    }

    fn go(&mut self, object: u64) -> Answer {
        let from = self.position.bytes;
        let place = self.ready()?.index.place(object);
        self.cost += self.model().locate(from, place.bytes);
        self.position = Position::at(object, place);
        Ok(0)
    }

    fn no_more_data(&mut self) -> Check {
        match self.cartridge() {
            Some(cartridge) if cartridge.memory.torn_end => {
                Check::new(SenseKey::BlankCheck, 0x14, 0x03)
            }
            _ => Check::new(SenseKey::BlankCheck, 0x00, 0x05),
        }
    }

    /// READ POSITION, short and long form.
    pub(super) fn read_position(&mut self, block: Block, data: Data<'_>) -> Answer {
        self.ready()?;
        let position = self.position;
        let flags = u8::from(position.object == 0) << 7
            | u8::from(self.zone() == Zone::EarlyWarning) << 6
            | u8::from(self.zone() >= Zone::ProgrammableEarlyWarning) & self.has_programmable();
        let (objects, bytes) = self.buffered();
        let mut out = [0u8; 32];
        out[0] = flags;
        match block.u8(1) & 0x1f {
            0x00 => {
                let on_medium = position.object - objects;
                let (Ok(first), Ok(last)) =
                    (u32::try_from(position.object), u32::try_from(on_medium))
                else {
                    // PERR: does not fit the short form.
                    out[0] |= 0x02;
                    return send(data, &out[..20], 20);
                };
                out[4..8].copy_from_slice(&first.to_be_bytes());
                out[8..12].copy_from_slice(&last.to_be_bytes());
                let objects = (objects as u32).min(0xff_ffff).to_be_bytes();
                out[13..16].copy_from_slice(&objects[1..]);
                out[16..20].copy_from_slice(&(bytes as u32).to_be_bytes());
                send(data, &out[..20], 20)
            }
            0x06 => {
                out[8..16].copy_from_slice(&position.object.to_be_bytes());
                out[16..24].copy_from_slice(&position.marks.to_be_bytes());
                send(data, &out, 32)
            }
            _ => Err(bad_field(1)),
        }
    }

    fn has_programmable(&self) -> u8 {
        u8::from(self.modes.programmable_early_warning > 0)
    }

    /// The head, where writing is allowed.
    fn writable(&mut self) -> Result<(), Check> {
        if self.ready()?.memory.write_protected {
            return Err(Check::new(SenseKey::DataProtect, 0x27, 0x00));
        }
        Ok(())
    }

    fn threaded(&mut self) -> Result<&mut crate::cartridge::Cartridge, Check> {
        self.cartridge()
            .ok_or(Check::new(SenseKey::NotReady, 0x3a, 0x00))
    }

    fn zone(&mut self) -> Zone {
        let here = self.position.bytes;
        let margin = self.build.config.early_warning;
        let programmable = u64::from(self.modes.programmable_early_warning) * 1_000_000;
        let Some(cartridge) = self.cartridge() else {
            return Zone::Open;
        };
        let warning = cartridge.capacity.saturating_sub(margin);
        if here > warning {
            Zone::EarlyWarning
        } else if here > warning.saturating_sub(programmable) {
            Zone::ProgrammableEarlyWarning
        } else {
            Zone::Open
        }
    }

    /// Ends a write: early warning is reported for every write that ends behind its threshold,
    /// programmable early warning once, on crossing. At early warning the drive empties its
    /// buffer (SEW = 1 in mode page 10h).
    fn warn(&mut self, before: Zone) -> Answer {
        match (before, self.zone()) {
            (_, Zone::EarlyWarning) => {
                self.flush()?;
                Err(Check::new(SenseKey::NoSense, 0x00, 0x02).eom())
            }
            (Zone::Open, Zone::ProgrammableEarlyWarning) => {
                Err(Check::new(SenseKey::NoSense, 0x00, 0x07).eom())
            }
            _ => Ok(0),
        }
    }
}

fn beginning(missing: u64) -> Check {
    Check::new(SenseKey::NoSense, 0x00, 0x04)
        .eom()
        .information(missing as i64)
}

/// Room for a full buffer at once: growing step by step would copy it again and again. Pages
/// that are never written stay untouched.
fn reserve(buffer: &mut Buffer, limit: usize, length: usize) {
    let wanted = limit + length + 64;
    if buffer.image.capacity() < wanted {
        buffer.image.reserve(wanted - buffer.image.len());
    }
}
