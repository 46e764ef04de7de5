//! Bytes and answers that nobody meant: refused or not, never a panic.

use model::{CallOutcome, Code};
use proptest::prelude::*;
use resolver::inspect;

use crate::{HOSTILE, provoke};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_component_with_changed_bytes_is_looked_at_safely(
        changes in prop::collection::vec((0..HOSTILE.len(), any::<u8>()), 1..16),
        keep in HOSTILE.len() / 2..=HOSTILE.len(),
    ) {
        let mut bytes = HOSTILE.to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(keep);
        match inspect(&bytes) {
            Ok(inspection) => prop_assert_eq!(inspection.bytes.0, bytes.len() as u64),
            Err(refusal) => prop_assert_eq!(refusal.code, Code::ResolverInvalid),
        }
    }

    #[test]
    fn bytes_that_begin_as_a_component_are_looked_at_safely(
        tail in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [b"\0asm\x0d\0\x01\0", &tail[..]].concat();
        if let Err(refusal) = inspect(&bytes) {
            prop_assert_eq!(refusal.code, Code::ResolverInvalid);
        }
    }

    #[test]
    fn whatever_a_pool_is_called_a_call_ends_and_says_how(name in "[a-z0-9-]{1,20}") {
        let call = provoke(&name);
        prop_assert_eq!(call.outcome == CallOutcome::Decided, call.output.is_some());
    }
}
