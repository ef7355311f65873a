//! Medians and percentiles.

use std::time::{Duration, Instant};

/// The value below which `percent` of the sorted values lie; 50 is the median. Zero of nothing.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// Runs it and says how long it took.
pub(crate) fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, Duration), E> {
    let start = Instant::now();
    let result = work()?;
    Ok((result, start.elapsed()))
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            (median(&values), percentile(&values, 99.0), percentile(&values, 100.0)),
            (50.0, 99.0, 100.0)
        );
        assert_eq!((median(&[3.0]), percentile(&[3.0], 99.0), median(&[])), (3.0, 3.0, 0.0));
    }
}
