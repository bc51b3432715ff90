//! Fallback while publications do not reach the node: it uses the answers of its scripts instead,
//! and keeps serving its connections for as long as that lasts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{Fanout, Hearing, LocalRoom, frame::state_frames};
use crate::{names::MessageId, redis::scripts::HeartbeatReply};

/// The position of a room when the heartbeat with this number ran.
pub(super) struct Position {
    heartbeat: u64,
    tip: MessageId,
    events: u64,
    answered: Instant,
}

impl Fanout {
    /// A heartbeat was answered. Its fence has the same position, and the node waits for it, unless
    /// publications do not arrive anyway.
    pub fn heartbeat_answered(
        &self,
        room: &Arc<LocalRoom>,
        heartbeat: u64,
        heartbeat_answered: &HeartbeatReply,
    ) {
        let position = Position {
            heartbeat,
            tip: heartbeat_answered.tip,
            events: heartbeat_answered.events,
            answered: Instant::now(),
        };
        *room.unfenced.lock() = Some(position);
        if self.shore(&room.id).hearing() == Hearing::Silent {
            self.fall_back(room, Duration::ZERO);
        }
    }

    /// Uses the answer of the room's last heartbeat if its fence has not arrived within `patience`.
    pub fn fall_back(&self, room: &Arc<LocalRoom>, patience: Duration) {
        let waited = |position: &mut Position| position.answered.elapsed() >= patience;
        let position = room.unfenced.lock().take_if(waited);
        let Some(Position { heartbeat, tip, events, .. }) = position else { return };
        let actions = room.feed.lock().answered_heartbeat(heartbeat, tip, events);
        self.act(room, actions);
    }

    /// A message was stored by this node. It arrives like any other, unless publications do not
    /// arrive.
    pub fn stored(&self, room: &Arc<LocalRoom>, id: MessageId) {
        if self.shore(&room.id).hearing() == Hearing::Silent {
            let actions = room.feed.lock().stored(id);
            self.act(room, actions);
        }
    }

    /// Requests the list of members, and sends it to the connections.
    pub(super) async fn list_members(&self, room: &Arc<LocalRoom>) {
        let known = room.feed.lock().known_events();
        match self.0.scripts.list_members(&room.id, known).await {
            Ok((events, frames)) => {
                let Some(truth) = state_frames(&frames) else { return };
                let mut feed = room.feed.lock();
                feed.listed(events, truth);
                self.release_if_empty(room, &feed);
                drop(feed);
                room.has_unwritten();
                self.serve(room);
                self.facts_stale(room);
            }
            // The next heartbeat's answer shows the difference again.
            Err(error) => warn!(%error, "cannot send the members"),
        }
    }
}
