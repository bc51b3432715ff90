//! Sweeps of rooms that are due between two heartbeats: when the grace of a member ends, when more
//! members lapsed than one call clears, and when a large room has to be told its number of members.
//! Sweeps of one room that are due at about the same time are combined.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::Fanout;
use crate::{names::RoomId, redis::scripts::Grace};

/// Sweeps of a room that are due within this time are combined into one at its end.
const TOGETHER: Duration = Duration::from_millis(20);

/// How long after a deadline the room is swept, because clocks differ.
const AFTER_DEADLINE: Duration = Duration::from_millis(20);

/// Maximum number of graces that one sweep ends: as many as it clears members.
const GRACES_AT_ONCE: usize = 64;

/// The sweeps that are due.
pub(super) struct Sweeps {
    began: Instant,
    /// By the room and the time since the beginning in whole steps of [`TOGETHER`]: the graces that
    /// are over then.
    due: Mutex<HashMap<(RoomId, u64), Vec<Grace>>>,
}

impl Sweeps {
    /// Nothing is due.
    pub fn new() -> Self {
        Self { began: Instant::now(), due: Mutex::default() }
    }

    /// Notes that a room needs a sweep after `wait`, when these graces are over. Returns its time,
    /// unless that sweep was already noted.
    fn add(&self, room: &RoomId, wait: Duration, graces: Vec<Grace>) -> Option<(u64, Instant)> {
        let steps = (self.began.elapsed() + wait).as_millis() / TOGETHER.as_millis() + 1;
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        match self.due.lock().entry((room.clone(), steps.into())) {
            Entry::Occupied(mut noted) => {
                noted.get_mut().extend(graces);
                None
            }
            Entry::Vacant(free) => {
                free.insert(graces);
                Some((steps.into(), self.began + TOGETHER * steps))
            }
        }
    }

    fn remove(&self, room: &RoomId, steps: u64) -> Vec<Grace> {
        self.due.lock().remove(&(room.clone(), steps)).unwrap_or_default()
    }
}

impl Fanout {
    /// Sweeps a room after this time, and repeats that as long as the room needs it. If this node
    /// is gone by then, another node's heartbeat sweeps the room.
    pub fn sweep_after(&self, room: &RoomId, wait: Duration) {
        self.sweep_after_graces(room, wait, Vec::new());
    }

    /// The same when graces that begin now end after `wait`. They end then by this node's clock,
    /// even if Redis's is set back meanwhile.
    pub fn sweep_after_graces(&self, room: &RoomId, wait: Duration, graces: Vec<Grace>) {
        let sweeps = &self.0.sweeps;
        let Some((steps, due)) = sweeps.add(room, wait + AFTER_DEADLINE, graces) else { return };
        let (fanout, room) = (self.clone(), room.clone());
        self.0.tasks.spawn(async move {
            let is_over = tokio::select! {
                () = fanout.0.stop.cancelled() => true,
                () = tokio::time::sleep_until(due.into()) => false,
            };
            let graces = fanout.0.sweeps.remove(&room, steps);
            if !is_over {
                fanout.sweep(&room, &graces).await;
            }
        });
    }

    /// Clears lapsed members in steps. If it fails, the next heartbeat of the room does it.
    async fn sweep(&self, room: &RoomId, graces: &[Grace]) {
        let mut parts = graces.chunks(GRACES_AT_ONCE);
        loop {
            let over = parts.next().unwrap_or_default();
            let Ok(again) = self.0.scripts.sweep_room(room, over).await else { return };
            match again {
                _ if parts.len() > 0 => {}
                None => return,
                Some(Duration::ZERO) => {}
                Some(again) => return self.sweep_after(room, again),
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
        let (steps, due) = sweeps.add(&room, wait, Vec::new()).unwrap();
        assert!(due >= sweeps.began + wait, "never too early");
        assert!((0..1000).filter_map(|_| sweeps.add(&room, wait, Vec::new())).count() < 10);
        assert!(
            sweeps.add(&RoomId::random(), wait, Vec::new()).is_some(),
            "another room is swept by itself"
        );
        assert!(sweeps.add(&room, wait * 2, Vec::new()).is_some(), "and so is what is due later");
        sweeps.remove(&room, steps);
        let again = sweeps.add(&room, wait, Vec::new());
        assert!(again.is_none_or(|(other, _)| other >= steps));
    }
}
