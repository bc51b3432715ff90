//! The encoding of arguments and answers of scripts: words and decimals, which are readable in
//! `redis-cli MONITOR`; all arguments of a call, and lists of messages, are packed together in
//! MessagePack.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use fred::prelude::Value;
use serde::{Deserialize, Deserializer, Serialize, de::Visitor};
use serde_json::value::RawValue;

use super::{
    Scripts,
    types::{
        Confirmation, Draft, History, Join, Joined, Leave, MessageList, Published, Restored,
        RoomChange, RoomFacts, RoomOptions, Sender, Snapshot, UserHeartbeat,
    },
};
use crate::{
    error::{Code, Error},
    limits,
    message::{Message, timestamp},
    names::{MessageId, RoomId, UserId},
    removal::{Reason, Removal},
};

/// An argument of a script.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Arg<'a> {
    Text(Cow<'a, str>),
    /// A list of any length, as one argument.
    List(Vec<Cow<'a, str>>),
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Arg<'a> {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// Arguments of a user before the number of its connections.
const BEFORE_CONNECTIONS: usize = 3;

/// The arguments about a user: join time, last message read, whether it proved that it got its
/// token and Redis was told, the number of its connections, and for each of these its id, its remaining presence (ms),
/// and its status.
pub(super) fn heartbeat_args(
    beat: &UserHeartbeat,
    presence_ttl: Duration,
) -> impl Iterator<Item = Cow<'_, str>> {
    let user = [
        beat.joined_at_ms.to_string().into(),
        optional(beat.read).into(),
        match beat.confirmed {
            Confirmation::Missing => "0",
            Confirmation::New => "1",
            Confirmation::Reported => "2",
        }
        .into(),
        beat.connections.len().to_string().into(),
    ];
    user.into_iter().chain(beat.connections.iter().flat_map(move |heard| {
        let left = presence_ttl.saturating_sub(heard.age).as_millis().to_string();
        [(&*heard.connection).into(), left.into(), heard.status.as_str().into()]
    }))
}

/// What a script is told of a connection that joins: its user, how it proves who it is, its id, what it shows, the
/// last message that it has seen, what its fence is tagged with, and its address.
pub(super) fn join_args(join: &Join) -> [Arg<'_>; 8] {
    let Join { user, token, guest, entry } = join;
    [
        user.as_str().into(),
        if *guest { "guest" } else { "token" }.into(),
        token.hash().into(),
        (&*entry.connection).into(),
        entry.status.as_str().into(),
        optional(entry.since).into(),
        entry.tag.as_str().into(),
        Scripts::address(entry.address),
    ]
}

/// The arguments about a connection that leaves: its user, its id, the grace (ms), and whether it
/// proved that it got its token.
pub(super) fn leave_args(leave: &Leave) -> [Cow<'_, str>; 4] {
    let grace = leave.grace.as_millis().to_string();
    let confirmed = if leave.confirmed { "1" } else { "0" };
    [leave.user.as_str().into(), (&*leave.connection).into(), grace.into(), confirmed.into()]
}

/// The arguments about a user whose session is to be restored: token hash, name, and those of a
/// heartbeat, with the addresses of its connections before their number.
pub(super) fn restored_args(
    user: &Restored,
    presence_ttl: Duration,
) -> impl Iterator<Item = Cow<'_, str>> {
    let addresses = user.addresses.iter().map(|address| limits::holder(*address).to_string());
    let addresses = addresses.collect::<Vec<_>>().join(" ");
    let mut beat: Vec<_> = heartbeat_args(&user.beat, presence_ttl).collect();
    beat.insert(BEFORE_CONNECTIONS, addresses.into());
    [user.token.hash().into(), user.beat.user.as_str().into()].into_iter().chain(beat)
}

/// The facts of a room, in the order of `lua/lib/room_facts.lua`; empty for missing ones.
pub(super) fn facts_args(facts: &RoomFacts) -> Arg<'_> {
    let known = [
        facts.creator.as_str().into(),
        facts.created_at_ms.to_string().into(),
        facts.secret.as_str().into(),
        facts.creator_token.as_str().into(),
    ];
    let chosen = options(&facts.options).into_iter().map(|(_, value)| value);
    let taken = mark(facts.creator_name_taken);
    Arg::List(known.into_iter().chain(chosen).chain([taken]).collect())
}

/// The fields of a new room's hash, each followed by its value.
pub(super) fn new_room_args<'a>(secret: &'a str, chosen: &'a RoomOptions) -> Arg<'a> {
    let fields = options(chosen).into_iter().filter(|(_, value)| !value.is_empty());
    let fields = std::iter::once(("secret", secret.into())).chain(fields);
    Arg::List(fields.flat_map(|(field, value)| [field.into(), value]).collect())
}

/// The changed fields, each followed by its new value, which is empty to remove it.
pub(super) fn change_args(change: &RoomChange) -> Arg<'_> {
    let topic = change.topic.as_ref().map(|topic| topic.as_deref().unwrap_or_default().into());
    let fields = [
        ("topic", topic),
        ("locked", change.locked.map(mark)),
        ("ttl", change.ttl.map(|ttl| ttl.to_string().into())),
        ("maxMembers", change.max_members.map(|max| max.to_string().into())),
    ];
    let changed = fields.into_iter().filter_map(|(field, value)| Some([field.into(), value?]));
    Arg::List(changed.flatten().collect())
}

fn options(chosen: &RoomOptions) -> [(&'static str, Cow<'_, str>); 5] {
    let number = |number: Option<String>| number.unwrap_or_default().into();
    [
        ("e2e", mark(chosen.e2e)),
        ("topic", chosen.topic.as_deref().unwrap_or_default().into()),
        ("locked", mark(chosen.locked)),
        ("ttl", number(chosen.ttl.map(|ttl| ttl.to_string()))),
        ("maxMembers", number(chosen.max_members.map(|max| max.to_string()))),
    ]
}

/// An optional flag.
fn mark(is_there: bool) -> Cow<'static, str> {
    if is_there { "1" } else { "" }.into()
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

pub(super) fn optional(id: Option<MessageId>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

/// The beginning of a room's `msg` frames, up to the id.
pub(super) fn frame_head(room: &RoomId) -> String {
    [r#"{"t":"msg","roomId":""#, room.as_str(), r#"","id":""#].concat()
}

/// The arguments about a message: its sender, the proof of that, whether the sender has its token,
/// the text, the key, and two parts of its frame: between its id and its time, which the script
/// adds, and after the time.
pub(super) fn draft_args(draft: &Draft) -> [Arg<'_>; 8] {
    let json = |text: &str| serde_json::to_string(text).expect("a string can be written");
    let (from, text) = (json(draft.user.as_str()), json(&draft.text));
    let key = draft.key.as_deref();
    let (field, hash, confirmed) = match &draft.sender {
        Sender::Connection { id, confirmed } => (["conn:", id].concat(), String::new(), *confirmed),
        Sender::Session(token) => ("token".to_owned(), token.hash(), true),
    };
    [
        draft.user.as_str().into(),
        field.into(),
        hash.into(),
        flag(confirmed),
        draft.text.as_str().into(),
        key.unwrap_or_default().into(),
        [r#"","from":"#, &from, r#","text":"#, &text, r#","timestamp":""#].concat().into(),
        key.map_or(r#""}"#.to_owned(), |key| [r#"","key":"#, &json(key), "}"].concat()).into(),
    ]
}

/// The second of this moment, since 1970, and the beginning of its timestamps.
pub(super) fn second(at_ms: u64) -> [String; 2] {
    let mut begins = timestamp(at_ms);
    begins.truncate("1970-01-01T00:00:00.".len());
    [(at_ms / 1000).to_string(), begins]
}

/// What those who join together are told of their room.
pub(super) struct JoinedRoom {
    members: Arc<RawValue>,
    away: Arc<RawValue>,
    member_count: u64,
    tip: MessageId,
    events: u64,
    again: Option<Duration>,
    facts: Arc<RoomFacts>,
    lists: Vec<Arc<MessageList>>,
}

/// A script's answer: a status word and its values.
pub(super) struct ScriptReply {
    pub status: String,
    rest: std::vec::IntoIter<Value>,
}

impl ScriptReply {
    pub fn new(values: Vec<Value>) -> Result<Self, Error> {
        let mut rest = values.into_iter();
        let status = rest.next().and_then(Value::into_string).ok_or_else(malformed_reply)?;
        Ok(Self { status, rest })
    }

    /// The outcome of the next of several messages.
    pub fn published(&mut self) -> Result<Published, Error> {
        match self.text()?.as_str() {
            "OK" => Ok(Published::Stored(self.id()?)),
            "REPEAT" => {
                // Both must be consumed before the next message's outcome.
                let (id, text) = (self.id(), self.text());
                Ok(Published::Repeat { id: id?, text: text? })
            }
            "DELETED" => Ok(Published::Deleted(self.id()?)),
            "RATE_LIMITED" => Err(Error::rate_limited(Duration::from_millis(self.number()?))),
            "FAILED" => Err(Error::internal(self.text()?)),
            code => Err(Code::from_wire(code).map_or_else(malformed_reply, Error::new)),
        }
    }

    /// What those who join together are told of their room.
    pub fn joined_room(&mut self, room: &RoomId) -> Result<JoinedRoom, Error> {
        Ok(JoinedRoom {
            members: self.json()?,
            away: self.json()?,
            member_count: self.number()?,
            tip: self.id()?,
            events: self.number()?,
            again: self.again()?,
            facts: Arc::new(self.facts()?),
            lists: (0..self.number()?)
                .map(|_| Ok(MessageList::new(self.messages(room)?)))
                .collect::<Result<_, Error>>()?,
        })
    }

    /// What became of the next of several joins.
    pub fn joined(&mut self, room: &JoinedRoom) -> Result<Joined, Error> {
        Ok(match self.text()?.as_str() {
            "OK" => {
                let joined_at_ms = self.number()?;
                let (list, skipped) = (self.number()? as usize, self.number()? as usize);
                let list = room.lists.get(list.wrapping_sub(1)).ok_or_else(malformed_reply)?;
                Joined::In(Snapshot {
                    members: room.members.clone(),
                    away: room.away.clone(),
                    facts: room.facts.clone(),
                    member_count: room.member_count,
                    joined_at_ms,
                    tip: room.tip,
                    events: room.events,
                    again: room.again,
                    more: self.flag()?,
                    messages: History::after(list, skipped),
                    deleted: self.ids()?,
                })
            }
            "LATER" => Joined::Later,
            "FAILED" => Joined::Refused(Error::internal(self.text()?)),
            code => Joined::Refused(Code::from_wire(code).map_or_else(malformed_reply, Error::new)),
        })
    }

    fn json(&mut self) -> Result<Arc<RawValue>, Error> {
        let json = RawValue::from_string(self.text()?).map_err(|_| malformed_reply())?;
        Ok(json.into())
    }

    /// Turns a status word that is an error code into that error.
    pub fn ok(self) -> Result<Self, Error> {
        if self.status == "OK" {
            return Ok(self);
        }
        Err(Code::from_wire(&self.status).map_or_else(malformed_reply, Error::new))
    }

    /// The facts of a room, in the order of `lua/lib/room_facts.lua`.
    pub fn facts(&mut self) -> Result<RoomFacts, Error> {
        Ok(RoomFacts {
            creator: self.text()?,
            // A foreign value counts as unknown.
            created_at_ms: self.text()?.parse().unwrap_or_default(),
            secret: self.text()?,
            creator_token: self.text()?,
            options: RoomOptions {
                e2e: self.flag()?,
                topic: self.maybe()?,
                locked: self.flag()?,
                // A foreign value counts as not set.
                ttl: self.text()?.parse().ok().filter(|ttl| *ttl > 0),
                max_members: self.text()?.parse().ok(),
            },
            creator_name_taken: self.flag()?,
        })
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.len() == 0
    }

    /// Invalid UTF-8 is replaced: somebody else may have written it.
    pub fn text(&mut self) -> Result<String, Error> {
        match self.rest.next() {
            Some(Value::Bytes(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            other => other.and_then(Value::into_string).ok_or_else(malformed_reply),
        }
    }

    /// An optional text; an empty one is `None`.
    pub fn maybe(&mut self) -> Result<Option<String>, Error> {
        Ok(Some(self.text()?).filter(|text| !text.is_empty()))
    }

    pub fn number(&mut self) -> Result<u64, Error> {
        self.text()?.parse().map_err(|_| malformed_reply())
    }

    /// When the room needs a sweep, if it does.
    pub fn again(&mut self) -> Result<Option<Duration>, Error> {
        let ms = self.maybe()?.map(|ms| ms.parse().map_err(|_| malformed_reply())).transpose()?;
        Ok(ms.map(Duration::from_millis))
    }

    pub fn flag(&mut self) -> Result<bool, Error> {
        Ok(self.text()? == "1")
    }

    pub fn id(&mut self) -> Result<MessageId, Error> {
        self.text()?.parse().map_err(|_| malformed_reply())
    }

    /// Why a user was not restored: the reason if its session was ended, `None` if somebody else
    /// has the name.
    pub fn reason(&mut self) -> Result<Option<Reason>, Error> {
        match self.text()?.as_str() {
            "removed" => Ok(Some(Reason::Removed)),
            "left" => Ok(Some(Reason::Left)),
            "taken" => Ok(None),
            _ => Err(malformed_reply()),
        }
    }

    pub fn user(&mut self) -> Result<UserId, Error> {
        Ok(UserId::stored(&self.text()?))
    }

    pub fn users(mut self) -> Result<Vec<UserId>, Error> {
        (0..self.rest.len()).map(|_| self.user()).collect()
    }

    /// A list of frames about sessions that were ended.
    pub fn removals(&mut self) -> Result<Vec<Removal>, Error> {
        let Some(Value::Array(frames)) = self.rest.next() else { return Err(malformed_reply()) };
        let parse = |frame: Value| Removal::parse(&frame.as_str()?);
        frames.into_iter().map(|frame| parse(frame).ok_or_else(malformed_reply)).collect()
    }

    /// Ids of messages, in MessagePack.
    pub fn ids(&mut self) -> Result<Vec<MessageId>, Error> {
        let packed = self.rest.next().ok_or_else(malformed_reply)?;
        let packed = packed.as_bytes().ok_or_else(malformed_reply)?;
        let ids: Vec<Text<'_>> = rmp_serde::from_slice(packed).map_err(|_| malformed_reply())?;
        ids.into_iter().map(|id| id.0.parse().map_err(|_| malformed_reply())).collect()
    }

    /// Stream entries in MessagePack: Redis writes one string faster than a list for each entry,
    /// and its client reads it much faster.
    pub fn messages(&mut self, room: &RoomId) -> Result<Vec<Message>, Error> {
        let packed = self.rest.next().ok_or_else(malformed_reply)?;
        let packed = packed.as_bytes().ok_or_else(malformed_reply)?;
        let entries: Vec<Entry<'_>> =
            rmp_serde::from_slice(packed).map_err(|_| malformed_reply())?;
        entries.into_iter().map(|entry| message(room, entry).ok_or_else(malformed_reply)).collect()
    }
}

/// The id of a stream's entry, and its fields, each name followed by its value.
type Entry<'a> = (Text<'a>, Vec<Text<'a>>);

/// A stored text; invalid UTF-8 is replaced.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ReplyVisitor;
        impl<'de> Visitor<'de> for ReplyVisitor {
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
        from.deserialize_str(ReplyVisitor)
    }
}

/// Decodes one stream entry. Entries that somebody added by hand may lack fields, which are then
/// empty.
fn message(room: &RoomId, (id, fields): Entry<'_>) -> Option<Message> {
    let id = id.0.parse().ok()?;
    let (mut from, mut text, mut key) = (String::new(), Some(String::new()), None);
    let mut fields = fields.into_iter().map(|text| text.0);
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match &*name {
            "from" => from = value.into_owned(),
            "text" => text = Some(value.into_owned()),
            "key" => key = Some(value.into_owned()),
            "deleted" => text = None,
            _ => {}
        }
    }
    Some(Message::new(room, id, from, text, key))
}

pub(super) fn malformed_reply() -> Error {
    Error::internal("a script's answer has another shape than its head says")
}
