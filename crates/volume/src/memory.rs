//! A tape in memory: for tests, examples, and for reading dumps of tapes.

use std::collections::BTreeSet;

use model::RecordNo;

use crate::device::{
    DeviceError, DeviceErrorKind, ReadOutcome, RecordDevice, Spaced, WriteOutcome,
};

/// What stands on a tape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A record.
    Record(Vec<u8>),
    /// A filemark.
    Filemark,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The write (record or filemark) of this object fails; nothing of it is on the tape.
    Write {
        /// The object.
        at: RecordNo,
        /// How.
        kind: DeviceErrorKind,
    },
    /// Every read of this record fails with a medium error.
    Read {
        /// The record.
        at: RecordNo,
    },
}

/// A tape in memory, with the manners of a drive: writing in the middle cuts off what is
/// behind, what is not synchronised is lost with the power, and the end gives warning.
#[derive(Clone, Debug, Default)]
pub struct MemoryTape {
    objects: Vec<Object>,
    at: usize,
    durable: usize,
    written: u64,
    warning_at: Option<u64>,
    capacity: Option<u64>,
    write_faults: Vec<(RecordNo, DeviceErrorKind)>,
    unreadable: BTreeSet<u64>,
    poisoned: bool,
    overwritten: bool,
}

impl MemoryTape {
    /// A blank tape without end.
    pub fn new() -> Self {
        Self::default()
    }

    /// A blank tape that warns once `warning_at` bytes are written and takes at most `capacity`.
    pub fn with_capacity(warning_at: u64, capacity: u64) -> Self {
        Self {
            warning_at: Some(warning_at),
            capacity: Some(capacity),
            ..Self::default()
        }
    }

    /// A tape that holds these objects.
    pub fn of(objects: Vec<Object>) -> Self {
        let written = objects.iter().map(length).sum();
        Self {
            durable: objects.len(),
            written,
            objects,
            ..Self::default()
        }
    }

    /// What is on it.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Its files: the records between filemarks, joined as `dd` would join them.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let mut files = vec![Vec::new()];
        for object in &self.objects {
            match (object, files.last_mut()) {
                (Object::Record(bytes), Some(file)) => file.extend_from_slice(bytes),
                _ => files.push(Vec::new()),
            }
        }
        if files.last().is_some_and(Vec::is_empty) {
            files.pop();
        }
        files
    }

    /// True where anything was ever written before end of data.
    pub const fn overwritten(&self) -> bool {
        self.overwritten
    }

    /// Arranges a fault.
    pub fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::Write { at, kind } => self.write_faults.push((at, kind)),
            Fault::Read { at } => {
                self.unreadable.insert(at.0);
            }
        }
    }

    /// Flips one bit of a record, unnoticed by the drive. False where there is no such byte.
    pub fn corrupt(&mut self, at: RecordNo, byte: usize) -> bool {
        match self.objects.get_mut(at.0 as usize) {
            Some(Object::Record(bytes)) if byte < bytes.len() => {
                bytes[byte] ^= 0x10;
                true
            }
            _ => false,
        }
    }

    /// Cuts the tape off before an object, as a power loss at that point would leave it.
    pub fn cut(&mut self, at: RecordNo) {
        self.objects.truncate(at.0 as usize);
        self.durable = self.durable.min(self.objects.len());
        self.at = 0;
    }

    /// Loses the power: what was not synchronised is gone, and the drive is poisoned until
    /// [`MemoryTape::requalify`].
    pub fn lose_power(&mut self) {
        self.objects.truncate(self.durable);
        self.at = 0;
        self.poisoned = true;
    }

    /// A reset without loss: the tape is rewound behind the writer's back.
    pub fn reset(&mut self) {
        self.at = 0;
        self.poisoned = true;
    }

    /// Takes note of a reset.
    pub fn requalify(&mut self) {
        self.poisoned = false;
        self.at = 0;
    }

    fn guard(&self) -> Result<(), DeviceError> {
        if self.poisoned {
            return Err(DeviceError::new(
                DeviceErrorKind::Poisoned,
                "unit attention 29/00",
            ));
        }
        Ok(())
    }

    fn write(&mut self, object: Object) -> Result<WriteOutcome, DeviceError> {
        self.guard()?;
        let here = RecordNo(self.at as u64);
        if let Some(at) = self.write_faults.iter().position(|(at, _)| *at == here) {
            let (_, kind) = self.write_faults.swap_remove(at);
            if kind == DeviceErrorKind::Poisoned {
                self.reset();
            }
            return Err(DeviceError::new(kind, "injected fault"));
        }
        if self.at < self.objects.len() {
            self.overwritten = true;
            self.objects.truncate(self.at);
            self.durable = self.durable.min(self.at);
        }
        let length = length(&object);
        if self.capacity.is_some_and(|cap| self.written + length > cap) {
            return Err(DeviceError::new(
                DeviceErrorKind::Overflow,
                "end of medium 0D/00/02",
            ));
        }
        self.written += length;
        self.objects.push(object);
        self.at += 1;
        Ok(WriteOutcome {
            early_warning: self.warning_at.is_some_and(|at| self.written >= at),
        })
    }
}

fn length(object: &Object) -> u64 {
    match object {
        Object::Record(bytes) => bytes.len() as u64,
        Object::Filemark => 0,
    }
}

impl RecordDevice for MemoryTape {
    fn read_record(&mut self, buf: &mut [u8]) -> Result<ReadOutcome, DeviceError> {
        self.guard()?;
        if self.unreadable.contains(&(self.at as u64)) {
            return Err(DeviceError::new(
                DeviceErrorKind::Medium,
                "unrecovered read error 03/11/00",
            ));
        }
        let Some(object) = self.objects.get(self.at) else {
            return Ok(ReadOutcome::EndOfData);
        };
        self.at += 1;
        Ok(match object {
            Object::Filemark => ReadOutcome::Filemark,
            Object::Record(bytes) if bytes.len() > buf.len() => {
                buf.copy_from_slice(&bytes[..buf.len()]);
                ReadOutcome::TooLong(bytes.len() as u64)
            }
            Object::Record(bytes) => {
                buf[..bytes.len()].copy_from_slice(bytes);
                ReadOutcome::Record(bytes.len())
            }
        })
    }

    fn write_record(&mut self, record: &[u8]) -> Result<WriteOutcome, DeviceError> {
        self.write(Object::Record(record.to_vec()))
    }

    fn write_filemark(&mut self, sync: bool) -> Result<WriteOutcome, DeviceError> {
        let outcome = self.write(Object::Filemark)?;
        if sync {
            self.durable = self.objects.len();
        }
        Ok(outcome)
    }

    fn synchronize(&mut self) -> Result<WriteOutcome, DeviceError> {
        self.guard()?;
        self.durable = self.objects.len();
        Ok(WriteOutcome {
            early_warning: self.warning_at.is_some_and(|at| self.written >= at),
        })
    }

    fn position(&mut self) -> Result<RecordNo, DeviceError> {
        Ok(RecordNo(self.at as u64))
    }

    fn locate(&mut self, to: RecordNo) -> Result<(), DeviceError> {
        self.guard()?;
        self.at = usize::try_from(to.0)
            .unwrap_or(usize::MAX)
            .min(self.objects.len());
        Ok(())
    }

    fn space_to_end_of_data(&mut self) -> Result<(), DeviceError> {
        self.guard()?;
        self.at = self.objects.len();
        Ok(())
    }

    fn space_filemarks(&mut self, count: i32) -> Result<Spaced, DeviceError> {
        self.guard()?;
        for _ in 0..count.max(0) {
            let next = self.objects[self.at..]
                .iter()
                .position(|o| *o == Object::Filemark);
            let Some(next) = next else {
                self.at = self.objects.len();
                return Ok(Spaced::EndOfData);
            };
            self.at += next + 1;
        }
        for _ in 0..count.min(0).unsigned_abs() {
            let before = self.objects[..self.at]
                .iter()
                .rposition(|o| *o == Object::Filemark);
            let Some(before) = before else {
                self.at = 0;
                return Ok(Spaced::Beginning);
            };
            self.at = before;
        }
        Ok(Spaced::All)
    }

    fn rewind(&mut self) -> Result<(), DeviceError> {
        self.guard()?;
        self.at = 0;
        Ok(())
    }
}
