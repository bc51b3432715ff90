//! Publications from the subscription, decoded as far as ordering and gap detection need.
//!
//! Everybody with access to Redis may publish anything, so nothing here is trusted.

use std::{borrow::Cow, iter};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    message::Message,
    names::{MessageId, RoomId},
    protocol::{ServerFrame, codec},
    redis::probe::PROBE_WORD,
    removal::Removal,
};

/// A frame of a room's channel, ready to be sent unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: FrameKind,
    /// The JSON as a WebSocket frame, encoded once for all connections.
    pub text: Bytes,
}

/// The kinds of frames that delivery distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A message with its position in the stream.
    Message(MessageId),
    /// One of the room's own events, which scripts count.
    Event,
    /// The event that this message was deleted.
    Deleted(MessageId),
    /// A change of the room itself, which scripts count as an event.
    Room,
    /// The end of a session, which scripts count as an event. Only its connections are told, with
    /// another frame.
    Removed,
    /// The list of members, which scripts count as an event.
    Members,
    /// Anything else; passed on, never history.
    Other,
}

impl FrameKind {
    /// Whether it is an event that changes neither the room itself nor the whole list of members.
    fn is_event(self) -> bool {
        matches!(self, Self::Event | Self::Deleted(_))
    }
}

impl Frame {
    /// Decodes a payload of a room's channel. `None` for payloads that must not reach a client: not
    /// a JSON object with a `t`, over `max` bytes, or a message with an invalid id.
    pub fn decode(payload: &str, max: usize) -> Option<Self> {
        #[derive(Deserialize)]
        struct FrameFields<'a> {
            #[serde(borrow)]
            t: Cow<'a, str>,
            #[serde(borrow)]
            id: Option<&'a RawValue>,
            #[serde(borrow)]
            members: Option<&'a RawValue>,
        }
        // serde would take an array for a struct as well.
        if !payload.trim_start().starts_with('{') {
            return None;
        }
        let head: FrameFields<'_> = serde_json::from_str(payload).ok()?;
        let kind = match (&*head.t, head.id) {
            ("msg", Some(id)) => {
                let id: Cow<'_, str> = serde_json::from_str(id.get()).ok()?;
                FrameKind::Message(id.parse().ok()?)
            }
            ("deleted", Some(id)) => {
                let id: Cow<'_, str> = serde_json::from_str(id.get()).unwrap_or_default();
                id.parse().map_or(FrameKind::Event, FrameKind::Deleted)
            }
            ("user_joined" | "user_left" | "presence" | "read" | "deleted", _) => FrameKind::Event,
            ("room", _) => FrameKind::Room,
            ("members", _) if head.members.is_some() => FrameKind::Members,
            // A large room's number of members, without the list.
            ("members", _) => FrameKind::Event,
            _ => FrameKind::Other,
        };
        // Only a list of members may be larger than a frame of a client.
        let fits = payload.len() <= max || kind == FrameKind::Members;
        fits.then(|| Self { kind, text: codec::text(payload) })
    }
}

/// A payload of this node's own channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeSignal {
    /// The position of a room when the script ran.
    Fence(RoomId, Fence),
    /// The state of a room with its list of members, and the number of events that it contains.
    Members(RoomId, u64, Truth),
    /// A probe arrived: the subscription works.
    Probe(u64),
}

/// The whole truth about a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// What clients are told, ready to be sent: the list of members first, then the room, then what was deleted.
    pub frames: Bytes,
    /// The sessions that were ended since the node knew all.
    pub removals: Vec<Removal>,
}

/// The position of a room, in order with its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The call to which it belongs.
    pub tag: Tag,
    /// The last message of the stream.
    pub tip: MessageId,
    /// The number of events of the room so far.
    pub events: u64,
}

/// The call to which a fence belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The joins with these unique tags.
    Joins(Vec<String>),
    /// The heartbeat with this number.
    Heartbeat(u64),
}

/// The tag of a heartbeat's fence.
pub fn heartbeat_tag(number: u64) -> String {
    format!("@{number}")
}

impl NodeSignal {
    /// Decodes a payload of this node's channel. `None` for payloads that no script publishes.
    pub fn decode(payload: &str) -> Option<Self> {
        if let Some(number) = payload.strip_prefix(PROBE_WORD) {
            return Some(NodeSignal::Probe(number.parse().ok()?));
        }
        let mut words = payload.splitn(4, ' ');
        let room = RoomId::parse(words.next()?)?;
        let (tag, third, fourth) = (words.next()?, words.next()?, words.next()?);
        if tag == "members" {
            return Some(NodeSignal::Members(room, third.parse().ok()?, state_frames(fourth)?));
        }
        let tag = match tag.strip_prefix('@') {
            Some(number) => Tag::Heartbeat(number.parse().ok()?),
            None => Tag::Joins(tag.split(',').map(str::to_owned).collect()),
        };
        let (tip, events) = (third.parse().ok()?, fourth.parse().ok()?);
        Some(NodeSignal::Fence(room, Fence { tag, tip, events }))
    }
}

/// A message as it is sent to clients.
pub(super) fn message_frame(message: &Message) -> Bytes {
    ServerFrame::Msg(message).encode()
}

/// Reads the whole truth about a room: a frame a line, the list of members first, then the room, then what was
/// deleted and who was removed.
pub fn state_frames(lines: &str) -> Option<Truth> {
    let first = [FrameKind::Members, FrameKind::Room];
    let kinds = first.into_iter().map(Some).chain(iter::repeat(None));
    let (mut frames, mut removals) = (Vec::new(), Vec::new());
    for (line, kind) in lines.split('\n').zip(kinds) {
        match Removal::parse(line).filter(|_| frames.len() >= first.len()) {
            Some(removal) => removals.push(removal),
            None => {
                let frame = Frame::decode(line, usize::MAX)?;
                if !kind.map_or(frame.kind.is_event(), |kind| frame.kind == kind) {
                    return None;
                }
                frames.push(frame.text);
            }
        }
    }
    (frames.len() >= first.len()).then(|| Truth { frames: frames.concat().into(), removals })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(payload: &str) -> Option<FrameKind> {
        Frame::decode(payload, 100).map(|frame| frame.kind)
    }

    #[test]
    fn frames() {
        let id = MessageId { ms: 1, seq: 2 };
        assert_eq!(kind(r#"{"t":"msg","id":"1-2","x":[{}]}"#), Some(FrameKind::Message(id)));
        assert_eq!(kind(r#"{"t":"msg","text":"hi"}"#), Some(FrameKind::Other));
        assert_eq!(kind(r#"{"t":"read","id":7}"#), Some(FrameKind::Event));
        assert_eq!(kind(r#"{"t":"deleted","id":"1-2"}"#), Some(FrameKind::Deleted(id)));
        assert_eq!(kind(r#"{"t":"deleted","id":7}"#), Some(FrameKind::Event));
        assert_eq!(kind(r#"{"t":"news"}"#), Some(FrameKind::Other));
        assert_eq!(kind(r#"{"t":"members","members":[]}"#), Some(FrameKind::Members));
        assert_eq!(kind(r#"{"t":"members","memberCount":7}"#), Some(FrameKind::Event));
    }

    #[test]
    fn rubbish_reaches_nobody() {
        let long = format!(r#"{{"t":"news","x":"{}"}}"#, "a".repeat(100));
        let rubbish = [
            "",
            "hi",
            "[]",
            r#"["news",null]"#,
            r#" ["msg","5-0"]"#,
            "{}",
            r#"{"t":1}"#,
            r#"{"t":"news"} x"#,
            r#"{"t":"msg","id":7}"#,
            r#"{"t":"msg","id":"x"}"#,
            r#"{"t":"news","x":}"#,
            &long,
        ];
        for payload in rubbish {
            assert_eq!(kind(payload), None, "{payload}");
        }
    }

    #[test]
    fn words_to_the_node() {
        let room = RoomId::parse("r1").unwrap();
        let fence = |tag| Fence { tag, tip: MessageId { ms: 5, seq: 6 }, events: 7 };
        let decoded = NodeSignal::decode("r1 c-9 5-6 7");
        assert_eq!(
            decoded,
            Some(NodeSignal::Fence(room.clone(), fence(Tag::Joins(vec!["c-9".into()]))))
        );
        let decoded = NodeSignal::decode("r1 @3 5-6 7");
        assert_eq!(decoded, Some(NodeSignal::Fence(room.clone(), fence(Tag::Heartbeat(3)))));
        let decoded = NodeSignal::decode(
            "r1 members 7 {\"t\": \"members\",\"members\":[]}\n{\"t\":\"room\"}",
        );
        let told = |lines: &[&str], removals| {
            let frames: Vec<Bytes> = lines.iter().map(|line| codec::text(line)).collect();
            let truth = Truth { frames: frames.concat().into(), removals };
            Some(NodeSignal::Members(room.clone(), 7, truth))
        };
        let lines = [r#"{"t": "members","members":[]}"#, r#"{"t":"room"}"#];
        assert_eq!(decoded, told(&lines, Vec::new()));
        let lines = [r#"{"t":"members","members":[]}"#, r#"{"t":"room"}"#, r#"{"t":"deleted"}"#];
        let decoded = NodeSignal::decode(&format!("r1 members 7 {}", lines.join("\n")));
        assert_eq!(decoded, told(&lines, Vec::new()));
        let removed = r#"{"t":"removed","roomId":"r1","userId":"a","joinedAt":"7","reason":"left","proof":"x"}"#;
        let decoded = NodeSignal::decode(&format!("r1 members 7 {}\n{removed}", lines.join("\n")));
        assert_eq!(decoded, told(&lines, vec![Removal::parse(removed).unwrap()]));
        assert_eq!(NodeSignal::decode("probe 3"), Some(NodeSignal::Probe(3)));
        for rubbish in [
            "",
            "probe",
            "probe x",
            "r1",
            "r1 c 5 x",
            "r1 @x 5-6 7",
            "a:b c 5-6 7",
            "r1 members 7 x",
            r#"r1 members 7 {"t":"members"}"#,
            "r1 members 7 {\"t\":\"room\"}\n{\"t\":\"members\"}",
            "r1 members 7 {\"t\":\"members\",\"members\":[]}\n{\"t\":\"news\"}",
            "r1 members 7 {\"t\":\"members\",\"memberCount\":1}\n{\"t\":\"room\"}",
            "r1 members 7 {\"t\":\"removed\",\"roomId\":\"r1\",\"reason\":\"closed\",\"proof\":\"x\"}",
        ] {
            assert_eq!(NodeSignal::decode(rubbish), None, "{rubbish}");
        }
    }
}
