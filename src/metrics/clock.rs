//! Estimates Redis's clock, to measure how old a message is: its id contains the time at which it
//! was stored, by Redis's clock. The estimate is used only for metrics.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The offset before the first reading.
const UNKNOWN: i64 = i64::MIN;

/// Redis's clock, accurate to half of the fastest recent round trip.
pub struct RedisClock {
    started: Instant,
    /// Redis's time at the instant `started`, in microseconds.
    offset_us: AtomicI64,
    /// The round trip of the reading in use, in microseconds. It grows with age, because clocks
    /// drift.
    round_trip_us: AtomicU64,
}

impl RedisClock {
    /// A clock without a reading.
    pub fn new() -> Self {
        let (offset_us, round_trip_us) = (AtomicI64::new(UNKNOWN), AtomicU64::new(u64::MAX));
        Self { started: Instant::now(), offset_us, round_trip_us }
    }

    /// Adds a reading: Redis's time was `redis_us` at some moment after `begun`. It is used if it
    /// is more accurate than the last one.
    pub fn read(&self, begun: Instant, redis_us: u64) {
        let took = micros(begun.elapsed());
        let best = self.round_trip_us.load(Ordering::Relaxed);
        if took <= best {
            let middle = micros(begun.duration_since(self.started)) + took / 2;
            let offset = signed(redis_us).saturating_sub(signed(middle));
            self.offset_us.store(offset, Ordering::Relaxed);
        }
        let aged = took.min(best.saturating_add(best / 16 + 1));
        self.round_trip_us.store(aged, Ordering::Relaxed);
    }

    /// Discards the reading: after Redis was unavailable, another one with another clock may
    /// answer.
    pub fn forget(&self) {
        self.offset_us.store(UNKNOWN, Ordering::Relaxed);
        self.round_trip_us.store(u64::MAX, Ordering::Relaxed);
    }

    /// The time since `ms` on Redis's clock; `None` without a reading.
    pub fn since(&self, ms: u64) -> Option<Duration> {
        let age = self.now_us()?.saturating_sub(signed(ms.saturating_mul(1000)));
        Some(Duration::from_micros(age.max(0).unsigned_abs()))
    }

    /// Redis's time in milliseconds since 1970; `None` without a reading.
    pub fn now_ms(&self) -> Option<u64> {
        Some(self.now_us()?.max(0).unsigned_abs() / 1000)
    }

    fn now_us(&self) -> Option<i64> {
        let offset = self.offset_us.load(Ordering::Relaxed);
        let elapsed = signed(micros(self.started.elapsed()));
        (offset != UNKNOWN).then(|| offset.saturating_add(elapsed))
    }
}

impl Default for RedisClock {
    fn default() -> Self {
        Self::new()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_reading_counts_and_a_slow_one_does_not() {
        let clock = RedisClock::new();
        assert_eq!(clock.since(0), None);
        clock.read(Instant::now(), 5_000_000);
        let age = clock.since(4_000).unwrap();
        assert!(age >= Duration::from_secs(1) && age < Duration::from_millis(1_500), "{age:?}");
        clock.read(Instant::now() - Duration::from_secs(3), 900_000_000);
        assert!(clock.since(4_000).unwrap() < Duration::from_secs(2));
        assert_eq!(clock.since(u64::MAX), Some(Duration::ZERO));
        clock.forget();
        assert_eq!(clock.since(0), None);
    }
}
