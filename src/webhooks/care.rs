//! What each node does once a second to maintain the waiting events of all rooms.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::courier::Courier;
use crate::redis::scripts::Backlog;

/// Interval of checks.
const EVERY: Duration = Duration::from_secs(1);
/// The interval while more is due than one check can process.
const LEAST: Duration = Duration::from_millis(10);

impl Courier {
    /// Says that this node lives, wakes lists that are due, takes over what dead nodes left, until the node ends.
    pub async fn care(self: Arc<Self>) {
        let (stop, mut next_look) = (self.stop.clone(), self.next_look.subscribe());
        loop {
            let at = *next_look.borrow_and_update();
            tokio::select! {
                () = stop.cancelled() => return,
                // The next check may have to be earlier.
                _ = next_look.changed() => {}
                () = sleep_until(at) => self.clone().look().await,
            }
        }
    }

    async fn look(self: Arc<Self>) {
        self.next_look.send_replace(Instant::now() + EVERY);
        let held = self.held.lock().iter().cloned().collect();
        match self.scripts.tend_hooks(held, self.turns.available_permits()).await {
            Ok(Some(waiting)) => self.act(waiting).await,
            Ok(None) => {}
            Err(error) => debug!(%error, "what waits to be posted was not looked at"),
        }
    }

    async fn act(self: Arc<Self>, waiting: Backlog) {
        self.tell(&waiting);
        self.is_needed.send_replace(true);
        if let Some(pause) = waiting.next_due {
            self.look_in(pause.max(LEAST));
        }
        let was_stopped = self.is_stopped.send_replace(waiting.is_stopped);
        if waiting.is_stopped && !was_stopped {
            warn!("the webhook answered 410: nothing is posted until its settings change");
        }
        for room in &waiting.lapsed {
            // In steps. A room that does not exist has no members; after any other error, a later
            // check retries.
            while let Ok(Some(Duration::ZERO)) = self.scripts.sweep_room(room, &[]).await {}
        }
        for ready in waiting.taken {
            self.clone().serve(ready);
        }
    }

    fn tell(&self, waiting: &Backlog) {
        let (metrics, settings) = (&self.metrics.webhooks, &self.settings.webhooks);
        metrics.events.set(level(waiting.events));
        metrics.oldest.set(waiting.oldest.as_secs_f64());
        metrics.letters.set(level(waiting.letters));
        metrics.dropped.set(level(waiting.dropped));
        metrics.stopped.set(i64::from(waiting.is_stopped));
        let count = waiting.events.max(waiting.letters) as f64;
        let age = waiting.oldest.max(waiting.oldest_letter);
        let fill = (count / settings.webhook_events_max as f64)
            .max(age.as_secs_f64() / settings.webhook_age_max.as_secs_f64());
        metrics.fill.set(fill);
    }
}

fn level(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
