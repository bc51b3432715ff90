//! The Lua scripts, called directly: what each refuses, what holds under concurrent calls, and a
//! model that random sequences of calls are compared with.

mod costs;
mod deadlines;
mod foreign;
mod joins;
mod leaves;
mod model;
mod neighbours;
mod steps;

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use linkroom::{
    background::Background,
    error::{Code, Error},
    metrics::Metrics,
    names::{MessageId, RoomId, Status, Token, UserId},
    redis::{
        Condition, Redis,
        keys::KeyStyle,
        scripts::{
            Confirmation, ConnectionReport, Draft, Entry, Join, Joined, Leave, LeaveOutcome, Page,
            Published, Reader, RoomOptions, Scripts, Sender, Snapshot, UserHeartbeat,
        },
    },
    settings::Settings,
};
use serde_json::{Value, json};

use crate::support::{DEADLINE, RedisServer, TestEnv, eventually};

/// The scripts on a private Redis.
struct Bench {
    scripts: Scripts,
    background: Background,
    redis: RedisServer,
    _env: TestEnv,
}

/// The address of every client.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// A reader without a token.
const STRANGER: Reader = Reader { token: None, address: HERE };
/// Disables the flood limit.
const NO_FLOOD_LIMIT: &str = "--messages-per-second=100000";

impl Bench {
    async fn new(arguments: &[&str]) -> Self {
        let env = TestEnv::new();
        let redis = RedisServer::start(&env);
        let words = ["linkroom"].iter().chain(arguments).map(OsString::from);
        let settings = Arc::new(Settings::read(words).unwrap());
        let (metrics, background) = (Arc::new(Metrics::new()), Background::new());
        let client = Redis::start(&redis.url(), "node", &settings, metrics, &background).unwrap();
        eventually(DEADLINE, "a connection", async || {
            (client.condition() == Condition::Serves).then_some(())
        })
        .await;
        Self { scripts: Scripts::new(client, settings), background, redis, _env: env }
    }

    /// A room of `owner`, who has not joined yet.
    async fn room(&self) -> (RoomId, Token) {
        let (room, owner) = (RoomId::random(), UserId::stored("owner"));
        let token = Token::random(&owner);
        assert!(
            self.scripts
                .create_room(&room, &owner, &token, &RoomOptions::default(), HERE)
                .await
                .unwrap()
        );
        (room, token)
    }

    async fn join(
        &self,
        room: &RoomId,
        name: &str,
        token: &Token,
        guest: bool,
        connection: &str,
    ) -> Result<Snapshot, Error> {
        let join = a_join(name, token, guest, connection, None);
        became(self.scripts.join(room, &[&join]).await?.remove(0))
    }

    /// A new guest with one connection, `name` with `-1`.
    async fn guest(&self, room: &RoomId, name: &str) -> Result<Snapshot, Error> {
        let token = Token::random(&UserId::stored(name));
        self.join(room, name, &token, true, &format!("{name}-1")).await
    }

    async fn say(
        &self,
        room: &RoomId,
        name: &str,
        text: &str,
        key: Option<&str>,
    ) -> Result<Published, Error> {
        self.publish(room, &draft(name, &format!("{name}-1"), text, key)).await
    }

    async fn publish(&self, room: &RoomId, draft: &Draft) -> Result<Published, Error> {
        self.scripts.publish(room, &[draft]).await?.remove(0)
    }

    async fn leave(&self, room: &RoomId, leave: Leave) -> Result<LeaveOutcome, Error> {
        Ok(self.scripts.leave(room, &[&leave]).await?.outcomes.remove(0))
    }

    async fn beat(&self, room: &RoomId, beats: &[UserHeartbeat]) -> Result<Vec<UserId>, Error> {
        Ok(self.scripts.heartbeat(room, "@1", beats, &[]).await?.lost)
    }

    /// The report of a node about a user whose connections it heard.
    fn heard(
        &self,
        room: &RoomId,
        name: &str,
        connections: Vec<ConnectionReport>,
    ) -> UserHeartbeat {
        let joined_at_ms = self.joined_at_ms(room, name);
        UserHeartbeat {
            user: UserId::stored(name),
            joined_at_ms,
            read: None,
            confirmed: Confirmation::New,
            connections,
        }
    }

    /// Makes a member lapse now: sets its deadlines to the past.
    fn lapse(&self, room: &RoomId, name: &str) {
        let session = KeyStyle::Plain.room(room).session(&UserId::stored(name));
        for field in self.redis.cmd(["HKEYS", &session]).list() {
            if field.text().starts_with("conn:") {
                self.redis.cmd(["HSET", &session, field.text(), "1 online"]);
            }
        }
        self.redis.cmd(["ZADD", &format!("room:{room}:deadlines"), "XX", "1", name]);
    }

    /// When a user first joined, in ms; 0 without a session.
    fn joined_at_ms(&self, room: &RoomId, name: &str) -> u64 {
        let session = KeyStyle::Plain.room(room).session(&UserId::stored(name));
        let joined = self.redis.texts(["HMGET", &session, "joinedAt"]);
        joined.first().and_then(|ms| ms.parse().ok()).unwrap_or_default()
    }

    fn members(&self, room: &RoomId) -> Vec<String> {
        self.redis.texts(["SMEMBERS", &format!("room:{room}:members")])
    }

    fn events(&self, room: &RoomId) -> Events<'_> {
        let channel = format!("chan:{room}");
        Events { subscription: self.redis.subscribe(&channel), bench: self, channel }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.background.stop.cancel();
    }
}

/// The events of a room's channel.
struct Events<'a> {
    bench: &'a Bench,
    subscription: crate::support::Subscription,
    channel: String,
}

impl Events<'_> {
    /// Everything published since the last call.
    fn take(&mut self) -> Vec<Value> {
        let marker = json!({ "t": "marker" });
        self.bench.redis.cmd(["PUBLISH", &self.channel, &marker.to_string()]);
        let mut events = Vec::new();
        loop {
            match self.subscription.next() {
                event if event == marker => return events,
                event => events.push(event),
            }
        }
    }

    /// How many of this kind were published since the last call.
    fn count(&mut self, t: &str) -> usize {
        self.take().iter().filter(|event| event["t"] == t).count()
    }
}

fn a_join(
    name: &str,
    token: &Token,
    guest: bool,
    connection: &str,
    since: Option<MessageId>,
) -> Join {
    let entry = Entry {
        connection: connection.into(),
        address: HERE,
        status: Status::Online,
        since,
        tag: format!("{connection}.1"),
    };
    Join { user: UserId::stored(name), token: token.clone(), guest, entry }
}

fn became(joined: Joined) -> Result<Snapshot, Error> {
    match joined {
        Joined::In(snapshot) => Ok(snapshot),
        Joined::Refused(error) => Err(error),
        Joined::Later => panic!("one alone has its turn"),
    }
}

fn leaves(user: &UserId, connection: &str, grace: Duration) -> Leave {
    Leave { user: user.clone(), connection: connection.into(), grace, confirmed: true }
}

fn draft(name: &str, connection: &str, text: &str, key: Option<&str>) -> Draft {
    let sender = Sender::Connection { id: connection.into(), confirmed: true };
    Draft { user: UserId::stored(name), sender, text: text.to_owned(), key: key.map(str::to_owned) }
}

fn connection(id: &str, age: Duration, status: Status) -> ConnectionReport {
    ConnectionReport { connection: id.into(), age, status }
}

fn by_token(name: &str, token: Token) -> Draft {
    let (user, sender) = (UserId::stored(name), Sender::Session(token));
    Draft { user, sender, text: "by token".to_owned(), key: None }
}

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code)
}

fn stored(published: Result<Published, Error>) -> MessageId {
    match published {
        Ok(Published::Stored(id)) => id,
        other => panic!("not stored: {other:?}"),
    }
}

#[tokio::test]
async fn a_room_is_made_once() {
    let bench = Bench::new(&[]).await;
    let (room, owner) = (RoomId::random(), UserId::stored("owner"));
    let token = Token::random(&owner);
    let options = RoomOptions::default();
    let made = (0..30).map(|_| bench.scripts.create_room(&room, &owner, &token, &options, HERE));
    let made = join_all(made).await;
    assert_eq!(made.into_iter().filter(|made| *made.as_ref().unwrap()).count(), 1);
    let kinds = [
        (format!("room:{room}"), "hash", 86_400_000),
        (format!("room:{room}:members"), "set", 30_000),
        (format!("room:{room}:deadlines"), "zset", 30_000),
        (format!("user:{room}:owner:presence"), "string", 30_000),
        (format!("user:{room}:owner:session"), "hash", 600_000),
    ];
    for (key, kind, ttl) in kinds {
        assert_eq!(bench.redis.cmd(["TYPE", &key]).text(), kind, "{key}");
        let left = bench.redis.cmd(["PTTL", &key]).int();
        assert!((ttl - 5_000..=ttl).contains(&left), "{key} lives {left} ms");
    }
}

/// So no call except the message's own is needed.
#[tokio::test]
async fn a_message_confirms_the_session_of_a_guest_that_has_its_token() {
    let bench = Bench::new(&[]).await;
    let (room, _) = bench.room().await;
    let session = format!("user:{room}:guest:session");
    let provisional = || bench.redis.cmd(["HEXISTS", &session, "provisional"]).int();
    bench.guest(&room, "guest").await.unwrap();
    let connection = bench.redis.texts(["HKEYS", &session]);
    let connection = connection.iter().find_map(|field| field.strip_prefix("conn:")).unwrap();
    for (confirmed, left) in [(false, 1), (true, 0)] {
        let sender = Sender::Connection { id: connection.into(), confirmed };
        let draft = Draft { sender, ..draft("guest", connection, "hi", None) };
        stored(bench.scripts.publish(&room, &[&draft]).await.unwrap().remove(0));
        assert_eq!(provisional(), left);
    }
    assert!(bench.redis.cmd(["PTTL", &session]).int() > 590_000);
}

#[tokio::test]
async fn what_is_not_there_is_refused() {
    let bench = Bench::new(&[]).await;
    let (nowhere, user) = (RoomId::random(), UserId::stored("owner"));
    let (scripts, token) = (&bench.scripts, Token::random(&user));
    let refused = Some(Code::RoomNotFound);
    assert_eq!(code(bench.guest(&nowhere, "guest").await), refused);
    assert_eq!(code(bench.join(&nowhere, "owner", &token, false, "c").await), refused);
    assert_eq!(code(scripts.add_session(&nowhere, &user, &token, HERE).await), refused);
    assert_eq!(code(bench.say(&nowhere, "owner", "hi", None).await), refused);
    assert_eq!(code(scripts.read_room(&nowhere).await), refused);
    assert_eq!(
        code(scripts.read_messages(&nowhere, &STRANGER, Page::Before(None), 10).await),
        refused
    );
    assert_eq!(code(bench.leave(&nowhere, leaves(&user, "c", Duration::ZERO)).await), refused);
    assert_eq!(bench.redis.cmd(["DBSIZE"]).int(), 0, "nothing was written");

    let (room, _) = bench.room().await;
    assert_eq!(
        code(bench.join(&room, "owner", &token, false, "c").await),
        Some(Code::InvalidToken)
    );
    assert_eq!(code(bench.guest(&room, "owner").await), Some(Code::NameTaken));
    assert_eq!(code(scripts.add_session(&room, &user, &token, HERE).await), Some(Code::NameTaken));
    assert_eq!(code(bench.say(&room, "owner", "hi", None).await), Some(Code::NotInRoom));
    let forged = bench.publish(&room, &by_token("owner", token)).await;
    assert_eq!(code(forged), Some(Code::InvalidToken));
    let left = bench.leave(&room, leaves(&user, "never joined", Duration::ZERO)).await;
    assert_eq!(left.unwrap(), LeaveOutcome::Stays);
    assert_eq!(bench.members(&room), ["owner"]);
}

#[tokio::test]
async fn one_of_many_gets_the_name() {
    let bench = Bench::new(&[]).await;
    let (room, _) = bench.room().await;
    let mut events = bench.events(&room);
    let results = join_all((0..60).map(|_| bench.guest(&room, "wanted"))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let refused = results.into_iter().filter_map(code);
    assert!(refused.into_iter().all(|code| code == Code::NameTaken));
    assert_eq!(events.count("user_joined"), 1);
}

#[tokio::test]
async fn a_room_never_holds_more_than_it_may() {
    let bench = Bench::new(&["--room-max-members=10"]).await;
    let (room, _) = bench.room().await;
    let names: Vec<_> = (0..60).map(|number| format!("guest {number}")).collect();
    let results = join_all(names.iter().map(|name| bench.guest(&room, name))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 9, "and the owner");
    assert!(results.into_iter().filter_map(code).all(|code| code == Code::RoomFull));
    assert_eq!(bench.members(&room).len(), 10);

    bench.lapse(&room, "owner");
    bench.guest(&room, "late").await.expect("a lapsed member takes no place");
}

#[tokio::test]
async fn a_key_is_one_message_however_many_send_it() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let (room, _) = bench.room().await;
    bench.guest(&room, "writer").await.unwrap();
    let mut events = bench.events(&room);
    let results = join_all((0..80).map(|_| bench.say(&room, "writer", "hi", Some("k")))).await;
    let ids = results.iter().map(|result| match result {
        Ok(Published::Stored(id) | Published::Repeat { id, .. }) => *id,
        other => panic!("{other:?}"),
    });
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(events.count("msg"), 1);
    assert_eq!(bench.redis.stream_ids(room.as_str()).len(), 1);
}

#[tokio::test]
async fn what_is_told_is_the_stream_in_its_order() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let (room, _) = bench.room().await;
    for number in 0..8 {
        bench.guest(&room, &format!("writer {number}")).await.unwrap();
    }
    let mut events = bench.events(&room);
    let names: Vec<_> = (0..8).map(|number| format!("writer {number}")).collect();
    let all = names.iter().map(async |name| {
        for number in 0..50 {
            stored(bench.say(&room, name, &format!("{number}"), None).await);
        }
    });
    join_all(all).await;
    let told: Vec<_> =
        events.take().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, bench.redis.stream_ids(room.as_str()));
    let parsed: Vec<MessageId> = told.iter().map(|id| id.parse().unwrap()).collect();
    assert!(parsed.is_sorted_by(|a, b| a < b) && parsed.len() == 400);
    assert!(parsed.iter().all(|id| id.seq < 1 << 53), "browsers keep ids exactly");
}

#[tokio::test]
async fn a_user_may_say_so_much_a_second_and_no_more() {
    let bench = Bench::new(&["--messages-per-second=10"]).await;
    let (room, _) = bench.room().await;
    bench.guest(&room, "loud").await.unwrap();
    bench.guest(&room, "calm").await.unwrap();
    let results = join_all((0..100).map(|_| bench.say(&room, "loud", "x", None))).await;
    let taken = results.iter().filter(|result| result.is_ok()).count();
    assert!((10..=12).contains(&taken), "{taken} of 100 at once were taken");
    for error in results.into_iter().filter_map(Result::err) {
        assert_eq!(error.code, Code::RateLimited);
        let wait = error.retry_after.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
    }
    stored(bench.say(&room, "calm", "x", None).await);
}

/// The outcome of each of several messages in one call is independent of the others.
#[tokio::test]
async fn of_what_is_said_together_each_stands_for_itself() {
    let bench = Bench::new(&["--messages-per-second=3"]).await;
    let (room, token) = bench.room().await;
    let secret = bench.guest(&room, "calm").await.unwrap().facts.secret.clone();
    bench.guest(&room, "loud").await.unwrap();
    bench.guest(&room, "broken").await.unwrap();
    let broken = format!("user:{room}:broken:session");
    bench.redis.cmd(["DEL", &broken]);
    bench.redis.cmd(["SET", &broken, "no hash"]);
    let mut events = bench.events(&room);
    let loud = || draft("loud", "loud-1", "loud", None);
    let drafts = [
        loud(),
        draft("nobody", "nobody-1", "refused", None),
        draft("calm", "calm-1", "once", Some("k")),
        by_token("calm", token.clone()),
        draft("broken", "broken-1", "refused", None),
        loud(),
        draft("calm", "calm-1", "twice", Some("k")),
        loud(),
        by_token("owner", token),
        loud(),
    ];
    let outcomes = bench.scripts.publish(&room, &drafts.each_ref()).await.unwrap();
    let [a, nobody, once, forged, broken, b, twice, c, owner, d] = outcomes.try_into().unwrap();
    assert_eq!(code(nobody), Some(Code::NotInRoom));
    assert_eq!(code(forged), Some(Code::InvalidToken));
    assert_eq!(code(broken), Some(Code::Internal));
    assert_eq!(code(d), Some(Code::RateLimited));
    let once = stored(once);
    assert_eq!(twice.unwrap(), Published::Repeat { id: once, text: "once".to_owned() });
    let ids = [stored(a), once, stored(b), stored(c), stored(owner)];
    let mut previous = MessageId::ZERO;
    for id in ids {
        assert!(linkroom::chain::follows(&secret, previous, id), "{previous} {id}");
        previous = id;
    }
    let ids = ids.map(|id| id.to_string());
    assert_eq!(bench.redis.stream_ids(room.as_str()), ids);
    let told = events.take();
    assert_eq!(told.iter().map(|told| &told["id"]).collect::<Vec<_>>(), Vec::from_iter(&ids));
    let texts: Vec<_> = told.iter().map(|told| told["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["loud", "once", "loud", "loud", "by token"]);
}

/// Somebody adds messages with redis-cli, of today and of the far future, and deletes others.
#[tokio::test]
async fn each_id_names_the_message_before_it_whoever_changed_the_stream() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let (room, _) = bench.room().await;
    let secret = bench.guest(&room, "writer").await.unwrap().facts.secret.clone();
    let stream = format!("room:{room}:messages");
    let add = |id: &str| {
        let entry = ["XADD", &stream, id, "from", "cli", "text", "by hand"];
        bench.redis.cmd(entry).text().parse::<MessageId>().unwrap()
    };
    let say = async || stored(bench.say(&room, "writer", "text", None).await);

    let mut previous = MessageId::ZERO;
    for (turn, by_hand) in [None, Some("*"), None, Some("9999999999999-7"), None].iter().enumerate()
    {
        previous = by_hand.map_or(previous, add);
        let mut events = bench.events(&room);
        let id = say().await;
        assert!(linkroom::chain::follows(&secret, previous, id), "turn {turn}: {previous} {id}");
        assert_eq!(events.take()[0]["timestamp"], linkroom::message::timestamp(id.ms));
        previous = id;
    }
    bench.redis.cmd(["XDEL", &stream, &previous.to_string()]);
    let after_deleted = say().await;
    assert!(linkroom::chain::follows(&secret, previous, after_deleted));
    bench.redis.cmd(["DEL", &stream]);
    let after_all = say().await;
    assert!(linkroom::chain::follows(&secret, after_deleted, after_all));
    assert!(bench.redis.cmd(["PTTL", &stream]).int() > 0);
}

#[tokio::test]
async fn a_lapsed_member_leaves_once_whoever_looks() {
    let bench = Bench::new(&[]).await;
    let (room, token) = bench.room().await;
    for number in 0..5 {
        bench.guest(&room, &format!("guest {number}")).await.unwrap();
    }
    let mut events = bench.events(&room);
    for number in 0..5 {
        bench.lapse(&room, &format!("guest {number}"));
    }
    let look = (0..40).map(async |number| match number % 4 {
        0 => drop(bench.scripts.read_room(&room).await.unwrap()),
        1 => drop(bench.guest(&room, &format!("new {number}")).await.unwrap()),
        2 => drop(bench.join(&room, "owner", &token, false, &format!("c{number}")).await.unwrap()),
        _ => drop(
            bench.leave(&room, leaves(&UserId::stored("x"), "x", Duration::ZERO)).await.unwrap(),
        ),
    });
    join_all(look).await;
    assert_eq!(events.count("user_left"), 5);
    assert!(bench.members(&room).iter().all(|name| !name.starts_with("guest")));
}

#[tokio::test]
async fn connections_that_come_and_go_at_once_never_show_a_user_twice() {
    let bench = Bench::new(&[]).await;
    let (room, token) = bench.room().await;
    let mut events = bench.events(&room);
    let owner = UserId::stored("owner");
    let turns = (0..40).map(async |number| {
        let connection = format!("c{number}");
        bench.join(&room, "owner", &token, false, &connection).await.unwrap();
        bench.leave(&room, leaves(&owner, &connection, Duration::ZERO)).await.unwrap();
    });
    join_all(turns).await;
    let kinds: Vec<_> =
        events.take().iter().map(|event| event["t"].as_str().unwrap().to_owned()).collect();
    // The owner was a member from the start, so a leave comes first, and they alternate.
    for (index, kind) in kinds.iter().enumerate() {
        assert_eq!(kind, ["user_left", "user_joined"][index % 2], "{kinds:?}");
    }
    assert_eq!(kinds.len() % 2, 1, "in the end the owner is gone: {kinds:?}");
    assert!(bench.members(&room).is_empty());
}

#[tokio::test]
async fn a_heartbeat_names_whom_redis_does_not_know() {
    let bench = Bench::new(&[]).await;
    let (room, _) = bench.room().await;
    bench.guest(&room, "known").await.unwrap();
    let beat = |name: &str| {
        let connection = connection(&format!("{name}-2"), Duration::ZERO, Status::Online);
        bench.heard(&room, name, vec![connection])
    };
    let unknown = UserHeartbeat { user: UserId::stored("unknown"), ..beat("known") };
    let unknown = bench.beat(&room, &[beat("known"), unknown]).await;
    assert_eq!(unknown.unwrap(), [UserId::stored("unknown")]);
    assert_eq!(bench.members(&room), ["known", "owner"]);

    // A previous user of the name is not the present one.
    let before =
        UserHeartbeat { joined_at_ms: bench.joined_at_ms(&room, "owner") - 1_000, ..beat("owner") };
    let unknown = bench.beat(&room, &[before]).await;
    assert_eq!(unknown.unwrap(), [UserId::stored("owner")]);
    let session = format!("user:{room}:owner:session");
    assert_eq!(bench.redis.cmd(["HEXISTS", &session, "conn:owner-2"]).int(), 0);
}

/// A node knows only its own connections: what other nodes reported about the user stays valid.
#[tokio::test]
async fn a_heartbeat_takes_nothing_from_what_other_connections_said() {
    let bench = Bench::new(&[]).await;
    let (room, _) = bench.room().await;
    bench.guest(&room, "two").await.unwrap();
    let session = format!("user:{room}:two:session");
    let presence = format!("user:{room}:two:presence");
    let deadline = || {
        let deadline = bench.redis.texts(["ZMSCORE", &format!("room:{room}:deadlines"), "two"]);
        deadline[0].parse::<u64>().unwrap()
    };
    let before = deadline();
    let mut events = bench.events(&room);
    for status in [Status::Online, Status::Away, Status::Online] {
        let connection = connection("two-2", Duration::from_secs(20), status);
        bench.beat(&room, &[bench.heard(&room, "two", vec![connection])]).await.unwrap();
        assert_eq!(deadline(), before);
        assert!(bench.redis.cmd(["PTTL", &presence]).int() > 15_000);
        assert_eq!(bench.redis.cmd(["GET", &presence]).text(), "online");
    }
    assert_eq!(events.take(), [] as [Value; 0]);

    // The other one has lapsed: the rest decides.
    bench.redis.cmd(["HSET", &session, "conn:two-1", "1 online"]);
    let connection = connection("two-2", Duration::ZERO, Status::Away);
    bench.beat(&room, &[bench.heard(&room, "two", vec![connection])]).await.unwrap();
    assert_eq!(bench.redis.cmd(["GET", &presence]).text(), "away");
    assert!(deadline() >= before);
    assert_eq!(events.take().len(), 1, "it is told");
}

/// A change of a plain list would cost as much as there are members.
#[tokio::test]
async fn the_deadlines_of_many_are_kept_so_that_one_is_found_at_once() {
    let bench = Bench::new(&[]).await;
    let (room, _) = bench.room().await;
    let names: Vec<String> = (0..20).map(|number| format!("guest-{number}")).collect();
    let mut beats = Vec::new();
    for name in &names {
        bench.guest(&room, name).await.unwrap();
        let connection = connection(&format!("{name}-1"), Duration::ZERO, Status::Online);
        beats.push(bench.heard(&room, name, vec![connection]));
    }
    let deadlines = format!("room:{room}:deadlines");
    let before = bench.redis.texts(["ZRANGE", &deadlines, "0", "-1"]);
    let kept_as = || bench.redis.cmd(["OBJECT", "ENCODING", &deadlines]);
    assert_ne!(kept_as().text(), "skiplist");
    bench.beat(&room, &beats).await.unwrap();
    assert_eq!(kept_as().text(), "skiplist");
    let mut after = bench.redis.texts(["ZRANGE", &deadlines, "0", "-1"]);
    after.sort_by_key(|name| before.iter().position(|known| known == name));
    assert_eq!(after, before, "nobody more, nobody less");
    assert!(bench.redis.cmd(["PTTL", &deadlines]).int() > 0);
}

/// For members that expired while Redis was frozen, no leave was published: they return with the
/// complete list, without join events.
#[tokio::test]
async fn members_that_expired_return_without_a_word_about_each() {
    let bench = Bench::new(&[]).await;
    let (room, _) = bench.room().await;
    bench.guest(&room, "away").await.unwrap();
    let connection = connection("away-1", Duration::ZERO, Status::Away);
    let beat = bench.heard(&room, "away", vec![connection]);
    bench.beat(&room, std::slice::from_ref(&beat)).await.unwrap();
    for key in [
        format!("room:{room}:members"),
        format!("room:{room}:deadlines"),
        format!("user:{room}:away:presence"),
    ] {
        bench.redis.cmd(["DEL", &key]);
    }
    let mut subscription = bench.redis.subscribe(&format!("chan:{room}"));
    bench.beat(&room, &[beat]).await.unwrap();
    let told = subscription.next();
    assert_eq!((&told["t"], &told["away"]), (&json!("members"), &json!(["away"])));
}

#[tokio::test]
async fn scripts_come_back_after_redis_forgot_them() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let (room, _) = bench.room().await;
    bench.guest(&room, "writer").await.unwrap();
    for round in 0..10 {
        bench.redis.cmd(["SCRIPT", "FLUSH"]);
        let talk = (0..10).map(async |number| {
            let key = format!("{round}: {number}");
            stored(bench.say(&room, "writer", &key, Some(&key)).await);
            bench.scripts.read_room(&room).await.unwrap();
        });
        join_all(talk).await;
    }
    assert_eq!(bench.redis.stream_ids(room.as_str()).len(), 100);
}

#[tokio::test]
async fn texts_and_names_pass_unchanged() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let (room, _) = bench.room().await;
    let name = "\"'\\/<홍>길동{}*:%s\n";
    bench.guest(&room, name).await.unwrap();
    let mut events = bench.events(&room);
    let texts =
        ["", "/", "\\", "\"", "\u{0}", "\u{1f}", "\u{7f}", "\u{2028}", "🎉", "%d %%", "a\r\nb"];
    for (number, text) in texts.into_iter().enumerate() {
        let key = format!("{number}: \"é\"");
        stored(bench.say(&room, name, text, Some(&key)).await);
        let told = events.take().remove(0);
        assert_eq!((&told["text"], &told["from"]), (&json!(text), &json!(name)));
        assert_eq!(told["key"], key);
        let page =
            bench.scripts.read_messages(&room, &STRANGER, Page::Before(None), 1).await.unwrap();
        assert_eq!(page.messages.len(), 1);
        assert_eq!(serde_json::to_value(&page.messages[0]).unwrap()["text"], text);
    }
}
