//! What someone with redis-cli finds: names, types and TTLs of every key, by plain commands.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{DEADLINE, Node, Proxy, Stage, eventually, is_instant};

/// Milliseconds that the key still lives; at most `max`, and near it.
fn expect_ttl(stage: &Stage, key: &str, max: i64) {
    let left = stage.redis.cmd(["PTTL", key]).int();
    assert!((max * 8 / 10..=max).contains(&left), "{key} lives {left} ms, wanted {max}");
}

#[tokio::test]
async fn a_room_in_use_has_the_keys_of_the_contract() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("테스터").await;
    let mut creator = stage.member(0, &room, &room.token).await;
    let user2 = stage.member(0, &room, "user2").await;
    creator.say_once(&room.id, "hello", "k").await;
    user2.send(json!({ "t": "ping", "status": "away" })).await;
    creator.wait_for_kind("presence").await;

    let (id, day) = (&room.id, 24 * 3_600_000);
    let kinds = [
        (format!("room:{id}"), "hash", day),
        (format!("room:{id}:members"), "set", 30_000),
        (format!("room:{id}:deadlines"), "zset", 30_000),
        (format!("room:{id}:messages"), "stream", day),
        (format!("user:{id}:테스터:presence"), "string", 30_000),
        (format!("user:{id}:user2:presence"), "string", 30_000),
        (format!("user:{id}:테스터:session"), "hash", 600_000),
        (format!("user:{id}:user2:session"), "hash", 600_000),
    ];
    for (key, kind, ttl) in &kinds {
        assert_eq!(stage.redis.cmd(["TYPE", key]).text(), *kind, "{key}");
        expect_ttl(&stage, key, *ttl);
    }
    assert_eq!(stage.redis.texts(["SMEMBERS", &kinds[1].0]), ["user2", "테스터"]);
    assert_eq!(stage.redis.texts(["ZRANGE", &kinds[2].0, "0", "-1"]), ["user2", "테스터"]);
    assert_eq!(stage.redis.cmd(["GET", &kinds[4].0]).text(), "online");
    assert_eq!(stage.redis.cmd(["GET", &kinds[5].0]).text(), "away");
    assert_eq!(stage.redis.cmd(["HGET", &kinds[0].0, "creator"]).text(), "테스터");
    assert_eq!(stage.redis.cmd(["XLEN", &kinds[3].0]).int(), 1);
    let seconds = stage.redis.cmd(["TTL", &kinds[4].0]).int();
    assert!((1..=30).contains(&seconds));
}

#[tokio::test]
async fn the_hashes_hold_what_the_contract_says() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let hash = |key: &str| {
        let reply = stage.redis.cmd(["HGETALL", key]);
        let texts: Vec<_> = reply.list().iter().map(|item| item.text().to_owned()).collect();
        texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect::<BTreeMap<_, _>>()
    };
    let session = format!("user:{}:alice:session", room.id);
    assert_eq!(hash(&format!("room:{}", room.id))["creator"], "alice");
    assert!(hash(&format!("room:{}", room.id)).contains_key("createdAt"));
    let before = hash(&session);
    assert!(before.contains_key("joinedAt"), "{before:?}");

    let mut alice = stage.member(0, &room, &room.token).await;
    let said = alice.say(&room.id, "hello").await;
    alice.send(json!({ "t": "ping", "read": said["id"] })).await;
    eventually(DEADLINE, "the read position", async || {
        let fields = hash(&session);
        (fields.get("read").map(String::as_str) == said["id"].as_str()).then_some(())
    })
    .await;
    let one = hash(&session).len();
    let second = stage.member(0, &room, &room.token).await;
    let two = hash(&session).len();
    assert_eq!(two, one + 1, "one field for each connection: {:?}", hash(&session));
    second.send(json!({ "t": "leave", "roomId": room.id })).await;
    eventually(DEADLINE, "the connection's field is gone", async || {
        (hash(&session).len() == one).then_some(())
    })
    .await;
}

#[tokio::test]
async fn deadlines_are_on_rediss_clock() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let time = stage.redis.cmd(["TIME"]);
    let now = time.list()[0].text().parse::<f64>().unwrap() * 1000.0;
    let deadlines = format!("room:{}:deadlines", room.id);
    let score: f64 = stage.redis.cmd(["ZSCORE", &deadlines, "alice"]).text().parse().unwrap();
    assert!((now + 25_000.0..now + 32_000.0).contains(&score), "{score} is about 30 s from {now}");
    let created = stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200);
    assert!(is_instant(&created["createdAt"]));
}

#[tokio::test]
async fn every_key_has_a_ttl_and_names_its_room() {
    let stage = Stage::new(1, &[("LEAVE_GRACE", "100ms")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let bob = stage.member(0, &room, "bob").await;
    stage.guest(&room, "bot").await;
    alice.say_once(&room.id, "hello", "k").await;
    alice.say(&room.id, "without a key of its own").await;
    alice.send(json!({ "t": "ping", "status": "away" })).await;
    bob.close().await;
    alice.wait_for_kind("user_left").await;
    for key in stage.redis.texts(["KEYS", "*"]) {
        let left = stage.redis.cmd(["PTTL", &key]).int();
        assert!(left > 0 || left == -2, "{key} stays for ever");
        assert!(key.contains(&room.id), "{key} is of no room");
    }
}

#[tokio::test]
async fn an_abandoned_room_leaves_nothing_behind() {
    let settings = [
        ("PRESENCE_TTL", "500ms"),
        ("SESSION_TTL", "800ms"),
        ("ROOM_TTL", "1s"),
        ("IDEMPOTENCY_TTL", "800ms"),
        ("LEAVE_GRACE", "100ms"),
    ];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    alice.say_once(&room.id, "hello", "k").await;
    stage.guest(&room, "bot").await;
    drop(alice);
    eventually(DEADLINE, "an empty Redis", async || {
        (stage.redis.cmd(["DBSIZE"]).int() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn heartbeats_slide_every_ttl() {
    let settings = [
        ("PRESENCE_TTL", "1500ms"),
        ("HEARTBEAT_INTERVAL", "300ms"),
        ("SESSION_TTL", "2s"),
        ("ROOM_TTL", "2500ms"),
    ];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    alice.keep_alive(std::time::Duration::from_millis(300));
    let first = stage.redis.cmd(["TIME"]).list()[0].text().parse::<u64>().unwrap();
    eventually(DEADLINE, "twice the longest TTL", async || {
        let now = stage.redis.cmd(["TIME"]).list()[0].text().parse::<u64>().unwrap();
        assert_eq!(stage.members_in_redis(&room), ["alice"]);
        (now > first + 5).then_some(())
    })
    .await;
    stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200);
    alice.say(&room.id, "still here").await;
}

#[tokio::test]
async fn heartbeats_are_not_one_call_to_redis_each() {
    let settings = [("HEARTBEAT_INTERVAL", "500ms"), ("FRAMES_PER_SECOND", "1000")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("owner").await;
    let mut clients = stage.guests(&room, 50).await;
    let before = stage.redis.scripts_run();
    for _ in 0..4 {
        for client in &clients {
            client.send(json!({ "t": "ping" })).await;
        }
        for client in &mut clients {
            client.wait_for_kind("pong").await;
        }
    }
    let made = stage.redis.scripts_run() - before;
    assert!(made <= 100, "200 heartbeats made {made} calls");
}

#[tokio::test]
async fn heartbeats_tell_of_a_connection_only_before_it_would_lapse() {
    let settings = [("PRESENCE_TTL", "6s"), ("HEARTBEAT_INTERVAL", "200ms")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("owner").await;
    let mut calm = stage.member(0, &room, "calm").await;
    calm.until_pong().await;
    let session = format!("user:{}:calm:session", room.id);
    eventually(DEADLINE, "a proof", async || {
        (stage.redis.cmd(["HEXISTS", &session, "provisional"]).int() == 0).then_some(())
    })
    .await;
    let heartbeats = async |count: u64| {
        let before = stage.redis.scripts_run();
        let seen = async || (stage.redis.scripts_run() >= before + count).then_some(());
        eventually(DEADLINE, "heartbeats", seen).await;
    };
    // The first tells of what came before it.
    heartbeats(2).await;
    let told = || stage.redis.calls("hset");
    let deadline = || {
        let key = format!("room:{}:deadlines", room.id);
        stage.redis.cmd(["ZSCORE", &key, "calm"]).text().parse::<u64>().unwrap()
    };
    let (before, lapses) = (told(), deadline());
    calm.until_pong().await;
    heartbeats(4).await;
    assert_eq!((told(), deadline()), (before, lapses), "it is far from lapsing");
    eventually(DEADLINE, "a report", async || (told() > before).then_some(())).await;
    assert!(deadline() > lapses);
    let now = stage.redis.cmd(["TIME"]).list()[0].text().parse::<u64>().unwrap();
    assert!(now * 1000 < lapses, "it was reported in time");
    // It says nothing any more.
    heartbeats(4).await;
    assert_eq!(told(), before + 1);
}

#[tokio::test]
async fn heartbeats_leave_out_whose_session_was_just_confirmed() {
    let stage = Stage::new(1, &[("HEARTBEAT_INTERVAL", "2500ms")]).await;
    let room = stage.room("owner").await;
    let mut guest = stage.member(0, &room, "guest").await;
    guest.until_pong().await;
    let session = format!("user:{}:guest:session", room.id);
    eventually(DEADLINE, "a proof", async || {
        (stage.redis.cmd(["HEXISTS", &session, "provisional"]).int() == 0).then_some(())
    })
    .await;
    let (told, before) = (stage.redis.calls("hset"), stage.redis.scripts_run());
    let seen = async || (stage.redis.scripts_run() >= before + 2).then_some(());
    eventually(DEADLINE, "heartbeats", seen).await;
    assert_eq!(stage.redis.calls("hset"), told);
}

/// Redis is held up in the middle of a report, and the guest's first frame arrives meanwhile.
#[tokio::test]
async fn a_session_that_is_confirmed_during_a_report_is_reported_after_it() {
    let mut stage = Stage::new(0, &[]).await;
    let proxy = Proxy::to(stage.redis.addr()).await;
    let settings = [("HEARTBEAT_INTERVAL", "1s"), ("REDIS_TIMEOUT", "20s")];
    stage.nodes.push(Node::start(&stage.env, &proxy.redis_url(), &settings).await);
    let room = stage.room("owner").await;
    let mut guest = stage.member(0, &room, "wallflower").await;
    proxy.freeze_at("wallflower");
    eventually(DEADLINE, "a report", async || proxy.is_frozen().then_some(())).await;
    guest.until_pong().await;
    proxy.resume();
    let session = format!("user:{}:wallflower:session", room.id);
    eventually(DEADLINE, "a proof", async || {
        (stage.redis.cmd(["HEXISTS", &session, "provisional"]).int() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_room_that_holds_what_is_none_of_ours_fails_alone() {
    let settings = [("PRESENCE_TTL", "1s"), ("HEARTBEAT_INTERVAL", "200ms")];
    let stage = Stage::new(1, &settings).await;
    let other = stage.room("alice").await;
    let mut alice = stage.member(0, &other, &other.token).await;
    alice.keep_alive(std::time::Duration::from_millis(200));
    let number = "9223372036854775807";
    for (key, wrong) in [
        (":members", &["SET", "x"][..]),
        (":deadlines", &["SET", "x"]),
        (":messages", &["SET", "x"]),
        (":names", &["SET", "x"]),
        (":away", &["SET", "x"]),
        ("", &["HSET", "events", "x"]),
        ("", &["HSET", "events", "1e3"]),
        ("", &["HSET", "events", number]),
        ("", &["HSET", "createdAt", "x"]),
    ] {
        let room = stage.room("bob").await;
        let mut bob = stage.member(0, &room, &room.token).await;
        let key = format!("room:{}{key}", room.id);
        if wrong[0] == "SET" {
            stage.redis.cmd(["DEL", &key]);
        }
        stage.redis.run(&[&[wrong[0], &key], &wrong[1..]].concat());
        let mut eve = stage.client().await;
        let join = json!({ "t": "join", "roomId": room.id, "token": "eve" });
        let answer = eve.try_join(join).await;
        // A wrong field can be replaced or left out, a wrong key cannot.
        let expected = if wrong[0] == "SET" { "INTERNAL" } else { "eve" };
        assert!([&answer["code"], &answer["me"]].contains(&&json!(expected)), "{key}: {answer}");
        bob.until_pong().await;
        alice.say(&other.id, "all is well").await;
        assert_eq!(stage.http().get("/readyz").await.status, 200);
    }
    let began = std::time::Instant::now();
    eventually(DEADLINE, "longer than a presence", async || {
        assert_eq!(stage.members_in_redis(&other), ["alice"]);
        (began.elapsed() > std::time::Duration::from_millis(1500)).then_some(())
    })
    .await;
}
