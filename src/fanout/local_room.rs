//! A room that a connection of this node is in: its feed and the rest of its state on the node.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    Inner,
    collector::Collector,
    fallback::Position,
    feed::{Answered, Feed, JoinAnswer},
    frame::message_frame,
    inbox::Inbox,
    publish_queue::PublishQueue,
    seat::Seat,
    unwritten::Unwritten,
};
use crate::{
    message::Message,
    names::{MessageId, RoomId},
    outbox::Outbox,
    redis::scripts::{Join, Leave, RoomFacts, Snapshot},
};

/// No island has confirmed the subscription.
pub(super) const NOBODY: u64 = 0;
/// The island that had confirmed the subscription has ended it.
pub(super) const TAKEN_AWAY: u64 = u64::MAX;

/// The report of one connection.
pub struct Report {
    /// The connection, in this room.
    pub seat: Seat,
    /// Whether the last message that it has read is a new one.
    pub read: bool,
}

/// A room that has a connection on this node.
pub struct LocalRoom {
    /// The room's id.
    pub id: RoomId,
    pub(super) feed: Mutex<Feed<Seat>>,
    /// Held while a script reports connections. Leaving waits for it, because the report would add the
    /// connection again.
    pub(super) reporting: tokio::sync::RwLock<()>,
    /// Reports of its connections that do not wait for the next heartbeat.
    pub reports: Collector<Report>,
    /// Connections that leave.
    pub leaves: Collector<Leave>,
    /// Connections that join.
    pub(super) joins: Collector<Join, Snapshot>,
    /// Confirmed sessions of guests that will be reported soon.
    pub confirmations: Collector<Seat>,
    /// When the last heartbeat began that Redis has fully processed; at first, when the room had no connections
    /// that it could have told of.
    pub(super) last_heartbeat: Mutex<Option<Instant>>,
    /// The facts to restore the room with, known after the first join.
    pub(super) facts: Mutex<Option<Arc<RoomFacts>>>,
    /// How often the facts may have changed since they were read.
    pub(super) facts_changes: AtomicU64,
    /// The island that has confirmed the subscription, by its number; [`NOBODY`] before, [`TAKEN_AWAY`] if it has ended
    /// it since.
    pub(super) subscribed: watch::Sender<u64>,
    /// The number of the latest heartbeat sent.
    pub(super) heartbeat: AtomicU64,
    /// The node's count of heartbeats.
    pub(super) heartbeats: Arc<AtomicU64>,
    pub(super) inbox: Inbox,
    /// What is queued for its connections and not written.
    pub(super) unwritten: Unwritten,
    /// Whether the room is missing in Redis.
    pub(super) is_missing: AtomicBool,
    /// Whether a list of members was requested and has not arrived.
    pub(super) asks_members: AtomicBool,
    /// The position in the answer of the last heartbeat, until its fence arrives.
    pub(super) unfenced: Mutex<Option<Position>>,
    pub(super) publish_queue: PublishQueue,
}

impl LocalRoom {
    pub(super) fn new(id: &RoomId, fanout: &Inner) -> Arc<Self> {
        let heartbeats = fanout.heartbeats.clone();
        Arc::new(Self {
            id: id.clone(),
            feed: Mutex::default(),
            reporting: tokio::sync::RwLock::default(),
            reports: Collector::default(),
            leaves: Collector::default(),
            joins: Collector::default(),
            confirmations: Collector::default(),
            last_heartbeat: Mutex::new(Some(Instant::now())),
            facts: Mutex::default(),
            facts_changes: AtomicU64::new(0),
            subscribed: watch::Sender::new(NOBODY),
            heartbeat: AtomicU64::new(heartbeats.load(Ordering::Relaxed)),
            heartbeats,
            inbox: Inbox::default(),
            unwritten: Unwritten::new(),
            is_missing: AtomicBool::new(false),
            asks_members: AtomicBool::new(false),
            unfenced: Mutex::default(),
            publish_queue: PublishQueue::new(
                fanout.scripts.clone(),
                fanout.scripts_at_once,
                fanout.tasks.clone(),
            ),
        })
    }

    /// Sends the answer to a connection's join, then the frames that were buffered since.
    pub fn answered(&self, outbox: &Outbox, joined: Bytes, snapshot: Snapshot) -> Answered {
        let secret = snapshot.facts.secret.clone();
        *self.facts.lock() = Some(snapshot.facts);
        self.seat_answered(outbox, Some(joined), snapshot.tip, secret)
    }

    /// For a connection that only listens and has everything up to `tip`: sends the frames that
    /// were buffered since.
    pub fn listens(&self, outbox: &Outbox, tip: MessageId, secret: String) -> Answered {
        self.seat_answered(outbox, None, tip, secret)
    }

    fn seat_answered(
        &self,
        outbox: &Outbox,
        joined: Option<Bytes>,
        tip: MessageId,
        secret: String,
    ) -> Answered {
        let heartbeat = self.heartbeat.load(Ordering::Relaxed);
        let answer = JoinAnswer { joined, tip, secret, heartbeat };
        let answered = self.feed.lock().answered(outbox.id(), answer);
        outbox.flush();
        answered
    }

    /// Whether the room was missing in Redis at the last call, and nobody here could restore it.
    pub fn is_missing(&self) -> bool {
        self.is_missing.load(Ordering::Relaxed)
    }

    /// Sets whether the room is missing in Redis and nobody here restores it.
    pub fn set_missing(&self, is_missing: bool) {
        self.is_missing.store(is_missing, Ordering::Relaxed);
    }

    /// Sends a connection the message that its retry repeats, unless it is about to get it anyway.
    pub fn answer_repeat(&self, outbox: &Outbox, message: &Message) {
        let feed = self.feed.lock();
        if feed.has_delivered(outbox.id(), message.id) {
            outbox.push(message_frame(message));
        }
    }

    /// Whether a connection that must join again has not done so.
    pub fn is_behind(&self, connection: &str) -> bool {
        self.feed.lock().is_behind(connection)
    }

    /// Whether this message was delivered to a connection.
    pub fn has_delivered(&self, connection: &str, id: MessageId) -> bool {
        self.feed.lock().has_delivered(connection, id)
    }

    /// Waits until the room's frames are ordered as fast as they come in.
    pub async fn has_space(&self) {
        self.inbox.has_space().await;
    }

    /// Must be held while connections are reported, from before they are collected.
    pub async fn reporting(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.reporting.read().await
    }

    /// Waits until the reports that began before have ended.
    pub async fn reported(&self) {
        drop(self.reporting.write().await);
    }

    /// When the last heartbeat began that Redis has fully processed.
    pub fn last_heartbeat(&self) -> Option<Instant> {
        *self.last_heartbeat.lock()
    }

    /// Redis may have lost the last heartbeat.
    pub fn forget_heartbeat(&self) {
        *self.last_heartbeat.lock() = None;
    }

    /// Redis has processed a heartbeat that began at this moment.
    pub fn heartbeat_taken(&self, began: Instant) {
        *self.last_heartbeat.lock() = Some(began);
    }

    /// The seats of this node's connections.
    pub fn seats(&self, is_wanted: impl Fn(&Seat) -> bool) -> Vec<Seat> {
        self.feed.lock().sinks().filter(|seat| is_wanted(seat)).cloned().collect()
    }

    /// Whether no connection has a seat.
    pub fn is_empty(&self) -> bool {
        self.feed.lock().is_empty()
    }

    /// The facts to restore the room with.
    pub fn facts(&self) -> Option<Arc<RoomFacts>> {
        self.facts.lock().clone()
    }

    /// The number of the next heartbeat.
    pub fn next_heartbeat(&self) -> u64 {
        let number = self.heartbeats.fetch_add(1, Ordering::Relaxed) + 1;
        self.heartbeat.fetch_max(number, Ordering::Relaxed);
        number
    }
}
