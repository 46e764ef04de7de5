//! Sets in a line or two, decisions as text, and checks of a whole resolver: without a
//! WebAssembly toolchain, with `cargo test`.
//!
//! Everything here is for tests: it panics with the seed and the set where a resolver
//! does not hold.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed check is a panic"
)]

use std::collections::BTreeMap;

use crate::{
    Action, ConflictSet, Decision, PastOutcome, Request, ResolverError, Volume, check_decision,
};

/// How many random sets [`check`] tries.
pub const RANDOM_SETS: u64 = 300;

/// A set at `now` (seconds), a request a line:
///
/// `id@seconds service content [group=N] [parent=N] [branch=B] [settled] [priority=N]
/// [deadline=SECONDS] [bytes=N] [artifacts=N] [version=V] [retention=R] [LABEL=VALUE…]`
///
/// Ids, groups and parents are numbers (see [`id`]); a group is the request's own, the
/// priority 5 and the size 1 unless said otherwise; other names are labels. A line
/// `free=N` gives the volume's room, 100 bytes without it, and a line `past outcome
/// service bytes [LABEL=VALUE…]` is a past outcome, the newest first.
///
/// # Panics
/// On a line that it cannot read.
pub fn set(now: u64, lines: &str) -> ConflictSet {
    let mut set = ConflictSet {
        digest: "0".repeat(64),
        now: now * 1000,
        library: "lib".to_owned(),
        pool: "main".to_owned(),
        requests: Vec::new(),
        volumes: vec![Volume {
            barcode: "V001".to_owned(),
            state: "scratch".to_owned(),
            free: 100,
            mounted: false,
            labels: Vec::new(),
        }],
        drives: Vec::new(),
        conflicts: Vec::new(),
        history: Vec::new(),
        labels: Vec::new(),
    };
    for line in lines.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(free) = line.strip_prefix("free=") {
            set.volumes[0].free = number(line, free);
        } else if let Some(past) = line.strip_prefix("past ") {
            let number = set.history.len() as u64 + 1;
            set.history.push(past_outcome(set.now, number, past));
        } else {
            set.requests.push(request(line));
        }
    }
    set.requests.sort_by(|a, b| a.id.cmp(&b.id));
    set
}

/// The id of request, group or parent `n`: a UUID whose first 48 bits are `n`.
pub fn id(n: u64) -> String {
    format!("{:08x}-{:04x}-7000-8000-000000000000", n >> 16, n & 0xffff)
}

/// A decision in words, a line a request; `proceeds as 2` counts places in line, ties by
/// id.
///
/// ```
/// use tapemark_resolver::{Decision, testing};
///
/// let set = testing::set(1000, "1@10 pay x\n2@20 pay y");
/// let decision = Decision::new(
///     vec![
///         set.requests[0].supersede(&set.requests[1], "newer"),
///         set.requests[1].proceed(7, "first"),
///     ],
///     "",
/// );
/// assert_eq!(testing::text(&Ok(decision)), "1 superseded by 2\n2 proceeds as 1\n");
/// ```
pub fn text(decision: &Result<Decision, ResolverError>) -> String {
    let decision = match decision {
        Ok(decision) => decision,
        Err(error) => return format!("{}: {}\n", error.code, error.message),
    };
    let mut line: Vec<_> = decision
        .verdicts
        .iter()
        .filter_map(|v| match v.action {
            Action::Proceed(order) => Some((order, &v.id)),
            _ => None,
        })
        .collect();
    line.sort_unstable();
    let mut verdicts: Vec<_> = decision.verdicts.iter().collect();
    verdicts.sort_by(|a, b| a.id.cmp(&b.id));
    verdicts
        .into_iter()
        .map(|v| {
            let what = match &v.action {
                Action::Proceed(_) => {
                    let place = line.iter().position(|(_, id)| *id == &v.id);
                    format!("proceeds as {}", place.unwrap_or_default() + 1)
                }
                Action::Supersede(by) => format!("superseded by {}", short(by)),
                Action::Merge(into) => format!("merged into {}", short(into)),
                Action::Defer(until) => format!("deferred until {}", crate::rfc3339(*until)),
                Action::Reject(code) => format!("refused: {code}"),
            };
            format!("{} {what}\n", short(&v.id))
        })
        .collect()
}

/// Has the function decide [`RANDOM_SETS`] random sets of 0 to 40 requests: each decision
/// keeps the invariants, is the same again, and is the same for requests in another
/// order.
///
/// # Panics
/// Where one does not, with the seed and what is broken.
pub fn check(decide: fn(&ConflictSet) -> Result<Decision, ResolverError>) {
    for seed in 0..RANDOM_SETS {
        let set = random(seed);
        let decision = sorted(decide(&set));
        if let Ok(decision) = &decision
            && let Err(broken) = check_decision(&set, decision)
        {
            panic!("seed {seed}: {broken}\n{set:#?}\n{decision:#?}");
        }
        assert_eq!(
            decision,
            sorted(decide(&set)),
            "seed {seed}: not the same again"
        );
        let mut shuffled = set.clone();
        shuffled
            .requests
            .sort_by_key(|c| mix(seed ^ c.bytes ^ c.submitted_at));
        assert_eq!(
            decision,
            sorted(decide(&shuffled)),
            "seed {seed}: depends on the order of requests"
        );
    }
}

/// A small random set with duplicates, forks, successors, groups, settled and late
/// requests, where about every third time not all fit. The same for the same seed.
pub fn random(seed: u64) -> ConflictSet {
    let mut state = mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
    let mut below = move |end: u64| {
        state = mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
        state % end.max(1)
    };
    let size = below(41);
    let services = 1 + below(size.max(1));
    let mut lines = String::new();
    let mut next = 1;
    while next <= size {
        let members = 1 + below(9).saturating_sub(5);
        let (time, priority, settled) = (below(900), below(10), below(7) == 0);
        let deadline = (below(3) == 0).then(|| 900 + below(900));
        let (first, start) = (next, below(services));
        for member in 0..members.min(services).min(size + 1 - first) {
            let service = (start + member) % services;
            lines += &format!(
                "{next}@{time} team{}/s{service} c{service}-{} group={first} priority={priority} \
                 bytes={} team=t{}",
                service % 3,
                below(4),
                1 + below(50),
                service % 3,
            );
            match below(5) {
                0..=1 => lines += &format!(" parent={}", 5000 + service),
                2 => lines += &format!(" parent={}", 6000 + service),
                _ => {}
            }
            if below(8) == 0 {
                lines += " branch=hotfix";
            }
            if settled && (member == 0 || below(2) == 0) {
                lines += " settled";
            }
            if let Some(deadline) = deadline {
                lines += &format!(" deadline={deadline}");
            }
            lines.push('\n');
            next += 1;
        }
    }
    for _ in 0..below(20) {
        let outcome = ["proceed", "proceed", "merge", "defer"][below(4) as usize];
        let service = below(services);
        lines += &format!(
            "past {outcome} team{}/s{service} {} team=t{}\n",
            service % 3,
            1 + below(99),
            service % 3
        );
    }
    lines += &format!("free={}", size * (10 + below(30)));
    set(1000, &lines)
}

fn request(line: &str) -> Request {
    let mut words = line.split_whitespace();
    let mut word = |what: &str| {
        words
            .next()
            .unwrap_or_else(|| panic!("expected {what} in {line:?}"))
    };
    let (own, at) = word("id@seconds").split_once('@').unwrap_or_else(|| {
        panic!("expected id@seconds in {line:?}");
    });
    let (service, content) = (word("a service"), word("a content"));
    let mut options: BTreeMap<&str, &str> = words
        .map(|word| word.split_once('=').unwrap_or((word, "true")))
        .collect();
    let own = number(line, own);
    let mut take = |name: &str| options.remove(name);
    Request {
        id: id(own),
        group: id(take("group").map_or(own, |n| number(line, n))),
        service: service.to_owned(),
        branch: take("branch").map(str::to_owned),
        parent: take("parent").map(|n| id(number(line, n))),
        version: take("version").map_or(format!("v{own}"), str::to_owned),
        content: hex(content),
        bytes: take("bytes").map_or(1, |n| number(line, n)),
        artifacts: take("artifacts").map_or(1, |n| number(line, n) as u32),
        priority: take("priority").map_or(5, |n| number(line, n) as u8),
        submitted_at: number(line, at) * 1000,
        deadline: take("deadline").map(|n| number(line, n) * 1000),
        attempt: 0,
        settled: take("settled").is_some(),
        retention: take("retention").unwrap_or("standard").to_owned(),
        labels: owned(options),
    }
}

fn past_outcome(now: u64, n: u64, line: &str) -> PastOutcome {
    let words: Vec<_> = line.split_whitespace().collect();
    let [outcome, service, bytes, labels @ ..] = words.as_slice() else {
        panic!("expected outcome, service and bytes in {line:?}");
    };
    PastOutcome {
        id: id(1_000_000 + n),
        service: (*service).to_owned(),
        outcome: (*outcome).to_owned(),
        bytes: number(line, bytes),
        priority: 5,
        submitted_at: now.saturating_sub(n * 1000 + 1000),
        decided_at: now.saturating_sub(n * 1000),
        labels: owned(labels.iter().filter_map(|w| w.split_once('=')).collect()),
    }
}

fn owned(labels: BTreeMap<&str, &str>) -> Vec<(String, String)> {
    labels
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn number(line: &str, text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("expected a number, found {text:?} in {line:?}"))
}

/// 64 hexadecimal digits that stand for a word: as good as a digest for a test.
fn hex(word: &str) -> String {
    let mut state = 0xcbf2_9ce4_8422_2325;
    for byte in word.bytes() {
        state = mix(state ^ u64::from(byte));
    }
    (0..4).map(|n| format!("{:016x}", mix(state + n))).collect()
}

/// The finaliser of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn short(id: &str) -> String {
    let digits = id.get(..13).unwrap_or(id).replace('-', "");
    u64::from_str_radix(&digits, 16).map_or_else(|_| id.to_owned(), |n| n.to_string())
}

fn sorted(decision: Result<Decision, ResolverError>) -> Result<Decision, ResolverError> {
    decision.map(|decision| Decision::new(decision.verdicts, decision.reason))
}
