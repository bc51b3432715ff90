//! Promise 8: tokens are unguessable, stored only as hashes, and a message's `from` comes from the
//! connection.

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Stage, eventually};

#[tokio::test]
async fn no_token_is_in_redis_or_in_a_log() {
    let stage = Stage::new(1, &[("LOG_LEVEL", "trace")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.client().await;
    let bobs = bob.join(&room.id, "bob").await["token"].as_str().unwrap().to_owned();
    let bots = stage.guest(&room, "bot").await;
    alice.say_once(&room.id, "hello", "k").await;
    bob.send(json!({ "t": "ping", "status": "away" })).await;
    alice.wait_for_kind("presence").await;
    stage.http().say(&room.id, &bots, json!({ "text": "hi", "key": "k" })).await.data(201);

    let stored = everything_in(&stage);
    for token in [&room.token, &bobs, &bots] {
        let secret = &token[token.len() - 16..];
        assert!(!stored.contains(secret), "a token is stored as it is");
        assert!(!stage.nodes[0].log().contains(secret), "a token is logged");
    }
}

/// All keys and values in Redis, as one text.
fn everything_in(stage: &Stage) -> String {
    let mut all = String::new();
    for key in stage.redis.texts(["KEYS", "*"]) {
        let value = match stage.redis.cmd(["TYPE", &key]).text() {
            "string" => stage.redis.cmd(["GET", &key]),
            "hash" => stage.redis.cmd(["HGETALL", &key]),
            "set" => stage.redis.cmd(["SMEMBERS", &key]),
            "zset" => stage.redis.cmd(["ZRANGE", &key, "0", "-1"]),
            "list" => stage.redis.cmd(["LRANGE", &key, "0", "-1"]),
            "stream" => stage.redis.cmd(["XRANGE", &key, "-", "+"]),
            other => panic!("{key} is a {other}"),
        };
        all.push_str(&format!("{key} {value:?}\n"));
    }
    assert!(all.contains("alice") && all.contains("hello"));
    all
}

#[tokio::test]
async fn nobody_hears_anothers_token() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut channel = stage.redis.subscribe(&format!("chan:{}", room.id));
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.client().await;
    let token = bob.join(&room.id, "bob").await["token"].as_str().unwrap().to_owned();
    bob.say(&room.id, "hello").await;
    alice.wait_for_kind("msg").await;
    let told = format!("{:?}", &alice.seen[1..]);
    assert!(!told.contains(&token));
    let members = stage.http().get(&format!("/api/rooms/{}/members", room.id)).await;
    assert!(!members.body.to_string().contains(&token));
    while {
        let event = channel.next();
        assert!(!event.to_string().contains(&token));
        event["t"] != "msg"
    } {}
}

#[tokio::test]
async fn tokens_differ_and_are_long() {
    let stage = Stage::new(1, &[]).await;
    let mut tokens = std::collections::HashSet::new();
    for _ in 0..50 {
        let room = stage.room("same").await;
        assert!(room.token.len() >= 24, "{}", room.token);
        assert!(tokens.insert(room.token));
    }
}

#[tokio::test]
async fn a_name_in_use_is_taken_for_everybody_else() {
    let stage = Stage::new(2, &[("LEAVE_GRACE", "100ms")]).await;
    let room = stage.room("alice").await;
    let taken = async |name: &str| {
        for node in &stage.nodes {
            let join = json!({ "t": "join", "roomId": room.id, "token": name });
            assert_eq!(node.client().await.try_join(join).await["code"], "NAME_TAKEN");
            let path = format!("/api/rooms/{}/sessions", room.id);
            node.http().post(&path, json!({ "name": name })).await.error(409, "NAME_TAKEN");
        }
    };
    taken("alice").await;
    stage.guest(&room, "bot").await;
    taken("bot").await;
    let mut watcher = stage.member(0, &room, "watcher").await;
    stage.member(0, &room, &room.token).await.close().await;
    watcher.wait_for_kind("user_left").await;
    taken("alice").await;

    let other = stage.room("alice").await;
    assert_ne!(other.token, room.token, "another room's alice is another user");
}

#[tokio::test]
async fn only_the_very_token_of_a_live_session_opens_it() {
    let stage = Stage::new(1, &[]).await;
    let (room, other) = (stage.room("alice").await, stage.room("alice").await);
    let mut client = stage.client().await;
    let mut cut = room.token.clone();
    cut.pop();
    let flipped = flip_last(&room.token);
    let guesses = [
        "lr_",
        "lr_x",
        "lr_alice",
        "lr_..",
        "lr_=",
        "lr_\u{0}",
        "lr_é",
        "lr_YWxpY2U.aaaaaaaaaaaaaaaaaaaaa",
        &cut,
        &flipped,
        &other.token,
        &format!("{}x", room.token),
        &format!("{} ", room.token),
    ];
    for guess in guesses {
        let answer =
            client.try_join(json!({ "t": "join", "roomId": room.id, "token": guess })).await;
        assert_eq!(answer["code"], "INVALID_TOKEN", "{guess:?}");
        assert!(answer.get("token").is_none());
    }
    let long = format!("lr_{}", "a".repeat(10_000));
    let answer = client.try_join(json!({ "t": "join", "roomId": room.id, "token": long })).await;
    assert_eq!(answer["code"], "INVALID_TOKEN");
    client.join(&room.id, &room.token).await;
}

fn flip_last(token: &str) -> String {
    let (start, last) = token.split_at(token.len() - 1);
    format!("{start}{}", if last == "a" { "b" } else { "a" })
}

#[tokio::test]
async fn a_session_that_ended_frees_its_name_and_its_token_is_worthless() {
    let settings = [("PRESENCE_TTL", "600ms"), ("SESSION_TTL", "900ms"), ("LEAVE_GRACE", "100ms")];
    let stage = Stage::new(1, &settings).await;
    // The creator's token is valid as long as the room exists.
    let room = stage.room("owner").await;
    let token = stage.guest(&room, "alice").await;
    let join = json!({ "t": "join", "roomId": room.id, "token": token });
    stage.member(0, &room, &token).await.close().await;
    eventually(DEADLINE, "the end of the session", async || {
        let key = format!("user:{}:alice:session", room.id);
        (stage.redis.cmd(["EXISTS", &key]).int() == 0).then_some(())
    })
    .await;
    let mut late = stage.client().await;
    assert_eq!(late.try_join(join).await["code"], "INVALID_TOKEN");
    let said = stage.http().say(&room.id, &token, json!({ "text": "hi" })).await;
    said.error(401, "INVALID_TOKEN");
    let joined = late.join(&room.id, "alice").await;
    assert_ne!(joined["token"], json!(token));
}

#[tokio::test]
async fn one_connection_is_one_user_in_a_room() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut client: Client = stage.member(0, &room, &room.token).await;
    let answer = client.try_join(json!({ "t": "join", "roomId": room.id, "token": "bob" })).await;
    assert_eq!(answer["t"], "error", "{answer}");
    assert_eq!(client.say(&room.id, "who am I").await["from"], "alice");
    assert_eq!(stage.members_in_redis(&room), ["alice"]);
}

/// Redis lost everything, and another user took a name before its owner reconnected.
#[tokio::test]
async fn a_name_that_redis_forgot_is_not_had_by_two() {
    // No heartbeat runs by itself.
    let settings = [("PRESENCE_TTL", "10m"), ("HEARTBEAT_INTERVAL", "5m")];
    let stage = Stage::new(2, &settings).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    stage.redis.cmd(["FLUSHALL"]);
    bob.say(&room.id, "puts the room back").await;
    let mut taker = stage.nodes[1].client().await;
    taker.join(&room.id, "alice").await;

    alice.send(json!({ "t": "msg", "roomId": room.id, "text": "I am alice", "key": "k" })).await;
    let told = alice.wait_for("the news", |frame| frame["code"] == "INVALID_TOKEN").await;
    assert_eq!(told["roomId"], room.id);
    let refused = alice.wait_for("the answer", |frame| frame["key"] == "k").await;
    assert_eq!(refused["code"], "NOT_IN_ROOM");
    alice.send(json!({ "t": "ping", "status": "away" })).await;
    alice.join(&room.id, "alice's friend").await;
    alice.say(&room.id, "I was alice").await;
    taker.wait_for("her message", |frame| frame["from"] == "alice's friend").await;
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 2);
    let spoke = |frame: &Value| frame["t"] == "presence" && frame["userId"] == "alice";
    assert!(!taker.seen.iter().any(spoke), "{:?}", taker.seen);
}
