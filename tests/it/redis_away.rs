//! Promise 5: Redis away, users stay.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Client, DEADLINE, Node, Proxy, RedisServer, Room, Stage, TestEnv, eventually, within,
};

/// The contract's limit for recovery, and a tolerance for a busy machine.
const RECOVERY: Duration = Duration::from_secs(2 + 1);

/// Two members on two nodes.
async fn two_members(stage: &Stage) -> (Room, Client, Client) {
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let bob = stage.member(1, &room, "bob").await;
    alice.wait_for_kind("user_joined").await;
    (room, alice, bob)
}

/// Checks everything that must hold while Redis is away.
async fn expect_away(stage: &Stage, room: &Room, alice: &mut Client) {
    let asked = Instant::now();
    alice.send(json!({ "t": "msg", "roomId": room.id, "text": "lost?", "key": "kept" })).await;
    let refused = alice.wait_for_kind("error").await;
    assert_eq!(refused["code"], "SERVICE_UNAVAILABLE");
    assert_eq!((&refused["key"], &refused["roomId"]), (&json!("kept"), &json!(room.id)));
    assert!(asked.elapsed() < Duration::from_millis(2500), "took {:?}", asked.elapsed());

    let http = stage.http();
    eventually(RECOVERY, "not ready", async || {
        (http.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    let ready = http.get("/readyz").await;
    ready.error(503, "SERVICE_UNAVAILABLE");
    assert!(ready.body.to_string().to_lowercase().contains("redis"), "{}", ready.body);
    assert_eq!(http.get("/healthz").await.status, 200);

    let path = format!("/api/rooms/{}", room.id);
    let asked = Instant::now();
    let refused = http.get(&path).await;
    refused.error(503, "SERVICE_UNAVAILABLE");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
    http.get(&format!("{path}/members")).await.error(503, "SERVICE_UNAVAILABLE");
    http.get(&format!("{path}/messages")).await.error(503, "SERVICE_UNAVAILABLE");
    http.post("/api/rooms", json!({ "creatorName": "a" })).await.error(503, "SERVICE_UNAVAILABLE");
    let guest = http.post(&format!("{path}/sessions"), json!({ "name": "b" })).await;
    guest.error(503, "SERVICE_UNAVAILABLE");
    let said = http.say(&room.id, &room.token, json!({ "text": "a" })).await;
    said.error(503, "SERVICE_UNAVAILABLE");
    let took = asked.elapsed();
    assert!(took < Duration::from_millis(1500), "six answers at once took {took:?}");

    alice.send(json!({ "t": "ping", "status": "online" })).await;
    alice.wait_for_kind("pong").await;
    let mut newcomer = stage.client().await;
    let join = json!({ "t": "join", "roomId": room.id, "token": "new" });
    assert_eq!(newcomer.try_join(join).await["code"], "SERVICE_UNAVAILABLE");
    assert!(http.request(Method::GET, "/").send().await.unwrap().status().is_success());
    let path = format!("/r/{}", room.id);
    let page = within(Duration::from_secs(1), "the room's page", http.file(&path)).await;
    assert!(page.text().await.unwrap().contains(r#""og:title" content="A room"#));
}

/// Checks everything that must hold again soon after Redis is back.
async fn expect_back(stage: &Stage, room: &Room, alice: &mut Client, bob: &mut Client) {
    let back = Instant::now();
    let said = eventually(DEADLINE, "the message is taken", async || {
        alice.send(json!({ "t": "msg", "roomId": room.id, "text": "lost?", "key": "kept" })).await;
        let answer = alice.wait_for("answer", |frame| frame["key"] == "kept").await;
        (answer["t"] == "msg").then_some(answer)
    })
    .await;
    bob.wait_for("the message", |frame| frame["id"] == said["id"]).await;
    for node in &stage.nodes {
        node.wait_until_ready().await;
    }
    let took = back.elapsed();
    assert!(took < RECOVERY, "promised within 2 s, took {took:?}");
    let members = stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200);
    assert_eq!(members["memberCount"], 2, "{members}");
    bob.say(&room.id, "and back").await;
    alice.wait_for("the answer", |frame| frame["text"] == "and back").await;
}

#[tokio::test]
async fn redis_dies_and_comes_back_with_everything() {
    let mut stage = Stage::durable(2, &[]).await;
    let (room, mut alice, mut bob) = two_members(&stage).await;
    let before = alice.say(&room.id, "before").await;
    stage.redis.kill();
    expect_away(&stage, &room, &mut alice).await;
    stage.redis.restart();
    expect_back(&stage, &room, &mut alice, &mut bob).await;

    let ids = stage.redis.stream_ids(&room.id);
    assert_eq!(ids[0], before["id"].as_str().unwrap());
    for client in [&alice, &bob] {
        let mut got = client.message_ids(&room.id);
        got.dedup();
        assert_eq!(got, ids);
    }
    assert_eq!(bob.comings_and_goings(), []);
    assert!(alice.is_open() && bob.is_open());
}

#[tokio::test]
async fn a_frozen_redis_is_noticed_as_quickly_as_a_dead_one() {
    let stage = Stage::new(2, &[]).await;
    let (room, mut alice, mut bob) = two_members(&stage).await;
    stage.redis.freeze();
    expect_away(&stage, &room, &mut alice).await;
    stage.redis.thaw();
    expect_back(&stage, &room, &mut alice, &mut bob).await;
    assert_eq!(bob.comings_and_goings(), []);
}

/// Messages of one room are sent in turns, but do not wait for earlier ones to fail.
#[tokio::test]
async fn a_crowd_is_told_that_redis_is_frozen_as_soon_as_one() {
    const CROWD: usize = 160;
    let stage = Stage::new(1, &[("REDIS_TIMEOUT", "2s")]).await;
    let room = stage.room("alice").await;
    let names = (0..CROWD).map(|number| format!("guest {number}"));
    let joins = names.map(|name| async { stage.member(0, &room, &{ name }).await });
    let mut crowd = futures_util::future::join_all(joins).await;
    stage.redis.freeze();
    let asked = Instant::now();
    for client in &crowd {
        client.send(json!({ "t": "msg", "roomId": room.id, "text": "lost?" })).await;
    }
    for client in &mut crowd {
        assert_eq!(client.wait_for_kind("error").await["code"], "SERVICE_UNAVAILABLE");
    }
    // A message behind a running script does not wait for its own timeout.
    assert!(asked.elapsed() < Duration::from_millis(3500), "took {:?}", asked.elapsed());
    stage.redis.thaw();
    let ready = async || (stage.http().get("/readyz").await.status == 200).then_some(());
    eventually(DEADLINE, "ready", ready).await;
    crowd[0].say(&room.id, "found").await;
}

#[tokio::test]
async fn a_redis_that_came_back_empty_is_filled_from_the_connections() {
    let mut stage = Stage::new(2, &[]).await;
    let (room, mut alice, mut bob) = two_members(&stage).await;
    alice.say(&room.id, "forgotten").await;
    bob.wait_for_kind("msg").await;
    bob.send(json!({ "t": "ping", "status": "away" })).await;
    alice.wait_for_kind("presence").await;
    stage.redis.kill();
    expect_away(&stage, &room, &mut alice).await;
    stage.redis.restart();
    expect_back(&stage, &room, &mut alice, &mut bob).await;

    assert_eq!(stage.members_in_redis(&room), ["alice", "bob"]);
    for client in [&alice, &bob] {
        let of_others = client.comings_and_goings();
        assert!(of_others.iter().all(|(kind, _)| kind != "user_left"), "{of_others:?}");
    }
    assert_eq!(bob.comings_and_goings(), []);
    let mut again = stage.nodes[1].client().await;
    let joined = again.join(&room.id, &room.token).await;
    assert_eq!((&joined["me"], &joined["token"]), (&json!("alice"), &json!(room.token)));
    assert_eq!(joined["away"], json!(["bob"]));
    let join = json!({ "t": "join", "roomId": room.id, "token": "bob" });
    assert_eq!(stage.client().await.try_join(join).await["code"], "NAME_TAKEN");
    let told = |frame: &&Value| frame["text"] == "forgotten";
    assert_eq!(bob.seen.iter().filter(told).count(), 1);
}

#[tokio::test]
async fn an_encrypted_room_is_encrypted_still_in_a_redis_that_came_back_empty() {
    let mut stage = Stage::new(1, &[]).await;
    let wish = json!({ "creatorName": "alice", "e2e": true, "topic": "sealed" });
    let made = stage.http().post("/api/rooms", wish).await.data(201);
    let (id, token) = (made["roomId"].as_str().unwrap(), made["token"].as_str().unwrap());
    let (room, plain) = (format!("room:{id}"), stage.room("bob").await);
    assert_eq!(stage.redis.cmd(["HGET", &room, "e2e"]).text(), "1");
    assert_eq!(stage.redis.cmd(["HEXISTS", &format!("room:{}", plain.id), "e2e"]).int(), 0);
    let mut alice = stage.client().await;
    assert_eq!(alice.join(id, token).await["e2e"], true);

    stage.redis.kill();
    stage.redis.restart();
    eventually(DEADLINE, "the room is restored", async || {
        (stage.redis.cmd(["EXISTS", &room]).int() == 1).then_some(())
    })
    .await;
    assert_eq!(stage.redis.cmd(["HGET", &room, "e2e"]).text(), "1");
    let seen = stage.http().get(&format!("/api/rooms/{id}")).await.data(200);
    assert_eq!((&seen["e2e"], &seen["topic"]), (&json!(true), &json!("sealed")));
}

#[tokio::test]
async fn a_node_that_lost_redis_for_a_while_catches_up() {
    let stage = &mut Stage::new(1, &[("MESSAGES_PER_SECOND", "1000")]).await;
    let proxy = Proxy::to(stage.redis.addr()).await;
    let cut_off = Node::start(&stage.env, &proxy.redis_url(), &[]).await;
    stage.nodes.push(cut_off);
    let (room, mut alice, mut bob) = two_members(stage).await;
    for round in 0..3 {
        match round % 2 {
            0 => proxy.cut(),
            _ => proxy.freeze(),
        }
        for number in 0..10 {
            alice.say(&room.id, &format!("{round}: {number}")).await;
        }
        proxy.resume();
        let last = stage.redis.stream_ids(&room.id).pop().unwrap();
        let back = Instant::now();
        bob.wait_for("the newest message", |frame| frame["id"] == last).await;
        assert!(back.elapsed() < RECOVERY, "took {:?}", back.elapsed());
        assert_eq!(bob.message_ids(&room.id), stage.redis.stream_ids(&room.id));
    }
    assert_eq!(alice.comings_and_goings(), [("user_joined".to_owned(), "bob".to_owned())]);
}

#[tokio::test]
async fn a_node_started_while_redis_is_away_waits_and_becomes_ready() {
    let env = TestEnv::new();
    let mut redis = RedisServer::start(&env);
    redis.kill();
    let node = Node::start_unready(&env, &[("REDIS_URL", &redis.url())]).await;
    node.http().get("/readyz").await.error(503, "SERVICE_UNAVAILABLE");
    assert_eq!(node.http().get("/healthz").await.status, 200);
    let refused = node.http().post("/api/rooms", json!({ "creatorName": "a" })).await;
    refused.error(503, "SERVICE_UNAVAILABLE");
    let mut early = node.client().await;
    early.send(json!({ "t": "ping" })).await;
    early.expect("pong").await;

    redis.restart();
    let back = Instant::now();
    node.wait_until_ready().await;
    assert!(back.elapsed() < RECOVERY, "took {:?}", back.elapsed());
    let room = node.http().post("/api/rooms", json!({ "creatorName": "a" })).await.data(201);
    let (id, token) = (room["roomId"].as_str().unwrap(), room["token"].as_str().unwrap());
    early.join(id, token).await;
    early.say(id, "hello").await;
}

#[tokio::test]
async fn a_redis_that_is_full_is_away_too() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    stage.redis.cmd(["CONFIG", "SET", "maxmemory", "1"]);
    alice.send(json!({ "t": "msg", "roomId": room.id, "text": "x", "key": "k" })).await;
    assert_eq!(alice.expect_error("SERVICE_UNAVAILABLE").await["key"], "k");
    stage.redis.cmd(["CONFIG", "SET", "maxmemory", "0"]);
    alice.say(&room.id, "again").await;
}

#[tokio::test]
async fn what_is_retried_through_restarts_is_stored_once_and_heard_once() {
    let mut stage = Stage::durable(2, &[("MESSAGES_PER_SECOND", "10000")]).await;
    let (room, mut alice, mut bob) = two_members(&stage).await;
    let keys: Vec<_> = (0..120).map(|number| number.to_string()).collect();
    for (round, keys) in keys.chunks(40).enumerate() {
        for key in keys {
            alice.send(message(&room, key)).await;
        }
        if round < 2 {
            stage.redis.kill();
            stage.redis.restart();
        }
        for key in keys {
            retry_until_taken(&mut alice, &room, key).await;
        }
    }
    assert_eq!(stage.redis.stream_ids(&room.id).len(), keys.len(), "each is stored once");
    let last = alice.say(&room.id, "last").await["id"].clone();
    bob.wait_for("the last message", |frame| frame["id"] == last).await;
    assert_eq!(bob.message_ids(&room.id), stage.redis.stream_ids(&room.id));
}

fn message(room: &Room, key: &str) -> Value {
    json!({ "t": "msg", "roomId": room.id, "text": format!("text {key}"), "key": key })
}

async fn retry_until_taken(client: &mut Client, room: &Room, key: &str) {
    eventually(DEADLINE, "the message is taken", async || {
        client.send(message(room, key)).await;
        let answer = client.wait_for("answer", |frame| frame["key"] == key).await;
        (answer["t"] == "msg").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_was_emptied_by_hand_is_filled_again() {
    let settings = [("PRESENCE_TTL", "3s"), ("HEARTBEAT_INTERVAL", "500ms")];
    let stage = Stage::new(2, &settings).await;
    let (room, mut alice, mut bob) = two_members(&stage).await;
    alice.keep_alive(Duration::from_millis(500));
    bob.keep_alive(Duration::from_millis(500));
    stage.redis.cmd(["FLUSHALL"]);
    eventually(DEADLINE, "the members are back", async || {
        (stage.members_in_redis(&room) == ["alice", "bob"]).then_some(())
    })
    .await;
    let said = alice.say(&room.id, "still here").await;
    bob.wait_for("the message", |frame| frame["id"] == said["id"]).await;
    assert_eq!(bob.comings_and_goings(), []);
}

#[tokio::test]
async fn a_join_that_failed_takes_nobody_out() {
    let mut stage = Stage::durable(2, &[]).await;
    let (room, mut alice, mut bob) = two_members(&stage).await;
    stage.redis.kill();
    let again = json!({ "t": "join", "roomId": room.id, "token": room.token });
    assert_eq!(alice.try_join(again).await["code"], "SERVICE_UNAVAILABLE");
    stage.redis.restart();
    expect_back(&stage, &room, &mut alice, &mut bob).await;
    let said = bob.say(&room.id, "do you hear me?").await;
    alice.wait_for("the message", |frame| frame["id"] == said["id"]).await;
    assert_eq!(bob.comings_and_goings(), []);
}

#[tokio::test]
async fn joins_of_other_rooms_delay_nothing_while_redis_is_away() {
    let mut stage = Stage::new(2, &[]).await;
    let (room, mut alice, _bob) = two_members(&stage).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(stage.room("alice").await);
    }
    stage.redis.kill();
    let http = stage.http();
    eventually(RECOVERY, "not ready", async || {
        (http.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    let asked = Instant::now();
    for other in &others {
        let join = json!({ "t": "join", "roomId": other.id, "token": other.token });
        assert_eq!(alice.try_join(join).await["code"], "SERVICE_UNAVAILABLE");
    }
    alice.send(json!({ "t": "msg", "roomId": room.id, "text": "?", "key": "k" })).await;
    let refused = alice.wait_for("the answer", |frame| frame["key"] == "k").await;
    assert_eq!(refused["code"], "SERVICE_UNAVAILABLE");
    assert!(asked.elapsed() < Duration::from_secs(2), "took {:?}", asked.elapsed());
}

#[tokio::test]
async fn who_comes_to_a_room_that_redis_forgot_finds_it() {
    // No heartbeat runs by itself.
    let settings = [("PRESENCE_TTL", "10m"), ("HEARTBEAT_INTERVAL", "5m")];
    let stage = Stage::new(2, &settings).await;
    let (room, mut alice, _bob) = two_members(&stage).await;
    stage.redis.cmd(["FLUSHALL"]);
    let mut eve = stage.client().await;
    let joined = eve.join(&room.id, "eve").await;
    assert!(joined["members"].as_array().unwrap().contains(&json!("alice")), "{joined}");
    let said = eve.say(&room.id, "hello").await;
    alice.wait_for("the message", |frame| frame["id"] == said["id"]).await;
}

#[tokio::test]
async fn hundreds_of_rooms_are_back_as_soon_as_one() {
    const ROOMS: usize = 300;
    let settings = [("ROOMS_PER_CONNECTION", "300"), ("FRAMES_PER_SECOND", "1000")];
    let mut stage = Stage::durable(1, &settings).await;
    let mut reader = stage.client().await;
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        let room = stage.room("alice").await;
        reader.join(&room.id, "reader").await;
        rooms.push(room);
    }
    stage.redis.kill();
    let http = stage.http();
    eventually(RECOVERY, "not ready", async || {
        (http.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    stage.redis.restart();
    let back = Instant::now();
    let say = async |room: &Room| {
        eventually(RECOVERY, "a message is taken", async || {
            let said = http.say(&room.id, &room.token, json!({ "text": "?", "key": "k" })).await;
            (said.status == 201).then_some(())
        })
        .await;
    };
    stream::iter(&rooms).for_each_concurrent(16, say).await;
    let mut unheard: HashSet<&str> = rooms.iter().map(|room| &*room.id).collect();
    while !unheard.is_empty() {
        let heard = reader.wait_for_kind("msg").await;
        unheard.remove(heard["roomId"].as_str().unwrap());
    }
    assert!(back.elapsed() < RECOVERY, "took {:?}", back.elapsed());
}

/// Load balancers that ignore `/readyz` send requests to a node from its start.
#[tokio::test]
async fn whoever_asks_a_new_node_waits_with_it_for_redis() {
    let env = TestEnv::new();
    let redis = RedisServer::start(&env);
    let node = Node::start_unready(&env, &[("REDIS_URL", &redis.url())]).await;
    node.http().post("/api/rooms", json!({ "creatorName": "alice" })).await.data(201);
}
