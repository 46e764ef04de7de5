//! The demo, small: everything in it happens, and its numbers add up.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;

use serde_json::json;
use support::{TAPEMARK, answer, noise};

#[test]
fn a_small_demo_proves_every_byte() {
    let from = tempfile::tempdir().unwrap();
    for n in 0..60u16 {
        let bytes = noise(u64::from(n), 1000 + usize::from(n) * 777);
        std::fs::write(from.path().join(format!("file-{n}")), bytes).unwrap();
    }
    let output = Command::new(TAPEMARK)
        .args([
            "demo",
            "--json",
            "--services",
            "30",
            "--seed",
            "7",
            "--from",
        ])
        .arg(from.path())
        .output()
        .unwrap();
    let report = answer(output).ok();
    for (key, expected) in [
        ("submitted", json!(30 + 3 + 3 + 4)),
        ("committed", json!(30 - 3 + 2)),
        ("superseded", json!(3)),
        ("merged", json!(3)),
        ("refused", json!(5)),
        ("groups_committed", json!(1)),
        ("restored", json!(23)),
        ("restore_mismatches", json!(0)),
        ("agent_kills", json!(1)),
        ("ledger_verified", json!(true)),
        ("failed", json!([])),
    ] {
        assert_eq!(report[key], expected, "{key} in {report}");
    }
    // All conflicts are decided by the default resolver, and the shadow sees all of them.
    let decided = &report["decided"];
    assert_eq!(decided["fallbacks"], 0, "{decided}");
    let by = decided["by"].as_object().unwrap();
    assert!(
        by.keys().all(|name| name.starts_with("priority-deadline@")),
        "{decided}"
    );
    assert_eq!(decided["shadow"]["decided"], decided["decisions"]);
    assert!(decided["fuel"]["p50"].as_f64().unwrap() > 0.0);
    let example = &decided["shadow"]["example"]["requests"][0];
    assert_ne!(example["live"]["action"], example["shadow"]["action"]);
    assert!(report["bytes"].as_u64().unwrap() > 0);
    assert!(report["volumes"].as_u64().unwrap() > 0);
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
}
