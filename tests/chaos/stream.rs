//! The stream of a room in Redis: the truth for the comparison with the histories.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound::{Excluded, Unbounded},
};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::{
    rulings::Deleted,
    support::{
        resp::Reply,
        shape::{parse_id, rfc3339},
    },
};

/// A message id: milliseconds, then a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64, pub u64);

impl Id {
    /// The id of a frame or a message.
    pub fn of(frame: &Value) -> Option<Self> {
        Self::parse(frame["id"].as_str()?)
    }

    /// The id of the first of a stream's entries.
    pub fn of_entries(reply: &Reply) -> Option<Self> {
        Self::parse(reply.list().first()?.list()[0].text())
    }

    fn parse(text: &str) -> Option<Self> {
        parse_id(text).map(|(ms, number)| Self(ms, number))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub from: String,
    pub text: String,
    pub key: Option<String>,
    /// Whether it was deleted since: Redis has its place and its sender.
    pub is_deleted: bool,
}

/// All messages of a room.
#[derive(Default)]
pub struct Stream(pub BTreeMap<Id, Stored>);

impl Stream {
    /// From the answer to `XRANGE … - +`.
    pub fn read(reply: &Reply) -> Self {
        let entries = reply.list().iter().map(|entry| {
            let [id, fields] = entry.list() else { panic!("no stream entry: {entry:?}") };
            (Id::parse(id.text()).unwrap(), Stored::read(fields.list()))
        });
        Self(entries.collect())
    }

    /// Adds those that were deleted: what Redis lists of them, `ZRANGE … 0 -1`.
    pub fn add_deleted(&mut self, reply: &Reply) {
        for place in reply.texts() {
            let mut words = place.splitn(4, ' ');
            let id = words.next().and_then(|id| {
                let (ms, number) = id.split_once('-')?;
                Some(Id(ms.parse().ok()?, number.parse().ok()?))
            });
            let from = words.nth(2).unwrap().to_owned();
            let stored = Stored { from, text: String::new(), key: None, is_deleted: true };
            // One that is in the stream still was not deleted.
            self.0.entry(id.unwrap()).or_insert(stored);
        }
    }

    /// Fills in what they were.
    pub fn restore_deleted(&mut self, deleted: &[Deleted]) {
        for Deleted { id, stored, .. } in deleted {
            if let Some(place) = self.0.get_mut(id).filter(|place| place.is_deleted) {
                *place = Stored { is_deleted: true, ..stored.clone() };
            }
        }
    }

    /// The message that comes after this one.
    pub fn after(&self, id: Id) -> Option<Id> {
        self.0.range((Excluded(id), Unbounded)).next().map(|(id, _)| *id)
    }

    /// The message before this one; zero if there is none.
    pub fn before(&self, id: Id) -> Id {
        self.0.range(..id).next_back().map(|(id, _)| *id).unwrap_or_default()
    }

    /// Whether a frame, or a message of a list, agrees with the stored message.
    pub fn holds(&self, message: &Value) -> bool {
        let text = |field: &str| message[field].as_str().map(str::to_owned);
        let Some(id) = Id::of(message) else { return false };
        self.0.get(&id).is_some_and(|stored| {
            let says = match is_redacted(message) {
                true => stored.is_deleted,
                false => Some(&stored.text) == text("text").as_ref() && stored.key == text("key"),
            };
            says && Some(&stored.from) == text("from").as_ref()
                && message["timestamp"] == rfc3339(id.0)
        })
    }
}

/// Whether a frame, or a message of a list, says that it was deleted, and no text.
pub fn is_redacted(message: &Value) -> bool {
    message["deleted"] == true && message["text"].is_null()
}

impl Stored {
    fn read(fields: &[Reply]) -> Self {
        let field = |name: &str| {
            let pair = fields.chunks(2).find(|pair| pair[0].text() == name)?;
            Some(pair[1].text().to_owned())
        };
        let (from, text) = (field("from").unwrap_or_default(), field("text").unwrap_or_default());
        Self { from, text, key: field("key"), is_deleted: false }
    }
}
