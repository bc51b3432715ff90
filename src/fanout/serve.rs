//! Processes a room's inbox and flushes the outboxes: for a small room at once, for a crowded one
//! in a task of its own, so that other rooms do not wait.
//!
//! A crowded room can keep a thread busy all the time, so it yields after each step. On a small
//! machine Redis and other rooms need the core as well, so while other rooms are active and the
//! crowded room has much to write, it also sleeps between its steps. Frames that arrive meanwhile
//! are written together, so this costs little throughput.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Fanout, LocalRoom,
    feed::{Actions, Inbound, Outcome},
    frame::{Frame, FrameKind},
    unwritten::{Due, Waiting},
};
use crate::{names::RoomId, outbox::Outbox, removal::Removal};

/// A room with more connections than this is crowded.
const WRITTEN_AT_ONCE: usize = 64;
/// Connections of a crowded room that are written to in one turn.
const WRITTEN_A_TURN: usize = 32;
/// Maximum number of frames that a crowded room orders before it writes.
const ORDERED_A_ROUND: usize = 128;
/// From this number of frames on, a crowded room sleeps between its turns if other rooms are
/// active.
const YIELD_FRAMES_MIN: usize = 4;
/// Other rooms count as active for this long after one of them was served.
const OTHERS_ACTIVE_FOR: Duration = Duration::from_secs(1);
/// How long a crowded room sleeps between its turns; the timer makes it about a millisecond.
const PAUSE: Duration = Duration::from_micros(500);

impl Fanout {
    /// Puts input into a room's inbox, for [`Fanout::serve`]. Returns the room if its inbox was
    /// empty.
    pub(super) fn on_inbound(&self, room: &RoomId, word: Inbound) -> Option<Arc<LocalRoom>> {
        let local = self.find(room)?;
        match local.inbox.push(word) {
            Some(waiting) => (waiting == 1).then_some(local),
            None => {
                self.0.metrics.subscription_lost.inc();
                None
            }
        }
    }

    /// Serves a room: orders its input and flushes the outboxes. If another task already serves it,
    /// that task continues until nothing is left.
    pub(super) fn serve(&self, room: &Arc<LocalRoom>) {
        if !room.inbox.begin() {
            return;
        }
        if room.is_crowded() {
            let (fanout, room) = (self.clone(), room.clone());
            self.0.tasks.spawn(async move { fanout.serve_crowd(&room).await });
            return;
        }
        let _watch = self.watch(room);
        *self.0.others_served.lock() = Instant::now();
        loop {
            room.inbox.begin_round();
            while let Some(word) = room.inbox.pop() {
                self.order(room, word);
            }
            self.unwritten(room).iter().for_each(|outbox| outbox.flush());
            if room.inbox.end_round() {
                return;
            }
        }
    }

    async fn serve_crowd(&self, room: &Arc<LocalRoom>) {
        let _watch = self.watch(room);
        loop {
            room.inbox.begin_round();
            let mut ordered = 0;
            while ordered < ORDERED_A_ROUND
                && let Some(word) = room.inbox.pop()
            {
                self.order(room, word);
                ordered += 1;
                tokio::task::yield_now().await;
            }
            let yields_to_others = yields_to_others(ordered, self.0.others_served.lock().elapsed());
            for outboxes in self.unwritten(room).chunks(WRITTEN_A_TURN) {
                outboxes.iter().for_each(|outbox| outbox.flush());
                if yields_to_others {
                    tokio::time::sleep(PAUSE).await;
                } else {
                    tokio::task::yield_now().await;
                }
            }
            if room.inbox.end_round() {
                return;
            }
        }
    }

    fn order(&self, room: &Arc<LocalRoom>, word: Inbound) {
        let actions = match word {
            Inbound::Frame(frame) => {
                if frame.kind == FrameKind::Room {
                    self.facts_stale(room);
                }
                self.order_frame(room, frame)
            }
            // A fence itself delivers nothing.
            Inbound::Fence(fence) => room.feed.lock().fence(fence),
            Inbound::Removal(removal, frame) => {
                self.order_removal(room, removal, frame);
                Actions::default()
            }
            Inbound::Members(events, truth) => {
                let mut feed = room.feed.lock();
                feed.members(events, truth);
                self.release_if_empty(room, &feed);
                drop(feed);
                room.has_unwritten();
                self.facts_stale(room);
                Actions::default()
            }
        };
        self.act(room, actions);
    }

    fn order_removal(&self, room: &Arc<LocalRoom>, removal: Removal, frame: Frame) {
        let mut feed = room.feed.lock();
        let _ = feed.removal(removal, frame);
        self.release_if_empty(room, &feed);
        drop(feed);
        room.has_unwritten();
    }

    fn order_frame(&self, room: &LocalRoom, mut frame: Frame) -> Actions {
        let metrics = &self.0.metrics;
        let mut followed = None;
        let waiting = match frame.kind {
            FrameKind::Event => Waiting::Event,
            _ => Waiting::Urgent,
        };
        if let FrameKind::Message(id) = frame.kind {
            let (text, way) = metrics.deliveries.follow(frame.text, id.ms);
            (frame.text, followed) = (text, Some(way));
        }
        let (outcome, actions) = room.feed.lock().frame(frame);
        room.unwritten.add(waiting);
        match outcome {
            Outcome::Delivered(connections) => {
                if let Some(followed) = followed {
                    metrics.delivered(connections);
                    followed.queued(connections);
                }
            }
            Outcome::Stale => metrics.foreign_frame(false),
            Outcome::Foreign => metrics.foreign_frame(true),
        }
        actions
    }

    /// The outboxes that may have to be flushed now.
    fn unwritten(&self, room: &Arc<LocalRoom>) -> Vec<Arc<Outbox>> {
        match room.unwritten.take(Instant::now()) {
            Due::Nothing => Vec::new(),
            Due::Now => room.feed.lock().sinks().map(|seat| seat.outbox.clone()).collect(),
            Due::At(soonest) => {
                let (fanout, room) = (self.clone(), room.clone());
                self.0.tasks.spawn(async move {
                    tokio::time::sleep_until(soonest.into()).await;
                    room.unwritten.wait_is_over();
                    fanout.serve(&room);
                });
                Vec::new()
            }
        }
    }
}

impl LocalRoom {
    /// Whether the room has too many connections to write to all of them at once.
    pub(super) fn is_crowded(&self) -> bool {
        self.feed.lock().len() > WRITTEN_AT_ONCE
    }

    /// Reports that frames were queued which have to be flushed.
    pub(super) fn has_unwritten(&self) {
        self.unwritten.add(Waiting::Urgent);
    }
}

/// Whether a crowded room with `to_write` frames sleeps between its turns, if another room was last
/// served `others_served` ago.
fn yields_to_others(to_write: usize, others_served: Duration) -> bool {
    to_write >= YIELD_FRAMES_MIN && others_served < OTHERS_ACTIVE_FOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_crowd_with_much_to_say_makes_way_and_only_for_others() {
        let ms = Duration::from_millis;
        assert!(yields_to_others(YIELD_FRAMES_MIN, ms(999)));
        assert!(
            !yields_to_others(YIELD_FRAMES_MIN - 1, ms(0)),
            "what comes now and then goes out at once"
        );
        assert!(!yields_to_others(128, ms(1_000)), "alone it may have all there is");
    }
}
