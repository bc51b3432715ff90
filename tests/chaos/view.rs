//! The members of a room and their states, as one client was told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::stream::Id;

/// The members of a room, as one client was told.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// In a large room some of them.
    pub members: BTreeSet<String>,
    pub away: BTreeSet<String>,
    /// How many there are.
    pub count: u64,
    read: BTreeMap<String, Id>,
    /// Whether the last that it was told is their number: then no single changes are told until the next list.
    is_large: bool,
}

impl View {
    /// Applies a frame. Returns an error if it does not fit: joins and leaves alternate, a presence is told only when it
    /// changes, a read position never goes back, and in a large room none of these is told.
    pub fn apply(&mut self, frame: &Value) -> Option<String> {
        let user = frame["userId"].as_str().unwrap_or_default();
        let t = frame["t"].as_str().unwrap_or_default();
        if self.is_large && ["user_joined", "user_left", "presence", "read"].contains(&t) {
            return Some(format!("{t} of {user} in a large room"));
        }
        match t {
            "joined" | "members" => {
                self.count = frame["memberCount"].as_u64()?;
                self.is_large = frame["members"].is_null();
                if !self.is_large {
                    self.members = names(&frame["members"]);
                    self.away = names(&frame["away"]);
                }
                None
            }
            "user_joined" => {
                let new = self.members.insert(user.to_owned());
                self.count += u64::from(new);
                (!new).then(|| format!("{user} joins but is here"))
            }
            "user_left" => {
                self.away.remove(user);
                let was_here = self.members.remove(user);
                self.count -= u64::from(was_here);
                (!was_here).then(|| format!("{user} leaves but is not here"))
            }
            "presence" => self.presence(user, frame["status"] == "away"),
            "read" => self.read(user, Id::of(frame)?),
            _ => None,
        }
    }

    fn presence(&mut self, user: &str, away: bool) -> Option<String> {
        let changed = if away { self.away.insert(user.to_owned()) } else { self.away.remove(user) };
        (!changed).then(|| format!("{user} is told to be away: {away}, which is no news"))
    }

    fn read(&mut self, user: &str, id: Id) -> Option<String> {
        let before = self.read.insert(user.to_owned(), id)?;
        (before >= id).then(|| format!("{user} has read up to {before}, then up to {id}"))
    }
}

fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
