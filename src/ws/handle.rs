//! The handle on one connection: its outbox, and what the rest of the node may ask of it.
//!
//! The queue is bounded by frames and by bytes. A connection that does not keep up is cut off and
//! its queue is given back at once: a slow reader hurts only itself.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::close::CloseReason;
use crate::{
    i18n::Language,
    names::{MessageId, RoomId, Status},
};

/// Room for so many frames is kept in an empty outbox; more is given back.
const KEPT_CAPACITY: usize = 32;

/// The handle on one connection.
pub struct Handle {
    id: Arc<str>,
    language: Language,
    limits: Limits,
    outbox: Mutex<Outbox>,
    wake: Notify,
    opened: Instant,
    heard_ms: AtomicU64,
    away: AtomicBool,
}

/// How much may wait for a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// frames
    pub frames: usize,
    /// bytes
    pub bytes: usize,
}

#[derive(Default)]
struct Outbox {
    frames: VecDeque<Utf8Bytes>,
    bytes: usize,
    rejoins: Vec<(RoomId, MessageId)>,
    close: Option<CloseReason>,
}

/// What a connection's task has to do.
#[derive(Default)]
pub struct Work {
    /// Frames to write, in this order.
    pub frames: VecDeque<Utf8Bytes>,
    /// Rooms to join again, from the message given.
    pub rejoins: Vec<(RoomId, MessageId)>,
    /// Close after that.
    pub close: Option<CloseReason>,
}

impl Handle {
    /// A handle on a connection that was just opened.
    pub fn new(id: Arc<str>, language: Language, limits: Limits) -> Self {
        Self {
            id,
            language,
            limits,
            outbox: Mutex::default(),
            wake: Notify::new(),
            opened: Instant::now(),
            heard_ms: AtomicU64::new(0),
            away: AtomicBool::new(false),
        }
    }

    /// The connection's id, unique over all nodes.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// What its errors are written in.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Queues a frame, or cuts the connection off if too much waits. One frame may always wait,
    /// however large.
    pub fn push(&self, frame: Utf8Bytes) {
        let mut outbox = self.outbox.lock();
        if outbox.close == Some(CloseReason::TooSlow) {
            return;
        }
        let was_empty = outbox.frames.is_empty();
        if outbox.frames.len() >= self.limits.frames || outbox.bytes >= self.limits.bytes {
            *outbox = Outbox { close: Some(CloseReason::TooSlow), ..Outbox::default() };
        } else {
            outbox.bytes += frame.len();
            outbox.frames.push_back(frame);
        }
        let wake = was_empty || outbox.close.is_some();
        drop(outbox);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Asks the connection to join a room again.
    pub fn rejoin(&self, room: RoomId, since: MessageId) {
        let mut outbox = self.outbox.lock();
        if outbox.rejoins.iter().all(|(asked, _)| *asked != room) {
            outbox.rejoins.push((room, since));
        }
        drop(outbox);
        self.wake.notify_one();
    }

    /// Closes the connection after what waits was written. The first reason stands.
    pub fn close(&self, reason: CloseReason) {
        self.outbox.lock().close.get_or_insert(reason);
        self.wake.notify_one();
    }

    /// Cuts the connection off as too slow; what waits for it is dropped.
    pub fn overflow(&self) {
        *self.outbox.lock() = Outbox { close: Some(CloseReason::TooSlow), ..Outbox::default() };
        self.wake.notify_one();
    }

    /// Frames and bytes that wait to be written.
    pub fn waiting(&self) -> (usize, usize) {
        let outbox = self.outbox.lock();
        (outbox.frames.len(), outbox.bytes)
    }

    /// Waits until there is something to do.
    pub async fn work(&self) -> Work {
        loop {
            let work = self.take();
            if !work.frames.is_empty() || !work.rejoins.is_empty() || work.close.is_some() {
                return work;
            }
            self.wake.notified().await;
        }
    }

    /// Waits until the connection was found too slow.
    pub async fn too_slow(&self) {
        loop {
            let woken = self.wake.notified();
            if self.outbox.lock().close == Some(CloseReason::TooSlow) {
                return;
            }
            woken.await;
        }
    }

    /// Notes that the client was heard of just now.
    pub fn heard(&self) {
        let since_opened = self.opened.elapsed().as_millis();
        self.heard_ms.store(u64::try_from(since_opened).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long ago the client was last heard of.
    pub fn silent_for(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(heard)
    }

    /// What the client shows. Returns whether that is news.
    pub fn show(&self, status: Status) -> bool {
        let away = status == Status::Away;
        self.away.swap(away, Ordering::Relaxed) != away
    }

    /// What the client shows.
    pub fn status(&self) -> Status {
        if self.away.load(Ordering::Relaxed) { Status::Away } else { Status::Online }
    }

    fn take(&self) -> Work {
        let mut outbox = self.outbox.lock();
        outbox.bytes = 0;
        let kept = if outbox.frames.capacity() > KEPT_CAPACITY { 0 } else { outbox.frames.len() };
        let frames = std::mem::replace(&mut outbox.frames, VecDeque::with_capacity(kept));
        Work { frames, rejoins: std::mem::take(&mut outbox.rejoins), close: outbox.close }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(frames: usize, bytes: usize) -> Handle {
        Handle::new("c-1".into(), Language::En, Limits { frames, bytes })
    }

    #[tokio::test]
    async fn frames_come_out_in_order() {
        let handle = handle(10, 100);
        handle.push("a".into());
        handle.push("b".into());
        let work = handle.work().await;
        assert_eq!(work.frames, ["a", "b"].map(Utf8Bytes::from));
        assert_eq!(work.close, None);
    }

    #[tokio::test]
    async fn too_many_frames_cut_the_connection_off() {
        let handle = handle(2, 100);
        for _ in 0..4 {
            handle.push("a".into());
        }
        handle.too_slow().await;
        let work = handle.work().await;
        assert!(work.frames.is_empty() && work.close == Some(CloseReason::TooSlow));
    }

    #[tokio::test]
    async fn one_large_frame_may_wait() {
        let handle = handle(10, 3);
        handle.push("large".into());
        assert_eq!(handle.work().await.close, None);
        handle.push("large".into());
        handle.push("more".into());
        assert_eq!(handle.work().await.close, Some(CloseReason::TooSlow));
    }
}
