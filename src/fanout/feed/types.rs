//! Inputs and outputs of a feed.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    fanout::frame::{Fence, Frame, FrameKind, Truth},
    names::MessageId,
    removal::{Reason, Removal},
};

/// The receiver of a room's frames: one connection's outbox.
pub trait Sink {
    /// The id of the connection.
    fn connection(&self) -> &Arc<str>;
    /// Queues a frame.
    fn push(&self, frame: &Frame);
    /// Cuts the connection off: its queue is full.
    fn overflow(&self);
    /// Asks the connection to join again, from the last message that was delivered to it.
    fn rejoin(&self, since: MessageId);
    /// Whether the connection is in the room with the session that ended.
    fn is_target(&self, removal: &Removal) -> bool;
    /// Tells the connection that it is out of the room.
    fn evict(&self, reason: Reason);
    /// Somebody was removed, possibly the user whose right the connection uses to listen: it must
    /// check its access.
    fn recheck_access(&self);
}

/// Actions that the feed requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Actions {
    /// Read the stream, beginning with [`Feed::reading`](super::Feed::reading) of this number.
    pub catch_up: Option<u64>,
    /// Have the list of members published to this node.
    pub tell_members: bool,
    /// Read the list of members, because publications do not arrive:
    /// [`Feed::listed`](super::Feed::listed).
    pub list_members: bool,
}

/// The outcome of a frame, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was delivered to this many connections, or waits behind earlier frames.
    Delivered(usize),
    /// It was not newer than the last delivered message.
    Stale,
    /// It is not a message of the stream, and was passed on.
    Foreign,
}

/// The outcome of the answer to a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Answered {
    /// It was sent.
    Sent,
    /// The connection has no seat any more.
    Gone,
    /// It was not sent: the connection was already in the room, and messages were delivered to it
    /// that the answer does not contain. The join has to be repeated.
    Overtaken,
}

/// The answer to a join.
pub struct JoinAnswer {
    /// The `joined` frame; `None` for a connection that only listens.
    pub joined: Option<Bytes>,
    /// The last message that it contains.
    pub tip: MessageId,
    /// The secret of the room's message ids.
    pub secret: String,
    /// The number of the room's latest heartbeat when it arrived.
    pub heartbeat: u64,
}

/// Input of a room's inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A frame of the room's channel.
    Frame(Frame),
    /// A fence on this node's channel.
    Fence(Fence),
    /// The whole truth about the room from this node's channel, and the number of events that it contains.
    Members(u64, Truth),
    /// A session ended, or the room, and the frame that says so.
    Removal(Removal, Frame),
}

impl Inbound {
    pub(super) fn is_message(&self) -> bool {
        matches!(self, Inbound::Frame(Frame { kind: FrameKind::Message(_), .. }))
    }
}
