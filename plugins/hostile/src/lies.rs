//! Answers that come in time and are wrong.

use std::hint::black_box;

use crate::{Action, ConflictSet, Decision, ResolverError, decide, line};

const NOBODY: &str = "00000000-0000-7000-8000-000000000000";
const HOUR: u64 = 3_600_000;

type Answer = Result<Decision, ResolverError>;

/// The answer, if the pool's name is a lie's.
pub fn tell(name: &str, input: &ConflictSet, calls: u64) -> Option<Answer> {
    let honest = || decide(input, |request| Action::Proceed(line(input, request)));
    let all = |action: Action| Some(Ok(decide(input, |_| action.clone())));
    let with = |change: &dyn Fn(&mut Decision)| {
        let mut decision = honest();
        change(&mut decision);
        Some(Ok(decision))
    };
    match name {
        // Who is meant.
        "unknown-id" => with(&|d| d.verdicts[0].id = NOBODY.to_owned()),
        "not-an-id" => with(&|d| d.verdicts[0].id = "../../etc/passwd".to_owned()),
        "upper-case-id" => with(&|d| d.verdicts[0].id.make_ascii_uppercase()),
        "missing" => with(&|d| drop(d.verdicts.pop())),
        "twice" => with(&|d| {
            let again = d.verdicts[0].clone();
            d.verdicts.push(again);
        }),
        "none" => with(&|d| d.verdicts.clear()),
        // What becomes of them.
        "split-group" => with(&|d| d.verdicts[0].action = Action::Defer(input.now + HOUR)),
        "supersede-by-nobody" => all(Action::Supersede(NOBODY.to_owned())),
        "supersede-by-text" => all(Action::Supersede("the other one".to_owned())),
        "supersede-cycle" => Some(Ok(cycle(input, Action::Supersede))),
        "merge-cycle" => Some(Ok(cycle(input, Action::Merge))),
        "defer-past" => all(Action::Defer(input.now)),
        "defer-for-ever" => all(Action::Defer(input.now + 400 * 24 * HOUR)),
        "defer-beyond-time" => all(Action::Defer(u64::MAX)),
        "order-2-53" => all(Action::Proceed(1 << 53)),
        "order-max" => all(Action::Proceed(u64::MAX)),
        "reject-own-code" => all(Action::Reject("acme.quota".to_owned())),
        "reject-fork" => all(Action::Reject("Tapemark.LineageFork".to_owned())),
        "reject-deadline" => all(Action::Reject("Tapemark.DeadlineMissed".to_owned())),
        "reject-foreign-code" => all(Action::Reject("Tapemark.Forbidden".to_owned())),
        "reject-no-code" => all(Action::Reject(String::new())),
        "reject-long-code" => all(Action::Reject("x".repeat(65))),
        "starve" => Some(Ok(starve(input))),
        // How much is said.
        "reason-longest" => with(&|d| d.verdicts[0].reason = "x".repeat(1024)),
        "reason-long" => with(&|d| d.verdicts[0].reason = "x".repeat(1025)),
        "whole-reason-long" => with(&|d| d.reason = "x".repeat(1025)),
        "reason-2-mib" => with(&|d| d.reason = "x".repeat(2 << 20)),
        "reason-100-mb" => with(&|d| d.reason = "x".repeat(100_000_000)),
        "reason-control" => with(&|d| d.reason = "\u{1b}[2Jgone\0\n".to_owned()),
        "many-verdicts" => with(&|d| d.verdicts = vec![d.verdicts[0].clone(); 100_000]),
        "many-labels" => with(&|d| {
            d.labels = vec![("name".to_owned(), "value".to_owned()); 20_000];
        }),
        "ten-million" => with(&|d| {
            d.verdicts = (0..10_000_000).map(|_| d.verdicts[0].clone()).collect();
        }),
        // Errors.
        "error" => fails("acme.no-data", "expected history, found none"),
        "error-long" => fails("acme.no-data", &"x".repeat(1025)),
        "error-long-code" => fails(&"x".repeat(65), "too much"),
        "error-no-code" => fails("", "too little"),
        // Answers that are not functions of the question, or try not to be.
        "alternate" => Some(Ok(alternate(input, calls))),
        "nan" => with(&|d| d.reason = nan_bits()),
        "nan-order" => {
            let bits = u64::from_str_radix(&nan_bits()[..16], 16).unwrap_or(0);
            all(Action::Proceed(bits >> 11))
        }
        "addresses" => with(&|d| d.reason = format!("{:p}", &d.verdicts[0])),
        "hash-order" => with(&|d| {
            let ids = input.requests.iter().map(|request| request.id.as_str());
            let set: std::collections::HashSet<&str> = ids.collect();
            d.reason = set.into_iter().map(|id| &id[30..]).collect();
        }),
        "clock" => {
            black_box(std::time::Instant::now());
            with(&|_| {})
        }
        "wall-clock" => {
            black_box(std::time::SystemTime::now());
            with(&|_| {})
        }
        "file" => with(&|d| d.reason = found(std::fs::read("/etc/passwd").is_ok())),
        "environment" => with(&|d| d.reason = found(std::env::vars().next().is_some())),
        "thread" => with(&|d| d.reason = found(std::thread::Builder::new().spawn(|| ()).is_ok())),
        _ => None,
    }
}

fn found(yes: bool) -> String {
    if yes { "found" } else { "refused" }.to_owned()
}

fn fails(code: &str, message: &str) -> Option<Answer> {
    Some(Err(ResolverError {
        code: code.to_owned(),
        message: message.to_owned(),
    }))
}

/// Each hands on to the next, the last to the first.
fn cycle(input: &ConflictSet, hand_on: fn(String) -> Action) -> Decision {
    let mut decision = decide(input, |_| Action::Proceed(0));
    let ids: Vec<_> = input.requests.iter().map(|r| r.id.clone()).collect();
    for (n, verdict) in decision.verdicts.iter_mut().enumerate() {
        verdict.action = hand_on(ids[(n + 1) % ids.len()].clone());
    }
    decision
}

/// Valid, and one service never gets its turn: what replay and shadow runs are to show.
fn starve(input: &ConflictSet) -> Decision {
    let victim = input
        .requests
        .iter()
        .filter(|r| !r.settled)
        .map(|r| &r.service)
        .max();
    decide(input, |request| {
        if Some(&request.service) == victim {
            Action::Defer(input.now + 24 * HOUR)
        } else {
            Action::Proceed(line(input, request))
        }
    })
}

/// Refuses on every second call of an instance.
fn alternate(input: &ConflictSet, calls: u64) -> Decision {
    let mut decision = decide(input, |request| match calls % 2 {
        0 => Action::Proceed(line(input, request)),
        _ => Action::Reject("acme.odd".to_owned()),
    });
    decision.reason = format!("call {calls}");
    decision
}

/// What the processor makes of numbers that are none: its sign, and a payload of ours.
fn nan_bits() -> String {
    let zero = black_box(0.0f64);
    let payload = f64::from_bits(0x7ff8_dead_beef_0001);
    format!(
        "{:016x} {:016x}",
        (zero / zero).to_bits(),
        (black_box(payload) + 1.0).to_bits()
    )
}
