//! The state of one connection, from the frames that it got, and whether they keep the promises.

use linkroom::names::MessageId;

use crate::{
    redis::Stored,
    words::{Change, Count, Joined, Users, Word},
};

/// One connection's view of the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client {
    /// Whether its latest join was answered.
    pub joined: bool,
    /// How much of the history it had when it asked to join.
    pub asked: usize,
    /// How much of the history it has, or was told is no longer stored.
    pub has: usize,
    /// The last event that its view includes.
    pub events: Count,
    /// The members that it shows.
    pub members: Users,
    /// The number of members, if it knows that the room is large.
    pub count: Option<u8>,
    /// A message whose retry has not been answered yet.
    pub owed: Option<usize>,
}

impl Client {
    /// The last message that it has seen, for a join that resumes.
    pub fn since(&self, history: &[Stored]) -> Option<MessageId> {
        self.has.checked_sub(1).map(|last| history[last].id)
    }

    /// Applies a frame. Returns the promise that the frame breaks.
    pub fn hear(&mut self, user: u8, word: Word, history: &[Stored]) -> Result<(), &'static str> {
        match word {
            Word::Joined(joined) => self.start(&joined, history),
            _ if !self.joined => Err("a frame before `joined`"),
            Word::Message(at) => self.hear_message(at, history),
            Word::Event(count, change) => self.hear_event(user, count, change),
            Word::Members(count, members, large) => {
                (self.events, self.members) = (count, members);
                self.count = large.then(|| members.count());
                Ok(())
            }
            Word::Size(count, size) => self.hear_size(count, size),
            Word::Foreign => Ok(()),
        }
    }

    fn start(&mut self, joined: &Joined, history: &[Stored]) -> Result<(), &'static str> {
        if joined.resumed && joined.from < self.asked && joined.from < joined.to {
            return Err("`joined` repeats a message");
        }
        if joined.resumed && !joined.more && skips(history, self.asked, joined.from) {
            return Err("`joined` skips a message in silence");
        }
        self.joined = true;
        if skips(history, joined.to, self.has) {
            return Err("`joined` is behind what was heard");
        }
        self.has = self.has.max(joined.to);
        (self.events, self.members) = (joined.events, joined.members);
        self.count = joined.large.then(|| joined.members.count());
        self.settle_debt();
        Ok(())
    }

    fn hear_message(&mut self, at: usize, history: &[Stored]) -> Result<(), &'static str> {
        if history[at].lost {
            // It was in progress when Redis lost it; that is allowed.
            return Ok(());
        }
        if at < self.has {
            return Err("a message twice, or out of order");
        }
        if skips(history, self.has, at) {
            return Err("a message skipped");
        }
        self.has = at + 1;
        self.settle_debt();
        Ok(())
    }

    fn hear_event(&mut self, user: u8, count: Count, change: Change) -> Result<(), &'static str> {
        if count <= self.events {
            return Err("an event that the snapshot held, or twice");
        }
        self.events = count;
        // Only small rooms get these events.
        self.count = None;
        match change {
            Change::Joined(who) if who == user && self.members.contains(who) => {
                return Err("its own join");
            }
            Change::Joined(who) => self.members.insert(who),
            Change::Left(who) => self.members.remove(who),
        };
        Ok(())
    }

    fn hear_size(&mut self, count: Count, size: u8) -> Result<(), &'static str> {
        if count <= self.events {
            return Err("a number that the snapshot held, or twice");
        }
        self.events = count;
        // Also if the list before it was lost.
        self.count = Some(size);
        Ok(())
    }

    /// Whether it knows the members, or in a large room their number.
    pub fn knows(&self, members: Users, large: bool) -> bool {
        if large {
            self.count == Some(members.count())
        } else {
            self.count.is_none() && self.members == members
        }
    }

    fn settle_debt(&mut self) {
        self.owed = self.owed.filter(|owed| *owed >= self.has);
    }

    /// Whether it has all messages.
    pub fn is_complete(&self, history: &[Stored]) -> bool {
        !skips(history, self.has, history.len())
    }
}

/// Whether a message that Redis did not lose is between two positions of the history.
fn skips(history: &[Stored], from: usize, to: usize) -> bool {
    history[from.min(to)..to].iter().any(|message| !message.lost)
}
