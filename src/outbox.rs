//! The outbox of one connection: its bounded queue, and the handle that other parts of the node
//! use.
//!
//! A pushed frame is written to the socket at once, by the task that pushes it. Only what the
//! socket does not accept stays in the queue, for the connection's own task. Frames for an HTTP
//! answer (the live tail) stay in the queue until the body of the answer takes them. The queue is
//! bounded by frames and by bytes. A connection that reads too slowly is closed and its queue is
//! freed at once, so a slow reader affects only itself.

mod frame_queue;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    i18n::Language,
    names::{MessageId, RoomId, Status},
    protocol::close::CloseReason,
};
use frame_queue::{FrameQueue, writable};
pub use frame_queue::{OutboxLimits, Taking, Wire};

/// Interval of attempts to write to a connection that is being cut off.
const BIT_EVERY: Duration = Duration::from_millis(50);
/// The handle on one connection.
pub struct Outbox {
    id: Arc<str>,
    language: Language,
    limits: OutboxLimits,
    queue: Mutex<FrameQueue>,
    wake: Notify,
    opened: Instant,
    active_ms: AtomicU64,
    away: AtomicBool,
}

/// Why an answer ends early: its reader did not keep up.
#[derive(Debug, thiserror::Error)]
#[error("its reader is too slow")]
pub struct CutOff;

/// What a connection's task has to do.
#[derive(Default)]
pub struct Work {
    /// Rooms to join again, from this message on.
    pub rejoins: Vec<(RoomId, MessageId)>,
    /// Whether the connection's access to its rooms may have changed.
    pub must_recheck_access: bool,
    /// The connection must be closed after that; all frames are written.
    pub close: Option<CloseReason>,
}

impl Outbox {
    /// The outbox of a new connection.
    pub fn new(id: Arc<str>, language: Language, limits: OutboxLimits, wire: Wire) -> Self {
        Self {
            id,
            language,
            limits,
            queue: Mutex::new(FrameQueue::new(wire)),
            wake: Notify::new(),
            opened: Instant::now(),
            active_ms: AtomicU64::new(0),
            away: AtomicBool::new(false),
        }
    }

    /// The connection's id, unique over all nodes.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The language of its errors.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Sends an encoded frame.
    pub fn push(&self, frame: Bytes) {
        self.queue(frame);
        self.flush();
    }

    /// Queues an encoded frame for the next [`Outbox::flush`], or cuts the connection off if its
    /// queue is full. One frame of any size always fits.
    pub fn queue(&self, frame: Bytes) {
        let mut queue = self.queue.lock();
        if queue.is_full(self.limits) && !queue.is_blocked {
            queue.write();
        }
        if queue.close == Some(CloseReason::TooSlow) || queue.wire.is_none() {
            return;
        }
        if queue.is_full(self.limits) && !queue.waits_for_its_turn() {
            queue.cut_off();
            drop(queue);
            return self.wake.notify_one();
        }
        queue.add(frame);
    }

    /// Writes the queued frames, in one call if the socket accepts them. The rest is left to the
    /// connection's task.
    pub fn flush(&self) {
        let mut queue = self.queue.lock();
        if queue.is_blocked || queue.frames.is_empty() {
            return;
        }
        queue.write();
        if !queue.frames.is_empty() {
            queue.is_blocked = true;
            drop(queue);
            self.wake.notify_one();
        }
    }

    /// Sends a frame after which nothing is sent, even to a connection that was cut off.
    pub fn push_last(&self, frame: Bytes) {
        self.queue.lock().add(frame);
        self.flush();
    }

    /// Asks the connection to join a room again.
    pub fn rejoin(&self, room: RoomId, since: MessageId) {
        let mut queue = self.queue.lock();
        if queue.rejoins.iter().all(|(asked, _)| *asked != room) {
            queue.rejoins.push((room, since));
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Asks the connection to check its access again, because it may have changed.
    pub fn recheck_access(&self) {
        self.queue.lock().must_recheck_access = true;
        self.wake.notify_one();
    }

    /// Closes the connection once the queued frames are written. Only the first reason counts.
    pub fn close(&self, reason: CloseReason) {
        self.queue.lock().close.get_or_insert(reason);
        self.wake.notify_one();
    }

    /// Cuts the connection off as too slow; its queue is dropped.
    pub fn overflow(&self) {
        self.queue.lock().cut_off();
        self.wake.notify_one();
    }

    /// Releases the socket; nothing is sent any more. An HTTP answer ends.
    pub fn hang_up(&self) {
        let mut queue = self.queue.lock();
        let wire = queue.wire.take();
        queue.drop_frames();
        if let Some(Wire::Answer(taking)) = wire {
            taking.ready.notify_one();
        }
    }

    /// Takes the queued frames for the body of an answer, and waits for the first one; `None` when
    /// the answer ends.
    ///
    /// # Errors
    /// The reader was too slow, so the answer ends early.
    pub async fn taken(&self) -> Result<Option<Bytes>, CutOff> {
        loop {
            let taking = {
                let mut queue = self.queue.lock();
                if queue.close == Some(CloseReason::TooSlow) {
                    return Err(CutOff);
                }
                let Some(Wire::Answer(taking)) = queue.wire.clone() else { return Ok(None) };
                if let Some(bytes) = queue.take_all() {
                    drop(queue);
                    self.note_activity();
                    taking.taken.notify_one();
                    return Ok(Some(bytes));
                }
                taking
            };
            taking.ready.notified().await;
        }
    }

    /// Whether at most half of the queue is used.
    pub fn has_room(&self) -> bool {
        self.queue.lock().has_room(self.limits)
    }

    /// Number of queued frames and bytes.
    pub fn waiting(&self) -> (usize, usize) {
        let queue = self.queue.lock();
        (queue.frames.len(), queue.bytes)
    }

    /// Bytes that the socket has accepted since the connection was opened.
    pub fn written(&self) -> u64 {
        self.queue.lock().sent
    }

    /// The same if frames are queued, after an attempt to write them; `None` if none are. Shows
    /// whether the client reads at all.
    pub fn bytes_taken(&self) -> Option<u64> {
        let mut queue = self.queue.lock();
        queue.try_write();
        (!queue.frames.is_empty()).then_some(queue.sent)
    }

    /// Bytes that the socket will have accepted when the present queue is written.
    pub fn queued(&self) -> u64 {
        let queue = self.queue.lock();
        queue.sent + (queue.bytes - queue.written) as u64
    }

    /// Writes queued frames until there is something else to do. For the connection's own task.
    pub async fn work(&self) -> Work {
        loop {
            let blocked = {
                let mut queue = self.queue.lock();
                let had_room = queue.has_room(self.limits);
                queue.write();
                let is_empty = queue.frames.is_empty();
                let close = queue.close.filter(|&why| is_empty || why == CloseReason::TooSlow);
                let must_recheck_access = std::mem::take(&mut queue.must_recheck_access);
                if close.is_some() || must_recheck_access || !queue.rejoins.is_empty() {
                    let rejoins = std::mem::take(&mut queue.rejoins);
                    return Work { rejoins, must_recheck_access, close };
                }
                queue.is_blocked = !is_empty;
                if !had_room && queue.has_room(self.limits) {
                    return Work::default();
                }
                queue.wire.clone().filter(|_| !is_empty)
            };
            tokio::select! {
                () = writable(blocked) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Waits until the queue is empty, or the client has disconnected.
    pub async fn flushed(&self) {
        loop {
            let blocked = {
                let mut queue = self.queue.lock();
                queue.write();
                if queue.frames.is_empty() {
                    queue.is_blocked = false;
                    return;
                }
                queue.wire.clone()
            };
            writable(blocked).await;
        }
    }

    /// Waits until the queue is empty: at most for `most`, and only while the client reads
    /// something within each `patience`.
    pub async fn flushed_bit_by_bit(&self, patience: Duration, most: Duration) {
        let (begun, mut taken_at) = (Instant::now(), Instant::now());
        while taken_at.elapsed() < patience && begun.elapsed() < most {
            {
                let mut queue = self.queue.lock();
                if queue.try_write() {
                    taken_at = Instant::now();
                }
                if queue.frames.is_empty() {
                    return;
                }
            }
            tokio::time::sleep(BIT_EVERY.min(patience)).await;
        }
    }

    /// Writes new frames for as long as this is polled. For the connection's own task, while it
    /// does something else.
    pub async fn keep_writing(&self) {
        loop {
            self.flushed().await;
            self.wake.notified().await;
        }
    }

    /// Records that the client has just sent something.
    pub fn note_activity(&self) {
        let since_opened = self.opened.elapsed().as_millis();
        self.active_ms.store(u64::try_from(since_opened).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the client has sent nothing.
    pub fn silent_for(&self) -> Duration {
        let note_activity = Duration::from_millis(self.active_ms.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(note_activity)
    }

    /// Whether the client has sent something at this moment or later.
    pub fn was_active_since(&self, moment: Instant) -> bool {
        // Activity is recorded in whole milliseconds.
        self.silent_for() <= moment.elapsed() + Duration::from_millis(1)
    }

    /// Sets the client's status. Returns whether it changed.
    pub fn show(&self, status: Status) -> bool {
        let away = status == Status::Away;
        self.away.swap(away, Ordering::Relaxed) != away
    }

    /// The client's status.
    pub fn status(&self) -> Status {
        if self.away.load(Ordering::Relaxed) { Status::Away } else { Status::Online }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A handle and its client's end.
    async fn outbox(frames: usize, bytes: usize) -> (Outbox, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let limits = OutboxLimits { frames, bytes };
        (Outbox::new("c-1".into(), Language::En, limits, Wire::Socket(Arc::new(socket))), peer)
    }

    async fn read(peer: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        peer.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// Pushes until the socket accepts no more, and returns how many frames it accepted.
    fn fill(outbox: &Outbox, frame: &Bytes) -> usize {
        let mut pushed = 0;
        while outbox.queue.lock().frames.is_empty() {
            outbox.push(frame.clone());
            pushed += 1;
        }
        pushed
    }

    #[tokio::test]
    async fn frames_arrive_in_order_without_the_connections_task() {
        let (outbox, mut peer) = outbox(10, 100).await;
        outbox.push("a".into());
        outbox.queue("b".into());
        outbox.queue("c".into());
        assert_eq!(outbox.queue.lock().frames.len(), 2);
        outbox.flush();
        assert_eq!(read(&mut peer, 3).await, b"abc");
    }

    #[tokio::test]
    async fn what_the_socket_does_not_take_waits_for_the_connections_task() {
        let (outbox, mut peer) = outbox(10, 1 << 20).await;
        let frame = Bytes::from(vec![b'a'; 100_000]);
        let pushed = fill(&outbox, &frame);
        outbox.push("b".into());
        outbox.close(CloseReason::Silent);
        let read = async { read(&mut peer, pushed * frame.len() + 1).await.pop() };
        let (work, last) = tokio::join!(outbox.work(), read);
        assert_eq!((work.close, last), (Some(CloseReason::Silent), Some(b'b')));
    }

    #[tokio::test]
    async fn too_much_cuts_the_connection_off_after_a_whole_frame() {
        let (outbox, mut peer) = outbox(3, 1 << 20).await;
        let frame = Bytes::from(vec![b'a'; 100_000]);
        let pushed = fill(&outbox, &frame);
        (0..4).for_each(|_| outbox.push(frame.clone()));
        assert_eq!(outbox.work().await.close, Some(CloseReason::TooSlow));
        outbox.push("dropped".into());
        outbox.push_last("end".into());
        let read = async { read(&mut peer, pushed * frame.len() + 3).await };
        let ((), bytes) = tokio::join!(outbox.flushed(), read);
        assert!(bytes.ends_with(b"aend"));
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_limit_is_no_fault_of_the_client() {
        let (outbox, mut peer) = outbox(2, 3).await;
        for _ in 0..5 {
            outbox.queue("large".into());
        }
        outbox.flush();
        assert_eq!(read(&mut peer, 25).await, b"large".repeat(5));
    }

    fn answer(frames: usize) -> Outbox {
        let limits = OutboxLimits { frames, bytes: 1 << 20 };
        Outbox::new("c-1".into(), Language::En, limits, Wire::Answer(Arc::default()))
    }

    #[tokio::test]
    async fn an_answer_takes_what_waits_and_ends_when_it_is_hung_up() {
        let outbox = Arc::new(answer(10));
        let taker = outbox.clone();
        let taken = tokio::spawn(async move { taker.taken().await.unwrap() });
        outbox.push("a".into());
        assert_eq!(taken.await.unwrap(), Some("a".into()));
        ["b", "c"].into_iter().for_each(|frame| outbox.queue(frame.into()));
        outbox.flush();
        outbox.close(CloseReason::Leaving);
        let (taken, work) = tokio::join!(outbox.taken(), outbox.work());
        assert_eq!((taken.unwrap(), work.close), (Some("bc".into()), Some(CloseReason::Leaving)));
        outbox.hang_up();
        assert_eq!(outbox.taken().await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_breaks_off() {
        let outbox = answer(3);
        for _ in 0..9 {
            outbox.queue("as much as there is at once".into());
        }
        outbox.flush();
        assert!(outbox.work().now_or_never().is_none(), "it had no chance to take it");
        outbox.push("more".into());
        assert_eq!(outbox.work().await.close, Some(CloseReason::TooSlow));
        assert!(outbox.taken().await.is_err());
    }
}
