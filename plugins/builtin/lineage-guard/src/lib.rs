//! Nobody's release disappears in silence: forks are refused with a readable diff.
//!
//! 1. Who is settled goes on; who is past the deadline is refused.
//! 2. Oldest first, a group whose member names a parent that another request of its lineage
//!    follows already with other content, be that settled, an older one that stays, or one
//!    whose content is settled, is refused with [`codes::LINEAGE_FORK`]. The reason lays both
//!    side by side and says what to do. A member whose own content is settled forks nothing.
//! 3. What remains is decided as `priority-deadline` does: newer requests supersede older
//!    ones, duplicates merge, and the line goes by priority, deadline and age.
//!
//! The default supersedes the older of two unsettled forks; that is right where builds
//! follow each other, and wrong where two people released from the same base without
//! knowing of each other. This resolver is for the latter.

use tapemark_resolver::{
    ConflictSet, Decision, Group, Groups, Plan, Request, ResolverError, codes,
};

const REASON: &str = "by priority, deadline and age; no fork among them";

/// Decides a set.
///
/// # Errors
/// None: it decides every set.
pub fn decide(set: &ConflictSet) -> Result<Decision, ResolverError> {
    let groups = Groups::of(set);
    let mut plan = Plan::new(&groups);
    plan.proceed_settled(Group::standard_order, "it is under way");
    plan.reject_late();
    refuse_forks(&mut plan);
    plan.supersede_older();
    plan.merge_duplicates();
    plan.fit(Group::standard_order, REASON);
    plan.finish("forks are refused, the rest goes by priority, deadline and age")
}

/// Who came second begins no second history.
fn refuse_forks(plan: &mut Plan<'_, '_>) {
    let mut kept: Vec<&str> = Vec::new();
    for group in plan.open() {
        let groups = plan.groups();
        let fork = group
            .members
            .iter()
            .filter(|c| !groups.is_held(c))
            .find_map(|c| {
                let rivals = groups.forks(c).filter(|(o, of)| {
                    let stays = of.is_settled() || kept.contains(&of.id);
                    stays || (plan.is_open(of) && groups.is_held(o))
                });
                let (first, _) = rivals.min_by_key(|(o, of)| (!of.is_settled(), o.age()))?;
                Some(diff(first, c))
            });
        match fork {
            Some(diff) => plan.reject(group, codes::LINEAGE_FORK, &diff),
            None => kept.push(group.id),
        }
    }
}

/// Two successors of one parent side by side, a line each thing that differs.
///
/// Some 600 bytes without labels; of the labels only as many as a reason has room for.
pub fn diff(first: &Request, second: &Request) -> String {
    let branch = |c: &Request| {
        c.branch
            .clone()
            .map_or(String::new(), |b| format!(" ({b})"))
    };
    let mut text = format!(
        "{}{}: two versions follow the same parent\n",
        second.service,
        branch(second)
    );
    let mut row = |name: &str, first: String, second: String| {
        if first == second {
            text += &format!("  {name}: {first}\n");
        } else {
            text += &format!("  {name}: {first} | {second}\n");
        }
    };
    row("checkpoint", first.id.clone(), second.id.clone());
    row("version", brief(&first.version), brief(&second.version));
    row("parent", parent(first), parent(second));
    row("content", digest(first), digest(second));
    row("size", size(first.bytes), size(second.bytes));
    row(
        "artifacts",
        first.artifacts.to_string(),
        second.artifacts.to_string(),
    );
    row("state", state(first).to_owned(), "refused".to_owned());
    let advice = format!(
        "to do: submit again with parent {}, once it is committed, or declare a branch",
        first.id
    );
    let mut omitted = 0;
    for (name, ours, theirs) in labels(first, second) {
        let line = format!("  label {name}: {ours} | {theirs}\n");
        // What remains must hold the advice and a line that says how many are left out.
        if omitted == 0
            && text.len() + line.len() + advice.len() + 40 <= tapemark_resolver::MAX_REASON_BYTES
        {
            text += &line;
        } else {
            omitted += 1;
        }
    }
    if omitted > 0 {
        text += &format!("  and {omitted} more labels differ\n");
    }
    text + &advice
}

/// At most 64 characters: a version may have 128.
fn brief(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn parent(c: &Request) -> String {
    c.parent.clone().unwrap_or_else(|| "none".to_owned())
}

/// Twelve digits tell contents apart; the whole digest stands in the catalogue.
fn digest(c: &Request) -> String {
    c.content.get(..12).unwrap_or(&c.content).to_owned()
}

fn state(c: &Request) -> &'static str {
    if c.settled { "under way" } else { "waits" }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = "B";
    let mut tenths = u128::from(bytes) * 10;
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// The labels that differ, by name; `-` where one lacks it.
fn labels<'a>(first: &'a Request, second: &'a Request) -> Vec<(&'a str, &'a str, &'a str)> {
    let mut names: Vec<&str> = first
        .labels
        .iter()
        .chain(&second.labels)
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let [ours, theirs] = [first, second].map(|c| c.label(name).unwrap_or("-"));
            (name, ours, theirs)
        })
        .filter(|(_, ours, theirs)| ours != theirs)
        .collect()
}

tapemark_resolver::resolver! {
    name: "lineage-guard",
    version: env!("CARGO_PKG_VERSION"),
    summary: "Refuses forks with a readable diff; else as priority-deadline",
    resolve: decide,
}

#[cfg(test)]
mod tests {
    use super::{decide, diff, size};
    use tapemark_resolver::{MAX_REASON_BYTES, testing};

    #[track_caller]
    fn check(lines: &str, expected: &str) {
        let set = testing::set(1000, lines);
        assert_eq!(testing::text(&decide(&set)), expected, "{lines}");
    }

    #[test]
    fn the_second_of_two_forks_is_refused_where_the_default_supersedes_the_first() {
        check(
            "1@10 pay x parent=9\n2@20 pay y parent=9",
            "1 proceeds as 1\n2 refused: Tapemark.LineageFork\n",
        );
        check(
            "1@10 pay x\n2@20 pay y",
            "1 superseded by 2\n2 proceeds as 1\n",
        );
        check(
            "1@10 pay x parent=9\n2@20 pay y parent=9 branch=hotfix",
            "1 proceeds as 1\n2 proceeds as 2\n",
        );
    }

    #[test]
    fn a_group_with_a_fork_in_it_is_refused_whole() {
        check(
            "1@10 pay x parent=9\n2@20 pay y parent=9 group=7\n3@20 shop z group=7",
            "1 proceeds as 1\n2 refused: Tapemark.LineageFork\n3 refused: Tapemark.LineageFork\n",
        );
    }

    #[test]
    fn a_refused_fork_stands_in_nobodys_way() {
        // 2 is refused beside 1; 3 holds what 1 holds and is no fork of it.
        check(
            "1@10 pay x parent=9\n2@20 pay y parent=9\n3@30 pay x parent=9",
            "1 proceeds as 1\n2 refused: Tapemark.LineageFork\n3 merged into 1\n",
        );
    }

    #[test]
    fn the_diff_says_what_differs_and_what_to_do() {
        let set = testing::set(
            1000,
            "1@10 pay x parent=9 version=1.4.0 bytes=1536 artifacts=3 commit=aa team=p\n\
             2@20 pay y parent=9 version=1.4.1 bytes=3221225472 artifacts=3 commit=bb team=p on=call",
        );
        let (x, y) = (
            &set.requests[0].content[..12],
            &set.requests[1].content[..12],
        );
        let (one, two, nine) = (testing::id(1), testing::id(2), testing::id(9));
        let decision = decide(&set).unwrap();
        assert_eq!(
            decision.verdicts[1].reason,
            format!(
                "pay: two versions follow the same parent\n\
                 \x20 checkpoint: {one} | {two}\n\
                 \x20 version: 1.4.0 | 1.4.1\n\
                 \x20 parent: {nine}\n\
                 \x20 content: {x} | {y}\n\
                 \x20 size: 1.5 KiB | 3.0 GiB\n\
                 \x20 artifacts: 3\n\
                 \x20 state: waits | refused\n\
                 \x20 label commit: aa | bb\n\
                 \x20 label on: - | call\n\
                 to do: submit again with parent {one}, once it is committed, or declare a branch"
            )
        );
    }

    #[test]
    fn a_diff_of_the_longest_names_and_many_labels_still_says_what_to_do() {
        let mut set = testing::set(1000, "1@10 pay x parent=9\n2@20 pay y parent=9");
        for (n, c) in set.requests.iter_mut().enumerate() {
            c.service = "s".repeat(128);
            c.version = "v".repeat(127) + &n.to_string();
            c.branch = Some("b".repeat(128));
            c.labels = (0..32)
                .map(|label| {
                    (
                        format!("label-{label:02}"),
                        format!("{n}-{}", "é".repeat(30)),
                    )
                })
                .collect();
        }
        let text = diff(&set.requests[0], &set.requests[1]);
        assert!(text.len() <= MAX_REASON_BYTES, "{}", text.len());
        assert!(text.ends_with("or declare a branch"), "{text}");
        assert!(text.contains("more labels differ"), "{text}");
    }

    #[test]
    fn sizes_are_in_units_that_a_human_reads() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            ((1 << 53) - 1, "7.9 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn it_holds_on_random_sets() {
        testing::check(decide);
    }
}
