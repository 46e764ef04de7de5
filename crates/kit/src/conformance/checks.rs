//! The checks themselves.

use std::cell::RefCell;
use std::collections::BTreeMap;

use model::{
    Action, Call, CallOutcome, CheckpointId, ConflictSet, Decision, MAX_COMPONENT_BYTES,
    MAX_CONTENDERS, MAX_REASON_BYTES, Refusal, ReleaseRef, ResolverInfo,
};
use resolver::Inspection;

use super::cases::Expected;
use super::{Settings, Status, Usage, duration, sets};
use crate::replay::{Degree, compare, outcome};
use crate::subject::Subject;

/// A decision may use this share of its budget before it is warned, in percent: inputs
/// grow, and the next one may need twice as much.
const COMFORT: f64 = 50.0;

/// What a check came to.
pub(super) struct Outcome {
    pub(super) status: Status,
    pub(super) tried: String,
    pub(super) found: Vec<String>,
}

impl Outcome {
    fn new(tried: impl Into<String>) -> Self {
        Self {
            status: Status::Pass,
            tried: tried.into(),
            found: Vec::new(),
        }
    }

    fn add(&mut self, status: Status, found: impl Into<String>) {
        self.status = self.status.max(status);
        self.found.push(found.into());
    }

    fn skip(mut self, why: &str) -> Self {
        self.status = Status::Skip;
        self.found.push(why.to_owned());
        self
    }

    /// Takes in a call that was to decide.
    fn decided(&mut self, what: &str, call: &Call) {
        match &call.outcome {
            CallOutcome::Decided => {}
            // Its right; but then the pool's fallback decides, not this policy.
            CallOutcome::Error { .. } => {
                self.add(
                    Status::Warn,
                    format!("{what}: {}: the fallback decides", outcome(&call.outcome)),
                );
            }
            other => self.add(Status::Fail, format!("{what}: {}", outcome(other))),
        }
    }
}

/// A resolver under test, and what its calls used.
pub(super) struct Trial<'a> {
    subject: &'a dyn Subject,
    twin: Option<&'a dyn Subject>,
    settings: &'a Settings,
    used: RefCell<(Vec<u64>, Vec<u64>)>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        subject: &'a dyn Subject,
        twin: Option<&'a dyn Subject>,
        settings: &'a Settings,
    ) -> Self {
        Self {
            subject,
            twin,
            settings,
            used: RefCell::default(),
        }
    }

    pub(super) fn info(&self) -> Option<ResolverInfo> {
        self.subject.describe(&self.settings.limits).ok()
    }

    pub(super) fn calls(&self) -> u64 {
        self.used.borrow().1.len() as u64
    }

    pub(super) fn fuel(&self) -> Option<Usage> {
        usage(&self.used.borrow().0, self.settings.limits.fuel)
    }

    pub(super) fn wall(&self) -> Option<Usage> {
        let budget = u64::from(self.settings.limits.wall_ms) * 1_000;
        usage(&self.used.borrow().1, budget)
    }

    fn call(&self, set: &ConflictSet) -> Call {
        let call = self.subject.call(set, &self.settings.limits);
        let mut used = self.used.borrow_mut();
        used.0.extend(call.fuel);
        used.1.push(call.wall_us);
        call
    }

    fn samples(&self, count: u64, size: usize) -> impl Iterator<Item = (u64, ConflictSet)> {
        let seed = self.settings.seed;
        (seed..seed + count).map(move |seed| (seed, policy::sample(seed, size)))
    }
}

fn usage(used: &[u64], budget: u64) -> Option<Usage> {
    let mut used = used.to_vec();
    used.sort_unstable();
    let at = |percent: usize| used[(used.len() - 1) * percent / 100];
    (!used.is_empty()).then(|| Usage {
        p50: at(50),
        p99: at(99),
        max: at(100),
        budget,
    })
}

/// The checks that need a resolver that can be called, in the order they are made.
pub(super) type Of = fn(&Trial<'_>) -> Outcome;
pub(super) const ALL: [(&str, Of); 18] = [
    ("describe", describe),
    ("determinism", determinism),
    ("input_order", input_order),
    ("ids", ids),
    ("ties", |trial| {
        corner(trial, "equal but for ids", sets::ties())
    }),
    ("sizes", sizes),
    ("unicode", |trial| {
        corner(
            trial,
            "labels in many scripts, empty, 1 kB long",
            sets::unicode(),
        )
    }),
    ("integers", |trial| {
        corner(trial, "0 and 2^53-1 in every number", sets::integers())
    }),
    ("options", |trial| {
        corner(
            trial,
            "everything absent, everything present",
            sets::options(),
        )
    }),
    ("settled", |trial| {
        corner(
            trial,
            "settled requests, late and too large too",
            sets::settled(),
        )
    }),
    ("groups", |trial| {
        corner(
            trial,
            "groups that share services and content",
            sets::groups(),
        )
    }),
    ("lineages", |trial| {
        corner(
            trial,
            "forks, branches, duplicates, successors",
            sets::lineages(),
        )
    }),
    ("capacity", |trial| {
        corner(
            trial,
            "no room, a byte too little, just enough",
            sets::capacity(),
        )
    }),
    ("deadlines", |trial| {
        corner(trial, "deadlines past, now and ahead", sets::deadlines())
    }),
    ("validity", validity),
    ("cases", cases),
    ("fuel", fuel),
    ("wall", wall),
];

/// Imports, exports and size, as the loader sees them.
pub(super) fn contract(inspection: &Inspection) -> Outcome {
    let list = |names: &[String]| {
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let mut outcome = Outcome::new(format!(
        "{} bytes of at most {MAX_COMPONENT_BYTES}; imports: {}; exports: {}",
        inspection.bytes.0,
        list(&inspection.imports),
        list(&inspection.exports),
    ));
    for finding in &inspection.findings {
        outcome.add(
            Status::Fail,
            format!("{} ({})", finding.message, finding.code.hint()),
        );
    }
    outcome
}

/// What a language's runtime froze when the component was built. It cannot be told
/// whether the policy uses it, so it is said and not held against it.
pub(super) fn frozen(inspection: &Inspection) -> Outcome {
    const RUNTIMES: [(&[&str], &str); 3] = [
        (
            &["componentize-py", "Python"],
            "Python: random.random() gives what it gave when it was built, set order changes \
             with each build, time.time() traps: sort, and use the input's `now` and `digest`",
        ),
        (
            &["StarlingMonkey", "ComponentizeJS"],
            "JavaScript: Date.now() is the time of the build for ever, Math.random() repeats: \
             use the input's `now` and `digest`",
        ),
        (
            &["componentize-qjs", "QuickJS", "JavaScript"],
            "JavaScript: Math.random() repeats, Date.now() traps: use the input's `now` and \
             `digest`",
        ),
    ];
    let made_by = inspection.producers.join("; ");
    let mut outcome = Outcome::new(format!("clocks and randomness a runtime froze: {made_by}"));
    let made = |words: &[&str]| words.iter().any(|word| made_by.contains(word));
    if let Some((_, advice)) = RUNTIMES.iter().find(|(words, _)| made(words)) {
        outcome.add(Status::Pass, *advice);
    }
    outcome
}

/// It could not be loaded, so nothing else was checked.
pub(super) fn not_loaded(refusal: &Refusal) -> Outcome {
    let mut outcome = Outcome::new("compiled and loaded");
    outcome.add(
        Status::Fail,
        format!("{} ({})", refusal.message, refusal.code.hint()),
    );
    outcome
}

fn describe(trial: &Trial<'_>) -> Outcome {
    let mut result = Outcome::new("name, version and summary by the rules of the contract");
    let info = match trial.subject.describe(&trial.settings.limits) {
        Ok(info) => info,
        Err(ended) => {
            result.add(Status::Fail, outcome(&ended));
            return result;
        }
    };
    result.tried = format!("{} {}: {}", info.name, info.version, info.summary);
    if !ReleaseRef::is_name(&info.name) {
        result.add(
            Status::Fail,
            format!(
                "name: expected 1 to 64 lower-case letters, digits and hyphens, found {:?}",
                info.name
            ),
        );
    }
    if !ReleaseRef::is_version(&info.version) {
        result.add(
            Status::Fail,
            format!(
                "version: expected Semantic Versioning 2.0 such as 1.2.3, found {:?}",
                info.version
            ),
        );
    }
    if info.summary.len() > MAX_REASON_BYTES {
        result.add(
            Status::Fail,
            format!(
                "summary: expected at most {MAX_REASON_BYTES} bytes, found {}",
                info.summary.len()
            ),
        );
    } else if info.summary.trim().is_empty() {
        result.add(
            Status::Warn,
            "summary: expected a line for people, found nothing",
        );
    }
    result
}

fn determinism(trial: &Trial<'_>) -> Outcome {
    let instances = trial.settings.instances.max(2);
    let mut result = Outcome::new(format!(
        "5 sets in turn, {instances} times, each in a fresh instance: same bytes, same fuel{}",
        if trial.twin.is_some() {
            "; and by another engine with another allocator"
        } else {
            ""
        }
    ));
    let mut tried = Vec::new();
    for size in [0, 1, 8, 32, MAX_CONTENDERS] {
        let set = policy::sample(trial.settings.seed, size);
        let first = trial.call(&set);
        tried.push((set, first));
    }
    for round in 1..=instances {
        for (set, first) in &tried {
            let twin = trial.twin.filter(|_| round == instances);
            let call = match twin {
                Some(twin) => twin.call(set, &trial.settings.limits),
                None => trial.call(set),
            };
            let whose = if twin.is_some() {
                "another engine"
            } else {
                "a fresh instance"
            };
            let requests = set.contenders.len();
            if call.outcome != first.outcome || call.output != first.output {
                let differs = match (&first.decision, &call.decision) {
                    (Some(a), Some(b)) => difference(set, a, b),
                    _ => String::new(),
                };
                result.add(
                    Status::Fail,
                    format!(
                        "{requests} requests: {} first, {} in {whose}{differs}",
                        outcome(&first.outcome),
                        outcome(&call.outcome)
                    ),
                );
            } else if call.fuel != first.fuel {
                let fuel = |call: &Call| call.fuel.map_or("none".to_owned(), |f| f.to_string());
                result.add(
                    Status::Fail,
                    format!(
                        "{requests} requests: fuel {} first, {} in {whose}",
                        fuel(first),
                        fuel(&call)
                    ),
                );
            }
        }
    }
    result
}

fn difference(set: &ConflictSet, a: &Decision, b: &Decision) -> String {
    let difference = compare(set, a, b);
    match difference.changes.first() {
        Some(change) => format!(": {}: {}, then {}", change.id, change.from, change.to),
        None => ": the words differ".to_owned(),
    }
}

/// The host sorts before it asks, so this holds host and resolver together to it.
fn input_order(trial: &Trial<'_>) -> Outcome {
    let mut result = Outcome::new("8 sets with all lists turned round: same bytes");
    for (seed, set) in trial.samples(8, 24) {
        let mut turned = set.clone();
        turned.contenders.reverse();
        turned.volumes.reverse();
        turned.drives.reverse();
        turned.conflicts.reverse();
        turned.history.reverse();
        let [a, b] = [&set, &turned].map(|set| trial.call(set));
        if a.output != b.output || a.outcome != b.outcome {
            let differs = match (&a.decision, &b.decision) {
                (Some(a), Some(b)) => difference(&set, a, b),
                _ => format!(": {}, then {}", outcome(&a.outcome), outcome(&b.outcome)),
            };
            result.add(Status::Fail, format!("seed {seed}{differs}"));
        }
    }
    result
}

/// Requests come sorted by id, so a policy that goes by position goes by id. With ids
/// exchanged among them, the decision should be the same but for the ids. The contract
/// lets a policy go by ids, and by the input's digest: so it is only said.
fn ids(trial: &Trial<'_>) -> Outcome {
    let mut result = Outcome::new("8 sets with ids exchanged: the same becomes of each request");
    for (seed, set) in trial.samples(8, 24) {
        let renamed = exchange_ids(&set);
        let [a, b] = [&set, &renamed.0].map(|set| trial.call(set));
        let (CallOutcome::Decided, CallOutcome::Decided) = (&a.outcome, &b.outcome) else {
            continue;
        };
        let (Some(a), Some(b)) = (&a.decision, &b.decision) else {
            continue;
        };
        let expected = rename(a, &renamed.1);
        let difference = compare(&renamed.0, &expected, b);
        if difference.degree >= Degree::Order {
            let change = difference.changes.first();
            let change = change.map_or(String::new(), |change| {
                format!(": {}: {}, then {}", change.service, change.from, change.to)
            });
            result.add(
                Status::Warn,
                format!(
                    "seed {seed}{change} (does it go by the position in the list? Go by age, \
                     priority, deadline; a policy seeded by the digest may differ)"
                ),
            );
        }
    }
    result
}

type Names = BTreeMap<CheckpointId, CheckpointId>;

fn exchange_ids(set: &ConflictSet) -> (ConflictSet, Names) {
    let ids: Vec<_> = set.contenders.iter().map(|c| c.id).collect();
    let names: Names = ids.iter().copied().zip(ids.iter().rev().copied()).collect();
    let name = |id: CheckpointId| names.get(&id).copied().unwrap_or(id);
    let mut renamed = set.clone();
    for c in &mut renamed.contenders {
        c.id = name(c.id);
        c.parent = c.parent.map(name);
    }
    for conflict in &mut renamed.conflicts {
        for id in &mut conflict.between {
            *id = name(*id);
        }
    }
    policy::sort_set(&mut renamed);
    (renamed, names)
}

fn rename(decision: &Decision, names: &Names) -> Decision {
    let name = |id: CheckpointId| names.get(&id).copied().unwrap_or(id);
    let mut renamed = decision.clone();
    for verdict in &mut renamed.verdicts {
        verdict.id = name(verdict.id);
        match &mut verdict.action {
            Action::Supersede { by } => *by = name(*by),
            Action::Merge { into } => *into = name(*into),
            _ => {}
        }
    }
    renamed
}

fn sizes(trial: &Trial<'_>) -> Outcome {
    let mut result = Outcome::new("0, 1, 2, 32 and 256 requests");
    for size in [0, 1, 2, 32, MAX_CONTENDERS] {
        for (seed, set) in trial.samples(3, size) {
            let call = trial.call(&set);
            result.decided(&format!("{size} requests, seed {seed}"), &call);
        }
    }
    result
}

fn corner(trial: &Trial<'_>, what: &str, sets: Vec<ConflictSet>) -> Outcome {
    let mut result = Outcome::new(format!("{} sets: {what}", sets.len()));
    for (n, set) in sets.iter().enumerate() {
        let call = trial.call(set);
        result.decided(&format!("set {}", n + 1), &call);
    }
    result
}

fn validity(trial: &Trial<'_>) -> Outcome {
    let count = trial.settings.samples;
    let mut result = Outcome::new(format!(
        "{count} sampled sets of 1 to 64 requests from seed {}: every invariant kept",
        trial.settings.seed
    ));
    for n in 0..count {
        let seed = trial.settings.seed + n;
        let size = 1 + usize::try_from(n % 64).unwrap_or(0);
        let call = trial.call(&policy::sample(seed, size));
        result.decided(&format!("seed {seed}, {size} requests"), &call);
    }
    result
}

fn cases(trial: &Trial<'_>) -> Outcome {
    let cases = &trial.settings.cases;
    let mut result = Outcome::new(format!("{} golden cases", cases.len()));
    if cases.is_empty() {
        return result.skip("no cases: put conflict sets into cases/NAME.json and use --bless");
    }
    for case in cases {
        let name = &case.name;
        let call = trial.call(&case.input);
        match (case.expected(), &call.outcome, &call.decision) {
            (Expected::Decision(expected), CallOutcome::Decided, Some(found)) => {
                if policy::same_actions(expected, found) {
                    continue;
                }
                let changes = compare(&case.input, expected, found).changes;
                let more = changes.len().saturating_sub(1);
                let first = changes.first().map_or_else(
                    || "other numbers in the same order".to_owned(),
                    |change| {
                        format!(
                            "{}: expected {}, found {}{}",
                            change.id,
                            change.from,
                            change.to,
                            if more > 0 {
                                format!(", and {more} more")
                            } else {
                                String::new()
                            }
                        )
                    },
                );
                result.add(
                    Status::Fail,
                    format!("{name}: {first} (as wanted? then --bless)"),
                );
            }
            (Expected::Error(expected), CallOutcome::Error { code, .. }, _) if expected == code => {
            }
            (Expected::Nothing, ..) => {
                result.add(
                    Status::Fail,
                    format!("{name}: expects nothing yet: --bless writes down what is decided now"),
                );
            }
            (expected, found, _) => {
                let expected = match expected {
                    Expected::Error(code) => format!("error {code}"),
                    _ => "a decision".to_owned(),
                };
                result.add(
                    Status::Fail,
                    format!("{name}: expected {expected}, found {}", outcome(found)),
                );
            }
        }
    }
    result
}

fn fuel(trial: &Trial<'_>) -> Outcome {
    let mut result = Outcome::new("fuel of all calls above against the budget");
    let Some(used) = trial.fuel() else {
        return result.skip("a native policy uses no fuel");
    };
    result.tried = format!(
        "p50 {}, p99 {}, most {} of {}: {:.1} %",
        used.p50,
        used.p99,
        used.max,
        used.budget,
        used.percent()
    );
    if used.percent() > COMFORT {
        result.add(
            Status::Warn,
            format!(
                "the dearest decision uses {:.0} % of the budget: leave half, or publish with a \
                 higher fuel limit",
                used.percent()
            ),
        );
    }
    result
}

fn wall(trial: &Trial<'_>) -> Outcome {
    let mut result = Outcome::new("wall time of all calls above against the limit");
    let Some(used) = trial.wall() else {
        return result.skip("nothing was called");
    };
    result.tried = format!(
        "p50 {}, p99 {}, most {} of {}",
        duration(used.p50),
        duration(used.p99),
        duration(used.max),
        duration(used.budget)
    );
    if used.percent() > COMFORT {
        result.add(
            Status::Warn,
            format!(
                "the slowest decision took {:.0} % of the limit on this machine; one that is \
                 ended by the clock cannot be replayed",
                used.percent()
            ),
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use model::Bytes;

    use super::*;

    #[test]
    fn ids_exchanged_twice_are_the_ids_there_were() {
        let set = policy::sample(4, 20);
        let (once, names) = exchange_ids(&set);
        assert_ne!(once, set);
        assert_eq!(exchange_ids(&once).0, set);
        let decision = policy::priority_deadline(&set);
        assert_eq!(rename(&rename(&decision, &names), &names), decision);
    }

    #[test]
    fn usage_is_what_was_used() {
        let used: Vec<u64> = (1..=200).rev().collect();
        let usage = usage(&used, 400).unwrap();
        assert_eq!((usage.p50, usage.p99, usage.max), (100, 198, 200));
        assert_eq!(usage.percent(), 50.0);
        assert_eq!(super::usage(&[], 1), None);
    }

    #[test]
    fn no_number_of_a_corner_set_is_too_large_for_a_language() {
        for set in sets::integers() {
            assert!(set.contenders.iter().all(|c| c.bytes <= Bytes(sets::MOST)));
        }
    }
}
