//! Takes connections out of a room according to the answer of a script, in case publications do not
//! reach the node, or the event was lost.

use std::sync::Arc;

use super::{
    Fanout, LocalRoom, Seat,
    feed::{Feed, Sink},
};
use crate::removal::Reason;

impl Fanout {
    /// Takes a connection out of a room, because its session has ended.
    pub fn evict(&self, room: &LocalRoom, seat: &Seat, reason: Reason) {
        self.leave(&room.id, seat.outbox.id());
        seat.evict(reason);
    }

    /// Takes every connection out of a room, because the room has ended.
    pub fn close(&self, room: &Arc<LocalRoom>) {
        let mut feed = room.feed.lock();
        feed.closed();
        self.release_if_empty(room, &feed);
    }

    /// After connections may have been put out: ends the subscription of a room that has none left.
    pub(super) fn release_if_empty(&self, room: &LocalRoom, feed: &Feed<Seat>) {
        if feed.is_empty() {
            self.release(&room.id);
        }
    }
}
