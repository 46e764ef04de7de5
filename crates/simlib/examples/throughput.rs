//! How fast the simulator takes and gives records: `cargo run --release -p simlib --example
//! throughput [MEGABYTES]`. Prints one line of JSON.

use scsi::{Changer, Drive, FilemarkMode, ReadOutcome};
use simlib::{Config, SimLibrary};
use std::io::Write;
use std::time::Instant;

/// The record length of Tapemark's tape format.
const RECORD: usize = 512 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let megabytes: usize = match std::env::args().nth(1) {
        Some(argument) => argument.parse()?,
        None => 4096,
    };
    let records = megabytes * 1_000_000 / RECORD;
    let dir = tempfile::tempdir()?;
    let library = SimLibrary::create(dir.path(), Config::default(), 1)?;
    let mut changer = Changer::new(library.changer());
    changer.inventory()?;
    changer.move_medium(library.slot(0), library.bay(0))?;
    let mut drive = Drive::new(library.drive(0).ok_or("no drive")?);
    drive.requalify()?;

    let record: Vec<u8> = (0..RECORD as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let started = Instant::now();
    for _ in 0..records {
        drive.write_record(&record)?;
    }
    drive.write_filemarks(1, FilemarkMode::Synchronous)?;
    let write = started.elapsed().as_secs_f64();

    drive.rewind()?;
    let mut buffer = vec![0; RECORD];
    let started = Instant::now();
    for _ in 0..records {
        if drive.read_record(&mut buffer)? != (ReadOutcome::Record { len: RECORD }) {
            return Err("a record is missing".into());
        }
    }
    let read = started.elapsed().as_secs_f64();

    drive.unload()?;
    let started = Instant::now();
    drive.load()?;
    let load = started.elapsed().as_secs_f64();
    let rate = |seconds: f64| (records * RECORD) as f64 / 1e6 / seconds;
    let line = serde_json::json!({
        "megabytes": records * RECORD / 1_000_000,
        "write_mb_s": rate(write).round(),
        "read_mb_s": rate(read).round(),
        "load_ms": (load * 1e4).round() / 10.0,
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
