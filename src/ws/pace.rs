//! Whether a connection keeps to the frames that it may send. One that does not is not read until its
//! budget is back, so that TCP holds it back; it is told so, and cut off where that goes on.

use std::time::{Duration, Instant};

/// Whoever is over its budget is told so this often, at most.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How a connection keeps up with its budget.
#[derive(Default)]
pub struct Pace {
    over_since: Option<Instant>,
    last_heartbeat: Option<Instant>,
}

/// What to do with a connection that is over its budget.
#[derive(Debug, PartialEq, Eq)]
pub enum Over {
    /// Tell it.
    Tell,
    /// It knows.
    Wait,
    /// It has been for too long.
    CutOff,
}

impl Pace {
    /// The budget is spent, and the connection has sent more.
    pub fn over(&mut self, now: Instant, patience: Duration) -> Over {
        let since = *self.over_since.get_or_insert(now);
        if now - since >= patience {
            return Over::CutOff;
        }
        if self.last_heartbeat.is_some_and(|told| now - told < TELL_EVERY) {
            return Over::Wait;
        }
        self.last_heartbeat = Some(now);
        Over::Tell
    }

    /// Everything that the connection has sent was taken.
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
        let mut over = |ms| pace.over(began + Duration::from_millis(ms), Duration::from_secs(60));
        let told = (0..60_000).step_by(100).filter(|ms| over(*ms) == Over::Tell).count();
        assert_eq!(told, 60);
        assert_eq!(over(60_000), Over::CutOff);
    }

    #[test]
    fn one_that_catches_up_now_and_then_stays() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        for second in 0..600 {
            let now = began + Duration::from_secs(second);
            assert_ne!(pace.over(now, Duration::from_secs(60)), Over::CutOff);
            if second % 59 == 0 {
                pace.caught_up();
            }
        }
    }
}
