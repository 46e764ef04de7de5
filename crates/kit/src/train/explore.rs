//! Finding weights: exploration in the space of parameters with symmetric draws (PEPG,
//! Sehnke et al. 2010, with fixed deviations), so that what is judged is the very order
//! that will be served.

use schedule::{FEATURES, Random};

use super::Options;
use super::data::{Example, split};

/// Pairs of weights tried a step.
const PAIRS: usize = 10;

/// After so many steps the weights are judged on the validation part.
const JUDGE_EVERY: u32 = 10;

type Weights = [f64; FEATURES];

/// The weights that did best on the last part of `examples`, having been found on the part
/// before it. The standard order is among those judged.
pub(super) fn weights(examples: &[Example], options: &Options) -> [i32; FEATURES] {
    let (fit, validate) = split(examples);
    let mut random = Random::new(options.seed);
    let mut at: Weights = [0.0; FEATURES];
    // The weight of the place in the standard order: with it alone that order stays.
    at[FEATURES - 1] = 1.0;
    let mut best = (mean_reward(validate.iter(), &rounded(&at)), at);
    for step in 0..options.steps {
        // From wide draws and long steps to a fifth of both.
        let narrow = 1.0 - 0.8 * f64::from(step) / f64::from(options.steps);
        let batch: Vec<_> = (0..options.batch)
            .filter_map(|_| fit.get(random.below(fit.len())))
            .collect();
        at = ascended(&at, &batch, 0.3 * narrow, 0.1 * narrow, &mut random);
        if (step + 1) % JUDGE_EVERY == 0 || step + 1 == options.steps {
            let reward = mean_reward(validate.iter(), &rounded(&at));
            if reward > best.0 {
                best = (reward, at);
            }
        }
    }
    rounded(&best.1)
}

/// One step of length `step` up the slope that symmetric draws show.
fn ascended(
    at: &Weights,
    batch: &[&Example],
    spread: f64,
    step: f64,
    random: &mut Random,
) -> Weights {
    let mut slope = [0.0; FEATURES];
    for _ in 0..PAIRS {
        let draw: Weights = std::array::from_fn(|_| normal(random) * spread);
        let moved = |sign: f64| std::array::from_fn(|n| at[n] + sign * draw[n]);
        let [up, down] = [1.0, -1.0]
            .map(|sign| mean_reward(batch.iter().copied(), &rounded(&scaled(&moved(sign)))));
        for (slope, draw) in slope.iter_mut().zip(&draw) {
            *slope += (up - down) * draw;
        }
    }
    let length = slope.iter().map(|s| s * s).sum::<f64>().sqrt();
    if length == 0.0 {
        return *at;
    }
    scaled(&std::array::from_fn(|n| at[n] + slope[n] * step / length))
}

/// Only the proportions of weights matter: the largest becomes 1.
fn scaled(weights: &Weights) -> Weights {
    let largest = weights.iter().fold(0.0_f64, |most, w| most.max(w.abs()));
    if largest == 0.0 {
        return *weights;
    }
    weights.map(|weight| weight / largest)
}

/// In thousandths.
fn rounded(weights: &Weights) -> [i32; FEATURES] {
    weights.map(|weight| (weight * 1000.0).round() as i32)
}

fn mean_reward<'a>(examples: impl Iterator<Item = &'a Example>, weights: &[i32; FEATURES]) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u32);
    for example in examples {
        sum += example.reward(&example.learned(weights));
        count += 1;
    }
    sum / f64::from(count.max(1))
}

/// Nearly a standard normal number: the sum of twelve uniform ones, less six. It needs no
/// logarithm, which is not the same on every machine.
fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| random.unit()).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_centred_with_a_deviation_of_one() {
        let mut random = Random::new(4);
        let draws: Vec<_> = (0..20_000).map(|_| normal(&mut random)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }

    #[test]
    fn scaling_keeps_proportions() {
        let mut weights = [0.0; FEATURES];
        weights[0] = -4.0;
        weights[1] = 1.0;
        let scaled = scaled(&weights);
        assert_eq!((scaled[0], scaled[1], scaled[2]), (-1.0, 0.25, 0.0));
        assert_eq!(super::scaled(&[0.0; FEATURES]), [0.0; FEATURES]);
    }
}
