//! What anybody publishes on a node's channel: a script's word, or nothing.

use linkroom::{
    fanout::frame::{Fence, Frame, FrameKind, NodeSignal, Tag, heartbeat_tag},
    protocol::codec,
    redis::probe::PROBE_WORD,
};

pub fn check(data: &[u8]) {
    let Ok(payload) = std::str::from_utf8(data) else { return };
    let again = match NodeSignal::decode(payload) {
        None => return,
        Some(NodeSignal::Probe(number)) => format!("{PROBE_WORD}{number}"),
        Some(NodeSignal::Fence(room, Fence { tag, tip, events })) => {
            let tag = match tag {
                Tag::Joins(tags) => tags.join(","),
                Tag::Heartbeat(number) => heartbeat_tag(number),
            };
            format!("{room} {tag} {tip} {events}")
        }
        Some(NodeSignal::Members(room, events, frame)) => {
            let text = payload.splitn(4, ' ').nth(3).unwrap();
            let lines: Vec<&str> = text.splitn(2, '\n').collect();
            let kind = |line: &&str| Frame::decode(line, usize::MAX).map(|frame| frame.kind);
            let kinds: Vec<_> = lines.iter().map(kind).collect();
            assert_eq!(kinds, [FrameKind::Members, FrameKind::Room].map(Some), "{payload}");
            let frames: Vec<_> = lines.into_iter().map(codec::text).collect();
            assert_eq!(frame, frames.concat(), "{payload}");
            format!("{room} members {events} {text}")
        }
    };
    assert_eq!(NodeSignal::decode(&again), NodeSignal::decode(payload), "{payload}");
}
