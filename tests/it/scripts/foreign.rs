//! Keys and fields of a room in whose place something else stands: a script that fails for it has changed
//! nothing before.

use std::time::Duration;

use linkroom::{
    error::Error,
    names::{RoomId, Status, Token, UserId},
    redis::{
        keys::KeyStyle,
        scripts::{Restored, RoomChange, RoomFacts, RoomOptions, UserHeartbeat},
    },
};

use super::{Bench, HERE, NO_FLOOD_LIMIT, STRANGER, connection, draft, leaves};

/// Every call that may write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Create,
    Update,
    AddSession,
    JoinAsGuest,
    JoinByToken,
    Publish,
    Heartbeat,
    Leave,
    LeaveWithGrace,
    Sweep,
    Restore,
    TellMembers,
    ReadOn,
}

const CALLS: [Call; 13] = [
    Call::Create,
    Call::Update,
    Call::AddSession,
    Call::JoinAsGuest,
    Call::JoinByToken,
    Call::Publish,
    Call::Heartbeat,
    Call::Leave,
    Call::LeaveWithGrace,
    Call::Sweep,
    Call::Restore,
    Call::TellMembers,
    Call::ReadOn,
];

/// Something of every type.
const VALUES: [&[&str]; 6] = [
    &["SET", "KEY", "x"],
    &["RPUSH", "KEY", "x"],
    &["SADD", "KEY", "x"],
    &["HSET", "KEY", "x", "y"],
    &["ZADD", "KEY", "1", "x"],
    &["XADD", "KEY", "1-1", "x", "y"],
];

const FIELDS: [&str; 10] = [
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
];

const WORDS: [&str; 5] = ["", "x", "5", "$", "9223372036854775807"];

/// A room with two members and a message.
struct Place<'a> {
    bench: &'a Bench,
    room: RoomId,
    owner: Token,
    token: Token,
    beat: UserHeartbeat,
}

impl<'a> Place<'a> {
    async fn new(bench: &'a Bench) -> Self {
        let (room, owner) = bench.room().await;
        let token = Token::random(&UserId::stored("guest"));
        bench.join(&room, "guest", &token, true, "guest-1").await.unwrap();
        bench.say(&room, "guest", "hi", None).await.unwrap();
        let heard = connection("guest-1", Duration::ZERO, Status::Away);
        let beat = bench.heard(&room, "guest", vec![heard]);
        Self { bench, room, owner, token, beat }
    }

    /// The room's keys, and two of its users'.
    fn keys(&self) -> [String; 9] {
        let (keys, guest) = (KeyStyle::Plain.room(&self.room), UserId::stored("guest"));
        [
            keys.room(),
            keys.members(),
            keys.deadlines(),
            keys.messages(),
            keys.names(),
            keys.away(),
            keys.returning(),
            keys.session(&guest),
            keys.presence(&guest),
        ]
    }

    fn plant(&self, words: &[&str], key: &str) {
        let words: Vec<&str> =
            words.iter().map(|word| if *word == "KEY" { key } else { *word }).collect();
        self.bench.redis.run(&words);
    }

    /// All that is kept of the room, but for how long.
    fn digest(&self) -> String {
        let script = "local all = {} \
            for _, pattern in ipairs(ARGV) do \
                for _, key in ipairs(redis.call('KEYS', pattern)) do \
                    all[#all + 1] = key .. ' ' .. redis.sha1hex(redis.call('DUMP', key)) \
                end \
            end \
            table.sort(all) return table.concat(all, ' ')";
        let patterns = ["room", "user"].map(|kind| format!("{kind}:{}*", self.room));
        self.bench.redis.cmd(["EVAL", script, "0", &patterns[0], &patterns[1]]).text().to_owned()
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
            Call::Heartbeat => self.bench.beat(room, &[beat]).await.map(drop),
            Call::Leave | Call::LeaveWithGrace => {
                let grace = Duration::from_secs(u64::from(call == Call::LeaveWithGrace));
                self.bench.leave(room, leaves(&guest, "guest-1", grace)).await.map(drop)
            }
            Call::Sweep => scripts.sweep_room(room).await.map(drop),
            Call::Restore => {
                let facts = RoomFacts {
                    creator: "owner".to_owned(),
                    created_at_ms: 1,
                    secret: "secret".to_owned(),
                    creator_token: String::new(),
                    options,
                };
                let users = [Restored { token: self.token.clone(), beat, addresses: vec![HERE] }];
                scripts.restore(room, "@1", &facts, &users).await.map(drop)
            }
            Call::TellMembers => scripts.tell_members(room, 0).await,
            Call::ReadOn => scripts.read_on(room, &STRANGER, None, 10, "tag").await.map(drop),
        }
    }
}

#[tokio::test]
async fn a_script_that_fails_for_a_foreign_key_has_changed_nothing() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let mut failed = 0;
    for call in CALLS {
        for value in VALUES {
            for at in 0..9 {
                let place = Place::new(&bench).await;
                if call == Call::Create {
                    bench.redis.cmd(["DEL", &place.keys()[0]]);
                }
                let key = &place.keys()[at];
                bench.redis.cmd(["DEL", key]);
                place.plant(value, key);
                let before = place.digest();
                if place.call(call).await.is_err() {
                    failed += 1;
                    assert_eq!(place.digest(), before, "{call:?}, {key} is a {}", value[0]);
                }
            }
        }
    }
    assert!(failed > CALLS.len(), "{failed}");
}

#[tokio::test]
async fn a_script_that_fails_for_a_foreign_field_has_changed_nothing() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    for call in CALLS {
        for field in FIELDS {
            for word in WORDS {
                let place = Place::new(&bench).await;
                bench.redis.cmd(["HSET", &place.keys()[0], field, word]);
                let before = place.digest();
                if place.call(call).await.is_err() {
                    assert_eq!(place.digest(), before, "{call:?}, {field} is {word:?}");
                }
            }
        }
    }
}
