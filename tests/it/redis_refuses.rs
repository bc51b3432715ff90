//! Promise 5 while Redis answers but refuses: rights are missing, or writes are rejected.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Client, Cluster, DEADLINE, Http, Node, RedisServer, Room, Stage, TestEnv, eventually,
};

/// The contract's limit for recovery, and a tolerance for a busy machine.
const RECOVERY: Duration = Duration::from_secs(2 + 1);
const USER: &str = "linkroom";

/// The rights from the documentation for one Redis, and those for a cluster.
fn all_documented_rights() -> [Vec<&'static str>; 2] {
    let page = include_str!("../../docs/operations.md");
    let lines =
        page.lines().filter_map(|line| line.strip_prefix("ACL SETUSER linkroom on >PASSWORD "));
    let lines: Vec<_> = lines.map(|line| line.split(' ').collect()).collect();
    lines.try_into().expect("two lines of the page")
}

/// The rights from the documentation for one Redis.
fn documented_rights() -> Vec<&'static str> {
    let [of_one, _] = all_documented_rights();
    of_one
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

/// Waits until the node reports that Redis does not let it work, and returns the reason.
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

/// Each shard names what is missing there, and rooms of the others go on.
#[tokio::test]
async fn the_documented_rights_are_enough_on_a_cluster_and_what_a_shard_denies_is_named() {
    let env = TestEnv::new();
    let cluster = Cluster::start(&env, false).await;
    let [_, rights] = all_documented_rights();
    cluster.servers.iter().for_each(|server| give(server, &rights));
    let url = cluster.url().replace("://", &format!("://{USER}:secret@"));
    let node = Node::start(&env, &url, &[]).await;
    let http = node.http();
    let data = http.post("/api/rooms", json!({ "creatorName": "alice" })).await.data(201);
    let text = |field: &str| data[field].as_str().unwrap().to_owned();
    let room = Room { id: text("roomId"), token: text("token") };
    let (mut alice, mut bob) = (node.client().await, node.client().await);
    alice.join(&room.id, &room.token).await;
    bob.join(&room.id, "bob").await;
    alice.say(&room.id, "hello").await;
    bob.wait_for_kind("msg").await;
    bob.send(json!({ "t": "leave", "roomId": room.id })).await;
    alice.wait_for_kind("user_left").await;
    assert!(!node.log().contains("WARN linkroom"), "{}", node.log());

    let shard = &cluster.servers[cluster.server_of(&room.id).unwrap()];
    give(shard, &[&rights[..], &["-spublish"]].concat());
    let component = format!("redis {}", shard.addr());
    eventually(DEADLINE, "what this shard denies", async || {
        let ready = http.get("/readyz").await.data(200);
        let why = ready["details"][&component].as_str()?.to_owned();
        why.contains("+spublish").then_some(())
    })
    .await;
    refused_until(&mut alice, &room, || give(shard, &rights)).await;
}

/// A message is refused; after `mend` it is accepted.
async fn refused_until(client: &mut Client, room: &Room, mend: impl Fn()) {
    let said = json!({ "t": "msg", "roomId": room.id, "text": "?", "key": "k" });
    client.send(said.clone()).await;
    client.expect_error("SERVICE_UNAVAILABLE").await;
    mend();
    eventually(DEADLINE, "an acknowledgement", async || {
        client.send(said.clone()).await;
        let answer = client.wait_for("an answer", |frame| frame["key"] == "k").await;
        (answer["t"] == "msg").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_is_named_and_nothing_is_begun_without_it() {
    let stage = stage_with_a_user().await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let http = stage.http();
    let missing: [(&[&str], &[&str]); 8] = [
        (&["resetchannels"], &["&chan:*", "&node:*"]),
        (&["resetchannels", "&chan:*"], &["&node:*"]),
        (&["resetkeys", "~room:*"], &["~user:*"]),
        (&["-zadd", "-script|load", "-unsubscribe"], &["+zadd", "+script|load", "+unsubscribe"]),
        (&["-publish"], &["+publish"]),
        // One call concerns a room and its users, so rules that allow them separately are not
        // enough.
        (
            &["resetkeys", "(~room:* +@all &chan:*)", "(~user:* +@all &node:*)"],
            &["~room:* ~user:*"],
        ),
        (&["resetkeys", "%W~room:*", "~user:*"], &["ACL SETUSER: ~room:*"]),
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
    let lines = async || node.log().contains(line).then_some(());
    eventually(DEADLINE, "the line", lines).await;
    http.post("/api/rooms", json!({ "creatorName": "a" })).await.error(503, "SERVICE_UNAVAILABLE");
    assert_eq!(redis.cmd(["DBSIZE"]).int(), 0);
    assert_eq!(node.log().matches(line).count(), 1, "{}", node.log());
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

/// Has Redis refuse writes until every presence has expired, and checks what works meanwhile and
/// who comes back.
async fn expect_nobody_left_who_was_refused(refuse: [&str; 2], accept: [&str; 2], words: &str) {
    let settings = [("PRESENCE_TTL", "2s"), ("HEARTBEAT_INTERVAL", "500ms")];
    let stage = Stage::new(2, &settings).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    alice.wait_for_kind("user_joined").await;
    alice.keep_alive(Duration::from_millis(500));
    bob.keep_alive(Duration::from_millis(500));
    let said = alice.say(&room.id, "before").await;
    bob.wait_for("the message", |frame| frame["id"] == said["id"]).await;

    stage.redis.cmd(["CONFIG", "SET", refuse[0], refuse[1]]);
    reason(&stage.http(), words).await;
    let members = format!("room:{}:members", room.id);
    eventually(DEADLINE, "the members expire", async || {
        (stage.redis.cmd(["EXISTS", &members]).int() == 0).then_some(())
    })
    .await;
    let path = format!("/api/rooms/{}", room.id);
    stage.http().get(&path).await.data(200);
    stage.http().get(&format!("{path}/members")).await.data(200);
    let page = stage.http().get(&format!("{path}/messages")).await.data(200);
    assert_eq!(page["messages"][0]["id"], said["id"]);
    alice.send(json!({ "t": "msg", "roomId": room.id, "text": "?", "key": "k" })).await;
    let refused = alice.wait_for("the refusal", |frame| frame["key"] == "k").await;
    assert_eq!(refused["code"], "SERVICE_UNAVAILABLE");

    stage.redis.cmd(["CONFIG", "SET", accept[0], accept[1]]);
    let back = Instant::now();
    let mut carol = stage.nodes[1].client().await;
    let join = json!({ "t": "join", "roomId": room.id, "token": "carol" });
    let joined = eventually(RECOVERY, "the first to join", async || {
        let answer = carol.try_join(join.clone()).await;
        (answer["t"] == "joined").then_some(answer)
    })
    .await;
    let mut shown = joined["members"].as_array().unwrap().clone();
    shown.sort_by_key(ToString::to_string);
    assert_eq!(json!(shown), json!(["alice", "bob", "carol"]));
    let said = carol.say(&room.id, "I am new").await;
    for client in [&mut alice, &mut bob] {
        client.wait_for("the message", |frame| frame["id"] == said["id"]).await;
    }
    assert!(back.elapsed() < RECOVERY, "took {:?}", back.elapsed());
    let came = |name: &str| ("user_joined".to_owned(), name.to_owned());
    assert_eq!(alice.comings_and_goings(), [came("bob"), came("carol")]);
    assert_eq!(bob.comings_and_goings(), [came("carol")]);
}

#[tokio::test]
async fn nobody_leaves_or_joins_because_replicas_were_missing() {
    let few = ["min-replicas-to-write", "1"];
    expect_nobody_left_who_was_refused(few, ["min-replicas-to-write", "0"], "NOREPLICAS").await;
}

#[tokio::test]
async fn nobody_leaves_or_joins_because_memory_was_full() {
    expect_nobody_left_who_was_refused(["maxmemory", "1"], ["maxmemory", "0"], "OOM").await;
}
