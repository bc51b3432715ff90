//! A message as clients get it: in `joined`, in HTTP pages, in the answer to a post.

use serde::Serialize;

use crate::names::{MessageId, RoomId};

/// One message of a room's stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The room it was sent to.
    #[schema(value_type = String, example = "k7M2x9Q4tW8b")]
    pub room_id: RoomId,
    /// Its position in the room's stream: order, time and cursor in one.
    #[schema(value_type = String, example = "1763683200123-4294967296")]
    pub id: MessageId,
    /// The name of the user who sent it.
    #[schema(example = "홍길동")]
    pub from: String,
    /// The text; left out if the message was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When Redis stored it: RFC 3339, UTC, milliseconds.
    pub timestamp: String,
    /// The sender's idempotency key, if it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Present and true if the message was deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub deleted: bool,
}

impl Message {
    /// Creates a message from its stream entry; without a text it was deleted.
    pub fn new(
        room: &RoomId,
        id: MessageId,
        from: String,
        text: Option<String>,
        key: Option<String>,
    ) -> Self {
        let deleted = text.is_none();
        Self { room_id: room.clone(), id, from, text, timestamp: timestamp(id.ms), key, deleted }
    }
}

/// The newest of these messages, oldest first, whose JSON has at most this many bytes, commas
/// included.
pub fn newest_within(messages: &[Message], bytes: usize) -> &[Message] {
    let mut left = bytes;
    let fits = |message: &&Message| {
        // Serialising plain structs into memory cannot fail.
        let length = serde_json::to_string(message).unwrap_or_default().len() + 1;
        left.checked_sub(length).map(|rest| left = rest).is_some()
    };
    let count = messages.iter().rev().take_while(fits).count();
    &messages[messages.len() - count..]
}

/// Milliseconds since 1970 as RFC 3339 in UTC, with milliseconds.
///
/// After the year 9999, where RFC 3339 ends, it is the last instant that RFC 3339 can represent.
pub fn timestamp(ms: u64) -> String {
    /// 9999-12-31T23:59:59.999Z
    const LAST: u64 = 253_402_300_799_999;
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms.min(LAST));
    humantime::format_rfc3339_millis(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_those_that_fit_as_they_are_written() {
        let room = RoomId::random();
        // In JSON a control character takes six bytes, a letter of Hangul three in UTF-8.
        let texts = ["a".repeat(50), "\u{1}".repeat(50), "가".repeat(50)];
        let message = |text: &String| {
            let id = MessageId { ms: 1, seq: 1 };
            Message::new(&room, id, "alice".into(), Some(text.clone()), None)
        };
        let messages: Vec<_> = texts.iter().map(message).collect();
        let length = |messages: &[Message]| serde_json::to_string(messages).unwrap().len();
        for count in 0..=messages.len() {
            let newest = &messages[messages.len() - count..];
            // Brackets and no last comma, instead of a comma after each message.
            let bytes = if count == 0 { 0 } else { length(newest) - 1 };
            assert_eq!(newest_within(&messages, bytes), newest);
            assert_eq!(newest_within(&messages, bytes + 10), newest, "less than one more");
        }
        assert_eq!(newest_within(&messages, length(&messages)), messages);
    }

    #[test]
    fn timestamps_are_rfc_3339() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(1_709_210_096_007), "2024-02-29T12:34:56.007Z");
        assert_eq!(timestamp(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
