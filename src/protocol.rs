//! The frames of the WebSocket protocol as types, without logic. `static/js/protocol.js` mirrors
//! this file.

pub mod close;
pub mod codec;
pub mod fields;
pub mod sse;

use std::{borrow::Cow, sync::LazyLock, time::Duration};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Number, value::RawValue};

use fields::{Fields, Wrong};

use crate::{
    error::{Code, Error},
    i18n::{self, Language},
    message::Message,
    names::{MessageId, RoomId, Status},
    problem::Problem,
    removal::Reason,
};

/// A message that a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Msg {
    /// The room; optional for a connection that is in just one.
    pub room_id: Option<String>,
    /// The text.
    pub text: String,
    /// Makes a retry safe.
    pub key: Option<String>,
}

/// A frame from a client. Room ids and tokens are not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// Join a room.
    Join {
        /// the room
        room_id: String,
        /// a nickname, or the secret of a session
        token: String,
        /// the last message seen
        since: Option<MessageId>,
        /// the random part of a new guest's token
        secret: Option<String>,
    },
    /// Send a message.
    Msg(Msg),
    /// Heartbeat, with changes of the user's state.
    Ping {
        /// the room that `read` is about
        room_id: Option<String>,
        /// the user's status
        status: Option<Status>,
        /// the last message read
        read: Option<MessageId>,
    },
    /// Leave a room.
    Leave {
        /// the room; optional for a connection that is in just one
        room_id: Option<String>,
    },
}

/// Why a frame could not be parsed.
#[derive(Debug)]
pub struct BadFrame {
    /// The wrong field, or `frame` for the whole frame.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
    /// Whether not even its `t` is valid.
    pub unreadable: bool,
    /// The frame's `roomId`, not checked.
    pub room_id: Option<String>,
    /// The frame's `key`, not checked.
    pub key: Option<String>,
}

impl ClientFrame {
    /// Parses a text frame.
    ///
    /// # Errors
    /// What is wrong, with the fields that the answer repeats.
    pub fn parse(text: &str) -> Result<Self, BadFrame> {
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(text) else {
            return Err(BadFrame::unreadable(Problem::NotJson));
        };
        Self::from_fields(&fields).map_err(|(field, problem)| BadFrame {
            field,
            problem,
            unreadable: problem == Problem::UnknownVerb,
            room_id: fields.text("roomId").ok().map(Cow::into_owned),
            key: fields.text("key").ok().map(Cow::into_owned),
        })
    }

    fn from_fields(fields: &Fields<'_>) -> Result<Self, Wrong> {
        let text = |name| fields.text(name).map(Cow::into_owned);
        let maybe = |name| fields.maybe(name).map(|text| text.map(Cow::into_owned));
        let unknown = |_| ("t", Problem::UnknownVerb);
        match &*fields.text("t").map_err(unknown)? {
            "join" => Ok(Self::Join {
                room_id: text("roomId")?,
                token: text("token")?,
                since: fields.id("since")?,
                secret: maybe("secret")?,
            }),
            "msg" => {
                let (room_id, text) = (maybe("roomId")?, text("text")?);
                Ok(Self::Msg(Msg { room_id, text, key: maybe("key")? }))
            }
            "ping" => Ok(Self::Ping {
                room_id: maybe("roomId")?,
                status: fields.status()?,
                read: fields.id("read")?,
            }),
            "leave" => Ok(Self::Leave { room_id: maybe("roomId")? }),
            _ => Err(("t", Problem::UnknownVerb)),
        }
    }
}

impl BadFrame {
    /// A frame that is not valid at all.
    pub fn unreadable(problem: Problem) -> Self {
        Self { field: "frame", problem, unreadable: true, room_id: None, key: None }
    }
}

/// A frame that the node makes itself. The scripts publish the events of a room, and nodes pass
/// these on unchanged.
#[derive(Serialize)]
#[serde(tag = "t", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ServerFrame<'a> {
    /// The answer to a join.
    Joined {
        /// the room
        room_id: &'a RoomId,
        /// the user's name
        me: &'a str,
        /// the user's token, only for this user; null if the user has a JWT
        token: Option<&'a str>,
        /// the members, as a JSON array
        members: &'a RawValue,
        /// the members who are away, as a JSON array
        away: &'a RawValue,
        /// the number of members
        member_count: u64,
        /// the creator's name
        creator: &'a str,
        /// whether another user has that name; left out if not
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        creator_name_taken: bool,
        /// whether the room refuses new guests
        locked: bool,
        /// the room's topic
        topic: Option<&'a str>,
        /// messages, oldest first, as a JSON array
        messages: &'a RawValue,
        /// whether messages were left out
        more: bool,
        /// the interval of the client's pings in seconds
        heartbeat: Number,
        /// whether the room is end-to-end encrypted; left out if not
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        e2e: bool,
    },
    /// A message.
    Msg(&'a Message),
    /// A message was deleted.
    Deleted {
        /// the room
        room_id: &'a RoomId,
        /// the message
        id: MessageId,
    },
    /// The connection is out of the room, and must not come back by itself.
    Removed {
        /// the room
        room_id: &'a RoomId,
        /// why
        reason: Reason,
    },
    /// The answer to a ping.
    Pong,
    /// Why a frame was refused.
    Error {
        /// the code
        code: &'static str,
        /// a sentence in the reader's language
        message: String,
        /// as in the frame that it answers
        #[serde(skip_serializing_if = "Option::is_none")]
        room_id: Option<&'a str>,
        /// as in the frame that it answers
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        /// in how many seconds a retry may succeed, if that is known
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<Number>,
    },
}

impl<'a> ServerFrame<'a> {
    /// An error, in the reader's language: the sentence of the first problem, or of the code.
    pub fn error(
        error: &Error,
        language: Language,
        room_id: Option<&'a str>,
        key: Option<&'a str>,
    ) -> Self {
        let problem = error.problems.iter().next();
        let message = match problem {
            Some((field, problem)) => format!("{field}: {}", i18n::problem(*problem, language)),
            None => i18n::message(error.code, language).to_owned(),
        };
        // A user's own limits are known to it.
        let is_ours = error.code == Code::ServiceUnavailable;
        let retry_after =
            error.retry_after.filter(|_| is_ours).map(whole_millis).map(Self::seconds);
        ServerFrame::Error { code: error.code.as_str(), message, room_id, key, retry_after }
    }

    /// A duration in seconds, an integer if possible.
    pub fn seconds(duration: Duration) -> Number {
        match duration.subsec_nanos() {
            0 => duration.as_secs().into(),
            _ => Number::from_f64(duration.as_secs_f64()).unwrap_or_else(|| 0.into()),
        }
    }

    /// The encoded answer to a ping; it is encoded only once.
    pub fn pong() -> Bytes {
        static PONG: LazyLock<Bytes> = LazyLock::new(|| ServerFrame::Pong.encode());
        PONG.clone()
    }

    /// The encoded frame, ready to be written.
    pub fn encode(&self) -> Bytes {
        codec::text(&self.json())
    }

    /// The frame's JSON.
    pub fn json(&self) -> String {
        // Serialising plain structs into memory cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// At least this long, without a fraction of a millisecond.
fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_micros().div_ceil(1000).try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_verbs() {
        let join = ClientFrame::parse(r#"{"t":"join","roomId":"r","token":"a","since":"1-2"}"#);
        let since = Some(MessageId { ms: 1, seq: 2 });
        let (room_id, token) = ("r".into(), "a".into());
        let expected = ClientFrame::Join { room_id, token, since, secret: None };
        assert_eq!(join.unwrap(), expected);
        let msg = ClientFrame::parse(r#"{"t":"msg","text":"hi","key":null}"#).unwrap();
        let expected = Msg { room_id: None, text: "hi".into(), key: None };
        assert_eq!(msg, ClientFrame::Msg(expected));
        let ping = ClientFrame::parse(r#"{"t":"ping","status":"away"}"#).unwrap();
        let status = Some(Status::Away);
        assert_eq!(ping, ClientFrame::Ping { room_id: None, status, read: None });
        let leave = ClientFrame::parse(r#"{"t":"leave","roomId":"r"}"#).unwrap();
        assert_eq!(leave, ClientFrame::Leave { room_id: Some("r".into()) });
    }

    #[test]
    fn an_error_says_when_to_come_again_where_that_is_known() {
        let shown = |error| ServerFrame::error(&error, Language::En, None, None).json();
        let wait = Duration::from_micros(1_250_001);
        assert!(shown(Error::come_again(wait, "")).ends_with(r#","retryAfter":1.251}"#));
        assert!(!shown(Error::unavailable("")).contains("retryAfter"));
    }

    #[test]
    fn bad_frames_say_what_is_wrong() {
        let cases = [
            ("x", "frame", Problem::NotJson, true),
            ("[]", "frame", Problem::NotJson, true),
            ("{}", "t", Problem::UnknownVerb, true),
            (r#"{"t":7}"#, "t", Problem::UnknownVerb, true),
            (r#"{"t":"shout"}"#, "t", Problem::UnknownVerb, true),
            (r#"{"t":"join","roomId":"r"}"#, "token", Problem::Required, false),
            (r#"{"t":"msg","text":7}"#, "text", Problem::WrongType, false),
            (r#"{"t":"ping","status":"busy"}"#, "status", Problem::UnknownStatus, false),
            (r#"{"t":"ping","read":"x"}"#, "read", Problem::NotAMessageId, false),
        ];
        for (text, field, problem, unreadable) in cases {
            let bad = ClientFrame::parse(text).unwrap_err();
            assert_eq!((bad.field, bad.problem, bad.unreadable), (field, problem, unreadable));
        }
        let bad = ClientFrame::parse(r#"{"t":"msg","roomId":"r","key":"k"}"#).unwrap_err();
        assert_eq!((bad.room_id.as_deref(), bad.key.as_deref()), (Some("r"), Some("k")));
    }
}
