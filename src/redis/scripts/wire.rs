//! How arguments and answers of scripts are written: as words and decimals, which stay readable in
//! `redis-cli MONITOR`; all arguments of a call, and lists of messages, together in MessagePack.

use std::{borrow::Cow, fmt, time::Duration};

use fred::prelude::Value;
use serde::{Deserialize, Deserializer, de::Visitor};

use super::types::Beat;
use crate::{
    error::{Code, Error},
    message::{Message, timestamp},
    names::{MessageId, RoomId, UserId},
};

/// An argument of a script.
pub(super) type Arg<'a> = Cow<'a, str>;

/// All arguments as one: Redis's client writes one long string sooner than many short ones. The
/// second line of every script takes them apart.
pub(super) fn pack(args: &[Arg<'_>]) -> Value {
    let packed = rmp_serde::to_vec(args).expect("strings can be written");
    Value::Bytes(packed.into())
}

pub(super) fn push_connections<'a>(args: &mut Vec<Arg<'a>>, beat: &'a Beat) {
    args.push(number(beat.connections.len()));
    for heard in &beat.connections {
        args.push((&*heard.connection).into());
        args.push(ms(heard.age));
        args.push(heard.status.as_str().into());
    }
}

pub(super) fn ms(duration: Duration) -> Arg<'static> {
    duration.as_millis().to_string().into()
}

pub(super) fn number(number: usize) -> Arg<'static> {
    number.to_string().into()
}

pub(super) fn flag(flag: bool) -> Arg<'static> {
    if flag { "1" } else { "0" }.into()
}

pub(super) fn optional(id: Option<MessageId>) -> Arg<'static> {
    id.map(|id| id.to_string()).unwrap_or_default().into()
}

/// The parts of a msg frame before, between and behind its id and its time, which the script adds.
pub(super) fn message_frame(
    room: &RoomId,
    user: &UserId,
    text: &str,
    key: Option<&str>,
) -> [String; 3] {
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let (from, text) = (json(user.as_str()), json(text));
    [
        format!(r#"{{"t":"msg","roomId":"{room}","id":""#),
        format!(r#"","from":{from},"text":{text},"timestamp":""#),
        key.map_or(r#""}"#.to_owned(), |key| format!(r#"","key":{}}}"#, json(key))),
    ]
}

/// The minute that holds this moment: when it begins (ms), and how timestamps in it do.
pub(super) fn minute(at_ms: u64) -> (u64, String) {
    let begin = at_ms - at_ms % 60_000;
    let mut begins = timestamp(begin);
    begins.truncate("1970-01-01T00:00:".len());
    (begin, begins)
}

/// A script's answer: a status word and what follows it.
pub(super) struct Reply {
    pub status: String,
    rest: std::vec::IntoIter<Value>,
}

impl Reply {
    pub fn new(values: Vec<Value>) -> Result<Self, Error> {
        let mut rest = values.into_iter();
        let status = rest.next().and_then(Value::into_string).ok_or_else(odd)?;
        Ok(Self { status, rest })
    }

    /// Turns a status word that is an error code into that error.
    pub fn ok(self) -> Result<Self, Error> {
        if self.status == "OK" {
            return Ok(self);
        }
        Err(Code::from_wire(&self.status).map_or_else(odd, Error::new))
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.len() == 0
    }

    pub fn text(&mut self) -> Result<String, Error> {
        self.rest.next().and_then(Value::into_string).ok_or_else(odd)
    }

    pub fn number(&mut self) -> Result<u64, Error> {
        self.text()?.parse().map_err(|_| odd())
    }

    pub fn flag(&mut self) -> Result<bool, Error> {
        Ok(self.text()? == "1")
    }

    pub fn id(&mut self) -> Result<MessageId, Error> {
        self.text()?.parse().map_err(|_| odd())
    }

    pub fn users(self) -> Result<Vec<UserId>, Error> {
        let user = |value: Value| value.as_str().map(|name| UserId::stored(&name)).ok_or_else(odd);
        self.rest.map(user).collect()
    }

    /// Stream entries in MessagePack: Redis writes one string sooner than a list for each entry, and
    /// its client reads it much sooner.
    pub fn messages(&mut self, room: &RoomId) -> Result<Vec<Message>, Error> {
        let packed = self.rest.next().ok_or_else(odd)?;
        let packed = packed.as_bytes().ok_or_else(odd)?;
        let entries: Vec<Entry<'_>> = rmp_serde::from_slice(packed).map_err(|_| odd())?;
        entries.into_iter().map(|entry| message(room, entry).ok_or_else(odd)).collect()
    }
}

/// The id of a stream's entry, and its fields, each name followed by its value.
type Entry<'a> = (Text<'a>, Vec<Text<'a>>);

/// What somebody stored as text; where it is none, it is read as well as it can be.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(text.into()))
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Text<'de>, E> {
                Ok(Text(String::from_utf8_lossy(bytes)))
            }
        }
        from.deserialize_str(Reader)
    }
}

/// Decodes one stream entry. Entries that somebody added by hand may lack a field: what is missing
/// is empty.
fn message(room: &RoomId, (id, fields): Entry<'_>) -> Option<Message> {
    let id = id.0.parse().ok()?;
    let (mut from, mut text, mut key) = (String::new(), String::new(), None);
    let mut fields = fields.into_iter().map(|text| text.0);
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match &*name {
            "from" => from = value.into_owned(),
            "text" => text = value.into_owned(),
            "key" => key = Some(value.into_owned()),
            _ => {}
        }
    }
    Some(Message::new(room, id, from, text, key))
}

fn odd() -> Error {
    Error::internal("a script's answer has another shape than its head says")
}
