//! Leaving a room: at once on a `leave`, with a grace when the connection ends.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::{Client, Joined, Operation};
use crate::redis::scripts::Leave;

/// Maximum time for operations in progress when the connection has ended.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// Interval of checks whether the connection's messages have come back.
const DELIVERY_LOOK: Duration = Duration::from_millis(2);

impl Client {
    /// Waits until the connection's own messages are delivered to it.
    pub async fn own_messages_delivered(&self) {
        let rooms = self.rooms.lock().clone();
        for joined in rooms {
            joined.own_messages_delivered(self.outbox.id()).await;
        }
    }

    /// Removes the connection from a room, on this node at once. If Redis is unavailable, the
    /// user's presence lapses.
    pub(super) async fn leave(&self, joined: &Joined, grace: Duration) {
        self.take_out(joined);
        self.report_leave(joined, grace).await;
    }

    /// Removes the connection from a room on this node.
    fn take_out(&self, joined: &Joined) {
        let room = &joined.local.id;
        self.rooms.lock().retain(|other| other.local.id != *room);
        joined.membership.evict();
        self.app.fanout.leave(room, self.outbox.id());
    }

    /// Tells Redis that the connection has left a room.
    async fn report_leave(&self, joined: &Joined, grace: Duration) {
        joined.local.reported().await;
        let leave = Leave {
            user: joined.membership.user.clone(),
            connection: self.outbox.id().clone(),
            grace,
            confirmed: joined.membership.is_confirmed(),
        };
        self.app.heartbeat.leave(&joined.local, leave).await;
    }

    /// Takes the connection out of every room, with the grace. A join in progress is finished
    /// first, otherwise nobody would know that it ended. `turn` is given back before Redis is told.
    pub async fn end(&self, operation: Option<Operation>, turn: Option<OwnedSemaphorePermit>) {
        if let Some(operation) = operation {
            let _ = tokio::time::timeout(END_PATIENCE, operation).await;
        }
        let rooms = self.rooms.lock().clone();
        rooms.iter().for_each(|joined| self.take_out(joined));
        drop(turn);
        let grace = self.app.settings.leave_grace;
        for joined in rooms {
            self.report_leave(&joined, grace).await;
        }
    }
}

impl Joined {
    /// Waits until the connection's own messages in this room are delivered to it.
    pub(super) async fn own_messages_delivered(&self, connection: &str) {
        let last_sent = *self.membership.last_sent.lock();
        let waits = |id| self.membership.is_in() && !self.local.has_delivered(connection, id);
        while last_sent.is_some_and(waits) {
            tokio::time::sleep(DELIVERY_LOOK).await;
        }
    }
}
