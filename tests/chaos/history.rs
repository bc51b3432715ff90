//! What one client did and saw, in order: the checker's only source.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use crate::{stream::Id, view::View};

/// One event of a client.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Seconds since the round began.
    pub at: f64,
    /// The client's connections are counted from 1.
    pub connection: usize,
    pub event: Event,
}

/// The kinds of events.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A connection to this node is open.
    Opened {
        node: usize,
    },
    /// It sent these frames.
    Join {
        since: Option<Id>,
    },
    Say {
        key: String,
        text: String,
    },
    Ping,
    Leave,
    /// It got this frame.
    Got(Value),
    /// The connection ended; with the code if the server closed it.
    Closed(Option<u16>),
}

/// A client's history and the current state that the round needs; cheap to clone.
#[derive(Clone)]
pub struct History(Arc<Inner>);

struct Inner {
    name: String,
    room: String,
    start: Instant,
    state: Mutex<State>,
}

/// The entries, and the state that follows from them.
#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    connection: usize,
    /// The members according to the client.
    view: View,
    in_room: bool,
    unanswered: usize,
    away: bool,
    /// When each text was first received.
    heard: HashMap<String, Instant>,
}

impl History {
    pub fn new(name: &str, room: &str, start: Instant) -> Self {
        let (name, room) = (name.to_owned(), room.to_owned());
        Self(Arc::new(Inner { name, room, start, state: Mutex::default() }))
    }

    /// The name with which the client joined.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn room(&self) -> &str {
        &self.0.room
    }

    pub fn note(&self, event: Event) {
        let mut state = self.0.state.lock();
        match &event {
            Event::Opened { .. } => state.connection += 1,
            Event::Leave | Event::Closed(_) => state.in_room = false,
            Event::Got(frame) => state.take(frame),
            _ => {}
        }
        let (at, connection) = (self.0.start.elapsed().as_secs_f64(), state.connection);
        state.entries.push(Entry { at, connection, event });
    }

    pub fn set_unanswered(&self, count: usize) {
        self.0.state.lock().unanswered = count;
    }

    pub fn set_away(&self, away: bool) {
        self.0.state.lock().away = away;
    }

    pub fn is_away(&self) -> bool {
        self.0.state.lock().away
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.0.state.lock().entries.clone()
    }

    /// When a text was first received.
    pub fn heard(&self, text: &str) -> Option<Instant> {
        self.0.state.lock().heard.get(text).copied()
    }

    /// The members according to the client, while it is in the room itself.
    pub fn view(&self) -> Option<View> {
        let state = self.0.state.lock();
        state.in_room.then(|| state.view.clone())
    }

    /// Whether all its messages were acknowledged.
    pub fn is_answered(&self) -> bool {
        self.0.state.lock().unanswered == 0
    }

    /// Writes the history to a file, one line an entry.
    pub fn write(&self, folder: &Path, number: usize) -> std::io::Result<()> {
        let name = format!("client-{number}-{}-{}.jsonl", self.0.room, self.0.name);
        let mut file = BufWriter::new(File::create(folder.join(name))?);
        for entry in &self.0.state.lock().entries {
            writeln!(file, "{}", serde_json::to_string(entry)?)?;
        }
        file.flush()
    }
}

impl State {
    fn take(&mut self, frame: &Value) {
        if frame["t"] == "joined" {
            self.in_room = true;
            for message in frame["messages"].as_array().unwrap() {
                self.hear(message);
            }
        }
        if frame["t"] == "msg" {
            self.hear(frame);
        }
        if frame["t"] == "removed" {
            self.in_room = false;
        }
        // What does not fit is the checker's business.
        let _ = self.view.apply(frame);
    }

    fn hear(&mut self, message: &Value) {
        let text = message["text"].as_str().unwrap_or_default();
        if text.len() < 64 && !self.heard.contains_key(text) {
            self.heard.insert(text.to_owned(), Instant::now());
        }
    }
}
