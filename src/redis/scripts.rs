//! One typed function for each Lua script, and the only place that knows their arguments, replies
//! and status words. What a script does and promises stands at the head of its file.

use std::{sync::Arc, time::Duration};

use fred::{
    prelude::{FredResult, Value},
    types::scripts::Script,
};

use super::{Redis, keys::KeyStyle, keys::RoomKeys};
use crate::{
    error::{Code, Error},
    message::Message,
    names::{MessageId, RoomId, Status, Token, UserId},
    settings::{Durability, Settings},
};

/// Joins an entry script to the fragments that it calls, in the order in which they need each
/// other. The first line makes Redis check before it starts that it may write at all, so that no
/// script stops half way for want of memory.
macro_rules! script {
    ($name:literal $(, $fragment:literal)*) => {
        Named {
            name: $name,
            script: Script::from_lua(concat!(
                "#!lua\n",
                $(include_str!(concat!("../../lua/lib/", $fragment, ".lua")),)*
                include_str!(concat!("../../lua/", $name, ".lua")),
            )),
        }
    };
}

/// A script with the name of its file, under which it is measured.
struct Named {
    name: &'static str,
    script: Script,
}

/// Every way to change or read a room.
#[derive(Clone)]
pub struct Scripts(Arc<Inner>);

struct Inner {
    redis: Redis,
    settings: Arc<Settings>,
    create_room: Named,
    add_session: Named,
    join: Named,
    publish: Named,
    heartbeat: Named,
    leave: Named,
    sweep_room: Named,
    read_room: Named,
    read_messages: Named,
    catch_up: Named,
    tell_members: Named,
    restore: Named,
}

/// Who wants to join, and how it proves who it is.
pub struct Join<'a> {
    /// The user to be.
    pub user: &'a UserId,
    /// Its token: a new one for a guest, else the one that was presented.
    pub token: &'a Token,
    /// Whether the name must be free.
    pub guest: bool,
    /// The connection that joins.
    pub connection: &'a str,
    /// What the connection shows.
    pub status: Status,
    /// The last message that it has seen.
    pub since: Option<MessageId>,
}

/// A room as it was at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The members' names as a JSON array, ready to send.
    pub members: String,
    /// Those of them that are away, likewise.
    pub away: String,
    /// What is needed to restore the room.
    pub facts: RoomFacts,
    /// When the user first joined, milliseconds on Redis's clock.
    pub joined_at_ms: u64,
    /// The last message that the snapshot accounts for.
    pub tip: MessageId,
    /// How many events the room had seen.
    pub events: u64,
    /// Whether there are messages that the snapshot leaves out.
    pub more: bool,
    /// Messages, oldest first.
    pub messages: Vec<Message>,
}

/// What Redis keeps of a room itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomFacts {
    /// Who made it.
    pub creator: String,
    /// When, milliseconds on Redis's clock.
    pub created_at_ms: u64,
    /// Whether its texts are sealed end to end.
    pub e2e: bool,
    /// What the ids of its messages are made with.
    pub secret: String,
}

/// Who sends a message.
pub enum Sender<'a> {
    /// A connection that is in the room.
    Connection(&'a str),
    /// Whoever holds the token of a live session.
    Session(&'a Token),
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It was stored under this id, and the room was told.
    Stored(MessageId),
    /// A retry: the message was stored before.
    Repeat {
        /// its id
        id: MessageId,
        /// its text
        text: String,
    },
}

/// What a node says of one user's connections in one room.
#[derive(Clone, Debug)]
pub struct Beat {
    /// The user.
    pub user: UserId,
    /// The last message that it has read, if that is news.
    pub read: Option<MessageId>,
    /// Its connections.
    pub connections: Vec<Heard>,
}

/// One connection's sign of life.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The connection.
    pub connection: Arc<str>,
    /// How long ago it was last heard.
    pub age: Duration,
    /// What it shows.
    pub status: Status,
}

/// A user whose session is to be restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Its connections.
    pub beat: Beat,
    /// Its token.
    pub token: Token,
    /// When it first joined, milliseconds on Redis's clock.
    pub joined_at_ms: u64,
}

/// What leaving came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Other connections of the user are left, or the connection was not in the room.
    Stays,
    /// It was the last one: the grace runs.
    Grace,
    /// It was the last one: the user has left.
    Left,
}

/// A member as the room shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub user: String,
    /// Whether it is looking.
    pub status: Status,
    /// When it first joined, milliseconds on Redis's clock.
    pub joined_at_ms: u64,
    /// The last message that it has read.
    pub read: Option<MessageId>,
}

/// A room and who is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomState {
    /// When it was made, milliseconds on Redis's clock.
    pub created_at_ms: u64,
    /// Whether its texts are sealed end to end.
    pub e2e: bool,
    /// Its members, by name.
    pub members: Vec<Member>,
}

/// Which messages a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Those before this one; `None` for the newest.
    Before(Option<MessageId>),
    /// Those after this one.
    After(MessageId),
}

/// One page of messages, oldest first.
#[derive(Clone, Debug)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are more that way.
    pub has_more: bool,
}

/// What a node missed of a room.
#[derive(Clone, Debug)]
pub struct Missed {
    /// Messages, oldest first.
    pub messages: Vec<Message>,
    /// Whether there were others before these that are no longer kept.
    pub trimmed: bool,
}

impl Scripts {
    /// The scripts, to be run through `redis`.
    pub fn new(redis: Redis, settings: Arc<Settings>) -> Self {
        Self(Arc::new(Inner {
            redis,
            settings,
            create_room: script!("create_room", "clock"),
            add_session: script!("add_session", "clock"),
            join: script!(
                "join",
                "clock",
                "json_list",
                "digest",
                "follows",
                "newer",
                "newest",
                "tip",
                "history",
                "announce",
                "fence",
                "depart",
                "sweep",
                "settle",
                "keep",
                "roster"
            ),
            publish: script!("publish", "clock", "timestamp", "digest", "next_id", "tip"),
            heartbeat: script!(
                "heartbeat",
                "clock",
                "json_list",
                "newer",
                "tip",
                "announce",
                "fence",
                "depart",
                "sweep",
                "settle",
                "keep",
                "roster",
                "tell_all"
            ),
            leave: script!("leave", "clock", "announce", "depart", "sweep", "settle"),
            sweep_room: script!("sweep_room", "clock", "announce", "depart", "sweep"),
            read_room: script!("read_room", "clock", "announce", "depart", "sweep"),
            read_messages: script!("read_messages"),
            catch_up: script!("catch_up", "digest", "follows", "newer", "newest"),
            tell_members: script!("tell_members", "json_list", "roster"),
            restore: script!(
                "restore",
                "clock",
                "json_list",
                "tip",
                "announce",
                "fence",
                "settle",
                "keep",
                "roster",
                "tell_all"
            ),
        }))
    }

    /// How key names are written on this deployment.
    pub fn key_style(&self) -> KeyStyle {
        self.0.redis.key_style()
    }

    fn keys(&self, room: &RoomId) -> RoomKeys {
        self.key_style().room(room)
    }

    /// Makes a room. `false` where the id is in use.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn create_room(
        &self,
        room: &RoomId,
        creator: &UserId,
        token: &Token,
        e2e: bool,
    ) -> Result<bool, Error> {
        let keys = self.keys(room);
        let settings = &self.0.settings;
        let reply = self
            .run(
                &self.0.create_room,
                vec![
                    keys.room(),
                    keys.members(),
                    keys.deadlines(),
                    keys.session(creator),
                    keys.presence(creator),
                ],
                vec![
                    creator.as_str().into(),
                    token.hash().into(),
                    ms(settings.presence_ttl),
                    ms(settings.session_ttl.max(settings.presence_ttl)),
                    ms(settings.room_ttl),
                    flag(e2e),
                    nanoid::nanoid!().into(),
                ],
            )
            .await?;
        Ok(reply.status == "OK")
    }

    /// Gives a guest without a socket a name in the room.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `NAME_TAKEN`, or Redis is out of reach.
    pub async fn add_session(
        &self,
        room: &RoomId,
        user: &UserId,
        token: &Token,
    ) -> Result<(), Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.session(user)];
        let args = vec![token.hash().into(), ms(self.0.settings.session_ttl)];
        self.run(&self.0.add_session, names, args).await?.ok()?;
        Ok(())
    }

    /// Lets a connection into a room. A fence with the connection's id reaches this node on its
    /// subscription, in order with the room's events.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `NAME_TAKEN`, `INVALID_TOKEN`, `ROOM_FULL`, or Redis is out of reach.
    pub async fn join(&self, room: &RoomId, join: Join<'_>) -> Result<Snapshot, Error> {
        let keys = self.keys(room);
        let settings = &self.0.settings;
        let names = vec![
            keys.room(),
            keys.members(),
            keys.deadlines(),
            keys.messages(),
            keys.session(join.user),
        ];
        let mut args = self.stem(room, &keys);
        args.extend([
            join.user.as_str().into(),
            if join.guest { "guest" } else { "token" }.into(),
            join.token.hash().into(),
            join.connection.into(),
            join.status.as_str().into(),
            ms(settings.presence_ttl),
            ms(settings.session_ttl),
            ms(settings.room_ttl),
            number(settings.room_max_members),
            optional(join.since),
            number(settings.join_history),
            number(settings.resume_max),
            self.0.redis.node_channel().into(),
        ]);
        let mut reply = self.run(&self.0.join, names, args).await?.ok()?;
        Ok(Snapshot {
            members: reply.text()?,
            away: reply.text()?,
            facts: RoomFacts {
                creator: reply.text()?,
                created_at_ms: reply.number()?,
                e2e: reply.flag()?,
                secret: reply.text()?,
            },
            joined_at_ms: reply.number()?,
            tip: reply.id()?,
            events: reply.number()?,
            more: reply.flag()?,
            messages: reply.messages(room)?,
        })
    }

    /// Stores a message and tells the room.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `NOT_IN_ROOM`, `RATE_LIMITED`, or Redis is out of reach;
    /// in the last case the message may have been stored.
    pub async fn publish(
        &self,
        room: &RoomId,
        user: &UserId,
        sender: Sender<'_>,
        text: &str,
        key: Option<&str>,
    ) -> Result<Published, Error> {
        let keys = self.keys(room);
        let settings = &self.0.settings;
        let mut names = vec![keys.room(), keys.messages(), keys.session(user), keys.rate(user)];
        names.extend(key.map(|key| keys.idempotency(user, key)));
        let (field, hash) = match sender {
            Sender::Connection(id) => (format!("conn:{id}"), String::new()),
            Sender::Session(token) => ("token".to_owned(), token.hash()),
        };
        let args = vec![
            room.as_str().into(),
            keys.channel().into(),
            user.as_str().into(),
            field.into(),
            hash.into(),
            text.into(),
            key.unwrap_or_default().into(),
            number(settings.messages_per_second),
            number(settings.history_max),
            ms(settings.room_ttl),
            ms(settings.session_ttl),
            ms(settings.idempotency_ttl),
            flag(settings.durability != Durability::Memory),
        ];
        let named = &self.0.publish;
        let channel = keys.channel();
        let answer =
            self.0.redis.publish_message(named.name, &named.script, names, args, channel).await?;
        let mut reply = Reply::new(answer)?;
        match reply.status.as_str() {
            "REPEAT" => Ok(Published::Repeat { id: reply.id()?, text: reply.text()? }),
            "RATE_LIMITED" => Err(Error::rate_limited(Duration::from_millis(reply.number()?))),
            _ => Ok(Published::Stored(reply.ok()?.id()?)),
        }
    }

    /// Keeps a room's members alive, clears those that lapsed, and has a fence with `tag` sent to
    /// this node. Returns the users that Redis has no session of.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn heartbeat(
        &self,
        room: &RoomId,
        tag: &str,
        beats: &[Beat],
    ) -> Result<Vec<UserId>, Error> {
        let keys = self.keys(room);
        let mut args = self.stem(room, &keys);
        args.extend(self.ttls());
        args.extend([self.0.redis.node_channel().into(), tag.into()]);
        for beat in beats {
            args.push(beat.user.as_str().into());
            args.push(optional(beat.read));
            push_connections(&mut args, beat);
        }
        let names =
            vec![keys.room(), keys.members(), keys.deadlines(), keys.messages(), keys.returning()];
        self.run(&self.0.heartbeat, names, args).await?.ok()?.users()
    }

    /// Takes a connection out of a room, with or without a grace.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn leave(
        &self,
        room: &RoomId,
        user: &UserId,
        connection: &str,
        grace: Duration,
    ) -> Result<Departure, Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.members(), keys.deadlines(), keys.session(user)];
        let mut args = self.stem(room, &keys);
        args.extend([
            user.as_str().into(),
            connection.into(),
            ms(grace),
            ms(self.0.settings.session_ttl),
        ]);
        let mut reply = self.run(&self.0.leave, names, args).await?.ok()?;
        Ok(match reply.text()?.as_str() {
            "left" => Departure::Left,
            "grace" => Departure::Grace,
            _ => Departure::Stays,
        })
    }

    /// Clears members that lapsed.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn sweep_room(&self, room: &RoomId) -> Result<(), Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.members(), keys.deadlines()];
        self.run(&self.0.sweep_room, names, self.stem(room, &keys)).await?.ok()?;
        Ok(())
    }

    /// Reads a room and who is in it, and clears members that lapsed.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn read_room(&self, room: &RoomId) -> Result<RoomState, Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.members(), keys.deadlines()];
        let mut reply = self.run(&self.0.read_room, names, self.stem(room, &keys)).await?.ok()?;
        let (created_at_ms, e2e) = (reply.number()?, reply.flag()?);
        let mut members = Vec::with_capacity(reply.rest.len() / 4);
        while reply.rest.len() > 0 {
            members.push(Member {
                user: reply.text()?,
                status: if reply.text()? == "away" { Status::Away } else { Status::Online },
                joined_at_ms: reply.number()?,
                read: reply.text()?.parse().ok(),
            });
        }
        Ok(RoomState { created_at_ms, e2e, members })
    }

    /// Reads one page of a room's messages.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn read_messages(
        &self,
        room: &RoomId,
        page: Page,
        limit: usize,
    ) -> Result<MessagePage, Error> {
        let keys = self.keys(room);
        let (way, from) = match page {
            Page::Before(None) => ("before", "+".to_owned()),
            Page::Before(Some(id)) => ("before", id.to_string()),
            Page::After(id) => ("after", id.to_string()),
        };
        let names = vec![keys.room(), keys.messages()];
        let args = vec![way.into(), from.into(), number(limit)];
        let mut reply = self.run(&self.0.read_messages, names, args).await?.ok()?;
        Ok(MessagePage { has_more: reply.flag()?, messages: reply.messages(room)? })
    }

    /// Reads what came after the last message that this node delivered.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn catch_up(
        &self,
        room: &RoomId,
        after: MessageId,
        limit: usize,
    ) -> Result<Missed, Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.messages()];
        let args = vec![after.to_string().into(), number(limit)];
        let mut reply = self.run(&self.0.catch_up, names, args).await?.ok()?;
        Ok(Missed { trimmed: reply.flag()?, messages: reply.messages(room)? })
    }

    /// Has the whole truth about a room's members sent to this node, in order with its events.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn tell_members(&self, room: &RoomId) -> Result<(), Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.members()];
        let args =
            vec![room.as_str().into(), keys.users().into(), self.0.redis.node_channel().into()];
        self.run(&self.0.tell_members, names, args).await?.ok()?;
        Ok(())
    }

    /// Puts back a room that Redis lost, and has a fence with `tag` sent to this node. Returns the
    /// users whose name somebody else took.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn restore(
        &self,
        room: &RoomId,
        tag: &str,
        facts: &RoomFacts,
        users: &[Restored],
    ) -> Result<Vec<UserId>, Error> {
        let keys = self.keys(room);
        let mut args = self.stem(room, &keys);
        args.extend(self.ttls());
        args.extend([
            facts.creator.as_str().into(),
            facts.created_at_ms.to_string().into(),
            flag(facts.e2e),
            self.0.redis.node_channel().into(),
            tag.into(),
            facts.secret.as_str().into(),
        ]);
        for user in users {
            args.push(user.beat.user.as_str().into());
            args.push(user.token.hash().into());
            args.push(user.joined_at_ms.to_string().into());
            args.push(optional(user.beat.read));
            push_connections(&mut args, &user.beat);
        }
        let names = vec![keys.room(), keys.members(), keys.deadlines(), keys.messages()];
        self.run(&self.0.restore, names, args).await?.ok()?.users()
    }

    /// The arguments that every script about a whole room begins with.
    fn stem(&self, room: &RoomId, keys: &RoomKeys) -> Vec<Value> {
        vec![room.as_str().into(), keys.channel().into(), keys.users().into()]
    }

    fn ttls(&self) -> [Value; 3] {
        let settings = &self.0.settings;
        [ms(settings.presence_ttl), ms(settings.session_ttl), ms(settings.room_ttl)]
    }

    async fn run(
        &self,
        named: &Named,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Reply, Error> {
        let reply: FredResult<Vec<Value>> =
            self.0.redis.evalsha(named.name, &named.script, keys, args).await;
        Reply::new(reply?)
    }
}

fn push_connections(args: &mut Vec<Value>, beat: &Beat) {
    args.push(number(beat.connections.len()));
    for heard in &beat.connections {
        args.push((&*heard.connection).into());
        args.push(ms(heard.age));
        args.push(heard.status.as_str().into());
    }
}

fn ms(duration: Duration) -> Value {
    duration.as_millis().to_string().into()
}

fn number(number: usize) -> Value {
    number.to_string().into()
}

fn flag(flag: bool) -> Value {
    if flag { "1" } else { "0" }.into()
}

fn optional(id: Option<MessageId>) -> Value {
    id.map(|id| id.to_string()).unwrap_or_default().into()
}

/// A script's answer: a status word and what follows it.
struct Reply {
    status: String,
    rest: std::vec::IntoIter<Value>,
}

impl Reply {
    fn new(values: Vec<Value>) -> Result<Self, Error> {
        let mut rest = values.into_iter();
        let status = rest.next().and_then(Value::into_string).ok_or_else(odd)?;
        Ok(Self { status, rest })
    }

    /// Turns a status word that is an error code into that error.
    fn ok(self) -> Result<Self, Error> {
        if self.status == "OK" {
            return Ok(self);
        }
        Err(Code::from_wire(&self.status).map_or_else(odd, Error::new))
    }

    fn text(&mut self) -> Result<String, Error> {
        self.rest.next().and_then(Value::into_string).ok_or_else(odd)
    }

    fn number(&mut self) -> Result<u64, Error> {
        self.text()?.parse().map_err(|_| odd())
    }

    fn flag(&mut self) -> Result<bool, Error> {
        Ok(self.text()? == "1")
    }

    fn id(&mut self) -> Result<MessageId, Error> {
        self.text()?.parse().map_err(|_| odd())
    }

    fn users(self) -> Result<Vec<UserId>, Error> {
        let user = |value: Value| value.as_str().map(|name| UserId::stored(&name)).ok_or_else(odd);
        self.rest.map(user).collect()
    }

    fn messages(&mut self, room: &RoomId) -> Result<Vec<Message>, Error> {
        let Some(Value::Array(entries)) = self.rest.next() else { return Ok(Vec::new()) };
        entries.into_iter().map(|entry| message(room, entry).ok_or_else(odd)).collect()
    }
}

/// Decodes one stream entry. Entries that somebody added by hand may lack a field: what is missing
/// is empty.
fn message(room: &RoomId, entry: Value) -> Option<Message> {
    let Value::Array(entry) = entry else { return None };
    let [id, Value::Array(fields)] = <[Value; 2]>::try_from(entry).ok()? else { return None };
    let id = id.as_str()?.parse().ok()?;
    let (mut from, mut text, mut key) = (String::new(), String::new(), None);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let value = value.as_str_lossy()?.into_owned();
        match &*name.as_str()? {
            "from" => from = value,
            "text" => text = value,
            "key" => key = Some(value),
            _ => {}
        }
    }
    Some(Message::new(room, id, from, text, key))
}

fn odd() -> Error {
    Error::internal("a script's answer has another shape than its head says")
}
