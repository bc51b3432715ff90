//! The floor: the minimal work of a server that relays messages. No Redis, no history, no JSON: a
//! client's message is framed once and written to every connection in its room.
//!
//! Without batches, it writes each message separately. With batches, it first reads everything that
//! is ready and then writes it in one call per recipient, which is the cheapest way that keeps the
//! order.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
};

use anyhow::Context;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use crate::{
    listen,
    wire::{self, Frame, Wish},
};

const LISTENER: Token = Token(usize::MAX);
const EVENTS: usize = 1024;
const READ_BUFFER: usize = 64 * 1024;

/// Serves until it is killed.
///
/// # Errors
/// The system refuses a socket.
pub fn serve(batches: bool) -> anyhow::Result<()> {
    let mut listener = TcpListener::from_std(listen::on_loopback()?);
    println!("floor: open http://{}", listener.local_addr()?);
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor = Floor { poll, batches, ..Floor::new()? };
    let mut events = Events::with_capacity(EVENTS);
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        match floor.poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            done => done.context("poll")?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener)?,
                Token(at) => floor.ready(at, &mut buffer),
            }
        }
        floor.write_batches();
    }
}

struct Floor {
    poll: Poll,
    batches: bool,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    room_numbers: HashMap<Vec<u8>, usize>,
    rooms: Vec<Room>,
    /// Rooms with something to write.
    waiting: Vec<usize>,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    batch: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    room: Option<usize>,
    upgraded: bool,
    /// The bytes of an incomplete frame.
    inbox: Vec<u8>,
    /// Bytes that the socket did not accept.
    outbox: Vec<u8>,
}

impl Floor {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            batches: false,
            connections: Vec::new(),
            free: Vec::new(),
            room_numbers: HashMap::new(),
            rooms: Vec::new(),
            waiting: Vec::new(),
        })
    }

    fn accept(&mut self, listener: &TcpListener) -> anyhow::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accept"),
            };
            stream.set_nodelay(true)?;
            let at = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(at), interest)?;
            self.connections[at] = Some(Connection::new(stream));
        }
    }

    fn ready(&mut self, at: usize, buffer: &mut [u8]) {
        let Some(connection) = &mut self.connections[at] else { return };
        connection.write(&[]);
        loop {
            let Some(connection) = &mut self.connections[at] else { return };
            match connection.stream.read(buffer) {
                Ok(0) => return self.close(at),
                Ok(length) => {
                    self.take(at, &mut buffer[..length]);
                    if length < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.close(at),
            }
        }
    }

    fn close(&mut self, at: usize) {
        if let Some(Connection { room: Some(room), .. }) = self.connections[at].take() {
            self.rooms[room].members.retain(|&member| member != at);
        }
        self.free.push(at);
    }

    /// Handles complete frames, and keeps the rest.
    fn take(&mut self, at: usize, read: &mut [u8]) {
        let Some(connection) = &mut self.connections[at] else { return };
        if !connection.inbox.is_empty() || !connection.upgraded {
            connection.inbox.extend_from_slice(read);
            let mut joined = std::mem::take(&mut connection.inbox);
            return self.take_joined(at, &mut joined);
        }
        self.take_joined(at, read);
    }

    fn take_joined(&mut self, at: usize, read: &mut [u8]) {
        let mut from = 0;
        if let Some(connection) = &mut self.connections[at]
            && !connection.upgraded
            && let Some(end) = wire::end_of_head(read)
        {
            connection.upgraded = true;
            connection.write(wire::upgrade_answer().as_bytes());
            from = end;
        }
        let is_upgraded = |floor: &Self| floor.connections[at].as_ref().is_some_and(|c| c.upgraded);
        while is_upgraded(self)
            && let Some(frame) = Frame::read(read, from)
        {
            frame.unmask(read);
            from = frame.payload.end;
            self.obey(at, &read[frame.payload]);
        }
        if let Some(connection) = &mut self.connections[at]
            && from < read.len()
        {
            connection.inbox = read[from..].to_vec();
        }
    }

    fn obey(&mut self, at: usize, payload: &[u8]) {
        match wire::wish(payload) {
            Some(Wish::Say) => self.pass_on(at, payload),
            Some(Wish::Ping) => self.answer(at, wire::PONG),
            Some(Wish::Join(room)) => {
                self.join(at, room);
                self.answer(at, wire::JOINED);
            }
            None => {}
        }
    }

    fn join(&mut self, at: usize, id: &[u8]) {
        let next = self.rooms.len();
        let room = *self.room_numbers.entry(id.to_vec()).or_insert(next);
        if room == next {
            self.rooms.push(Room::default());
        }
        self.rooms[room].members.push(at);
        if let Some(connection) = &mut self.connections[at] {
            connection.room = Some(room);
        }
    }

    fn answer(&mut self, at: usize, payload: &[u8]) {
        let mut frame = Vec::with_capacity(payload.len() + 4);
        wire::put_text(&mut frame, payload);
        if let Some(connection) = &mut self.connections[at] {
            connection.write(&frame);
        }
    }

    fn pass_on(&mut self, at: usize, payload: &[u8]) {
        let Some(Connection { room: Some(room), .. }) = self.connections[at] else { return };
        let batch = &mut self.rooms[room].batch;
        if batch.is_empty() {
            self.waiting.push(room);
        }
        wire::put_text(batch, payload);
        if !self.batches {
            self.write_batches();
        }
    }

    fn write_batches(&mut self) {
        for room in self.waiting.drain(..) {
            let Room { members, batch } = &mut self.rooms[room];
            for &member in members.iter() {
                if let Some(connection) = &mut self.connections[member] {
                    connection.write(batch);
                }
            }
            batch.clear();
        }
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, room: None, upgraded: false, inbox: Vec::new(), outbox: Vec::new() }
    }

    /// Writes the queued bytes and then `bytes`, and keeps what the socket does not accept. A
    /// disconnected peer is noticed by the next read.
    fn write(&mut self, bytes: &[u8]) {
        if !self.outbox.is_empty() {
            self.outbox.extend_from_slice(bytes);
            let written = self.stream.write(&self.outbox).unwrap_or(0);
            self.outbox.drain(..written);
            if self.outbox.is_empty() {
                self.outbox = Vec::new();
            }
        } else if !bytes.is_empty() {
            let written = self.stream.write(bytes).unwrap_or(0);
            self.outbox.extend_from_slice(&bytes[written..]);
        }
    }
}
