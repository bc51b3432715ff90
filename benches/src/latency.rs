//! Latencies, counted in buckets that are at most 3 % wide.

/// Buckets in each power of two.
const PARTS: u64 = 32;
const PARTS_BITS: u32 = PARTS.ilog2();
const BUCKETS: usize = 40 * PARTS as usize;

/// A histogram of microseconds.
#[derive(Clone)]
pub struct Latency {
    counts: Vec<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS] }
    }
}

impl Latency {
    /// Adds a latency.
    pub fn note(&mut self, micros: u64) {
        self.counts[bucket(micros).min(BUCKETS - 1)] += 1;
    }

    /// The quantile `share` in microseconds; 0 without entries.
    pub fn percentile(&self, share: f64) -> u64 {
        let all: u64 = self.counts.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut seen = 0;
        let reached = |&count: &u64| {
            seen += count;
            seen >= wanted
        };
        self.counts.iter().position(reached).map_or(0, upper_bound)
    }
}

fn bucket(micros: u64) -> usize {
    let shift = micros.max(1).ilog2().saturating_sub(PARTS_BITS);
    (u64::from(shift) * PARTS + (micros >> shift)) as usize
}

fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / PARTS).saturating_sub(1);
    ((bucket - shift * PARTS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_close() {
        let mut latency = Latency::default();
        (1..=10_000).for_each(|micros| latency.note(micros));
        for (share, exact) in [(0.01, 100.0), (0.5, 5_000.0), (0.99, 9_900.0)] {
            let found = latency.percentile(share) as f64;
            assert!((found / exact - 1.0).abs() < 0.04, "{share}: {found}");
        }
        assert_eq!(Latency::default().percentile(0.5), 0);
    }
}
