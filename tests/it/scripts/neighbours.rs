//! Unusual names, and foreign values in our keys: names do not collide, and a fault of one user
//! affects nobody else.

use std::time::Duration;

use linkroom::{
    error::Code,
    names::{Status, Token, UserId},
    redis::{
        keys::KeyStyle,
        scripts::{Published, Restored, RoomFacts, RoomOptions},
    },
};

use super::{Bench, HERE, NO_FLOOD_LIMIT, STRANGER, code, connection, draft, leaves, stored};

const NAMES: [&str; 10] =
    ["alice", "alice:keys", "alice%3Akeys", "a:session", "a%3Asession", ":", "%", "%3A", "a", "a:"];

const KEYS: [&str; 6] = ["b:key:c", "c", "x:session", ":presence", ":", "session"];

#[tokio::test]
async fn no_name_and_no_key_reaches_what_another_user_has() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let (room, _) = bench.room().await;
    for name in NAMES {
        bench.guest(&room, name).await.unwrap();
    }
    for name in NAMES {
        let texts = KEYS.map(|key| format!("{name} with {key}"));
        for (key, text) in KEYS.iter().zip(&texts) {
            stored(bench.say(&room, name, text, Some(key)).await);
        }
        for (key, text) in KEYS.iter().zip(texts) {
            let again = bench.say(&room, name, "again", Some(key)).await.unwrap();
            assert!(matches!(&again, Published::Repeat { text: was, .. } if *was == text));
        }
    }
    // The scripts derive the same keys as the node.
    let keys = KeyStyle::Plain.room(&room);
    let users = NAMES.iter().chain(&["owner"]).map(|name| UserId::stored(name));
    let mut expected: Vec<_> = users.flat_map(|u| [keys.session(&u), keys.presence(&u)]).collect();
    expected.extend(NAMES.map(|name| keys.sent_keys(&UserId::stored(name))));
    expected.sort();
    assert_eq!(bench.redis.texts(["KEYS", &format!("user:{room}:*")]), expected);

    let mut events = bench.events(&room);
    for name in NAMES {
        bench.beat(&room, &[bench.heard(&room, name, vec![away(name)])]).await.unwrap();
        bench.lapse(&room, name);
    }
    bench.scripts.sweep_room(&room, &[]).await.unwrap();
    assert_eq!(events.count("user_left"), NAMES.len());
    let presence = |name: &str| {
        let key = keys.presence(&UserId::stored(name));
        bench.redis.cmd(["EXISTS", &key]).int() == 1
    };
    assert!(!NAMES.iter().any(|name| presence(name)) && presence("owner"));
}

fn away(name: &str) -> linkroom::redis::scripts::ConnectionReport {
    connection(&format!("{name}-1"), Duration::ZERO, Status::Away)
}

/// What another program may have written to a user's key: a command, 'session' or 'presence', and
/// the other arguments.
const PLANTED: [[&str; 4]; 12] = [
    ["RPUSH", "session", "no", "hash"],
    ["SADD", "session", "no", "hash"],
    ["HSET", "session", "conn:bad-1", "soon"],
    ["HSET", "session", "conn:bad-1", "99999999999999999999999 online"],
    ["HSET", "session", "conn:other", ""],
    ["HSET", "session", "read", "the last one"],
    ["HSET", "session", "read", "99999999999999999999999-1"],
    ["HSET", "session", "joinedAt", "yesterday"],
    ["HSET", "session", "joinedAt", "99999999999999999999999"],
    ["HSET", "session", "second", "nan"],
    ["RPUSH", "presence", "no", "string"],
    ["HSET", "presence", "no", "string"],
];

#[tokio::test]
async fn what_is_wrong_with_one_user_is_nobody_elses() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    for planted in PLANTED {
        let (room, _) = bench.room().await;
        for name in ["bad", "good"] {
            bench.guest(&room, name).await.unwrap();
        }
        let beat = |name| bench.heard(&room, name, vec![away(name)]);
        let beats = [beat("bad"), beat("good")];
        let keys = KeyStyle::Plain.room(&room);
        let bad = UserId::stored("bad");
        let [command, what, rest @ ..] = planted;
        let key = if what == "session" { keys.session(&bad) } else { keys.presence(&bad) };
        if command != "HSET" || what == "presence" {
            bench.redis.cmd(["DEL", &key]);
        }
        bench.redis.cmd([command, &key, rest[0], rest[1]]);

        let outcomes = [draft("bad", "bad-1", "a", None), draft("good", "good-1", "b", None)];
        let outcomes = bench.scripts.publish(&room, &outcomes.each_ref()).await.unwrap();
        assert!(outcomes[1].is_ok(), "{planted:?}");
        bench.beat(&room, &beats).await.unwrap();
        let members = bench.scripts.read_members(&room, &STRANGER, "", 9).await.unwrap();
        assert_eq!(members.len(), 3, "{planted:?}");
        assert_eq!(members[1].status, Status::Away, "{planted:?}");
        bench.guest(&room, "late").await.unwrap();
        let facts = RoomFacts {
            creator: "owner".to_owned(),
            created_at_ms: 1,
            secret: String::new(),
            creator_token: String::new(),
            options: RoomOptions::default(),
            creator_name_taken: false,
        };
        let users = beats.map(|beat| Restored {
            token: Token::random(&beat.user),
            beat,
            addresses: vec![HERE],
        });
        bench.scripts.restore(&room, "@1", &facts, &users).await.unwrap();
        // Whatever the session contains, its user can be cleared.
        let mut events = bench.events(&room);
        bench.redis.cmd(["ZADD", &keys.deadlines(), "XX", "1", "bad"]);
        bench.scripts.sweep_room(&room, &[]).await.unwrap();
        assert_eq!(events.count("user_left"), 1, "{planted:?}");
        assert_eq!(bench.members(&room), ["good", "late", "owner"], "{planted:?}");
        let left = bench.leave(&room, leaves(&bad, "bad-1", Duration::ZERO)).await;
        assert_eq!(code(left), None, "{planted:?}");
    }
}

#[tokio::test]
async fn an_idempotency_key_that_holds_no_message_of_its_user_fails_alone() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let (room, _) = bench.room().await;
    for name in ["bad", "good"] {
        bench.guest(&room, name).await.unwrap();
    }
    let of_another = stored(bench.say(&room, "good", "mine", None).await).to_string();
    let keys = KeyStyle::Plain.room(&room).sent_keys(&UserId::stored("bad"));
    let values = ["", "-", "+", "7", "garbage", "1-1 ", "99999999999999999999999-1", &of_another];
    let planted = values.iter().map(|value| vec!["HSET", &keys, "k", value]);
    for planted in planted.chain([vec!["RPUSH", &keys, "1-1"], vec!["SET", &keys, "1-1"]]) {
        bench.redis.cmd(["DEL", &keys]);
        bench.redis.run(&planted);
        let drafts = [
            draft("good", "good-1", "before", Some("k1")),
            draft("bad", "bad-1", "refused", Some("k")),
            draft("good", "good-1", "behind", None),
        ];
        let [before, bad, behind] = bench
            .scripts
            .publish(&room, &drafts.each_ref())
            .await
            .unwrap()
            .try_into()
            .expect("three outcomes");
        assert_eq!(code(bad), Some(Code::Internal), "{planted:?}");
        assert!(before.is_ok() && behind.is_ok(), "{planted:?}");
    }
}
