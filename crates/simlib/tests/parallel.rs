//! Drives work side by side.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

#[path = "common/lab.rs"]
mod common;

use common::*;
use simlib::{Config, Effect, Fault};
use std::thread;

#[test]
fn four_drives_and_the_robot_at_once() {
    let config = Config {
        drives: 4,
        ..Config::default().with_capacity(64 << 20)
    };
    let lab = Lab::new(config);
    let drives: Vec<_> = (0..4).map(|number| lab.mount(number, number)).collect();
    let lab = &lab;
    thread::scope(|scope| {
        for (number, mut drive) in drives.into_iter().enumerate() {
            scope.spawn(move || {
                let letter = char::from(b'A' + number as u8);
                let tape = format!("{letter}{letter}{letter}|{letter}!").repeat(20);
                write(&mut drive, &tape, 30_000);
                assert_eq!(read_all(&mut drive), tape.replace('!', "|"));
            });
        }
        let mut changer = lab.changer();
        for _ in 0..50 {
            let inventory = changer.inventory().unwrap();
            assert_eq!(
                inventory.drives.iter().filter(|drive| drive.full).count(),
                4
            );
        }
    });
}

/// Clones of a handle are the same drive: commands come one after the other, records whole.
#[test]
fn two_handles_of_one_drive_interleave_whole_commands() {
    let lab = Lab::new(Config::default().with_capacity(64 << 20));
    drop(lab.mount(0, 0));
    let lab = &lab;
    thread::scope(|scope| {
        for letter in ['A', 'B'] {
            scope.spawn(move || write(&mut lab.drive(0), &letter.to_string().repeat(200), 5000));
        }
    });
    let tape = read_all(&mut lab.drive(0));
    assert_eq!(tape.len(), 400);
    assert_eq!(tape.matches('A').count(), 200);
    assert!(!tape.contains('#'));
}

/// Faults that count do so exactly, whoever runs.
#[test]
fn a_fault_strikes_once_among_many_threads() {
    let config = Config {
        drives: 4,
        ..Config::default().with_capacity(64 << 20)
    };
    let lab = Lab::new(config);
    let drives: Vec<_> = (0..4).map(|number| lab.mount(number, number)).collect();
    lab.library.arm(
        Fault::on("WRITE(6)")
            .nth(100)
            .effect(Effect::sense(3, 0x0c, 0)),
    );
    let failures: usize = thread::scope(|scope| {
        let threads: Vec<_> = drives
            .into_iter()
            .map(|mut drive| {
                scope.spawn(move || {
                    (0..100)
                        .filter(|_| drive.write_record(&[1; 100]).is_err())
                        .count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(failures, 1);
}
