//! The card of a model: what it was trained on, how well it does, when not to use it.

use std::fmt::Write as _;

use super::{Arm, GENERATED, Interval, Model, Report};

/// The card, in Markdown.
pub(super) fn card(model: &Model, report: &Report) -> String {
    let mut card = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        card,
        "# The model of `learned`\n\n\
         A linear score a group, in thousandths a feature; the highest score goes first. Who \
         is refused, superseded or merged, and who fits, is decided as `priority-deadline` \
         does.\n\n## On what\n\n\
         - Records: {}; {}, with {} different conflict sets that have something to order\n\
         - Period: {} to {}\n\
         - SHA-256 over the digests of the inputs in order of time: `{}`\n\
         - Trained on the first {} sets (until {}), judged once on the {} after them (from {})\n\
         - Seed {}, {} steps of {} sets; the same records and options give the same weights\n\n\
         ## How well\n\n\
         Over the {} sets of the test:\n\n\
         | order | weighted lateness | mounts | price | price to the default's |\n\
         |---|---|---|---|---|\n",
        model.source,
        report.records,
        report.sets,
        report.from,
        report.until,
        model.data,
        report.train,
        report.train_until,
        report.test,
        report.test_from,
        model.options.seed,
        model.options.steps,
        model.options.batch,
        report.test,
    );
    for (name, arm) in [
        ("`priority-deadline`", &report.standard),
        ("uniform random (mean of 8)", &report.random),
        ("**`learned`**", &report.learned),
        ("`genetic`, for comparison", &report.genetic),
    ] {
        let _ = writeln!(card, "{}", row(name, arm, &report.standard));
    }
    let _ = write!(
        card,
        "\nWeighted lateness is in hours, times 2 to the power of the priority. The price is \
         what was trained on: weighted lateness; for each mount as if a request of priority 5 \
         were late by an exchange of tapes; and a hundredth of all weighted waiting.\n\n\
         - Saved of the default's price: {} (95 % bootstrap over sets)\n\
         - Mean reward a set, from -1 to 1, 0 being the default's: {}\n\
         - Cheaper than the default in {} sets, dearer in {}; the worst set has a reward of {:.3}\n\n\
         {}\n\n## Weights\n\n| feature | weight |\n|---|---|\n",
        percent(&report.gain),
        plain(&report.reward),
        report.better,
        report.worse,
        report.worst,
        verdict(&report.gain),
    );
    for (feature, weight) in model.features.iter().zip(&model.weights) {
        let _ = writeln!(card, "| {feature} | {weight} |");
    }
    card.push_str("\n## Limits\n\n");
    if model.source == GENERATED {
        card.push_str(GENERATED_LIMIT);
    }
    card.push_str(LIMITS);
    card
}

const LIMITS: &str = "- Rewards are computed by the cost model (`crates/schedule`), not observed. Recorded \
    decisions are deterministic: they do not tell how another order would have gone, and \
    weighing by propensity is not possible. Where the model is wrong about your drives, so is \
    this card.\n\
    - The cost model leaves out batches, second copies, restores and cleaning.\n\
    - Sets are taken to be independent; a decision's effect on the next set is not seen.\n\
    - The interval is over sets of the test period. It says nothing about other periods, \
    installations or loads.\n\n\
    ## When not to use it\n\n\
    - Where priorities are promises: a small job of low priority may go before a large one of \
    high priority.\n\
    - Where no order may ever be worse than the default's by the cost model: `genetic` \
    guarantees that, this does not.\n\
    - On an installation whose load differs from the records: train on its own records, run \
    it as a shadow, and compare before promoting it.\n";

const GENERATED_LIMIT: &str = "- The records are generated: sets drawn by `policy::sample`, with sizes, deadlines and drives \
    that were made up to be plausible. The card shows that training works, not what your \
    installation gains. Weights of your own come from `tapemark resolver record` and \
    `tapemark resolver train`.\n";

fn row(name: &str, arm: &Arm, standard: &Arm) -> String {
    let hours = arm.tardiness as f64 / 3_600_000.0;
    let price = arm.price as f64 / 3_600_000.0;
    let ratio = if standard.price > 0 {
        arm.price as f64 / standard.price as f64
    } else {
        1.0
    };
    format!(
        "| {name} | {hours:.0} h | {} | {price:.0} h | {ratio:.3} |",
        arm.mounts
    )
}

fn percent(interval: &Interval) -> String {
    let [mean, low, high] = [interval.mean, interval.low, interval.high].map(|x| x * 100.0);
    format!("{mean:.1} % ({low:.1} to {high:.1})")
}

fn plain(interval: &Interval) -> String {
    format!(
        "{:.3} ({:.3} to {:.3})",
        interval.mean, interval.low, interval.high
    )
}

/// What the interval allows to say.
fn verdict(gain: &Interval) -> &'static str {
    if gain.low > 0.0 {
        "It costs less than the default on records it never saw; the interval excludes zero."
    } else if gain.high < 0.0 {
        "**It costs more than the default on records it never saw: do not bind it.**"
    } else {
        "**The interval includes zero: it is not shown to be better than the default.**"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_claims_no_more_than_the_interval() {
        let gain = |low, high| Interval {
            mean: (low + high) / 2.0,
            low,
            high,
        };
        assert!(verdict(&gain(0.01, 0.2)).contains("excludes zero"));
        assert!(verdict(&gain(-0.01, 0.2)).contains("not shown"));
        assert!(verdict(&gain(-0.3, -0.2)).contains("do not bind"));
    }
}
