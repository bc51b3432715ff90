//! Connections that are put out of a room, as the answer of a script says: where nothing published reaches the
//! node, or what was published was lost.

use std::sync::Arc;

use super::{
    Fanout, LocalRoom, Seat,
    feed::{Feed, Sink},
};
use crate::removal::Reason;

impl Fanout {
    /// Puts a connection out of a room: its session has ended.
    pub fn put_out(&self, room: &LocalRoom, seat: &Seat, reason: Reason) {
        self.leave(&room.id, seat.outbox.id());
        seat.put_out(reason);
    }

    /// Puts everybody out of a room: it has ended.
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
