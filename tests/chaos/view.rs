//! The members of a room and their states, as one client was told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::stream::Id;

/// The members of a room, as one client was told.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub members: BTreeSet<String>,
    pub away: BTreeSet<String>,
    read: BTreeMap<String, Id>,
}

impl View {
    /// Applies a frame. Returns an error if it does not fit: joins and leaves alternate, a presence
    /// is told only when it changes, a read position never goes back.
    pub fn apply(&mut self, frame: &Value) -> Option<String> {
        let user = frame["userId"].as_str().unwrap_or_default();
        match frame["t"].as_str().unwrap_or_default() {
            "joined" | "members" => {
                self.members = names(&frame["members"]);
                self.away = names(&frame["away"]);
                None
            }
            "user_joined" => {
                let new = self.members.insert(user.to_owned());
                (!new).then(|| format!("{user} joins but is here"))
            }
            "user_left" => {
                self.away.remove(user);
                let was_here = self.members.remove(user);
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
