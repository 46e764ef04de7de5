//! How long a resolver takes, and what it uses.

use std::sync::Arc;
use std::time::Instant;

use model::{Call, CallOutcome, ConflictSet, Limits, Sha256};
#[cfg(feature = "compiler")]
use resolver::Allocation;
use resolver::{HostError, Prepared};
use serde::Serialize;

use crate::subject::Component;

/// Times of decisions in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// The median.
    pub p50: f64,
    /// All but one in a hundred are faster.
    pub p99: f64,
}

/// Decisions on sets of one size.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OfSize {
    /// How many requests.
    pub requests: usize,
    /// Fuel of the median decision.
    pub fuel: u64,
    /// In a fresh instance each, with the conversion of the set, whose digest is known.
    pub fresh: Times,
    /// The same with memory from a pool, as bulk replay has it.
    pub pooled: Times,
    /// The same as `fresh`, and with the canonical form and its digest.
    pub with_digest: Times,
    /// The native default policy on the same sets.
    pub native: Times,
}

/// What was measured of a component.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// To compile it, in milliseconds.
    pub compile_ms: f64,
    /// To map compiled code into a new host, in microseconds: median of 11.
    pub load_us: f64,
    /// The most memory the process has held, in bytes; none where the system does not say.
    pub peak_bytes: Option<u64>,
    /// By size.
    pub sizes: Vec<OfSize>,
}

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// It could not be loaded.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It failed: what a failure takes is of no use to anybody.
    #[error("{requests} requests: expected decisions, found {outcome}")]
    Failed {
        /// How many requests.
        requests: usize,
        /// How the call ended.
        outcome: String,
    },
}

/// Measures a component: `runs` decisions for each size and way.
///
/// # Errors
/// [`MeasureError`].
#[cfg(feature = "compiler")]
pub fn measure(
    component: &[u8],
    limits: &Limits,
    sizes: &[usize],
    runs: usize,
) -> Result<Measured, MeasureError> {
    let begun = Instant::now();
    let [on_demand, pooled] = Component::twins(component)?;
    let compile_ms = begun.elapsed().as_secs_f64() * 1e3;
    let load_us = load_us(component)?;
    let sizes = sizes
        .iter()
        .map(|requests| of_size(&on_demand, &pooled, limits, *requests, runs))
        .collect::<Result<_, _>>()?;
    Ok(Measured {
        compile_ms,
        load_us,
        peak_bytes: peak_bytes(),
        sizes,
    })
}

/// Measures decisions on sampled sets of one size: `runs` for each way.
///
/// # Errors
/// [`MeasureError::Failed`].
pub fn of_size(
    on_demand: &Component,
    pooled: &Component,
    limits: &Limits,
    requests: usize,
    runs: usize,
) -> Result<OfSize, MeasureError> {
    let sets: Vec<Arc<ConflictSet>> = (0..runs.clamp(1, 64) as u64)
        .map(|seed| Arc::new(policy::sample(seed, requests)))
        .collect();
    let mut fuel = Vec::new();
    let mut known = |component: &Component| {
        timed(&sets, runs, |set| {
            let call = decide(component, set, Sha256([0; 32]), limits);
            fuel.extend(call.fuel);
            call
        })
        .map_err(|outcome| failed(requests, &outcome))
    };
    let fresh = known(on_demand)?;
    let pooled = known(pooled)?;
    let with_digest = timed(&sets, runs, |set| {
        let input = Prepared::new(Arc::clone(set));
        let host = &on_demand.host;
        host.call_prepared(&on_demand.loaded, &input, limits)
    })
    .map_err(|outcome| failed(requests, &outcome))?;
    fuel.sort_unstable();
    Ok(OfSize {
        requests,
        fuel: fuel.get(fuel.len() / 2).copied().unwrap_or(0),
        fresh,
        pooled,
        with_digest,
        native: native(&sets, runs),
    })
}

fn decide(component: &Component, set: &Arc<ConflictSet>, digest: Sha256, limits: &Limits) -> Call {
    let input = Prepared::recorded(Arc::clone(set), digest);
    component
        .host
        .call_prepared(&component.loaded, &input, limits)
}

fn failed(requests: usize, outcome: &CallOutcome) -> MeasureError {
    MeasureError::Failed {
        requests,
        outcome: crate::replay::outcome(outcome),
    }
}

/// Times decisions; the first tenth is for caches and not counted.
fn timed(
    sets: &[Arc<ConflictSet>],
    runs: usize,
    mut decide: impl FnMut(&Arc<ConflictSet>) -> Call,
) -> Result<Times, CallOutcome> {
    let mut times = Vec::with_capacity(runs);
    let warm = runs / 10;
    for set in sets.iter().cycle().take(runs + warm) {
        let begun = Instant::now();
        let call = decide(set);
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        if call.outcome != CallOutcome::Decided {
            return Err(call.outcome);
        }
    }
    Ok(times_of(times.split_off(warm)))
}

fn native(sets: &[Arc<ConflictSet>], runs: usize) -> Times {
    let each = sets.iter().cycle().take(runs.max(1));
    let times = each.map(|set| {
        let begun = Instant::now();
        std::hint::black_box(policy::priority_deadline(std::hint::black_box(set)));
        begun.elapsed().as_secs_f64() * 1e6
    });
    times_of(times.collect())
}

fn times_of(mut times: Vec<f64>) -> Times {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let index = times.len().saturating_sub(1) * percent / 100;
        times.get(index).copied().unwrap_or(0.0)
    };
    Times {
        p50: at(50),
        p99: at(99),
    }
}

#[cfg(feature = "compiler")]
fn load_us(component: &[u8]) -> Result<f64, MeasureError> {
    let mut times = Component::load_times(component, Allocation::OnDemand, 11)?;
    times.sort_by(f64::total_cmp);
    Ok(times.get(times.len() / 2).copied().unwrap_or(0.0))
}

/// The most memory this process has held (`VmHWM` of proc(5)).
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_tail_are_where_they_should_be() {
        let times = times_of((1..=101).rev().map(f64::from).collect());
        assert_eq!((times.p50, times.p99), (51.0, 100.0));
        assert!(peak_bytes().is_none_or(|bytes| bytes > 1 << 20));
    }
}
