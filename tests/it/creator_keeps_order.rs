//! The creator moderates a room: sets its options, changes them later, locks it; nobody else can.

use serde_json::{Value, json};

use crate::support::{Answer, DEADLINE, Room, Stage, eventually};

/// A room created with these options.
async fn room_with(stage: &Stage, mut wish: Value) -> Room {
    wish["creatorName"] = json!("alice");
    let made = stage.http().post("/api/rooms", wish).await.data(201);
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    Room { id: text("roomId"), token: text("token") }
}

async fn change(stage: &Stage, room: &Room, token: &str, wish: Value) -> Answer {
    stage.http().patch(&format!("/api/rooms/{}", room.id), token, wish).await
}

async fn look(stage: &Stage, room: &Room) -> Value {
    stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200)
}

/// The error code of a join, or null.
async fn refusal(stage: &Stage, node: usize, room: &Room, token: &str) -> Value {
    let join = json!({ "t": "join", "roomId": room.id, "token": token });
    stage.nodes[node].client().await.try_join(join).await["code"].clone()
}

#[tokio::test]
async fn a_room_is_as_its_creator_wished_and_changes_as_the_creator_says() {
    let stage = Stage::new(1, &[("ROOM_TTL_MAX", "2h"), ("ROOM_MAX_MEMBERS", "5")]).await;
    let key = |room: &Room| format!("room:{}", room.id);
    let wish = json!({ "ttl": 60, "maxMembers": 2, "locked": true, "topic": "a" });
    let room = room_with(&stage, wish).await;
    let seen = look(&stage, &room).await;
    let shown = ["ttl", "maxMembers", "locked", "topic"].map(|field| seen[field].clone());
    assert_eq!(shown, [json!(60), json!(2), json!(true), json!("a")]);
    let lasts = stage.redis.cmd(["PTTL", &key(&room)]).int();
    assert!((1..=60_000).contains(&lasts), "{lasts}");
    assert!(!stage.redis.texts(["HGETALL", &key(&room)]).contains(&room.token));

    // Its TTL is renewed with its own value, whichever script touches it.
    let mut alice = stage.member(0, &room, &room.token).await;
    alice.say(&room.id, "hello").await;
    for key in [key(&room), format!("room:{}:messages", room.id)] {
        assert!((1..=60_000).contains(&stage.redis.cmd(["PTTL", &key]).int()), "{key}");
    }
    let usual = room_with(&stage, json!({ "ttl": null, "locked": null, "maxMembers": null })).await;
    let seen = look(&stage, &usual).await;
    assert_eq!((&seen["ttl"], &seen["maxMembers"]), (&json!(86_400), &json!(5)));

    for (wish, field, now) in [
        (json!({ "ttl": 7200 }), "ttl", json!(7200)),
        (json!({ "maxMembers": 5 }), "maxMembers", json!(5)),
        (json!({ "topic": " b " }), "topic", json!("b")),
        (json!({ "topic": null }), "topic", Value::Null),
        (json!({ "locked": false }), "locked", json!(false)),
        (json!({ "locked": null, "other": 1 }), "locked", json!(false)),
        (json!({}), "ttl", json!(7200)),
    ] {
        let mut answer = change(&stage, &room, &room.token, wish.clone()).await.data(200);
        assert_eq!(answer[field], now, "{wish}");
        // Only the creator gets the number of bans.
        assert_eq!(answer.as_object_mut().unwrap().remove("bans"), Some(json!(0)));
        assert_eq!(answer, look(&stage, &room).await);
    }
    assert!(stage.redis.cmd(["PTTL", &key(&room)]).int() > 60_000);

    for (wish, field) in [
        (json!({ "ttl": 59 }), "ttl"),
        (json!({ "ttl": 7201 }), "ttl"),
        (json!({ "ttl": -1 }), "ttl"),
        (json!({ "ttl": "60" }), "ttl"),
        (json!({ "maxMembers": 1 }), "maxMembers"),
        (json!({ "maxMembers": 6 }), "maxMembers"),
        (json!({ "locked": "yes" }), "locked"),
        (json!({ "topic": "" }), "topic"),
        (json!({ "topic": "a\nb" }), "topic"),
    ] {
        change(&stage, &room, &room.token, wish.clone()).await.invalid(field);
        let mut wish = wish;
        wish["creatorName"] = json!("alice");
        stage.http().post("/api/rooms", wish).await.invalid(field);
    }
    let sealed = room_with(&stage, json!({ "e2e": true })).await;
    let topic = json!({ "topic": "x".repeat(1000) });
    change(&stage, &room, &room.token, topic.clone()).await.invalid("topic");
    change(&stage, &sealed, &sealed.token, topic).await.data(200);
}

#[tokio::test]
async fn a_locked_room_takes_nobody_new_on_any_node() {
    let stage = Stage::new(2, &[]).await;
    let room = room_with(&stage, json!({})).await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    let bobs = bob.seen.iter().find_map(|frame| frame["token"].as_str()).unwrap().to_owned();

    let wish = json!({ "locked": true, "topic": "closed" });
    change(&stage, &room, &room.token, wish).await.data(200);
    for node in [0, 1] {
        assert_eq!(refusal(&stage, node, &room, "carol").await, "ROOM_LOCKED");
        // A client that is no guest of the room does not learn who is.
        assert_eq!(refusal(&stage, node, &room, "bob").await, "ROOM_LOCKED");
    }
    let sessions = format!("/api/rooms/{}/sessions", room.id);
    stage.http().post(&sessions, json!({ "name": "bot" })).await.error(403, "ROOM_LOCKED");
    for client in [&mut alice, &mut bob] {
        let told = client.wait_for_kind("room").await;
        assert_eq!((&told["locked"], &told["topic"]), (&json!(true), &json!("closed")));
    }
    bob.send(json!({ "t": "leave", "roomId": room.id })).await;
    alice.wait_for_kind("user_left").await;
    let joined = stage.nodes[0].client().await.join(&room.id, &bobs).await;
    assert_eq!((&joined["locked"], &joined["topic"]), (&json!(true), &json!("closed")));

    change(&stage, &room, &room.token, json!({ "locked": false })).await.data(200);
    assert_eq!(refusal(&stage, 1, &room, "carol").await, Value::Null);
    // A maximum below the present number removes nobody, and lets nobody in.
    change(&stage, &room, &room.token, json!({ "maxMembers": 2 })).await.data(200);
    assert_eq!(refusal(&stage, 0, &room, "dave").await, "ROOM_FULL");
    assert_eq!(look(&stage, &room).await["memberCount"], 3);
}

#[tokio::test]
async fn only_the_token_that_a_room_was_made_with_changes_it() {
    let stage = Stage::new(1, &[]).await;
    let (room, other) = (stage.room("alice").await, stage.room("alice").await);
    let bob = stage.guest(&room, "bob").await;
    let lock = || json!({ "locked": true });
    change(&stage, &room, &bob, lock()).await.error(403, "FORBIDDEN");
    for token in [other.token.as_str(), "alice", "lr_", "", &room.token.replace("lr_", "lr")] {
        change(&stage, &room, token, lock()).await.error(401, "INVALID_TOKEN");
    }
    let nowhere = Room { id: "nosuchroom00".to_owned(), token: room.token.clone() };
    change(&stage, &nowhere, &room.token, lock()).await.error(404, "ROOM_NOT_FOUND");
    let topic = json!({ "topic": "a" });
    change(&stage, &nowhere, &room.token, topic).await.error(404, "ROOM_NOT_FOUND");
    assert_eq!(look(&stage, &room).await["locked"], false);
    change(&stage, &room, &room.token, lock()).await.data(200);
}

#[tokio::test]
async fn the_creators_token_outlives_its_session() {
    let stage = Stage::new(1, &[]).await;
    let room = room_with(&stage, json!({ "locked": true })).await;
    let session = format!("user:{}:alice:session", room.id);
    stage.redis.cmd(["DEL", &session]);
    change(&stage, &room, &room.token, json!({ "topic": "still mine" })).await.data(200);
    let joined = stage.client().await.join(&room.id, &room.token).await;
    assert_eq!((&joined["me"], &joined["token"]), (&json!("alice"), &json!(room.token)));
    assert_eq!(stage.redis.cmd(["HEXISTS", &session, "provisional"]).int(), 0);

    // If another user has taken the name, it keeps it; the creator keeps the powers.
    stage.redis.cmd(["DEL", &session]);
    change(&stage, &room, &room.token, json!({ "locked": false })).await.data(200);
    let another = stage.guest(&room, "alice").await;
    assert_eq!(refusal(&stage, 0, &room, &room.token).await, "NAME_TAKEN");
    change(&stage, &room, &another, json!({ "locked": true })).await.error(403, "FORBIDDEN");
    change(&stage, &room, &room.token, json!({ "locked": true })).await.data(200);
}

#[tokio::test]
async fn what_the_creator_chose_comes_back_with_a_redis_that_came_back_empty() {
    let mut stage = Stage::new(2, &[]).await;
    let room = room_with(&stage, json!({ "ttl": 600 })).await;
    let mut bob = stage.member(1, &room, "bob").await;
    let wish = json!({ "locked": true, "topic": "kept", "maxMembers": 3 });
    let before = change(&stage, &room, &room.token, wish).await.data(200);
    bob.wait_for_kind("room").await;

    stage.redis.kill();
    stage.redis.restart();
    let after = eventually(DEADLINE, "the room is restored", async || {
        let answer = stage.http().get(&format!("/api/rooms/{}", room.id)).await;
        (answer.status == 200).then(|| answer.data(200))
    })
    .await;
    for field in ["creator", "createdAt", "ttl", "maxMembers", "locked", "topic"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(refusal(&stage, 1, &room, "carol").await, "ROOM_LOCKED");
    assert_eq!(refusal(&stage, 0, &room, &room.token).await, Value::Null);
    change(&stage, &room, &room.token, json!({ "locked": false })).await.data(200);
    assert_eq!(refusal(&stage, 1, &room, "carol").await, Value::Null);
}

#[tokio::test]
async fn a_change_that_the_subscription_lost_is_told_with_the_next_heartbeat() {
    let stage = Stage::new(1, &[("PRESENCE_TTL", "3s"), ("HEARTBEAT_INTERVAL", "300ms")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    alice.keep_alive(std::time::Duration::from_millis(200));
    // As if a script had published a change that was then lost.
    let key = format!("room:{}", room.id);
    stage.redis.cmd(["HSET", &key, "locked", "1", "topic", "lost"]);
    stage.redis.cmd(["HINCRBY", &key, "events", "1"]);
    let told = alice.wait_for_kind("room").await;
    assert_eq!((&told["locked"], &told["topic"]), (&json!(true), &json!("lost")));
}

#[tokio::test]
async fn a_room_frame_that_somebody_publishes_changes_nothing() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let forged = json!({ "t": "room", "roomId": room.id, "locked": true, "topic": "forged" });
    stage.redis.cmd(["PUBLISH", &format!("chan:{}", room.id), &forged.to_string()]);
    alice.wait_for_kind("room").await;
    assert_eq!(refusal(&stage, 0, &room, "bob").await, Value::Null);
    assert_eq!(look(&stage, &room).await["topic"], Value::Null);
}

#[tokio::test]
async fn who_joins_while_a_room_is_locked_is_in_or_out_and_nobody_gets_in_afterwards() {
    let stage = Stage::new(2, &[]).await;
    for round in 0..10 {
        let room = stage.room("alice").await;
        let names = ["bob", "carol", "dave", "erin"];
        let joins = async {
            let joins = names.iter().enumerate();
            let joins = joins.map(|(node, name)| refusal(&stage, node % 2, &room, name));
            futures_util::future::join_all(joins).await
        };
        let locks = async {
            tokio::time::sleep(std::time::Duration::from_millis(round)).await;
            change(&stage, &room, &room.token, json!({ "locked": true })).await.data(200);
            [refusal(&stage, 0, &room, "late").await, refusal(&stage, 1, &room, "late").await]
        };
        let (joined, late) = tokio::join!(joins, locks);
        assert_eq!(late, ["ROOM_LOCKED", "ROOM_LOCKED"]);
        assert!(joined.iter().all(|code| code.is_null() || code == "ROOM_LOCKED"), "{joined:?}");
        let sessions = stage.redis.texts(["KEYS", &format!("user:{}:*:session", room.id)]).len();
        assert_eq!(sessions, 1 + joined.iter().filter(|code| code.is_null()).count());
    }
}

/// The creator is whoever has the creator's token. Once its session has ended, the name alone may be another user's.
#[tokio::test]
async fn who_has_only_the_creators_name_is_told_apart_from_the_creator() {
    const TAKEN: &str = "creatorNameTaken";
    let stage = Stage::new(2, &[]).await;
    for large in [false, true] {
        let room = room_with(&stage, json!({})).await;
        let key = format!("room:{}", room.id);
        let alice_at = format!("/api/rooms/{}/members/alice", room.id);
        let mut bob = stage.member(1, &room, "bob").await;
        let mut alice = stage.client().await;
        assert_eq!(alice.join(&room.id, &room.token).await.get(TAKEN), None);
        if large {
            stage.redis.cmd(["HSET", &key, "large", "1"]);
        }

        stage.http().delete(&alice_at, &room.token).await.data(200);
        let mut other = stage.client().await;
        assert_eq!(other.join(&room.id, "alice").await[TAKEN], true);
        let told = bob.wait_for("who has the name", |frame| {
            assert_ne!((&frame["t"], &frame["userId"]), (&json!("user_joined"), &json!("alice")));
            frame["t"] == "room"
        });
        assert_eq!(told.await[TAKEN], true);
        assert_eq!(look(&stage, &room).await[TAKEN], true);
        assert_eq!(stage.nodes[1].client().await.join(&room.id, "eve").await[TAKEN], true);
        // It remains true while the creator changes the room.
        change(&stage, &room, &room.token, json!({ "locked": true })).await.data(200);
        let told = bob.wait_for("the lock", |frame| frame["locked"] == true).await;
        assert_eq!(told[TAKEN], true);

        stage.http().delete(&alice_at, &room.token).await.data(200);
        assert_eq!(alice.join(&room.id, &room.token).await.get(TAKEN), None);
        let told = bob.wait_for("the creator is back", |frame| frame["t"] == "room").await;
        assert_eq!(told.get(TAKEN), None);
        assert_eq!(look(&stage, &room).await.get(TAKEN), None);
        // A further connection is no news.
        stage.client().await.join(&room.id, &room.token).await;
        let more = bob.until_pong().await;
        assert!(more.iter().all(|frame| frame["t"] != "room"), "{more:?}");
    }
}

#[tokio::test]
async fn redis_that_comes_back_empty_knows_who_has_only_the_creators_name() {
    // No heartbeat runs by itself.
    let settings = [("PRESENCE_TTL", "10m"), ("HEARTBEAT_INTERVAL", "5m")];
    let stage = Stage::new(1, &settings).await;
    let room = room_with(&stage, json!({})).await;
    let alice_at = format!("/api/rooms/{}/members/alice", room.id);
    stage.http().delete(&alice_at, &room.token).await.data(200);
    let _other = stage.member(0, &room, "alice").await;
    stage.redis.cmd(["FLUSHALL"]);
    let joined = stage.client().await.join(&room.id, "eve").await;
    assert_eq!((&joined["creator"], &joined["creatorNameTaken"]), (&json!("alice"), &json!(true)));
}
