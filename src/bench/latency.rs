//! A histogram of latencies with buckets about three percent wide, so its size does not depend on
//! the number of entries.

use std::sync::atomic::{AtomicU64, Ordering};

/// Number of buckets per doubling, as a power of two.
const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) * STEPS;

/// A histogram of microseconds; adding is one atomic addition.
pub struct Latencies(Vec<AtomicU64>);

impl Latencies {
    /// An empty histogram.
    pub fn new() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }

    /// Adds one latency.
    pub fn add(&self, micros: u64) {
        self.0[bucket(micros)].fetch_add(1, Ordering::Relaxed);
    }

    /// The quantile `share` in milliseconds; 0 without entries.
    pub fn at(&self, share: f64) -> f64 {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let all: u64 = counts.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut sum = 0;
        let reaches = |count: &u64| {
            sum += count;
            all > 0 && sum >= wanted
        };
        counts.iter().position(reaches).map_or(0.0, |index| upper_bound(index) as f64 / 1000.0)
    }
}

fn bucket(micros: u64) -> usize {
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let doublings = micros.ilog2() - STEP_BITS;
    let step = (micros >> doublings) as usize - STEPS;
    (doublings as usize + 1) * STEPS + step
}

/// The largest value of a bucket, in microseconds.
fn upper_bound(index: usize) -> u64 {
    if index < STEPS {
        return index as u64;
    }
    let doublings = index / STEPS - 1;
    let step = (index % STEPS + STEPS) as u64;
    (step << doublings) + ((1 << doublings) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_within_its_bucket() {
        for micros in (0..100_000).chain([u64::MAX / 2, u64::MAX]) {
            let index = bucket(micros);
            assert!(upper_bound(index) >= micros && index < BUCKETS, "{micros}");
            assert!(index == 0 || upper_bound(index - 1) < micros, "{micros}");
        }
    }

    #[test]
    fn shares() {
        let latencies = Latencies::new();
        assert_eq!(latencies.at(0.5), 0.0);
        for millis in 1..=100 {
            latencies.add(millis * 1000);
        }
        let (half, most) = (latencies.at(0.5), latencies.at(1.0));
        assert!((50.0..53.0).contains(&half) && (100.0..104.0).contains(&most), "{half} {most}");
    }
}
