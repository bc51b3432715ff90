//! Connections whose JWT expires: they leave the room as if the connection had closed. The session
//! continues, so a user who comes back with a new JWT within the grace has not left.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio_util::sync::CancellationToken;

use super::Heartbeat;
use crate::{
    fanout::{LocalRoom, Seat},
    redis::scripts::Leave,
    removal::Reason,
    ticks,
};

/// Interval of checks.
const EVERY: Duration = Duration::from_secs(1);

/// Seconds since 1970 by this machine's clock. Other machines date JWTs, so their clocks matter as
/// well.
pub fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

impl Heartbeat {
    /// Removes connections from rooms when their JWT expires, until `stop`.
    pub(super) async fn expire(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks::next(EVERY) => {}
            }
            let now = now();
            for room in self.fanout.rooms() {
                for seat in room.seats(|seat| seat.has_expired(now)) {
                    self.evict_expired(&room, &seat);
                }
            }
        }
    }

    fn evict_expired(&self, room: &Arc<LocalRoom>, seat: &Seat) {
        let Some(membership) = &seat.membership else { return };
        let leave = Leave {
            user: membership.user.clone(),
            connection: seat.outbox.id().clone(),
            grace: self.settings.leave_grace,
            confirmed: true,
        };
        self.fanout.evict(room, seat, Reason::Expired);
        let (heartbeat, room) = (self.clone(), room.clone());
        self.tasks.spawn(async move {
            room.reported().await;
            heartbeat.leave(&room, leave).await;
        });
    }
}
