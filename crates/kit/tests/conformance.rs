//! Every check of the conformance kit can fail: each meets a resolver that breaks just
//! what it is for.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};

use kit::conformance::{Candidate, Case, Report, Settings, Status, bless, conform, load};
use kit::subject::{Native, Subject};
use model::{
    Action, Bytes, Call, CallOutcome, Code, ConflictSet, Decision, EngineId, Limits, Refusal,
    ResolverInfo, Sha256,
};
use resolver::Inspection;

/// A resolver made of two functions.
struct Pretend<D, C> {
    describe: D,
    call: C,
}

impl<D, C> Subject for Pretend<D, C>
where
    D: Fn() -> ResolverInfo + Sync,
    C: Fn(&ConflictSet) -> Call + Sync,
{
    fn engine(&self) -> EngineId {
        Native::PRIORITY_DEADLINE.engine()
    }

    fn component(&self) -> Option<Sha256> {
        None
    }

    fn describe(&self, _: &Limits) -> Result<ResolverInfo, CallOutcome> {
        Ok((self.describe)())
    }

    fn call(&self, set: &ConflictSet, _: &Limits) -> Call {
        (self.call)(set)
    }
}

fn info() -> ResolverInfo {
    Native::PRIORITY_DEADLINE
        .describe(&Limits::DEFAULT)
        .unwrap()
}

fn native(set: &ConflictSet) -> Call {
    Native::PRIORITY_DEADLINE.call(set, &Limits::DEFAULT)
}

fn report_of(subject: &dyn Subject, settings: &Settings) -> Report {
    let candidate = Candidate {
        inspection: None,
        subject: Ok(subject),
        twin: None,
    };
    conform(&candidate, settings)
}

/// The report on a resolver that decides like the native policy, but for `change`.
fn changed(change: impl Fn(&ConflictSet, &mut Call) + Sync) -> Report {
    let subject = Pretend {
        describe: info,
        call: |set: &ConflictSet| {
            let mut call = native(set);
            change(set, &mut call);
            call
        },
    };
    report_of(&subject, &Settings::quick())
}

/// Decides otherwise, and is checked like everybody.
fn decides(set: &ConflictSet, call: &mut Call, policy: fn(&ConflictSet) -> Decision) {
    *call = Native { policy }.call(set, &Limits::DEFAULT);
}

#[track_caller]
fn found(report: &Report, check: &str, status: Status, part: &str) {
    let check = report.check(check).unwrap();
    assert_eq!(check.status, status, "{check:?}");
    assert!(
        check.found.iter().any(|found| found.contains(part)),
        "expected {part:?} in {check:?}"
    );
}

#[test]
fn the_native_policy_conforms() {
    let report = report_of(&Native::PRIORITY_DEADLINE, &Settings::quick());
    assert_eq!(
        report.status(),
        Status::Pass,
        "{}",
        report.to_text(|_, word| word.to_owned())
    );
    let skipped: Vec<_> = report
        .checks
        .iter()
        .filter(|check| check.status == Status::Skip)
        .map(|check| check.name)
        .collect();
    assert_eq!(skipped, ["cases", "fuel"]);
    assert!(report.calls > 80, "{}", report.calls);
}

#[test]
fn a_name_a_version_and_a_summary_are_held_to_the_rules() {
    let of = |name: &str, version: &str, summary: String| {
        let info = ResolverInfo {
            name: name.to_owned(),
            version: version.to_owned(),
            summary,
            labels: Default::default(),
        };
        let subject = Pretend {
            describe: move || info.clone(),
            call: native,
        };
        report_of(&subject, &Settings::quick())
    };
    let bad = of("My Policy", "1.0", "x".repeat(1_025));
    found(&bad, "describe", Status::Fail, "\"My Policy\"");
    found(&bad, "describe", Status::Fail, "\"1.0\"");
    found(&bad, "describe", Status::Fail, "found 1025");
    let quiet = of("mine", "1.0.0", " ".to_owned());
    found(&quiet, "describe", Status::Warn, "summary");
}

#[test]
fn one_that_alternates_is_not_deterministic() {
    let calls = AtomicU64::new(0);
    let report = changed(|_, call| {
        if calls.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            call.output = Some(Sha256([1; 32]));
        }
    });
    found(&report, "determinism", Status::Fail, "in a fresh instance");
}

#[test]
fn one_whose_fuel_differs_is_not_deterministic() {
    let calls = AtomicU64::new(0);
    let report = changed(|_, call| call.fuel = Some(calls.fetch_add(1, Ordering::Relaxed)));
    found(&report, "determinism", Status::Fail, "fuel");
}

#[test]
fn another_engine_that_decides_otherwise_is_noticed() {
    let twin = Pretend {
        describe: info,
        call: |set: &ConflictSet| Call {
            output: Some(Sha256([1; 32])),
            ..native(set)
        },
    };
    let candidate = Candidate {
        inspection: None,
        subject: Ok(&Native::PRIORITY_DEADLINE),
        twin: Some(&twin),
    };
    let report = conform(&candidate, &Settings::quick());
    found(&report, "determinism", Status::Fail, "in another engine");
}

#[test]
fn one_that_goes_by_the_order_of_lists_is_noticed() {
    let report = changed(|set, call| {
        if set.history.len() > 1 && set.history[0].decided_at < set.history[1].decided_at {
            call.output = Some(Sha256([1; 32]));
        }
    });
    found(&report, "input_order", Status::Fail, "seed");
}

#[test]
fn one_that_goes_by_position_is_warned_of() {
    let report = changed(|set, call| {
        decides(set, call, |set| {
            let mut set = set.clone();
            policy::sort_set(&mut set);
            let mut decision = policy::priority_deadline(&set);
            let mut groups: Vec<_> = set.contenders.iter().map(|c| c.group).collect();
            groups.dedup();
            for (verdict, c) in decision.verdicts.iter_mut().zip(&set.contenders) {
                if let Action::Proceed { order } = &mut verdict.action {
                    let place = groups.iter().position(|group| *group == c.group);
                    *order = place.unwrap() as u64;
                }
            }
            decision
        });
    });
    found(&report, "ids", Status::Warn, "position in the list");
    assert_eq!(report.status(), Status::Warn);
}

/// Whatever fails on the sets that `of` picks is found by the check of that name.
#[track_caller]
fn fails_at(check: &str, of: impl Fn(&ConflictSet) -> bool + Sync) {
    let report = changed(|set, call| {
        if of(set) {
            call.outcome = CallOutcome::Trap {
                kind: "unreachable".to_owned(),
                message: "wasm `unreachable`".to_owned(),
            };
        }
    });
    found(&report, check, Status::Fail, "trap: unreachable");
}

#[test]
fn each_corner_is_looked_into() {
    let same_time = |set: &ConflictSet| {
        set.contenders.len() == 12
            && set
                .contenders
                .iter()
                .all(|c| c.submitted_at == set.contenders[0].submitted_at)
    };
    fails_at("ties", same_time);
    fails_at("sizes", |set| set.contenders.len() == 256);
    fails_at("sizes", |set| set.contenders.is_empty());
    fails_at("unicode", |set| {
        let names = |c: &model::Contender| c.labels.keys().any(|name| name.contains('🦀'));
        set.contenders.iter().any(names)
    });
    fails_at("integers", |set| {
        set.contenders
            .iter()
            .any(|c| c.bytes == Bytes((1 << 53) - 1))
    });
    fails_at("integers", |set| set.now.as_millisecond() == 0);
    fails_at("options", |set| set.volumes.is_empty());
    fails_at("options", |set| {
        set.contenders.iter().any(|c| c.branch.is_some())
    });
    fails_at("settled", |set| {
        !set.contenders.is_empty() && set.contenders.iter().all(|c| c.settled)
    });
    fails_at("groups", |set| {
        set.contenders.windows(3).any(|w| w[0].group == w[2].group)
    });
    fails_at("lineages", |set| {
        let forks = model::ConflictKind::LineageFork;
        set.conflicts.iter().any(|conflict| conflict.kind == forks)
    });
    fails_at("capacity", |set| {
        set.volumes.iter().any(|v| v.free == Bytes(7_999_999))
    });
    fails_at("deadlines", |set| {
        set.contenders.iter().any(|c| c.deadline == Some(set.now))
    });
    fails_at("validity", |set| set.contenders.len() == 17);
}

#[test]
fn a_decision_that_breaks_an_invariant_is_named() {
    let report = changed(|set, call| {
        decides(set, call, |set| {
            let mut decision = policy::priority_deadline(set);
            for verdict in &mut decision.verdicts {
                verdict.action = Action::Reject {
                    refusal: Refusal::new(Code::LineageFork, "no"),
                };
            }
            decision
        });
    });
    found(
        &report,
        "settled",
        Status::Fail,
        "is settled and must proceed",
    );
    found(
        &report,
        "validity",
        Status::Fail,
        "is settled and must proceed",
    );
    assert!(report.check("validity").unwrap().found.len() <= 10);
}

#[test]
fn an_error_of_its_own_is_a_right_that_is_warned_of() {
    let report = changed(|set, call| {
        if set.contenders.is_empty() {
            call.outcome = CallOutcome::Error {
                code: "acme.nothing".to_owned(),
                message: "nothing to decide".to_owned(),
            };
            call.decision = None;
        }
    });
    found(&report, "sizes", Status::Warn, "acme.nothing");
    assert_eq!(report.status(), Status::Warn);
}

#[test]
fn more_than_half_of_a_budget_is_warned_of() {
    let report = changed(|_, call| {
        call.fuel = Some(60_000_000);
        call.wall_us = 200_000;
    });
    found(&report, "fuel", Status::Warn, "60 %");
    found(&report, "wall", Status::Warn, "80 %");
}

#[test]
fn golden_cases_are_kept_blessed_and_broken() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("one.json");
    let input = policy::sample(1, 6);
    let case = serde_json::json!({ "input": input });
    std::fs::write(&file, case.to_string()).unwrap();
    let with_cases = |subject: &dyn Subject| {
        let cases = load(directory.path()).unwrap();
        let settings = Settings {
            cases: cases.into_iter().map(|(_, case)| case).collect(),
            ..Settings::quick()
        };
        report_of(subject, &settings)
    };
    let native_policy = Native::PRIORITY_DEADLINE;
    found(
        &with_cases(&native_policy),
        "cases",
        Status::Fail,
        "expects nothing yet",
    );

    let mut cases = load(directory.path()).unwrap();
    let changed = bless(&mut cases, &native_policy, &Limits::DEFAULT).unwrap();
    assert_eq!(changed, std::slice::from_ref(&file));
    assert_eq!(
        with_cases(&native_policy).check("cases").unwrap().status,
        Status::Pass
    );
    let again = bless(&mut cases, &native_policy, &Limits::DEFAULT).unwrap();
    assert!(again.is_empty(), "nothing changed: {again:?}");

    // The expectation is corrupted.
    let mut case: Case = cases.remove(0).1;
    case.decision.as_mut().unwrap().verdicts[0].action = Action::Defer { until: input.now };
    std::fs::write(&file, serde_json::to_string(&case).unwrap()).unwrap();
    found(&with_cases(&native_policy), "cases", Status::Fail, "one: ");
    case.decision = None;
    case.error = Some("acme.no".to_owned());
    std::fs::write(&file, serde_json::to_string(&case).unwrap()).unwrap();
    found(
        &with_cases(&native_policy),
        "cases",
        Status::Fail,
        "expected error acme.no, found decided",
    );
}

#[test]
fn files_that_are_no_cases_are_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("notes.txt"), "ignored").unwrap();
    assert!(load(directory.path()).unwrap().is_empty());
    std::fs::write(directory.path().join("bad.json"), "{\"inputs\": 1}").unwrap();
    let error = load(directory.path()).unwrap_err().to_string();
    assert!(
        error.contains("bad.json") && error.contains("inputs"),
        "{error}"
    );
    assert!(load(&directory.path().join("absent")).is_err());
}

#[test]
fn what_cannot_be_loaded_is_one_failure() {
    let inspection = Inspection {
        component: Sha256([1; 32]),
        bytes: Bytes(5),
        interface: None,
        imports: vec!["wasi:clocks/wall-clock@0.2.0".to_owned()],
        exports: Vec::new(),
        producers: vec!["processed-by componentize-py 0.25.1".to_owned()],
        findings: vec![Refusal::new(Code::ResolverInvalid, "imports a clock")],
    };
    let candidate = Candidate {
        inspection: Some(&inspection),
        subject: Err(Refusal::new(Code::ResolverInvalid, "does not compile")),
        twin: None,
    };
    let report = conform(&candidate, &Settings::quick());
    assert_eq!(report.calls, 0);
    found(&report, "contract", Status::Fail, "imports a clock");
    found(&report, "load", Status::Fail, "does not compile");
    found(&report, "frozen", Status::Pass, "set order");
    let xml = report.to_junit();
    assert!(xml.contains("failures=\"2\""), "{xml}");
}

/// A component of this repository, as it is committed.
fn fixture(name: &str) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/fixtures");
    std::fs::read(format!("{root}/{name}.wasm")).unwrap()
}

fn report_on(component: &[u8]) -> Report {
    let inspection = resolver::inspect(component).unwrap();
    let [one, two] = kit::subject::Component::twins(component).unwrap();
    let candidate = Candidate {
        inspection: Some(&inspection),
        subject: Ok(&one),
        twin: Some(&two),
    };
    conform(&candidate, &Settings::quick())
}

#[test]
fn the_default_component_conforms_as_the_native_policy_does() {
    let report = report_on(&fixture("priority-deadline"));
    let text = report.to_text(|_, word| word.to_owned());
    assert_eq!(report.status(), Status::Pass, "{text}");
    let fuel = report.fuel.unwrap();
    assert!(fuel.max > 0 && fuel.percent() < 50.0, "{text}");
}

/// The hostile component does what the name of the pool says.
struct InPool(kit::subject::Component, &'static str);

impl Subject for InPool {
    fn engine(&self) -> EngineId {
        self.0.engine()
    }

    fn component(&self) -> Option<Sha256> {
        self.0.component()
    }

    fn describe(&self, limits: &Limits) -> Result<ResolverInfo, CallOutcome> {
        self.0.describe(limits)
    }

    fn call(&self, set: &ConflictSet, limits: &Limits) -> Call {
        let mut set = set.clone();
        set.pool = self.1.parse().unwrap();
        self.0.call(&set, limits)
    }
}

#[test]
fn hostile_components_are_found_out() {
    let component = fixture("hostile");
    let compiled =
        kit::subject::Component::compile(&component, resolver::Allocation::OnDemand).unwrap();
    for (attack, check, part) in [
        ("main", "capacity", "bytes go ahead"),
        ("missing", "sizes", "invalid: "),
        ("twice", "ties", "invalid: "),
        ("defer-for-ever", "unicode", "invalid: "),
        ("order-2-53", "integers", "invalid: "),
        ("whole-reason-long", "options", "invalid: "),
        ("many-verdicts", "validity", ": "),
        ("error", "deadlines", "acme.no-data"),
    ] {
        let report = report_of(&InPool(compiled.clone(), attack), &Settings::quick());
        let check = report.check(check).unwrap();
        let found = check.found.iter().any(|found| found.contains(part));
        assert!(found, "{attack}: {check:?}");
        assert!(check.status >= Status::Warn, "{attack}: {check:?}");
    }
}
