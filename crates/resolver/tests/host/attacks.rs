//! Every row of the attack table, contained within its limit; and each limit, obeyed and
//! violated.

use std::time::Duration;

use model::{Bytes, CallOutcome, Limits, MAX_CONTENDERS};

use crate::{host, hostile, kind, patient, provoke, provoke_under, set, sets};

/// Runs an attack under the default limits: it ends so, and a good call works afterwards.
#[track_caller]
fn check(attack: &str, ends: &str) {
    let call = provoke(attack);
    assert_eq!(kind(&call.outcome), ends, "{attack}: {:?}", call.outcome);
    assert_eq!(call.decision, None, "{attack}");
    assert!(call.outcome.is_replayable());
    assert!(call.fuel.unwrap() > 0, "{attack}");
    assert_eq!(provoke("main").outcome, CallOutcome::Decided);
}

#[test]
fn loops_run_out_of_fuel() {
    check("spin", "out_of_fuel");
    check("count", "out_of_fuel");
    assert_eq!(provoke("count").fuel, Some(Limits::DEFAULT.fuel));
}

#[test]
fn an_exponential_match_runs_out_of_fuel() {
    check("regex", "out_of_fuel");
}

#[test]
fn memory_bombs_meet_the_memory_limit() {
    check("memory-bomb", "memory_limit");
    check("memory-grow", "memory_limit");
    check("reason-100-mb", "memory_limit");
    check("ten-million", "memory_limit");
}

#[test]
fn recursion_meets_the_end_of_a_stack() {
    check("recurse", "stack_overflow");
    // Frames with data lie in linear memory, below address zero of which there is nothing.
    check("recurse-deep-frames", "memory_out_of_bounds");
}

#[test]
fn panics_and_bad_addresses_are_traps() {
    check("panic", "unreachable");
    check("unreachable", "unreachable");
    check("divide-by-zero", "unreachable");
    check("out-of-bounds", "memory_out_of_bounds");
}

#[test]
fn large_answers_meet_the_copy_limit() {
    check("reason-2-mib", "hostcall_limit");
    check("many-verdicts", "hostcall_limit");
    check("many-labels", "hostcall_limit");
}

#[test]
fn clocks_trap_and_files_and_threads_are_not_there() {
    check("environment", "unreachable");
    check("clock", "unreachable");
    check("wall-clock", "unreachable");
    for what in ["file", "thread"] {
        let reason = provoke(what).decision.map(|decision| decision.reason);
        assert_eq!(reason.as_deref(), Some("refused"), "{what}");
    }
}

#[test]
fn a_loop_that_has_fuel_runs_out_of_time() {
    let limits = Limits {
        fuel: Limits::CAP.fuel,
        wall_ms: 20,
        ..Limits::DEFAULT
    };
    let call = provoke_under("spin", &limits);
    assert_eq!(call.outcome, CallOutcome::TimedOut);
    assert!(!call.outcome.is_replayable());
    assert!(call.wall_us >= 20_000, "{}", call.wall_us);
    assert!(call.fuel.unwrap() < Limits::CAP.fuel);
}

#[test]
fn each_of_many_calls_at_once_has_its_own_deadline() {
    let within = |wall_ms, fuel| Limits {
        fuel,
        wall_ms,
        ..Limits::DEFAULT
    };
    std::thread::scope(|scope| {
        for n in 0..4 {
            scope.spawn(move || {
                for round in 0..5 {
                    let wall_ms = 5 + 3 * n + round;
                    let call = provoke_under("spin", &within(wall_ms, Limits::CAP.fuel));
                    assert_eq!(call.outcome, CallOutcome::TimedOut);
                    assert!(call.wall_us >= u64::from(wall_ms) * 1_000);
                }
            });
        }
        // Their deadlines raise the epoch of these as well, which have time left.
        for _ in 0..2 {
            scope.spawn(move || {
                for _ in 0..5 {
                    let call = provoke_under("spin", &within(2_000, 10_000_000));
                    assert_eq!(call.outcome, CallOutcome::OutOfFuel);
                    let call = provoke_under("main", &within(2_000, 10_000_000));
                    assert_eq!(call.outcome, CallOutcome::Decided);
                }
            });
        }
    });
}

#[test]
fn fuel_that_is_just_enough_is_enough() {
    let used = provoke("main").fuel.unwrap();
    let with = |fuel| provoke_under("main", &Limits { fuel, ..patient() });
    let enough = with(used);
    assert_eq!(enough.outcome, CallOutcome::Decided);
    assert_eq!(enough.fuel, Some(used));
    // Fuel is looked at where functions and loops begin, so that the last few instructions
    // may be free: the same ones each time.
    let short = with(used - 2_000);
    assert_eq!(short.outcome, CallOutcome::OutOfFuel);
    assert_eq!(short.fuel, Some(used - 2_000));
}

#[test]
fn memory_that_is_just_enough_is_enough() {
    let with = |memory| {
        provoke_under(
            "main",
            &Limits {
                memory,
                ..patient()
            },
        )
    };
    // A Rust component starts with 17 pages of 64 KiB and grows by a few.
    assert_eq!(with(Bytes::mib(2)).outcome, CallOutcome::Decided);
    assert_eq!(kind(&with(Bytes::mib(1)).outcome), "memory_limit");
}

#[test]
fn tables_that_are_just_enough_are_enough() {
    let with = |table_elements| {
        let limits = Limits {
            table_elements,
            ..patient()
        };
        provoke_under("main", &limits).outcome
    };
    let least = (1..1_000).find(|n| with(*n) == CallOutcome::Decided);
    assert_eq!(kind(&with(least.unwrap() - 1)), "table_limit");
}

#[test]
fn an_answer_that_may_just_be_copied_is_copied() {
    let with = |hostcall_fuel| {
        let limits = Limits {
            hostcall_fuel,
            ..patient()
        };
        provoke_under("main", &limits).outcome
    };
    assert_eq!(with(64 << 10), CallOutcome::Decided);
    assert_eq!(kind(&with(256)), "hostcall_limit");
}

#[test]
fn limits_beyond_the_cap_are_refused_by_name() {
    for (limits, field) in [
        (
            Limits {
                fuel: 0,
                ..Limits::DEFAULT
            },
            "limits.fuel",
        ),
        (
            Limits {
                wall_ms: 2_001,
                ..Limits::DEFAULT
            },
            "limits.wall_ms",
        ),
        (
            Limits {
                memory: Bytes::mib(257),
                ..Limits::DEFAULT
            },
            "limits.memory",
        ),
    ] {
        let CallOutcome::Unavailable { why } = provoke_under("main", &limits).outcome else {
            panic!("{field} is beyond its cap");
        };
        assert!(why.starts_with(field), "{why}");
    }
}

#[test]
fn a_set_of_256_is_decided_and_one_of_257_is_not_handed_over() {
    let full = sets::set("main", &[1; MAX_CONTENDERS]);
    let call = host().call(hostile(), &full, &patient());
    assert_eq!(call.outcome, CallOutcome::Decided);
    let over = sets::set("main", &[1; MAX_CONTENDERS + 1]);
    let call = host().call(hostile(), &over, &patient());
    let CallOutcome::Unavailable { why } = call.outcome else {
        panic!("257 are too many");
    };
    assert_eq!(why, "expected at most 256 requests, found 257");
    assert_eq!(call.fuel, None);
}

#[test]
fn a_set_of_more_than_256_kb_is_not_handed_over() {
    let mut large = set("main");
    let labels = &mut large.contenders[0].labels;
    labels.insert("note".to_owned(), "x".repeat(model::MAX_INPUT_BYTES));
    let CallOutcome::Unavailable { why } = host().call(hostile(), &large, &patient()).outcome
    else {
        panic!("it is too large");
    };
    assert!(why.contains("expected at most 262144 bytes"), "{why}");
}

#[test]
fn numbers_that_not_every_language_holds_are_not_handed_over() {
    let check = |change: &dyn Fn(&mut model::ConflictSet), says: &str| {
        let mut set = set("main");
        change(&mut set);
        let CallOutcome::Unavailable { why } = host().call(hostile(), &set, &patient()).outcome
        else {
            panic!("{says}");
        };
        assert!(why.starts_with(says), "{why}");
    };
    let limit = Bytes(1 << 53);
    check(
        &|set| set.contenders[3].bytes = limit,
        "requests[3].bytes: ",
    );
    check(&|set| set.volumes[1].free = limit, "volumes[1].free: ");
    check(&|set| set.history[2].bytes = limit, "history[2].bytes: ");
}

#[test]
fn a_clock_that_was_set_before_1970_does_not_keep_a_pool_from_being_decided() {
    let before_1970 = jiff::Timestamp::from_millisecond(-1).unwrap();
    let mut set = set("main");
    set.now = before_1970;
    set.contenders[0].submitted_at = before_1970;
    set.contenders[1].deadline = Some(before_1970);
    set.history[0].decided_at = before_1970;
    let call = host().call(hostile(), &set, &patient());
    assert_eq!(call.outcome, CallOutcome::Decided);
}

#[test]
fn many_attacks_leave_nothing_behind() {
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(kind(&provoke("memory-grow").outcome), "memory_limit");
        assert_eq!(kind(&provoke("recurse").outcome), "stack_overflow");
        assert_eq!(provoke("main").outcome, CallOutcome::Decided);
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
}
