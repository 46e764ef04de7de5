//! What the demo says at the end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::check::Phases;
use super::load::{Plan, Sent, Settled};
use super::resolvers::Decided;
use crate::failure::{Failure, No};
use crate::out::{Style, bytes, table};

/// Half of the values are at most `p50`, 99 % at most `p99`; in seconds unless said otherwise.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Quantiles {
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        // The smallest value that is not below the share asked for (nearest rank).
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values
                .get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Self {
            p50: at(0.50),
            p99: at(0.99),
        }
    }
}

/// The numbers of a demo; `--json` prints them as they are.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) submitted: usize,
    pub(super) committed: usize,
    pub(super) superseded: usize,
    pub(super) merged: usize,
    pub(super) refused: usize,
    /// How often each code was the reason, by checkpoint.
    pub(super) reasons: BTreeMap<String, usize>,
    /// Submissions of several services that were committed.
    pub(super) groups_committed: usize,
    pub(super) restored: usize,
    pub(super) restore_mismatches: usize,
    /// Committed bytes.
    pub(super) bytes: u64,
    /// Volumes that hold something.
    pub(super) volumes: usize,
    /// From the start of the stack to the last comparison.
    pub(super) seconds: f64,
    /// From submission until all artifacts were pinned.
    pub(super) staged_seconds: Quantiles,
    /// From submission until committed.
    pub(super) committed_seconds: Quantiles,
    /// What a run spends in the control plane, on average.
    pub(super) control_plane_seconds: f64,
    /// What a run waits for the agent and the tape, on average.
    pub(super) tape_seconds: f64,
    /// How often the agent was killed with SIGKILL.
    pub(super) agent_kills: u32,
    /// True where the leaves of the log lead to its head.
    pub(super) ledger_verified: bool,
    /// Who decided conflicts, and what another resolver would have done.
    pub(super) decided: Decided,
    /// What did not go as it must.
    pub(super) failed: Vec<String>,
    /// Where everything is, where it was to be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<PathBuf>,
}

impl Report {
    /// Counts what became of everything.
    pub(super) fn of(sent: &Sent, settled: &[Settled]) -> Self {
        let mut report = Self {
            submitted: sent.parts.len(),
            agent_kills: sent.kills,
            ..Self::default()
        };
        let (mut staged, mut committed) = (Vec::new(), Vec::new());
        let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
        for one in settled {
            let since = |then: Option<Timestamp>| {
                then.map(|then| then.duration_since(one.submitted_at).as_secs_f64())
            };
            staged.extend(since(one.staged_at));
            match one.state.as_str() {
                "COMMITTED" => {
                    report.committed += 1;
                    report.bytes += one.bytes;
                    committed.extend(since(one.committed_at));
                    *groups.entry(&one.group.id).or_default() += 1;
                }
                "SUPERSEDED" => report.superseded += 1,
                "MERGED" => report.merged += 1,
                "REJECTED" => {
                    report.refused += 1;
                    if let Some(no) = one.refusals.first() {
                        *report.reasons.entry(no.code.clone()).or_default() += 1;
                    }
                }
                other => report.failed.push(format!(
                    "checkpoint {} of {}: expected it to be settled, found it {}",
                    one.id,
                    one.service,
                    other.to_lowercase()
                )),
            }
            if !sent.parts.contains_key(&one.id) {
                report
                    .failed
                    .push(format!("checkpoint {}: nobody submitted it", one.id));
            }
        }
        report.groups_committed = groups.values().filter(|members| **members > 1).count();
        report.staged_seconds = Quantiles::of(staged);
        report.committed_seconds = Quantiles::of(committed);
        report
    }

    /// Notes where the time went.
    pub(super) fn times(&mut self, phases: Phases) {
        self.control_plane_seconds = phases.control;
        self.tape_seconds = phases.tape;
    }

    /// Compares with what must have happened.
    pub(super) fn judge(&mut self, plan: &Plan) {
        let (superseded, merged, refused) = plan.not_committed();
        let mut expect = |what: &str, expected: usize, found: usize| {
            if expected != found {
                self.failed
                    .push(format!("{what}: expected {expected}, found {found}"));
            }
        };
        expect("committed", plan.committed(), self.committed);
        expect("superseded", superseded, self.superseded);
        expect("merged", merged, self.merged);
        expect("refused", refused, self.refused);
        expect("groups committed", plan.groups(), self.groups_committed);
        expect(
            "files that differ after restore",
            0,
            self.restore_mismatches,
        );
        let reason = |code: &str| self.reasons.get(code).copied().unwrap_or_default();
        let forks = reason("Tapemark.LineageFork");
        let wrong = reason("Tapemark.ChecksumMismatch");
        expect(
            "refused as forks and for a wrong hash",
            refused,
            forks + wrong,
        );
        expect("kills of the agent", 1, self.agent_kills as usize);
        self.decided.judge(&mut self.failed);
        if !self.ledger_verified {
            self.failed
                .push("ledger: its leaves do not lead to its head".to_owned());
        }
    }

    /// The failure that says what went wrong.
    pub(super) fn failure(&self) -> Failure {
        let reasons = self.failed.iter().map(|message| No {
            code: model::Code::Internal.as_str().to_owned(),
            message: message.clone(),
            hint: "run it again with --keep and look at agent.log there".to_owned(),
            field: None,
        });
        Failure::Refused(reasons.collect())
    }

    /// The summary for people.
    pub(super) fn text(&self, style: Style) -> String {
        let seconds = |value: f64| format!("{value:.2} s");
        let pair = |q: Quantiles| format!("{} / {}", seconds(q.p50), seconds(q.p99));
        let mut rows = vec![
            ["submitted".to_owned(), self.submitted.to_string()],
            ["committed".to_owned(), self.committed.to_string()],
            ["superseded".to_owned(), self.superseded.to_string()],
            ["merged (same content)".to_owned(), self.merged.to_string()],
            ["refused".to_owned(), self.refused.to_string()],
        ];
        for (code, count) in &self.reasons {
            rows.push([format!("  {code}"), count.to_string()]);
        }
        let good = |fine: bool, yes: &str, no: &str| {
            if fine {
                style.green(yes)
            } else {
                style.red(no)
            }
        };
        rows.extend(self.decided.rows());
        rows.extend([
            [
                "groups committed".to_owned(),
                self.groups_committed.to_string(),
            ],
            ["tapes used".to_owned(), self.volumes.to_string()],
            ["bytes on tape".to_owned(), bytes(self.bytes)],
            ["staged p50 / p99".to_owned(), pair(self.staged_seconds)],
            [
                "committed p50 / p99".to_owned(),
                pair(self.committed_seconds),
            ],
            [
                "control plane / tape, a run".to_owned(),
                format!(
                    "{} / {}",
                    seconds(self.control_plane_seconds),
                    seconds(self.tape_seconds)
                ),
            ],
            [
                "agent killed and restarted".to_owned(),
                self.agent_kills.to_string(),
            ],
            [
                "ledger".to_owned(),
                good(self.ledger_verified, "verified", "BROKEN"),
            ],
            [
                "restored".to_owned(),
                format!(
                    "{}, {}",
                    self.restored,
                    good(
                        self.restore_mismatches == 0,
                        "every byte equal",
                        &format!("{} FILES DIFFER", self.restore_mismatches)
                    )
                ),
            ],
            ["seconds".to_owned(), format!("{:.1}", self.seconds)],
        ]);
        let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
        let mut text = table(style, &["TAPEMARK DEMO", ""], &rows);
        text.push_str(&self.decided.example(style));
        if let Some(kept) = &self.kept {
            text.push_str(&format!("kept in {}\n", kept.display()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let q = Quantiles::of((1..=200).map(f64::from).collect());
        assert_eq!((q.p50, q.p99), (100.0, 198.0));
        let q = Quantiles::of(vec![3.0]);
        assert_eq!((q.p50, q.p99), (3.0, 3.0));
        let q = Quantiles::of(vec![]);
        assert_eq!((q.p50, q.p99), (0.0, 0.0));
    }
}
