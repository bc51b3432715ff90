//! Keys and fields of a room in whose place something else stands: a script that fails for it has changed
//! nothing before.

use std::{collections::BTreeSet, fs, time::Duration};

use linkroom::{
    error::Error,
    names::{MessageId, RoomId, Status, Token, UserId},
    redis::{
        keys::{KeyStyle, Queue, node_channel, promise, vapid},
        scripts::{
            Attempt, DeadLetter, QueuedEvent, Ready, Restored, RoomChange, RoomFacts, RoomOptions,
            UserHeartbeat,
        },
    },
    webpush::{Subscription, VapidKey},
};

use super::{Bench, HERE, NO_FLOOD_LIMIT, STRANGER, connection, draft, leaves, stored};

/// A call that may write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Create,
    Update,
    Close,
    Clear,
    RemoveUser,
    Ban,
    LiftBans,
    AddSession,
    JoinAsGuest,
    JoinByToken,
    Publish,
    Delete,
    Redact,
    Heartbeat,
    Leave,
    LeaveWithGrace,
    Sweep,
    Restore,
    TellMembers,
    ReadOn,
    Remember,
    KeepPromise,
    SettleHook,
    SettleFailedHook,
    TendHooks,
    ReplayLetter,
    Subscribe,
    Unsubscribe,
    KeepVapid,
}

/// Every script that may write, and how it is called.
const CALLS: [(Call, &str); 29] = [
    (Call::Create, "create_room"),
    (Call::Update, "update_room"),
    (Call::Close, "close_room"),
    (Call::Clear, "clear_room"),
    (Call::RemoveUser, "remove_user"),
    (Call::Ban, "remove_user"),
    (Call::LiftBans, "lift_bans"),
    (Call::AddSession, "add_session"),
    (Call::JoinAsGuest, "join"),
    (Call::JoinByToken, "join"),
    (Call::Publish, "publish"),
    (Call::Delete, "delete_message"),
    (Call::Redact, "redact_event"),
    (Call::Heartbeat, "heartbeat"),
    (Call::Leave, "leave"),
    (Call::LeaveWithGrace, "leave"),
    (Call::Sweep, "sweep_room"),
    (Call::Restore, "restore"),
    (Call::TellMembers, "tell_members"),
    (Call::ReadOn, "read_on"),
    (Call::Remember, "remember"),
    (Call::KeepPromise, "keep_promise"),
    (Call::SettleHook, "settle_hook"),
    (Call::SettleFailedHook, "settle_hook"),
    (Call::TendHooks, "tend_hooks"),
    (Call::ReplayLetter, "move_letter"),
    (Call::Subscribe, "subscribe"),
    (Call::Unsubscribe, "unsubscribe"),
    (Call::KeepVapid, "keep_vapid"),
];

/// Settings of nodes that post what happens.
pub const WEBHOOK: [&str; 3] = [
    NO_FLOOD_LIMIT,
    "--webhook-url=http://127.0.0.1:9",
    "--webhook-secret=whsec_bm9ib2R5IGtub3dzIHRoaXMgc2VjcmV0ISE=",
];

/// What of a request is remembered.
const REQUEST: &str = "request";

/// Where a browser takes pushes.
fn subscription() -> Subscription {
    let (key, secret) = (
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "BTBZMqHH6r4Tts7J_aSIgg",
    );
    Subscription::parse("https://push.example/1", key, secret, false).unwrap()
}

/// Something of every type.
const VALUES: [(&str, &[&str]); 6] = [
    ("string", &["SET", "KEY", "x"]),
    ("list", &["RPUSH", "KEY", "x"]),
    ("set", &["SADD", "KEY", "x"]),
    ("hash", &["HSET", "KEY", "x", "y"]),
    ("zset", &["ZADD", "KEY", "1", "x"]),
    ("stream", &["XADD", "KEY", "1-1", "x", "y"]),
];

const FIELDS: [&str; 12] = [
    "createdAt",
    "events",
    "occupied",
    "last",
    "ttl",
    "maxMembers",
    "large",
    "toldCount",
    "toldAt",
    "push",
    "oldest",
    "secret",
];

const WORDS: [&str; 5] = ["", "x", "5", "$", "9223372036854775807"];

/// A room with two members, two messages of which one was deleted, and somebody who was removed and banned.
struct Place<'a> {
    bench: &'a Bench,
    room: RoomId,
    owner: Token,
    token: Token,
    beat: UserHeartbeat,
    /// The message that is left.
    message: MessageId,
    hooks: Option<Hooks>,
}

/// What waits for the webhook.
struct Hooks {
    ready: Ready,
    event: QueuedEvent,
    letter: DeadLetter,
}

impl<'a> Place<'a> {
    async fn new(bench: &'a Bench, has_hooks: bool) -> Self {
        // What was planted in another room's time.
        bench.redis.cmd(["FLUSHDB"]);
        let (room, owner) = bench.room().await;
        let (creator, guest) = (UserId::stored("owner"), UserId::stored("guest"));
        bench.guest(&room, "removed").await.unwrap();
        let removed = UserId::stored("removed");
        bench.scripts.remove_user(&room, &creator, &owner, &removed, true).await.unwrap();
        bench.scripts.lift_bans(&room, &creator, &owner).await.unwrap();
        let token = Token::random(&guest);
        bench.join(&room, "guest", &token, true, "guest-1").await.unwrap();
        let gone = stored(bench.say(&room, "guest", "oops", None).await);
        bench.scripts.delete_message(&room, &guest, &token, gone).await.unwrap();
        let message = stored(bench.say(&room, "guest", "hi", Some("first")).await);
        bench.scripts.remember(REQUEST, "digest", "sealed").await.unwrap();
        let heard = connection("guest-1", Duration::ZERO, Status::Away);
        let beat = bench.heard(&room, "guest", vec![heard]);
        let hooks = if has_hooks { Some(Hooks::of(bench, &room).await) } else { None };
        Self { bench, room, owner, token, beat, message, hooks }
    }

    /// The room's keys, some of its users', and those of all rooms.
    fn keys(&self) -> Vec<String> {
        let (keys, guest) = (KeyStyle::Plain.room(&self.room), UserId::stored("guest"));
        let of_room = ["deleted", "removed", "bans", "subjects", "users", "push"];
        let of_room = of_room.map(|what| format!("{}:{what}", keys.room()));
        let sent = keys.sent_keys(&guest);
        let others = [
            keys.returning(),
            keys.session(&guest),
            keys.presence(&guest),
            format!("{sent}:old"),
            sent,
            keys.pushes(&guest),
            promise(REQUEST),
            vapid(),
        ];
        [keys.all(), others.to_vec(), of_room.to_vec()].concat()
    }

    /// The keys of webhooks.
    fn hook_keys(&self) -> Vec<String> {
        let (keys, shared) = (KeyStyle::Plain.room(&self.room), KeyStyle::Plain.hooks());
        vec![
            keys.events(),
            keys.absent(),
            shared.ready(),
            shared.delayed(),
            shared.oldest(),
            shared.state(),
            shared.dead(),
            shared.lapses(),
        ]
    }

    fn plant(&self, words: &[&str], key: &str) {
        let words: Vec<&str> =
            words.iter().map(|word| if *word == "KEY" { key } else { *word }).collect();
        self.bench.redis.run(&words);
    }

    /// All that is kept, but for how long.
    fn digest(&self) -> String {
        let script = "local all = {} \
            for _, key in ipairs(redis.call('KEYS', '*')) do \
                all[#all + 1] = key .. ' ' .. redis.sha1hex(redis.call('DUMP', key)) \
            end \
            table.sort(all) return table.concat(all, ' ')";
        self.bench.redis.cmd(["EVAL", script, "0"]).text().to_owned()
    }

    async fn call(&self, call: Call) -> Result<(), Error> {
        let (scripts, room) = (&self.bench.scripts, &self.room);
        let (owner, guest) = (UserId::stored("owner"), UserId::stored("guest"));
        let options = RoomOptions { topic: Some("changed".into()), ..RoomOptions::default() };
        let beat = self.beat.clone();
        match call {
            Call::Create => {
                scripts.create_room(room, &owner, &self.owner, &options, HERE).await.map(drop)
            }
            Call::Update => {
                let change = RoomChange {
                    topic: Some(options.topic),
                    ttl: Some(60),
                    ..RoomChange::default()
                };
                scripts.update_room(room, &owner, &self.owner, &change).await
            }
            Call::Close => scripts.close_room(room, &owner, &self.owner).await.map(drop),
            Call::Clear => scripts.clear_room(room).await,
            Call::RemoveUser | Call::Ban => {
                let bans = call == Call::Ban;
                scripts.remove_user(room, &owner, &self.owner, &guest, bans).await.map(drop)
            }
            Call::LiftBans => scripts.lift_bans(room, &owner, &self.owner).await,
            Call::AddSession => {
                let bot = UserId::stored("bot");
                scripts.add_session(room, &bot, &Token::random(&bot), HERE).await.map(drop)
            }
            Call::JoinAsGuest => self.bench.guest(room, "another").await.map(drop),
            Call::JoinByToken => {
                self.bench.join(room, "guest", &self.token, false, "guest-2").await.map(drop)
            }
            Call::Publish => self
                .bench
                .publish(room, &draft("guest", "guest-1", "hi", Some("k")))
                .await
                .map(drop),
            Call::Delete => scripts.delete_message(room, &owner, &self.owner, self.message).await,
            Call::Redact => scripts.redact_event(room, self.message, "guest", String::new()).await,
            Call::Heartbeat => self.bench.beat(room, &[beat]).await.map(drop),
            Call::Leave | Call::LeaveWithGrace => {
                let grace = Duration::from_secs(u64::from(call == Call::LeaveWithGrace));
                self.bench.leave(room, leaves(&guest, "guest-1", grace)).await.map(drop)
            }
            Call::Sweep => scripts.sweep_room(room, &[]).await.map(drop),
            Call::Restore => {
                let facts = RoomFacts {
                    creator: "owner".to_owned(),
                    created_at_ms: 1,
                    secret: "secret".to_owned(),
                    creator_token: String::new(),
                    options,
                    creator_name_taken: false,
                };
                let users = [Restored { token: self.token.clone(), beat, addresses: vec![HERE] }];
                scripts.restore(room, "@1", &facts, &users).await.map(drop)
            }
            Call::TellMembers => scripts.tell_members(room, 0).await,
            Call::ReadOn => scripts.read_on(room, &STRANGER, None, 10, "tag").await.map(drop),
            Call::Remember => scripts.remember(REQUEST, "digest", "sealed").await.map(drop),
            Call::KeepPromise => scripts.keep_promise(REQUEST).await,
            Call::Subscribe => {
                let (subscription, key) = (subscription(), VapidKey::generate());
                scripts.subscribe(room, &guest, &self.token, &subscription, &key).await
            }
            Call::Unsubscribe => scripts.unsubscribe(room, &guest, &self.token).await,
            Call::KeepVapid => scripts.keep_vapid(&VapidKey::generate()).await.map(drop),
            Call::SettleHook | Call::SettleFailedHook | Call::TendHooks | Call::ReplayLetter => {
                self.call_about_hooks(call).await
            }
        }
    }

    async fn call_about_hooks(&self, call: Call) -> Result<(), Error> {
        let (scripts, Some(hooks)) = (&self.bench.scripts, &self.hooks) else { return Ok(()) };
        let event = &hooks.event;
        let tried = match call {
            Call::TendHooks => return scripts.tend_hooks(Vec::new(), 1).await.map(drop),
            Call::ReplayLetter => return scripts.move_letter(&hooks.letter, true).await.map(drop),
            Call::SettleHook => Attempt::Delivered { event, rest: Duration::ZERO },
            _ => Attempt::Failed { event, why: "away", pause: Duration::ZERO },
        };
        let queue = Queue::Webhook(self.room.clone());
        scripts.settle_hook(&hooks.ready, &queue, Some(tried), true).await.map(drop)
    }
}

impl Hooks {
    /// Of a node that has taken the room.
    async fn of(bench: &Bench, room: &RoomId) -> Self {
        let (keys, shared) = (KeyStyle::Plain.room(room), KeyStyle::Plain.hooks());
        bench.scripts.tend_hooks(Vec::new(), 1).await.unwrap();
        let (ready, node) = (shared.ready(), node_channel("", "node"));
        let taken = ["XREADGROUP", "GROUP", "nodes", &node, "COUNT", "1", "STREAMS", &ready, ">"];
        let taken = bench.redis.cmd(taken);
        let entry = &taken.list()[0].list()[1].list()[0].list()[0];
        let ready = Ready { entry: entry.text().to_owned(), events: keys.events() };
        let first = bench.redis.cmd(["LINDEX", &keys.events(), "0"]);
        let (dead, id) = (shared.dead(), room.as_str());
        let letter = ["id", "evt_1", "type", "room.created", "room", id, "time", "1", "tries", "1"];
        let words = ["XADD", &dead, "*"].into_iter().chain(letter);
        let words: Vec<&str> = words.chain(["reason", "away", "data", "{}"]).collect();
        bench.redis.run(&words);
        Self {
            ready,
            event: QueuedEvent::parse(first.text()).unwrap(),
            letter: bench.scripts.read_letters(None).await.unwrap().remove(0),
        }
    }
}

/// Each call with each of these keys taken by something else: by something of its own type, and by something of
/// another, which every type is in turn.
async fn fails_whole(bench: &Bench, has_hooks: bool, keys: impl Fn(&Place<'_>) -> Vec<String>) {
    let (mut failed, mut turn, mut halves) = (0, 0, Vec::new());
    for (call, _) in CALLS {
        for at in 0..keys(&Place::new(bench, has_hooks).await).len() {
            let mut planted = BTreeSet::new();
            for is_own in [true, false] {
                let place = Place::new(bench, has_hooks).await;
                if call == Call::Create {
                    bench.redis.cmd(["DEL", &place.keys()[0]]);
                }
                let key = &keys(&place)[at];
                let kind = bench.redis.cmd(["TYPE", key]).text().to_owned();
                turn += 1;
                let own = VALUES.iter().position(|(of, _)| *of == kind).filter(|_| is_own);
                let (of, value) = VALUES[own.unwrap_or(turn % VALUES.len())];
                if !planted.insert(of) {
                    continue;
                }
                bench.redis.cmd(["DEL", key]);
                place.plant(value, key);
                let before = place.digest();
                if place.call(call).await.is_err() {
                    failed += 1;
                    if place.digest() != before {
                        halves.push(format!("{call:?}, {key} is a {of}"));
                    }
                }
            }
        }
    }
    assert!(halves.is_empty(), "{halves:#?}");
    assert!(failed > CALLS.len(), "{failed}");
}

#[tokio::test]
async fn a_script_that_fails_for_a_foreign_key_has_changed_nothing() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    fails_whole(&bench, false, |place| place.keys()).await;
}

#[tokio::test]
async fn a_script_that_fails_for_a_foreign_key_of_webhooks_has_changed_nothing() {
    let bench = Bench::new(&WEBHOOK).await;
    fails_whole(&bench, true, |place| place.hook_keys()).await;
}

#[tokio::test]
async fn a_script_that_fails_for_a_foreign_field_has_changed_nothing() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let mut halves = Vec::new();
    for (call, _) in CALLS {
        for field in FIELDS {
            for word in WORDS {
                let place = Place::new(&bench, false).await;
                bench.redis.cmd(["HSET", &place.keys()[0], field, word]);
                let before = place.digest();
                if place.call(call).await.is_err() && place.digest() != before {
                    halves.push(format!("{call:?}, {field} is {word:?}"));
                }
            }
        }
    }
    assert!(halves.is_empty(), "{halves:#?}");
}

/// Every script but those which Redis itself lets write nothing.
#[test]
fn no_script_that_writes_is_left_out() {
    let source = include_str!("../../../src/redis/scripts.rs");
    let source = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/lua")).unwrap();
    let names = files.filter_map(|file| {
        let name = file.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".lua").map(str::to_owned)
    });
    // The probe writes nothing either, and asks whether it may.
    let writes = |name: &String| name != "probe" && !source.contains(&format!("reads \"{name}\""));
    let (called, written): (BTreeSet<_>, BTreeSet<_>) = (
        CALLS.iter().map(|(_, name)| (*name).to_owned()).collect(),
        names.filter(writes).collect(),
    );
    assert_eq!(called, written);
}
