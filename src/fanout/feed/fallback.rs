//! A feed while publications do not reach the node: positions and the list of members come from the
//! answers of scripts.
//!
//! An answer may overtake publications. For messages that does not matter, since the stream has
//! their order. Events are delivered again only after a fence has shown, in order with them, that
//! the list accounts for all earlier events.

use super::{Actions, Feed, Members, SeatState, Sink};
use crate::{
    fanout::frame::{Fence, Frame, FrameKind, Tag, Truth},
    names::MessageId,
};

impl<S: Sink> Feed<S> {
    /// The position in the answer of the heartbeat with this number. Nothing happens if its fence
    /// arrived as well.
    pub fn answered_heartbeat(&mut self, number: u64, tip: MessageId, events: u64) -> Actions {
        if self.fenced >= number || self.seats.is_empty() || self.catch_up.is_some() {
            return Actions::default();
        }
        let actions = self.stored(tip);
        let knows = self.members != Members::Unknown && self.events == events;
        let mut lacks = !knows && self.seats.iter().any(SeatState::hears_events);
        let fence = Fence { tag: Tag::Heartbeat(number), tip, events };
        lacks |= self.pass(&fence);
        if lacks {
            self.members = Members::Unknown;
        }
        Actions { list_members: lacks, ..actions }
    }

    /// A message was stored, and may not be published to this node.
    pub fn stored(&mut self, id: MessageId) -> Actions {
        if self.last.is_none() {
            self.begin(id);
        }
        match self.catch_up {
            None if self.last < Some(id) => self.begin_catch_up(None),
            _ => Actions::default(),
        }
    }

    /// The whole truth about the room as an answer, and the number of events that it accounts for.
    pub fn listed(&mut self, events: u64, truth: Truth) {
        self.ended(&truth.removals);
        // Else a list came in order meanwhile.
        if self.members == Members::Unknown {
            (self.events, self.known_events) = (events, events);
            self.members = Members::Listed;
            self.deliver(&Frame { kind: FrameKind::Members, text: truth.frames });
        }
    }
}
