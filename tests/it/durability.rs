//! The setting DURABILITY: an acknowledgement waits for what the operator wants.

use std::process::Command;

use reqwest::Method;
use serde_json::json;

use crate::support::{DEADLINE, Node, PROGRAM, RedisServer, Stage, TestEnv, eventually};

/// A Redis whose writes reach a replica, and a node that waits for them.
async fn replicated() -> (Stage, RedisServer) {
    let env = TestEnv::new();
    let (primary, replica) = (RedisServer::start(&env), RedisServer::start(&env));
    let addr = primary.addr();
    replica.cmd(["REPLICAOF", &addr.ip().to_string(), &addr.port().to_string()]);
    eventually(DEADLINE, "a replica in step", async || {
        let state = primary.cmd(["INFO", "replication"]);
        state.text().contains("state=online").then_some(())
    })
    .await;
    let settings = [("DURABILITY", "replicated"), ("PRESENCE_TTL", "60s")];
    let node = Node::start(&env, &primary.url(), &settings).await;
    (Stage { nodes: vec![node], redis: primary, env }, replica)
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

/// A heartbeat finds the stream further than what was told, and the node reads it.
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
    // Some heartbeats later the node knows, as its metrics say.
    eventually(DEADLINE, "a catch-up", async || {
        let request = stage.nodes[1].http().request(Method::GET, "/metrics");
        let metrics = request.send().await.unwrap().text().await.unwrap();
        (!metrics.contains("linkroom_catchups_total 0\n")).then_some(())
    })
    .await;
    assert!(bob.until_pong().await.iter().all(|frame| frame["t"] != "msg"));
    replica.thaw();
    assert_eq!(bob.wait_for_kind("msg").await["text"], "wait");
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 1);
}

#[test]
fn local_is_refused_where_redis_cannot_do_it() {
    let env = TestEnv::new();
    // Without an append-only file no version of Redis can: 7.0 lacks WAITAOF, later ones refuse it.
    let redis = RedisServer::start(&env);
    let output = Command::new(PROGRAM)
        .env("REDIS_URL", redis.url())
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("DURABILITY", "local")
        .env("LOG_LEVEL", "error")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("DURABILITY=local") && said.contains("7.2"), "{said}");
}
