//! Answers that come in time and are wrong: recorded with what they break, and never
//! applied. And answers that look odd and are right.

use model::{Action, CallOutcome, Code, Limits};

use crate::{host, hostile, patient, provoke, set};

/// The answer is invalid, and its record says why.
#[track_caller]
fn refused(lie: &str, says: &str) {
    match provoke(lie).outcome {
        CallOutcome::Invalid { violation } => {
            assert!(violation.contains(says), "{lie}: {violation}");
            assert!(violation.len() < 512, "{lie}: {} bytes", violation.len());
        }
        other => panic!("{lie}: {other:?}"),
    }
}

#[test]
fn verdicts_for_nobody_are_refused() {
    refused(
        "unknown-id",
        "verdicts[0].id: expected an id of the set, found \"0000",
    );
    refused(
        "not-an-id",
        "verdicts[0].id: expected an id of the set, found \"../../etc",
    );
    refused("upper-case-id", "verdicts[0].id: expected an id of the set");
}

#[test]
fn each_request_has_one_verdict() {
    refused("missing", "expected one verdict, found 0");
    refused("none", "expected one verdict, found 0");
    refused("twice", "expected one verdict, found 2");
}

#[test]
fn groups_are_not_split() {
    refused("split-group", "is split");
}

#[test]
fn requests_are_handed_on_only_to_those_who_can_stand_for_them() {
    refused(
        "supersede-by-nobody",
        "action.supersede: expected an id of the set",
    );
    refused(
        "supersede-by-text",
        "action.supersede: expected an id of the set",
    );
    refused("supersede-cycle", "not newer in its lineage");
    refused("merge-cycle", "does not hold the same");
}

#[test]
fn nothing_is_deferred_for_ever() {
    refused("defer-past", "not deferred by up to 24 hours");
    refused("defer-for-ever", "not deferred by up to 24 hours");
    refused("defer-beyond-time", "action.defer: expected milliseconds");
}

#[test]
fn orders_are_numbers_that_every_language_holds() {
    refused("order-2-53", "2^53");
    refused("order-max", "2^53");
}

#[test]
fn reasons_have_a_length() {
    refused(
        "reason-long",
        "verdicts[0].reason: expected at most 1024 bytes, found 1025",
    );
    refused("whole-reason-long", "reason: expected at most 1024 bytes");
    assert_eq!(provoke("reason-longest").outcome, CallOutcome::Decided);
}

#[test]
fn codes_have_a_length_and_no_spaces() {
    refused(
        "reject-no-code",
        "action.reject: expected a code of 1 to 64",
    );
    refused(
        "reject-long-code",
        "action.reject: expected a code of 1 to 64",
    );
    refused("error-no-code", "error.code: expected a code of 1 to 64");
    refused("error-long-code", "error.code: expected a code of 1 to 64");
    refused("error-long", "error.message: expected at most 1024 bytes");
}

#[test]
fn an_invalid_decision_stands_in_the_record() {
    let call = provoke("split-group");
    assert!(call.decision.is_some() && call.output.is_some());
    assert!(call.fuel.is_some());
}

#[test]
fn control_characters_do_not_reach_a_terminal() {
    let call = provoke("reason-control");
    assert_eq!(call.outcome, CallOutcome::Decided);
    assert_eq!(call.decision.unwrap().reason, "?[2Jgone?\n");
}

#[test]
fn an_error_of_its_own_is_recorded_as_it_says() {
    let call = provoke("error");
    assert_eq!(
        call.outcome,
        CallOutcome::Error {
            code: "acme.no-data".to_owned(),
            message: "expected history, found none".to_owned(),
        }
    );
    assert_eq!((call.decision, call.output), (None, None));
}

#[test]
fn codes_of_a_refusal_are_ours_or_its_own() {
    for (what, code, message) in [
        (
            "reject-own-code",
            Code::PolicyRefused,
            "acme.quota: because",
        ),
        (
            "reject-foreign-code",
            Code::PolicyRefused,
            "Tapemark.Forbidden: because",
        ),
        ("reject-fork", Code::LineageFork, "because"),
        ("reject-deadline", Code::DeadlineMissed, "because"),
    ] {
        let call = provoke(what);
        assert_eq!(call.outcome, CallOutcome::Decided, "{what}");
        for verdict in call.decision.unwrap().verdicts {
            let Action::Reject { refusal } = verdict.action else {
                panic!("{what} rejects");
            };
            assert_eq!((refusal.code, &*refusal.message), (code, message));
        }
    }
}

#[test]
fn a_resolver_that_alternates_cannot_because_each_call_is_fresh() {
    let first = provoke("alternate");
    for _ in 0..3 {
        let again = provoke("alternate");
        assert_eq!((&again.output, again.fuel), (&first.output, first.fuel));
    }
    assert_eq!(first.decision.unwrap().reason, "call 0");
}

#[test]
fn numbers_that_are_none_have_the_same_bits_on_every_processor() {
    let reason = provoke("nan").decision.unwrap().reason;
    assert_eq!(reason, "7ff8000000000000 7ff8000000000000");
    assert_eq!(provoke("nan-order").outcome, CallOutcome::Decided);
}

#[test]
fn addresses_and_hash_orders_are_the_same_in_each_call() {
    for what in ["addresses", "hash-order"] {
        assert_eq!(provoke(what).output, provoke(what).output, "{what}");
    }
}

#[test]
fn a_resolver_that_starves_a_service_is_valid_and_its_record_shows_it() {
    let call = provoke("starve");
    assert_eq!(call.outcome, CallOutcome::Decided);
    let starved = |verdict: &&model::Verdict| matches!(verdict.action, Action::Defer { .. });
    let verdicts = call.decision.unwrap().verdicts;
    assert_eq!(verdicts.iter().filter(starved).count(), 1);
}

#[test]
fn the_order_in_which_a_database_answers_changes_nothing() {
    let sorted = set("hash-order");
    let mut shuffled = sorted.clone();
    shuffled.contenders.reverse();
    shuffled.volumes.reverse();
    shuffled.drives.rotate_left(3);
    shuffled.history.reverse();
    shuffled.conflicts.reverse();
    let [one, other] = [sorted, shuffled].map(|set| host().call(hostile(), &set, &Limits::DEFAULT));
    assert_eq!(one.output, other.output);
    assert_eq!(one.fuel, other.fuel);
    let ids: Vec<_> = one
        .decision
        .unwrap()
        .verdicts
        .iter()
        .map(|v| v.id)
        .collect();
    assert!(ids.is_sorted());
}

#[test]
fn pooled_instances_decide_as_others_do_and_remember_nothing() {
    let pooled = resolver::Host::new(resolver::Allocation::Pooling { instances: 2 }).unwrap();
    let loaded = pooled.load_component(crate::HOSTILE).unwrap();
    let input = resolver::Prepared::new(std::sync::Arc::new(set("alternate")));
    let mapped = host().call_prepared(hostile(), &input, &patient());
    for _ in 0..10 {
        let call = pooled.call_prepared(&loaded, &input, &patient());
        assert_eq!(call.outcome, CallOutcome::Decided);
        assert_eq!((call.output, call.fuel), (mapped.output, mapped.fuel));
        let attack = pooled.call(&loaded, &set("memory-bomb"), &patient());
        assert_eq!(crate::kind(&attack.outcome), "memory_limit");
    }
}
