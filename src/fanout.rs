//! Who on this node hears which room, and the way of a frame from the subscription to them.
//!
//! Everything here can be thrown away at any moment: it holds connection handles and positions.

mod fallback;
pub mod feed;
pub mod frame;
mod inbox;
mod join_admission;
mod publish_queue;
pub mod reports;
mod serve;
mod subscriber;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use governor::Jitter;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    background::Background,
    error::Error,
    message::Message,
    metrics::Metrics,
    names::{MessageId, RoomId, Token, UserId},
    outbox::Outbox,
    protocol::ServerFrame,
    redis::{
        Redis,
        scripts::{RoomFacts, Scripts, Snapshot},
    },
    settings::Settings,
};
use fallback::Position;
use feed::{Actions, Answered, Feed, JoinAnswer, Sink};
use inbox::Inbox;
use join_admission::JoinAdmission;
pub use publish_queue::{BATCH_MAX, all_failed};
use publish_queue::{PublishQueue, scripts_at_once};
use reports::Reports;
use subscriber::Change;

/// Messages that one reading of the stream takes.
const CATCH_UP_PAGE: usize = 500;
/// Rooms whose streams are read at once, so that a return of Redis makes no herd.
const CATCH_UPS_AT_ONCE: usize = 32;
/// Between two attempts to read the stream, at most.
const CATCH_UP_RETRY: Duration = Duration::from_millis(400);
/// Changes of the subscription that may wait to be sent together.
const CHANGES: usize = 1024;

/// Who on this node hears which room; cheap to clone.
#[derive(Clone)]
pub struct Fanout(Arc<Inner>);

struct Inner {
    rooms: RwLock<HashMap<RoomId, Arc<LocalRoom>>>,
    /// Counted for all rooms together, so that no two fences of a room are ever alike.
    heartbeats: Arc<AtomicU64>,
    /// Joins sent, so that each has a fence of its own.
    joins: AtomicU64,
    changes: mpsc::Sender<Change>,
    redis: Redis,
    scripts: Scripts,
    metrics: Arc<Metrics>,
    frame_max: usize,
    patience: Duration,
    scripts_at_once: usize,
    /// When a room that is not crowded was last served.
    others_served: Mutex<Instant>,
    resync: Notify,
    hearing: watch::Sender<Hearing>,
    catch_ups: Semaphore,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Whether what is published reaches this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// No probe has come back yet.
    Unknown,
    /// The latest probe came back.
    Hears,
    /// The latest probe was published, and did not come back.
    Deaf,
}

/// A room that somebody on this node hears.
pub struct LocalRoom {
    /// The room's id.
    pub id: RoomId,
    feed: Mutex<Feed<Seat>>,
    /// Held while a script is under way that reports connections; who leaves waits for it, or it
    /// would bring back a connection that has left.
    reporting: tokio::sync::RwLock<()>,
    /// What its connections have to say before the next heartbeat.
    pub reports: Reports,
    /// When the last heartbeat began that Redis took as a whole.
    last_heartbeat: Mutex<Option<Instant>>,
    /// What is needed to restore the room, once a join told it.
    facts: Mutex<Option<RoomFacts>>,
    /// Whether Redis has confirmed the subscription.
    subscribed: watch::Sender<bool>,
    /// The number of the latest heartbeat sent.
    heartbeat: AtomicU64,
    /// The node's count of heartbeats.
    heartbeats: Arc<AtomicU64>,
    inbox: Inbox,
    /// Whether something was queued that was not written.
    is_unwritten: AtomicBool,
    /// Whether the list of members was asked for and has not been sent.
    asks_members: AtomicBool,
    /// What the last heartbeat was answered with, until its fence is seen to have come.
    unfenced: Mutex<Option<Position>>,
    join_admission: JoinAdmission,
    publish_queue: PublishQueue,
}

/// One connection in one room.
#[derive(Clone)]
pub struct Seat {
    /// The connection.
    pub outbox: Arc<Outbox>,
    /// Who it is in this room.
    pub membership: Arc<Membership>,
    room: RoomId,
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
        Self { outbox, membership, room }
    }
}

impl Sink for Seat {
    fn connection(&self) -> &str {
        self.outbox.id()
    }

    /// Written by the flush of its room: what comes in together goes out in one call.
    fn push(&self, frame: Bytes) {
        self.outbox.queue(frame);
    }

    fn overflow(&self) {
        self.outbox.overflow();
    }

    fn rejoin(&self, since: MessageId) {
        self.outbox.rejoin(self.room.clone(), since);
    }
}

impl Fanout {
    /// Starts the fan-out: one task that changes the subscription, one that reads it.
    pub fn start(
        redis: Redis,
        scripts: Scripts,
        settings: &Settings,
        metrics: Arc<Metrics>,
        background: &Background,
    ) -> Self {
        let (changes, wanted) = mpsc::channel(CHANGES);
        let fanout = Self(Arc::new(Inner {
            rooms: RwLock::default(),
            heartbeats: Arc::default(),
            joins: AtomicU64::new(0),
            changes,
            redis,
            scripts,
            metrics,
            frame_max: settings.max_body_bytes,
            patience: settings.redis_timeout,
            scripts_at_once: scripts_at_once(settings.durability),
            others_served: Mutex::new(Instant::now()),
            resync: Notify::new(),
            hearing: watch::Sender::new(Hearing::Unknown),
            catch_ups: Semaphore::new(CATCH_UPS_AT_ONCE),
            tasks: background.tasks.clone(),
            stop: background.stop.clone(),
        }));
        subscriber::start(&fanout, wanted, background);
        fanout
    }

    /// The rooms that somebody on this node hears.
    pub fn rooms(&self) -> Vec<Arc<LocalRoom>> {
        self.0.rooms.read().values().cloned().collect()
    }

    /// Whether what is published reaches this node.
    pub fn hearing(&self) -> Hearing {
        *self.0.hearing.borrow()
    }

    fn hears(&self, hearing: Hearing) {
        let was = self.0.hearing.send_replace(hearing);
        match (was, hearing) {
            (Hearing::Deaf, Hearing::Hears) => {
                info!("what is published comes again");
                self.members_stale();
                self.0.resync.notify_one();
            }
            (Hearing::Hears | Hearing::Unknown, Hearing::Deaf) => {
                warn!("what is published does not come; going by answers");
                self.rooms().iter().for_each(|room| self.fall_back(room, Duration::ZERO));
            }
            _ => {}
        }
    }

    /// The subscription was interrupted: every room may have missed something.
    fn members_stale(&self) {
        for room in self.rooms() {
            room.feed.lock().members_stale();
        }
    }

    /// Waits until every room has to be asked how far it has come.
    pub async fn resync_wanted(&self) {
        self.0.resync.notified().await;
    }

    /// Seats a connection in a room, and waits until the room's events reach this node: from then
    /// on the join script may run.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` where Redis does not confirm the subscription in time.
    pub async fn enter(
        &self,
        room: &RoomId,
        outbox: Arc<Outbox>,
        membership: Arc<Membership>,
    ) -> Result<(Arc<LocalRoom>, String), Error> {
        let tag = format!("{}.{}", outbox.id(), self.0.joins.fetch_add(1, Ordering::Relaxed));
        let local = self.seat(Seat::new(outbox, membership, room.clone()), tag.clone());
        self.0.redis.rooms_returned().await?;
        if !*local.subscribed.borrow() {
            let change = Change::Subscribe(local.clone());
            let asked = self.0.changes.try_send(change).is_ok();
            // Who is deaf waits for nothing that comes that way.
            if self.hearing() != Hearing::Deaf && !(asked && self.is_confirmed(&local).await) {
                return Err(Error::unavailable("the subscription was not confirmed"));
            }
        }
        Ok((local, tag))
    }

    async fn is_confirmed(&self, room: &LocalRoom) -> bool {
        let mut subscribed = room.subscribed.subscribe();
        let confirmed = subscribed.wait_for(|yes| *yes);
        tokio::time::timeout(self.0.patience, confirmed).await.is_ok()
    }

    /// Undoes [`Fanout::enter`] after a join was refused. Returns whether the connection was in the
    /// room before, and so still is.
    pub fn refused(&self, room: &RoomId, connection: &str) -> bool {
        let Some(local) = self.find(room) else { return false };
        let mut feed = local.feed.lock();
        let stays = feed.refused(connection);
        if feed.is_empty() {
            self.release(room);
        }
        drop(feed);
        local.has_unwritten();
        self.serve(&local);
        stays
    }

    /// Takes a connection out of a room.
    pub fn leave(&self, room: &RoomId, connection: &str) {
        let Some(local) = self.find(room) else { return };
        let mut feed = local.feed.lock();
        feed.leave(connection);
        if feed.is_empty() {
            self.release(room);
        }
    }

    /// Ends the subscription of a room that nobody hears any more. Where the queue is full, the
    /// next heartbeat asks again.
    pub fn release(&self, room: &RoomId) {
        let _ = self.0.changes.try_send(Change::Release(room.clone()));
    }

    /// Forgets a room that nobody hears. Returns whether it was one.
    fn remove_if_empty(&self, room: &RoomId) -> bool {
        let mut rooms = self.0.rooms.write();
        let is_empty = rooms.get(room).is_some_and(|local| local.is_empty());
        if is_empty {
            rooms.remove(room);
            self.0.metrics.rooms.set(i64::try_from(rooms.len()).unwrap_or(i64::MAX));
        }
        is_empty
    }

    /// A room that somebody on this node hears.
    pub fn find(&self, room: &RoomId) -> Option<Arc<LocalRoom>> {
        self.0.rooms.read().get(room).cloned()
    }

    /// Whether this is the room that is heard here, and not one of before.
    fn serves(&self, room: &Arc<LocalRoom>) -> bool {
        self.find(&room.id).is_some_and(|current| Arc::ptr_eq(&current, room))
    }

    /// Does what the room's feed asks for.
    fn act(&self, room: &Arc<LocalRoom>, actions: Actions) {
        if let Some(number) = actions.catch_up {
            let (fanout, room) = (self.clone(), room.clone());
            self.0.tasks.spawn(async move { fanout.catch_up(room, number).await });
        }
        // One at a time: each fence, or answer, asks again until the list is here.
        if (actions.tell_members || actions.list_members)
            && !room.asks_members.swap(true, Ordering::SeqCst)
        {
            let (fanout, room) = (self.clone(), room.clone());
            self.0.tasks.spawn(async move {
                match actions.list_members {
                    true => fanout.list_members(&room).await,
                    false => fanout.tell_members(&room).await,
                }
                room.asks_members.store(false, Ordering::SeqCst);
            });
        }
    }

    async fn tell_members(&self, room: &LocalRoom) {
        // Where it fails, the next heartbeat's fence shows the difference again.
        if let Err(error) = self.0.scripts.tell_members(&room.id).await {
            warn!(%error, "members not sent");
        }
    }

    /// Reads the stream from where the room's feed stands until there is nothing behind it.
    async fn catch_up(&self, room: Arc<LocalRoom>, mut number: u64) {
        self.0.metrics.catchups.inc();
        loop {
            let Some(after) = room.feed.lock().reading(number) else { return };
            let permit = self.0.catch_ups.acquire().await;
            let missed = self.0.scripts.catch_up(&room.id, after, CATCH_UP_PAGE).await;
            drop(permit);
            let missed = match missed {
                Ok(missed) => missed,
                Err(_) if room.feed.lock().is_empty() || self.0.stop.is_cancelled() => return,
                Err(_) => {
                    tokio::time::sleep(jittered(CATCH_UP_RETRY)).await;
                    continue;
                }
            };
            let last_page = missed.messages.len() < CATCH_UP_PAGE;
            self.0.metrics.recovered.inc_by(missed.messages.len() as u64);
            let mut feed = room.feed.lock();
            let actions = if missed.trimmed {
                feed.history_trimmed(number)
            } else {
                let follow = |m: &Message| {
                    let deliveries = &self.0.metrics.deliveries;
                    let (frame, way) = deliveries.follow(message_frame(m), m.id.ms);
                    ((m.id, frame), way)
                };
                let (page, ways): (_, Vec<_>) = missed.messages.iter().map(follow).unzip();
                let listeners = feed.sinks().count();
                let actions = feed.caught_up(number, page, last_page);
                for way in ways {
                    self.0.metrics.delivered(listeners);
                    way.queued(listeners);
                }
                actions
            };
            drop(feed);
            room.has_unwritten();
            self.serve(&room);
            self.act(&room, Actions { catch_up: None, ..actions });
            let Some(goes_on) = actions.catch_up else { return };
            number = goes_on;
        }
    }

    /// Finds or makes the room, and seats the connection while the map is locked: an empty room is
    /// removed under the same lock, so that nobody sits in a room that is gone.
    fn seat(&self, seat: Seat, tag: String) -> Arc<LocalRoom> {
        let mut rooms = self.0.rooms.write();
        let local = rooms
            .entry(seat.room.clone())
            .or_insert_with_key(|id| LocalRoom::new(id, &self.0))
            .clone();
        local.feed.lock().enter(seat, tag);
        self.0.metrics.rooms.set(i64::try_from(rooms.len()).unwrap_or(i64::MAX));
        local
    }
}

impl LocalRoom {
    fn new(id: &RoomId, fanout: &Inner) -> Arc<Self> {
        let heartbeats = fanout.heartbeats.clone();
        Arc::new(Self {
            id: id.clone(),
            feed: Mutex::default(),
            reporting: tokio::sync::RwLock::default(),
            reports: Reports::default(),
            last_heartbeat: Mutex::default(),
            facts: Mutex::default(),
            subscribed: watch::Sender::new(false),
            heartbeat: AtomicU64::new(heartbeats.load(Ordering::Relaxed)),
            heartbeats,
            inbox: Inbox::default(),
            is_unwritten: AtomicBool::new(false),
            asks_members: AtomicBool::new(false),
            unfenced: Mutex::default(),
            join_admission: JoinAdmission::new(),
            publish_queue: PublishQueue::new(
                fanout.scripts.clone(),
                fanout.scripts_at_once,
                fanout.tasks.clone(),
            ),
        })
    }

    /// Sends the answer to a connection's join, then what came in since.
    pub fn answered(&self, outbox: &Outbox, joined: Bytes, snapshot: Snapshot) -> Answered {
        let secret = snapshot.facts.secret.clone();
        *self.facts.lock() = Some(snapshot.facts);
        let heartbeat = self.heartbeat.load(Ordering::Relaxed);
        let answer = JoinAnswer { joined, tip: snapshot.tip, secret, heartbeat };
        let answered = self.feed.lock().answered(outbox.id(), answer);
        outbox.flush();
        answered
    }

    /// Sends a connection the message that its retry repeats, unless it is about to get it anyway.
    pub fn answer_repeat(&self, outbox: &Outbox, message: &Message) {
        let feed = self.feed.lock();
        if feed.has_delivered(outbox.id(), message.id) {
            outbox.push(message_frame(message));
        }
    }

    /// Whether a connection that was asked to join again still has to.
    pub fn is_behind(&self, connection: &str) -> bool {
        self.feed.lock().is_behind(connection)
    }

    /// Whether a connection was given this message.
    pub fn has_delivered(&self, connection: &str, id: MessageId) -> bool {
        self.feed.lock().has_delivered(connection, id)
    }

    /// To be held while a join is under way.
    pub async fn admit_join(&self) -> Option<SemaphorePermit<'_>> {
        let permit = self.join_admission.take(self.is_crowded()).await;
        self.inbox.has_space().await;
        permit
    }

    /// To be held while connections are reported, from before they are gathered.
    pub async fn reporting(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.reporting.read().await
    }

    /// Waits until no report is under way that began before.
    pub async fn reported(&self) {
        drop(self.reporting.write().await);
    }

    /// When the last heartbeat began that Redis took as a whole.
    pub fn last_heartbeat(&self) -> Option<Instant> {
        *self.last_heartbeat.lock()
    }

    /// Redis may have forgotten what it was told.
    pub fn forget_heartbeat(&self) {
        *self.last_heartbeat.lock() = None;
    }

    /// Redis took a heartbeat that began at this moment.
    pub fn heartbeat_taken(&self, began: Instant) {
        *self.last_heartbeat.lock() = Some(began);
    }

    /// Who is in the room through this node.
    pub fn seats(&self) -> Vec<Seat> {
        self.feed.lock().sinks().cloned().collect()
    }

    /// Whether nobody hears the room here.
    pub fn is_empty(&self) -> bool {
        self.feed.lock().is_empty()
    }

    /// What is needed to restore the room.
    pub fn facts(&self) -> Option<RoomFacts> {
        self.facts.lock().clone()
    }

    /// The number of the next heartbeat.
    pub fn next_heartbeat(&self) -> u64 {
        let number = self.heartbeats.fetch_add(1, Ordering::Relaxed) + 1;
        self.heartbeat.fetch_max(number, Ordering::Relaxed);
        number
    }
}

/// Any time up to this, so that those who wait for the same do not come back together.
pub fn jittered(longest: Duration) -> Duration {
    Jitter::up_to(longest) + Duration::ZERO
}

fn message_frame(message: &Message) -> Bytes {
    ServerFrame::Msg(message).encode()
}
