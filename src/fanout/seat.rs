//! One connection in one room, and its membership there.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;

use super::{
    feed::Sink,
    frame::{Frame, FrameKind},
    roster::with_own_name,
};
use crate::{
    names::{MessageId, RoomId, Status, Token, UserId},
    outbox::Outbox,
    protocol::{ServerFrame, close::CloseReason, codec, sse},
    removal::{Reason, Removal, Session},
};

/// One connection in one room.
#[derive(Clone)]
pub struct Seat {
    /// The connection.
    pub outbox: Arc<Outbox>,
    /// Its membership; `None` for a listener.
    pub membership: Option<Arc<Membership>>,
    pub(super) room: RoomId,
}

/// What a node knows of one connection in one room: enough to restore the user after Redis lost its
/// data.
pub struct Membership {
    /// The user.
    pub user: UserId,
    /// Its token.
    pub token: Token,
    /// When it first joined, milliseconds on Redis's clock; 0 until the join is answered.
    pub joined_at_ms: AtomicU64,
    /// Whether the client has its token: it joined with it, or sent something after the answer was written.
    confirmed: AtomicBool,
    /// Whether Redis knows that.
    confirmation_reported: AtomicBool,
    /// When a report of this connection began that Redis has processed, beside those of the whole room.
    reported_at: Mutex<Option<Instant>>,
    /// The last message that it said it has read.
    pub read: Mutex<Option<MessageId>>,
    /// The last message that it sent.
    pub last_sent: Mutex<Option<MessageId>>,
    /// The connection's address.
    pub address: IpAddr,
    /// When its token expires, in seconds since 1970.
    ends_at: AtomicU64,
}

impl Membership {
    /// A membership whose join has not been answered.
    pub fn new(user: UserId, token: Token, confirmed: bool, address: IpAddr) -> Self {
        let ends_at = token.ends_at().unwrap_or(u64::MAX);
        Self {
            user,
            token,
            joined_at_ms: AtomicU64::new(0),
            confirmed: AtomicBool::new(confirmed),
            confirmation_reported: AtomicBool::new(confirmed),
            reported_at: Mutex::default(),
            read: Mutex::default(),
            last_sent: Mutex::default(),
            address,
            ends_at: AtomicU64::new(ends_at),
        }
    }

    /// Notes that the user has presented this token, which may expire later.
    pub fn renew(&self, token: &Token) {
        self.ends_at.store(token.ends_at().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether its token has expired by this time, in seconds since 1970.
    pub fn has_expired(&self, now: u64) -> bool {
        self.is_in() && self.ends_at.load(Ordering::Relaxed) < now
    }

    /// Whether the client is known to have its token.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// Notes that the client has its token. Returns whether that is new.
    pub fn confirm(&self) -> bool {
        !self.confirmed.swap(true, Ordering::Relaxed)
    }

    /// Notes that Redis knows that the client has its token.
    pub fn confirmation_reported(&self) {
        self.confirmation_reported.store(true, Ordering::Relaxed);
    }

    /// Notes that Redis has processed a report of this connection that began at this moment.
    fn reported(&self, began: Instant) {
        *self.reported_at.lock() = Some(began);
        if self.is_confirmed() {
            self.confirmation_reported();
        }
    }

    /// Whether Redis still has to know that the client has its token.
    pub fn is_unreported(&self) -> bool {
        self.is_in() && self.is_confirmed() && !self.confirmation_reported.load(Ordering::Relaxed)
    }

    /// Whether its join was answered, and it still holds its name.
    pub fn is_in(&self) -> bool {
        self.joined_at_ms.load(Ordering::Relaxed) > 0
    }

    /// Ends it: the connection left, its session ended, or somebody else has its name.
    pub fn evict(&self) {
        self.joined_at_ms.store(0, Ordering::Relaxed);
    }
}

impl Seat {
    /// A connection in a room.
    pub fn new(outbox: Arc<Outbox>, membership: Arc<Membership>, room: RoomId) -> Self {
        Self { outbox, membership: Some(membership), room }
    }

    /// A listener of a room, which gets Server-Sent Events.
    pub fn listener(outbox: Arc<Outbox>, room: RoomId) -> Self {
        Self { outbox, membership: None, room }
    }

    /// Whether it belongs to a member whose join was answered and who still holds the name.
    pub fn is_in(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.is_in())
    }

    /// Whether it belongs to a member whose token has expired by this time, in seconds since 1970.
    pub fn has_expired(&self, now: u64) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.has_expired(now))
    }

    /// Whether the client has sent something at this moment or later that Redis was not told of.
    pub fn was_active_since(&self, moment: Instant) -> bool {
        let reported = self.membership.as_ref().and_then(|known| *known.reported_at.lock());
        self.outbox.was_active_since(reported.map_or(moment, |reported| reported.max(moment)))
    }

    /// Notes that Redis has processed a report of this connection that began at this moment.
    pub fn reported(&self, began: Instant) {
        if let Some(membership) = &self.membership {
            membership.reported(began);
        }
    }

    /// Whether it belongs to one of these users.
    pub fn is_of(&self, users: &HashSet<UserId>) -> bool {
        self.membership.as_ref().is_some_and(|membership| users.contains(&membership.user))
    }

    /// The session in which it is in the room.
    pub fn session(&self) -> Option<Session> {
        let membership = self.membership.as_ref().filter(|membership| membership.is_in())?;
        let joined_at_ms = membership.joined_at_ms.load(Ordering::Relaxed);
        Some(Session { user: membership.user.clone(), joined_at_ms })
    }

    /// Whether it is in the room with this session.
    pub fn is_in_session(&self, session: &Session) -> bool {
        self.membership.as_ref().is_some_and(|membership| {
            membership.is_in()
                && membership.joined_at_ms.load(Ordering::Relaxed) == session.joined_at_ms
                && membership.user == session.user
        })
    }
}

impl Sink for Seat {
    fn connection(&self) -> &Arc<str> {
        self.outbox.id()
    }

    /// Written by the next flush of its room: frames that arrive together are written in one call.
    fn push(&self, frame: &Frame) {
        match (&self.membership, frame.kind) {
            (Some(membership), FrameKind::Members) => {
                let is_away = self.outbox.status() == Status::Away;
                let list = with_own_name(&frame.text, membership.user.as_str(), is_away);
                self.outbox.queue(list);
            }
            (Some(_), _) => self.outbox.queue(frame.text.clone()),
            (None, kind) => {
                if matches!(kind, FrameKind::Room | FrameKind::Members) {
                    self.outbox.recheck_access();
                }
                let id = if let FrameKind::Message(id) = kind { Some(id) } else { None };
                let events = codec::payloads(&frame.text).map(|json| sse::event(json, id));
                events.for_each(|event| self.outbox.queue(event));
            }
        }
    }

    fn overflow(&self) {
        self.outbox.overflow();
    }

    fn rejoin(&self, since: MessageId) {
        self.outbox.rejoin(self.room.clone(), since);
    }

    fn is_target(&self, removal: &Removal) -> bool {
        removal.whom.as_ref().is_some_and(|session| self.is_in_session(session))
    }

    /// Written at once, because it is no longer flushed with its room.
    fn evict(&self, reason: Reason) {
        let frame = ServerFrame::Removed { room_id: &self.room, reason };
        match &self.membership {
            Some(membership) => {
                membership.evict();
                self.outbox.push(frame.encode());
            }
            None => {
                self.outbox.push(sse::event(frame.json().as_bytes(), None));
                self.outbox.close(CloseReason::Silent);
            }
        }
    }

    fn recheck_access(&self) {
        if self.membership.is_none() {
            self.outbox.recheck_access();
        }
    }
}
