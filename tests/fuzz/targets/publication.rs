//! What anybody publishes on a room's channel: a frame for the clients, or dropped.

use linkroom::{
    fanout::frame::{Frame, Kind},
    names::MessageId,
    ws::codec,
};
use serde_json::{Map, Value};

const MAX: usize = 300;

pub fn check(data: &[u8]) {
    let Ok(payload) = std::str::from_utf8(data) else { return };
    let fields = serde_json::from_str::<Map<String, Value>>(payload).ok();
    let Some(frame) = Frame::decode(payload, MAX) else {
        let Some(fields) = fields.filter(|_| payload.len() <= MAX) else { return };
        let is_message = fields.get("t").is_some_and(|t| t == "msg");
        let has_id = fields.get("id").is_none_or(|id| id.is_null() || id_of(id).is_some());
        // A name that is there twice makes a frame that clients may read in two ways.
        let is_frame = fields.get("t").is_some_and(Value::is_string) && (has_id || !is_message);
        assert!(!is_frame || says_twice(payload), "dropped: {payload}");
        return;
    };
    assert_eq!(frame.text, codec::text(payload));
    assert!(payload.len() <= MAX || frame.kind == Kind::Members, "too long: {payload}");
    // What nests too deep for a whole value was read as far as it matters.
    let Some(fields) = fields.or_else(|| nests(payload).then(Map::new)) else {
        panic!("passed on, and is no object: {payload}")
    };
    if let Kind::Message(id) = frame.kind
        && !fields.is_empty()
    {
        assert_eq!(id_of(&fields["id"]), Some(id), "{payload}");
    }
}

fn id_of(value: &Value) -> Option<MessageId> {
    value.as_str()?.parse().ok()
}

fn says_twice(payload: &str) -> bool {
    ["t", "id"].iter().any(|name| payload.matches(&format!("{name}\"")).count() > 1)
        || payload.contains('\\')
}

/// Whether brackets stand in brackets more often than serde_json follows.
fn nests(payload: &str) -> bool {
    payload.matches(['[', '{']).count() > 127 && payload.trim_start().starts_with('{')
}
