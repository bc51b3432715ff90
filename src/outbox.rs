//! The outbox of one connection: its bounded queue, and the handle that the rest of the node has on
//! it.
//!
//! A pushed frame is written to the socket at once, by the task that pushes it. Only what the
//! socket does not accept stays in the queue, for the connection's own task. What is pushed to an answer that
//! goes on stays there until the body of the answer takes it. The queue is bounded
//! by frames and by bytes. A connection that reads too slowly is closed and its queue is freed at
//! once, so a slow reader affects only itself.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{net::TcpStream, sync::Notify};

use crate::{
    i18n::Language,
    names::{MessageId, RoomId, Status},
    protocol::close::CloseReason,
};

/// Room for so many frames is kept in an empty outbox; more is given back.
const KEPT_CAPACITY: usize = 4;
/// Between two looks whether one that is cut off takes something more.
const BIT_EVERY: Duration = Duration::from_millis(50);
/// Frames that one system call writes.
const FRAMES_A_WRITE: usize = 64;

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

/// How much may wait for a connection.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// frames
    pub frames: usize,
    /// bytes
    pub bytes: usize,
}

/// Where frames go.
#[derive(Clone)]
pub enum Wire {
    /// Into a socket, at once.
    Socket(Arc<TcpStream>),
    /// Into the body of an answer, which takes them with [`Outbox::taken`].
    Answer(Arc<Taking>),
}

/// How an outbox and the body that takes from it wake each other.
#[derive(Default)]
pub struct Taking {
    /// There is something to take, or nothing will be any more.
    ready: Notify,
    /// Something was taken.
    taken: Notify,
}

/// Why an answer breaks off: its reader did not keep up.
#[derive(Debug, thiserror::Error)]
#[error("its reader is too slow")]
pub struct CutOff;

struct FrameQueue {
    /// Gone when the connection has ended.
    wire: Option<Wire>,
    frames: VecDeque<Bytes>,
    /// Bytes of the frames, and how many of the first frame's were written.
    bytes: usize,
    written: usize,
    /// Bytes that were written since the connection was opened.
    sent: u64,
    /// Whether the connection's task knows that frames wait.
    is_blocked: bool,
    rejoins: Vec<(RoomId, MessageId)>,
    close: Option<CloseReason>,
}

/// What a connection's task has to do.
#[derive(Default)]
pub struct Work {
    /// Rooms to join again, from the message given.
    pub rejoins: Vec<(RoomId, MessageId)>,
    /// Close after that; everything was written.
    pub close: Option<CloseReason>,
}

impl Outbox {
    /// A handle on a connection that was just opened.
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

    /// What its errors are written in.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Sends an encoded frame.
    pub fn push(&self, frame: Bytes) {
        self.queue(frame);
        self.flush();
    }

    /// Queues an encoded frame for the next [`Outbox::flush`], or cuts the connection off if too
    /// much waits. One frame may always wait, however large.
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

    /// Writes what is queued, in one call if the socket takes it. What it does not take is left to
    /// the connection's task.
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

    /// Closes the connection after what waits was written. The first reason stands.
    pub fn close(&self, reason: CloseReason) {
        self.queue.lock().close.get_or_insert(reason);
        self.wake.notify_one();
    }

    /// Cuts the connection off as too slow; what waits for it is dropped.
    pub fn overflow(&self) {
        self.queue.lock().cut_off();
        self.wake.notify_one();
    }

    /// Lets go of the socket; nothing is sent any more. An answer ends here.
    pub fn hang_up(&self) {
        let mut queue = self.queue.lock();
        let wire = queue.wire.take();
        queue.drop_frames();
        if let Some(Wire::Answer(taking)) = wire {
            taking.ready.notify_one();
        }
    }

    /// Takes what waits for the body of an answer, as soon as something does; `None` when the answer ends.
    ///
    /// # Errors
    /// The reader was cut off, so that the answer breaks off.
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

    /// Whether no more than half of what may wait does.
    pub fn has_room(&self) -> bool {
        self.queue.lock().has_room(self.limits)
    }

    /// Frames and bytes that wait to be written.
    pub fn waiting(&self) -> (usize, usize) {
        let queue = self.queue.lock();
        (queue.frames.len(), queue.bytes)
    }

    /// Bytes of frames that the socket has taken since the connection was opened.
    pub fn written(&self) -> u64 {
        self.queue.lock().sent
    }

    /// The same where something waits, of which as much is written as the socket takes now: for whoever
    /// looks whether the client reads at all.
    pub fn bytes_taken(&self) -> Option<u64> {
        let mut queue = self.queue.lock();
        queue.write_anyhow();
        (!queue.frames.is_empty()).then_some(queue.sent)
    }

    /// Bytes that the socket will have taken when what waits now is written.
    pub fn queued(&self) -> u64 {
        let queue = self.queue.lock();
        queue.sent + (queue.bytes - queue.written) as u64
    }

    /// Writes what waits, until there is something else to do. For the connection's own task.
    pub async fn work(&self) -> Work {
        loop {
            let blocked = {
                let mut queue = self.queue.lock();
                let had_room = queue.has_room(self.limits);
                queue.write();
                let is_empty = queue.frames.is_empty();
                let close = queue.close.filter(|&why| is_empty || why == CloseReason::TooSlow);
                if close.is_some() || !queue.rejoins.is_empty() {
                    return Work { rejoins: std::mem::take(&mut queue.rejoins), close };
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

    /// Waits until everything was written, or the client is gone.
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

    /// Waits until everything was written, as long as the client takes some of it within `patience`, again
    /// and again, and at most for `most`.
    pub async fn flushed_bit_by_bit(&self, patience: Duration, most: Duration) {
        let (begun, mut taken_at) = (Instant::now(), Instant::now());
        while taken_at.elapsed() < patience && begun.elapsed() < most {
            {
                let mut queue = self.queue.lock();
                if queue.write_anyhow() {
                    taken_at = Instant::now();
                }
                if queue.frames.is_empty() {
                    return;
                }
            }
            tokio::time::sleep(BIT_EVERY.min(patience)).await;
        }
    }

    /// Writes whatever comes to wait, for as long as this is polled. For the connection's own task,
    /// while it does something else.
    pub async fn keep_writing(&self) {
        loop {
            self.flushed().await;
            self.wake.notified().await;
        }
    }

    /// Notes that the client was heard of just now.
    pub fn note_activity(&self) {
        let since_opened = self.opened.elapsed().as_millis();
        self.active_ms.store(u64::try_from(since_opened).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long ago the client was last heard of.
    pub fn silent_for(&self) -> Duration {
        let note_activity = Duration::from_millis(self.active_ms.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(note_activity)
    }

    /// Whether the client was heard of at this moment or later.
    pub fn was_active_since(&self, moment: Instant) -> bool {
        // What was heard is noted in whole milliseconds.
        self.silent_for() <= moment.elapsed() + Duration::from_millis(1)
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
}

impl FrameQueue {
    fn new(wire: Wire) -> Self {
        Self {
            wire: Some(wire),
            frames: VecDeque::new(),
            bytes: 0,
            written: 0,
            sent: 0,
            is_blocked: false,
            rejoins: Vec::new(),
            close: None,
        }
    }

    fn add(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    fn is_full(&self, limits: OutboxLimits) -> bool {
        self.frames.len() >= limits.frames || self.bytes_behind() >= limits.bytes
    }

    fn has_room(&self, limits: OutboxLimits) -> bool {
        self.frames.len() <= limits.frames / 2 && self.bytes_behind() <= limits.bytes / 2
    }

    /// Whether the body that takes from here had no chance yet to take what was queued last: however much
    /// came at once, it has taken all that came before.
    fn waits_for_its_turn(&self) -> bool {
        matches!(self.wire, Some(Wire::Answer(_))) && !self.is_blocked
    }

    /// Takes everything, as one piece.
    fn take_all(&mut self) -> Option<Bytes> {
        let bytes = match self.frames.len() {
            0 => return None,
            1 => self.frames.pop_front()?,
            _ => self.frames.iter().flat_map(|frame| frame.iter().copied()).collect(),
        };
        self.sent += bytes.len() as u64;
        self.drop_frames();
        self.is_blocked = false;
        Some(bytes)
    }

    /// Bytes that wait behind the first frame. That one is being written, and counts as one frame however
    /// large it is: or whoever is given much could read nothing else meanwhile.
    fn bytes_behind(&self) -> usize {
        self.bytes - self.frames.front().map_or(0, Bytes::len)
    }

    /// Drops what waits, but for the rest of a frame that is partly written: the close frame could
    /// not be read behind half a frame.
    fn cut_off(&mut self) {
        let begun = self.frames.pop_front().filter(|_| self.written > 0);
        self.bytes = begun.as_ref().map_or(0, Bytes::len);
        self.frames = begun.into_iter().collect();
        self.rejoins = Vec::new();
        self.close = Some(CloseReason::TooSlow);
        if let Some(Wire::Answer(taking)) = &self.wire {
            taking.ready.notify_one();
        }
    }

    /// Tries to write though the system has not said that the socket takes more: it says so only when a
    /// third of its buffer is free, which may take a slow reader long. Returns whether some was taken.
    fn write_anyhow(&mut self) -> bool {
        let (Some(Wire::Socket(socket)), Some(first)) = (&self.wire, self.frames.front()) else {
            return false;
        };
        match nix::unistd::write(socket, &first[self.written..]) {
            Ok(written) => {
                self.advance(written);
                true
            }
            Err(nix::errno::Errno::EAGAIN) => false,
            Err(_) => {
                self.drop_frames();
                false
            }
        }
    }

    /// Writes as much as the socket takes, or says that there is something to take.
    fn write(&mut self) {
        if let Some(Wire::Answer(taking)) = &self.wire {
            return taking.ready.notify_one();
        }
        while let Some(Wire::Socket(socket)) = &self.wire
            && !self.frames.is_empty()
        {
            match self.write_once(socket) {
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The client is gone, as whoever reads will see.
                Err(_) => self.drop_frames(),
            }
        }
        if self.frames.capacity() > KEPT_CAPACITY {
            self.frames = VecDeque::new();
        }
    }

    fn write_once(&self, socket: &TcpStream) -> io::Result<usize> {
        if let (Some(only), 1) = (self.frames.front(), self.frames.len()) {
            return socket.try_write(&only[self.written..]);
        }
        let mut slices = [IoSlice::new(&[]); FRAMES_A_WRITE];
        let mut skip = self.written;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(&frame[skip..]);
            skip = 0;
        }
        socket.try_write_vectored(&slices[..self.frames.len().min(FRAMES_A_WRITE)])
    }

    fn advance(&mut self, written: usize) {
        self.sent += written as u64;
        self.written += written;
        while let Some(first) = self.frames.front()
            && first.len() <= self.written
        {
            self.written -= first.len();
            self.bytes -= first.len();
            self.frames.pop_front();
        }
    }

    fn drop_frames(&mut self) {
        self.frames = VecDeque::new();
        (self.bytes, self.written) = (0, 0);
    }
}

/// Waits until more was taken, or is; for ever where there is nothing to wait for.
async fn writable(wire: Option<Wire>) {
    match wire {
        // Where it fails, the next write says so.
        Some(Wire::Socket(socket)) => drop(socket.writable().await),
        Some(Wire::Answer(taking)) => taking.taken.notified().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::{io::AsyncReadExt, net::TcpListener};

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

    /// Pushes until the socket takes no more, and returns how many frames it took.
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
