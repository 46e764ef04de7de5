//! What a function does with a resolver: reads a conflict set as JSON from standard input,
//! maps compiled code whose digest it was told, decides once, writes the call as JSON.
//!
//! `bench -- resolver` runs it for two figures: how long the first
//! decision of a process takes (on standard error, in microseconds, without reading the
//! set), and by how much the host makes a binary larger (against `decide_natively`).
//!
//! ```text
//! decide_once COMPILED SHA256 < set.json
//! ```

use std::error::Error;
use std::io::{Write as _, stdin, stdout};
use std::path::PathBuf;
use std::time::Instant;

use model::{CallOutcome, ConflictSet, Limits, Sha256};
use resolver::{Allocation, Host};

fn main() -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let mut arguments = std::env::args_os().skip(1);
    let compiled: PathBuf = arguments.next().ok_or("expected COMPILED SHA256")?.into();
    let digest = arguments.next().ok_or("expected SHA256 after COMPILED")?;
    let digest: Sha256 = digest.to_string_lossy().parse()?;
    let before_reading = started.elapsed();
    let set: ConflictSet = serde_json::from_reader(stdin().lock())?;
    let read = Instant::now();
    let host = Host::new(Allocation::OnDemand)?;
    let loaded = host.load(&compiled, digest)?;
    let call = host.call(&loaded, &set, &Limits::DEFAULT);
    let cold = before_reading + read.elapsed();
    writeln!(std::io::stderr(), "{}", cold.as_secs_f64() * 1e6)?;
    serde_json::to_writer(stdout().lock(), &call)?;
    if call.outcome != CallOutcome::Decided {
        return Err(format!("expected a decision, found {}", call.outcome.name()).into());
    }
    Ok(())
}
