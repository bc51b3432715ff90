//! What a connection is told, with what the checks have to know about it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One frame to a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Word {
    /// The answer to its join.
    Joined(Joined),
    /// The message of this place in the history.
    Message(usize),
    /// The event of this number.
    Event(Count, Change),
    /// The list of members, when so many events had been counted, and whether the room is large.
    Members(Count, Users, bool),
    /// How many members a large room has; an event of this number.
    Size(Count, u8),
    /// What somebody published by hand.
    Foreign,
}

/// The snapshot that a connection starts from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Joined {
    pub events: Count,
    pub members: Users,
    /// Whether the room is large, so that changes of its members are not told.
    pub large: bool,
    /// Whether the join named the last message it had.
    pub resumed: bool,
    /// The messages given: from this place in the history …
    pub from: usize,
    /// … to before this one.
    pub to: usize,
    /// Whether it says that there are others before them.
    pub more: bool,
}

/// Who came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    Joined(u8),
    Left(u8),
}

/// How many events there were in this life of Redis.
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

    /// Returns whether that is news.
    pub fn insert(&mut self, user: u8) -> bool {
        let is_new = !self.contains(user);
        self.0 |= 1 << user;
        is_new
    }

    /// Returns whether it was there.
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
