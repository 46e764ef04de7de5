//! Drives and tapes fail, through the whole stack: what was submitted is committed in the
//! end, comes back byte for byte, and the ledger holds.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{Stack, noise, tree};

/// A fault script in a file, for as long as a story takes.
struct Script {
    _dir: tempfile::TempDir,
    path: String,
}

impl Script {
    fn new(faults: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("faults.json");
        std::fs::write(&path, faults.to_string()).unwrap();
        let path = path.to_str().unwrap().to_owned();
        Self { _dir: dir, path }
    }
}

fn sense(key: u8, asc: u8, ascq: u8) -> Value {
    json!({ "sense": { "key": key, "asc": asc, "ascq": ascq } })
}

/// Four services submit a few MiB each while the library follows the script. Some ten records
/// each, behind the few of a label: the ninth write is in the middle of a segment.
///
/// `trace` is what is logged of the fault before anything is restored: a script that strikes
/// nothing proves nothing.
#[track_caller]
fn survives(faults: Value, trace: &str) {
    let script = Script::new(&faults);
    let stack = Stack::start_with(&["--capacity", "64MiB", "--faults", &script.path], &[]);
    let services = ["s0", "s1", "s2", "s3"];
    stack.register(&services);
    let mut submitted = Vec::new();
    for (no, service) in (0..).zip(services) {
        let bytes = noise(no, 5_000_000 + 1_500_000 * usize::try_from(no).unwrap());
        let file = stack.file(&format!("{service}/app"), &bytes);
        let path = file.to_str().unwrap();
        let order = ["submit", "--service", service, "--version", "1", path];
        let id = stack.run(order).ok()["id"].as_str().unwrap().to_owned();
        submitted.push((id, bytes));
    }
    for (id, _) in &submitted {
        let end = stack.wait_for(id, &["committed", "failed", "cancelled", "parked"]);
        assert_eq!(end["state"], "committed", "{end}");
    }
    let logs = stack.logs();
    assert!(logs.contains(trace), "expected {trace:?}");
    for (id, bytes) in &submitted {
        let found = tree(&stack.restore(id));
        let found: Vec<_> = found.values().collect();
        assert_eq!(found, [bytes], "{id}");
    }
    let ledger = stack.run(["ledger", "verify"]).ok();
    assert_eq!(ledger["verified"], true);
    assert_eq!(ledger["committed"], services.len());
}

#[test]
fn a_write_error_in_the_middle_of_a_segment() {
    survives(
        json!([{ "command": "WRITE(6)", "nth": 9, "effect": sense(3, 0x0c, 0) }]),
        "3/0C/00 (write error)",
    );
}

#[test]
fn an_early_warning_that_comes_too_early() {
    survives(
        json!([{ "command": "WRITE(6)", "nth": 9, "effect":
            { "sense": { "key": 0, "asc": 0, "ascq": 2, "executed": true } } }]),
        "gave warning of the end of the medium",
    );
}

#[test]
fn a_reset_in_the_middle_of_a_segment() {
    survives(
        json!([{ "command": "WRITE(6)", "nth": 9, "effect": "reset" }]),
        "6/29/02 (bus reset occurred)",
    );
}

#[test]
fn a_read_error_while_it_is_read_back() {
    survives(
        json!([{ "command": "READ(6)", "nth": 8, "times": 3, "effect": sense(3, 0x11, 0) }]),
        "an unreadable record",
    );
}

#[test]
fn a_power_loss_with_some_of_the_buffer_written() {
    survives(
        json!([{ "command": "WRITE(6)", "nth": 9, "effect": { "power_loss": { "kept": 2 } } }]),
        "drive does not answer",
    );
}
