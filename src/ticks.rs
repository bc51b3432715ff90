//! Aligned timers: periodic tasks run at the same moments, so that an idle node sleeps as long as
//! possible. A wake-up costs more than the work that follows it.

use std::{sync::LazyLock, time::Duration};

use tokio::time::Instant;

/// The origin of all timers.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Waits for the next moment that is a multiple of `period` after the common origin. Returns that
/// moment, which may be in the past if the node was busy.
pub async fn next(period: Duration) -> Instant {
    let due = following(*BEGAN, Instant::now(), period);
    tokio::time::sleep_until(due).await;
    due
}

fn following(began: Instant, now: Instant, period: Duration) -> Instant {
    let period = period.as_nanos().max(1);
    let passed = (now - began).as_nanos();
    let wait = period - passed % period;
    now + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_all_periods_fall_together() {
        let began = Instant::now();
        let after = |ms| began + Duration::from_millis(ms);
        let period = Duration::from_millis;
        assert_eq!(following(began, after(0), period(500)), after(500));
        assert_eq!(following(began, after(1_999), period(500)), after(2_000));
        assert_eq!(following(began, after(1_001), period(1_000)), after(2_000));
        // A late timer skips the moments that it missed.
        assert_eq!(following(began, after(2_000), period(1_000)), after(3_000));
    }
}
