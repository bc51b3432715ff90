//! The live tail: a listener gets the same events as a member, and loses none either.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{Client, DEADLINE, Listener, Reading, Room, Stage, eventually};

const FAST: (&str, &str) = ("MESSAGES_PER_SECOND", "100000");

fn path(room: &Room) -> String {
    format!("/api/rooms/{}/events", room.id)
}

/// Sends this many messages, and waits until all of them are stored.
async fn say_many(client: &mut Client, room: &Room, count: usize) {
    for number in 0..count {
        let text = format!("{number} {}", "x".repeat(100));
        client.send(json!({ "t": "msg", "roomId": room.id, "text": text })).await;
    }
    for _ in 0..count {
        client.wait_for_kind("msg").await;
    }
}

#[tokio::test]
async fn one_that_listens_is_told_what_a_member_is() {
    let stage = Stage::new(2, &[("LEAVE_GRACE", "0s")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    stage.redis.cmd(["PEXPIRE", &format!("room:{}", room.id), "7000000"]);
    let mut listener = Listener::open(&stage.nodes[1].http(), &room.id, None).await;
    let ttl = stage.redis.cmd(["PTTL", &format!("room:{}", room.id)]).int();
    assert!(ttl <= 7_000_000, "listening is no sign of life: {ttl}");
    assert_eq!(stage.members_in_redis(&room), ["alice"], "who listens is no member");

    let mut bob = stage.member(0, &room, "bob").await;
    let said = bob.say(&room.id, "hello").await;
    bob.send(json!({ "t": "ping", "status": "away", "read": said["id"] })).await;
    alice.wait_for_kind("read").await;
    bob.send(json!({ "t": "leave" })).await;
    alice.wait_for_kind("user_left").await;
    stage.redis.cmd(["PUBLISH", &format!("chan:{}", room.id), r#"{"t":"news","id":"9-9"}"#]);
    listener.wait_for("news").await;

    let told = |t: &str| alice.seen.iter().find(|frame| frame["t"] == t).unwrap().clone();
    for event in &listener.seen[..listener.seen.len() - 1] {
        assert_eq!(event.data, told(&event.kind), "the frame that a member got");
        assert_eq!(event.id.is_some(), event.kind == "msg", "{event:?}");
    }
    let kinds: Vec<_> = listener.seen.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!((kinds[0], kinds[1], kinds.len()), ("user_joined", "msg", 6), "{kinds:?}");
    assert_eq!(listener.seen[5].id, None, "what somebody publishes is nothing to come back with");
}

#[tokio::test]
async fn a_history_is_read_on_without_a_limit_and_what_is_not_kept_is_said() {
    let stage = Stage::new(2, &[FAST]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    say_many(&mut alice, &room, 450).await;
    let ids = stage.redis.stream_ids(&room.id);
    let http = stage.nodes[1].http();
    let mut listener = Listener::open(&http, &room.id, Some("0-0")).await;
    assert_eq!(listener.messages(450).await, ids);
    let said = alice.say(&room.id, "live").await;
    assert_eq!(listener.wait_for("msg").await.data["id"], said["id"]);

    stage.redis.cmd(["XTRIM", &format!("room:{}:messages", room.id), "MAXLEN", "3"]);
    let kept = stage.redis.stream_ids(&room.id);
    let mut late = Listener::open(&http, &room.id, Some(&ids[5])).await;
    let gap = late.wait_for("gap").await;
    assert_eq!(gap.data, json!({ "t": "gap", "roomId": room.id, "after": ids[5] }));
    assert_eq!(late.messages(3).await, kept);
    assert_eq!(late.seen[0].kind, "gap", "it comes where the messages are missing");

    let mut next = Listener::open(&http, &room.id, Some(&kept[0])).await;
    assert_eq!(next.messages(2).await, kept[1..]);
    let mut none = Listener::open(&http, &room.id, Some(&kept[2])).await;
    let said = alice.say(&room.id, "more").await;
    for listener in [&mut next, &mut none] {
        assert_eq!(listener.wait_for("msg").await.data["id"], said["id"]);
        assert!(listener.seen.iter().all(|event| event.kind == "msg"), "nothing is missing");
    }
}

#[tokio::test]
async fn whose_node_dies_under_load_resumes_elsewhere_without_a_gap_or_a_repeat() {
    let mut stage = Stage::new(2, &[FAST]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(1, &room, &room.token).await;
    let (first, second) = (stage.nodes[0].http(), stage.nodes[1].http());
    let mut quiet = Listener::open(&first, &room.id, None).await;
    quiet.until_position().await;
    let mut listener = Listener::open(&first, &room.id, None).await;
    let talks = tokio::spawn(async move {
        say_many(&mut alice, &room, 600).await;
        (alice, room)
    });
    listener.messages(50).await;
    stage.nodes[0].kill().await;
    while let Ok(Some(_)) = listener.next().await {}
    let mut ids = listener.ids();
    let (mut alice, room) = talks.await.unwrap();
    let mut listener = Listener::open(&second, &room.id, listener.last.as_deref()).await;
    alice.say(&room.id, "the last").await;
    let all = stage.redis.stream_ids(&room.id);
    ids.extend(listener.messages(all.len() - ids.len()).await);
    assert_eq!(ids, all);

    // A listener that got no message resumes from where it began.
    let mut quiet = Listener::open(&second, &room.id, quiet.last.as_deref()).await;
    assert_eq!(quiet.messages(all.len()).await, all);
}

#[tokio::test]
async fn what_was_said_while_redis_was_away_is_not_lost_and_the_answer_goes_on() {
    let mut stage = Stage::durable(2, &[FAST]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut listener = Listener::open(&stage.nodes[1].http(), &room.id, None).await;
    alice.say(&room.id, "before").await;
    listener.messages(1).await;
    stage.redis.kill();
    stage.redis.restart();
    let back = eventually(DEADLINE, "a message taken again", async || {
        let said = stage.http().say(&room.id, &room.token, json!({ "text": "after" })).await;
        (said.status == 201).then_some(said.body["data"]["id"].clone())
    })
    .await;
    while listener.wait_for("msg").await.data["id"] != back {}
    assert_eq!(listener.ids(), stage.redis.stream_ids(&room.id));
}

/// A listener that reads only when the test does so.
async fn asleep(stage: &Stage, room: &Room) -> TcpStream {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(4096).unwrap();
    let mut stream = tcp.connect(stage.nodes[0].addr()).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path(room));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 200];
    stream.read_exact(&mut head).await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200"));
    stream
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_and_hurts_nobody_else() {
    /// Far less than the outbox of a client that reads may hold.
    const ROUND: usize = 10;
    let settings = [FAST, ("OUTBOX_BYTES", "524288"), ("SLOW_CLOSE_TIMEOUT", "200ms")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("alice").await;
    let alice = stage.member(0, &room, &room.token).await;
    let _asleep = asleep(&stage, &room).await;
    let mut listener = Listener::open(&stage.http(), &room.id, None).await;
    let text = "🎉".repeat(4000);
    let mut said = 0;
    eventually(DEADLINE, "it is cut off", async || {
        for _ in 0..ROUND {
            alice.send(json!({ "t": "msg", "roomId": room.id, "text": text })).await;
        }
        said += ROUND;
        listener.messages(said).await;
        let metrics = Reading::of(&stage.nodes[0]).await;
        // Alice and the listener that reads.
        (metrics.value("linkroom_connections") == 2.0).then_some(())
    })
    .await;
    let metrics = Reading::of(&stage.nodes[0]).await;
    assert_eq!(metrics.value("linkroom_slow_consumers_total"), 1.0);
    assert_eq!(listener.ids(), stage.redis.stream_ids(&room.id));
}

#[tokio::test]
async fn a_node_that_leaves_ends_them_one_after_the_other() {
    const LISTENERS: usize = 10;
    let mut stage = Stage::new(1, &[("DRAIN_TIMEOUT", "3s")]).await;
    let room = stage.room("alice").await;
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS {
        listeners.push(Listener::open(&stage.http(), &room.id, None).await);
    }
    let begun = Instant::now();
    stage.nodes[0].signal(Signal::SIGTERM);
    let ends = listeners.iter_mut().map(async |listener| {
        assert_eq!(listener.next().await.expect("it does not break off"), None);
        begun.elapsed()
    });
    let mut times = futures_util::future::join_all(ends).await;
    times.sort();
    let spread = times[LISTENERS - 1] - times[0];
    assert!(spread > Duration::from_millis(600), "all within {spread:?} is a herd: {times:?}");
    assert!(stage.nodes[0].exit_status().await.success());
}

#[tokio::test]
async fn it_is_refused_like_anything_else() {
    let stage = Stage::new(
        1,
        &[("CONNECTIONS_PER_IP", "1"), ("IDLE_TIMEOUT", "300ms"), ("PRESENCE_TTL", "900ms")],
    )
    .await;
    let (http, room) = (stage.http(), stage.room("alice").await);
    http.get("/api/rooms/no-such-room/events").await.error(404, "ROOM_NOT_FOUND");
    http.get(&format!("{}?since=x", path(&room))).await.invalid("since");
    let head = http.request(Method::HEAD, &path(&room)).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    http.send(http.request(Method::POST, &path(&room))).await.error(405, "METHOD_NOT_ALLOWED");

    let mut listener = Listener::open(&http, &room.id, None).await;
    http.get(&path(&room)).await.error(429, "RATE_LIMITED");
    assert!(Client::connect_with(stage.nodes[0].addr(), &[]).await.is_err(), "one budget for both");
    let said = http.say(&room.id, &room.token, json!({ "text": "heard" })).await.data(201);
    assert_eq!(listener.wait_for("msg").await.data["id"], said["id"]);

    // A listener sends nothing for far longer than a connection may be silent, and stays connected.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(700) {
        let waits = tokio::time::timeout(Duration::from_millis(100), listener.next()).await;
        assert!(waits.is_err(), "{waits:?}");
    }
    assert!(listener.comments >= 3, "{} comments", listener.comments);
    drop(listener);
    eventually(DEADLINE, "its place is free", async || {
        (http.request(Method::GET, &path(&room)).send().await.unwrap().status() == 200)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_ends_with_the_room() {
    let settings = [("PRESENCE_TTL", "1s"), ("IDLE_TIMEOUT", "900ms")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("alice").await;
    let mut listener = Listener::open(&stage.http(), &room.id, None).await;
    stage.redis.cmd(["DEL", &format!("room:{}", room.id)]);
    while listener.next().await.expect("it does not break off").is_some() {}
    stage.http().get(&path(&room)).await.error(404, "ROOM_NOT_FOUND");
}
