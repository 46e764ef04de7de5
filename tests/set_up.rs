//! What an installation is set up with stays usable: nothing that is lost is replaced in
//! silence, and nothing that cannot work is kept.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Stack, noise, tree};

#[test]
fn a_lost_identity_is_missed_not_replaced() {
    let mut stack = Stack::start();
    stack.register(&["a"]);
    let file = stack.file("app", &noise(1, 100_000));
    let id = stack.commit("a", "1", &file);
    assert_eq!(stack.stop(), 0);
    let identity = stack.data().join("keys/age-identity.txt");
    let copy = std::fs::read(&identity).unwrap();
    std::fs::remove_file(&identity).unwrap();

    let refused = stack.up_in_vain(&[]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("put your copy of it there"),
        "{refused:?}"
    );
    assert!(!identity.exists());

    std::fs::write(&identity, copy).unwrap();
    stack.up();
    assert_eq!(tree(&stack.restore(&id))["app"], noise(1, 100_000));
}

#[test]
fn what_cannot_work_is_refused_and_what_did_not_is_not_kept() {
    let mut stack = Stack::start();
    assert_eq!(stack.stop(), 0);
    let setup = stack.data().join("up.toml");
    let kept = std::fs::read_to_string(&setup).unwrap();
    for bad in [
        &["--copies", "2"][..],
        &["--capacity", "1MiB"],
        &["--reserve", "256MiB"],
    ] {
        let refused = stack.up_in_vain(bad);
        assert_eq!(refused.code, 2, "{refused:?}");
    }

    // A script that is none stops the agent, not the stack; the reason is on standard error.
    let script = stack.dir().join("faults.json");
    std::fs::write(&script, "no script").unwrap();
    let script = script.to_str().unwrap().to_owned();
    stack.add_options(&["--drives", "3", "--faults", &script]);
    stack.up();
    let logs = stack.up_log();
    assert!(logs.contains("has not reported an inventory"), "{logs}");
    assert!(logs.contains("exit code "), "{logs}");
    assert!(!logs.contains("ExitStatus"), "{logs}");
    assert_eq!(stack.stop(), 0);
    assert_eq!(std::fs::read_to_string(&setup).unwrap(), kept);
}

#[test]
fn the_reserve_can_be_changed_at_a_later_start() {
    let mut stack = Stack::start_with(&["--reserve", "8MiB"], &[]);
    let reserve = |stack: &Stack| stack.run(["pool", "show", "main"]).ok()["reserve"].clone();
    assert_eq!(reserve(&stack), 8 << 20);
    assert_eq!(stack.stop(), 0);
    stack.add_options(&["--reserve", "16MiB"]);
    stack.up();
    assert_eq!(reserve(&stack), 16 << 20);
}
