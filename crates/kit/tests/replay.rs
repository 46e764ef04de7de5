//! A replay tells what would have changed, and what cannot be told.
#![allow(clippy::unwrap_used)]

use std::io::{BufReader, Write as _};
use std::num::NonZeroUsize;

use kit::records::{self, Recorded, RecordsError};
use kit::replay::{Cause, Settings, Source, Summary, replay};
use kit::subject::{Native, Subject};
use model::{
    Action, Call, CallOutcome, ConflictSet, EngineId, Limits, ReleaseRef, ResolverInfo, Sha256,
};

/// A resolver made of a function, with a component's identity.
struct Pretend<F> {
    component: Sha256,
    call: F,
}

impl<F: Fn(&ConflictSet) -> Call + Sync> Subject for Pretend<F> {
    fn engine(&self) -> EngineId {
        Native::PRIORITY_DEADLINE.engine()
    }

    fn component(&self) -> Option<Sha256> {
        Some(self.component)
    }

    fn describe(&self, limits: &Limits) -> Result<ResolverInfo, CallOutcome> {
        Native::PRIORITY_DEADLINE.describe(limits)
    }

    fn call(&self, set: &ConflictSet, _: &Limits) -> Call {
        (self.call)(set)
    }
}

fn native(set: &ConflictSet) -> Call {
    Native::PRIORITY_DEADLINE.call(set, &Limits::DEFAULT)
}

/// A resolver that fails on sets of an odd number of volumes.
fn fails_at_odd(set: &ConflictSet) -> Call {
    let mut call = native(set);
    if set.volumes.len() % 2 == 1 {
        call.outcome = CallOutcome::OutOfFuel;
        call.decision = None;
        call.output = None;
    }
    call
}

const COMPONENT: Sha256 = Sha256([7; 32]);

fn recorded(count: u64) -> Vec<Recorded> {
    (0..count)
        .map(|n| kit::generate::record(5, n, 12))
        .collect()
}

/// Records as if `COMPONENT` had decided them.
fn by_component(count: u64) -> Vec<Recorded> {
    let mut all = recorded(count);
    for one in &mut all {
        one.record.resolver = Some(ReleaseRef {
            name: "mine".to_owned(),
            version: "1.0.0".to_owned(),
            component: COMPONENT,
        });
    }
    all
}

fn lines(all: &[Recorded]) -> Vec<u8> {
    let mut text = Vec::new();
    for one in all {
        records::write(&mut text, one).unwrap();
    }
    text
}

fn run(text: &[u8], subject: &dyn Subject, threads: usize) -> Result<Summary, RecordsError> {
    let settings = Settings {
        threads: NonZeroUsize::new(threads).unwrap(),
        keep: 5,
        ..Settings::default()
    };
    replay(
        Source::Lines(BufReader::new(text)),
        subject,
        &settings,
        |_| {},
    )
}

#[test]
fn the_policy_that_decided_decides_the_same_again() {
    let summary = run(&lines(&recorded(600)), &Native::PRIORITY_DEADLINE, 2).unwrap();
    assert_eq!(summary.records, 600);
    assert_eq!(summary.of(Cause::Same), 600);
    assert_eq!(summary.changed(), 0);
    assert_eq!(summary.was, summary.now);
    assert!(summary.diffs.is_empty() && summary.transitions.is_empty());
}

#[test]
fn the_report_does_not_depend_on_the_number_of_threads() {
    let text = lines(&recorded(700));
    let subject = Pretend {
        component: COMPONENT,
        call: fails_at_odd,
    };
    let [one, four] = [1, 4].map(|threads| run(&text, &subject, threads).unwrap());
    assert_eq!(one.diffs, four.diffs);
    assert_eq!(one.causes, four.causes);
    assert_eq!(one.transitions, four.transitions);
    assert_eq!(one.diffs.len(), 5);
    assert_eq!(one.more_diffs + 5, one.of(Cause::Outcome));
    let lines: Vec<_> = one.diffs.iter().map(|diff| diff.line).collect();
    assert!(lines.is_sorted(), "{lines:?}");
}

#[test]
fn a_call_that_fails_now_is_another_outcome_and_the_fallback_decides() {
    let text = lines(&recorded(40));
    let subject = Pretend {
        component: COMPONENT,
        call: fails_at_odd,
    };
    let summary = run(&text, &subject, 1).unwrap();
    let failed = summary.outcomes["out_of_fuel"];
    assert!(failed > 0 && failed < 40, "{failed}");
    assert_eq!(summary.of(Cause::Outcome), failed);
    let diff = &summary.diffs[0];
    assert_eq!(
        (diff.was.as_str(), diff.now.as_str()),
        ("decided", "out_of_fuel")
    );
    assert_eq!(
        summary.was, summary.now,
        "the built-in fallback is what decided before"
    );
}

#[test]
fn the_same_component_that_decides_otherwise_is_a_fault() {
    let text = lines(&by_component(40));
    let subject = Pretend {
        component: COMPONENT,
        call: fails_at_odd,
    };
    let summary = run(&text, &subject, 1).unwrap();
    assert_eq!(summary.of(Cause::Fault), summary.outcomes["out_of_fuel"]);
    assert!(summary.of(Cause::Fault) > 0);
    // Another component may do as it likes.
    let other = Pretend {
        component: Sha256([8; 32]),
        call: fails_at_odd,
    };
    assert_eq!(run(&text, &other, 1).unwrap().of(Cause::Fault), 0);
}

#[test]
fn a_decision_that_ran_out_of_time_cannot_be_replayed_and_is_no_fault() {
    let mut all = by_component(3);
    all[1].record.call.outcome = CallOutcome::TimedOut;
    all[1].record.call.output = None;
    let subject = Pretend {
        component: COMPONENT,
        call: native,
    };
    let summary = run(&lines(&all), &subject, 1).unwrap();
    assert_eq!(summary.not_replayable, 1);
    assert_eq!(summary.of(Cause::Fault), 0);
    assert_eq!(summary.diffs.len(), 1);
    assert!(summary.diffs[0].not_replayable);
    assert_eq!(summary.diffs[0].was, "timed_out");
}

#[test]
fn another_action_is_counted_by_from_and_to() {
    let all = recorded(30);
    let subject = Pretend {
        component: COMPONENT,
        call: |set: &ConflictSet| {
            let mut call = native(set);
            for verdict in &mut call.decision.as_mut().unwrap().verdicts {
                if let Action::Reject { .. } = verdict.action {
                    verdict.action = Action::Defer { until: set.now };
                }
            }
            call
        },
    };
    let summary = run(&lines(&all), &subject, 2).unwrap();
    let refused = summary.was.reject;
    assert!(refused > 0);
    assert_eq!(summary.transitions["reject to defer"], refused);
    assert_eq!(summary.now.reject, 0);
    assert_eq!(summary.now.defer, summary.was.defer + refused);
    assert!(summary.of(Cause::Action) > 0);
}

#[test]
fn generated_records_need_no_file() {
    let settings = Settings::default();
    let source = Source::<&[u8]>::Sampled {
        seed: 9,
        count: 700,
        size: 4,
    };
    let mut heard = 0;
    let summary = replay(source, &Native::PRIORITY_DEADLINE, &settings, |done| {
        heard = done;
    })
    .unwrap();
    assert_eq!((summary.records, heard), (700, 700));
    assert_eq!(summary.of(Cause::Same), 700);
}

#[test]
fn the_first_wrong_line_is_named_whatever_thread_meets_it() {
    let all = recorded(900);
    let mut text = lines(&all[..500]);
    text.extend(b"\n{\"record\": 1}\n");
    text.extend(lines(&all[500..]));
    for threads in [1, 4] {
        let error = run(&text, &Native::PRIORITY_DEADLINE, threads).unwrap_err();
        assert!(
            matches!(error, RecordsError::Line { line: 502, .. }),
            "{error}"
        );
        assert!(error.to_string().starts_with("line 502: expected"));
    }
}

#[test]
fn an_edited_input_is_told_from_a_resolver_that_changed() {
    let mut all = recorded(3);
    for c in &mut all[2].input.contenders {
        c.priority = model::Priority::try_from(9 - c.priority.get()).unwrap();
    }
    let error = run(&lines(&all), &Native::PRIORITY_DEADLINE, 1).unwrap_err();
    assert!(
        matches!(error, RecordsError::Digest { line: 3, .. }),
        "{error}"
    );
}

#[test]
fn a_line_without_an_end_is_not_read_into_memory() {
    struct Endless(u64);
    impl std::io::Read for Endless {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            to.fill(b'x');
            self.0 += to.len() as u64;
            assert!(self.0 < 2 * records::MAX_LINE_BYTES as u64, "reads on");
            Ok(to.len())
        }
    }
    let source = Source::Lines(BufReader::new(Endless(0)));
    let settings = Settings::default();
    let error = replay(source, &Native::PRIORITY_DEADLINE, &settings, |_| {}).unwrap_err();
    assert!(
        matches!(error, RecordsError::TooLong { line: 1 }),
        "{error}"
    );
}

#[test]
fn what_is_written_is_read_again() {
    let all = recorded(3);
    let mut text = lines(&all);
    text.write_all(b"   \n\n").unwrap();
    let back: Result<Vec<_>, _> = records::Reader::new(&text[..]).collect();
    assert_eq!(back.unwrap(), all);
}
