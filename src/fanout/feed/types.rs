//! Inputs and outputs of a feed.

use bytes::Bytes;

use crate::{
    fanout::frame::{Fence, Frame, FrameKind},
    names::MessageId,
};

/// Where a room's frames go: one connection's outbox.
pub trait Sink {
    /// The id of the connection.
    fn connection(&self) -> &str;
    /// Queues a frame.
    fn push(&self, frame: &Frame);
    /// Cuts the connection off: more waits for it than may.
    fn overflow(&self);
    /// Asks the connection to join again, from the last message that it was given.
    fn rejoin(&self, since: MessageId);
}

/// What the machine wants done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Actions {
    /// Read the stream, beginning with [`Feed::reading`](super::Feed::reading) of this number.
    pub catch_up: Option<u64>,
    /// Have the list of members sent to this node.
    pub tell_members: bool,
    /// Ask for it, as nothing that is sent comes: [`Feed::listed`](super::Feed::listed).
    pub list_members: bool,
}

/// How a frame fared, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went to so many connections, or waits behind others that will.
    Delivered(usize),
    /// It was not newer than what went out before.
    Stale,
    /// It is no message of the stream and was passed on.
    Foreign,
}

/// What became of the answer to a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Answered {
    /// It was sent.
    Sent,
    /// The connection is no longer seated.
    Gone,
    /// It was not: the connection was in the room already, and was given messages that the answer does
    /// not account for. The join has to be made anew.
    Overtaken,
}

/// What a join was answered with.
pub struct JoinAnswer {
    /// The `joined` frame; `None` for whoever listens and is no member.
    pub joined: Option<Bytes>,
    /// The last message that it accounts for.
    pub tip: MessageId,
    /// What the ids of the room's messages are made with.
    pub secret: String,
    /// The number of the room's latest heartbeat when it came.
    pub heartbeat: u64,
}

/// What came in about a room and waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A frame of the room's channel.
    Frame(Frame),
    /// A fence on this node's channel.
    Fence(Fence),
    /// The list of members on this node's channel, and the number of events that it accounts for.
    Members(u64, Bytes),
}

impl Inbound {
    pub(super) fn is_message(&self) -> bool {
        matches!(self, Inbound::Frame(Frame { kind: FrameKind::Message(_), .. }))
    }
}
