//! A correct client: it reconnects, resumes from the last message it saw, and retries
//! unacknowledged messages with the same key. It filters nothing: everything it gets is recorded.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::{
    history::{Event, History},
    stream::Id,
    world::Doors,
};

type Socket = WebSocketStream<TcpStream>;

/// How often a client looks what is due.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const PING_EVERY: Duration = Duration::from_millis(500);
/// A connection on which nothing came for so long is dead.
const DEAD_AFTER: Duration = Duration::from_millis(2500);
/// How long opening a connection, sending a frame, or an answer to a join may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A message that was not answered for so long is said again.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(4);
/// The first and the longest pause between two attempts, in milliseconds.
const BACK_OFF_MS: (u64, u64) = (50, 800);
/// Between two messages of a client, in milliseconds.
const TALK_EVERY_MS: std::ops::Range<u64> = 300..1500;
/// While busy: so many messages at once, and so long between two such bursts.
const BUSY_BURST: usize = 10;
const BUSY_EVERY: Duration = Duration::from_millis(200);
/// How far back a client may go that lost the end of what it saw.
const REMEMBERED: usize = 10;
/// Orders that a client may be behind.
const ORDERS: usize = 1024;
/// How long somebody who was removed listens.
const LINGERS: Duration = Duration::from_millis(300);
/// Refusals with which a client ends whose session has ended, or its room.
const ENDS_WITH: [&str; 2] = ["INVALID_TOKEN", "ROOM_NOT_FOUND"];
/// What a slow reader's socket holds: little, so that the node's queue fills.
const SMALL_BUFFER: u32 = 4096;
const SMALL_SEGMENT: u32 = 536;

/// What a round tells a client to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Lose the connection and come back after a while.
    Cut { away: Duration },
    /// Close the connection and come back after a while.
    Close { away: Duration },
    /// Leave the room and join again after a while, over the same connection.
    Leave { away: Duration },
    /// Lose the connection and the memory of the last messages.
    Rewind,
    /// Join once more, while in the room.
    JoinAgain,
    /// Read nothing for a while.
    Sleep(Duration),
    /// Say this.
    Say(String),
    /// Be seen as away, or not.
    Show { away: bool },
    /// Say much at once, over and over, while connected to this node; or no longer.
    Busy(Option<usize>),
    /// Say nothing that was not ordered.
    Calm,
    /// End: by leaving the room, or without a word.
    End { leave: bool },
}

/// A client that runs.
pub struct Client {
    pub history: History,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

/// Who a client is.
#[derive(Default)]
pub struct Identity {
    /// What it joins with: a token, a JWT, or a nickname.
    pub token: String,
    /// Beside a nickname: what its token is made of, so that it can join again whatever was lost.
    pub secret: Option<String>,
    /// Whether its sockets hold little.
    pub small_buffers: bool,
    /// Whether it ends with its session, or its room.
    pub is_mortal: bool,
}

impl Client {
    pub fn start(identity: Identity, history: History, doors: Doors, seed: u64) -> Self {
        let (orders, received) = mpsc::channel(ORDERS);
        let now = Instant::now();
        let mind = Mind {
            identity,
            history: history.clone(),
            doors,
            orders: received,
            rng: StdRng::seed_from_u64(seed),
            seen: VecDeque::new(),
            unanswered: Vec::new(),
            said: 0,
            seed,
            away: false,
            busy: None,
            calm: false,
            ended: false,
            stay_away_until: now,
            asleep_until: now,
            next_talk: now,
        };
        Self { history, orders, task: tokio::spawn(mind.live()) }
    }

    pub fn order(&self, order: Order) {
        let sent = self.orders.try_send(order);
        assert!(sent.is_ok(), "a client that has ended, or is stuck: {sent:?}");
    }

    /// Whether the client ends within this time; a panic in it is a panic here.
    pub async fn ends_within(&mut self, patience: Duration) -> bool {
        match timeout(patience, &mut self.task).await {
            Ok(ended) => {
                ended.unwrap();
                true
            }
            Err(_) => false,
        }
    }

    /// Waits until the client has ended; a panic in it is a panic here.
    pub async fn ended(self) {
        self.task.await.unwrap();
    }
}

/// An unacknowledged message.
struct Unanswered {
    key: String,
    text: String,
    /// When to send it, again or for the first time.
    due: Instant,
}

/// The state of a client beyond a connection.
struct Mind {
    identity: Identity,
    history: History,
    doors: Doors,
    orders: mpsc::Receiver<Order>,
    rng: StdRng,
    /// The latest messages it saw, the newest last: it resumes from there.
    seen: VecDeque<Id>,
    unanswered: Vec<Unanswered>,
    said: usize,
    seed: u64,
    away: bool,
    busy: Option<usize>,
    calm: bool,
    ended: bool,
    stay_away_until: Instant,
    asleep_until: Instant,
    next_talk: Instant,
}

/// The state of a client's room on one connection.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// Joins at this time.
    Out {
        join_at: Instant,
    },
    Joining {
        since: Instant,
    },
    In,
    /// Out for good; looks for a while whether it still hears something.
    Removed {
        until: Instant,
    },
}

/// One connection.
struct Connection {
    socket: Socket,
    node: usize,
    stage: Stage,
    heard: Instant,
    next_ping: Instant,
    next_burst: Instant,
}

/// The connection is over; with the code if the server closed it.
struct Over(Option<u16>);

impl Mind {
    async fn live(mut self) {
        let mut back_off = BACK_OFF_MS.0;
        while !self.ended {
            self.stay_away().await;
            if self.ended {
                return;
            }
            match self.open().await {
                Some(connection) => {
                    if self.serve(connection).await {
                        back_off = BACK_OFF_MS.0;
                    }
                }
                None => back_off = (back_off * 2).min(BACK_OFF_MS.1),
            }
            let pause = Duration::from_millis(self.rng.random_range(back_off / 2..=back_off));
            self.stay_away_until = self.stay_away_until.max(Instant::now() + pause);
        }
    }

    /// Handles orders while there is no connection.
    async fn stay_away(&mut self) {
        while !self.ended {
            let until = self.stay_away_until.into();
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                order = self.orders.recv() => self.note_order(order),
            }
        }
    }

    async fn open(&mut self) -> Option<Connection> {
        let (node, door) = self.doors.pick(&mut self.rng);
        let addr = if self.identity.small_buffers { door.direct } else { door.through_proxy };
        let opened = timeout(PATIENCE, upgrade(addr, self.identity.small_buffers)).await;
        let socket = opened.ok()??;
        self.history.note(Event::Opened { node });
        let now = Instant::now();
        let stage = Stage::Out { join_at: now };
        Some(Connection { socket, node, stage, heard: now, next_ping: now, next_burst: now })
    }

    /// Uses a connection until it ends. Returns whether it worked.
    async fn serve(&mut self, mut connection: Connection) -> bool {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut was_in = false;
        let over = loop {
            let awake = Instant::now() >= self.asleep_until;
            let step = tokio::select! {
                frame = connection.socket.next(), if awake => self.take(&mut connection, frame),
                order = self.orders.recv() => self.obey(&mut connection, order).await,
                _ = looks.tick() => self.look(&mut connection).await,
            };
            was_in |= connection.stage == Stage::In;
            if let Err(over) = step {
                break over;
            }
        };
        self.history.note(Event::Closed(over.0));
        was_in
    }

    fn take(
        &mut self,
        connection: &mut Connection,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), Over> {
        connection.heard = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => {
                let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
                self.take_frame(connection, &frame);
                self.history.note(Event::Got(frame));
                Ok(())
            }
            Some(Ok(Message::Close(close))) => Err(Over(close.map(|close| close.code.into()))),
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(Over(None)),
        }
    }

    fn take_frame(&mut self, connection: &mut Connection, frame: &Value) {
        match frame["t"].as_str().unwrap_or_default() {
            "joined" => {
                connection.stage = Stage::In;
                // Null for the user of a JWT.
                let token = frame["token"].as_str();
                let chosen = self.identity.secret.as_deref();
                assert!(chosen.is_none_or(|secret| token.unwrap().ends_with(secret)));
                if frame["more"] == true {
                    self.seen.clear();
                }
                for message in frame["messages"].as_array().unwrap() {
                    self.see(message);
                }
                for waiting in &mut self.unanswered {
                    waiting.due = Instant::now();
                }
            }
            "msg" => self.see(frame),
            "error" => self.take_error(connection, frame),
            "removed" if self.identity.is_mortal => {
                connection.stage = Stage::Removed { until: Instant::now() + LINGERS };
                self.say("is anybody there?".to_owned());
            }
            _ => {}
        }
    }

    fn see(&mut self, message: &Value) {
        let Some(id) = Id::of(message) else { return };
        if self.seen.back().is_none_or(|last| id > *last) {
            self.seen.push_back(id);
            if self.seen.len() > REMEMBERED {
                self.seen.pop_front();
            }
        }
        self.unanswered.retain(|waiting| message["key"] != waiting.key);
        self.history.set_unanswered(self.unanswered.len());
    }

    fn take_error(&mut self, connection: &mut Connection, frame: &Value) {
        let later = Instant::now() + Duration::from_millis(self.rng.random_range(100..300));
        if let Some(key) = frame["key"].as_str() {
            let waiting = self.unanswered.iter_mut().filter(|waiting| waiting.key == key);
            waiting.for_each(|waiting| waiting.due = later);
        } else if matches!(connection.stage, Stage::Joining { .. }) {
            let code = frame["code"].as_str().unwrap_or_default();
            if self.identity.is_mortal && ENDS_WITH.contains(&code) {
                connection.stage = Stage::Removed { until: Instant::now() };
                return;
            }
            assert_ne!(frame["code"], "NAME_TAKEN", "by nobody else");
            connection.stage = Stage::Out { join_at: later };
        }
    }

    /// Applies the part of an order that does not depend on a connection.
    fn note_order(&mut self, order: Option<Order>) {
        let now = Instant::now();
        match order {
            Some(Order::Cut { away } | Order::Close { away }) => self.stay_away_until = now + away,
            Some(Order::Rewind | Order::JoinAgain) => {
                let kept = self.rng.random_range(0..=self.seen.len());
                self.seen.truncate(kept.max(1));
            }
            Some(Order::Sleep(pause)) => self.asleep_until = now + pause,
            Some(Order::Say(text)) => self.say(text),
            Some(Order::Show { away }) => {
                self.away = away;
                self.history.set_away(away);
            }
            Some(Order::Busy(busy)) => self.busy = busy,
            Some(Order::Calm) => self.calm = true,
            Some(Order::Leave { .. }) => {}
            Some(Order::End { .. }) | None => self.ended = true,
        }
    }

    async fn obey(
        &mut self,
        connection: &mut Connection,
        order: Option<Order>,
    ) -> Result<(), Over> {
        self.note_order(order.clone());
        match order {
            Some(Order::Cut { .. } | Order::Rewind) | None => Err(Over(None)),
            Some(Order::Close { .. }) => {
                let _ = timeout(PATIENCE, connection.socket.close(None)).await;
                Err(Over(None))
            }
            Some(Order::Leave { away }) => self.leave(connection, away).await,
            Some(Order::Busy(_)) if connection.stage == Stage::In => self.talk(connection).await,
            Some(Order::JoinAgain) if connection.stage == Stage::In => self.join(connection).await,
            Some(Order::Show { .. }) => self.ping(connection).await,
            Some(Order::End { leave }) => {
                if leave {
                    self.leave(connection, Duration::ZERO).await?;
                }
                Err(Over(None))
            }
            _ => Ok(()),
        }
    }

    async fn leave(&mut self, connection: &mut Connection, away: Duration) -> Result<(), Over> {
        if connection.stage != Stage::In {
            return Ok(());
        }
        connection.stage = Stage::Out { join_at: Instant::now() + away };
        self.history.note(Event::Leave);
        send(connection, &json!({ "t": "leave", "roomId": self.history.room() })).await
    }

    /// Performs due actions.
    async fn look(&mut self, connection: &mut Connection) -> Result<(), Over> {
        let now = Instant::now();
        if now < self.asleep_until {
            connection.heard = now;
        }
        if now - connection.heard > DEAD_AFTER {
            return Err(Over(None));
        }
        if now >= connection.next_ping {
            self.ping(connection).await?;
        }
        match connection.stage {
            Stage::Out { join_at } if now >= join_at => self.join(connection).await,
            Stage::Joining { since } if now - since > PATIENCE => Err(Over(None)),
            Stage::In => self.talk(connection).await,
            Stage::Removed { until } if now >= until => {
                self.ended = true;
                Err(Over(None))
            }
            Stage::Removed { .. } => self.send_due(connection).await,
            _ => Ok(()),
        }
    }

    async fn join(&mut self, connection: &mut Connection) -> Result<(), Over> {
        let since = self.seen.back().copied();
        let mut join = json!({
            "t": "join", "roomId": self.history.room(), "token": self.identity.token
        });
        if let Some(secret) = &self.identity.secret {
            join["secret"] = secret.as_str().into();
        }
        if let Some(since) = since {
            join["since"] = since.to_string().into();
        }
        connection.stage = Stage::Joining { since: Instant::now() };
        self.history.note(Event::Join { since });
        send(connection, &join).await
    }

    /// Sends a heartbeat with the client's state.
    async fn ping(&mut self, connection: &mut Connection) -> Result<(), Over> {
        connection.next_ping = Instant::now() + PING_EVERY;
        let status = if self.away { "away" } else { "online" };
        let mut ping = json!({ "t": "ping", "status": status });
        if let (Stage::In, Some(last)) = (connection.stage, self.seen.back())
            && self.rng.random_bool(0.2)
        {
            ping["roomId"] = self.history.room().into();
            ping["read"] = last.to_string().into();
        }
        self.history.note(Event::Ping);
        send(connection, &ping).await
    }

    async fn talk(&mut self, connection: &mut Connection) -> Result<(), Over> {
        let now = Instant::now();
        if !self.calm && now >= self.next_talk {
            self.next_talk = now + Duration::from_millis(self.rng.random_range(TALK_EVERY_MS));
            self.say_something(40);
        }
        let is_busy = self.busy == Some(connection.node) && self.unanswered.len() < BUSY_BURST;
        let bursts = is_busy && now >= connection.next_burst;
        if bursts {
            connection.next_burst = now + BUSY_EVERY;
            (0..BUSY_BURST).for_each(|_| self.say_something(0));
        }
        self.send_due(connection).await?;
        if bursts { self.ping(connection).await } else { Ok(()) }
    }

    async fn send_due(&mut self, connection: &mut Connection) -> Result<(), Over> {
        let now = Instant::now();
        for waiting in self.unanswered.iter_mut().filter(|waiting| waiting.due <= now) {
            waiting.due = now + SAY_AGAIN_AFTER;
            let (key, text) = (waiting.key.clone(), waiting.text.clone());
            let frame = json!({
                "t": "msg", "roomId": self.history.room(), "text": text, "key": key
            });
            self.history.note(Event::Say { key, text });
            send(connection, &frame).await?;
        }
        Ok(())
    }

    /// Sends another message; one in `long` has the maximum length (never if `long` is 0).
    fn say_something(&mut self, long: u32) {
        let number = self.said + 1;
        let is_long = long > 0 && self.rng.random_ratio(1, long);
        let tail = if is_long { "가".repeat(3900) } else { String::new() };
        self.say(format!("{} {number} {tail}", self.seed));
    }

    fn say(&mut self, text: String) {
        self.said += 1;
        let key = format!("{:x}-{}", self.seed, self.said);
        let text = text.trim().to_owned();
        self.unanswered.push(Unanswered { key, text, due: Instant::now() });
        self.history.set_unanswered(self.unanswered.len());
    }
}

async fn send(connection: &mut Connection, frame: &Value) -> Result<(), Over> {
    let sent = connection.socket.send(Message::text(frame.to_string()));
    match timeout(PATIENCE, sent).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Over(None)),
    }
}

async fn upgrade(addr: SocketAddr, small_buffers: bool) -> Option<Socket> {
    let tcp = TcpSocket::new_v4().unwrap();
    if small_buffers {
        tcp.set_recv_buffer_size(SMALL_BUFFER).unwrap();
        socket2::SockRef::from(&tcp).set_tcp_mss(SMALL_SEGMENT).unwrap();
    }
    let stream = tcp.connect(addr).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (socket, _) = client_async(format!("ws://{addr}/ws"), stream).await.ok()?;
    Some(socket)
}
