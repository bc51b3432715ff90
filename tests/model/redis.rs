//! Redis as the scripts see it: one room, changed by one script at a time, and one subscription.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    hash::{Hash, Hasher},
};

use bytes::Bytes;
use linkroom::{
    chain,
    fanout::frame::{Fence, Frame, FrameKind, Tag, Truth},
    names::MessageId,
    removal::Removal,
};
use sha1::{Digest, Sha1};

use crate::{
    words::{Change, Count, Joined, Users, Word},
    world::Hashed,
};

/// The secret of the room's ids.
pub const SECRET: &str = "secret";

/// The room in Redis, and its publications on the way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redis {
    /// Whether the room's hash exists.
    pub exists: bool,
    /// Every message that was ever stored, oldest first.
    pub history: Vec<Stored>,
    /// How many of these are no longer in the stream.
    pub gone: usize,
    /// The number of events in the room's hash.
    pub events: Count,
    /// The set of members.
    pub members: Users,
    /// With more members than this a room is large.
    pub roster_max: u8,
    /// Whether it is large.
    pub large: bool,
    /// The number of members that a large room was told, unless it has changed since.
    pub told: Option<u8>,
    /// The users that have a session.
    pub sessions: Users,
    /// How many sessions each user has had.
    pub begun: BTreeMap<u8, u8>,
    /// The sessions that were ended, as `(user, number)`.
    pub ended: Vec<(u8, u8)>,
    /// With which events.
    pub ended_with: Vec<u64>,
    /// The connections that live, as `(connection, user)`.
    pub connections: Vec<(u8, u8)>,
    /// The clock.
    pub now_ms: u64,
    /// The subscription.
    pub wire: Wire,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    pub id: MessageId,
    /// Whether Redis came back without it: then nobody needs to have it.
    pub lost: bool,
}

/// The node's only subscription: in order, as long as it lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// Whether the node's own channel is subscribed.
    pub node: bool,
    /// Whether the room's channel is.
    pub room: bool,
    /// Publications that have not arrived.
    pub flight: VecDeque<Payload>,
}

/// A publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Frame(Frame),
    Fence(Fence),
    Members(u64, Truth),
    Removal(Removal, Frame),
}

/// The answer of the join script.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    pub tip: MessageId,
    /// The number of the user's session.
    pub session: u8,
    pub joined: Joined,
}

/// The answer of the catch-up script.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    pub trimmed: bool,
    pub messages: Vec<usize>,
    /// The sessions that were ended since.
    pub ended: Vec<(u8, u8)>,
}

impl Redis {
    /// A new room.
    pub fn new() -> Self {
        Self {
            exists: true,
            history: Vec::new(),
            gone: 0,
            events: Count { life: 0, number: 0 },
            members: Users::default(),
            roster_max: u8::MAX,
            large: false,
            told: None,
            sessions: Users::default(),
            begun: BTreeMap::new(),
            ended: Vec::new(),
            ended_with: Vec::new(),
            connections: Vec::new(),
            now_ms: 1000,
            wire: Wire { node: true, ..Wire::default() },
        }
    }

    /// publish.lua
    pub fn publish(&mut self) {
        let previous = self.tip();
        let id = next_id(previous, self.now_ms);
        self.history.push(Stored { id, lost: false });
        let text = Word::Message(self.history.len() - 1).to_text();
        self.tell_room(Frame { kind: FrameKind::Message(id), text });
    }

    /// Somebody publishes a message by hand, with an id in the far future.
    pub fn publish_foreign(&mut self) {
        let id = MessageId { ms: 1_000_000, seq: 7 };
        self.tell_room(Frame { kind: FrameKind::Message(id), text: Word::Foreign.to_text() });
    }

    /// join.lua; `None` if the room does not exist.
    pub fn join(
        &mut self,
        connection: u8,
        user: u8,
        tag: &str,
        since: Option<MessageId>,
    ) -> Option<Snapshot> {
        if !self.exists {
            return None;
        }
        self.begin_session(user);
        self.connect(connection, user);
        self.settle(user);
        self.publish_member_count();
        let (from, more) = self.after(since);
        self.fence(Tag::Joins(vec![tag.to_owned()]));
        let to = self.history.len();
        let resumed = since.is_some();
        let (events, members, large) = (self.events, self.members, self.large);
        let joined = Joined { events, members, large, resumed, from, to, more };
        Some(Snapshot { tip: self.tip(), session: self.begun[&user], joined })
    }

    /// leave.lua, without a grace or with one that never ends here.
    pub fn leave(&mut self, connection: u8, user: u8, grace: bool) {
        let before = self.connections.len();
        self.connections.retain(|(other, _)| *other != connection);
        let was_here = self.connections.len() < before;
        let stays = self.connections.iter().any(|(_, other)| *other == user);
        if was_here && !stays && !grace && self.members.remove(user) {
            self.announce(Change::Left(user));
        }
        self.publish_member_count();
    }

    /// heartbeat.lua; returns the users without a session, or `None` if the room does not exist.
    pub fn heartbeat(&mut self, number: u64, heard: &[Heard]) -> Option<Users> {
        if !self.exists {
            return None;
        }
        let mut lost = Users::default();
        for Heard { connection, user, session } in heard {
            if self.sessions.contains(*user) && self.begun.get(user) == Some(session) {
                self.connect(*connection, *user);
                self.settle(*user);
            } else {
                lost.insert(*user);
            }
        }
        self.publish_member_count();
        self.fence(Tag::Heartbeat(number));
        Some(lost)
    }

    /// restore.lua; returns the connections whose session was ended.
    pub fn restore(&mut self, number: u64, heard: &[Heard]) -> Vec<u8> {
        let is_ended = |heard: &&Heard| self.ended.contains(&(heard.user, heard.session));
        let ended: Vec<u8> = heard.iter().filter(is_ended).map(|heard| heard.connection).collect();
        if self.exists && ended.len() == heard.len() {
            return ended;
        }
        self.exists = true;
        for Heard { connection, user, session } in heard {
            if !ended.contains(connection) {
                self.sessions.insert(*user);
                self.begun.entry(*user).or_insert(*session);
                self.connect(*connection, *user);
                self.members.insert(*user);
            }
        }
        if !self.publish_member_count() && !self.large {
            self.publish_members();
        }
        self.fence(Tag::Heartbeat(number));
        ended
    }

    /// remove_user.lua
    pub fn remove(&mut self, user: u8) {
        let session = self.begun[&user];
        self.ended.push((user, session));
        self.sessions.remove(user);
        self.connections.retain(|(_, other)| *other != user);
        self.events.number += 1;
        self.ended_with.push(self.events.number);
        if self.wire.room {
            let (removal, text) = removal(user, session);
            let frame = Frame { kind: FrameKind::Other, text };
            self.wire.flight.push_back(Payload::Removal(removal, frame));
        }
        if self.members.remove(user) {
            self.announce(Change::Left(user));
        }
    }

    /// tell_members.lua
    pub fn tell_members(&mut self, known: u64) {
        if let Some((events, truth)) = self.list_members(known).filter(|_| self.wire.node) {
            self.wire.flight.push_back(Payload::Members(events, truth));
        }
    }

    /// The same, where it answers with the list.
    pub fn list_members(&self, known: u64) -> Option<(u64, Truth)> {
        let frames = Word::Members(self.events, self.members, self.large).to_text();
        let removals = removals(&self.removed_since(known));
        let truth = Truth { frames, removals };
        self.exists.then_some((self.events.number, truth))
    }

    /// The sessions that were ended with later events than that.
    fn removed_since(&self, known: u64) -> Vec<(u8, u8)> {
        let ended = self.ended.iter().zip(&self.ended_with).filter(|(_, with)| **with > known);
        ended.map(|(session, _)| *session).collect()
    }

    /// catch_up.lua
    pub fn catch_up(&self, after: MessageId, wanted: usize, known: u64) -> Page {
        let messages: Vec<usize> =
            self.kept().filter(|at| self.history[*at].id > after).take(wanted).collect();
        let trimmed = messages.first().is_some_and(|first| self.is_hole(after, *first));
        Page { trimmed, messages, ended: self.removed_since(known) }
    }

    /// Somebody who is connected elsewhere joins, or leaves.
    pub fn toggle(&mut self, stranger: u8) {
        if self.members.remove(stranger) {
            self.announce(Change::Left(stranger));
        } else {
            self.begin_session(stranger);
            self.settle(stranger);
        }
        self.publish_member_count();
    }

    /// Redis comes back empty.
    pub fn lose_everything(&mut self) {
        self.history.iter_mut().for_each(|message| message.lost = true);
        let now_ms = self.now_ms + 1000;
        let events = Count { life: self.events.life + 1, number: 0 };
        let (history, gone) = (std::mem::take(&mut self.history), self.gone);
        let begun = std::mem::take(&mut self.begun);
        let wire = std::mem::take(&mut self.wire);
        let roster_max = self.roster_max;
        *self = Self {
            exists: false,
            gone,
            events,
            now_ms,
            wire,
            history,
            begun,
            roster_max,
            ..Self::new()
        };
        self.gone = self.history.len();
    }

    /// The id of the last message that was stored.
    pub fn tip(&self) -> MessageId {
        self.history.last().filter(|last| !last.lost).map_or(MessageId::ZERO, |last| last.id)
    }

    /// The messages in the stream.
    pub fn kept(&self) -> std::ops::Range<usize> {
        self.gone..self.history.len()
    }

    /// history.lua: the first message after `since`, and whether there are more before it.
    fn after(&self, since: Option<MessageId>) -> (usize, bool) {
        let Some(since) = since else { return (self.gone, self.gone > 0) };
        match self.kept().find(|at| self.history[*at].id > since) {
            Some(first) => (first, self.is_hole(since, first)),
            None => {
                let last = self.history.last().filter(|last| !last.lost);
                (self.history.len(), last.is_some_and(|last| last.id > since))
            }
        }
    }

    /// Whether messages between `after` and the first one found are no longer stored.
    fn is_hole(&self, after: MessageId, first: usize) -> bool {
        let kept = self.kept().any(|at| self.history[at].id <= after);
        let first = self.history[first].id;
        !kept && !follows(after, first) && !follows(MessageId::ZERO, first)
    }

    fn begin_session(&mut self, user: u8) {
        if self.sessions.insert(user) {
            *self.begun.entry(user).or_default() += 1;
        }
    }

    fn connect(&mut self, connection: u8, user: u8) {
        if !self.connections.contains(&(connection, user)) {
            self.connections.push((connection, user));
            self.connections.sort_unstable();
        }
    }

    fn settle(&mut self, user: u8) {
        if self.members.insert(user) {
            self.announce(Change::Joined(user));
        }
    }

    /// publish_member_count.lua; returns whether the list was published. The number of a large room is
    /// published later: see `tell_number`.
    fn publish_member_count(&mut self) -> bool {
        let is_large = self.members.count() > self.roster_max;
        let turns = is_large != self.large;
        if turns {
            (self.large, self.told) = (is_large, Some(self.members.count()));
            self.publish_members();
        }
        self.told = self.told.filter(|told| *told == self.members.count());
        turns
    }

    /// Whether the number of members has not been published yet.
    pub fn owes_number(&self) -> bool {
        self.large && self.told.is_none()
    }

    /// The part of publish_member_count.lua for a large room, once a second has passed.
    pub fn tell_number(&mut self) {
        let count = self.members.count();
        self.told = Some(count);
        self.events.number += 1;
        let text = Word::Size(self.events, count).to_text();
        self.tell_room(Frame { kind: FrameKind::Event, text });
    }

    fn publish_members(&mut self) {
        self.events.number += 1;
        let text = Word::Members(self.events, self.members, self.large).to_text();
        self.tell_room(Frame { kind: FrameKind::Members, text });
    }

    fn announce(&mut self, change: Change) {
        if self.large {
            return;
        }
        self.events.number += 1;
        let text = Word::Event(self.events, change).to_text();
        self.tell_room(Frame { kind: FrameKind::Event, text });
    }

    fn fence(&mut self, tag: Tag) {
        if self.wire.node {
            let fence = Fence { tag, tip: self.tip(), events: self.events.number };
            self.wire.flight.push_back(Payload::Fence(fence));
        }
    }

    fn tell_room(&mut self, frame: Frame) {
        if self.wire.room {
            self.wire.flight.push_back(Payload::Frame(frame));
        }
    }
}

/// The report of a connection in a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Heard {
    pub connection: u8,
    pub user: u8,
    /// The number of its session.
    pub session: u8,
}

/// What is told of sessions that were ended.
pub fn removals(ended: &[(u8, u8)]) -> Vec<Removal> {
    ended.iter().map(|(user, session)| removal(*user, *session).0).collect()
}

/// What remove_user.lua publishes.
fn removal(user: u8, session: u8) -> (Removal, Bytes) {
    let proof = Sha1::digest(format!("{SECRET} removed {session} {user}"));
    let proof: String = proof.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        r#"{{"t":"removed","roomId":"r","userId":"{user}","joinedAt":"{session}","reason":"removed","proof":"{proof}"}}"#
    );
    (Removal::parse(&text).expect("as a script writes it"), text.into())
}

impl Hash for Wire {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.node, self.room).hash(state);
        let _ = write!(Hashed(state), "{:?}", self.flight);
    }
}

fn follows(previous: MessageId, id: MessageId) -> bool {
    chain::follows(SECRET, previous, id)
}

/// next_id.lua
fn next_id(previous: MessageId, now_ms: u64) -> MessageId {
    let ms = now_ms.max(previous.ms);
    let count = if previous.ms >= now_ms { (previous.seq >> 32) + 1 } else { 0 };
    let hash = Sha1::digest(format!("{SECRET} {previous} {ms}"));
    let digest = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    MessageId { ms, seq: (count << 32) + u64::from(digest) }
}
