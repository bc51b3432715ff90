//! One connection in the feed of a room: the stage of its join, and which frames it gets.

use super::Sink;
use crate::{
    fanout::frame::{Fence, Frame, FrameKind, Tag},
    names::MessageId,
};

/// Frames that wait for the answer to one join. Beyond it the connection is cut off.
const EARLY_MAX: usize = 8192;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeatState<S> {
    pub(super) sink: S,
    /// What the fence of the join is tagged with that has not been answered; else empty.
    pub(super) tag: String,
    /// The last message that the connection's snapshot accounts for.
    pub(super) cutoff: MessageId,
    pub(super) stage: JoinStage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JoinStage {
    /// The join has not been answered. Messages wait, those after `heard_from` where the room was
    /// not heard before; events too once the fence has passed.
    Joining { from: Origin, fenced: bool, heard_from: Option<MessageId>, early: Vec<Frame> },
    /// The join was answered when this was the number of the latest heartbeat; its fence has not
    /// passed, so events may still be old.
    Answered { tag: String, heartbeat: u64 },
    /// Everything goes out.
    Live,
}

/// Where a connection was that joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Not in the room.
    Outside,
    /// In it, and nothing was missing. It had been given the messages up to this one when the fence
    /// passed: more than there were at the fence, where the stream was read meanwhile.
    Inside(Option<MessageId>),
    /// In it, before a gap that only a join can close.
    Gap,
    /// In it, joining anew, and a gap was found meanwhile behind this message. The answer may
    /// account for it.
    InsideWithGap(MessageId),
}

impl JoinStage {
    pub(super) fn joining(from: Origin) -> Self {
        JoinStage::Joining { from, fenced: false, heard_from: None, early: Vec::new() }
    }
}

impl<S: Sink> SeatState<S> {
    pub(super) fn is_joining(&self) -> bool {
        matches!(self.stage, JoinStage::Joining { .. })
    }

    /// Whether it is given events, or will be.
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

    /// The last message that it was given, where it was in the room while it joined. `last` is the
    /// last that went out.
    pub(super) fn given(&self, last: Option<MessageId>) -> Option<MessageId> {
        match self.stage {
            JoinStage::Joining { from: Origin::Inside(given), .. } => given,
            JoinStage::Joining { from: Origin::InsideWithGap(given), .. } => Some(given),
            JoinStage::Joining { .. } => None,
            JoinStage::Answered { .. } | JoinStage::Live => last,
        }
    }

    /// A fence passes; `last` is the last message that went out. Returns whether the connection may
    /// have missed events.
    pub(super) fn pass(&mut self, fence: &Fence, last: Option<MessageId>) -> bool {
        match (&mut self.stage, &fence.tag) {
            (JoinStage::Joining { fenced, .. }, Tag::Join(tag)) if *tag == self.tag => {
                *fenced = true
            }
            (JoinStage::Answered { tag: own, .. }, Tag::Join(tag)) if tag == own => {
                self.stage = JoinStage::Live;
            }
            // It joins again: what comes from here on is for after the answer.
            (stage, Tag::Join(tag)) if *tag == self.tag => {
                let may_have_missed = matches!(stage, JoinStage::Answered { .. });
                self.stage = JoinStage::Joining {
                    from: Origin::Inside(last),
                    fenced: true,
                    heard_from: None,
                    early: Vec::new(),
                };
                return may_have_missed;
            }
            // Its own fence was lost: this heartbeat was sent after the answer came.
            (JoinStage::Answered { heartbeat, .. }, Tag::Heartbeat(number))
                if number > heartbeat =>
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
    /// Whether the frame is news to whoever has everything up to `cutoff`. Only messages can be
    /// old.
    pub(super) fn is_after(&self, cutoff: MessageId) -> bool {
        !matches!(self.kind, FrameKind::Message(id) if id <= cutoff)
    }
}
