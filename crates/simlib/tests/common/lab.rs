//! A library in a temporary directory, and short words for what stories do with it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use scsi::{
    Changer, Completion, Data, Drive, FilemarkMode, ObjectNumber, ReadOutcome, Sense, Transport,
    VolumeTag,
};
use simlib::{ChangerHandle, Config, DriveHandle, SimLibrary};
use std::path::PathBuf;
use std::time::Duration;

pub const SYNC: FilemarkMode = FilemarkMode::Synchronous;
pub const IMMED: FilemarkMode = FilemarkMode::Immediate;
/// Longer than any command takes.
pub const HOUR: Duration = Duration::from_secs(3600);

/// The directory outlives the library, so that it can be killed and opened again.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub config: Config,
    pub library: SimLibrary,
}

pub fn small() -> Config {
    Config::default().with_capacity(8 << 20)
}

impl Lab {
    pub fn new(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let library = SimLibrary::create(dir.path(), config.clone(), 4).unwrap();
        Self {
            dir,
            config,
            library,
        }
    }

    /// Kills the process and starts it again: nothing is flushed.
    pub fn kill(self) -> Self {
        let Self {
            dir,
            config,
            library,
        } = self;
        drop(library);
        let library = SimLibrary::open(dir.path(), config.clone()).unwrap();
        Self {
            dir,
            config,
            library,
        }
    }

    pub fn changer(&self) -> Changer<ChangerHandle> {
        Changer::new(self.library.changer())
    }

    /// Drive `number`, requalified.
    pub fn drive(&self, number: usize) -> Drive<DriveHandle> {
        let mut drive = Drive::new(self.library.drive(number).unwrap());
        drive.requalify().unwrap();
        drive
    }

    /// Moves the cartridge of slot `slot` into drive `drive` and requalifies.
    pub fn mount(&self, slot: u16, drive: u16) -> Drive<DriveHandle> {
        let (slot, bay) = (self.library.slot(slot), self.library.bay(drive));
        let mut changer = self.changer();
        changer.inventory().unwrap();
        changer.move_medium(slot, bay).unwrap();
        self.drive(usize::from(drive))
    }

    /// Unloads drive `drive` and puts its cartridge into slot `slot`.
    pub fn dismount(&self, drive: u16, slot: u16) {
        Drive::new(self.library.drive(usize::from(drive)).unwrap())
            .unload()
            .unwrap();
        let mut changer = self.changer();
        changer.inventory().unwrap();
        changer
            .move_medium(self.library.bay(drive), self.library.slot(slot))
            .unwrap();
    }

    /// The tape of `barcode` in letters, as the medium has it.
    pub fn dump(&self, barcode: &str) -> Vec<Vec<u8>> {
        let out = tempfile::tempdir().unwrap();
        let path = self.library.cartridge_path(&tag(barcode));
        let files = simlib::dump_files(&path, out.path()).unwrap();
        files
            .iter()
            .map(|file| std::fs::read(&file.path).unwrap())
            .collect()
    }

    /// Whether the medium holds this file of records and how the file is named.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("cartridges").join(name)
    }
}

pub fn tag(barcode: &str) -> VolumeTag {
    VolumeTag::new(barcode).unwrap()
}

/// Writes a tape in letters: a capital starts a record of `size` bytes of that letter, `|` is an
/// immediate and `!` a synchronous filemark.
pub fn write(drive: &mut Drive<DriveHandle>, tape: &str, size: usize) {
    for object in tape.chars() {
        match object {
            '|' => drive.write_filemarks(1, IMMED).map(drop).unwrap(),
            '!' => drive.write_filemarks(1, SYNC).map(drop).unwrap(),
            letter => drive
                .write_record(&vec![letter as u8; size])
                .map(drop)
                .unwrap(),
        }
    }
}

/// Reads from here to end of data, in the same letters; every mark is `|`, an unreadable record
/// `?`, and a record that is not of one letter `#`.
pub fn read_on(drive: &mut Drive<DriveHandle>) -> String {
    let mut buffer = vec![0; 1 << 20];
    let mut tape = String::new();
    loop {
        match drive.read_record(&mut buffer) {
            Ok(ReadOutcome::Record { len }) => {
                let record = &buffer[..len];
                let uniform = record.iter().all(|byte| *byte == record[0]);
                tape.push(if uniform { char::from(record[0]) } else { '#' });
            }
            Ok(ReadOutcome::Filemark) => tape.push('|'),
            Ok(ReadOutcome::EndOfData) => return tape,
            Ok(other) => panic!("{other:?}"),
            Err(error) => match error.sense() {
                Some(sense) if sense.code.asc == 0x11 => tape.push('?'),
                _ => panic!("{error}"),
            },
        }
        assert!(tape.len() < 100_000, "a tape without end");
    }
}

/// Rewinds and reads everything.
pub fn read_all(drive: &mut Drive<DriveHandle>) -> String {
    drive.rewind().unwrap();
    read_on(drive)
}

pub fn locate(drive: &mut Drive<DriveHandle>, record: u64) {
    drive.locate(ObjectNumber(record)).unwrap();
}

/// One raw command; what came back, and its sense.
pub fn raw(unit: &mut impl Transport, cdb: &[u8], data: Data<'_>) -> (Completion, Option<Sense>) {
    let completion = unit.exec(cdb, data, HOUR).unwrap();
    let sense = Sense::parse(&completion.sense);
    (completion, sense)
}

/// Takes all pending unit attentions, raw.
pub fn settle(unit: &mut impl Transport) {
    for _ in 0..8 {
        raw(unit, &[0; 6], Data::None);
    }
}
