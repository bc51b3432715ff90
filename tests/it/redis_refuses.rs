//! Promise 5 where Redis answers and refuses: rights are missing, or writes are not taken.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{DEADLINE, Http, Node, RedisServer, Stage, TestEnv, eventually};

/// What the contract allows for recovery, and what a busy machine may add.
const RECOVERY: Duration = Duration::from_secs(2 + 1);
const USER: &str = "linkroom";

/// The rights that operators are told to give.
fn documented_rights() -> Vec<&'static str> {
    let page = include_str!("../../docs/operations.md");
    let line =
        page.lines().find_map(|line| line.strip_prefix("ACL SETUSER linkroom on >PASSWORD "));
    line.expect("the line of the page").split(' ').collect()
}

fn give(redis: &RedisServer, rights: &[&str]) {
    let words = ["ACL", "SETUSER", USER, "reset", "on", ">secret"];
    redis.run(&[&words, rights].concat());
}

fn url_of_user(redis: &RedisServer) -> String {
    format!("redis://{USER}:secret@{}", redis.addr())
}

/// A Redis with the user of the documentation, and a node that uses it.
async fn stage_with_a_user() -> Stage {
    let env = TestEnv::new();
    let redis = RedisServer::start(&env);
    give(&redis, &documented_rights());
    let node = Node::start(&env, &url_of_user(&redis), &[]).await;
    Stage { nodes: vec![node], redis, env }
}

/// Waits until the node says that Redis does not let it work, and returns why.
async fn reason(http: &Http, expected: &str) -> String {
    eventually(DEADLINE, expected, async || {
        let ready = http.get("/readyz").await;
        let why = ready.body["error"]["details"]["redis"].as_str().unwrap_or_default().to_owned();
        (ready.status == 503 && why.contains(expected)).then_some(why)
    })
    .await
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let stage = stage_with_a_user().await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    alice.wait_for_kind("user_joined").await;
    bob.send(json!({ "t": "ping", "status": "away" })).await;
    alice.wait_for_kind("presence").await;
    alice.say(&room.id, "hello").await;
    bob.wait_for_kind("msg").await;
    let token = stage.guest(&room, "bot").await;
    let said = json!({ "text": "beep", "key": "k" });
    assert_eq!(stage.http().say(&room.id, &token, said).await.status, 201);
    bob.send(json!({ "t": "leave", "roomId": room.id })).await;
    alice.wait_for_kind("user_left").await;
    let seen = stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200);
    assert_eq!(seen["memberCount"], 1);
    let log = stage.nodes[0].log();
    assert!(!log.contains("WARN linkroom"), "{log}");
}

#[tokio::test]
async fn what_is_missing_is_named_and_nothing_is_begun_without_it() {
    let stage = stage_with_a_user().await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let http = stage.http();
    let missing: [(&[&str], &[&str]); 6] = [
        (&["resetchannels"], &["&chan:*", "&node:*"]),
        (&["resetchannels", "&chan:*"], &["&node:*"]),
        (&["resetkeys", "~room:*"], &["~user:*"]),
        (&["-zadd", "-script|load", "-unsubscribe"], &["+zadd", "+script|load", "+unsubscribe"]),
        (&["-publish"], &["+publish"]),
        (&["-evalsha"], &["evalsha"]),
    ];
    for (taken, named) in missing {
        give(&stage.redis, &[&documented_rights(), taken].concat());
        let why = reason(&http, named[0]).await;
        assert!(named.iter().all(|name| why.contains(name)), "{why}");
        let keys = stage.redis.cmd(["DBSIZE"]).int();
        let made = http.post("/api/rooms", json!({ "creatorName": "eve" })).await;
        made.error(503, "SERVICE_UNAVAILABLE");
        let join = json!({ "t": "join", "roomId": room.id, "token": "ghost" });
        assert_eq!(stage.client().await.try_join(join).await["code"], "SERVICE_UNAVAILABLE");
        alice.send(json!({ "t": "msg", "roomId": room.id, "text": "?", "key": named[0] })).await;
        assert_eq!(alice.expect_error("SERVICE_UNAVAILABLE").await["key"], named[0]);
        assert_eq!(stage.redis.cmd(["DBSIZE"]).int(), keys, "nothing was written: {named:?}");
        assert_eq!(stage.members_in_redis(&room), ["alice"]);

        give(&stage.redis, &documented_rights());
        let back = Instant::now();
        stage.nodes[0].wait_until_ready().await;
        assert!(back.elapsed() < RECOVERY, "took {:?}", back.elapsed());
        alice.say(&room.id, "and back").await;
    }
    assert_eq!(stage.redis.stream_ids(&room.id).len(), missing.len());
}

#[tokio::test]
async fn a_node_that_may_use_no_channel_says_so_at_the_start() {
    let env = TestEnv::new();
    let redis = RedisServer::start(&env);
    give(&redis, &["~*", "+@all"]);
    let node = Node::start_unready(&env, &[("REDIS_URL", &url_of_user(&redis))]).await;
    let http = node.http();
    reason(&http, "&chan:* &node:*").await;
    let line = "redis does not allow what is needed";
    assert_eq!(node.log().matches(line).count(), 1, "{}", node.log());
    http.post("/api/rooms", json!({ "creatorName": "a" })).await.error(503, "SERVICE_UNAVAILABLE");
    assert_eq!(redis.cmd(["DBSIZE"]).int(), 0);
    give(&redis, &["~*", "+@all", "allchannels"]);
    node.wait_until_ready().await;
}

#[tokio::test]
async fn nobody_is_ready_while_writes_are_held_back() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let http = stage.http();
    stage.redis.cmd(["CLIENT", "PAUSE", "5000", "WRITE"]);
    let paused = Instant::now();
    reason(&http, "CLIENT PAUSE").await;
    let asked = Instant::now();
    alice.send(json!({ "t": "msg", "roomId": room.id, "text": "?", "key": "k" })).await;
    alice.expect_error("SERVICE_UNAVAILABLE").await;
    http.get(&format!("/api/rooms/{}", room.id)).await.error(503, "SERVICE_UNAVAILABLE");
    assert!(asked.elapsed() < Duration::from_secs(1), "took {:?}", asked.elapsed());
    while paused.elapsed() < Duration::from_millis(4500) {
        assert_eq!(http.get("/readyz").await.status, 503, "after {:?}", paused.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage.redis.cmd(["CLIENT", "UNPAUSE"]);
    let back = Instant::now();
    stage.nodes[0].wait_until_ready().await;
    assert!(back.elapsed() < RECOVERY, "took {:?}", back.elapsed());
    let said = alice.say(&room.id, "and on").await;
    let stored = stage.redis.stream_ids(&room.id);
    assert_eq!(stored, [said["id"].as_str().unwrap()], "what was refused is not stored afterwards");
}
