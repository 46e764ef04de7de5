//! A process that is really killed, and a library that is really the same twice.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

#[path = "common/lab.rs"]
mod common;

use common::*;
use scsi::ReadOutcome;
use simlib::{Config, Effect, Fault, SimLibrary};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const CHILD: &str = "SIMLIB_TEST_CHILD_WRITES_IN";
/// Records of a batch, each followed by one synchronous filemark.
const BATCH: u64 = 7;

fn config() -> Config {
    // The buffer overflows in the middle of most batches.
    Config {
        buffer: 40_000,
        ..Config::default().with_capacity(1 << 40)
    }
}

fn record(number: u64) -> Vec<u8> {
    let length = 100 + (number * 7919 % 20_000) as usize;
    (0..length as u64)
        .map(|at| (number * 31 + at) as u8)
        .collect()
}

/// The child: writes batch after batch and says how many are behind a synchronous filemark.
fn write_until_killed(dir: &Path) -> ! {
    let library = SimLibrary::open(dir, config()).unwrap();
    let mut drive = scsi::Drive::new(library.drive(0).unwrap());
    drive.requalify().unwrap();
    for batch in 0.. {
        for number in 0..BATCH {
            drive.write_record(&record(batch * BATCH + number)).unwrap();
        }
        drive.write_filemarks(1, SYNC).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "durable {}", batch + 1).unwrap();
        out.flush().unwrap();
    }
    unreachable!("the parent kills this process")
}

#[test]
fn what_was_behind_a_synchronous_filemark_survives_kill_9() {
    if let Some(dir) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&dir));
    }
    for kill_after in [1, 2, 5, 20, 60] {
        let lab = Lab::new(config());
        drop(lab.mount(0, 0));
        let Lab { dir, library, .. } = lab;
        drop(library);
        let name = "what_was_behind_a_synchronous_filemark_survives_kill_9";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.split("durable ").nth(1)?.parse::<u64>().ok())
            .take(kill_after)
            .last();
        child.kill().unwrap();
        child.wait().unwrap();
        let durable = told.expect("the child has told of at least one batch");
        assert_eq!(durable, kill_after as u64);

        let library = SimLibrary::open(dir.path(), config()).unwrap();
        let mut drive = scsi::Drive::new(library.drive(0).unwrap());
        drive.requalify().unwrap();
        let mut buffer = vec![0; 1 << 16];
        let (mut records, mut marks) = (0, 0);
        loop {
            match drive.read_record(&mut buffer).unwrap() {
                ReadOutcome::Record { len } => {
                    assert_eq!(buffer[..len], record(records), "record {records}");
                    assert_eq!(records / BATCH, marks, "record {records}");
                    records += 1;
                }
                ReadOutcome::Filemark => {
                    marks += 1;
                    assert_eq!(records, marks * BATCH);
                }
                ReadOutcome::EndOfData => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(
            marks >= durable,
            "{marks} batches on tape, {durable} promised"
        );
        // And the tape can be written on.
        write(&mut drive, "A!", 10);
    }
}

/// The same commands and faults give the same answers and the same files, byte for byte.
#[test]
fn a_library_is_a_function_of_its_commands() {
    let run = || {
        let lab = Lab::new(Config {
            buffer: 5000,
            ..small()
        });
        let library = &lab.library;
        library.arm(Fault::on("WRITE(6)").nth(9).effect(Effect::PowerLoss {
            kept: 2,
            torn: false,
        }));
        library.arm(
            Fault::on("READ(6)")
                .nth(4)
                .effect(Effect::sense(3, 0x11, 0)),
        );
        library.arm(
            Fault::on("MOVE MEDIUM")
                .nth(3)
                .effect(Effect::Jam { dropped: true }),
        );
        let mut answers = Vec::new();
        let mut drive = lab.mount(0, 0);
        drop(lab.mount(1, 1));
        for number in 0..20u64 {
            answers.push(format!("{:?}", drive.write_record(&record(number))));
            if number % 5 == 4 {
                answers.push(format!("{:?}", drive.write_filemarks(1, IMMED)));
                answers.push(format!("{:?}", drive.requalify()));
            }
        }
        answers.push(format!("{:?}", drive.rewind()));
        let mut buffer = vec![0; 1 << 16];
        for _ in 0..12 {
            answers.push(format!("{:?}", drive.read_record(&mut buffer)));
        }
        let mut changer = lab.changer();
        answers.push(format!(
            "{:?}",
            changer.move_medium(library.slot(2), library.slot(9))
        ));
        answers.push(format!("{:?}", changer.inventory()));
        let mut files: Vec<_> = std::fs::read_dir(lab.dir.path().join("cartridges"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (
                    path.file_name().unwrap().to_owned(),
                    std::fs::read(path).unwrap(),
                )
            })
            .collect();
        files.sort();
        (answers, files)
    };
    let (first, second) = (run(), run());
    assert_eq!(first.0, second.0);
    assert!(first.1 == second.1, "cartridge files differ");
    // The faults have struck.
    let all = first.0.join("\n");
    for trace in ["Transport", "Poisoned", "11/00", "Jammed"] {
        assert!(all.contains(trace), "{trace} in {all}");
    }
}
