//! The drive handle against a script of answers, with the quirks of real targets.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use scsi::{
    Action, Completion, Data, Drive, FilemarkMode, ObjectNumber, Patience, PoisonCause,
    ReadOutcome, Readiness, ScsiError, Sense, SenseKey, Spaced, Status, Timeouts, Transport,
    TransportError,
};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One answer: what comes back, and what fills the buffer.
type Answer = (Result<Completion, TransportError>, Vec<u8>);

/// One question: the command block, and the time allowed.
type Question = (Vec<u8>, Duration);

/// Answers from a list, and remembers what was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl Script {
    fn with(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            ..Self::default()
        }
    }

    fn opcodes(&self) -> Vec<u8> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|(cdb, _)| cdb[0])
            .collect()
    }
}

impl Transport for Script {
    fn exec(
        &mut self,
        cdb: &[u8],
        data: Data<'_>,
        timeout: Duration,
    ) -> Result<Completion, TransportError> {
        self.asked.lock().unwrap().push((cdb.to_vec(), timeout));
        let (completion, bytes) = self
            .answers
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or((Ok(Completion::good()), vec![]));
        if let Data::In(buffer) = data {
            let n = bytes.len().min(buffer.len());
            buffer[..n].copy_from_slice(&bytes[..n]);
        }
        completion
    }
}

fn good() -> Answer {
    (Ok(Completion::good()), Vec::new())
}

fn check(sense: Sense) -> Answer {
    (
        Ok(Completion::check(sense.to_fixed().to_vec(), 0)),
        Vec::new(),
    )
}

fn sense(key: SenseKey, asc: u8, ascq: u8) -> Sense {
    Sense::new(key, asc, ascq)
}

fn long_position(object: u64) -> Answer {
    let mut bytes = vec![0; 32];
    bytes[8..16].copy_from_slice(&object.to_be_bytes());
    (Ok(Completion::good()), bytes)
}

#[test]
fn every_unit_attention_poisons_and_nothing_reaches_the_drive_until_requalified() {
    for (asc, ascq) in [
        (0x28, 0x00),
        (0x29, 0x00),
        (0x29, 0x02),
        (0x2a, 0x01),
        (0x2f, 0x00),
    ] {
        let attention = sense(SenseKey::UnitAttention, asc, ascq);
        let script = Script::with([check(attention)]);
        let mut drive = Drive::new(script.clone());
        let expected = Err(ScsiError::Poisoned(PoisonCause::Attention(attention)));
        assert_eq!(drive.write_record(b"x").map(drop), expected);
        assert_eq!(script.opcodes(), [0x0a]);
        // All that moves or writes is refused without a word to the drive.
        let mut buffer = [0; 16];
        assert_eq!(
            drive.write_filemarks(1, FilemarkMode::Immediate).map(drop),
            expected
        );
        assert_eq!(drive.read_record(&mut buffer).map(drop), expected);
        assert_eq!(drive.locate(ObjectNumber(3)), expected);
        assert_eq!(drive.rewind(), expected);
        assert_eq!(drive.space_to_eod(), expected);
        assert_eq!(drive.space_filemarks(1).map(drop), expected);
        assert_eq!(drive.space_records(1).map(drop), expected);
        assert_eq!(script.opcodes(), [0x0a]);
        // Questions are allowed.
        drive.block_limits().unwrap();
        // Requalifying clears it and says what happened.
        script
            .answers
            .lock()
            .unwrap()
            .extend([good(), long_position(7)]);
        let found = drive.requalify().unwrap();
        assert_eq!(found.attentions, [attention]);
        assert_eq!(found.readiness, Readiness::Ready);
        assert_eq!(found.position.unwrap().record, ObjectNumber(7));
        assert!(drive.write_record(b"x").is_ok());
    }
}

#[test]
fn requalify_takes_a_row_of_attentions_but_not_without_end() {
    let attention = sense(SenseKey::UnitAttention, 0x29, 0x00);
    let changed = sense(SenseKey::UnitAttention, 0x28, 0x00);
    let script = Script::with([check(attention), check(changed), good(), long_position(0)]);
    let mut drive = Drive::new(script);
    assert_eq!(drive.requalify().unwrap().attentions, [attention, changed]);

    let babbling = Script::with((0..100).map(|_| check(attention)));
    let mut drive = Drive::new(babbling.clone());
    assert!(matches!(
        drive.requalify(),
        Err(ScsiError::Attention { .. })
    ));
    assert!(babbling.opcodes().len() < 20);
    assert!(drive.poisoned().is_some());
}

#[test]
fn a_lost_answer_poisons() {
    let timeout = TransportError::Timeout {
        opcode: 0x0a,
        after: Duration::from_secs(1500),
    };
    let mut drive = Drive::new(Script::with([(Err(timeout.clone()), vec![])]));
    let error = drive.write_record(b"x").unwrap_err();
    assert!(
        matches!(
            &error,
            ScsiError::Transport {
                command: "WRITE(6)",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.action(), Action::ProveByPosition);
    let next = drive.write_record(b"x").unwrap_err();
    assert_eq!(next, ScsiError::Poisoned(PoisonCause::Transport(timeout)));
    assert_eq!(next.action(), Action::PoisonSession);
}

#[test]
fn a_deferred_error_is_not_this_commands_error_and_poisons() {
    let deferred = Sense {
        deferred: true,
        ..sense(SenseKey::MediumError, 0x0c, 0x00)
    };
    let mut drive = Drive::new(Script::with([check(deferred)]));
    let error = drive
        .write_filemarks(0, FilemarkMode::Synchronous)
        .unwrap_err();
    let expected = ScsiError::Deferred {
        command: "WRITE FILEMARKS(6)",
        sense: deferred,
    };
    assert_eq!(error, expected);
    assert_eq!(error.action(), Action::AbortSegment);
    assert_eq!(drive.poisoned(), Some(&PoisonCause::Deferred(deferred)));
}

#[test]
fn writes_near_the_end() {
    let early = Sense {
        eom: true,
        ..sense(SenseKey::NoSense, 0x00, 0x02)
    };
    let programmable = Sense {
        eom: true,
        ..sense(SenseKey::NoSense, 0x00, 0x07)
    };
    let attention = Sense {
        eom: true,
        ..sense(SenseKey::UnitAttention, 0x00, 0x02)
    };
    let recovered = sense(SenseKey::RecoveredError, 0x0c, 0x00);
    let recovered_late = Sense {
        eom: true,
        ..recovered
    };
    let full = Sense {
        eom: true,
        information: Some(512 * 1024),
        ..sense(SenseKey::VolumeOverflow, 0x00, 0x02)
    };
    let answers = [
        early,
        programmable,
        attention,
        recovered,
        recovered_late,
        full,
    ]
    .map(check);
    let mut drive = Drive::new(Script::with(answers));
    let mut write = || drive.write_record(&[0; 8]);

    let written = write().unwrap();
    assert!(written.early_warning && !written.programmable_early_warning);
    let written = write().unwrap();
    assert!(!written.early_warning && written.programmable_early_warning);
    assert!(write().unwrap().early_warning);
    let written = write().unwrap();
    assert!(!written.early_warning && written.recovered.is_some());
    assert!(write().unwrap().early_warning);
    assert_eq!(
        write(),
        Err(ScsiError::VolumeOverflow {
            residual: 512 * 1024
        })
    );
    // Full is an answer, not a mystery: the drive is not poisoned by it.
    assert!(drive.poisoned().is_none());
}

#[test]
fn reads_and_their_lengths() {
    let mut buffer = [0; 100];
    let ili = |information| Sense {
        ili: true,
        information: Some(information),
        ..sense(SenseKey::NoSense, 0x00, 0x00)
    };
    let mark = Sense {
        filemark: true,
        information: Some(100),
        ..sense(SenseKey::NoSense, 0x00, 0x01)
    };
    let blank_with_eom = Sense {
        eom: true,
        ..sense(SenseKey::BlankCheck, 0x00, 0x00)
    };
    let answers = [
        good(),
        check(ili(40)),
        check(ili(-28)),
        check(mark),
        check(sense(SenseKey::BlankCheck, 0x00, 0x05)),
        check(blank_with_eom),
    ];
    let mut drive = Drive::new(Script::with(answers));
    let outcomes: Vec<_> = (0..6)
        .map(|_| drive.read_record(&mut buffer).unwrap())
        .collect();
    assert_eq!(
        outcomes,
        [
            ReadOutcome::Record { len: 100 },
            ReadOutcome::Record { len: 60 },
            ReadOutcome::Overlength { record: 128 },
            ReadOutcome::Filemark,
            ReadOutcome::EndOfData,
            ReadOutcome::EndOfData,
        ]
    );
}

/// One target fills the residual the wrong way round for a record longer than asked: only
/// INFORMATION may decide.
#[test]
fn information_beats_the_residual() {
    let ili = Sense {
        ili: true,
        information: Some(-28),
        ..sense(SenseKey::NoSense, 0, 0)
    };
    let wrong = (Ok(Completion::check(ili.to_fixed().to_vec(), 100)), vec![]);
    let short = Sense {
        information: Some(40),
        ..ili
    };
    let nothing_moved = (
        Ok(Completion::check(short.to_fixed().to_vec(), 100)),
        vec![],
    );
    let mut drive = Drive::new(Script::with([wrong, nothing_moved]));
    let mut buffer = [0; 100];
    assert_eq!(
        drive.read_record(&mut buffer),
        Ok(ReadOutcome::Overlength { record: 128 })
    );
    assert_eq!(
        drive.read_record(&mut buffer),
        Ok(ReadOutcome::Record { len: 60 })
    );
    // ILI that claims more missing than was asked for is a lie, not a length.
    let lie = Sense {
        information: Some(101),
        ..ili
    };
    let mut drive = Drive::new(Script::with([check(lie)]));
    assert!(matches!(
        drive.read_record(&mut buffer),
        Err(ScsiError::Check { .. })
    ));
}

#[test]
fn unreadable_and_lost_end_are_errors_not_ends() {
    let mut buffer = [0; 8];
    for (key, asc, ascq, action) in [
        (SenseKey::MediumError, 0x11, 0x00, Action::RetryElsewhere),
        (SenseKey::BlankCheck, 0x14, 0x03, Action::TornEnd),
        (SenseKey::MediumError, 0x14, 0x03, Action::TornEnd),
    ] {
        let mut drive = Drive::new(Script::with([check(sense(key, asc, ascq))]));
        assert_eq!(drive.read_record(&mut buffer).unwrap_err().action(), action);
    }
}

#[test]
fn spacing_stops_where_the_tape_says() {
    let stop = |key, asc, ascq, filemark, eom| {
        check(Sense {
            filemark,
            eom,
            information: Some(3),
            ..sense(key, asc, ascq)
        })
    };
    let answers = [
        good(),
        stop(SenseKey::BlankCheck, 0x00, 0x05, false, false),
        stop(SenseKey::NoSense, 0x00, 0x01, true, false),
        stop(SenseKey::NoSense, 0x00, 0x04, false, true),
    ];
    let script = Script::with(answers);
    let mut drive = Drive::new(script.clone());
    assert_eq!(drive.space_filemarks(2), Ok(Spaced::All));
    assert_eq!(
        drive.space_filemarks(5),
        Ok(Spaced::EndOfData { missing: 3 })
    );
    assert_eq!(drive.space_records(5), Ok(Spaced::Filemark { missing: 3 }));
    assert_eq!(
        drive.space_filemarks(-5),
        Ok(Spaced::BeginningOfPartition { missing: 3 })
    );
    // What does not fit 24 bits goes in the 16-byte command.
    drive.space_records(1 << 23).unwrap();
    assert_eq!(script.opcodes(), [0x11, 0x11, 0x11, 0x11, 0x91]);
}

#[test]
fn busy_and_reservation_conflict_were_not_executed() {
    for status in [Status::Busy, Status::ReservationConflict] {
        let answer = (
            Ok(Completion {
                status,
                sense: vec![],
                residual: 0,
            }),
            vec![],
        );
        let mut drive = Drive::new(Script::with([answer]));
        let expected = ScsiError::Status {
            command: "REWIND",
            status,
        };
        assert_eq!(drive.rewind(), Err(expected));
        assert!(drive.poisoned().is_none());
    }
}

fn status(status: Status) -> Answer {
    let completion = Completion {
        status,
        sense: vec![],
        residual: 0,
    };
    (Ok(completion), vec![])
}

/// Patience that remembers the waits instead of waiting.
fn patience() -> (Patience, Arc<Mutex<Vec<Duration>>>) {
    let waits: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let log = Arc::clone(&waits);
    let patience = Patience::waiting(move |time| log.lock().unwrap().push(time));
    (patience, waits)
}

#[test]
fn with_patience_a_busy_drive_is_asked_again_and_gets_the_data_again() {
    let mut answers = vec![status(Status::Busy), status(Status::TaskSetFull)];
    answers.push((Ok(Completion::good()), b"record".to_vec()));
    let script = Script::with(answers);
    let (patience, waits) = patience();
    let mut drive = Drive::new(script.clone());
    drive.set_patience(patience);
    let mut buffer = [0; 6];
    assert_eq!(
        drive.read_record(&mut buffer),
        Ok(ReadOutcome::Record { len: 6 })
    );
    assert_eq!(&buffer, b"record");
    assert_eq!(script.opcodes(), [0x08, 0x08, 0x08]);
    assert_eq!(*waits.lock().unwrap(), [50, 100].map(Duration::from_millis));
    // A reservation conflict is no matter of patience.
    let conflict = Script::with([status(Status::ReservationConflict)]);
    let mut drive = Drive::new(conflict.clone());
    drive.set_patience(self::patience().0);
    assert!(!drive.rewind().unwrap_err().is_busy());
    assert_eq!(conflict.opcodes().len(), 1);
}

#[test]
fn patience_with_a_busy_drive_ends() {
    let script = Script::with((0..50).map(|_| status(Status::Busy)));
    let (patience, waits) = patience();
    let mut drive = Drive::new(script.clone());
    drive.set_patience(patience);
    assert!(drive.rewind().unwrap_err().is_busy());
    assert!(drive.poisoned().is_none(), "nothing was done");
    assert_eq!(script.opcodes().len(), 9);
    let total: Duration = waits.lock().unwrap().iter().sum();
    assert_eq!(total, Duration::from_millis(12_750));
}

#[test]
fn sense_that_cannot_be_read_is_never_a_success() {
    let answer = (Ok(Completion::check(vec![0x7f, 1, 2], 0)), vec![]);
    let mut drive = Drive::new(Script::with([answer]));
    assert!(matches!(
        drive.write_record(b"x"),
        Err(ScsiError::UnreadableSense { .. })
    ));
}

#[test]
fn a_record_that_does_not_fit_24_bits_is_refused_here() {
    let script = Script::default();
    let mut drive = Drive::new(script.clone());
    let record = vec![0; 0x100_0000];
    let error = drive.write_record(&record).unwrap_err();
    assert!(matches!(
        error,
        ScsiError::TooLarge {
            asked: 0x100_0000,
            limit: 0xff_ffff,
            ..
        }
    ));
    assert!(script.opcodes().is_empty());
}

/// A flat ten minutes aborts a drive in the middle of its recovery; these are the maker's figures.
#[test]
fn every_command_has_its_own_timeout() {
    let mut product = vec![0u8; 96];
    product[..5].copy_from_slice(&[0x01, 0x80, 0x06, 0x02, 91]);
    product[8..36].copy_from_slice(b"IBM     ULT3580-TD9     Q3A0");
    let script = Script::with([(Ok(Completion::good()), product)]);
    let mut drive = Drive::new(script.clone());
    drive.identify().unwrap();
    drive.write_record(b"x").unwrap();
    drive.write_filemarks(1, FilemarkMode::Synchronous).unwrap();
    drive.locate(ObjectNumber(1)).unwrap();
    drive.rewind().unwrap();
    drive.unload().unwrap();
    drive.read_record(&mut [0; 4]).unwrap();
    drive.readiness().unwrap();
    let seconds: Vec<u64> = script
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|(_, timeout)| timeout.as_secs())
        .collect();
    // The first, INQUIRY, before the drive was known.
    assert_eq!(seconds, [60, 1500, 1620, 2940, 600, 960, 2340, 60]);
}

#[test]
fn the_longest_table_is_no_shorter_than_any_other() {
    use scsi::{FormFactor::*, Generation::*};
    let longest = Timeouts::longest();
    for generation in [Lto7, Lto8, Lto9, Lto10] {
        for form in [FullHeight, HalfHeight] {
            let table = Timeouts::of_drive(generation, form);
            for opcode in 0..=255u8 {
                let cdb = [opcode, 1, 0, 0, 0, 0];
                assert!(longest.of(&cdb) >= table.of(&cdb), "{opcode:02x}");
                assert!(table.of(&cdb) >= Duration::from_secs(60));
            }
        }
    }
}

#[test]
fn an_attention_taken_by_request_sense_poisons_like_any_other() {
    let attention = sense(SenseKey::UnitAttention, 0x29, 0x00);
    let as_data = (Ok(Completion::good()), attention.to_fixed().to_vec());
    let mut drive = Drive::new(Script::with([as_data, good()]));
    assert_eq!(drive.request_sense(), Ok(attention));
    assert!(matches!(drive.rewind(), Err(ScsiError::Poisoned(_))));
}
