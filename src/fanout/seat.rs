//! One connection in one room, and its membership there.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
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
    redis::scripts::Confirmation,
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
    /// The last report of this connection that Redis has processed.
    reported: Mutex<Option<Reported>>,
    /// The last message that it said it has read.
    pub read: Mutex<Option<MessageId>>,
    /// The last message that it sent.
    pub last_sent: Mutex<Option<MessageId>>,
    /// The connection's address.
    pub address: IpAddr,
    /// When its token expires, in seconds since 1970.
    ends_at: AtomicU64,
}

/// A report of a connection that Redis has processed.
#[derive(Clone, Copy, Debug)]
pub struct Reported {
    /// When it began.
    pub begun: Instant,
    /// The connection's last activity that it told of.
    pub heard: Instant,
    /// The connection's status that it told of.
    pub status: Status,
    /// What it said of the session: not what has become known since.
    pub confirmed: Confirmation,
}

/// What a heartbeat has to say of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It was not active since its last report.
    Nothing,
    /// It was, but its deadline is far: only that its user is still there.
    Here,
    /// It has to be reported.
    Due,
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
            reported: Mutex::default(),
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

    /// Notes that Redis has processed a report of this connection.
    pub fn reported(&self, report: Reported) {
        *self.reported.lock() = Some(report);
        if report.confirmed > Confirmation::Missing {
            self.confirmation_reported();
        }
    }

    /// Whether it is known, here and in Redis, that the client has its token.
    pub fn confirmation(&self) -> Confirmation {
        if self.confirmation_reported.load(Ordering::Relaxed) {
            Confirmation::Reported
        } else if self.is_confirmed() {
            Confirmation::New
        } else {
            Confirmation::Missing
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

    /// What a heartbeat has to say of it. `since` is when the client's last activity counts from where it was never
    /// reported by itself, `may_last` how long the activity that was reported last is enough.
    pub fn news(&self, since: Instant, may_last: Duration) -> News {
        let last = self.membership.as_ref().and_then(|member| *member.reported.lock());
        if !self.outbox.was_active_since(last.map_or(since, |last| last.begun)) {
            return News::Nothing;
        }
        let is_same = |last: Reported| last.status == self.outbox.status() && !self.is_unreported();
        match last {
            Some(last) if is_same(last) && last.heard.elapsed() <= may_last => News::Here,
            _ => News::Due,
        }
    }

    /// Whether Redis still has to know that its client has its token.
    pub fn is_unreported(&self) -> bool {
        self.membership.as_ref().is_some_and(|member| member.is_unreported())
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
