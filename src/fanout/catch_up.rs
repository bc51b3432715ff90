//! Executes the actions of a feed: a catch-up from the stream after a gap, and the list of members
//! after lost events.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tracing::warn;

use super::{Fanout, LocalRoom, feed::Actions, frame::message_frame, jittered};
use crate::message::Message;

/// Messages of one page of a catch-up.
const CATCH_UP_PAGE: usize = 500;
/// Maximum wait between two attempts to read the stream.
const CATCH_UP_RETRY: Duration = Duration::from_millis(400);

impl Fanout {
    /// Executes the actions that the room's feed requests.
    pub(super) fn act(&self, room: &Arc<LocalRoom>, actions: Actions) {
        if let Some(number) = actions.catch_up {
            let (fanout, room) = (self.clone(), room.clone());
            self.0.tasks.spawn(async move {
                let _watch = fanout.watch(&room);
                fanout.catch_up(&room, number).await;
            });
        }
        // One at a time: each fence or answer requests it again until the list arrives.
        if (actions.tell_members || actions.list_members)
            && !room.asks_members.swap(true, Ordering::SeqCst)
        {
            let (fanout, room) = (self.clone(), room.clone());
            self.0.tasks.spawn(async move {
                let _watch = fanout.watch(&room);
                match actions.list_members {
                    true => fanout.list_members(&room).await,
                    false => fanout.tell_members(&room).await,
                }
                room.asks_members.store(false, Ordering::SeqCst);
            });
        }
    }

    /// Sends the list of members to all connections of this node again.
    pub fn tell_members_again(&self, room: &Arc<LocalRoom>) {
        self.act(room, Actions { tell_members: true, ..Actions::default() });
    }

    /// Reads the facts for restoring the room again, because they may have changed; one read at a
    /// time.
    pub(super) fn facts_stale(&self, room: &Arc<LocalRoom>) {
        if room.facts_changes.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        let (scripts, room) = (self.0.scripts.clone(), room.clone());
        self.0.tasks.spawn(async move {
            loop {
                let changes = room.facts_changes.load(Ordering::SeqCst);
                // If it fails, the next join has them.
                if let Ok(facts) = scripts.read_facts(&room.id).await {
                    *room.facts.lock() = Some(Arc::new(facts));
                }
                let (seen, all) = (&room.facts_changes, Ordering::SeqCst);
                if seen.compare_exchange(changes, 0, all, all).is_ok() {
                    return;
                }
            }
        });
    }

    pub(super) async fn tell_members(&self, room: &LocalRoom) {
        // If it fails, the next heartbeat's fence shows the difference again.
        let known = room.feed.lock().known_events();
        if let Err(error) = self.0.scripts.tell_members(&room.id, known).await {
            warn!(%error, "cannot send the members");
        }
    }

    /// Reads the stream from the feed's position to its end.
    pub(super) async fn catch_up(&self, room: &Arc<LocalRoom>, mut number: u64) {
        self.0.metrics.catchups.inc();
        loop {
            let (after, known) = {
                let mut feed = room.feed.lock();
                let Some(after) = feed.reading(number) else { return };
                (after, feed.known_events())
            };
            let shore = self.shore(&room.id);
            let permit = shore.catch_ups.acquire().await;
            let missed = self.0.scripts.catch_up(&room.id, after, CATCH_UP_PAGE, known).await;
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
            // What was said since is not for them.
            feed.ended(&missed.removals);
            let actions = if missed.trimmed {
                feed.history_trimmed(number)
            } else {
                let follow = |m: &Message| {
                    let deliveries = &self.0.metrics.deliveries;
                    let (frame, way) = deliveries.follow(message_frame(m), m.id.ms);
                    ((m.id, frame), way)
                };
                let (page, ways): (_, Vec<_>) = missed.messages.iter().map(follow).unzip();
                let listeners = feed.len();
                let actions = feed.caught_up(number, page, last_page);
                for way in ways {
                    self.0.metrics.delivered(listeners);
                    way.queued(listeners);
                }
                actions
            };
            self.release_if_empty(room, &feed);
            drop(feed);
            room.has_unwritten();
            self.serve(room);
            self.act(room, Actions { catch_up: None, ..actions });
            let Some(goes_on) = actions.catch_up else { return };
            number = goes_on;
        }
    }
}
