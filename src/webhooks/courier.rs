//! Takes rooms that have events, and posts these, one after the other: the events of a room are in the
//! hands of one node at a time. What became of each is noted in Redis before the next one is posted.

use std::{collections::HashSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{
    delivery::{Delivery, Outcome},
    pause::pause,
};
use crate::{
    error::redacted,
    metrics::Metrics,
    names::RoomId,
    redis::{
        Redis,
        scripts::{QueuedEvent, ReadyRoom, Scripts, Settled, Tried},
    },
    settings::Settings,
};

/// Rooms whose events this node posts at once.
pub(super) const ROOMS_AT_ONCE: usize = 64;
/// Events of one room that are posted before others have their turn.
const EVENTS_IN_A_ROW: usize = 50;
/// Between two tries to reach Redis.
const REDIS_PAUSE: Duration = Duration::from_millis(250);

/// What posts the events of rooms.
pub(super) struct Courier {
    pub redis: Redis,
    pub scripts: Scripts,
    pub settings: Arc<Settings>,
    pub metrics: Arc<Metrics>,
    pub delivery: Delivery,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    /// Of the rooms that are under way.
    pub turns: Semaphore,
    /// The entries that gave this node its rooms.
    pub held: Mutex<HashSet<String>>,
    /// Whether the receiver wants no events any more.
    pub is_stopped: watch::Sender<bool>,
    /// When to look next at what waits.
    pub next_look: watch::Sender<Instant>,
}

impl Courier {
    /// Takes rooms as they become ready, until the node ends.
    pub async fn take_rooms(self: Arc<Self>) {
        let stop = self.stop.clone();
        while stop.run_until_cancelled(self.may_take()).await.is_some() {
            // Not given up when the node ends: it would still take rooms, and nobody would have them.
            match self.redis.take_ready_rooms(self.turns.available_permits().max(1)).await {
                Ok(rooms) => rooms.into_iter().for_each(|ready| self.clone().serve(ready)),
                Err(error) => {
                    debug!(error = redacted(&error), "no rooms for the webhook");
                    stop.run_until_cancelled(sleep(REDIS_PAUSE)).await;
                }
            }
        }
    }

    /// Waits until the receiver wants events, and this node can post more.
    async fn may_take(&self) {
        // The sender lives as long as `self`.
        let _ = self.is_stopped.subscribe().wait_for(|is_stopped| !is_stopped).await;
        // Given back at once: whoever serves a room waits for its turn.
        let _ = self.turns.acquire().await;
    }

    /// Posts the events of a room in a task of its own.
    pub fn serve(self: Arc<Self>, ready: ReadyRoom) {
        // What was taken over may be in our own hands still.
        if !self.held.lock().insert(ready.entry.clone()) {
            return;
        }
        self.tasks.clone().spawn(async move {
            if let Some(room) = self.redis.key_style().room_of_events(&ready.events)
                && let Ok(_turn) = self.turns.acquire().await
            {
                self.post_events(&ready, &room).await;
            }
            self.held.lock().remove(&ready.entry);
        });
    }

    async fn post_events(&self, ready: &ReadyRoom, room: &RoomId) {
        let mut last: Option<(QueuedEvent, Outcome)> = None;
        for posted in 0.. {
            let goes_on = posted < EVENTS_IN_A_ROW && !self.stop.is_cancelled();
            let Some(settled) = self.settle(ready, room, last.as_ref(), goes_on).await else {
                return;
            };
            if settled.is_dead
                && let Some((event, Outcome::Failed(why))) = &last
            {
                self.metrics.webhooks.dead.inc();
                warn!(event = event.id, kind = event.kind, why, "an event became a dead letter");
            }
            let Some(event) = settled.next else { return };
            let post = self.delivery.post(&event, settled.now_ms);
            let outcome = self.stop.run_until_cancelled(post).await;
            last = outcome.map(|outcome| (event, outcome));
            if let Some((_, outcome)) = &last {
                self.count(outcome);
            }
        }
    }

    fn count(&self, outcome: &Outcome) {
        let metrics = &self.metrics.webhooks;
        let count =
            if *outcome == Outcome::Delivered { &metrics.delivered } else { &metrics.failed };
        count.inc();
        if let Outcome::Failed(why) = outcome {
            warn!(why, "an event was not delivered");
        }
    }

    /// Notes what became of an event until Redis has it: it would be posted again else. `None` where the node
    /// ends before.
    async fn settle(
        &self,
        ready: &ReadyRoom,
        room: &RoomId,
        last: Option<&(QueuedEvent, Outcome)>,
        goes_on: bool,
    ) -> Option<Settled> {
        let tried = last.map(|(event, outcome)| self.tried(event, outcome));
        if matches!(last, Some((_, Outcome::Gone))) {
            self.is_stopped.send_replace(true);
        }
        loop {
            match self.scripts.settle_hook(ready, room, tried, goes_on).await {
                Ok(settled) => {
                    if let Some(Tried::Failed { pause, .. }) = tried {
                        self.look_in(pause);
                    }
                    return Some(settled);
                }
                Err(error) => debug!(%error, "redis does not know yet what became of an event"),
            }
            if self.stop.is_cancelled() {
                return None;
            }
            sleep(REDIS_PAUSE).await;
        }
    }

    fn tried<'a>(&self, event: &'a QueuedEvent, outcome: &'a Outcome) -> Tried<'a> {
        let settings = &self.settings.webhooks;
        match outcome {
            Outcome::Delivered => Tried::Delivered(event),
            Outcome::Gone => Tried::Gone(event),
            Outcome::Failed(why) => {
                let (backoff, longest) = (settings.webhook_backoff, settings.webhook_age_max);
                Tried::Failed { event, why, pause: pause(backoff, event.tries, longest) }
            }
        }
    }

    /// Has what waits looked at after so long, if not before.
    pub fn look_in(&self, pause: Duration) {
        let at = Instant::now() + pause;
        self.next_look.send_if_modified(|next| {
            let is_sooner = at < *next;
            *next = at.min(*next);
            is_sooner
        });
    }
}
