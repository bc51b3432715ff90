//! One connection in one room, and its membership there.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::Mutex;

use super::{
    feed::Sink,
    frame::{Frame, FrameKind},
};
use crate::{
    names::{MessageId, RoomId, Token, UserId},
    outbox::Outbox,
    protocol::{codec, sse},
};

/// One connection in one room.
#[derive(Clone)]
pub struct Seat {
    /// The connection.
    pub outbox: Arc<Outbox>,
    /// Who it is in this room; nobody where it only listens.
    pub membership: Option<Arc<Membership>>,
    pub(super) room: RoomId,
}

/// Who a connection is in a room: what it takes to be there again after Redis lost everything.
pub struct Membership {
    /// The user.
    pub user: UserId,
    /// Its token.
    pub token: Token,
    /// When it first joined, milliseconds on Redis's clock; 0 until the join was answered.
    pub joined_at_ms: AtomicU64,
    /// Whether it has its token: it joined with it, or was heard after the answer to its join was written.
    pub proven: AtomicBool,
    /// The last message that it said it has read.
    pub read: Mutex<Option<MessageId>>,
    /// The last message that it sent.
    pub last_sent: Mutex<Option<MessageId>>,
}

impl Membership {
    /// Somebody whose join has not been answered.
    pub fn new(user: UserId, token: Token, proven: bool) -> Self {
        let (joined_at_ms, proven) = (AtomicU64::new(0), AtomicBool::new(proven));
        Self {
            user,
            token,
            joined_at_ms,
            proven,
            read: Mutex::default(),
            last_sent: Mutex::default(),
        }
    }

    /// Whether it has its token for certain.
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Whether its join was answered, and its name is still its own.
    pub fn is_in(&self) -> bool {
        self.joined_at_ms.load(Ordering::Relaxed) > 0
    }

    /// Somebody else has its name: it is in the room no more.
    pub fn evict(&self) {
        self.joined_at_ms.store(0, Ordering::Relaxed);
    }
}

impl Seat {
    /// A connection in a room.
    pub fn new(outbox: Arc<Outbox>, membership: Arc<Membership>, room: RoomId) -> Self {
        Self { outbox, membership: Some(membership), room }
    }

    /// A connection that hears a room and is no member: it is told in Server-Sent Events.
    pub fn listener(outbox: Arc<Outbox>, room: RoomId) -> Self {
        Self { outbox, membership: None, room }
    }

    /// Whether it is a member's, whose join was answered and whose name is still its own.
    pub fn is_in(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.is_in())
    }

    /// Whether it is one of these users.
    pub fn is_of(&self, users: &[UserId]) -> bool {
        self.membership.as_ref().is_some_and(|membership| users.contains(&membership.user))
    }
}

impl Sink for Seat {
    fn connection(&self) -> &str {
        self.outbox.id()
    }

    /// Written by the flush of its room: what comes in together goes out in one call.
    fn push(&self, frame: &Frame) {
        self.outbox.queue(match (&self.membership, frame.kind) {
            (Some(_), _) => frame.text.clone(),
            (None, FrameKind::Message(id)) => sse::event(codec::payload(&frame.text), Some(id)),
            (None, _) => sse::event(codec::payload(&frame.text), None),
        });
    }

    fn overflow(&self) {
        self.outbox.overflow();
    }

    fn rejoin(&self, since: MessageId) {
        self.outbox.rejoin(self.room.clone(), since);
    }
}
