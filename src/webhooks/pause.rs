//! The pause before the next try of an event.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The ratio of a pause to the one before it.
const FACTOR: u32 = 3;
/// The random part of a pause, in percent: it is made longer or shorter by up to this much.
const JITTER_PERCENT: u32 = 20;

/// The pause after a failed try; `failed_before` tries had failed before it.
pub(super) fn pause(backoff: Duration, failed_before: u32, longest: Duration) -> Duration {
    let full = FACTOR.checked_pow(failed_before).and_then(|times| backoff.checked_mul(times));
    let full = full.unwrap_or(longest).min(longest);
    let range = 2 * JITTER_PERCENT + 1;
    let percent = 100 - JITTER_PERCENT + u32::try_from(random() % u64::from(range)).unwrap_or(0);
    full / 100 * percent
}

/// A random number. It need not be unpredictable.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_three_times_as_long_give_or_take_a_fifth() {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
        for (before, seconds) in [(0, 1), (1, 3), (2, 9), (5, 243), (10, 59_049), (11, 86_400)] {
            let full = second * seconds;
            let found: Vec<_> = (0..200).map(|_| pause(second, before, day)).collect();
            let range = full * 8 / 10..=full * 12 / 10;
            assert!(found.iter().all(|pause| range.contains(pause)), "{before}: {found:?}");
            assert!(found.iter().any(|pause| *pause != found[0]), "{before}: always the same");
        }
        assert!(pause(day, u32::MAX, day) <= day * 12 / 10);
    }
}
