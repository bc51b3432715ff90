//! A message as everybody sees it: in `joined`, in HTTP pages, in the answer to a post.

use serde::Serialize;

use crate::names::{MessageId, RoomId};

/// One message of a room's stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The room it was sent to.
    #[schema(value_type = String, example = "k7M2x9Q4tW8b")]
    pub room_id: RoomId,
    /// Its place in the room's stream: order, time and cursor in one.
    #[schema(value_type = String, example = "1763683200123-4294967296")]
    pub id: MessageId,
    /// The name of the user who sent it.
    #[schema(example = "홍길동")]
    pub from: String,
    /// What was said.
    pub text: String,
    /// When Redis stored it: RFC 3339, UTC, milliseconds.
    pub timestamp: String,
    /// The sender's idempotency key, if it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Message {
    /// Puts a message together from what its stream entry holds.
    pub fn new(
        room: &RoomId,
        id: MessageId,
        from: String,
        text: String,
        key: Option<String>,
    ) -> Self {
        Self { room_id: room.clone(), id, from, text, timestamp: timestamp(id.ms), key }
    }
}

/// Milliseconds since 1970 as RFC 3339 in UTC, with milliseconds.
///
/// Past the year 9999, where RFC 3339 ends, the last instant that it can write.
pub fn timestamp(ms: u64) -> String {
    /// 9999-12-31T23:59:59.999Z
    const LAST: u64 = 253_402_300_799_999;
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms.min(LAST));
    humantime::format_rfc3339_millis(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn timestamps_are_rfc_3339() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(1_709_210_096_007), "2024-02-29T12:34:56.007Z");
        assert_eq!(timestamp(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
