//! Enforces the frame budget of a connection. A connection over its budget is not read until the
//! budget is refilled, so that TCP applies backpressure; it gets an error, and is closed if that
//! continues.

use std::time::{Duration, Instant};

/// Minimum time between two errors.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The state of one connection.
#[derive(Default)]
pub struct Pace {
    over_since: Option<Instant>,
    last_told: Option<Instant>,
}

/// What to do with a connection that is over its budget.
#[derive(Debug, PartialEq, Eq)]
pub enum OverBudget {
    /// Send an error.
    Tell,
    /// Wait; it got an error recently.
    Wait,
    /// Close the connection: it has been over its budget for too long.
    CutOff,
}

impl Pace {
    /// Called when the budget is spent and the connection has sent more.
    pub fn over_budget(&mut self, now: Instant, patience: Duration) -> OverBudget {
        let since = *self.over_since.get_or_insert(now);
        if now - since >= patience {
            return OverBudget::CutOff;
        }
        if self.last_told.is_some_and(|told| now - told < TELL_EVERY) {
            return OverBudget::Wait;
        }
        self.last_told = Some(now);
        OverBudget::Tell
    }

    /// Called when everything that the connection has sent was read.
    pub fn caught_up(&mut self) {
        self.over_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_over_is_told_once_a_second_and_cut_off_after_a_minute() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let mut over_budget =
            |ms| pace.over_budget(began + Duration::from_millis(ms), Duration::from_secs(60));
        let told =
            (0..60_000).step_by(100).filter(|ms| over_budget(*ms) == OverBudget::Tell).count();
        assert_eq!(told, 60);
        assert_eq!(over_budget(60_000), OverBudget::CutOff);
    }

    #[test]
    fn one_that_catches_up_now_and_then_stays() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        for second in 0..600 {
            let now = began + Duration::from_secs(second);
            assert_ne!(pace.over_budget(now, Duration::from_secs(60)), OverBudget::CutOff);
            if second % 59 == 0 {
                pace.caught_up();
            }
        }
    }
}
