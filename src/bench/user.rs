//! One simulated user: joins, sends, receives and reconnects, and records what it received.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Phase, Run,
    target::{Received, Socket},
};
use crate::names::MessageId;

/// Maximum time until a join is answered.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);
/// Characters of a secret, 6 random bits each.
const SECRET_LENGTH: usize = 22;
/// Minimum wait between two attempts to reconnect; the maximum is twice as long.
const RETRY: Duration = Duration::from_millis(200);
/// The interval of a user who sends nothing.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest wait that a server may ask for, in seconds.
const RETRY_MAX: f64 = 60.0;
/// Interval of checks for messages to retry.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A connection on which nothing arrived for this many heartbeats is dead.
const SILENT_HEARTBEATS: u32 = 3;

/// A room of the run.
pub struct BenchRoom {
    id: String,
    /// The creator's token, for the first user: the creator is a member from the beginning.
    creator: Mutex<Option<String>>,
    /// Number of messages so far; each has its number in its text.
    numbers: AtomicUsize,
    /// Numbers of the acknowledged messages.
    acknowledged: Mutex<Bits>,
}

impl BenchRoom {
    /// A room without messages.
    pub fn new(id: String, creator: String) -> Self {
        let creator = Mutex::new(Some(creator));
        Self { id, creator, numbers: AtomicUsize::new(0), acknowledged: Mutex::default() }
    }
}

/// One user.
pub struct User {
    number: usize,
    /// Interval between two messages of this user; `None` for one who only listens.
    pause: Option<Duration>,
    /// What it joins with: the creator's token, or a nickname.
    token: String,
    /// The secret of its token: a join whose answer was lost is retried as the same user.
    secret: String,
    last: MessageId,
    heartbeat: Duration,
    /// Unacknowledged messages, by key.
    waiting: BTreeMap<String, Sent>,
    account: Account,
    /// Whether it still has to drop its connection in the join storm.
    storms: bool,
}

struct Sent {
    number: usize,
    text: String,
    phase: Phase,
    /// Whether the message was refused and must be sent again.
    again: bool,
}

/// The messages that a user received.
pub struct Account {
    room: Arc<BenchRoom>,
    got: Bits,
    pub doubled: u64,
    pub disordered: u64,
}

impl Account {
    /// Number of acknowledged messages that this user did not receive.
    pub fn lost(&self) -> u64 {
        self.room.acknowledged.lock().count_without(&self.got)
    }
}

/// A set of small numbers.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Adds a number; `false` if the set already contains it.
    fn add(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    fn count_without(&self, others: &Bits) -> u64 {
        let other = |word: usize| others.0.get(word).copied().unwrap_or(0);
        let left = self.0.iter().enumerate().map(|(at, word)| word & !other(at));
        left.map(|word| u64::from(word.count_ones())).sum()
    }
}

/// The server frames that matter here.
#[derive(Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
enum Frame {
    Joined {
        messages: Vec<Received>,
        more: bool,
        heartbeat: f64,
    },
    Msg(Received),
    #[serde(rename_all = "camelCase")]
    Error {
        code: String,
        key: Option<String>,
        /// in seconds
        retry_after: Option<f64>,
    },
    #[serde(other)]
    Other,
}

impl User {
    /// A user of this room that sends a message every `pause`.
    pub fn new(number: usize, room: Arc<BenchRoom>, pause: Option<Duration>) -> Self {
        let creator = room.creator.lock().take();
        Self {
            number,
            pause,
            token: creator.unwrap_or_else(|| format!("bench {number}")),
            secret: nanoid::nanoid!(SECRET_LENGTH),
            last: MessageId::ZERO,
            heartbeat: Duration::from_secs(10),
            waiting: BTreeMap::new(),
            account: Account { room, got: Bits::default(), doubled: 0, disordered: 0 },
            storms: pause.is_none(),
        }
    }

    /// Simulates the user until the run is over.
    pub async fn play(mut self, run: Arc<Run>) -> Account {
        let mut phase = run.phase.subscribe();
        while *phase.borrow() != Phase::Over {
            let Ok(mut socket) = self.come_in(&run).await else {
                tokio::time::sleep(RETRY + RETRY * (self.number % 8) as u32 / 8).await;
                continue;
            };
            run.counts.inside.fetch_add(1, Ordering::Relaxed);
            run.counts.last_in_us.fetch_max(run.micros(), Ordering::Relaxed);
            let storms = self.storms;
            let is_over = |phase: &Phase| *phase == Phase::Over || storms && phase.is_storm();
            tokio::select! {
                _ = self.stay(&run, &mut socket) => {
                    run.counts.reconnects.fetch_add(1, Ordering::Relaxed);
                }
                _ = phase.wait_for(is_over) => {}
            }
            run.counts.inside.fetch_sub(1, Ordering::Relaxed);
            if *phase.borrow() == Phase::Over {
                // It does not matter any more whether the server gets the close frame.
                let _ = timeout(RETRY, socket.close(None)).await;
            } else if storms && phase.borrow().is_storm() {
                drop(socket);
                self.storms = false;
                // The sender lives as long as the run.
                let _ = phase.wait_for(|phase| *phase > Phase::Dropping).await;
            }
        }
        self.account
    }

    async fn come_in(&mut self, run: &Run) -> anyhow::Result<Socket> {
        let is_storm = *run.phase.borrow() == Phase::Storming;
        let _door = if is_storm { None } else { Some(run.doors.acquire().await?) };
        let mut socket = run.target.open().await?;
        let join = json!({
            "t": "join",
            "roomId": self.account.room.id,
            "token": self.token,
            "since": self.last.to_string(),
            "secret": self.secret,
        });
        let join = Message::text(join.to_string());
        while let Some(wait) = self.ask(run, &mut socket, join.clone()).await? {
            run.counts.deferred.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(wait).await;
        }
        self.say_again(&mut socket, |_| true).await?;
        Ok(socket)
    }

    /// Sends a join. Returns how long to wait before the next attempt, if the server asks for a
    /// wait.
    async fn ask(
        &mut self,
        run: &Run,
        socket: &mut Socket,
        join: Message,
    ) -> anyhow::Result<Option<Duration>> {
        socket.send(join).await?;
        timeout(JOIN_PATIENCE, self.joined(run, socket)).await?
    }

    async fn joined(&mut self, run: &Run, socket: &mut Socket) -> anyhow::Result<Option<Duration>> {
        loop {
            match receive(socket).await? {
                Frame::Joined { messages, more, heartbeat } => {
                    self.heartbeat = Duration::from_secs_f64(heartbeat.max(0.1));
                    if more {
                        let first = messages.first().map_or(MessageId::MAX, |message| message.id);
                        self.read_on(run, first).await?;
                    }
                    messages.into_iter().for_each(|message| self.hear(run, message));
                    return Ok(None);
                }
                Frame::Error { retry_after: Some(seconds), .. } => {
                    return Ok(Some(Duration::from_secs_f64(seconds.clamp(0.0, RETRY_MAX))));
                }
                Frame::Error { code, .. } => bail!("not joined: {code}"),
                _ => {}
            }
        }
    }

    /// Reads the messages that the answer to a join left out, up to the first one in it.
    async fn read_on(&mut self, run: &Run, until: MessageId) -> anyhow::Result<()> {
        let mut after = self.last;
        loop {
            let page = run.target.page(&self.account.room.id, after).await?;
            let Some(last) = page.messages.last() else { return Ok(()) };
            after = last.id;
            let left_out = page.messages.into_iter().filter(|message| message.id < until);
            left_out.for_each(|message| self.hear(run, message));
            if !page.has_more || after >= until {
                return Ok(());
            }
        }
    }

    /// Sends and receives until the connection ends.
    async fn stay(&mut self, run: &Run, socket: &mut Socket) -> anyhow::Result<()> {
        let pause = self.pause.unwrap_or(NEVER);
        let mut talk = interval(pause);
        let mut beat = interval(self.heartbeat);
        let mut look = interval(LOOK_EVERY);
        talk.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Spread over the interval, so that users do not all send at the same moment.
        let spread = pause.mul_f64((self.number % 97) as f64 / 97.0);
        talk.reset_after(spread);
        let mut heard = Instant::now();
        let mut phase = run.phase.subscribe();
        loop {
            tokio::select! {
                // The loop checks again whether it may send. What was due before would be sent at once by all.
                _ = phase.changed() => if *phase.borrow() == Phase::Talking {
                    talk.reset_after(spread);
                },
                frame = receive(socket) => {
                    heard = Instant::now();
                    self.take(run, frame?)?;
                }
                _ = talk.tick(), if self.pause.is_some() && run.may_talk() => {
                    self.say(run, socket).await?;
                }
                _ = beat.tick() => {
                    if heard.elapsed() > self.heartbeat * SILENT_HEARTBEATS {
                        bail!("nothing is heard");
                    }
                    socket.send(Message::text(r#"{"t":"ping"}"#)).await?;
                }
                _ = look.tick(), if !self.waiting.is_empty() => {
                    self.say_again(socket, |said| said.again).await?;
                }
            }
        }
    }

    fn take(&mut self, run: &Run, frame: Frame) -> anyhow::Result<()> {
        match frame {
            Frame::Msg(message) => self.hear(run, message),
            Frame::Error { code, key: Some(key), .. } => self.refused(run, &code, &key),
            Frame::Error { code, .. } if code == "RATE_LIMITED" => {}
            Frame::Error { code, .. } => bail!("{code}"),
            Frame::Joined { .. } | Frame::Other => {}
        }
        Ok(())
    }

    fn refused(&mut self, run: &Run, code: &str, key: &str) {
        match code {
            "RATE_LIMITED" | "SERVICE_UNAVAILABLE" => {
                if let Some(said) = self.waiting.get_mut(key) {
                    said.again = true;
                }
            }
            _ => {
                if self.waiting.remove(key).is_some() {
                    run.counts.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn hear(&mut self, run: &Run, message: Received) {
        let acknowledged = message.key.and_then(|key| self.waiting.remove(&key));
        let Some((number, sent_us)) = parse(&message.text) else { return };
        if let Some(said) = &acknowledged {
            self.account.room.acknowledged.lock().add(said.number);
            run.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
            run.round_trips.of(said.phase).add(run.micros().saturating_sub(sent_us));
        }
        let id = message.id;
        if self.account.got.add(number) {
            run.counts.deliveries.fetch_add(1, Ordering::Relaxed);
            run.latencies.add(run.micros().saturating_sub(sent_us));
            self.account.disordered += u64::from(id < self.last);
        } else if acknowledged.is_none() {
            // The answer to a retry may repeat a message; that is not a duplicate.
            self.account.doubled += 1;
        }
        self.last = self.last.max(id);
    }

    async fn say(&mut self, run: &Run, socket: &mut Socket) -> anyhow::Result<()> {
        let number = self.account.room.numbers.fetch_add(1, Ordering::Relaxed);
        let (key, text) = (format!("{}-{number}", self.number), write(number, run.micros()));
        let frame = self.frame(&key, &text);
        self.waiting.insert(key, Sent { number, text, phase: *run.phase.borrow(), again: false });
        run.counts.sent.fetch_add(1, Ordering::Relaxed);
        Ok(socket.send(frame).await?)
    }

    /// Sends unacknowledged messages again; the same key makes this safe.
    async fn say_again(
        &mut self,
        socket: &mut Socket,
        which: impl Fn(&Sent) -> bool,
    ) -> anyhow::Result<()> {
        let again: Vec<_> = self.waiting.iter().filter(|(_, said)| which(said)).collect();
        let frames: Vec<_> = again.iter().map(|(key, said)| self.frame(key, &said.text)).collect();
        for frame in frames {
            socket.send(frame).await?;
        }
        self.waiting.values_mut().for_each(|said| said.again = false);
        Ok(())
    }

    fn frame(&self, key: &str, text: &str) -> Message {
        let room = &self.account.room.id;
        Message::text(json!({ "t": "msg", "roomId": room, "text": text, "key": key }).to_string())
    }
}

/// The next frame from the server.
async fn receive(socket: &mut Socket) -> anyhow::Result<Frame> {
    loop {
        match socket.next().await.context("the connection ended")?? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(_) => bail!("the connection was closed"),
            _ => {}
        }
    }
}

/// The text of a message: its number in the room, and when it was sent, in microseconds of the run.
fn write(number: usize, sent_us: u64) -> String {
    format!("bench {number} {sent_us}")
}

fn parse(text: &str) -> Option<(usize, u64)> {
    let (number, sent_us) = text.strip_prefix("bench ")?.split_once(' ')?;
    Some((number.parse().ok()?, sent_us.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_counted() {
        let (mut all, mut some) = (Bits::default(), Bits::default());
        for number in 0..200 {
            assert!(all.add(number) && !all.add(number));
        }
        (0..150).for_each(|number| {
            some.add(number);
        });
        assert_eq!((all.count_without(&some), some.count_without(&all)), (50, 0));
    }

    #[test]
    fn a_text_says_what_it_is() {
        assert_eq!(parse(&write(7, 1234)), Some((7, 1234)));
        assert_eq!(parse("hello"), None);
    }
}
