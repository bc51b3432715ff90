//! What anybody publishes on a node's channel: a script's word, or nothing.

use linkroom::{
    fanout::frame::{Fence, Frame, FrameKind, NodeSignal, Tag, Truth, heartbeat_tag},
    protocol::codec,
    redis::probe::PROBE_WORD,
    removal::Removal,
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
        Some(NodeSignal::Members(room, events, truth)) => {
            let text = payload.splitn(4, ' ').nth(3).unwrap();
            let (removed, told): (Vec<&str>, Vec<&str>) =
                text.split('\n').partition(|line| Removal::parse(line).is_some());
            let kind = |line: &&str| Frame::decode(line, usize::MAX).map(|frame| frame.kind);
            let kinds: Vec<_> = told.iter().map(kind).collect();
            assert_eq!(kinds[..2], [FrameKind::Members, FrameKind::Room].map(Some), "{payload}");
            let is_event = |kind| matches!(kind, Some(FrameKind::Event | FrameKind::Deleted(_)));
            assert!(kinds[2..].iter().copied().all(is_event), "{payload}");
            let frames: Vec<_> = told.into_iter().map(codec::text).collect();
            let removals = removed.into_iter().filter_map(Removal::parse).collect();
            assert_eq!(truth, Truth { frames: frames.concat().into(), removals }, "{payload}");
            format!("{room} members {events} {text}")
        }
    };
    assert_eq!(NodeSignal::decode(&again), NodeSignal::decode(payload), "{payload}");
}
