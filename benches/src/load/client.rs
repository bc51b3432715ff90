//! One client: its connection, and the frames on it.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use mio::net::TcpStream;

use crate::wire::{self, Frame};

/// The state of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has no connection.
    Away,
    /// It has requested a WebSocket.
    Upgrading,
    /// It has sent a join.
    Joining,
    /// It is in its room.
    Inside,
}

/// What a client received.
pub enum Heard<'a> {
    /// A message of its room, and the client's position.
    Message {
        /// its id
        id: &'a [u8],
        /// its text
        text: &'a [u8],
        /// the client's position in the room's order, to be advanced
        position: &'a mut usize,
    },
    /// An error frame.
    Error,
    /// It is to join again after this time.
    Deferred(Duration),
}

/// One client.
pub struct Client {
    /// Its room's number.
    pub room: usize,
    /// How many of the room's messages it has.
    pub position: usize,
    /// How far it has come.
    pub state: State,
    /// Its connection.
    pub stream: Option<TcpStream>,
    /// Its room's id.
    pub room_id: Arc<str>,
    /// How often somebody's status changed.
    pub presences: usize,
    name: String,
    /// Its token, once it has joined.
    token: Option<String>,
    /// The id of the last message that it has.
    last: Vec<u8>,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Client {
    /// A client that is not connected.
    pub fn new(room: usize, room_id: Arc<str>, name: String) -> Self {
        Self {
            room,
            position: 0,
            state: State::Away,
            stream: None,
            room_id,
            presences: 0,
            name,
            token: None,
            last: Vec::new(),
            inbox: Vec::new(),
            outbox: Vec::new(),
        }
    }

    /// Takes a connection in progress, and requests a WebSocket on it.
    pub fn connect(&mut self, stream: TcpStream, host: SocketAddr) {
        self.stream = Some(stream);
        self.state = State::Upgrading;
        self.inbox = Vec::new();
        // Written once the connection is established.
        self.outbox = wire::upgrade_request(&host.to_string());
    }

    /// Sends a frame.
    pub fn send(&mut self, payload: &[u8]) {
        wire::put_masked_text(&mut self.outbox, payload);
        self.flush();
    }

    /// Writes queued bytes as far as the socket accepts them.
    pub fn flush(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        while !self.outbox.is_empty() {
            match stream.write(&self.outbox) {
                Ok(written) => drop(self.outbox.drain(..written)),
                // Not now, or never; reading reports a lost connection.
                Err(_) => return,
            }
        }
    }

    /// A message as clients send it.
    pub fn message(&self, text: &str) -> String {
        format!(r#"{{"t":"msg","roomId":"{}","text":"{text}"}}"#, self.room_id)
    }

    /// A message as large as linkroom's, for a server that relays it unchanged.
    pub fn full_message(&self, text: &str) -> String {
        let room = &self.room_id;
        format!(
            r#"{{"t":"msg","roomId":"{room}","id":"1700000000000-0000000000","from":"{}","text":"{text}","timestamp":"2020-01-01T00:00:00.000Z"}}"#,
            self.name
        )
    }

    /// Processes input, frame by frame.
    pub fn take(&mut self, read: &[u8], mut hear: impl FnMut(Heard)) {
        if self.inbox.is_empty() && self.state == State::Inside {
            let used = self.take_frames(read, &mut hear);
            self.inbox.extend_from_slice(&read[used..]);
            return;
        }
        let mut joined = std::mem::take(&mut self.inbox);
        joined.extend_from_slice(read);
        let mut used = 0;
        if self.state == State::Upgrading {
            let Some(end) = wire::end_of_head(&joined) else {
                self.inbox = joined;
                return;
            };
            used = end;
            self.join();
        }
        used += self.take_frames(&joined[used..], &mut hear);
        joined.drain(..used);
        self.inbox = joined;
    }

    /// Joins its room, resuming from its last message.
    pub fn join(&mut self) {
        self.state = State::Joining;
        let room = &self.room_id;
        let token = self.token.as_ref().unwrap_or(&self.name);
        let since = String::from_utf8_lossy(&self.last);
        let since = if since.is_empty() { String::new() } else { format!(r#","since":"{since}""#) };
        let frame = format!(r#"{{"t":"join","roomId":"{room}","token":"{token}"{since}}}"#);
        self.send(frame.as_bytes());
    }

    fn take_frames(&mut self, read: &[u8], hear: &mut impl FnMut(Heard)) -> usize {
        let mut from = 0;
        while let Some(frame) = Frame::read(read, from) {
            from = frame.payload.end;
            if frame.opcode == 1 {
                self.take_text(&read[frame.payload], hear);
            }
        }
        from
    }

    fn take_text(&mut self, json: &[u8], hear: &mut impl FnMut(Heard)) {
        if json.starts_with(br#"{"t":"msg""#) {
            // The id follows the room's id, whose length is known.
            let head = br#"{"t":"msg","roomId":"","#.len() + self.room_id.len();
            self.take_message(&json[head..], hear);
        } else if json.starts_with(br#"{"t":"joined""#) {
            self.take_joined(json, hear);
        } else if json.starts_with(br#"{"t":"presence""#) {
            self.presences += 1;
        } else if let Some(wait) = self.deferred_for(json) {
            hear(Heard::Deferred(wait));
        } else if json.starts_with(br#"{"t":"error""#) {
            eprintln!("{}: {}", self.name, String::from_utf8_lossy(json));
            hear(Heard::Error);
        }
    }

    /// How long it is to wait before it joins again, where an error says so.
    fn deferred_for(&self, json: &[u8]) -> Option<Duration> {
        const NAME: &[u8] = br#""retryAfter":"#;
        if self.state != State::Joining || !json.starts_with(br#"{"t":"error""#) {
            return None;
        }
        let number = &json[wire::find(json, NAME)? + NAME.len()..];
        let end = number.iter().position(|byte| *byte == b'}')?;
        let seconds: f64 = std::str::from_utf8(&number[..end]).ok()?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Processes the message that begins with its id; returns the end of its text.
    fn take_message(&mut self, json: &[u8], hear: &mut impl FnMut(Heard)) -> Option<usize> {
        let (id, id_end) = wire::string_after(json, r#""id":""#)?;
        let (text, text_end) = wire::string_after(&json[id_end..], r#""text":""#)?;
        hear(Heard::Message { id, text, position: &mut self.position });
        self.last.clear();
        self.last.extend_from_slice(id);
        Some(id_end + text_end)
    }

    fn take_joined(&mut self, json: &[u8], hear: &mut impl FnMut(Heard)) {
        self.state = State::Inside;
        if let Some((token, _)) = wire::string_after(json, r#""token":""#) {
            self.token = Some(String::from_utf8_lossy(token).into_owned());
        }
        let mut rest = wire::find(json, br#""messages":["#).unwrap_or(json.len());
        while let Some(end) = self.take_message(&json[rest..], hear) {
            rest += end;
        }
    }
}
