//! Order statistics and means with their confidence.

use std::time::Duration;

use serde::Serialize;

/// Seconds, to the millisecond: finer figures say nothing here.
pub fn seconds(time: Duration) -> f64 {
    round(time.as_secs_f64(), 3)
}

/// Rounds to so many decimals.
pub fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

/// The smallest value that at least `share` (0 to 1) of the values do not exceed: the
/// nearest-rank percentile. Zero where there are none.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    debug_assert!(sorted.is_sorted());
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted
        .get(rank - 1)
        .or(sorted.last())
        .copied()
        .unwrap_or_default()
}

/// The usual four of a set of latencies, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The median.
    pub p50_s: f64,
    /// 95 of 100 are not longer.
    pub p95_s: f64,
    /// 99 of 100 are not longer.
    pub p99_s: f64,
    /// The longest.
    pub max_s: f64,
}

impl Latency {
    /// Of latencies in any order.
    pub fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self {
            p50_s: seconds(percentile(&latencies, 0.50)),
            p95_s: seconds(percentile(&latencies, 0.95)),
            p99_s: seconds(percentile(&latencies, 0.99)),
            max_s: seconds(percentile(&latencies, 1.0)),
        }
    }
}

/// The 95 % confidence interval of the mean of independent values (Student's t).
/// `None` for fewer than two values.
pub fn confidence_95(values: &[f64]) -> Option<[f64; 2]> {
    let n = values.len();
    if n < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / (n - 1) as f64;
    let half = student_t_975(n - 1) * (variance / n as f64).sqrt();
    Some([round(mean - half, 3), round(mean + half, 3)])
}

/// The 97.5 % point of Student's t: a table up to 30 degrees of freedom, the normal
/// distribution's point with its first correction (Cornish and Fisher) above.
fn student_t_975(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    const Z: f64 = 1.959_964;
    TABLE
        .get(degrees - 1)
        .copied()
        .unwrap_or_else(|| Z + (Z.powi(3) + Z) / (4.0 * degrees as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(seconds: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        seconds.into_iter().map(Duration::from_secs).collect()
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let hundred = times(1..=100);
        assert_eq!(percentile(&hundred, 0.50), Duration::from_secs(50));
        assert_eq!(percentile(&hundred, 0.99), Duration::from_secs(99));
        assert_eq!(percentile(&hundred, 1.0), Duration::from_secs(100));
        assert_eq!(percentile(&times([7]), 0.5), Duration::from_secs(7));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn latencies_are_sorted_first() {
        let latency = Latency::of(times([3, 1, 2]));
        assert_eq!((latency.p50_s, latency.max_s), (2.0, 3.0));
    }

    #[test]
    fn the_interval_of_three_values_by_hand() {
        // Mean 2, standard deviation 1, t = 4.303, half width 4.303 / sqrt 3 = 2.484.
        assert_eq!(confidence_95(&[1.0, 2.0, 3.0]), Some([-0.484, 4.484]));
        assert_eq!(confidence_95(&[1.0]), None);
        assert!((student_t_975(40) - 2.021).abs() < 0.002);
    }
}
