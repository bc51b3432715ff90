//! The frames that wait in a feed are bounded, and dropped ones are found again.

use std::{cell::Cell, sync::Arc};

use linkroom::{
    fanout::{
        feed::{Answered, Feed, JoinAnswer, Sink},
        frame::{Fence, Frame, FrameKind, Tag},
    },
    names::MessageId,
    removal::{Reason, Removal},
};

/// More than any bound.
const MANY: u64 = 20_000;
/// Maximum number of waiting frames: the larger one of the feed's two bounds.
const MOST: u64 = 8192;

struct Counter {
    id: Arc<str>,
    frames: Cell<u64>,
    overflows: Cell<u64>,
}

impl Default for Counter {
    fn default() -> Self {
        Self { id: "c".into(), frames: Cell::default(), overflows: Cell::default() }
    }
}

impl Sink for &Counter {
    fn connection(&self) -> &Arc<str> {
        &self.id
    }

    fn push(&self, _: &Frame) {
        self.frames.set(self.frames.get() + 1);
    }

    fn overflow(&self) {
        self.overflows.set(self.overflows.get() + 1);
    }

    fn rejoin(&self, _: MessageId) {}

    fn is_target(&self, _: &Removal) -> bool {
        false
    }

    fn evict(&self, _: Reason) {}

    fn recheck_access(&self) {}
}

fn event() -> Frame {
    Frame { kind: FrameKind::Event, text: "{}".into() }
}

fn fence(tag: Tag, ms: u64, events: u64) -> Fence {
    Fence { tag, tip: MessageId { ms, seq: 0 }, events }
}

fn answer() -> JoinAnswer {
    let tip = MessageId { ms: 1, seq: 0 };
    JoinAnswer { joined: Some("joined".into()), tip, secret: String::new(), heartbeat: 0 }
}

#[test]
fn a_join_that_is_never_answered() {
    let counter = Counter::default();
    let mut feed = Feed::default();
    feed.enter(&counter, "c.1".into());
    let _ = feed.fence(fence(Tag::Joins(vec!["c.1".into()]), 1, 0));
    for _ in 0..MANY {
        let _ = feed.frame(event());
    }
    assert!(counter.overflows.get() > 0, "the connection is cut off");
    assert_eq!(feed.answered("c", answer()), Answered::Sent);
    assert!(counter.frames.get() <= 1 + MOST);
}

#[test]
fn a_stream_that_is_never_read() {
    let counter = Counter::default();
    let mut feed = Feed::default();
    feed.enter(&counter, "c.1".into());
    let _ = feed.fence(fence(Tag::Joins(vec!["c.1".into()]), 1, 0));
    assert_eq!(feed.answered("c", answer()), Answered::Sent);
    let reading = feed.fence(fence(Tag::Heartbeat(1), 2, 0)).catch_up.unwrap();
    for _ in 0..MANY {
        let _ = feed.frame(event());
    }
    assert_eq!(feed.reading(reading), Some(MessageId { ms: 1, seq: 0 }));
    let _ = feed.caught_up(reading, Vec::new(), true);
    assert!(counter.frames.get() <= 1 + MOST);
    let actions = feed.fence(fence(Tag::Heartbeat(2), 2, MANY));
    assert!(actions.tell_members, "what was dropped shows in the count");
}
