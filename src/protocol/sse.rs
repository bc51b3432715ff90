//! Encodes a room's events as Server-Sent Events: the same frames as on a WebSocket, for clients
//! that only listen.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use serde::Deserialize;

use crate::names::{MessageId, RoomId};

/// An empty comment, which shows that the connection is alive.
pub const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// How long the reader waits before it reconnects, after the connection has ended.
pub fn retry(wait: Duration) -> Bytes {
    format!("retry: {}\n\n", wait.as_millis()).into()
}

/// The id to resume from before the first message. It is not an event.
pub fn position(id: MessageId) -> Bytes {
    format!("id: {id}\n\n").into()
}

/// Encodes one frame's JSON as an event with its `t` as the type. A message of the room's stream
/// also has its id, to resume from.
pub fn event(json: &[u8], id: Option<MessageId>) -> Bytes {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        t: Cow<'a, str>,
    }
    let head = serde_json::from_slice::<Head<'_>>(json).map(|head| head.t).unwrap_or_default();
    // Anybody with access to Redis may publish; a line break in `t` would begin another field.
    let kind = head.replace(['\r', '\n', '\0'], " ");
    let text = String::from_utf8_lossy(json);
    let mut event = String::with_capacity(text.len() + kind.len() + 64);
    event.extend(["event: ", &kind, "\n"]);
    if let Some(id) = id {
        event.push_str(&format!("id: {id}\n"));
    }
    // JSON may have line breaks between its tokens.
    for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
        event.extend(["data: ", line, "\n"]);
    }
    event.push('\n');
    event.into()
}

/// Encodes the event that messages after this one are missing, because they are no longer stored.
pub fn gap(room: &RoomId, after: MessageId) -> Bytes {
    let frame = format!(r#"{{"t":"gap","roomId":"{room}","after":"{after}"}}"#);
    event(frame.as_bytes(), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::codec;

    #[test]
    fn events_are_what_the_standard_reads() {
        let id = MessageId { ms: 7, seq: 1 };
        let cases = [
            (
                r#"{"t":"msg","id":"7-1"}"#,
                Some(id),
                "event: msg\nid: 7-1\ndata: {\"t\":\"msg\",\"id\":\"7-1\"}\n\n",
            ),
            (r#"{"t":"presence"}"#, None, "event: presence\ndata: {\"t\":\"presence\"}\n\n"),
            (
                "{\"t\":\"x\",\r\n\"y\":1\r}",
                None,
                "event: x\ndata: {\"t\":\"x\",\ndata: \"y\":1\ndata: }\n\n",
            ),
            (
                r#"{"t":"a\nid: 9\r\u0000"}"#,
                None,
                "event: a id: 9  \ndata: {\"t\":\"a\\nid: 9\\r\\u0000\"}\n\n",
            ),
        ];
        for (json, id, expected) in cases {
            assert_eq!(event(json.as_bytes(), id), expected, "{json}");
        }
        let room = RoomId::parse("r1").unwrap();
        let expected = r#"data: {"t":"gap","roomId":"r1","after":"7-1"}"#;
        assert_eq!(gap(&room, id), format!("event: gap\n{expected}\n\n"));
        assert_eq!(position(id), "id: 7-1\n\n");
        assert_eq!(retry(Duration::from_secs(2)), "retry: 2000\n\n");
    }

    #[test]
    fn what_a_frame_says_is_found_in_it_whatever_its_length() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
            let text = "x".repeat(length);
            let frames = [codec::text(&text), codec::text("b")].concat();
            let payloads: Vec<_> = codec::payloads(&frames).collect();
            assert_eq!(payloads, [text.as_bytes(), b"b"], "{length}");
        }
    }
}
