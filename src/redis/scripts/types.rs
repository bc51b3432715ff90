//! What the scripts are asked and what they answer, as types.

use std::{sync::Arc, time::Duration};

use crate::{
    message::Message,
    names::{MessageId, Status, Token, UserId},
};

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
    /// What its fence is tagged with.
    pub tag: &'a str,
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
    /// How many members it has.
    pub member_count: u64,
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

/// What somebody reads on with who listens and is no member.
#[derive(Clone, Debug)]
pub struct ReadOn {
    /// What the ids of the room's messages are made with.
    pub secret: String,
    /// The last message of the room.
    pub tip: MessageId,
    /// Whether there are more messages behind these.
    pub more: bool,
    /// Whether some before these are missing that are no longer kept.
    pub gap: bool,
    /// Messages, oldest first.
    pub messages: Vec<Message>,
}

/// What a heartbeat is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// The last message of the stream.
    pub tip: MessageId,
    /// How many events the room had seen.
    pub events: u64,
    /// Whether members would have lasted for longer than they may: Redis's clock was set back.
    pub bounded: bool,
    /// The users that Redis has no session of, or another's.
    pub lost: Vec<UserId>,
}

/// What Redis keeps of a room itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomFacts {
    /// Who made it.
    pub creator: String,
    /// When, milliseconds on Redis's clock.
    pub created_at_ms: u64,
    /// What the ids of its messages are made with.
    pub secret: String,
    /// The hash of the token that it was made with; empty where that is not known.
    pub creator_token: String,
    /// What its creator chose.
    pub options: RoomOptions,
}

/// What the creator of a room chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomOptions {
    /// Whether its texts are sealed end to end.
    pub e2e: bool,
    /// What it is called.
    pub topic: Option<String>,
    /// Whether it takes nobody new.
    pub locked: bool,
    /// How many seconds it lives without a sign of life; without it, as long as the settings say.
    pub ttl: Option<u64>,
    /// How many members it may have; without it, as many as the settings say.
    pub max_members: Option<usize>,
}

/// What the creator of a room changes; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomChange {
    /// Whether it takes nobody new.
    pub locked: Option<bool>,
    /// What it is called, or that it has no topic any more.
    pub topic: Option<Option<String>>,
    /// How many seconds it lives without a sign of life.
    pub ttl: Option<u64>,
    /// How many members it may have.
    pub max_members: Option<usize>,
}

/// A message on its way into its room.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Who says it.
    pub user: UserId,
    /// What proves that.
    pub sender: Sender,
    /// What is said.
    pub text: String,
    /// The sender's idempotency key, if it gave one.
    pub key: Option<String>,
}

/// Who sends a message.
#[derive(Clone, Debug)]
pub enum Sender {
    /// A connection that is in the room.
    Connection {
        /// its id
        id: Arc<str>,
        /// whether its client has its token, which confirms the session
        confirmed: bool,
    },
    /// Whoever holds the token of a live session.
    Session(Token),
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
pub struct UserHeartbeat {
    /// The user.
    pub user: UserId,
    /// When it first joined, milliseconds on Redis's clock.
    pub joined_at_ms: u64,
    /// The last message that it has read, if that is news.
    pub read: Option<MessageId>,
    /// Whether one of its connections proved that it heard the answer to its join.
    pub confirmed: bool,
    /// Its connections.
    pub connections: Vec<ConnectionReport>,
}

/// One connection's sign of life.
#[derive(Clone, Debug)]
pub struct ConnectionReport {
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
    pub beat: UserHeartbeat,
    /// Its token.
    pub token: Token,
}

/// A connection that leaves a room.
pub struct Leave<'a> {
    /// Whose it is.
    pub user: &'a UserId,
    /// The connection.
    pub connection: &'a str,
    /// How long the user stays a member if it was its last one.
    pub grace: Duration,
    /// Whether it proved that it heard the answer to its join.
    pub confirmed: bool,
}

/// What the first try of a request was promised.
pub struct Remembered {
    /// What tells its body from another.
    pub digest: String,
    /// The promise, sealed.
    pub sealed: String,
    /// Whether it is done.
    pub is_kept: bool,
}

/// What leaving came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveOutcome {
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
    /// What it is.
    pub facts: RoomFacts,
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
