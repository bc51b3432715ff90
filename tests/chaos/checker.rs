//! Reads the histories of a round afterwards, and says what in them breaks a promise.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
};

use serde_json::Value;

use crate::{
    figures::Figures,
    history::{Entry, Event, History},
    round::{Injected, STRANGER},
    rulings::{Deleted, Ended, Locked, Removed, Rulings},
    stream::{Id, Stored, Stream, is_redacted},
    view::View,
};

/// Maximum number of messages in the answer to a join without `since`.
const JOIN_HISTORY: usize = 50;
/// How long a node that shuts down waits for answers to what it has read, in seconds; a little
/// less, as a tolerance.
const ANSWERED_WITHIN: f64 = 0.8;
/// Close codes that a correct client may get: none, shutdown, too slow.
const HARMLESS_CODES: [u16; 2] = [1012, 1013];

/// All recordings of a round.
#[derive(Default)]
pub struct Evidence {
    pub histories: Vec<History>,
    /// Those of the HTTP bots.
    pub bots: Vec<History>,
    /// By room.
    pub streams: HashMap<String, Stream>,
    pub injected: Vec<Injected>,
    pub rulings: Rulings,
    /// Of those whose room was ended.
    pub homeless: Vec<History>,
}

/// A broken promise.
pub struct Violation {
    /// The check that found it.
    pub check: &'static str,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.check, self.what)
    }
}

/// All violations in the evidence; counts what was checked.
pub fn check(evidence: &Evidence, figures: &mut Figures) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (room, stream) in &evidence.streams {
        figures.messages += stream.0.len();
        let all = evidence.histories.iter().chain(&evidence.bots);
        let histories = all.filter(|history| history.room() == room);
        stored_once(stream, &histories.collect::<Vec<_>>(), &mut violations);
    }
    evidence
        .rulings
        .removed
        .iter()
        .for_each(|removed| stays_out(removed, evidence, &mut violations));
    evidence
        .rulings
        .deleted
        .iter()
        .for_each(|deleted| stays_deleted(deleted, evidence, &mut violations));
    for ended in &evidence.rulings.ended {
        let histories = evidence.homeless.iter().filter(|history| history.room() == ended.room);
        histories.for_each(|history| stays_ended(ended, history, &mut violations));
    }
    for injected in &evidence.injected {
        figures.injected(injected.fault.kind);
    }
    for bot in &evidence.bots {
        answered_well(bot, &evidence.streams[bot.room()], &mut violations);
    }
    for history in &evidence.histories {
        let stream = &evidence.streams[history.room()];
        let mut reader = Reader::new(history, stream, &evidence.rulings);
        reader.read(&evidence.injected, figures);
        violations.append(&mut reader.violations);
    }
    violations
}

/// What was acknowledged is in the stream, everything is there at most once, and nothing that
/// nobody said.
fn stored_once(stream: &Stream, histories: &[&History], violations: &mut Vec<Violation>) {
    let mut violation = |what| violations.push(Violation { check: "stored once", what });
    let (mut said, mut acknowledged) = (HashMap::new(), HashMap::new());
    for history in histories {
        let (messages, keys) = said_and_acknowledged(history);
        said.extend(messages);
        acknowledged.extend(keys);
    }
    let mut found = HashSet::new();
    // What a deleted one was is known where the answer to its deletion came.
    let is_known = |stored: &&Stored| !stored.is_deleted || stored.key.is_some();
    for (id, stored) in stream.0.iter().filter(|(_, stored)| is_known(stored)) {
        let key = stored.key.clone().unwrap_or_default();
        if said
            .get(&key)
            .is_none_or(|(names, text)| !names.contains(&stored.from) || *text != stored.text)
        {
            violation(format!("{id} is in the stream, but nobody said it: {stored:?}"));
        }
        if !found.insert(key) {
            violation(format!("{id} repeats an earlier message: {stored:?}"));
        }
    }
    for (lost, id) in acknowledged.iter().filter(|(key, _)| !found.contains(*key)) {
        // Of what was deleted, the key may be unknown.
        if !id.and_then(|id| stream.0.get(&id)).is_some_and(|stored| stored.is_deleted) {
            violation(format!("{lost} was acknowledged, but is not in the stream"));
        }
    }
}

/// Nothing is stored of somebody who was removed.
fn stays_out(removed: &Removed, evidence: &Evidence, violations: &mut Vec<Violation>) {
    let Removed { room, name, last } = removed;
    let late =
        evidence.streams[room].0.iter().filter(|(id, stored)| *id > last && stored.from == *name);
    for (id, _) in late {
        let what = format!("{id} of {name} of {room} was stored after it was removed");
        violations.push(Violation { check: "removed", what });
    }
}

/// What was deleted is deleted, and nowhere else.
fn stays_deleted(deleted: &Deleted, evidence: &Evidence, violations: &mut Vec<Violation>) {
    let Deleted { room, id, stored, at } = deleted;
    let all = &evidence.streams[room].0;
    let is_deleted = all.get(id).is_some_and(|place| place.is_deleted);
    // Everybody says everything under a key of its own.
    let again = all.iter().find(|(_, other)| !other.is_deleted && other.key == stored.key);
    if at.is_finite() && (!is_deleted || again.is_some()) {
        let what = format!("{id} of {room} was deleted at {at:.3} s, and is there: {again:?}");
        violations.push(Violation { check: "deleted", what });
    }
}

/// Nobody gets into a room that was ended.
fn stays_ended(ended: &Ended, history: &History, violations: &mut Vec<Violation>) {
    let mut asked = 0.0;
    for entry in history.entries() {
        match entry.event {
            Event::Join { .. } => asked = entry.at,
            Event::Got(frame) if frame["t"] == "joined" && asked > ended.at => {
                let (room, name, at) = (&ended.room, history.name(), entry.at);
                let what = format!("{name} got into {room} at {at:.3} s, {:.3} s", ended.at);
                violations.push(Violation { check: "ended", what });
            }
            _ => {}
        }
    }
}

/// What a client said, and the keys that were acknowledged with the ids of their messages.
fn said_and_acknowledged(history: &History) -> (Said, HashMap<String, Option<Id>>) {
    let (mut said, mut acknowledged) = (HashMap::new(), HashMap::new());
    let (mut texts, mut names) = (HashMap::new(), HashSet::from([history.name().to_owned()]));
    for entry in history.entries() {
        match entry.event {
            Event::Say { key, text } => drop(texts.insert(key, text)),
            Event::Got(frame) => {
                names.extend(frame["me"].as_str().map(str::to_owned));
                let key = frame["key"].as_str().filter(|key| texts.contains_key(*key));
                let key = key.filter(|_| frame["t"] == "msg").map(str::to_owned);
                acknowledged.extend(key.map(|key| (key, Id::of(&frame))));
            }
            _ => {}
        }
    }
    for (key, text) in texts {
        said.insert(key, (names.clone(), text));
    }
    (said, acknowledged)
}

/// A bot's request is answered with the stored message, or told that Redis is unavailable.
fn answered_well(bot: &History, stream: &Stream, violations: &mut Vec<Violation>) {
    for entry in bot.entries() {
        let Event::Got(frame) = entry.event else { continue };
        if !stream.holds(&frame) && frame["code"] != "SERVICE_UNAVAILABLE" {
            let what = format!("{} of {}: {frame}", bot.name(), bot.room());
            violations.push(Violation { check: "answers to a bot", what });
        }
    }
}

/// By key: the possible senders, and the text.
type Said = HashMap<String, (HashSet<String>, String)>;

/// Reads one history.
struct Reader<'a> {
    history: &'a History,
    entries: Vec<Entry>,
    stream: &'a Stream,
    rulings: &'a Rulings,
    violations: Vec<Violation>,
    /// How often each key was said so far.
    said: HashMap<String, usize>,
    /// Its name, as it was told.
    me: Value,
    /// The last message that it was given over any connection.
    furthest: Id,
    /// Messages that were deleted, whose text it was given, and not told that they were.
    shown: BTreeSet<Id>,
    /// When it first wanted to come in.
    knocked: Option<f64>,
    connection: Connection,
}

/// What a connection was given so far.
#[derive(Default)]
struct Connection {
    /// What it asked for with its last join, and when.
    since: Option<Id>,
    asked: f64,
    /// Whether it was told that it is out for good.
    is_out: bool,
    /// The last message it was given; none before `joined`.
    position: Option<Id>,
    view: View,
    /// Keys said over this connection, and how often.
    said: HashMap<String, usize>,
    /// What was said over this connection and not answered.
    open: Vec<Open>,
    pings: usize,
    pongs: usize,
}

/// Something said that was not answered.
struct Open {
    key: String,
    /// The number of the next ping after it.
    ping: usize,
    /// When that ping was answered: the node had read it all by then.
    read_at: Option<f64>,
}

impl<'a> Reader<'a> {
    fn new(history: &'a History, stream: &'a Stream, rulings: &'a Rulings) -> Self {
        Self {
            history,
            entries: history.entries(),
            stream,
            rulings,
            violations: Vec::new(),
            said: HashMap::new(),
            me: Value::Null,
            furthest: Id::default(),
            shown: BTreeSet::new(),
            knocked: None,
            connection: Connection::default(),
        }
    }

    /// Whether the client was there to the end.
    fn is_resident(&self) -> bool {
        self.history.name().starts_with("user")
    }

    fn is_outcast(&self) -> bool {
        let of_it = |removed: &Removed| {
            removed.room == self.history.room() && removed.name == self.history.name()
        };
        self.rulings.removed.iter().any(of_it)
    }

    fn read(&mut self, injected: &[Injected], figures: &mut Figures) {
        for entry in std::mem::take(&mut self.entries) {
            match &entry.event {
                Event::Opened { .. } => {
                    figures.connections += 1;
                    self.connection = Connection::default();
                }
                Event::Join { since } => {
                    (self.connection.since, self.connection.asked) = (*since, entry.at);
                    self.knocked = self.knocked.or(Some(entry.at));
                    if since.is_none() {
                        // It shows nothing of what was before.
                        self.shown.clear();
                    }
                }
                Event::Say { key, .. } => self.say(key),
                Event::Ping => self.connection.pings += 1,
                Event::Leave => {}
                Event::Got(frame) => self.got(&entry, frame, figures),
                Event::Closed(code) => {
                    figures.leaving += usize::from(*code == Some(1012));
                    figures.too_slow += usize::from(*code == Some(1013));
                    self.closed(&entry, *code, injected);
                }
            }
        }
        if self.is_resident() && !self.shown.is_empty() {
            let (name, room) = (self.history.name(), self.history.room());
            let what = format!("{name} of {room} still shows {:?}", self.shown);
            self.violations.push(Violation { check: "deleted", what });
        }
    }

    /// Notes whether a message was given with a text that is to be seen no more.
    fn note_text(&mut self, message: &Value) {
        let Some(id) = Id::of(message) else { return };
        let is_deleted = self.stream.0.get(&id).is_some_and(|stored| stored.is_deleted);
        if is_deleted && !is_redacted(message) {
            self.shown.insert(id);
        } else {
            self.shown.remove(&id);
        }
    }

    fn say(&mut self, key: &str) {
        *self.said.entry(key.to_owned()).or_default() += 1;
        *self.connection.said.entry(key.to_owned()).or_default() += 1;
        let (key, ping) = (key.to_owned(), self.connection.pings);
        self.connection.open.push(Open { key, ping, read_at: None });
    }

    fn got(&mut self, entry: &Entry, frame: &Value, figures: &mut Figures) {
        if let Some(key) = frame["key"].as_str() {
            self.connection.open.retain(|open| open.key != key);
        }
        let t = frame["t"].as_str().unwrap_or_default();
        if self.connection.is_out && !["pong", "error"].contains(&t) {
            self.violation("removed", entry, format!("after it was removed: {frame}"));
        }
        match t {
            "removed" => self.connection.is_out = true,
            "deleted" => drop(Id::of(frame).map(|id| self.shown.remove(&id))),
            "joined" => self.joined(entry, frame, figures),
            "msg" => self.message(entry, frame, figures),
            "pong" => self.connection.pong(entry.at),
            "error" => self.error(entry, frame),
            _ => {}
        }
        figures.events += usize::from(frame.get("userId").is_some());
        if let Some(what) = self.connection.view.apply(frame) {
            self.violation("joins and leaves", entry, what);
        }
    }

    fn joined(&mut self, entry: &Entry, frame: &Value, figures: &mut Figures) {
        self.comes_in(entry);
        self.me = frame["me"].clone();
        let messages = frame["messages"].as_array().unwrap();
        for message in messages {
            self.note_text(message);
            let is_late = |deleted: &&Deleted| {
                deleted.room == self.history.room()
                    && Some(deleted.id) == Id::of(message)
                    && deleted.at < self.connection.asked
            };
            let late = self.rulings.deleted.iter().find(is_late).filter(|_| !is_redacted(message));
            if let Some(Deleted { at, .. }) = late {
                let what = format!("{message} after it was deleted at {at:.3} s");
                self.violation("deleted", entry, what);
            }
        }
        let first = messages.first().and_then(Id::of);
        // A `since` that the stream does not hold was made up by a stranger: the answer to it is the
        // latest messages, or what came after the last that the client was given.
        let more = frame["more"] == true;
        let since = self.connection.since;
        let made_up = since.is_some_and(|since| !self.stream.0.contains_key(&since));
        let mut position = match (since, first) {
            (Some(since), _) if made_up && !more => self.stream.before(since).min(self.furthest),
            (Some(since), _) if !made_up => since,
            (_, Some(first)) if messages.len() == JOIN_HISTORY => self.stream.before(first),
            _ => Id::default(),
        };
        for message in messages {
            figures.deliveries += 1;
            let (expected, got) = (self.stream.after(position), Id::of(message));
            if expected != got || !self.stream.holds(message) {
                let what = format!("in joined: {message} where {expected:?} comes next");
                self.violation("exactly the stream", entry, what);
            }
            position = got.unwrap_or(position).max(position);
        }
        if since.is_some() && !made_up && more {
            let what = "joined says that there are more, though nothing was trimmed".to_owned();
            self.violation("exactly the stream", entry, what);
        }
        self.reached(position);
    }

    /// Nobody new comes in while the room is locked.
    fn comes_in(&mut self, entry: &Entry) {
        let is_new = self.me.is_null() && self.history.name().starts_with("guest");
        let (room, at) = (self.history.room(), entry.at);
        let locks = |locked: &&Locked| {
            locked.room == room
                && self.knocked.is_some_and(|knocked| knocked > locked.from)
                && at < locked.to
        };
        if let Some(locked) = self.rulings.locked.iter().find(locks).filter(|_| is_new) {
            let what = format!("came in, though it was locked: {locked:?}");
            self.violation("locked", entry, what);
        }
    }

    fn reached(&mut self, position: Id) {
        self.connection.position = Some(position);
        self.furthest = self.furthest.max(position);
    }

    fn message(&mut self, entry: &Entry, frame: &Value, figures: &mut Figures) {
        if frame["from"] == STRANGER {
            return;
        }
        figures.deliveries += 1;
        self.note_text(frame);
        let Some((position, id)) = self.connection.position.zip(Id::of(frame)) else {
            return self.violation("exactly the stream", entry, format!("before joined: {frame}"));
        };
        let expected = self.stream.after(position);
        if expected == Some(id) && self.stream.holds(frame) {
            self.reached(id);
        } else if !(id <= position && self.stream.holds(frame) && self.is_retried(frame)) {
            let what = match id.cmp(&position) {
                std::cmp::Ordering::Greater => "a gap or no message of the stream",
                _ => "a repeat or out of order",
            };
            let place = format!("after {position}, where {expected:?} comes next");
            self.violation("exactly the stream", entry, format!("{what}: {frame} {place}"));
        }
    }

    /// Whether the frame may be the answer to a retry over this connection.
    fn is_retried(&mut self, frame: &Value) -> bool {
        let key = frame["key"].as_str().unwrap_or_default();
        let own = self.me == frame["from"];
        let again = self.said.get(key).is_some_and(|times| *times > 1);
        let left = self.connection.said.get_mut(key).filter(|left| **left > 0);
        match left {
            Some(left) if own && again => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// Only errors that a correct client cannot avoid are allowed.
    fn error(&mut self, entry: &Entry, frame: &Value) {
        let is_guest = self.connection.position.is_none() && self.said.is_empty();
        let excused = match frame["code"].as_str().unwrap_or_default() {
            "SERVICE_UNAVAILABLE" => true,
            "NAME_TAKEN" | "ROOM_LOCKED" => is_guest,
            "INVALID_TOKEN" | "NOT_IN_ROOM" => self.is_outcast(),
            _ => false,
        };
        if !excused {
            self.violation("no error but that Redis is away", entry, frame.to_string());
        }
    }

    /// A node that shuts down first answers what it has read, which includes everything before an
    /// answered ping; but it waits only for a limited time.
    fn closed(&mut self, entry: &Entry, code: Option<u16>, injected: &[Injected]) {
        if code.is_some_and(|code| !HARMLESS_CODES.contains(&code)) {
            self.violation("close codes", entry, format!("closed with {code:?}"));
        }
        let hindered = injected.iter().any(|injected| {
            injected.fault.kind.hinders_answers()
                && injected.from < entry.at
                && entry.at < injected.felt_until
        });
        if code != Some(1012) || hindered {
            return;
        }
        let soon =
            |open: &&Open| open.read_at.is_some_and(|read| entry.at - read < ANSWERED_WITHIN);
        let forgotten: Vec<_> = self.connection.open.iter().filter(soon).map(|o| &o.key).collect();
        if !forgotten.is_empty() {
            let what = format!("closed with 1012 before these were answered: {forgotten:?}");
            self.violation("leaves politely", entry, what);
        }
    }

    fn violation(&mut self, check: &'static str, entry: &Entry, what: String) {
        let (name, room) = (self.history.name(), self.history.room());
        let (at, connection) = (entry.at, entry.connection);
        let what: String = what.chars().take(500).collect();
        let what = format!("{name} of {room}, connection {connection}, at {at:.3} s: {what}");
        self.violations.push(Violation { check, what });
    }
}

impl Connection {
    fn pong(&mut self, at: f64) {
        let read = self.open.iter_mut().filter(|open| open.ping <= self.pongs);
        read.for_each(|open| open.read_at = open.read_at.or(Some(at)));
        self.pongs += 1;
    }
}
