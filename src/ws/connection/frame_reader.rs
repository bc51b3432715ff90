//! Takes the frames of one connection: answers pings and unreadable frames at once, and queues
//! requests until their turn.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc, time::Duration};

use super::End;
use crate::{
    error::Error,
    problem::Problem,
    protocol::{
        BadFrame, ClientFrame, ServerFrame,
        close::CloseReason,
        codec::{self, Incoming},
    },
    ws::{
        client::{Client, Echo, Operation, Request},
        pace::Pace,
    },
};

/// Maximum number of queued requests; at the limit the socket is not read.
pub(super) const PENDING_MAX: usize = 64;
/// Maximum bytes of frames that were queued since the queue was empty; at the limit the socket is
/// not read.
pub(super) const PENDING_BYTES: usize = 256 * 1024;

/// The frames of one connection.
pub(super) struct FrameReader {
    pub client: Arc<Client>,
    pub pending: VecDeque<Request>,
    /// Bytes of the frames that were queued since the queue was empty.
    pending_bytes: usize,
    bad_frames: usize,
    pub pace: Pace,
    /// Whether the frame budget is spent.
    pub is_spent: bool,
    /// How the connection ends, once a frame has decided it.
    pub end: Option<End>,
}

impl FrameReader {
    pub fn new(client: Arc<Client>) -> Self {
        Self {
            client,
            pending: VecDeque::new(),
            pending_bytes: 0,
            bad_frames: 0,
            pace: Pace::default(),
            is_spent: false,
            end: None,
        }
    }

    /// Whether further requests may be queued.
    pub fn has_room(&self) -> bool {
        self.pending.is_empty()
            || self.pending.len() < PENDING_MAX && self.pending_bytes < PENDING_BYTES
    }

    /// Starts the next queued request.
    pub fn begin_next(&mut self) -> Option<Operation> {
        let next = self.client.begin_next(&mut self.pending);
        if self.pending.is_empty() {
            // An idle connection keeps no memory for requests.
            self.pending = VecDeque::new();
        }
        next
    }

    /// Takes one frame. Breaks if the next one has to wait.
    pub fn take(&mut self, incoming: Incoming<'_>) -> ControlFlow<()> {
        match incoming {
            Incoming::Text(text) => self.take_text(text),
            Incoming::Binary(_) => self.refuse(BadFrame::unreadable(Problem::Binary)),
            Incoming::Part => {}
            Incoming::Ping(payload) => {
                self.client.outbox.note_activity();
                self.client.outbox.push(codec::pong(payload));
            }
            Incoming::Pong => self.client.outbox.note_activity(),
            Incoming::Close(code) => self.end = Some(End::Closes(code)),
        }
        self.is_spent = self.client.frames.spend(1);
        if self.is_spent || self.end.is_some() || !self.has_room() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn take_text(&mut self, text: &str) {
        let silent_for = self.client.outbox.silent_for();
        self.client.outbox.note_activity();
        self.client.confirm_sessions();
        self.take_frame(text, silent_for);
    }

    fn take_frame(&mut self, text: &str, silent_for: Duration) {
        let frame = match ClientFrame::parse(text) {
            Ok(frame) => frame,
            Err(bad) => return self.refuse(bad),
        };
        self.bad_frames = 0;
        if let ClientFrame::Ping { status, read, .. } = &frame {
            self.client.outbox.push(ServerFrame::pong());
            let changed = status.is_some_and(|status| self.client.outbox.show(status));
            if !changed && read.is_none() && !self.client.is_urgent(silent_for) {
                return;
            }
        }
        if self.pending.is_empty() {
            self.pending_bytes = 0;
        }
        self.pending_bytes += text.len();
        self.pending.push_back(Request::Frame(frame));
    }

    fn refuse(&mut self, bad: BadFrame) {
        let error = Error::invalid(bad.field, bad.problem);
        self.client.answer_error(&error, &Echo { room_id: bad.room_id, key: bad.key });
        if !bad.unreadable {
            self.bad_frames = 0;
            return;
        }
        self.bad_frames += 1;
        if self.bad_frames >= self.client.app.settings.bad_frames_max {
            self.end = Some(End::Close(CloseReason::Unreadable));
        }
    }
}
