//! Judging weights on records they were not found on.

use jiff::Timestamp;
use model::Sha256;
use schedule::{Cost, FEATURES, Random};
use serde::{Deserialize, Serialize};

use super::data::{Data, Example};

/// Resamples of the bootstrap.
const RESAMPLES: usize = 1000;

/// Uniform random orders drawn for each set.
const RANDOM_ORDERS: u64 = 8;

/// What one way of ordering costs over the test part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// Milliseconds late, times 2 to the power of the priority.
    pub tardiness: u64,
    /// Volumes put into drives.
    pub mounts: u64,
    /// What the model was trained to lower: see [`schedule::Cost::price`].
    pub price: u64,
}

/// A mean with the 95 % interval of its bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The 2.5 % quantile of the resamples.
    pub low: f64,
    /// The 97.5 % quantile of the resamples.
    pub high: f64,
}

/// What a model was trained on and how well it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Records read.
    pub records: usize,
    /// Different sets with something to order.
    pub sets: usize,
    /// Sets trained on, those for choosing between weights included.
    pub train: usize,
    /// Sets of the test, all later.
    pub test: usize,
    /// SHA-256 over the digests of the inputs, in order of time.
    pub data: Sha256,
    /// The first set's time.
    pub from: Timestamp,
    /// The last one of training.
    pub train_until: Timestamp,
    /// The first one of the test.
    pub test_from: Timestamp,
    /// The last set's time.
    pub until: Timestamp,
    /// The default policy's order.
    pub standard: Arm,
    /// A uniform random order: the mean of eight.
    pub random: Arm,
    /// The learned order.
    pub learned: Arm,
    /// What the search of `genetic` finds, for comparison.
    pub genetic: Arm,
    /// The share of the default policy's price that the learned order saves, over all sets
    /// of the test together.
    pub gain: Interval,
    /// The mean reward a set: from -1 to 1, 0 for the default policy.
    pub reward: Interval,
    /// Sets where it costs less than the default policy.
    pub better: usize,
    /// Sets where it costs more.
    pub worse: usize,
    /// The lowest reward of a set.
    pub worst: f64,
}

/// Judges weights on `test`, once.
pub(super) fn report(
    data: &Data,
    train: &[Example],
    test: &[Example],
    weights: &[i32; FEATURES],
    seed: u64,
) -> Report {
    let mut random = Random::new(seed ^ 0x7e57);
    let [mut standard, mut uniform, mut learned, mut genetic] = [Arm::default(); 4];
    // For each set: the price of the standard order, of the learned one, and the reward.
    let mut rows: Vec<(f64, f64, f64)> = Vec::with_capacity(test.len());
    for example in test {
        standard.add(&example.standard);
        let cost = example.learned(weights);
        learned.add(&cost);
        rows.push((
            example.standard.price() as f64,
            cost.price() as f64,
            example.reward(&cost),
        ));
        let seed = schedule::seed(&example.input.to_hex());
        genetic.add(&schedule::search(&example.round.problem, seed).cost);
        for _ in 0..RANDOM_ORDERS {
            uniform.add(&example.cost(&shuffled(example.jobs.len(), &mut random)));
        }
    }
    for part in [
        &mut uniform.tardiness,
        &mut uniform.mounts,
        &mut uniform.price,
    ] {
        *part /= RANDOM_ORDERS;
    }
    let time = |example: Option<&Example>| example.map_or(Timestamp::UNIX_EPOCH, |e| e.at);
    let gain = |rows: &mut dyn Iterator<Item = &(f64, f64, f64)>| {
        let (asked, got) = rows.fold((0.0, 0.0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
        if asked > 0.0 { 1.0 - got / asked } else { 0.0 }
    };
    let mean = |rows: &mut dyn Iterator<Item = &(f64, f64, f64)>| {
        let (sum, count) = rows.fold((0.0, 0.0), |(sum, n), row| (sum + row.2, n + 1.0));
        if count > 0.0 { sum / count } else { 0.0 }
    };
    Report {
        records: data.records,
        sets: data.examples.len(),
        train: train.len(),
        test: test.len(),
        data: data.digest,
        from: time(data.examples.first()),
        train_until: time(train.last()),
        test_from: time(test.first()),
        until: time(data.examples.last()),
        standard,
        random: uniform,
        learned,
        genetic,
        gain: bootstrap(&rows, &gain, &mut random),
        reward: bootstrap(&rows, &mean, &mut random),
        better: rows.iter().filter(|row| row.1 < row.0).count(),
        worse: rows.iter().filter(|row| row.1 > row.0).count(),
        worst: rows.iter().map(|row| row.2).fold(0.0, f64::min),
    }
}

impl Arm {
    fn add(&mut self, cost: &Cost) {
        self.tardiness = self.tardiness.saturating_add(cost.tardiness);
        self.mounts += u64::from(cost.mounts);
        self.price = self.price.saturating_add(cost.price());
    }
}

/// Fisher and Yates.
fn shuffled(n: usize, random: &mut Random) -> Vec<usize> {
    let mut line: Vec<_> = (0..n).collect();
    for at in (1..n).rev() {
        line.swap(at, random.below(at + 1));
    }
    line
}

/// The statistic of all rows, with the quantiles of resamples of whole sets.
fn bootstrap<R>(
    rows: &[R],
    statistic: &dyn Fn(&mut dyn Iterator<Item = &R>) -> f64,
    random: &mut Random,
) -> Interval {
    let mean = statistic(&mut rows.iter());
    let mut resamples: Vec<_> = (0..RESAMPLES)
        .map(|_| {
            let drawn: Vec<_> = (0..rows.len()).map(|_| random.below(rows.len())).collect();
            statistic(&mut drawn.iter().filter_map(|at| rows.get(*at)))
        })
        .collect();
    resamples.sort_by(f64::total_cmp);
    let at = |permille: usize| {
        let quantile = resamples.get(RESAMPLES * permille / 1000);
        quantile.copied().unwrap_or(mean)
    };
    Interval {
        mean,
        low: at(25).min(mean),
        high: at(975).max(mean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_narrows_with_more_rows() {
        let mean = |rows: &mut dyn Iterator<Item = &f64>| {
            let (sum, count) = rows.fold((0.0, 0.0), |(sum, n), row| (sum + row, n + 1.0));
            sum / count
        };
        let mut random = Random::new(2);
        let rows: Vec<_> = (0..4000).map(|_| random.unit()).collect();
        let wide = bootstrap(&rows[..40], &mean, &mut random);
        let narrow = bootstrap(&rows, &mean, &mut random);
        assert!(narrow.high - narrow.low < (wide.high - wide.low) / 5.0);
        assert!(narrow.low < 0.5 && 0.5 < narrow.high, "{narrow:?}");
    }

    #[test]
    fn a_shuffle_keeps_each_once() {
        let mut line = shuffled(50, &mut Random::new(1));
        assert_ne!(line, (0..50).collect::<Vec<_>>());
        line.sort_unstable();
        assert_eq!(line, (0..50).collect::<Vec<_>>());
    }
}
