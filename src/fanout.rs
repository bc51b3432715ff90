//! Fan-out: which connections of this node are in which room, and the delivery of frames from the
//! subscription to them.
//!
//! All state here is soft: it holds connection handles and positions, and Redis has the facts.

mod catch_up;
pub mod collector;
mod fallback;
pub mod feed;
pub mod frame;
mod give_up;
mod inbox;
mod join_pacer;
mod joins;
mod local_room;
mod publish_queue;
mod removals;
pub mod roster;
mod seat;
mod serve;
mod shore;
mod subscriber;
mod sweeps;
mod unwritten;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use governor::Jitter;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    background::Background,
    error::Error,
    metrics::Metrics,
    names::RoomId,
    redis::{Redis, scripts::Scripts},
    settings::Settings,
};
pub use join_pacer::JoinPermit;
pub use local_room::{LocalRoom, Report};
use publish_queue::scripts_at_once;
pub use publish_queue::{BATCH_MAX, all_failed};
pub use seat::{Membership, News, Reported, Seat};
pub use shore::Shore;
use subscriber::Change;
use sweeps::Sweeps;

/// The rooms of this node and their seats; cheap to clone.
#[derive(Clone)]
pub struct Fanout(Arc<Inner>);

struct Inner {
    rooms: RwLock<HashMap<RoomId, Arc<LocalRoom>>>,
    /// One counter for all rooms, so that no two fences of a room have the same number.
    heartbeats: Arc<AtomicU64>,
    /// Number of joins, so that each has its own fence.
    joins: AtomicU64,
    shores: watch::Sender<Vec<Arc<Shore>>>,
    redis: Redis,
    scripts: Scripts,
    metrics: Arc<Metrics>,
    frame_max: usize,
    patience: Duration,
    scripts_at_once: usize,
    /// When a room that is not crowded was last served.
    others_served: Mutex<Instant>,
    sweeps: Sweeps,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Whether publications reach this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// No probe has arrived yet.
    Unknown,
    /// The latest probe arrived.
    Receives,
    /// The latest probe was published, but did not arrive.
    Silent,
}

impl Fanout {
    /// Starts the fan-out; for each island one task that changes the subscription, one that reads it.
    pub fn start(
        redis: Redis,
        scripts: Scripts,
        settings: &Settings,
        metrics: Arc<Metrics>,
        background: &Background,
    ) -> Self {
        let fanout = Self(Arc::new(Inner {
            rooms: RwLock::default(),
            heartbeats: Arc::default(),
            joins: AtomicU64::new(0),
            shores: watch::Sender::default(),
            redis,
            scripts,
            metrics,
            frame_max: settings.max_body_bytes,
            patience: settings.redis_timeout,
            scripts_at_once: scripts_at_once(settings.durability),
            others_served: Mutex::new(Instant::now()),
            sweeps: Sweeps::new(),
            tasks: background.tasks.clone(),
            stop: background.stop.clone(),
        }));
        fanout.follow_islands_now();
        background.spawn_vital("the look at the islands", fanout.clone().follow_islands());
        fanout
    }

    /// The rooms that have a connection on this node.
    pub fn rooms(&self) -> Vec<Arc<LocalRoom>> {
        self.0.rooms.read().values().cloned().collect()
    }

    /// Seats a connection in a room, and waits until the room's events reach this node: from then
    /// on the join script may run.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` if Redis does not confirm the subscription in time.
    pub async fn enter(&self, seat: Seat) -> Result<(Arc<LocalRoom>, String), Error> {
        let tag = format!("{}.{}", seat.outbox.id(), self.0.joins.fetch_add(1, Ordering::Relaxed));
        let local = self.seat(seat, tag.clone());
        let shore = self.shore(&local.id);
        shore.island.rooms_returned().await?;
        if !shore.hears(&local) {
            let change = Change::Subscribe(local.clone());
            let asked = shore.changes.try_send(change).is_ok();
            // If publications do not arrive, there is no confirmation, and the node uses answers
            // instead.
            if shore.hearing() != Hearing::Silent && !(asked && self.is_confirmed(&local).await) {
                return Err(Error::unavailable("the subscription was not confirmed"));
            }
        }
        Ok((local, tag))
    }

    async fn is_confirmed(&self, room: &LocalRoom) -> bool {
        let mut subscribed = room.subscribed.subscribe();
        // The room may come to another island meanwhile.
        let confirmed = subscribed.wait_for(|id| *id == self.0.redis.island(&room.id).id());
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
        let outbox = feed.sink(connection).map(|seat| seat.outbox.clone());
        drop(feed);
        // The connection may have queued frames from while it joined; no other connection has.
        outbox.inspect(|outbox| outbox.flush());
        stays
    }

    /// Removes a connection from a room.
    pub fn leave(&self, room: &RoomId, connection: &str) {
        let Some(local) = self.find(room) else { return };
        let mut feed = local.feed.lock();
        feed.leave(connection);
        if feed.is_empty() {
            self.release(room);
        }
    }

    /// Ends the subscription of a room without connections. If the queue is full, the next heartbeat
    /// retries.
    pub fn release(&self, room: &RoomId) {
        let _ = self.shore(room).changes.try_send(Change::Release(room.clone()));
    }

    /// Removes a room without connections. Returns whether it did.
    fn remove_if_empty(&self, room: &RoomId) -> bool {
        let mut rooms = self.0.rooms.write();
        let is_empty = rooms.get(room).is_some_and(|local| local.is_empty());
        if is_empty {
            rooms.remove(room);
            self.0.metrics.rooms.set(i64::try_from(rooms.len()).unwrap_or(i64::MAX));
        }
        is_empty
    }

    /// A room that has a connection on this node.
    pub fn find(&self, room: &RoomId) -> Option<Arc<LocalRoom>> {
        self.0.rooms.read().get(room).cloned()
    }

    /// Whether this is the current entry of the room, and not an earlier one.
    fn serves(&self, room: &Arc<LocalRoom>) -> bool {
        self.find(&room.id).is_some_and(|current| Arc::ptr_eq(&current, room))
    }

    /// Finds or makes the room, and seats the connection while the map is locked: an empty room is
    /// removed under the same lock, so that no connection gets a seat in a removed room.
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

/// A random time up to this (jitter), so that tasks do not retry at the same moment.
pub fn jittered(longest: Duration) -> Duration {
    Jitter::up_to(longest) + Duration::ZERO
}
