//! Random sequences of joins, messages, heartbeats, lapses and leaves, against a model that is
//! small enough to be obviously right.

use std::{collections::BTreeMap, time::Duration};

use linkroom::{
    error::{Code, Error},
    names::{MessageId, RoomId, Status, Token, UserId},
    redis::{
        keys::KeyStyle,
        scripts::{LeaveOutcome, Published, UserHeartbeat},
    },
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use super::{Bench, Events, NO_FLOOD_LIMIT, STRANGER, a_join, became, connection, draft, leaves};

const NAMES: [&str; 3] = ["owner", "밥", "c:d"];
const CONNECTIONS: [&str; 3] = ["tab", "phone", "elsewhere"];
const GRACE: Duration = Duration::from_secs(60);

/// The report of one connection of a user. Users and connections are indices.
#[derive(Clone, Copy, Debug)]
struct Words {
    user: usize,
    connection: usize,
    key: Option<u8>,
}

/// One step of a sequence.
#[derive(Clone, Debug)]
enum Step {
    Join { user: usize, connection: usize, away: bool },
    Say(Vec<Words>),
    Heartbeat { user: usize, away: bool, read: Option<usize> },
    Lapse { user: usize },
    Leave { user: usize, connection: usize, grace: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (user, connection) = (0..NAMES.len(), 0..CONNECTIONS.len());
    let words = (user.clone(), connection.clone(), proptest::option::of(0..2u8))
        .prop_map(|(user, connection, key)| Words { user, connection, key });
    let step = prop_oneof![
        3 => (user.clone(), connection.clone(), any::<bool>())
            .prop_map(|(user, connection, away)| Step::Join { user, connection, away }),
        3 => proptest::collection::vec(words, 1..5).prop_map(Step::Say),
        3 => (user.clone(), any::<bool>(), proptest::option::of(0..5usize))
            .prop_map(|(user, away, read)| Step::Heartbeat { user, away, read }),
        1 => user.clone().prop_map(|user| Step::Lapse { user }),
        2 => (user, connection, any::<bool>())
            .prop_map(|(user, connection, grace)| Step::Leave { user, connection, grace }),
    ];
    proptest::collection::vec(step, 1..50)
}

/// One user according to the contract.
#[derive(Default)]
struct User {
    token: Option<Token>,
    /// the connections according to the node: those that joined and did not close
    open: BTreeMap<usize, bool>,
    /// those of them that the room counts, and whether they are away
    live: BTreeMap<usize, bool>,
    member: bool,
    away: bool,
    read: Option<MessageId>,
}

/// The room according to the contract, and the events that must have been published.
struct Model {
    users: [User; NAMES.len()],
    stream: Vec<MessageId>,
    keys: BTreeMap<(usize, u8), MessageId>,
    told: Vec<Value>,
    room: RoomId,
}

impl Model {
    fn new(room: RoomId, owner: Token) -> Self {
        let mut users: [User; NAMES.len()] = Default::default();
        users[0].token = Some(owner);
        users[0].member = true;
        Self { users, stream: Vec::new(), keys: BTreeMap::new(), told: Vec::new(), room }
    }

    fn tell(&mut self, t: &str, user: usize, more: Value) {
        let mut event = json!({ "t": t, "roomId": self.room.as_str(), "userId": NAMES[user] });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.told.push(event);
    }

    /// Connections were added or changed: the user is a member, and away only if all of them are.
    fn settle(&mut self, index: usize) {
        let user = &mut self.users[index];
        let away = user.live.values().all(|away| *away);
        let (joins, turns) = (!user.member, user.away != away);
        (user.member, user.away) = (true, away);
        if joins {
            self.tell("user_joined", index, json!({}));
        }
        if turns {
            let status = if away { "away" } else { "online" };
            self.tell("presence", index, json!({ "status": status }));
        }
    }

    /// The names of those users, sorted.
    fn names(&self, which: impl Fn(&User) -> bool) -> Vec<String> {
        let users = NAMES.iter().zip(&self.users).filter(|(_, user)| which(user));
        let mut names: Vec<_> = users.map(|(name, _)| (*name).to_owned()).collect();
        names.sort();
        names
    }

    fn depart(&mut self, index: usize) {
        let user = &mut self.users[index];
        user.live.clear();
        user.away = false;
        if std::mem::take(&mut user.member) {
            self.tell("user_left", index, json!({}));
        }
    }
}

/// The model next to the real room.
struct Pair<'a> {
    bench: &'a Bench,
    model: Model,
    events: Events<'a>,
}

impl Pair<'_> {
    async fn take(&mut self, step: Step) {
        match step {
            Step::Join { user, connection, away } => self.join(user, connection, away).await,
            Step::Say(all) => self.say(&all).await,
            Step::Heartbeat { user, away, read } => self.heartbeat(user, away, read).await,
            Step::Lapse { user } => self.lapse(user).await,
            Step::Leave { user, connection, grace } => self.leave(user, connection, grace).await,
        }
        self.compare().await;
    }

    async fn join(&mut self, index: usize, connection: usize, away: bool) {
        let name = UserId::stored(NAMES[index]);
        let user = &mut self.model.users[index];
        let guest = user.token.is_none();
        let token = user.token.get_or_insert_with(|| Token::random(&name)).clone();
        user.open.insert(connection, away);
        user.live.insert(connection, away);
        self.model.settle(index);
        let id = connection_id(index, connection);
        let mut join = a_join(NAMES[index], &token, guest, &id, None);
        join.entry.status = status(away);
        let mut joined = self.bench.scripts.join(&self.model.room, &[&join]).await.unwrap();
        let snapshot = became(joined.remove(0)).unwrap();
        assert_eq!(snapshot.tip, self.model.stream.last().copied().unwrap_or_default());
        assert_eq!(snapshot.messages.len(), self.model.stream.len().min(50));
        assert_eq!(sorted(snapshot.members.get()), self.model.names(|user| user.member));
        assert_eq!(sorted(snapshot.away.get()), self.model.names(|user| user.member && user.away));
    }

    async fn say(&mut self, all: &[Words]) {
        let stored = self.model.stream.len();
        let texts: Vec<_> = (0..all.len()).map(|n| format!("text {stored} {n}")).collect();
        let drafts = all.iter().zip(&texts).map(|(words, text)| {
            let id = connection_id(words.user, words.connection);
            let key = words.key.map(|key| format!("key {key}"));
            draft(NAMES[words.user], &id, text, key.as_deref())
        });
        let drafts: Vec<_> = drafts.collect();
        let drafts: Vec<_> = drafts.iter().collect();
        let outcomes = self.bench.scripts.publish(&self.model.room, &drafts).await.unwrap();
        for ((words, text), published) in all.iter().zip(&texts).zip(outcomes) {
            self.said(words, text, published);
        }
    }

    fn said(&mut self, words: &Words, text: &str, published: Result<Published, Error>) {
        let Words { user, connection, key } = *words;
        let may = self.model.users[user].live.contains_key(&connection);
        let before = key.and_then(|key| self.model.keys.get(&(user, key)).copied());
        match (published, may, before) {
            (Err(error), false, _) => assert_eq!(error.code, Code::NotInRoom),
            (Ok(Published::Repeat { id, .. }), true, Some(first)) => assert_eq!(id, first),
            (Ok(Published::Stored(id)), true, None) => {
                self.stored(user, id, text, key.map(|key| (key, format!("key {key}"))));
            }
            (published, ..) => panic!("{published:?}, may: {may}, key used: {before:?}"),
        }
    }

    fn stored(&mut self, index: usize, id: MessageId, text: &str, key: Option<(u8, String)>) {
        assert!(self.model.stream.last().is_none_or(|last| *last < id));
        self.model.stream.push(id);
        let mut event = json!({
            "t": "msg", "roomId": self.model.room.as_str(), "id": id.to_string(),
            "from": NAMES[index], "text": text,
        });
        if let Some((key, text)) = key {
            self.model.keys.insert((index, key), id);
            event["key"] = text.into();
        }
        self.model.told.push(event);
    }

    async fn heartbeat(&mut self, index: usize, away: bool, read: Option<usize>) {
        let user = &mut self.model.users[index];
        let Some(last) = user.open.keys().last().copied() else { return };
        user.open.insert(last, away);
        user.live = user.open.clone();
        let read = read.and_then(|read| self.model.stream.get(read).copied());
        let heard = user.open.iter().map(|(id, away)| {
            connection(&connection_id(index, *id), Duration::ZERO, status(*away))
        });
        let heard = heard.collect();
        let beat =
            UserHeartbeat { read, ..self.bench.heard(&self.model.room, NAMES[index], heard) };
        self.model.settle(index);
        if read > self.model.users[index].read {
            self.model.users[index].read = read;
            self.model.tell("read", index, json!({ "id": read.unwrap().to_string() }));
        }
        assert_eq!(self.bench.beat(&self.model.room, &[beat]).await.unwrap(), []);
    }

    /// The user's presence or grace ends, and somebody reads the room.
    async fn lapse(&mut self, index: usize) {
        self.bench.lapse(&self.model.room, NAMES[index]);
        self.bench.scripts.read_room(&self.model.room).await.unwrap();
        self.model.depart(index);
    }

    async fn leave(&mut self, index: usize, connection: usize, grace: bool) {
        let user = &mut self.model.users[index];
        user.open.remove(&connection);
        let was_here = user.live.remove(&connection).is_some();
        let expected = match (was_here, user.live.is_empty(), grace) {
            (false, ..) => LeaveOutcome::Stays,
            (true, false, _) => {
                self.model.settle(index);
                LeaveOutcome::Stays
            }
            (true, true, true) => LeaveOutcome::Grace,
            (true, true, false) => {
                self.model.depart(index);
                LeaveOutcome::Left
            }
        };
        let (name, id) = (UserId::stored(NAMES[index]), connection_id(index, connection));
        let grace = if grace { GRACE } else { Duration::ZERO };
        let departure = self.bench.leave(&self.model.room, leaves(&name, &id, grace)).await;
        assert_eq!(departure.unwrap(), expected);
    }

    /// Compares everything that is visible from outside.
    async fn compare(&mut self) {
        let mut told = self.events.take();
        for event in &mut told {
            event.as_object_mut().unwrap().remove("timestamp");
        }
        assert_eq!(told, std::mem::take(&mut self.model.told));

        let read = self.bench.scripts.read_members(&self.model.room, &STRANGER, "", 9);
        let members = read.await.unwrap();
        let seen = members.iter().map(|member| (member.user.as_str(), member.status, member.read));
        let mut wanted: Vec<_> = NAMES
            .iter()
            .zip(&self.model.users)
            .filter(|(_, user)| user.member)
            .map(|(name, user)| (*name, status(user.away), user.read))
            .collect();
        wanted.sort_by_key(|(name, ..)| *name);
        assert_eq!(seen.collect::<Vec<_>>(), wanted);
        let names: Vec<_> = wanted.iter().map(|(name, ..)| *name).collect();
        assert_eq!(self.bench.members(&self.model.room), names);
        let state = self.bench.scripts.read_room(&self.model.room).await.unwrap();
        assert_eq!(
            (state.member_count, state.members),
            (names.len() as u64, names.iter().map(|name| (*name).to_owned()).collect())
        );
        let ids: Vec<_> = self.model.stream.iter().map(MessageId::to_string).collect();
        assert_eq!(self.bench.redis.stream_ids(self.model.room.as_str()), ids);
        for (name, user) in NAMES.iter().zip(&self.model.users) {
            let key = KeyStyle::Plain.room(&self.model.room).presence(&UserId::stored(name));
            assert_eq!(self.bench.redis.cmd(["EXISTS", &key]).int() == 1, user.member, "{key}");
        }
    }
}

fn sorted(json: &str) -> Vec<String> {
    let mut names: Vec<String> = serde_json::from_str(json).unwrap();
    names.sort();
    names
}

fn status(away: bool) -> Status {
    if away { Status::Away } else { Status::Online }
}

fn connection_id(user: usize, connection: usize) -> String {
    format!("{}{user}", CONNECTIONS[connection])
}

#[test]
fn any_sequence_does_what_the_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::new(&[NO_FLOOD_LIMIT]));
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(async {
            let (room, token) = bench.room().await;
            let events = bench.events(&room);
            let mut pair = Pair { bench: &bench, model: Model::new(room, token), events };
            for step in steps {
                pair.take(step).await;
            }
        });
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
