//! A simulated LTO-9 drive: everything between a command block and a cartridge.

mod ask;
mod medium;
mod motion;
mod pages;

use crate::cartridge::{Cartridge, HEADER, Header, Kind, Place};
use crate::config::Config;
use crate::fault::{Effect, sense_of};
use crate::reply::{Answer, Block, Check, bad_field, completion, no_such_command};
use crate::timing::{LtoModel, Timeline, Timing};
use scsi::cdb::op;
use scsi::{Completion, Data, FormFactor, Generation, Sense, SenseKey, Status, TransportError};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a drive needs to know of its library.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    pub(crate) dir: PathBuf,
    pub(crate) serial: String,
    pub(crate) config: Config,
}

/// A drive and what is in it.
pub(crate) struct DriveUnit {
    build: Build,
    seat: Seat,
    position: Position,
    buffer: Buffer,
    modes: Modes,
    /// Unit attentions not yet reported.
    attentions: VecDeque<Sense>,
    /// A deferred error not yet reported.
    deferred: Option<Sense>,
    removal_prevented: bool,
    online: bool,
    /// TapeAlert flags, flag 1 in bit 0.
    alerts: u64,
    counters: Counters,
    pub(crate) time: Timeline,
    /// What the command under way costs.
    cost: Duration,
    ready_at: Ready,
    outside: Arc<Outside>,
}

/// What the library sees of a drive without disturbing it at its work.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) serial: String,
    pub(crate) product: &'static str,
    accessible: AtomicBool,
}

impl Outside {
    /// The picker could take a cartridge out.
    pub(crate) fn accessible(&self) -> bool {
        self.accessible.load(Ordering::Acquire)
    }
}

/// When the medium is ready after a load.
#[derive(Debug, Clone, Copy)]
enum Ready {
    Now,
    /// On the drive's own virtual time.
    Virtual(Duration),
    Real(Instant),
}

/// Where the cartridge is.
#[derive(Debug)]
enum Seat {
    Empty,
    /// Seated, not threaded: before a load, after an unload.
    Ejected(String),
    /// Threaded.
    Loaded(Box<Cartridge>),
    /// Seated, and would not load.
    Failed(String),
}

/// Where the head is, counted in objects, record bytes and filemarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Position {
    object: u64,
    bytes: u64,
    marks: u64,
}

impl Position {
    fn at(object: u64, place: Place) -> Self {
        Self {
            object,
            bytes: place.bytes,
            marks: place.marks,
        }
    }

    fn passed(&mut self, kind: Kind, len: u32) {
        self.object += 1;
        self.bytes += u64::from(len);
        self.marks += u64::from(kind == Kind::Filemark);
    }
}

/// Objects written and not yet on the medium, framed as they will lie there.
#[derive(Debug, Default)]
struct Buffer {
    image: Vec<u8>,
    objects: Vec<(Kind, u32)>,
    /// Object number of the first.
    start: u64,
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    fn push(&mut self, object: u64, kind: Kind, payload: &[u8]) {
        if self.is_empty() {
            self.start = object;
        }
        let payload_crc = crc32c::crc32c(payload);
        let len = payload.len() as u32;
        self.image.extend_from_slice(
            &Header {
                kind,
                len,
                payload_crc,
                object,
            }
            .encode(),
        );
        self.image.extend_from_slice(payload);
        self.objects.push((kind, len));
    }

    /// Keeps the first `objects` only.
    fn truncate(&mut self, objects: usize) {
        self.objects.truncate(objects);
        let bytes = self
            .objects
            .iter()
            .map(|(_, len)| HEADER + *len as usize)
            .sum();
        self.image.truncate(bytes);
    }

    fn clear(&mut self) {
        self.image.clear();
        self.objects.clear();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Modes {
    compression: bool,
    buffered: u8,
    /// PEWS, megabytes of 10^6.
    programmable_early_warning: u16,
}

impl Default for Modes {
    fn default() -> Self {
        // LTO drives come up with compression on and buffered.
        Self {
            compression: true,
            buffered: 1,
            programmable_early_warning: 0,
        }
    }
}

/// Since the load.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    bytes_written: u64,
    bytes_read: u64,
    unrecovered_writes: u64,
    unrecovered_reads: u64,
}

impl DriveUnit {
    pub(crate) fn new(build: Build) -> Self {
        let outside = Arc::new(Outside {
            serial: build.serial.clone(),
            product: product(build.config.form),
            accessible: AtomicBool::new(true),
        });
        let mut drive = Self {
            build,
            seat: Seat::Empty,
            position: Position::default(),
            buffer: Buffer::default(),
            modes: Modes::default(),
            attentions: VecDeque::new(),
            deferred: None,
            removal_prevented: false,
            online: true,
            alerts: 0,
            counters: Counters::default(),
            time: Timeline::default(),
            cost: Duration::ZERO,
            ready_at: Ready::Now,
            outside,
        };
        drive.attention(0x29, 0x00);
        drive
    }

    pub(crate) fn outside(&self) -> Arc<Outside> {
        Arc::clone(&self.outside)
    }

    /// Barcode of the cartridge in the drive, threaded or not.
    pub(crate) fn barcode(&self) -> Option<&str> {
        match &self.seat {
            Seat::Empty => None,
            Seat::Ejected(barcode) | Seat::Failed(barcode) => Some(barcode),
            Seat::Loaded(cartridge) => Some(&cartridge.barcode),
        }
    }

    /// The picker can take the cartridge out.
    pub(crate) fn accessible(&self) -> bool {
        !matches!(self.seat, Seat::Loaded(_))
    }

    pub(crate) fn removal_prevented(&self) -> bool {
        self.removal_prevented
    }

    /// Object number the head stands at, where a medium is threaded.
    pub(crate) fn record(&self) -> Option<u64> {
        matches!(self.seat, Seat::Loaded(_)).then_some(self.position.object)
    }

    /// The cartridge, where one is threaded.
    pub(crate) fn cartridge(&mut self) -> Option<&mut Cartridge> {
        match &mut self.seat {
            Seat::Loaded(cartridge) => Some(cartridge),
            _ => None,
        }
    }

    /// Objects and bytes in the buffer.
    pub(crate) fn buffered(&self) -> (u64, u64) {
        let bytes: u64 = self
            .buffer
            .objects
            .iter()
            .map(|(_, len)| u64::from(*len))
            .sum();
        (self.buffer.objects.len() as u64, bytes)
    }

    pub(crate) fn set_alert(&mut self, flag: u8) {
        if (1..=64).contains(&flag) {
            self.alerts |= 1 << (flag - 1);
        }
    }

    /// Runs one command, with what a fault makes of it.
    pub(crate) fn exec(
        &mut self,
        cdb: &[u8],
        data: Data<'_>,
        timeout: Duration,
        struck: Option<Effect>,
    ) -> Result<Completion, TransportError> {
        let opcode = cdb.first().copied().unwrap_or(0);
        let offline = || TransportError::Offline {
            detail: "drive does not answer selection".to_owned(),
        };
        if !self.online {
            return Err(offline());
        }
        self.cost = Duration::ZERO;
        let expected = data.len();
        let refused = |sense: Sense| completion(Err(Check::of(sense).residual(expected)));
        let mut lost_answer = false;
        let mut report = None;
        let mut fails_later = None;
        match struck {
            None | Some(Effect::Jam { .. }) => {}
            Some(Effect::Busy) => {
                return Ok(Completion {
                    status: Status::Busy,
                    sense: Vec::new(),
                    residual: expected,
                });
            }
            Some(Effect::PowerLoss { kept, torn }) => {
                self.power_cycle(kept, torn);
                return Err(offline());
            }
            Some(Effect::Offline) => {
                self.online = false;
                return Err(offline());
            }
            Some(Effect::Reset) => self.reset(),
            Some(Effect::LostAnswer) => lost_answer = true,
            Some(Effect::Corrupt { silent }) => {
                let object = self.position.object;
                if let Some(cartridge) = self.cartridge() {
                    // A host file that cannot be damaged shows up in the read itself.
                    let _ = cartridge.damage(object, silent);
                }
            }
            Some(Effect::Sense {
                key,
                asc,
                ascq,
                deferred,
                executed,
            }) => {
                let sense = sense_of(key, asc, ascq, deferred);
                self.count_failure(opcode, sense.key);
                match (deferred, executed) {
                    (false, false) => return Ok(refused(sense)),
                    (false, true) => report = Some(sense),
                    (true, false) => {
                        self.drop_buffer();
                        return Ok(refused(sense));
                    }
                    (true, true) => fails_later = Some(sense),
                }
            }
        }
        let answer = self.execute(cdb, data);
        if let Some(sense) = fails_later {
            self.drop_buffer();
            self.deferred = Some(sense);
        }
        let cost = std::mem::take(&mut self.cost);
        self.time.spend(&self.build.config.timing, cost);
        // Where mechanics take no time, no command takes too long.
        let too_long = cost > timeout && !matches!(self.build.config.timing, Timing::Off);
        if lost_answer || too_long {
            return Err(TransportError::Timeout {
                opcode,
                after: timeout,
            });
        }
        Ok(match (answer, report) {
            (Ok(residual), Some(sense)) => completion(Err(Check::of(sense).residual(residual))),
            (answer, _) => completion(answer),
        })
    }

    fn execute(&mut self, cdb: &[u8], data: Data<'_>) -> Answer {
        let Some(block) = Block::new(cdb) else {
            return Err(bad_field(0));
        };
        let opcode = block.opcode();
        // These report no pending condition (SPC-5 clause "Unit attention condition").
        match opcode {
            op::INQUIRY => return self.inquiry(block, data),
            op::REQUEST_SENSE => return self.request_sense(block, data),
            _ => {}
        }
        if let Some(sense) = self.attentions.pop_front() {
            return Err(Check::of(sense).residual(data.len()));
        }
        if let Some(sense) = self.deferred.take() {
            return Err(Check::of(sense).residual(data.len()));
        }
        match opcode {
            op::TEST_UNIT_READY => self.ready().map(|_| 0),
            op::REWIND => self.rewind(),
            op::READ_BLOCK_LIMITS => self.block_limits(data),
            op::READ_6 => self.read(block, data),
            op::WRITE_6 => self.write(block, data),
            op::WRITE_FILEMARKS_6 => self.write_filemarks(block),
            op::SPACE_6 => self.space(block.u8(1), i64::from(block.u24(2) as i32) << 40 >> 40),
            op::SPACE_16 => self.space(block.u8(1), block.u64(4) as i64),
            op::LOCATE_10 => self.locate_10(block),
            op::LOCATE_16 => self.locate_16(block),
            op::READ_POSITION => self.read_position(block, data),
            op::LOAD_UNLOAD => self.load_unload(block),
            op::PREVENT_ALLOW => {
                self.removal_prevented = block.u8(4) & 0x01 != 0;
                Ok(0)
            }
            op::MODE_SENSE_6 | op::MODE_SENSE_10 => self.mode_sense(block, data),
            op::MODE_SELECT_6 | op::MODE_SELECT_10 => self.mode_select(block, data),
            op::LOG_SENSE => self.log_sense(block, data),
            op::READ_ATTRIBUTE => self.read_attribute(block, data),
            op::WRITE_ATTRIBUTE => self.write_attribute(block, data),
            _ => Err(no_such_command()),
        }
    }

    /// The cartridge, where one is threaded and ready.
    fn ready(&mut self) -> Result<&mut Cartridge, Check> {
        let waiting = match self.ready_at {
            Ready::Now => false,
            Ready::Virtual(at) => self.time.now() + self.cost < at,
            Ready::Real(at) => Instant::now() < at,
        };
        if waiting {
            // Nobody sleeps on a virtual clock: a poll stands for the second a host would wait.
            if let Ready::Virtual(_) = self.ready_at {
                self.cost += Duration::from_secs(1);
            }
            return Err(Check::new(SenseKey::NotReady, 0x04, 0x01));
        }
        self.ready_at = Ready::Now;
        match &mut self.seat {
            Seat::Loaded(cartridge) => Ok(cartridge),
            Seat::Empty => Err(Check::new(SenseKey::NotReady, 0x3a, 0x00)),
            Seat::Ejected(_) => Err(Check::new(SenseKey::NotReady, 0x3a, 0x04)),
            Seat::Failed(_) => Err(Check::new(SenseKey::NotReady, 0x53, 0x00)),
        }
    }

    /// Loading goes on behind the host's back for as long as the mechanics take.
    fn load_in_background(&mut self) {
        let cost = self.model().load();
        self.ready_at = match &self.build.config.timing {
            Timing::Off => Ready::Now,
            Timing::Virtual(_) => Ready::Virtual(self.time.now() + cost),
            Timing::Scaled(factor) => {
                let scaled = cost.as_secs_f64() / factor.max(1e-9);
                let scaled = Duration::try_from_secs_f64(scaled).unwrap_or_default();
                Ready::Real(Instant::now() + scaled)
            }
        };
    }

    /// Waits until loading is done.
    fn wait_until_ready(&mut self) {
        match std::mem::replace(&mut self.ready_at, Ready::Now) {
            Ready::Now => {}
            Ready::Virtual(at) => self.cost += at.saturating_sub(self.time.now() + self.cost),
            Ready::Real(at) => std::thread::sleep(at.saturating_duration_since(Instant::now())),
        }
    }

    fn sit(&mut self, seat: Seat) -> Seat {
        let accessible = !matches!(seat, Seat::Loaded(_));
        self.outside.accessible.store(accessible, Ordering::Release);
        std::mem::replace(&mut self.seat, seat)
    }

    /// The mechanics. A cartridge configured smaller than LTO-9's 18 TB is the beginning of a
    /// full tape: its wraps are as long.
    fn model(&self) -> LtoModel {
        const NATIVE: u64 = 18_000_000_000_000;
        let config = &self.build.config;
        LtoModel::new(Generation::Lto9, config.form, NATIVE).with_sync(config.sync)
    }

    fn attention(&mut self, asc: u8, ascq: u8) {
        let sense = Sense::new(SenseKey::UnitAttention, asc, ascq);
        if !self.attentions.contains(&sense) {
            self.attentions.push_back(sense);
        }
    }

    fn count_failure(&mut self, opcode: u8, key: SenseKey) {
        if !matches!(key, SenseKey::MediumError | SenseKey::HardwareError) {
            return;
        }
        match opcode {
            op::READ_6 => self.read_failed(),
            op::WRITE_6 | op::WRITE_FILEMARKS_6 => self.write_failed(),
            _ => {}
        }
    }

    /// Counts an unrecovered read and raises TapeAlert 03h (hard error) and 05h (read failure).
    fn read_failed(&mut self) {
        self.counters.unrecovered_reads += 1;
        self.set_alert(0x03);
        self.set_alert(0x05);
    }

    /// Counts an unrecovered write and raises TapeAlert 03h (hard error) and 06h (write failure).
    fn write_failed(&mut self) {
        self.counters.unrecovered_writes += 1;
        self.set_alert(0x03);
        self.set_alert(0x06);
    }
}

/// What INQUIRY calls a drive of this build.
fn product(form: FormFactor) -> &'static str {
    match form {
        FormFactor::FullHeight => "ULT3580-TD9",
        FormFactor::HalfHeight => "ULT3580-HH9",
    }
}
