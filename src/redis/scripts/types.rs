//! Arguments and results of the scripts, as types.

use std::{
    borrow::Cow,
    net::IpAddr,
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::value::{RawValue, to_raw_value};

use crate::{
    error::Error,
    message::Message,
    names::{MessageId, RoomId, Status, Token, UserId},
    removal::{Reason, Removal, Session},
    webpush::Subscription,
};

/// Who wants to join, and how it proves who it is.
#[derive(Clone, Debug)]
pub struct Join {
    /// The user.
    pub user: UserId,
    /// Its token: a new one for a guest, else the one that was presented.
    pub token: Token,
    /// Whether the name must be free.
    pub guest: bool,
    /// What it joins with.
    pub entry: Entry,
}

/// A connection that joins.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its id.
    pub connection: Arc<str>,
    /// Where it comes from.
    pub address: IpAddr,
    /// What it shows.
    pub status: Status,
    /// The last message that it has seen.
    pub since: Option<MessageId>,
    /// What its fence is tagged with.
    pub tag: String,
}

/// What became of one of several joins.
#[derive(Clone, Debug)]
pub enum Joined {
    /// It was let in.
    In(Snapshot),
    /// It was refused.
    Refused(Error),
    /// Its call had read enough messages: it goes with the next one.
    Later,
}

/// A room as it was at one moment. What those who joined together have in common is there once.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The names of the first members.
    pub members: Arc<RawValue>,
    /// Those of them that are away.
    pub away: Arc<RawValue>,
    /// What is needed to restore the room.
    pub facts: Arc<RoomFacts>,
    /// The number of members.
    pub member_count: u64,
    /// When the user first joined, milliseconds on Redis's clock.
    pub joined_at_ms: u64,
    /// The last message that the snapshot includes.
    pub tip: MessageId,
    /// Number of events of the room.
    pub events: u64,
    /// When the room needs a sweep.
    pub again: Option<Duration>,
    /// Whether there are messages that the snapshot does not include.
    pub more: bool,
    /// Messages, oldest first.
    pub messages: History,
    /// Messages that were deleted, of those up to the last one that the connection has seen.
    pub deleted: Vec<MessageId>,
}

/// The end of a list of messages.
#[derive(Clone, Debug)]
pub struct History {
    list: Arc<MessageList>,
    skipped: usize,
}

/// A list of messages, and its JSON once somebody needed it.
#[derive(Debug)]
pub(super) struct MessageList {
    pub messages: Vec<Message>,
    json: OnceLock<Box<RawValue>>,
}

impl MessageList {
    pub fn new(messages: Vec<Message>) -> Arc<Self> {
        Arc::new(Self { messages, json: OnceLock::new() })
    }
}

impl History {
    /// What of a list comes after so many messages.
    pub(super) fn after(list: &Arc<MessageList>, skipped: usize) -> Self {
        Self { list: list.clone(), skipped: skipped.min(list.messages.len()) }
    }

    /// The messages as a JSON array.
    pub fn json(&self) -> Cow<'_, RawValue> {
        match self.skipped {
            0 => Cow::Borrowed(self.list.json.get_or_init(|| json_of(&self.list.messages))),
            _ => Cow::Owned(json_of(self)),
        }
    }
}

impl Deref for History {
    type Target = [Message];

    fn deref(&self) -> &[Message] {
        &self.list.messages[self.skipped..]
    }
}

/// These messages as a JSON array.
pub fn json_of(messages: &[Message]) -> Box<RawValue> {
    // Serialising plain structs into memory cannot fail.
    to_raw_value(messages).unwrap_or_default()
}

/// A page of messages for a listener.
#[derive(Clone, Debug)]
pub struct ReadOn {
    /// The secret of the room's message ids.
    pub secret: String,
    /// The last message of the room.
    pub tip: MessageId,
    /// Whether there are more messages after these.
    pub more: bool,
    /// Whether messages before these are no longer stored.
    pub gap: bool,
    /// Messages, oldest first.
    pub messages: Vec<Message>,
    /// Deleted messages among those up to the last one seen.
    pub deleted: Vec<MessageId>,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// The last message of the stream.
    pub tip: MessageId,
    /// Number of events of the room.
    pub events: u64,
    /// Whether deadlines were too far ahead and were shortened: Redis's clock was set back.
    pub bounded: bool,
    /// When the room needs a sweep.
    pub again: Option<Duration>,
    /// The users who were said to be here, and are no members.
    pub gone: Vec<UserId>,
    /// The users without a session in Redis, or whose name has somebody else's session.
    pub lost: Vec<UserId>,
}

/// The facts of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomFacts {
    /// The creator's name.
    pub creator: String,
    /// When it was created, milliseconds on Redis's clock.
    pub created_at_ms: u64,
    /// The secret of its message ids.
    pub secret: String,
    /// The hash of the creator's token; empty if unknown.
    pub creator_token: String,
    /// The options that its creator chose.
    pub options: RoomOptions,
    /// Whether the user who came in last with the creator's name is somebody else.
    pub creator_name_taken: bool,
}

/// The options of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomOptions {
    /// Whether it is end-to-end encrypted.
    pub e2e: bool,
    /// Its topic.
    pub topic: Option<String>,
    /// Whether it accepts no new users.
    pub locked: bool,
    /// How many seconds it lives without activity; `None` for the default of the settings.
    pub ttl: Option<u64>,
    /// Its maximum number of members; `None` for that of the settings.
    pub max_members: Option<usize>,
}

/// Changes of a room; `None` leaves a value unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomChange {
    /// Whether it accepts no new users.
    pub locked: Option<bool>,
    /// Its topic; `Some(None)` removes it.
    pub topic: Option<Option<String>>,
    /// How many seconds it lives without activity.
    pub ttl: Option<u64>,
    /// Its maximum number of members.
    pub max_members: Option<usize>,
}

/// A checked message that is not stored yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The user who sends it.
    pub user: UserId,
    /// The proof of that.
    pub sender: Sender,
    /// The text.
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
        /// whether its client has its token, which confirms the session, and Redis may not know it
        confirmed: bool,
    },
    /// The holder of the token of a live session.
    Session(Token),
}

/// The outcome of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It was stored with this id, and published.
    Stored(MessageId),
    /// A retry: the message was stored before.
    Repeat {
        /// its id
        id: MessageId,
        /// its text
        text: String,
    },
    /// A retry: the message was stored before, and deleted since.
    Deleted(MessageId),
}

/// The report of one user's connections in one room.
#[derive(Clone, Debug)]
pub struct UserHeartbeat {
    /// The user.
    pub user: UserId,
    /// When it first joined, milliseconds on Redis's clock.
    pub joined_at_ms: u64,
    /// The last message that it has read, if that changed.
    pub read: Option<MessageId>,
    /// Whether one of its connections has confirmed the session.
    pub confirmed: Confirmation,
    /// Its connections.
    pub connections: Vec<ConnectionReport>,
}

/// Whether a client is known to have its token, which confirms its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirmation {
    /// It is not.
    Missing,
    /// It is, and Redis may not know that.
    New,
    /// Redis was told.
    Reported,
}

/// The report of one connection.
#[derive(Clone, Debug)]
pub struct ConnectionReport {
    /// The connection.
    pub connection: Arc<str>,
    /// The time since its last activity.
    pub age: Duration,
    /// Its status.
    pub status: Status,
}

/// A user whose session is to be restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Its connections.
    pub beat: UserHeartbeat,
    /// Its token.
    pub token: Token,
    /// The addresses of its connections.
    pub addresses: Vec<IpAddr>,
}

/// The outcome of restoring a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restoration {
    /// Its creator has deleted it: nobody was restored.
    Closed,
    /// All users were restored, except some.
    Done {
        /// These, with the reason if their session was ended; without one, somebody else has the
        /// name.
        others: Vec<(Session, Option<Reason>)>,
        /// When the room needs a sweep.
        again: Option<Duration>,
    },
}

/// Somebody who reads a room's messages or members, which needs a token in some rooms.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The token that it presents, and its user.
    pub token: Option<(Token, UserId)>,
    /// Its address.
    pub address: IpAddr,
}

/// A connection that leaves a room.
pub struct Leave {
    /// Its user.
    pub user: UserId,
    /// The connection.
    pub connection: Arc<str>,
    /// How long the user stays a member if it was the last connection; zero after a `leave`.
    pub grace: Duration,
    /// Whether it has confirmed the session.
    pub confirmed: bool,
}

/// The stored promise of a request.
pub struct Remembered {
    /// The digest of its body.
    pub digest: String,
    /// The promise, encrypted.
    pub sealed: String,
    /// Whether the request is completed.
    pub is_kept: bool,
}

/// The outcome of a leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveOutcome {
    /// The user has other connections, or this one was not in the room.
    Stays,
    /// It was the last one: the grace begins.
    Grace,
    /// It was the last one: the user has left.
    Left,
}

/// The grace of a user after its last connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grace {
    /// The user.
    pub user: UserId,
    /// When it ends (ms, Redis's clock), unless the user comes back.
    pub until_ms: u64,
}

/// The outcome of connections that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The outcome for the user of each.
    pub outcomes: Vec<LeaveOutcome>,
    /// The graces that began.
    pub graces: Vec<Grace>,
    /// When the room needs a sweep, apart from a grace.
    pub again: Option<Duration>,
}

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub user: String,
    /// Its status.
    pub status: Status,
    /// When it first joined, milliseconds on Redis's clock.
    pub joined_at_ms: u64,
    /// The last message that it has read.
    pub read: Option<MessageId>,
}

/// A room and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomState {
    /// Its facts.
    pub facts: RoomFacts,
    /// Number of members.
    pub member_count: u64,
    /// The names of the first of them, in code point order.
    pub members: Vec<String>,
    /// Number of banned addresses, only for its creator.
    pub bans: Option<usize>,
}

/// The range of a page of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The messages before this one; `None` for the newest.
    Before(Option<MessageId>),
    /// The messages after this one.
    After(MessageId),
}

/// One page of messages, oldest first.
#[derive(Clone, Debug)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are more messages in that direction.
    pub has_more: bool,
}

/// The messages that a node missed.
#[derive(Clone, Debug)]
pub struct Missed {
    /// Messages, oldest first.
    pub messages: Vec<Message>,
    /// Whether there were others before these that are no longer kept.
    pub trimmed: bool,
    /// The sessions that were ended since.
    pub removals: Vec<Removal>,
}

/// A list whose next event is to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The entry of the stream that gave it to this node.
    pub entry: String,
    /// The list's name.
    pub events: String,
}

/// An event that waits to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedEvent {
    /// Its id, the same for each try.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// When it happened, milliseconds on Redis's clock.
    pub at_ms: u64,
    /// How often it was tried.
    pub tries: u32,
    /// Its data, as JSON.
    pub data: String,
}

impl QueuedEvent {
    /// Reads what `lua/lib/write_event.lua` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, ' ');
        Some(Self {
            id: parts.next().filter(|id| !id.is_empty())?.to_owned(),
            kind: parts.next()?.to_owned(),
            at_ms: parts.next()?.parse().ok()?,
            tries: parts.next()?.parse().ok()?,
            data: parts.next()?.to_owned(),
        })
    }
}

/// What became of an event that was posted.
#[derive(Clone, Copy, Debug)]
pub enum Attempt<'a> {
    /// The receiver has it.
    Delivered {
        /// The event.
        event: &'a QueuedEvent,
        /// How long until the next one of its list may be posted.
        rest: Duration,
    },
    /// The receiver wants no events any more.
    Gone(&'a QueuedEvent),
    /// It has to be tried again.
    Failed {
        /// The event.
        event: &'a QueuedEvent,
        /// The error.
        why: &'a str,
        /// The pause until the next try.
        pause: Duration,
    },
}

impl Attempt<'_> {
    /// How long its list waits now.
    pub fn pause(self) -> Duration {
        match self {
            Self::Delivered { rest, .. } => rest,
            Self::Gone(_) => Duration::ZERO,
            Self::Failed { pause, .. } => pause,
        }
    }
}

/// What comes after an event that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecorded {
    /// The next event of the list, where this node goes on with it.
    pub next: Option<QueuedEvent>,
    /// Redis's time, in milliseconds.
    pub now_ms: u64,
    /// Whether the one that was tried became a dead letter.
    pub is_dead: bool,
}

/// What waits for the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Whether the receiver wants no events any more.
    pub is_stopped: bool,
    /// How long until the time of a list comes.
    pub next_due: Option<Duration>,
    /// How many events wait.
    pub events: u64,
    /// For how long the oldest has waited.
    pub oldest: Duration,
    /// How many dead letters there are.
    pub letters: u64,
    /// How long ago the oldest became one.
    pub oldest_letter: Duration,
    /// How many events and letters were dropped, ever.
    pub dropped: u64,
    /// Rooms with members that have lapsed.
    pub lapsed: Vec<RoomId>,
    /// Lists that were taken over.
    pub taken: Vec<Ready>,
}

/// An event that could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its entry in the stream of dead letters.
    pub entry: String,
    /// The id of the event.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// The room that it is about.
    pub room: String,
    /// When it happened, milliseconds on Redis's clock.
    pub at_ms: u64,
    /// How often it was tried.
    pub tries: u32,
    /// What went wrong the last time.
    pub reason: String,
    /// What it is about, as JSON.
    pub data: String,
}

/// What a push is about, as it is when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushFacts {
    /// Where it goes to.
    pub subscription: Subscription,
    /// Who said it; `None` where the message is gone.
    pub from: Option<String>,
    /// The text, sealed in an encrypted room.
    pub text: String,
    /// Whether the room is encrypted.
    pub e2e: bool,
    /// Whether the user has read it.
    pub is_read: bool,
}
