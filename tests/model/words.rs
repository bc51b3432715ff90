//! The frames of a connection, with the facts that the checks need.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One frame to a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Word {
    /// The answer to its join.
    Joined(Joined),
    /// The message at this position of the history.
    Message(usize),
    /// The event with this number.
    Event(Count, Change),
    /// The list of members, the number of events when it was made, and whether the room is large.
    Members(Count, Users, bool),
    /// The number of members of a large room; the event with this number.
    Size(Count, u8),
    /// A frame that somebody published by hand.
    Foreign,
}

/// The snapshot that a connection starts from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Joined {
    pub events: Count,
    pub members: Users,
    /// Whether the room is large, so changes of its members are not published.
    pub large: bool,
    /// Whether the join named the last message that the client had.
    pub resumed: bool,
    /// The messages given: from this place in the history …
    pub from: usize,
    /// … to before this one.
    pub to: usize,
    /// Whether there are others before them.
    pub more: bool,
}

/// A change of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    Joined(u8),
    Left(u8),
}

/// Number of events since Redis last started empty.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Count {
    pub life: u8,
    pub number: u64,
}

/// A set of users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Users(u8);

impl Users {
    pub fn contains(self, user: u8) -> bool {
        self.0 & (1 << user) != 0
    }

    /// Returns whether it was added.
    pub fn insert(&mut self, user: u8) -> bool {
        let is_new = !self.contains(user);
        self.0 |= 1 << user;
        is_new
    }

    /// Returns whether it was in the set.
    pub fn remove(&mut self, user: u8) -> bool {
        let was_there = self.contains(user);
        self.0 &= !(1 << user);
        was_there
    }

    pub fn count(self) -> u8 {
        self.0.count_ones() as u8
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Word {
    pub fn to_text(&self) -> Bytes {
        serde_json::to_string(self).expect("plain data").into()
    }

    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).expect("a word of ours")
    }
}
