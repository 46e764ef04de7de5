//! What is counted in an invocation beside its duration.

use model::{Code, Refusal};
use telemetry::{Metric, Unit};

/// Counts of one operation. What is nothing is not told, so that CloudWatch charges for
/// what happened only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    refusals: Vec<Code>,
    counts: Vec<(&'static str, u64)>,
    within: Vec<(&'static str, Tally)>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counts of an operation within the invocation, such as `publish` for the records of
    /// a batch: told under its own name.
    pub fn of(&mut self, op: &'static str) -> &mut Self {
        let at = match self.within.iter().position(|(found, _)| *found == op) {
            Some(at) => at,
            None => {
                self.within.push((op, Self::new()));
                self.within.len() - 1
            }
        };
        &mut self.within[at].1
    }

    /// The operations within.
    pub(crate) fn within(&self) -> &[(&'static str, Self)] {
        &self.within
    }

    /// One refusal: `Refused`, `Refusals` by code, and `TransientErrors` where trying again may help.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.refusals.push(refusal.code);
        self.count("Refused", 1);
        if refusal.code == Code::Transient {
            self.count("TransientErrors", 1);
        }
    }

    /// So many more of a metric, such as `EffectsTold`.
    pub fn count(&mut self, name: &'static str, more: u64) {
        match self.counts.iter_mut().find(|(found, _)| *found == name) {
            Some((_, count)) => *count += more,
            None => self.counts.push((name, more)),
        }
    }

    /// How many of a metric were counted.
    pub fn get(&self, name: &str) -> u64 {
        self.counts
            .iter()
            .find(|(found, _)| *found == name)
            .map_or(0, |(_, count)| *count)
    }

    /// The metrics.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let mut by_code: Vec<(Code, u32)> = Vec::new();
        for code in &self.refusals {
            match by_code.iter_mut().find(|(found, _)| found == code) {
                Some((_, count)) => *count += 1,
                None => by_code.push((*code, 1)),
            }
        }
        let refusals = by_code.into_iter().map(|(code, count)| {
            Metric::new("Refusals", Unit::Count, f64::from(count)).by("Code", code.as_str())
        });
        let counts = self
            .counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| Metric::new(name, Unit::Count, *count as f64));
        counts.chain(refusals).collect()
    }
}
