//! Sweeps of rooms that are due between two heartbeats: when the grace of a member ends, when more
//! members lapsed than one call clears, and when a large room has to be told its number of members.
//! Sweeps of one room that are due at about the same time are combined.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::Fanout;
use crate::names::RoomId;

/// Sweeps of a room that are due within this time are combined into one at its end.
const TOGETHER: Duration = Duration::from_millis(20);

/// How long after a deadline the room is swept, because clocks differ.
const AFTER_DEADLINE: Duration = Duration::from_millis(20);

/// The sweeps that are due.
pub(super) struct Sweeps {
    began: Instant,
    /// The room, and the time since the beginning in whole steps of [`TOGETHER`].
    due: Mutex<HashSet<(RoomId, u64)>>,
}

impl Sweeps {
    /// Nothing is due.
    pub fn new() -> Self {
        Self { began: Instant::now(), due: Mutex::default() }
    }

    /// Notes that a room needs a sweep after `wait`. Returns its time, unless that sweep was
    /// already noted.
    fn add(&self, room: &RoomId, wait: Duration) -> Option<(u64, Instant)> {
        let steps = (self.began.elapsed() + wait).as_millis() / TOGETHER.as_millis() + 1;
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let is_new = self.due.lock().insert((room.clone(), steps.into()));
        is_new.then(|| (steps.into(), self.began + TOGETHER * steps))
    }

    fn remove(&self, room: &RoomId, steps: u64) {
        self.due.lock().remove(&(room.clone(), steps));
    }
}

impl Fanout {
    /// Sweeps a room after this time, and repeats that as long as the room needs it. If this node
    /// is gone by then, another node's heartbeat sweeps the room.
    pub fn sweep_after(&self, room: &RoomId, wait: Duration) {
        let Some((steps, due)) = self.0.sweeps.add(room, wait + AFTER_DEADLINE) else { return };
        let (fanout, room) = (self.clone(), room.clone());
        self.0.tasks.spawn(async move {
            let is_over = tokio::select! {
                () = fanout.0.stop.cancelled() => true,
                () = tokio::time::sleep_until(due.into()) => false,
            };
            fanout.0.sweeps.remove(&room, steps);
            if !is_over {
                fanout.sweep(&room).await;
            }
        });
    }

    /// Clears lapsed members in steps. If it fails, the next heartbeat of the room does it.
    async fn sweep(&self, room: &RoomId) {
        while let Ok(Some(again)) = self.0.scripts.sweep_room(room).await {
            if !again.is_zero() {
                return self.sweep_after(room, again);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_at_the_same_time_is_one() {
        let (sweeps, room) = (Sweeps::new(), RoomId::random());
        let wait = Duration::from_secs(60);
        let (steps, due) = sweeps.add(&room, wait).unwrap();
        assert!(due >= sweeps.began + wait, "never too early");
        assert!((0..1000).filter_map(|_| sweeps.add(&room, wait)).count() < 10);
        assert!(sweeps.add(&RoomId::random(), wait).is_some(), "another room is swept by itself");
        assert!(sweeps.add(&room, wait * 2).is_some(), "and so is what is due later");
        sweeps.remove(&room, steps);
        let again = sweeps.add(&room, wait);
        assert!(again.is_none_or(|(other, _)| other >= steps));
    }
}
