//! Runs cases given as JSON lines on standard input.
use std::io::{BufRead, Write};

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        writeln!(out, "{}", asl::harness::batch_line(&line?))?;
    }
    Ok(())
}
