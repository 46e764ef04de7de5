//! Helpers by which a logical unit answers.

use scsi::{Completion, Data, Sense, SenseKey};

/// A CHECK CONDITION in the making.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    pub(crate) sense: Sense,
    pub(crate) residual: usize,
}

/// What a command returns inside a logical unit: the residual, or a check.
pub(crate) type Answer = Result<usize, Check>;

impl Check {
    pub(crate) fn new(key: SenseKey, asc: u8, ascq: u8) -> Self {
        Self {
            sense: Sense::new(key, asc, ascq),
            residual: 0,
        }
    }

    pub(crate) fn of(sense: Sense) -> Self {
        Self { sense, residual: 0 }
    }

    pub(crate) fn information(mut self, information: i64) -> Self {
        self.sense.information = Some(information);
        self
    }

    pub(crate) fn residual(self, residual: usize) -> Self {
        Self { residual, ..self }
    }

    pub(crate) fn filemark(mut self) -> Self {
        self.sense.filemark = true;
        self
    }

    pub(crate) fn eom(mut self) -> Self {
        self.sense.eom = true;
        self
    }

    pub(crate) fn ili(mut self) -> Self {
        self.sense.ili = true;
        self
    }
}

/// 5/20/00: no such command.
pub(crate) fn no_such_command() -> Check {
    Check::new(SenseKey::IllegalRequest, 0x20, 0x00)
}

/// 5/24/00 pointing (SENSE KEY SPECIFIC, SPC-5 table "Field pointer") at byte `at` of the command
/// block.
pub(crate) fn bad_field(at: u16) -> Check {
    pointer(0x24, 0xc0, at)
}

/// 5/26/00 pointing at byte `at` of the parameter list.
pub(crate) fn bad_parameter(at: u16) -> Check {
    pointer(0x26, 0x80, at)
}

/// 5/1A/00: the parameter list is cut short.
pub(crate) fn short_parameters() -> Check {
    Check::new(SenseKey::IllegalRequest, 0x1a, 0x00)
}

fn pointer(asc: u8, flags: u8, at: u16) -> Check {
    let [hi, lo] = at.to_be_bytes();
    let mut check = Check::new(SenseKey::IllegalRequest, asc, 0x00);
    check.sense.key_specific = Some([flags, hi, lo]);
    check
}

/// Sends `bytes`, cut to the allocation length, and returns the residual.
pub(crate) fn send(data: Data<'_>, bytes: &[u8], allocation: usize) -> Answer {
    let Data::In(buffer) = data else {
        // A question without a buffer is answered into the void.
        return Ok(0);
    };
    let length = bytes.len().min(allocation).min(buffer.len());
    let (front, rest) = buffer.split_at_mut(length);
    front.copy_from_slice(&bytes[..length]);
    Ok(rest.len())
}

/// The parameter list of `length` bytes that came with the command.
pub(crate) fn received<'a>(data: &Data<'a>, length: usize) -> Result<&'a [u8], Check> {
    match data {
        Data::Out(bytes) => bytes.get(..length).ok_or_else(short_parameters),
        _ if length == 0 => Ok(&[]),
        _ => Err(short_parameters()),
    }
}

/// The answer as it goes over the wire: fixed-format sense, 18 bytes.
pub(crate) fn completion(answer: Answer) -> Completion {
    match answer {
        Ok(residual) => Completion {
            residual,
            ..Completion::good()
        },
        Err(check) => Completion::check(check.sense.to_fixed().to_vec(), check.residual),
    }
}

/// A command block padded to 16 bytes, with fields by offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block([u8; 16]);

impl Block {
    /// `None` where the block is empty, too long, or shorter than its operation code's group
    /// wants (SPC-5 table "Operation code group").
    pub(crate) fn new(cdb: &[u8]) -> Option<Self> {
        let wanted = match cdb.first()? >> 5 {
            0 => 6,
            1 | 2 => 10,
            4 => 16,
            5 => 12,
            _ => 6,
        };
        if cdb.len() < wanted || cdb.len() > 16 {
            return None;
        }
        let mut bytes = [0; 16];
        bytes.get_mut(..cdb.len())?.copy_from_slice(cdb);
        Some(Self(bytes))
    }

    pub(crate) fn opcode(&self) -> u8 {
        self.0[0]
    }

    pub(crate) fn u8(&self, at: usize) -> u8 {
        self.0[at]
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    pub(crate) fn u24(&self, at: usize) -> u32 {
        u32::from_be_bytes([0, self.0[at], self.0[at + 1], self.0[at + 2]])
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) << 16 | u32::from(self.u16(at + 2))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) << 32 | u64::from(self.u32(at + 4))
    }

    pub(crate) fn bit(&self, byte: usize, bit: u8) -> bool {
        self.0[byte] >> bit & 1 == 1
    }
}

/// Text in a fixed field, padded with blanks.
pub(crate) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    field
        .iter_mut()
        .zip(text.bytes())
        .for_each(|(to, from)| *to = from);
    field
}
