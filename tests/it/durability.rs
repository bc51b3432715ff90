//! The setting DURABILITY: an acknowledgement waits for the durability that the operator requires.

use std::{
    iter,
    process::Command,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    Client, DEADLINE, Node, PROGRAM, Proxy, Reading, RedisServer, Room, Stage, TestEnv, eventually,
    free_addr,
};

/// An empty publication to this channel is the write that a WAIT waits for if its scripts only
/// read.
const KEPT_CHANNEL: &str = "node:kept";
const SETTINGS: [(&str, &str); 2] = [("DURABILITY", "replicated"), ("PRESENCE_TTL", "60s")];

/// A Redis and its replica, in sync.
async fn primary_and_replica(env: &TestEnv) -> (RedisServer, RedisServer) {
    let (primary, replica) = (RedisServer::start(env), RedisServer::start(env));
    // By default a primary waits some seconds for further replicas.
    primary.cmd(["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    let addr = primary.addr();
    replica.cmd(["REPLICAOF", &addr.ip().to_string(), &addr.port().to_string()]);
    eventually(DEADLINE, "a replica in step", async || {
        let state = primary.cmd(["INFO", "replication"]);
        let said = state.text().split("master_repl_offset:").nth(1)?.split('\r').next()?;
        state.text().contains(&format!("state=online,offset={said},")).then_some(())
    })
    .await;
    (primary, replica)
}

/// The same, with a node that waits for the replica.
async fn replicated() -> (Stage, RedisServer) {
    let env = TestEnv::new();
    let (primary, replica) = primary_and_replica(&env).await;
    let node = Node::start(&env, &primary.url(), &SETTINGS).await;
    (Stage { nodes: vec![node], redis: primary, env }, replica)
}

/// The same, with a proxy between the node and the primary.
async fn replicated_through_a_proxy() -> (Stage, RedisServer, Proxy) {
    let env = TestEnv::new();
    let (primary, replica) = primary_and_replica(&env).await;
    let proxy = Proxy::to(primary.addr()).await;
    let node = Node::start(&env, &proxy.redis_url(), &SETTINGS).await;
    (Stage { nodes: vec![node], redis: primary, env }, replica, proxy)
}

fn message(room: &Room, text: &str) -> Value {
    json!({ "t": "msg", "roomId": room.id, "text": text, "key": text })
}

async fn stored(stage: &Stage, room: &Room, count: usize) {
    eventually(DEADLINE, "messages in the stream", async || {
        (stage.redis.stream_ids(&room.id).len() == count).then_some(())
    })
    .await;
}

async fn insist(client: &mut Client, room: &Room, text: &str) {
    eventually(DEADLINE, "an acknowledgement", async || {
        client.send(message(room, text)).await;
        let answer = client.wait_for("an answer", |f| f["key"] == text).await;
        (answer["t"] == "msg").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_acknowledged_is_in_a_replica() {
    let (stage, replica) = replicated().await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let said = alice.say_once(&room.id, "kept", "k").await;
    assert_eq!(replica.stream_ids(&room.id), [said["id"].as_str().unwrap()]);
    let posted = stage.http().say(&room.id, &room.token, json!({ "text": "too" })).await.data(201);
    assert_eq!(replica.stream_ids(&room.id)[1], posted["id"].as_str().unwrap());
}

#[tokio::test]
async fn what_no_replica_has_is_told_to_nobody_until_one_has_it() {
    let (stage, replica) = replicated().await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    alice.wait_for_kind("user_joined").await;
    replica.freeze();
    let frame = json!({ "t": "msg", "roomId": room.id, "text": "wait", "key": "k" });
    alice.send(frame.clone()).await;
    alice.expect_error("SERVICE_UNAVAILABLE").await;
    let seen = bob.until_pong().await;
    assert!(seen.iter().all(|frame| frame["t"] != "msg"), "{seen:?}");
    replica.thaw();
    let said = eventually(DEADLINE, "an acknowledgement", async || {
        alice.send(frame.clone()).await;
        let answer = alice.wait_for("an answer", |f| f["key"] == "k").await;
        (answer["t"] == "msg").then_some(answer)
    })
    .await;
    assert_eq!(bob.wait_for_kind("msg").await["id"], said["id"]);
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 1, "a retry is not a repeat");
}

/// It is in the stream, where its author finds its id, before it is published.
#[tokio::test]
async fn what_is_deleted_before_a_replica_has_it_is_told_without_its_text() {
    let (stage, replica) = replicated().await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    alice.wait_for_kind("user_joined").await;
    alice.say_once(&room.id, "before", "b").await;
    bob.wait_for_kind("msg").await;
    replica.freeze();
    alice.send(json!({ "t": "msg", "roomId": room.id, "text": "secret", "key": "k" })).await;
    stored(&stage, &room, 2).await;
    let id = stage.redis.stream_ids(&room.id).pop().unwrap();
    let http = stage.http();
    let path = format!("/api/rooms/{}/messages/{id}", room.id);
    let deletes = tokio::spawn(async move { http.delete(&path, &room.token).await });
    eventually(DEADLINE, "its text is gone", async || {
        (stage.redis.cmd(["XLEN", &format!("room:{}:messages", room.id)]).int() == 1).then_some(())
    })
    .await;
    replica.thaw();
    deletes.await.unwrap();
    for client in [&mut alice, &mut bob] {
        client.wait_for("the deletion", |f| f["t"] == "deleted" && f["id"] == id).await;
        client.until_pong().await;
        let is_it = |frame: &&Value| frame["t"] == "msg" && frame["id"] == id;
        let told: Vec<_> = client.seen.iter().filter(is_it).collect();
        assert!(told.iter().all(|frame| frame["deleted"] == true), "{told:?}");
    }
    // Its retry is answered with the same.
    let again = json!({ "t": "msg", "roomId": room.id, "text": "secret", "key": "k" });
    alice.send(again).await;
    let answer = alice.wait_for("an answer", |f| f["key"] == "k").await;
    assert_eq!((&answer["id"], &answer["deleted"]), (&json!(id), &json!(true)));
}

/// A heartbeat finds messages in the stream that were not published, and the node reads them.
#[tokio::test]
async fn what_no_replica_has_is_not_told_by_a_catch_up_either() {
    let (mut stage, replica) = replicated().await;
    let settings = [("DURABILITY", "replicated"), ("HEARTBEAT_INTERVAL", "100ms")];
    stage.add_node(&settings).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    alice.wait_for_kind("user_joined").await;
    replica.freeze();
    let frame = json!({ "t": "msg", "roomId": room.id, "text": "wait", "key": "k" });
    alice.send(frame).await;
    alice.expect_error("SERVICE_UNAVAILABLE").await;
    // Some heartbeats later the node knows of it, as its metrics show.
    eventually(DEADLINE, "a catch-up", async || {
        let reading = Reading::of(&stage.nodes[1]).await;
        (reading.value("linkroom_catchups_total") > 0.0).then_some(())
    })
    .await;
    assert!(bob.until_pong().await.iter().all(|frame| frame["t"] != "msg"));
    replica.thaw();
    assert_eq!(bob.wait_for_kind("msg").await["text"], "wait");
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 1);
}

/// From Redis 7.2 on, a WAIT covers only the writes of its own connection, so on a new connection
/// it succeeds at once.
#[tokio::test]
async fn a_connection_made_anew_does_not_vouch_for_what_the_last_one_wrote() {
    let (stage, replica, proxy) = replicated_through_a_proxy().await;
    expect_no_acknowledgement(stage, replica, proxy).await;
}

#[tokio::test]
async fn another_primary_does_not_vouch_for_what_the_last_one_was_given() {
    let (stage, replica, proxy) = replicated_through_a_proxy().await;
    let (promoted, _its_replica) = primary_and_replica(&stage.env).await;
    proxy.lead_to(promoted.addr());
    expect_no_acknowledgement(stage, replica, proxy).await;
}

/// The connection that waits ends between the scripts and the WAIT, while no replica has the
/// writes.
async fn expect_no_acknowledgement(stage: Stage, replica: RedisServer, proxy: Proxy) {
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    let mut carol = stage.member(0, &room, "carol").await;
    replica.freeze();
    // While this one waits, the next two share a batch.
    alice.send(message(&room, "first")).await;
    stored(&stage, &room, 1).await;
    proxy.cut_before("third");
    bob.send(message(&room, "second")).await;
    bob.until_pong().await;
    carol.send(message(&room, "third")).await;
    for (client, text) in [(&mut alice, "first"), (&mut bob, "second"), (&mut carol, "third")] {
        let answer = client.wait_for("an answer", |frame| frame["key"] == text).await;
        assert_eq!(answer["code"], "SERVICE_UNAVAILABLE", "no replica has it: {answer}");
    }
    stored(&stage, &room, 3).await;
    proxy.lead_to(stage.redis.addr());
    proxy.cut_once();
    replica.thaw();
    for (client, text) in [(&mut alice, "first"), (&mut bob, "second"), (&mut carol, "third")] {
        insist(client, &room, text).await;
    }
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 3, "a retry is not a repeat");
    assert_eq!(replica.stream_ids(&room.id).len(), 3);
}

/// Promise 5 for messages in the queue as well.
#[tokio::test]
async fn nobody_in_the_queue_waits_longer_than_promised_for_a_frozen_redis() {
    let (stage, replica, proxy) = replicated_through_a_proxy().await;
    let room = stage.room("alice").await;
    let mut senders = stage.guests(&room, 20).await;
    replica.freeze();
    senders[0].send(message(&room, "0")).await;
    stored(&stage, &room, 1).await;
    // All others are stored and confirmed together. Redis freezes when the first one is published,
    // which is when the node first sends an id.
    proxy.freeze_at(r#""id":"1"#);
    for (number, sender) in senders.iter().enumerate().skip(1) {
        sender.send(message(&room, &number.to_string())).await;
    }
    stored(&stage, &room, senders.len()).await;
    replica.thaw();
    eventually(DEADLINE, "frozen", async || proxy.is_frozen().then_some(())).await;
    let frozen = Instant::now();
    join_all(senders.iter_mut().map(|sender| sender.wait_for_kind("error"))).await;
    let took = frozen.elapsed();
    assert!(took < Duration::from_millis(2500), "promised within 2 s, took {took:?}");
    proxy.resume();
    for (number, sender) in senders.iter_mut().enumerate() {
        insist(sender, &room, &number.to_string()).await;
    }
    assert_eq!(stage.redis.stream_ids(&room.id).len(), senders.len());
}

#[tokio::test]
async fn rooms_that_catch_up_wait_for_the_replica_together() {
    const ROOMS: usize = 24;
    let (mut stage, replica) = replicated().await;
    let settings = [
        ("DURABILITY", "replicated"),
        ("HEARTBEAT_INTERVAL", "100ms"),
        ("FRAMES_PER_SECOND", "1000"),
        ("ROOMS_PER_CONNECTION", "24"),
    ];
    stage.add_node(&settings).await;
    let mut bob = stage.nodes[1].client().await;
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        let room = stage.room("alice").await;
        bob.join(&room.id, "bob").await;
        rooms.push(room);
    }
    let mut before_waits = stage.redis.subscribe(KEPT_CHANNEL);
    replica.freeze();
    let http = stage.http();
    let said = rooms.iter().map(|room| http.say(&room.id, &room.token, json!({ "text": "wait" })));
    for answer in join_all(said).await {
        answer.error(503, "SERVICE_UNAVAILABLE");
    }
    let series = "linkroom_redis_command_seconds_count{script=\"catch_up\"}";
    let attempts =
        eventually(DEADLINE, "every room tries to catch up, again and again", async || {
            let reading = Reading::of(&stage.nodes[1]).await;
            // The series does not exist before the first one.
            let attempts = reading.0.contains(series).then(|| reading.value(series))?;
            (attempts >= 3.0 * ROOMS as f64).then_some(attempts)
        })
        .await;
    stage.redis.cmd(["PUBLISH", KEPT_CHANNEL, "enough"]);
    let waits = iter::from_fn(|| Some(before_waits.next_text())).take_while(String::is_empty);
    let waits = waits.count() as f64;
    assert!(waits < attempts / 2.0, "{waits} waits for {attempts} attempts");
    replica.thaw();
    for _ in &rooms {
        bob.wait_for_kind("msg").await;
    }
}

/// The error of a node that does not start on this Redis with this setting.
fn refusal(redis_url: &str, durability: &str) -> String {
    let output = Command::new(PROGRAM)
        .env("REDIS_URL", redis_url)
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("DURABILITY", durability)
        .env("LOG_LEVEL", "error")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn local_is_refused_where_redis_cannot_do_it() {
    let env = TestEnv::new();
    // Without an append-only file no version of Redis supports it: 7.0 lacks WAITAOF, later ones
    // refuse it.
    let redis = RedisServer::start(&env);
    let said = refusal(&redis.url(), "local");
    assert!(said.contains("DURABILITY=local") && said.contains("7.2"), "{said}");
}

#[test]
fn a_cluster_is_refused_where_messages_have_to_be_kept() {
    let cluster = format!("redis-cluster://{}", free_addr());
    for durability in ["local", "replicated"] {
        let said = refusal(&cluster, durability);
        assert!(said.contains("DURABILITY") && said.contains("Cluster"), "{said}");
    }
}
