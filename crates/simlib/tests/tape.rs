//! What a tape does with records, marks and motion.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

#[path = "common/lab.rs"]
mod common;

use common::*;
use proptest::prelude::*;
use scsi::{Action, Data, ObjectNumber, ReadOutcome, Spaced};

#[test]
fn what_was_written_is_read() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AB|CDE||F!", 1000);
    let end = drive.position().unwrap();
    assert_eq!(
        (end.record, end.filemarks, end.bop),
        (ObjectNumber(10), 4, false)
    );
    assert_eq!(read_all(&mut drive), "AB|CDE||F|");
    drive.rewind().unwrap();
    assert!(drive.position().unwrap().bop);
}

#[test]
fn a_blank_tape_is_at_its_end_everywhere() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    assert_eq!(read_all(&mut drive), "");
    drive.space_to_eod().unwrap();
    let position = drive.position().unwrap();
    assert!(position.bop && position.record == ObjectNumber(0));
    assert_eq!(
        drive.space_filemarks(1),
        Ok(Spaced::EndOfData { missing: 1 })
    );
    assert_eq!(drive.space_records(2), Ok(Spaced::EndOfData { missing: 2 }));
    assert_eq!(
        drive.space_records(-2),
        Ok(Spaced::BeginningOfPartition { missing: 2 })
    );
    assert_eq!(
        drive.space_filemarks(-1),
        Ok(Spaced::BeginningOfPartition { missing: 1 })
    );
}

#[test]
fn writing_in_the_middle_ends_the_tape_there() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AB|CD|EF!", 500);
    locate(&mut drive, 4);
    write(&mut drive, "X!", 700);
    assert_eq!(read_all(&mut drive), "AB|CX|");
    // As long as it sits in the buffer nothing has happened to the medium.
    locate(&mut drive, 1);
    write(&mut drive, "Y", 10);
    lab.library.power_cycle(0);
    let mut drive = lab.drive(0);
    assert_eq!(read_all(&mut drive), "AB|CX|");
}

#[test]
fn spacing() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AB|CDE||F!", 100);
    let at = |drive: &mut scsi::Drive<_>| drive.position().unwrap().record.0;

    drive.rewind().unwrap();
    assert_eq!(drive.space_filemarks(2), Ok(Spaced::All));
    assert_eq!(at(&mut drive), 7);
    assert_eq!(drive.space_filemarks(-2), Ok(Spaced::All));
    // Backwards stops before the mark.
    assert_eq!(at(&mut drive), 2);
    assert_eq!(
        drive.space_filemarks(9),
        Ok(Spaced::EndOfData { missing: 5 })
    );
    assert_eq!(at(&mut drive), 10);
    assert_eq!(
        drive.space_filemarks(-9),
        Ok(Spaced::BeginningOfPartition { missing: 5 })
    );
    assert_eq!(at(&mut drive), 0);

    assert_eq!(drive.space_records(2), Ok(Spaced::All));
    assert_eq!(
        drive.space_records(20),
        Ok(Spaced::Filemark { missing: 20 })
    );
    assert_eq!(at(&mut drive), 3);
    assert_eq!(drive.space_records(2), Ok(Spaced::All));
    assert_eq!(drive.space_records(3), Ok(Spaced::Filemark { missing: 2 }));
    assert_eq!(at(&mut drive), 7);
    assert_eq!(drive.space_records(-1), Ok(Spaced::Filemark { missing: 1 }));
    assert_eq!(drive.space_records(-2), Ok(Spaced::All));
    assert_eq!(drive.space_records(-2), Ok(Spaced::Filemark { missing: 1 }));
    assert_eq!(at(&mut drive), 2);
    drive.space_to_eod().unwrap();
    assert_eq!(at(&mut drive), 10);
}

#[test]
fn locating_beyond_the_end_stops_at_the_end_and_says_so() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AB!", 100);
    for record in 0..=3 {
        locate(&mut drive, record);
        assert_eq!(drive.position().unwrap().record, ObjectNumber(record));
    }
    let error = drive.locate(ObjectNumber(4)).unwrap_err();
    assert_eq!(error.action(), Action::EndOfData);
    assert_eq!(drive.position().unwrap().record, ObjectNumber(3));
}

/// One record of 100 bytes, read in all ways a length can be wrong, at the wire.
#[test]
fn wrong_lengths() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "A!", 100);
    let mut unit = lab.library.drive(0).unwrap();
    let mut read = |asked: usize, sili: bool| {
        drive.rewind().unwrap();
        let mut buffer = vec![0; asked];
        let cdb = [0x08, u8::from(sili) << 1, 0, 0, asked as u8, 0];
        let (completion, sense) = raw(&mut unit, &cdb, Data::In(&mut buffer));
        let delivered = buffer.iter().filter(|byte| **byte == b'A').count();
        assert_eq!(delivered, asked - completion.residual, "asked {asked}");
        // Whatever the length, the record is passed (but by a read of nothing).
        assert_eq!(
            drive.position().unwrap().record.0,
            u64::from(asked > 0),
            "asked {asked}"
        );
        (delivered, sense.map(|sense| (sense.ili, sense.information)))
    };
    assert_eq!(read(100, false), (100, None));
    assert_eq!(read(100, true), (100, None));
    assert_eq!(read(101, false), (100, Some((true, Some(1)))));
    assert_eq!(read(101, true), (100, None));
    assert_eq!(read(99, false), (99, Some((true, Some(-1)))));
    assert_eq!(read(99, true), (99, Some((true, Some(-1)))));
    assert_eq!(read(1, false), (1, Some((true, Some(-99)))));
    assert_eq!(read(0, false), (0, None));
}

#[test]
fn an_overlong_record_is_told_by_its_true_length() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    drive.write_record(&vec![7; 300_000]).unwrap();
    drive.write_record(b"next").unwrap();
    drive.rewind().unwrap();
    let mut buffer = [0; 4];
    assert_eq!(
        drive.read_record(&mut buffer),
        Ok(ReadOutcome::Overlength { record: 300_000 })
    );
    assert_eq!(buffer, [7; 4]);
    assert_eq!(
        drive.read_record(&mut buffer),
        Ok(ReadOutcome::Record { len: 4 })
    );
    assert_eq!(&buffer, b"next");
}

#[test]
fn record_lengths_at_the_limits() {
    let lab = Lab::new(simlib::Config::default().with_capacity(64 << 20));
    let mut drive = lab.mount(0, 0);
    let limits = drive.block_limits().unwrap();
    assert_eq!((limits.min, limits.max), (1, 8 << 20));
    for length in [1usize, 2, 4095, 4096, 4097, 8 << 20] {
        drive.write_record(&vec![b'A'; length]).unwrap();
    }
    let error = drive.write_record(&vec![b'A'; (8 << 20) + 1]).unwrap_err();
    assert_eq!(error.action(), Action::FailJob);
    drive.rewind().unwrap();
    let mut buffer = vec![0; 8 << 20];
    for length in [1usize, 2, 4095, 4096, 4097, 8 << 20] {
        assert_eq!(
            drive.read_record(&mut buffer),
            Ok(ReadOutcome::Record { len: length })
        );
    }
}

#[test]
fn the_buffer_is_told_apart_from_the_medium() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "AB|", 100);
    let short = drive.short_position().unwrap();
    assert_eq!((short.first.0, short.on_medium.0), (3, 0));
    assert_eq!(
        (short.buffered_objects, short.buffered_bytes),
        (Some(3), Some(200))
    );
    // Count 0 flushes and writes nothing.
    drive.write_filemarks(0, SYNC).unwrap();
    let short = drive.short_position().unwrap();
    assert_eq!((short.first.0, short.on_medium.0), (3, 3));
    assert_eq!(short.buffered_objects, Some(0));
    assert_eq!(lab.dump("TM0001L9"), [[[b'A'; 100], [b'B'; 100]].concat()]);
}

#[test]
fn a_full_buffer_flushes_itself() {
    let lab = Lab::new(simlib::Config {
        buffer: 10_000,
        ..small()
    });
    let mut drive = lab.mount(0, 0);
    for written in 1..=100u64 {
        drive.write_record(&[b'A'; 1000]).unwrap();
        let standing = lab.library.standing(0).unwrap();
        assert_eq!(standing.record, written);
        assert!(standing.buffered_bytes <= 10_000, "{standing:?}");
    }
    assert!(drive.short_position().unwrap().on_medium.0 >= 90);
    // Filemarks take room as well.
    drive.write_filemarks(1000, IMMED).unwrap();
    assert!(lab.library.standing(0).unwrap().buffered_objects < 1000);
}

#[test]
fn write_protection() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "A!", 10);
    assert!(!drive.write_protected().unwrap());
    lab.library.write_protect(&tag("TM0001L9"), true).unwrap();
    assert!(drive.write_protected().unwrap());
    assert_eq!(
        drive.write_record(b"B").unwrap_err().action(),
        Action::WriteProtected
    );
    assert_eq!(
        drive.write_filemarks(1, SYNC).unwrap_err().action(),
        Action::WriteProtected
    );
    drive.write_filemarks(0, SYNC).unwrap();
    assert_eq!(read_all(&mut drive), "A|");
}

#[test]
fn a_damaged_record_is_unreadable_and_the_next_is_not() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "ABC|D!", 1000);
    lab.library
        .corrupt(&tag("TM0001L9"), 1, simlib::Damage::Unreadable)
        .unwrap();
    assert_eq!(read_all(&mut drive), "A?C|D|");
    lab.library
        .corrupt(&tag("TM0001L9"), 4, simlib::Damage::Silent)
        .unwrap();
    assert_eq!(read_all(&mut drive), "A?C|#|");
    let error = lab
        .library
        .corrupt(&tag("TM0001L9"), 3, simlib::Damage::Silent)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no record 3 on TM0001L9: the medium holds 6 objects"
    );
    assert_eq!(
        drive.volume_statistics().unwrap().unrecovered_read_errors,
        Some(2)
    );
}

#[test]
fn the_end_of_data_is_where_reading_stays() {
    let lab = Lab::new(small());
    let mut drive = lab.mount(0, 0);
    write(&mut drive, "A!", 10);
    drive.rewind().unwrap();
    drive.space_records(1).unwrap();
    let mut buffer = [0; 10];
    assert_eq!(drive.read_record(&mut buffer), Ok(ReadOutcome::Filemark));
    assert_eq!(drive.read_record(&mut buffer), Ok(ReadOutcome::EndOfData));
    // Reading on at the end stays at the end.
    assert_eq!(drive.read_record(&mut buffer), Ok(ReadOutcome::EndOfData));
    assert_eq!(drive.position().unwrap().record, ObjectNumber(2));
}

/// What a tape should hold, kept the simplest way.
#[derive(Debug, Default, Clone)]
struct Model {
    tape: Vec<Option<Vec<u8>>>,
    at: usize,
}

#[derive(Debug, Clone)]
enum Step {
    Write(u8, usize),
    Marks(u32, bool),
    Read,
    Locate(usize),
    Rewind,
    Marked(i64),
    Records(i64),
    End,
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<u8>(), 1usize..3000).prop_map(|(byte, len)| Step::Write(byte, len)),
        3 => (1u32..3, any::<bool>()).prop_map(|(count, sync)| Step::Marks(count, sync)),
        4 => Just(Step::Read),
        2 => (0usize..40).prop_map(Step::Locate),
        1 => Just(Step::Rewind),
        2 => (-4i64..5).prop_map(Step::Marked),
        2 => (-6i64..7).prop_map(Step::Records),
        1 => Just(Step::End),
        1 => Just(Step::Flush),
    ];
    proptest::collection::vec(step, 1..80)
}

impl Model {
    fn write(&mut self, object: Option<Vec<u8>>) {
        self.tape.truncate(self.at);
        self.tape.push(object);
        self.at += 1;
    }

    fn marked(&mut self, count: i64) -> Spaced {
        let mut left = count.unsigned_abs();
        while left > 0 {
            if count > 0 {
                if self.at == self.tape.len() {
                    return Spaced::EndOfData { missing: left };
                }
                left -= u64::from(self.tape[self.at].is_none());
                self.at += 1;
            } else {
                if self.at == 0 {
                    return Spaced::BeginningOfPartition { missing: left };
                }
                self.at -= 1;
                left -= u64::from(self.tape[self.at].is_none());
            }
        }
        Spaced::All
    }

    fn records(&mut self, count: i64) -> Spaced {
        let mut left = count.unsigned_abs();
        while left > 0 {
            if count > 0 {
                if self.at == self.tape.len() {
                    return Spaced::EndOfData { missing: left };
                }
                self.at += 1;
                if self.tape[self.at - 1].is_none() {
                    return Spaced::Filemark { missing: left };
                }
            } else {
                if self.at == 0 {
                    return Spaced::BeginningOfPartition { missing: left };
                }
                self.at -= 1;
                if self.tape[self.at].is_none() {
                    return Spaced::Filemark { missing: left };
                }
            }
            left -= 1;
        }
        Spaced::All
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any sequence of commands leaves drive and model at the same place with the same tape, with
    /// a buffer of any size, and the cartridge file tells the same after a kill.
    #[test]
    fn a_drive_is_the_simplest_tape(steps in steps(), buffer in 1usize..20_000) {
        let lab = Lab::new(simlib::Config { buffer, ..small() });
        let mut drive = lab.mount(0, 0);
        let mut model = Model::default();
        let mut bytes = vec![0; 4096];
        for step in steps {
            match step {
                Step::Write(byte, len) => {
                    drive.write_record(&vec![byte; len]).unwrap();
                    model.write(Some(vec![byte; len]));
                }
                Step::Marks(count, sync) => {
                    drive.write_filemarks(count, if sync { SYNC } else { IMMED }).unwrap();
                    (0..count).for_each(|_| model.write(None));
                }
                Step::Read => {
                    let expected = match model.tape.get(model.at) {
                        None => ReadOutcome::EndOfData,
                        Some(None) => ReadOutcome::Filemark,
                        Some(Some(record)) => ReadOutcome::Record { len: record.len() },
                    };
                    prop_assert_eq!(drive.read_record(&mut bytes).unwrap(), expected);
                    if let Some(Some(record)) = model.tape.get(model.at) {
                        prop_assert_eq!(&bytes[..record.len()], &record[..]);
                    }
                    model.at = (model.at + 1).min(model.tape.len());
                }
                Step::Locate(object) => {
                    let there = drive.locate(ObjectNumber(object as u64)).is_ok();
                    prop_assert_eq!(there, object <= model.tape.len());
                    model.at = object.min(model.tape.len());
                }
                Step::Rewind => {
                    drive.rewind().unwrap();
                    model.at = 0;
                }
                Step::Marked(count) => {
                    prop_assert_eq!(drive.space_filemarks(count).unwrap(), model.marked(count));
                }
                Step::Records(count) => {
                    prop_assert_eq!(drive.space_records(count).unwrap(), model.records(count));
                }
                Step::End => {
                    drive.space_to_eod().unwrap();
                    model.at = model.tape.len();
                }
                Step::Flush => {
                    drive.write_filemarks(0, SYNC).unwrap();
                }
            }
            let position = drive.position().unwrap();
            prop_assert_eq!(position.record.0, model.at as u64);
            let marks = model.tape[..model.at].iter().filter(|object| object.is_none()).count();
            prop_assert_eq!(position.filemarks, marks as u64);
        }
        drive.write_filemarks(0, SYNC).unwrap();
        drop(drive);
        let lab = lab.kill();
        let mut drive = lab.drive(0);
        for object in &model.tape {
            let expected = match object {
                None => ReadOutcome::Filemark,
                Some(record) => ReadOutcome::Record { len: record.len() },
            };
            prop_assert_eq!(drive.read_record(&mut bytes).unwrap(), expected);
        }
        prop_assert_eq!(drive.read_record(&mut bytes).unwrap(), ReadOutcome::EndOfData);
    }
}
