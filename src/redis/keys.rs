//! The only place that builds the names of keys and channels. Each message needs four or five:
//! joining them costs less than formatting.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::names::{RoomId, UserId};

/// How a room's id is written inside a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStyle {
    /// Unchanged: standalone and Sentinel deployments.
    Plain,
    /// With the group, its first two characters, in braces: Redis Cluster keeps a group in one slot.
    HashTag,
}

/// How many characters of a room's id name its group.
const GROUP_CHARS: usize = 2;

impl KeyStyle {
    /// The names of one room's keys.
    pub fn room(self, room: &RoomId) -> RoomKeys {
        match self {
            KeyStyle::Plain => RoomKeys { tag: room.as_str().to_owned() },
            KeyStyle::HashTag => {
                // An id is ASCII.
                let (group, rest) = room.as_str().split_at(GROUP_CHARS.min(room.as_str().len()));
                RoomKeys { tag: ["{", group, "}", rest].concat() }
            }
        }
    }

    /// The names of the keys that all webhooks share. A cluster needs such keys for each group of
    /// rooms in one slot; so far there is only one group.
    pub fn hooks(self) -> HookKeys {
        HookKeys { stem: HOOKS }
    }

    /// Reads back from the name of a list what waits in it.
    pub fn queue(self, key: &str) -> Option<Queue> {
        if let Some(tag) = key.strip_prefix("room:") {
            return Some(Queue::Webhook(self.room_of_tag(tag.strip_suffix(":hooks")?)?));
        }
        let (tag, user) = key.strip_prefix("user:")?.split_once(':')?;
        let user = UserId::stored(&decoded(user.strip_suffix(":pushes")?));
        Some(Queue::Push(self.room_of_tag(tag)?, user))
    }

    /// Reads a room's id back from the name of its channel.
    pub fn room_of_channel(self, channel: &str) -> Option<RoomId> {
        self.room_of_tag(channel.strip_prefix("chan:")?)
    }

    fn room_of_tag(self, tag: &str) -> Option<RoomId> {
        match self {
            KeyStyle::Plain => RoomId::parse(tag),
            KeyStyle::HashTag => {
                let (group, rest) = tag.strip_prefix('{')?.split_once('}')?;
                let room = RoomId::parse(&[group, rest].concat())?;
                (self.room(&room).tag == tag).then_some(room)
            }
        }
    }
}

/// What waits in a list to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queue {
    /// A room's events for the webhook.
    Webhook(RoomId),
    /// What a user of a room is told who is not looking.
    Push(RoomId, UserId),
}

/// The names of one room's keys.
#[derive(Clone, Debug)]
pub struct RoomKeys {
    tag: String,
}

impl RoomKeys {
    /// HASH: the room's facts and options.
    pub fn room(&self) -> String {
        ["room:", &self.tag].concat()
    }

    /// SET: the members.
    pub fn members(&self) -> String {
        ["room:", &self.tag, ":members"].concat()
    }

    /// ZSET: when each member's presence lapses.
    pub fn deadlines(&self) -> String {
        ["room:", &self.tag, ":deadlines"].concat()
    }

    /// STREAM: the messages.
    pub fn messages(&self) -> String {
        ["room:", &self.tag, ":messages"].concat()
    }

    /// STRING: set while the members return after an outage, so that no joins are published.
    pub fn returning(&self) -> String {
        ["room:", &self.tag, ":returning"].concat()
    }

    /// ZSET: the members by name, all with the score 0.
    pub fn names(&self) -> String {
        ["room:", &self.tag, ":names"].concat()
    }

    /// SET: the members who are away.
    pub fn away(&self) -> String {
        ["room:", &self.tag, ":away"].concat()
    }

    /// LIST: events that wait to be posted to a webhook, oldest first.
    pub fn events(&self) -> String {
        ["room:", &self.tag, ":hooks"].concat()
    }

    /// SET: users who have, or had, a session but are not members; only for webhooks.
    pub fn absent(&self) -> String {
        ["room:", &self.tag, ":absent"].concat()
    }

    /// STRING: the note that the room's creator deleted it. Under a digest, so that no key has the
    /// room's name.
    pub fn closed(&self) -> String {
        let digest = HEXLOWER.encode(&Sha256::digest(&self.tag)[..16]);
        ["room:", self.group(), ":closed:", &digest].concat()
    }

    /// The room's group, in braces; empty where rooms have none.
    pub fn group(&self) -> &str {
        self.tag.find('}').map_or("", |end| &self.tag[..=end])
    }

    /// The channel on which scripts publish to this node alone, in order with the room's events.
    pub fn node_channel(&self, node: &str) -> String {
        node_channel(self.group(), node)
    }

    /// What a whole room has in Redis beside its users: what its end deletes and its restoration writes. Room, members,
    /// deadlines, messages, members by name, away members.
    pub fn all(&self) -> Vec<String> {
        vec![
            self.room(),
            self.members(),
            self.deadlines(),
            self.messages(),
            self.names(),
            self.away(),
        ]
    }

    /// The channel of the room's events.
    pub fn channel(&self) -> String {
        ["chan:", &self.tag].concat()
    }

    /// The prefix of the keys of all the room's users.
    pub fn users(&self) -> String {
        ["user:", &self.tag, ":"].concat()
    }

    /// HASH: the session, which outlives a short absence of the user.
    pub fn session(&self, user: &UserId) -> String {
        ["user:", &self.tag, ":", &encoded(user), ":session"].concat()
    }

    /// STRING: `online` or `away`.
    pub fn presence(&self, user: &UserId) -> String {
        ["user:", &self.tag, ":", &encoded(user), ":presence"].concat()
    }

    /// HASH: the messages that the user sent with idempotency keys; `lua/lib/sent_keys.lua` has an
    /// older one as well.
    pub fn sent_keys(&self, user: &UserId) -> String {
        ["user:", &self.tag, ":", &encoded(user), ":keys"].concat()
    }

    /// LIST: pushes that wait to be sent to the user, oldest first.
    pub fn pushes(&self, user: &UserId) -> String {
        ["user:", &self.tag, ":", &encoded(user), ":pushes"].concat()
    }
}

/// The prefix of the keys that webhooks share. No room has an empty id.
const HOOKS: &str = "room::hooks";

/// The names of the keys that webhooks share.
#[derive(Clone, Copy, Debug)]
pub struct HookKeys {
    stem: &'static str,
}

impl HookKeys {
    /// STREAM: rooms whose next event is to be posted, each once; the nodes are its consumer group.
    pub fn ready(&self) -> String {
        [self.stem, ":ready"].concat()
    }

    /// ZSET: rooms whose next event failed, and when (ms) it is tried again.
    pub fn delayed(&self) -> String {
        [self.stem, ":delayed"].concat()
    }

    /// ZSET: rooms that have events, and when (ms) the oldest of each was written.
    pub fn oldest(&self) -> String {
        [self.stem, ":oldest"].concat()
    }

    /// HASH: how many events were written, posted and dropped, and whether the receiver wants no more.
    pub fn state(&self) -> String {
        [self.stem, ":state"].concat()
    }

    /// STREAM: events that could not be posted.
    pub fn dead(&self) -> String {
        [self.stem, ":dead"].concat()
    }

    /// ZSET: rooms that have members, and when (ms) the first of them lapses unless a heartbeat
    /// extends it.
    pub fn lapses(&self) -> String {
        [self.stem, ":lapses"].concat()
    }
}

/// A name inside a key: separators are percent-encoded, so that no name makes one key mean two
/// things. `lua/lib/user_key.lua` writes the same.
fn encoded(user: &UserId) -> Cow<'_, str> {
    let name = user.as_str();
    if !name.contains([':', '%']) {
        return name.into();
    }
    name.replace('%', "%25").replace(':', "%3A").into()
}

/// The name that [`encoded`] wrote.
fn decoded(name: &str) -> String {
    name.replace("%3A", ":").replace("%25", "%")
}

/// STRING: the key that pushes are signed with. No room has an empty id.
pub fn vapid() -> String {
    "room::push:vapid".to_owned()
}

/// HASH: the promise of an idempotent request. No room has an empty id.
pub fn promise(name: &str) -> String {
    ["room::once:", name].concat()
}

/// The channel on which scripts publish to one node alone, about rooms of one group.
pub fn node_channel(group: &str, node: &str) -> String {
    match group {
        "" => ["node:", node].concat(),
        group => ["node:", group, ":", node].concat(),
    }
}

/// [`never`](fn@never) of the group of `key`. A key without a group is alone in its call, which needs no other then.
pub fn never_beside(key: &str) -> Option<String> {
    let from = key.find('{')?;
    let to = key[from..].find('}')?;
    Some(never(&key[from..=from + to]))
}

/// A key of a group that never exists. Redis Cluster refuses a call with such a key for as long as it moves the group's
/// slot, so no script runs where some of its keys are gone.
pub fn never(group: &str) -> String {
    ["room:", group, "::never"].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_are_those_of_the_contract() {
        let room = RoomId::parse("abc12345").unwrap();
        let user = UserId::stored("테스터");
        let keys = KeyStyle::Plain.room(&room);
        assert_eq!(keys.room(), "room:abc12345");
        assert_eq!(keys.members(), "room:abc12345:members");
        assert_eq!(keys.deadlines(), "room:abc12345:deadlines");
        assert_eq!(keys.messages(), "room:abc12345:messages");
        assert_eq!(keys.channel(), "chan:abc12345");
        assert_eq!(keys.session(&user), "user:abc12345:테스터:session");
        assert_eq!(keys.presence(&user), "user:abc12345:테스터:presence");
        assert_eq!(keys.session(&user), format!("{}테스터:session", keys.users()));
    }

    #[test]
    fn no_name_makes_one_key_mean_two_things() {
        let parts = ["", "a", ":", "%", "%3A", "%25", ":keys", ":old", ":session", ":pushes", "b"];
        let words = parts.iter().flat_map(|a| parts.iter().map(move |b| format!("{a}{b}")));
        let words: BTreeSet<String> = words.collect();
        let keys = KeyStyle::Plain.room(&RoomId::parse("abc12345").unwrap());
        let mut seen = BTreeSet::new();
        for user in words.iter().map(|word| UserId::stored(word)) {
            let sent = keys.sent_keys(&user);
            let old = format!("{sent}:old");
            let pushes = keys.pushes(&user);
            for key in [keys.session(&user), keys.presence(&user), old, sent, pushes.clone()] {
                assert!(seen.insert(key.clone()), "{key} of {user}");
            }
            let room = RoomId::parse("abc12345").unwrap();
            assert_eq!(KeyStyle::Plain.queue(&pushes), Some(Queue::Push(room, user)));
        }
        let user = UserId::stored("a%3A:é");
        assert_eq!(keys.session(&user), "user:abc12345:a%253A%3Aé:session");
    }

    #[test]
    fn on_a_cluster_a_room_is_one_slot() {
        let room = RoomId::parse("abc12345").unwrap();
        let keys = KeyStyle::HashTag.room(&room);
        let user = UserId::stored("a");
        assert_eq!(keys.members(), "room:{ab}c12345:members");
        assert_eq!(keys.session(&user), "user:{ab}c12345:a:session");
        assert_eq!(keys.channel(), "chan:{ab}c12345");
        assert_eq!(keys.node_channel("n"), "node:{ab}:n");
        for key in [keys.closed(), keys.sent_keys(&user), keys.pushes(&user), never("{ab}")] {
            assert!(key.contains(":{ab}"), "{key}");
        }
    }

    #[test]
    fn no_other_spelling_of_a_tag_names_a_room() {
        for channel in ["chan:{a}bc", "chan:{abc}", "chan:ab", "chan:{ab", "chan:ab}c"] {
            assert_eq!(KeyStyle::HashTag.room_of_channel(channel), None, "{channel}");
        }
        for id in ["a", "ab", "abc"] {
            let room = RoomId::parse(id).unwrap();
            let channel = KeyStyle::HashTag.room(&room).channel();
            assert_eq!(KeyStyle::HashTag.room_of_channel(&channel), Some(room));
        }
    }

    #[test]
    fn a_list_of_events_names_its_room() {
        for style in [KeyStyle::Plain, KeyStyle::HashTag] {
            let (room, user) = (RoomId::random(), UserId::stored("a:%3A%"));
            let keys = style.room(&room);
            assert_eq!(style.queue(&keys.events()), Some(Queue::Webhook(room.clone())));
            assert_eq!(style.queue(&keys.pushes(&user)), Some(Queue::Push(room, user.clone())));
            for other in ["room::hooks".to_owned(), keys.session(&user), keys.channel()] {
                assert_eq!(style.queue(&other), None);
            }
        }
    }

    #[test]
    fn a_channel_names_its_room() {
        for style in [KeyStyle::Plain, KeyStyle::HashTag] {
            let room = RoomId::random();
            assert_eq!(style.room_of_channel(&style.room(&room).channel()), Some(room));
            assert_eq!(style.room_of_channel("node:x"), None);
        }
    }
}
