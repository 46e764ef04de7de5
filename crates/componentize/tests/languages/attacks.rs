//! Whatever a resolver in JavaScript or Python does, its limits hold, the call ends with an
//! outcome that says why, and the next call decides.

use componentize::project::Lang;
use model::{Call, CallOutcome, ConflictSet, Limits};

use super::guest::{Guest, LIMITS, build, can_build, copy, plugins};

/// Builds the guest whose attack is chosen by the name of the pool.
fn hostile(lang: Lang) -> Option<Guest> {
    if !can_build(lang) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests");
    copy(&sources.join(lang.name()), folder.path());
    copy(&plugins().join("wit"), &folder.path().join("wit"));
    let build_with: Vec<&str> = match lang {
        Lang::Js => "componentize-qjs --wit wit --js hostile.js --world resolver --stub-wasi \
                     --sync --output hostile.wasm"
            .split_whitespace()
            .collect(),
        _ => "componentize-py --quiet -d wit -w resolver componentize --stub-wasi hostile \
              -o hostile.wasm"
            .split_whitespace()
            .collect(),
    };
    let manifest = format!(
        "name = \"hostile\"\nlang = {:?}\nbuild = {build_with:?}\noutput = \"hostile.wasm\"\n",
        lang.name()
    );
    std::fs::write(folder.path().join("resolver.toml"), manifest).unwrap();
    Some(Guest::load(build(folder.path())))
}

/// A set that asks for an attack.
fn attack(name: &str) -> ConflictSet {
    let mut set = policy::sample(1, 3);
    for contender in &mut set.contenders {
        contender.settled = false;
    }
    set.conflicts = Vec::new();
    set.pool = name.parse().unwrap();
    set
}

/// How a call ended, in a word or two; what the engine or the guest says is left out.
fn outcome(call: &Call) -> String {
    match &call.outcome {
        CallOutcome::Trap { kind, .. } => format!("trap {kind}"),
        CallOutcome::Error { code, .. } => format!("error {code}"),
        CallOutcome::Invalid { .. } => "invalid".to_owned(),
        other => other.name().to_owned(),
    }
}

/// Every attack ends as expected, twice the same, and leaves nothing behind.
fn contained(guest: &Guest, expected: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (name, expected) in expected {
        let set = attack(name);
        let (call, again) = (guest.call(&set), guest.call(&set));
        let found = outcome(&call);
        if found != *expected {
            wrong.push(format!(
                "{name}: expected {expected}, found {:?}",
                call.outcome
            ));
        }
        if (&call.outcome, call.fuel, call.output) != (&again.outcome, again.fuel, again.output) {
            wrong.push(format!(
                "{name}: {:?}, then {:?}",
                call.outcome, again.outcome
            ));
        }
        let (decision, _) = guest.decide(&attack("main"));
        assert_eq!(decision.reason, "all go ahead");
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Out of wall time before it is out of fuel: the seat belt.
fn stopped_by_the_watchdog(guest: &Guest) {
    let limits = Limits {
        fuel: Limits::CAP.fuel,
        wall_ms: 20,
        ..LIMITS
    };
    let call = guest.call_within(&attack("spin"), &limits);
    assert_eq!(call.outcome, CallOutcome::TimedOut);
    assert!(!call.outcome.is_replayable());
}

#[test]
fn what_a_resolver_in_javascript_does_is_contained() {
    let Some(guest) = hostile(Lang::Js) else {
        return;
    };
    contained(
        &guest,
        &[
            ("spin", "out_of_fuel"),
            ("regex", "out_of_fuel"),
            ("memory-bomb", "trap memory_limit"),
            ("recurse", "trap stack_overflow"),
            ("throw", "trap unreachable"),
            ("throw-nothing", "trap unreachable"),
            ("throw-error", "error hostile.no"),
            ("long-reason", "trap hostcall_limit"),
            ("many-verdicts", "out_of_fuel"),
            ("clock", "trap unreachable"),
            ("high-resolution-clock", "trap unreachable"),
            ("no-decision", "trap unreachable"),
            ("wrong-types", "trap unreachable"),
            ("lossy", "invalid"),
            ("random", "decided"),
            ("remember", "decided"),
        ],
    );
    let (first, _) = guest.decide(&attack("remember"));
    assert_eq!(first.reason, "1", "an instance must not see a second call");
    stopped_by_the_watchdog(&guest);
}

#[test]
fn what_a_resolver_in_python_does_is_contained() {
    let Some(guest) = hostile(Lang::Python) else {
        return;
    };
    contained(
        &guest,
        &[
            ("spin", "out_of_fuel"),
            ("regex", "out_of_fuel"),
            ("memory-bomb", "trap memory_limit"),
            ("number-bomb", "trap unreachable"),
            ("recurse", "trap unreachable"),
            ("throw", "trap unreachable"),
            ("throw-error", "error hostile.no"),
            ("leave", "trap unreachable"),
            ("long-reason", "trap hostcall_limit"),
            ("many-verdicts", "out_of_fuel"),
            ("clock", "trap unreachable"),
            ("read-file", "trap unreachable"),
            ("environment", "decided"),
            ("random", "decided"),
            ("no-decision", "trap unreachable"),
            ("lossy", "invalid"),
            ("remember", "decided"),
        ],
    );
    let (first, _) = guest.decide(&attack("remember"));
    assert_eq!(first.reason, "1", "an instance must not see a second call");
    let (environment, _) = guest.decide(&attack("environment"));
    assert_eq!(environment.reason, "[]", "a resolver has no environment");
    stopped_by_the_watchdog(&guest);
}
