//! Training of the `learned` resolver from decision records, offline.
//!
//! The policy is a contextual bandit's: the context is a conflict set, the action an order
//! of its groups, one decision earns one reward. Its form is a linear score a group
//! ([`schedule::score`]); who is refused, superseded or merged is the default policy's.
//!
//! What training can know: the logs were written by deterministic policies, so that nothing
//! recorded tells how another order would have gone, and weighing by propensity is not
//! possible. The reward of an order is therefore computed, by the cost model of
//! [`mod@crate::score`], and everything the [`Report`] says holds as far as that model does.
//!
//! Records are split by time: the model is chosen on the earlier ones and judged, once, on
//! the later. Only additions, multiplications, divisions and square roots of IEEE 754 are
//! used, in a fixed order: the same records and options give the same weights, to the bit,
//! on every machine.

mod card;
mod data;
mod explore;
mod judge;

use model::Sha256;
use schedule::{FEATURE_NAMES, FEATURES};
use serde::{Deserialize, Serialize};

use crate::records::{Recorded, RecordsError};

pub use judge::{Arm, Interval, Report};

/// The most records that are trained on: they are held in memory, up to 30 kB each.
pub const MAX_RECORDS: usize = 50_000;

/// The fewest sets with something to order: below that the test part is too small to say
/// anything.
pub const MIN_SETS: usize = 100;

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Of what all draws are seeded.
    pub seed: u64,
    /// Steps of the search for weights.
    pub steps: u32,
    /// Sets that each step is judged on.
    pub batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            steps: 200,
            batch: 48,
        }
    }
}

/// A trained model: what `plugins/builtin/learned/model.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// [`Model::FORMAT`].
    pub format: u32,
    /// What the weights are for: [`FEATURE_NAMES`].
    pub features: Vec<String>,
    /// In thousandths, each from -1,000 to 1,000.
    pub weights: [i32; FEATURES],
    /// Where the records come from, in words.
    pub source: String,
    /// SHA-256 over the digests of the inputs, in order of time.
    pub data: Sha256,
    /// How it was trained.
    pub options: Options,
}

impl Model {
    /// The format that this release writes.
    pub const FORMAT: u32 = 1;
}

/// A model, how good it is, and its card.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// What it was trained on and how well it does.
    pub report: Report,
    /// The report for humans, in Markdown.
    pub card: String,
}

/// Why nothing was trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A record cannot be read.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Too many records.
    #[error("expected at most {MAX_RECORDS} records, found more")]
    TooMany,
    /// Too few sets with something to order.
    #[error(
        "expected at least {MIN_SETS} different conflict sets with two groups or more that wait, \
         found {found} in {records} records"
    )]
    TooFew {
        /// How many records.
        records: usize,
        /// How many sets of use.
        found: usize,
    },
    /// An option is out of range.
    #[error("{option}: expected 1 to {most}, found {found}")]
    Option {
        /// Which.
        option: &'static str,
        /// The most.
        most: u64,
        /// As given.
        found: u64,
    },
}

/// What the card says of generated records.
pub const GENERATED: &str = "generated (`kit::train::generated`), not recorded";

/// The first `count` records of the stream that the shipped model is trained on: sampled
/// sets of 2 to 256 requests over three weeks, decided by the native policy.
pub fn generated(count: u64) -> impl Iterator<Item = Result<Recorded, RecordsError>> {
    (0..count).map(|n| Ok(crate::generate::record(1, n, 2 + (n * 37 % 255) as usize)))
}

/// Trains on records, in any order; `source` tells the card's readers where they come from.
///
/// ```
/// use kit::train::{Options, train};
///
/// let records = kit::train::generated(150);
/// let options = Options { steps: 2, ..Options::default() };
/// let trained = train(records, kit::train::GENERATED, &options)?;
/// assert_eq!(trained.report.records, 150);
/// # Ok::<(), kit::train::TrainError>(())
/// ```
///
/// # Errors
/// [`TrainError`].
pub fn train(
    records: impl IntoIterator<Item = Result<Recorded, RecordsError>>,
    source: &str,
    options: &Options,
) -> Result<Trained, TrainError> {
    for (option, most, found) in [
        ("steps", 100_000, u64::from(options.steps)),
        ("batch", 10_000, options.batch as u64),
    ] {
        if found == 0 || found > most {
            return Err(TrainError::Option {
                option,
                most,
                found,
            });
        }
    }
    let data = data::read(records)?;
    let (train, test) = data.split();
    let weights = explore::weights(train, options);
    let report = judge::report(&data, train, test, &weights, options.seed);
    let model = Model {
        format: Model::FORMAT,
        features: FEATURE_NAMES.map(str::to_owned).to_vec(),
        weights,
        source: source.to_owned(),
        data: data.digest,
        options: *options,
    };
    let card = card::card(&model, &report);
    Ok(Trained {
        model,
        report,
        card,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(n: u64) -> impl Iterator<Item = Result<Recorded, RecordsError>> {
        (0..n).map(|n| {
            let set = policy::sample(n, 8 + n as usize % 5 * 24);
            Ok(crate::train::data::tests::recorded(n, set))
        })
    }

    const QUICK: Options = Options {
        seed: 1,
        steps: 40,
        batch: 24,
    };

    #[test]
    fn the_same_records_give_the_same_weights_whatever_order_they_come_in() {
        let once = train(records(160), "tests", &QUICK).unwrap();
        let mut turned: Vec<_> = records(160).collect();
        turned.reverse();
        let again = train(turned, "tests", &QUICK).unwrap();
        assert_eq!(once, again);
    }

    #[test]
    fn training_beats_a_random_order_on_records_it_never_saw() {
        let trained = train(records(400), "tests", &QUICK).unwrap();
        let report = &trained.report;
        assert!(report.learned.price < report.random.price, "{report:?}");
        assert!(report.genetic.tardiness <= report.standard.tardiness);
        assert!(report.gain.low <= report.gain.mean && report.gain.mean <= report.gain.high);
        assert!(report.train_until <= report.test_from);
        let all = report.train + report.test;
        assert_eq!(all, report.sets);
    }

    #[test]
    fn few_records_are_refused_with_how_many_there_are() {
        let error = train(records(20), "tests", &QUICK).unwrap_err();
        assert!(
            matches!(error, TrainError::TooFew { records: 20, .. }),
            "{error}"
        );
    }

    #[test]
    fn options_out_of_range_are_named() {
        let options = Options { steps: 0, ..QUICK };
        let error = train(records(1), "tests", &options).unwrap_err();
        assert_eq!(error.to_string(), "steps: expected 1 to 100000, found 0");
    }

    #[test]
    fn a_repeated_set_counts_once() {
        let twice = records(160).chain(records(160));
        let trained = train(twice, "tests", &QUICK).unwrap();
        assert_eq!(trained.report.records, 320);
        assert!(trained.report.sets <= 160);
        assert_eq!(
            trained,
            Trained {
                report: Report {
                    records: 320,
                    ..train(records(160), "tests", &QUICK).unwrap().report
                },
                card: trained.card.clone(),
                ..train(records(160), "tests", &QUICK).unwrap()
            }
        );
    }

    #[test]
    fn the_card_says_on_what_and_how_well_and_when_not() {
        let trained = train(records(160), "tests", &QUICK).unwrap();
        for part in [
            trained.model.data.to_hex().as_str(),
            "## How well",
            "## Limits",
            "## When not to use it",
        ] {
            assert!(trained.card.contains(part), "{part}\n{}", trained.card);
        }
    }
}
