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
