//! One connection in the feed of a room: the stage of its join, and which frames it gets.

use super::Sink;
use crate::{
    fanout::frame::{Frame, FrameKind},
    names::MessageId,
};

/// Maximum number of frames that wait for the answer to one join. Beyond it the connection is cut
/// off.
const EARLY_MAX: usize = 8192;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeatState<S> {
    pub(super) sink: S,
    /// The tag of the fence of an unanswered join; otherwise empty.
    pub(super) tag: String,
    /// The last message that the connection's snapshot contains.
    pub(super) cutoff: MessageId,
    pub(super) stage: JoinStage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JoinStage {
    /// The join has not been answered. Messages are buffered, those after `heard_from` if the room
    /// was not heard before; events too, once the fence has passed.
    Joining { from: Origin, fenced: bool, heard_from: Option<MessageId>, early: Vec<Frame> },
    /// The join was answered when this was the number of the latest heartbeat. Its fence has not
    /// passed, so events may be older than the answer.
    Answered { tag: String, heartbeat: u64 },
    /// Every frame is delivered.
    Live,
}

/// The state of a connection when it joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Not in the room.
    Outside,
    /// In the room without a gap. The messages up to this one had been delivered to it when the
    /// fence passed: if the stream was read meanwhile, these are more than existed at the fence.
    Inside(Option<MessageId>),
    /// In the room, before a gap that only a join can close.
    Gap,
    /// In the room and joining again; meanwhile a gap was found after this message. The answer may
    /// contain the missing messages.
    InsideWithGap(MessageId),
}

/// What of a fence concerns one connection: its own join, or a heartbeat.
#[derive(Clone, Copy)]
pub(super) enum Passing<'a> {
    Join(&'a str),
    Heartbeat(u64),
}

impl JoinStage {
    pub(super) fn joining(from: Origin) -> Self {
        JoinStage::Joining { from, fenced: false, heard_from: None, early: Vec::new() }
    }
}

impl<S: Sink> SeatState<S> {
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.stage, JoinStage::Answered { .. })
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(self.stage, JoinStage::Joining { .. })
    }

    /// Whether it gets events, or will get them.
    pub(super) fn hears_events(&self) -> bool {
        matches!(self.stage, JoinStage::Live | JoinStage::Joining { fenced: true, .. })
    }

    pub(super) fn offer(&mut self, frame: &Frame) -> bool {
        let is_message = matches!(frame.kind, FrameKind::Message(_));
        match &mut self.stage {
            JoinStage::Live if frame.is_after(self.cutoff) => self.sink.push(frame),
            JoinStage::Answered { .. } if is_message && frame.is_after(self.cutoff) => {
                self.sink.push(frame);
            }
            JoinStage::Joining { fenced, early, .. } if *fenced || is_message => {
                if early.len() < EARLY_MAX {
                    early.push(frame.clone());
                } else {
                    self.sink.overflow();
                }
                return false;
            }
            _ => return false,
        }
        true
    }

    /// The last message that was delivered to it if it was in the room while it joined. `last` is
    /// the last message that the feed delivered.
    pub(super) fn given(&self, last: Option<MessageId>) -> Option<MessageId> {
        match self.stage {
            JoinStage::Joining { from: Origin::Inside(given), .. } => given,
            JoinStage::Joining { from: Origin::InsideWithGap(given), .. } => Some(given),
            JoinStage::Joining { .. } => None,
            JoinStage::Answered { .. } | JoinStage::Live => last,
        }
    }

    /// A fence passes; `last` is the last message that the feed delivered. Returns whether the
    /// connection may have missed events.
    pub(super) fn pass(&mut self, passing: Passing<'_>, last: Option<MessageId>) -> bool {
        match (&mut self.stage, passing) {
            (JoinStage::Joining { fenced, .. }, Passing::Join(tag)) if tag == self.tag => {
                *fenced = true
            }
            (JoinStage::Answered { tag: own, .. }, Passing::Join(tag)) if tag == own.as_str() => {
                self.stage = JoinStage::Live;
            }
            // It joins again: frames from here on are delivered after the answer.
            (stage, Passing::Join(tag)) if tag == self.tag => {
                let may_have_missed = matches!(stage, JoinStage::Answered { .. });
                self.stage = JoinStage::Joining {
                    from: Origin::Inside(last),
                    fenced: true,
                    heard_from: None,
                    early: Vec::new(),
                };
                return may_have_missed;
            }
            // Its own fence was lost: this heartbeat was sent after the answer arrived.
            (JoinStage::Answered { heartbeat, .. }, Passing::Heartbeat(number))
                if number > *heartbeat =>
            {
                self.stage = JoinStage::Live;
                return true;
            }
            _ => {}
        }
        false
    }
}

impl Frame {
    /// Whether the frame is new to a connection that has everything up to `cutoff`. Only messages
    /// can be old.
    pub(super) fn is_after(&self, cutoff: MessageId) -> bool {
        !matches!(self.kind, FrameKind::Message(id) if id <= cutoff)
    }
}
