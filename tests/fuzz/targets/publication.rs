//! What others publish on a room's channel: a frame for the clients, or dropped.

use std::collections::BTreeMap;

use linkroom::{
    fanout::frame::{Frame, FrameKind},
    names::MessageId,
    protocol::codec,
};
use serde_json::value::RawValue;

const MAX: usize = 300;

pub fn check(data: &[u8]) {
    let Ok(payload) = std::str::from_utf8(data) else { return };
    // The other fields matter only to clients: they only have to be JSON.
    let fields = serde_json::from_str::<BTreeMap<String, &RawValue>>(payload).unwrap_or_default();
    let text = |name| serde_json::from_str::<String>(fields.get(name)?.get()).ok();
    let (t, id) = (text("t"), text("id").and_then(|id| id.parse::<MessageId>().ok()));
    let names_no_id = fields.get("id").is_none_or(|id| id.get() == "null");
    let Some(frame) = Frame::decode(payload, MAX) else {
        let is_frame = t.is_some_and(|t| t != "msg" || names_no_id || id.is_some());
        // Clients may read a frame with a duplicate field in two ways.
        assert!(!is_frame || payload.len() > MAX || says_twice(payload), "dropped: {payload}");
        return;
    };
    assert_eq!(frame.text, codec::text(payload));
    assert!(payload.len() <= MAX || frame.kind == FrameKind::Members, "too long: {payload}");
    let kind = match t.as_deref() {
        None => panic!("passed on, and is no frame: {payload}"),
        Some("msg") if !names_no_id => id.map(FrameKind::Message),
        Some("deleted") => Some(id.map_or(FrameKind::Event, FrameKind::Deleted)),
        Some("user_joined" | "user_left" | "presence" | "read") => Some(FrameKind::Event),
        Some("members") if fields.get("members").is_some_and(|list| list.get() != "null") => {
            Some(FrameKind::Members)
        }
        Some("members") => Some(FrameKind::Event),
        Some("room") => Some(FrameKind::Room),
        Some(_) => Some(FrameKind::Other),
    };
    assert_eq!(Some(frame.kind), kind, "{payload}");
}

fn says_twice(payload: &str) -> bool {
    let times = |name| payload.matches(name).count();
    times("t\"") > 1 || times("id\"") > 1 || times("members\"") > 1 || payload.contains('\\')
}
