//! Measures how long Redis was unavailable, and whether presences may have lapsed meanwhile.

use std::time::{Duration, Instant};

/// Interval of probes while Redis serves.
pub(super) const PROBE_EVERY: Duration = Duration::from_millis(500);
/// The share of a presence (one in this many) after which a member may have lapsed: pings and
/// heartbeats may have used the rest.
const LAPSES_AFTER: u32 = 3;
/// Minimum number of missing probes. A shorter time may be the pause between two probes.
const PROBES_MISSED: u32 = 2;
/// How long the nodes need to report their connections once Redis is back.
const REPORTED_IN: Duration = Duration::from_secs(2);

/// When Redis last accepted writes, and when it did so again after a long time.
#[derive(Clone, Debug)]
pub struct Absence {
    presence_ttl: Duration,
    served: Option<Instant>,
    returned: Option<(Instant, Duration)>,
}

impl Absence {
    /// The state before the first probe.
    pub fn new(presence_ttl: Duration) -> Self {
        Self { presence_ttl, served: None, returned: None }
    }

    /// Records whether Redis serves at this moment.
    pub fn note(&mut self, serves: bool, now: Instant) {
        if !serves {
            return;
        }
        let away = self.served.map(|served| now.duration_since(served)).unwrap_or_default();
        if away >= self.shortest() {
            self.returned = Some((now, away));
        }
        self.served = Some(now);
    }

    /// The shortest time that counts as an absence.
    fn shortest(&self) -> Duration {
        (self.presence_ttl / LAPSES_AFTER).max(PROBE_EVERY * PROBES_MISSED)
    }

    /// How long ago Redis came back after an absence in which presences may have lapsed without an
    /// event; `None` if there was none, or if all members have had time to come back.
    pub fn returned_for(&self, now: Instant) -> Option<Duration> {
        let (returned, _) = self.returned?;
        let since = now.duration_since(returned);
        (since < self.presence_ttl).then_some(since)
    }

    /// How much longer than their presence members stay, because no heartbeat could extend them
    /// during an absence; zero once all nodes have reported again.
    pub fn deadline_extension(&self, now: Instant) -> Duration {
        let recent = self.returned.filter(|(at, _)| now.duration_since(*at) < REPORTED_IN);
        recent.map(|(_, away)| away).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn members_return_after_an_absence_that_may_have_cost_them_their_presence() {
        let began = Instant::now();
        let at = |after| began + seconds(after);
        let mut absence = Absence::new(seconds(30));
        absence.note(false, at(0));
        absence.note(true, at(100));
        assert_eq!(absence.returned_for(at(100)), None, "a node that just started missed nothing");
        absence.note(true, at(101));
        absence.note(false, at(102));
        absence.note(true, at(110));
        assert_eq!(absence.returned_for(at(110)), None, "nobody lapsed");
        absence.note(false, at(111));
        absence.note(true, at(120));
        assert_eq!(absence.returned_for(at(121)), Some(seconds(1)));
        assert_eq!(absence.deadline_extension(at(121)), seconds(10));
        assert_eq!(absence.deadline_extension(at(122)), seconds(0), "who is there was reported");
        assert_eq!(absence.returned_for(at(150)), None, "everybody had time to come back");
    }
    #[test]
    fn the_pause_between_two_probes_is_no_absence_however_short_a_presence_is() {
        let began = Instant::now();
        for presence_ttl in [100, 600, 1_000, 1_499, 3_000].map(Duration::from_millis) {
            let mut absence = Absence::new(presence_ttl);
            for probe in 0..10 {
                // The last one was late.
                let late = PROBE_EVERY / 2 * u32::from(probe == 9);
                let now = began + PROBE_EVERY * probe + late;
                absence.note(true, now);
                assert_eq!(absence.returned_for(now), None, "{presence_ttl:?}");
            }
            let back = began + PROBE_EVERY * 12;
            absence.note(true, back);
            assert_eq!(absence.returned_for(back), Some(Duration::ZERO), "{presence_ttl:?}");
        }
    }
}
