//! Numbers from outside are bounded: a client's read position, deadlines from a clock that was set
//! back, ids that no message has.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{DEADLINE, Stage, eventually};

const FUTURE: [&str; 3] = [
    "9007199254740991-9007199254740991",
    "18446744073709551615-18446744073709551615",
    "4000000000000-0",
];

async fn read_of(stage: &Stage, room: &str, name: &str) -> Value {
    let members = stage.http().get(&format!("/api/rooms/{room}/members")).await.data(200);
    let member = members.as_array().unwrap().iter().find(|member| member["userId"] == name);
    member.map_or(Value::Null, |member| member["read"].clone())
}

#[tokio::test]
async fn nobody_has_read_further_than_the_last_message_whatever_they_say() {
    let mut stage = Stage::new(1, &[("HEARTBEAT_INTERVAL", "300ms")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    let ping = |read: &Value| json!({ "t": "ping", "roomId": room.id, "read": read });
    for (turn, future) in FUTURE.iter().enumerate() {
        let said = alice.say(&room.id, "first").await["id"].clone();
        bob.send(ping(&json!(future))).await;
        let told = alice.wait_for_kind("read").await;
        assert_eq!(told["id"], said, "{future}");
        // Later messages do not become read because of it.
        let later = alice.say(&room.id, "later").await["id"].clone();
        bob.until_pong().await;
        assert_eq!(read_of(&stage, &room.id, "bob").await, said);
        bob.send(ping(&later)).await;
        assert_eq!(alice.wait_for_kind("read").await["id"], later);

        // Nor after Redis came back empty and the node restores what it knows.
        bob.send(ping(&json!(future))).await;
        // Once this came back, the node has reported what came before it.
        bob.say(&room.id, "behind it").await;
        if turn == 0 {
            stage.redis.kill();
            stage.redis.restart();
        } else {
            stage.redis.cmd(["FLUSHALL"]);
        }
        alice.keep_alive(Duration::from_millis(100));
        bob.keep_alive(Duration::from_millis(100));
        eventually(DEADLINE, "the room", async || {
            (stage.members_in_redis(&room) == ["alice", "bob"]).then_some(())
        })
        .await;
        let anew = alice.say(&room.id, "anew").await["id"].clone();
        assert_ne!(read_of(&stage, &room.id, "bob").await, anew);
        bob.send(ping(&anew)).await;
        alice.wait_for("bob's read", |frame| frame["t"] == "read" && frame["id"] == anew).await;
    }
}

/// The state that remains if Redis's clock is set back by an hour while a node dies.
#[tokio::test]
async fn no_deadline_counts_for_longer_than_it_was_set_for() {
    let settings = [
        ("PRESENCE_TTL", "600ms"),
        ("HEARTBEAT_INTERVAL", "200ms"),
        ("SESSION_TTL", "900ms"),
        ("LEAVE_GRACE", "1h"),
    ];
    let mut stage = Stage::new(2, &settings).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    alice.keep_alive(Duration::from_millis(100));
    let mut gone = stage.member(1, &room, "gone").await;
    gone.until_pong().await;
    let (session, presence) =
        (format!("user:{}:gone:session", room.id), format!("user:{}:gone:presence", room.id));
    let deadlines = format!("room:{}:deadlines", room.id);
    stage.nodes[1].kill().await;
    let seconds: u64 = stage.redis.cmd(["TIME"]).list()[0].text().parse().unwrap();
    let in_an_hour = ((seconds + 3_600) * 1_000).to_string();
    for field in stage.redis.texts(["HKEYS", &session]) {
        if field.starts_with("conn:") {
            stage.redis.cmd(["HSET", &session, &field, &format!("{in_an_hour} online")]);
        }
    }
    stage.redis.cmd(["ZADD", &deadlines, &in_an_hour, "gone"]);
    for key in [&session, &presence, &deadlines] {
        stage.redis.cmd(["PEXPIRE", key, "3600000"]);
    }
    let left = |frame: &Value| frame["t"] == "user_left" && frame["userId"] == "gone";
    alice.wait_for("the end of a presence", left).await;
    // And its name is free when its session has ended.
    let mut heir = stage.client().await;
    let join = json!({ "t": "join", "roomId": room.id, "token": "gone" });
    eventually(DEADLINE, "a free name", async || {
        (heir.try_join(join.clone()).await["t"] == "joined").then_some(())
    })
    .await;
}

/// Users who come back to a room that returns are not announced. Here the note that it returns
/// lasts too long, as if Redis's clock had been set back by an hour meanwhile, or another program
/// had written it.
#[tokio::test]
async fn no_room_returns_for_longer_than_its_members_need() {
    let stage = Stage::new(1, &[("HEARTBEAT_INTERVAL", "200ms")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    alice.wait_for_kind("user_joined").await;
    let (members, deadlines) =
        (format!("room:{}:members", room.id), format!("room:{}:deadlines", room.id));
    let note = format!("room:{}:returning", room.id);
    for words in [&["SET", &note, "1", "PX", "3600000"][..], &["SET", &note, "1"]] {
        stage.redis.run(words);
        stage.redis.cmd(["ZREM", &deadlines, "bob"]);
        stage.redis.cmd(["SREM", &members, "bob"]);
        bob.until_pong().await;
        alice.wait_for_kind("user_joined").await;
    }
}

/// No member is left in the room to clear it.
#[tokio::test]
async fn whoever_looks_at_a_room_sees_nobody_for_an_hour_too_long() {
    let settings =
        [("PRESENCE_TTL", "600ms"), ("HEARTBEAT_INTERVAL", "200ms"), ("LEAVE_GRACE", "200ms")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("alice").await;
    let deadlines = format!("room:{}:deadlines", room.id);
    for deadline in ["4000000000000", "inf", "1e300"] {
        stage.redis.cmd(["SADD", &format!("room:{}:members", room.id), "alice"]);
        stage.redis.cmd(["ZADD", &deadlines, deadline, "alice"]);
        stage.redis.cmd(["PERSIST", &deadlines]);
        eventually(DEADLINE, "an empty room", async || {
            let look = stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200);
            (look["memberCount"] == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn ids_and_limits_beyond_all_bounds_are_refused_or_find_nothing() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    alice.say(&room.id, "hi").await;
    let path = |query: &str| format!("/api/rooms/{}/messages?{query}", room.id);
    for future in FUTURE {
        let after = stage.http().get(&path(&format!("after={future}"))).await.data(200);
        assert_eq!(after["messages"], json!([]), "{future}");
        let before = stage.http().get(&path(&format!("before={future}"))).await.data(200);
        assert_eq!(before["messages"].as_array().unwrap().len(), 1, "{future}");
        alice.resume(&room.id, &room.token, future).await;
    }
    for wrong in ["18446744073709551616-0", "0-18446744073709551616", "1e3-0", "-1-0", "0x1-0"] {
        stage.http().get(&path(&format!("after={wrong}"))).await.invalid("after");
        stage.http().get(&path(&format!("before={wrong}"))).await.invalid("before");
        let join = json!({ "t": "join", "roomId": room.id, "token": room.token, "since": wrong });
        assert_eq!(alice.try_join(join).await["code"], "VALIDATION_FAILED", "{wrong}");
        alice.send(json!({ "t": "ping", "read": wrong })).await;
        alice.wait_for("an error", |frame| frame["code"] == "VALIDATION_FAILED").await;
    }
    for limit in ["0", "-1", "1e3", "18446744073709551616", "4294967297", "NaN"] {
        stage.http().get(&path(&format!("limit={limit}"))).await.invalid("limit");
    }
}
