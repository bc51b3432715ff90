//! Takes lists that have events, and posts these, one after the other: the events of a list are in the
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
    push::{Push, Pushed},
    redis::{
        Redis,
        keys::Queue,
        scripts::{Attempt, AttemptRecorded, QueuedEvent, Ready, Scripts},
    },
    settings::Settings,
};

/// Lists whose events this node posts at once.
pub(super) const LISTS_AT_ONCE: usize = 64;
/// Events of one list that are posted before others have their turn.
const EVENTS_IN_A_ROW: usize = 50;
/// Between two tries to reach Redis.
const REDIS_PAUSE: Duration = Duration::from_millis(250);

/// What posts the events of lists.
pub(super) struct Courier {
    pub redis: Redis,
    pub scripts: Scripts,
    /// Where the settings name a receiver.
    pub delivery: Option<Delivery>,
    pub push: Push,
    pub settings: Arc<Settings>,
    pub metrics: Arc<Metrics>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    /// Of the lists that are under way.
    pub turns: Semaphore,
    /// The entries that gave this node its lists.
    pub held: Mutex<HashSet<String>>,
    /// Whether anything was ever written that is to be posted.
    pub is_needed: watch::Sender<bool>,
    /// Whether the webhook's receiver wants no events any more.
    pub is_stopped: watch::Sender<bool>,
    /// When to look next at what waits.
    pub next_look: watch::Sender<Instant>,
}

impl Courier {
    /// Takes lists as they become ready, until the node ends.
    pub async fn take_lists(self: Arc<Self>) {
        let stop = self.stop.clone();
        while stop.run_until_cancelled(self.may_take()).await.is_some() {
            // Not given up when the node ends: it would still take lists, and nobody would have them.
            match self.redis.take_ready(self.turns.available_permits().max(1)).await {
                Ok(lists) => lists.into_iter().for_each(|ready| self.clone().serve(ready)),
                Err(error) => {
                    debug!(error = redacted(&error), "nothing to post");
                    stop.run_until_cancelled(sleep(REDIS_PAUSE)).await;
                }
            }
        }
    }

    /// Waits until there is something to post, and this node can post more.
    async fn may_take(&self) {
        // The sender lives as long as `self`.
        let _ = self.is_needed.subscribe().wait_for(|is_needed| *is_needed).await;
        // Given back at once: whoever serves a list waits for its turn.
        let _ = self.turns.acquire().await;
    }

    /// Posts the events of a list in a task of its own.
    pub fn serve(self: Arc<Self>, ready: Ready) {
        // What was taken over may be in our own hands still.
        if !self.held.lock().insert(ready.entry.clone()) {
            return;
        }
        self.tasks.clone().spawn(async move {
            if let Some(queue) = self.redis.key_style().queue(&ready.events)
                && let Ok(_turn) = self.turns.acquire().await
            {
                self.post_events(&ready, &queue).await;
            }
            self.held.lock().remove(&ready.entry);
        });
    }

    async fn post_events(&self, ready: &Ready, queue: &Queue) {
        let mut last: Option<(QueuedEvent, Outcome)> = None;
        for posted in 0.. {
            let goes_on = posted < EVENTS_IN_A_ROW && !self.stop.is_cancelled();
            let Some(settled) = self.settle(ready, queue, last.as_ref(), goes_on).await else {
                return;
            };
            if settled.is_dead
                && let Some((event, Outcome::Failed(why))) = &last
            {
                self.metrics.webhooks.dead.inc();
                warn!(event = event.id, kind = event.kind, why, "an event became a dead letter");
            }
            let Some(event) = settled.next else { return };
            let post = self.post(queue, &event, settled.now_ms);
            let outcome = self.stop.run_until_cancelled(post).await;
            last = outcome.map(|outcome| (event, outcome));
        }
    }

    async fn post(&self, queue: &Queue, event: &QueuedEvent, now_ms: u64) -> Outcome {
        let (outcome, counts) = match queue {
            Queue::Webhook(_) => {
                // A script gives no event of the webhook to a node that has none.
                let Some(delivery) = &self.delivery else {
                    return Outcome::Failed("this node has no webhook".to_owned());
                };
                let outcome = delivery.post(event, now_ms).await;
                let metrics = &self.metrics.webhooks;
                let is_delivered = matches!(outcome, Outcome::Delivered { .. });
                (outcome, if is_delivered { &metrics.delivered } else { &metrics.failed })
            }
            Queue::Push(room, user) => {
                let metrics = &self.metrics.pushes;
                let rest = self.settings.push.push_interval;
                match self.push.post(room, user, event, now_ms).await {
                    Pushed::Sent => (Outcome::Delivered { rest }, &metrics.sent),
                    Pushed::Ended => (Outcome::Delivered { rest: Duration::ZERO }, &metrics.ended),
                    Pushed::Needless => {
                        (Outcome::Delivered { rest: Duration::ZERO }, &metrics.needless)
                    }
                    Pushed::Failed(why) => (Outcome::Failed(why), &metrics.failed),
                }
            }
        };
        counts.inc();
        if let Outcome::Failed(why) = &outcome {
            warn!(kind = event.kind, why, "an event was not delivered");
        }
        outcome
    }

    /// Stores the outcome of an event in Redis, and retries until that succeeds, because the event
    /// would be posted again otherwise. `None` if the node ends before.
    async fn settle(
        &self,
        ready: &Ready,
        queue: &Queue,
        last: Option<&(QueuedEvent, Outcome)>,
        goes_on: bool,
    ) -> Option<AttemptRecorded> {
        let tried = last.map(|(event, outcome)| self.tried(event, outcome));
        if matches!(last, Some((_, Outcome::Gone))) {
            self.is_stopped.send_replace(true);
        }
        loop {
            match self.scripts.settle_hook(ready, queue, tried, goes_on).await {
                Ok(settled) => {
                    let pause = tried.map(|tried| tried.pause()).filter(|pause| !pause.is_zero());
                    if let Some(pause) = pause {
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

    fn tried<'a>(&self, event: &'a QueuedEvent, outcome: &'a Outcome) -> Attempt<'a> {
        let settings = &self.settings.webhooks;
        match outcome {
            Outcome::Delivered { rest } => Attempt::Delivered { event, rest: *rest },
            Outcome::Gone => Attempt::Gone(event),
            Outcome::Failed(why) => {
                let (backoff, longest) = (settings.webhook_backoff, settings.webhook_age_max);
                Attempt::Failed { event, why, pause: pause(backoff, event.tries, longest) }
            }
        }
    }

    /// Makes the next check happen after this pause at the latest.
    pub fn look_in(&self, pause: Duration) {
        let at = Instant::now() + pause;
        self.next_look.send_if_modified(|next| {
            let is_sooner = at < *next;
            *next = at.min(*next);
            is_sooner
        });
    }
}
