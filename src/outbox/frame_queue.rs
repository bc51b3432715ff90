//! The frames that wait for one connection, and how they get into its socket or its answer.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{net::TcpStream, sync::Notify};

use crate::{
    names::{MessageId, RoomId},
    protocol::close::CloseReason,
};

/// Capacity that an empty queue keeps; more is released.
const KEPT_CAPACITY: usize = 4;
/// Maximum number of frames in one system call.
const FRAMES_A_WRITE: usize = 64;

/// Maximum size of a queue.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// frames
    pub frames: usize,
    /// bytes
    pub bytes: usize,
}

/// Where the frames are written.
#[derive(Clone)]
pub enum Wire {
    /// To a socket, at once.
    Socket(Arc<TcpStream>),
    /// To the body of an HTTP answer, which takes them with
    /// [`Outbox::taken`](super::Outbox::taken).
    Answer(Arc<Taking>),
}

/// Wakes an outbox and the body of its answer.
#[derive(Default)]
pub struct Taking {
    /// There are frames to take, or the answer ends.
    pub(super) ready: Notify,
    /// Frames were taken.
    pub(super) taken: Notify,
}

/// The queue of one connection.
pub(super) struct FrameQueue {
    /// `None` when the connection has ended.
    pub wire: Option<Wire>,
    pub frames: VecDeque<Bytes>,
    /// Bytes of the frames; `written` is the part of the first frame that is written.
    pub bytes: usize,
    pub written: usize,
    /// Bytes that were written since the connection was opened.
    pub sent: u64,
    /// Whether the connection's task knows that it has to write.
    pub is_blocked: bool,
    pub rejoins: Vec<(RoomId, MessageId)>,
    pub must_recheck_access: bool,
    pub close: Option<CloseReason>,
}

impl FrameQueue {
    pub fn new(wire: Wire) -> Self {
        Self {
            wire: Some(wire),
            frames: VecDeque::new(),
            bytes: 0,
            written: 0,
            sent: 0,
            is_blocked: false,
            rejoins: Vec::new(),
            must_recheck_access: false,
            close: None,
        }
    }

    pub fn add(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    pub fn is_full(&self, limits: OutboxLimits) -> bool {
        self.frames.len() >= limits.frames || self.bytes_behind() >= limits.bytes
    }

    pub fn has_room(&self, limits: OutboxLimits) -> bool {
        self.frames.len() <= limits.frames / 2 && self.bytes_behind() <= limits.bytes / 2
    }

    /// Whether the body of an answer has not been polled since the last frames were queued: it has
    /// taken everything before, so it is not slow, however much came at once.
    pub fn waits_for_its_turn(&self) -> bool {
        matches!(self.wire, Some(Wire::Answer(_))) && !self.is_blocked
    }

    /// Takes all frames as one buffer.
    pub fn take_all(&mut self) -> Option<Bytes> {
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

    /// Bytes after the first frame. The first one is being written and counts only as one frame,
    /// however large it is: otherwise a client could not receive anything while it reads a large
    /// answer.
    fn bytes_behind(&self) -> usize {
        self.bytes - self.frames.front().map_or(0, Bytes::len)
    }

    /// Drops the queue, except for the rest of a partly written frame: after half a frame, the
    /// client could not read the close frame.
    pub fn cut_off(&mut self) {
        let begun = self.frames.pop_front().filter(|_| self.written > 0);
        self.bytes = begun.as_ref().map_or(0, Bytes::len);
        self.frames = begun.into_iter().collect();
        self.rejoins = Vec::new();
        self.close = Some(CloseReason::TooSlow);
        if let Some(Wire::Answer(taking)) = &self.wire {
            taking.ready.notify_one();
        }
    }

    /// Tries to write before the system reports that the socket is writable: it does so only when a
    /// third of the socket's buffer is free, which may take long with a slow reader. Returns
    /// whether something was written.
    pub fn try_write(&mut self) -> bool {
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

    /// Writes as much as the socket accepts, or wakes the body of the answer.
    pub fn write(&mut self) {
        if let Some(Wire::Answer(taking)) = &self.wire {
            return taking.ready.notify_one();
        }
        while let Some(Wire::Socket(socket)) = &self.wire
            && !self.frames.is_empty()
        {
            match self.write_once(socket) {
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The client has disconnected; the next read reports it.
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

    pub fn drop_frames(&mut self) {
        self.frames = VecDeque::new();
        (self.bytes, self.written) = (0, 0);
    }
}

/// Waits until the socket is writable or the body has taken frames; forever without either.
pub(super) async fn writable(wire: Option<Wire>) {
    match wire {
        // An error shows up in the next write.
        Some(Wire::Socket(socket)) => drop(socket.writable().await),
        Some(Wire::Answer(taking)) => taking.taken.notified().await,
        None => std::future::pending().await,
    }
}
