//! Fallback while publications do not reach the node: it uses the answers of its scripts instead,
//! and keeps serving its connections for as long as that lasts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{Fanout, Hearing, LocalRoom, frame::whole_truth};
use crate::{names::MessageId, redis::scripts::HeartbeatReply};

/// How far a room had come when the heartbeat of this number ran.
pub(super) struct Position {
    heartbeat: u64,
    tip: MessageId,
    events: u64,
    answered: Instant,
}

impl Fanout {
    /// A heartbeat was answered. Its fence says the same, and is waited for, unless the node is known
    /// to be deaf.
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
        if self.hearing() == Hearing::Deaf {
            self.fall_back(room, Duration::ZERO);
        }
    }

    /// Goes by the answer to the room's last heartbeat where its fence has not come since, for so long.
    pub fn fall_back(&self, room: &Arc<LocalRoom>, patience: Duration) {
        let waited = |position: &mut Position| position.answered.elapsed() >= patience;
        let position = room.unfenced.lock().take_if(waited);
        let Some(Position { heartbeat, tip, events, .. }) = position else { return };
        let actions = room.feed.lock().answered_heartbeat(heartbeat, tip, events);
        self.act(room, actions);
    }

    /// A message was stored from here. It comes like any other, unless the node is deaf.
    pub fn stored(&self, room: &Arc<LocalRoom>, id: MessageId) {
        if self.hearing() == Hearing::Deaf {
            let actions = room.feed.lock().stored(id);
            self.act(room, actions);
        }
    }

    /// Asks for the list of members and tells it.
    pub(super) async fn list_members(&self, room: &Arc<LocalRoom>) {
        match self.0.scripts.list_members(&room.id).await {
            Ok((events, frames)) => {
                let Some(frames) = whole_truth(&frames) else { return };
                room.feed.lock().listed(events, frames);
                room.has_unwritten();
                self.serve(room);
                self.facts_stale(room);
            }
            // The next heartbeat's answer shows the difference again.
            Err(error) => warn!(%error, "cannot send the members"),
        }
    }
}
