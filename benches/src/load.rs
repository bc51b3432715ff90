//! The clients: one thread with all connections of a load, which sends their messages, and checks
//! that each connection gets every message of its room once and in the same order.

mod client;
mod order;

use std::{
    io::{ErrorKind, Read},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{latency::Latency, server::Server};
use client::{Client, Heard, State};
use order::Room;

const EVENTS: usize = 1024;
const READ_BUFFER: usize = 256 * 1024;
/// Connections that are opened at the same time if the time does not matter.
const OPENED_AT_ONCE: usize = 64;
/// Maximum time for clients to connect, or for the last messages to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// The results of a load's clients.
#[derive(Clone, Default)]
pub struct Tally {
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that arrived, counted at every connection.
    pub deliveries: u64,
    /// Those that never arrived.
    pub lost: u64,
    /// Those that arrived again.
    pub doubled: u64,
    /// Those that arrived in another order than elsewhere, or with an id that does not increase.
    pub disordered: u64,
    /// Error frames, and connections that ended.
    pub errors: u64,
    /// Joins that were told to come again later.
    pub deferred: u64,
    /// From sending to arriving, microseconds.
    pub latency: Latency,
}

/// One thread's clients.
pub struct Load {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    clients: Vec<Client>,
    rooms: Vec<Room>,
    address: SocketAddr,
    /// Whether messages come back unchanged.
    is_echoed: bool,
    begun: Instant,
    /// Whether each message that comes back triggers the next one.
    saturating: bool,
    turn: usize,
    /// Clients that were told to join again, and when.
    deferred: Vec<(Instant, usize)>,
    tally: Tally,
}

impl Load {
    /// Clients of `server` in one room for each of `sizes`, with that many clients each. They are
    /// not connected yet.
    ///
    /// # Errors
    /// The server does not create the rooms.
    pub fn new(server: &Server, sizes: &[usize]) -> anyhow::Result<Self> {
        let mut clients = Vec::new();
        for (room, &size) in sizes.iter().enumerate() {
            let id: Arc<str> = server.make_room()?.into();
            for _ in 0..size {
                let name = format!("member-{:05}", clients.len());
                clients.push(Client::new(room, id.clone(), name));
            }
        }
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            buffer: vec![0; READ_BUFFER],
            clients,
            rooms: sizes.iter().map(|_| Room::default()).collect(),
            address: server.address,
            is_echoed: !server.kind.keeps_rooms(),
            begun: Instant::now(),
            saturating: false,
            turn: 0,
            deferred: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Connects the clients from `first` up to `end`, in waves, and has them join.
    ///
    /// # Errors
    /// Not all of them could join.
    pub fn enter(&mut self, first: usize, end: usize) -> anyhow::Result<()> {
        let clients: Vec<usize> = (first..end).collect();
        self.enter_in_waves(&clients, OPENED_AT_ONCE)
    }

    /// Connects these clients, so many at once, and has them join.
    ///
    /// # Errors
    /// Not all of them come in.
    pub fn enter_in_waves(&mut self, clients: &[usize], wave: usize) -> anyhow::Result<()> {
        clients.chunks(wave).try_for_each(|wave| self.enter_at_once(wave))
    }

    /// Connects these clients all at once, and has them join.
    ///
    /// # Errors
    /// Not all of them could join.
    pub fn enter_at_once(&mut self, clients: &[usize]) -> anyhow::Result<()> {
        for &at in clients {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(at), interest)?;
            self.clients[at].connect(stream, self.address);
        }
        self.until("every client is in its room", |load| {
            clients.iter().all(|&at| load.clients[at].state == State::Inside)
        })
    }

    /// Drops the connections of these clients without closing them, like a lost network.
    pub fn drop_clients(&mut self, clients: &[usize]) {
        for &at in clients {
            self.clients[at].state = State::Away;
            self.clients[at].stream = None;
        }
    }

    /// Sends at a constant rate for a while, the rooms and their members in turn, and waits until
    /// everything has arrived.
    ///
    /// # Errors
    /// The system cannot poll the sockets.
    pub fn steady(&mut self, per_second: f64, pause: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        let messages = (per_second * pause.as_secs_f64()) as u32;
        for number in 0..messages {
            let due = begun + Duration::from_secs_f64(f64::from(number) / per_second);
            self.run_until(due)?;
            let sender = self.next_sender();
            self.say(sender);
        }
        self.settle()
    }

    /// Has every client send its next message as soon as its last one came back, for a while, and
    /// waits until everything has arrived.
    ///
    /// # Errors
    /// The system cannot poll the sockets.
    pub fn saturate(&mut self, pause: Duration) -> anyhow::Result<()> {
        self.saturating = true;
        for at in 0..self.clients.len() {
            self.say(at);
        }
        self.run_until(Instant::now() + pause)?;
        self.saturating = false;
        self.settle()
    }

    /// Only sends every client's heartbeat, evenly spread, for a while.
    ///
    /// # Errors
    /// The system cannot poll the sockets.
    pub fn idle(&mut self, heartbeat: Duration, pause: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        let clients = self.clients.len() as u32;
        let pings = (pause.as_secs_f64() / heartbeat.as_secs_f64() * f64::from(clients)) as u32;
        for ping in 0..pings {
            self.run_until(begun + heartbeat * ping / clients)?;
            self.clients[(ping % clients) as usize].send(br#"{"t":"ping"}"#);
        }
        self.run_until(begun + pause)
    }

    /// Has one client of each room send this many messages, each after the previous one came back.
    ///
    /// # Errors
    /// A message does not come back.
    pub fn say_in_every_room(&mut self, speakers: &[usize], times: usize) -> anyhow::Result<()> {
        for _ in 0..times {
            for &at in speakers {
                self.say(at);
            }
            self.until("what was said is stored", |load| {
                load.rooms.iter().all(|room| room.order.len() == room.said as usize)
            })?;
        }
        Ok(())
    }

    /// Has one client change its status repeatedly.
    ///
    /// # Errors
    /// The room does not get the change.
    pub fn show_often(&mut self, at: usize, times: usize) -> anyhow::Result<()> {
        for time in 0..times {
            let status = if time % 2 == 0 { "away" } else { "online" };
            let heard = self.clients[at].presences + 1;
            let frame = format!(r#"{{"t":"ping","status":"{status}"}}"#);
            self.clients[at].send(frame.as_bytes());
            self.until("the status is known", |load| load.clients[at].presences == heard)?;
        }
        Ok(())
    }

    /// Has one client join its room repeatedly on the same connection.
    ///
    /// # Errors
    /// It is not answered.
    pub fn join_often(&mut self, at: usize, times: usize) -> anyhow::Result<()> {
        for _ in 0..times {
            self.clients[at].join();
            self.until("the join is answered", |load| load.clients[at].state == State::Inside)?;
        }
        Ok(())
    }

    /// The id of a client's room.
    pub fn room_id(&self, at: usize) -> Arc<str> {
        self.clients[at].room_id.clone()
    }

    /// The results so far; messages that have not arrived count as lost.
    pub fn take_tally(&mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        for room in &self.rooms {
            tally.lost += u64::from(room.said) - room.order.len().min(room.said as usize) as u64;
        }
        for client in self.clients.iter().filter(|client| client.state == State::Inside) {
            tally.lost += (self.rooms[client.room].order.len() - client.position) as u64;
        }
        tally
    }

    /// How many of these clients have every message of their room.
    pub fn up_to_date(&self, clients: &[usize]) -> usize {
        let has_all = |client: &Client| client.position == self.rooms[client.room].order.len();
        clients.iter().filter(|&&at| has_all(&self.clients[at])).count()
    }

    /// The last client of each room.
    pub fn speakers(&self) -> Vec<usize> {
        let is_last = |at: &usize| {
            self.clients.get(at + 1).is_none_or(|next| next.room != self.clients[*at].room)
        };
        (0..self.clients.len()).filter(is_last).collect()
    }

    /// Serves the clients until this time.
    ///
    /// # Errors
    /// The system cannot poll the sockets.
    pub fn run_until(&mut self, then: Instant) -> anyhow::Result<()> {
        loop {
            let left = then.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.serve(left)?;
        }
    }

    /// Waits until every client has everything, or gives up after a timeout.
    fn settle(&mut self) -> anyhow::Result<()> {
        let has_all = |load: &Self| {
            let arrived = |c: &Client| c.position == load.rooms[c.room].said as usize;
            load.clients.iter().all(arrived)
        };
        // Missing messages count as lost.
        let _ = self.until("every message has arrived", has_all);
        Ok(())
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !done(self) {
            if begun.elapsed() > PATIENCE {
                bail!("gave up waiting until {what} ({} errors)", self.tally.errors);
            }
            self.serve(Duration::from_millis(100))?;
        }
        Ok(())
    }

    fn serve(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) =
            self.deferred.drain(..).partition(|(then, _)| *then <= now);
        self.deferred = later;
        due.iter().for_each(|(_, at)| self.clients[*at].join());
        let next = self.deferred.iter().map(|(then, _)| *then - now).min();
        let timeout = next.map_or(timeout, |next| timeout.min(next));
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            done => done.context("poll")?,
        }
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        for at in ready {
            self.clients[at].flush();
            self.read(at);
        }
        Ok(())
    }

    fn read(&mut self, at: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(stream) = &mut self.clients[at].stream {
            match stream.read(&mut buffer) {
                Ok(length) if length > 0 => {
                    self.take(at, &buffer[..length]);
                    if length < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                _ => {
                    self.tally.errors += 1;
                    self.clients[at].stream = None;
                    self.clients[at].state = State::Away;
                }
            }
        }
        self.buffer = buffer;
    }

    fn take(&mut self, at: usize, read: &[u8]) {
        let now = self.begun.elapsed().as_micros() as u64;
        let client = &mut self.clients[at];
        let room = &mut self.rooms[client.room];
        let (tally, deferred) = (&mut self.tally, &mut self.deferred);
        let mut came_back = 0;
        client.take(read, |heard| match heard {
            Heard::Error => tally.errors += 1,
            Heard::Deferred(wait) => {
                tally.deferred += 1;
                deferred.push((Instant::now() + wait, at));
            }
            Heard::Message { id, text, position } => {
                let Some(said) = order::Said::parse(text) else { return };
                came_back += usize::from(said.sender == at);
                tally.latency.note(now.saturating_sub(said.sent_at));
                tally.deliveries += 1;
                room.check(id, said.number, position, tally);
            }
        });
        if self.saturating {
            (0..came_back).for_each(|_| self.say(at));
        }
    }

    fn say(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let room = &mut self.rooms[client.room];
        let sent_at = self.begun.elapsed().as_micros() as u64;
        let said = order::Said { number: room.said, sender: at, sent_at };
        let frame = if self.is_echoed {
            client.full_message(&said.text())
        } else {
            client.message(&said.text())
        };
        room.said += 1;
        self.tally.sent += 1;
        client.send(frame.as_bytes());
    }

    /// The rooms take turns, and within each room its members.
    fn next_sender(&mut self) -> usize {
        let rooms = self.rooms.len();
        let (room, round) = (self.turn % rooms, self.turn / rooms);
        self.turn += 1;
        let first = self.clients.partition_point(|client| client.room < room);
        let size = self.clients[first..].partition_point(|client| client.room == room);
        first + round % size
    }
}
