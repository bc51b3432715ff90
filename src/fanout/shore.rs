//! One island as the rooms of this node see it: the subscription there, and the turns of what is asked of it. Nothing
//! here is shared by two islands, so that no room waits for another's.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tracing::{info, warn};

use super::{Fanout, Hearing, LocalRoom, join_pacer::JoinPacer, subscriber::Change};
use crate::redis::Island;

/// Rooms whose streams are read at the same time, so that they do not all read at once when Redis
/// comes back.
const CATCH_UPS_AT_ONCE: usize = 32;
/// Changes of the subscription that may wait to be sent together.
const CHANGES: usize = 1024;

/// One island as the rooms of this node see it.
pub struct Shore {
    /// The island.
    pub island: Arc<Island>,
    pub(super) changes: mpsc::Sender<Change>,
    hearing: watch::Sender<Hearing>,
    /// Rooms that may have missed messages.
    unchecked: Mutex<Vec<Arc<LocalRoom>>>,
    check: Notify,
    pub(super) joins_paced: Arc<JoinPacer>,
    pub(super) catch_ups: Semaphore,
}

impl Shore {
    /// The shore of an island, and the changes that are wanted of its subscription. A join waits `patience` at most.
    pub(super) fn new(
        island: Arc<Island>,
        patience: Duration,
    ) -> (Arc<Self>, mpsc::Receiver<Change>) {
        let (changes, wanted) = mpsc::channel(CHANGES);
        let shore = Self {
            island,
            changes,
            hearing: watch::Sender::new(Hearing::Unknown),
            unchecked: Mutex::default(),
            check: Notify::new(),
            joins_paced: JoinPacer::new(patience),
            catch_ups: Semaphore::new(CATCH_UPS_AT_ONCE),
        };
        (Arc::new(shore), wanted)
    }

    /// Whether publications reach this node.
    pub fn hearing(&self) -> Hearing {
        *self.hearing.borrow()
    }

    /// These rooms may have missed messages.
    pub(super) fn check(&self, rooms: impl IntoIterator<Item = Arc<LocalRoom>>) {
        self.unchecked.lock().extend(rooms);
        self.check.notify_one();
    }

    /// Waits until rooms have to be checked for missed messages.
    pub async fn unchecked(&self) -> Vec<Arc<LocalRoom>> {
        self.check.notified().await;
        std::mem::take(&mut self.unchecked.lock())
    }

    /// Whether a room's subscription is confirmed here.
    pub(super) fn hears(&self, room: &LocalRoom) -> bool {
        *room.subscribed.borrow() == self.island.id()
    }
}

impl Fanout {
    /// The shore of the island that has a room.
    pub fn shore(&self, room: &crate::names::RoomId) -> Arc<Shore> {
        self.shore_of(self.0.redis.island(room))
    }

    /// The shores of all islands; a new value whenever there are others.
    pub fn shores(&self) -> watch::Receiver<Vec<Arc<Shore>>> {
        self.0.shores.subscribe()
    }

    /// The rooms of this node that an island has.
    pub fn rooms_of(&self, shore: &Shore) -> Vec<Arc<LocalRoom>> {
        let mut rooms = self.rooms();
        rooms.retain(|room| self.0.redis.island(&room.id).id() == shore.island.id());
        rooms
    }

    /// Finds the shore of an island, or starts it.
    fn shore_of(&self, island: Arc<Island>) -> Arc<Shore> {
        let is_there = |shore: &&Arc<Shore>| shore.island.id() == island.id();
        if let Some(shore) = self.0.shores.borrow().iter().find(is_there) {
            return shore.clone();
        }
        let mut found = None;
        // Again under the lock that makes one shore for each island.
        self.0.shores.send_if_modified(|shores| {
            if let Some(shore) = shores.iter().find(is_there) {
                found = Some(shore.clone());
                return false;
            }
            let (shore, wanted) = Shore::new(island.clone(), self.0.patience);
            if !island.is_nowhere() {
                super::subscriber::start(self, &shore, wanted);
            }
            found = Some(shore.clone());
            shores.push(shore);
            true
        });
        found.expect("it was found or made")
    }

    /// Has a shore for each island of this moment, and for no other.
    pub(super) fn follow_islands_now(&self) {
        let islands = self.0.redis.islands().borrow().clone();
        let ids: Vec<u64> = islands.iter().map(|island| island.id()).collect();
        islands.into_iter().for_each(|island| drop(self.shore_of(island)));
        self.0.shores.send_if_modified(|shores| {
            let before = shores.len();
            shores.retain(|shore| ids.contains(&shore.island.id()));
            shores.len() != before
        });
    }

    /// Has a shore for each island until the node ends.
    pub(super) async fn follow_islands(self) {
        let mut islands = self.0.redis.islands();
        loop {
            islands.mark_unchanged();
            self.follow_islands_now();
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                changed = islands.changed() => if changed.is_err() { return },
            }
        }
    }

    pub(super) fn set_hearing(&self, shore: &Shore, hearing: Hearing) {
        let was = shore.hearing.send_replace(hearing);
        match (was, hearing) {
            (Hearing::Silent, Hearing::Receives) => {
                info!("publications arrive again");
                self.missed_something(shore);
            }
            (Hearing::Receives | Hearing::Unknown, Hearing::Silent) => {
                warn!("publications do not arrive; using answers instead");
                let rooms = self.rooms_of(shore);
                rooms.iter().for_each(|room| self.fall_back(room, Duration::ZERO));
                // What was published meanwhile is in the answers.
                shore.check(rooms);
            }
            _ => {}
        }
    }

    /// Every room of a shore may have missed something, and is checked.
    pub(super) fn missed_something(&self, shore: &Shore) {
        let rooms = self.rooms_of(shore);
        rooms.iter().for_each(|room| room.feed.lock().members_stale());
        shore.check(rooms);
    }
}
