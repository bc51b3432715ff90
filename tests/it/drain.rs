//! Promise 7: a node shuts down gracefully.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Stage};

#[tokio::test]
async fn sigterm_closes_with_1012_spread_over_time_and_ends_well() {
    const CLIENTS: usize = 20;
    let mut stage = Stage::new(1, &[("DRAIN_TIMEOUT", "3s")]).await;
    let room = stage.room("owner").await;
    let mut clients = stage.guests(&room, CLIENTS).await;
    let asked = Instant::now();
    stage.nodes[0].signal(Signal::SIGTERM);
    let mut times = Vec::new();
    let closes = clients.iter_mut().map(async |client| {
        client.expect_closed(1012).await;
        asked.elapsed()
    });
    times.extend(futures_util::future::join_all(closes).await);
    assert!(stage.nodes[0].exit_status().await.success());
    assert!(asked.elapsed() < Duration::from_secs(5), "took {:?}", asked.elapsed());

    times.sort();
    let spread = times[CLIENTS - 1] - times[0];
    assert!(spread > Duration::from_millis(600), "all within {spread:?} is a herd: {times:?}");
}

#[tokio::test]
async fn a_draining_node_takes_nobody_new() {
    let mut stage = Stage::new(1, &[("DRAIN_TIMEOUT", "4s")]).await;
    let room = stage.room("owner").await;
    let mut owner = stage.member(0, &room, &room.token).await;
    let mut more = stage.guests(&room, 10).await;
    let (addr, http) = (stage.nodes[0].addr(), stage.http());
    let ready = http.request(reqwest::Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 200);
    stage.nodes[0].signal(Signal::SIGTERM);
    more[0].closed().await;
    if let Ok(response) = http.request(reqwest::Method::GET, "/readyz").send().await {
        assert_eq!(response.status(), 503);
    }
    assert!(Client::connect_with(addr, &[]).await.is_err(), "no new connections");
    owner.closed().await;
    assert!(stage.nodes[0].exit_status().await.success());
}

#[tokio::test]
async fn what_was_sent_before_the_drain_is_answered() {
    let mut stage =
        Stage::new(1, &[("DRAIN_TIMEOUT", "2s"), ("MESSAGES_PER_SECOND", "1000")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    for number in 0..30 {
        let key = format!("{number}");
        alice.send(json!({ "t": "msg", "roomId": room.id, "text": "x", "key": key })).await;
    }
    alice.send(json!({ "t": "ping" })).await;
    alice.wait_for_kind("pong").await;
    stage.nodes[0].signal(Signal::SIGTERM);
    alice.expect_closed(1012).await;
    assert_eq!(alice.message_ids(&room.id), stage.redis.stream_ids(&room.id));
    assert_eq!(alice.message_ids(&room.id).len(), 30);
    assert!(stage.nodes[0].exit_status().await.success());
}

/// A pong is sent as soon as the ping is read, so everything that was sent before it was read as
/// well.
#[tokio::test]
async fn what_was_read_from_one_that_goes_on_talking_is_answered() {
    const AT_ONCE: usize = 10;
    const BEFORE_THE_DRAIN: usize = 20;
    let settings = [("MESSAGES_PER_SECOND", "100000"), ("FRAMES_PER_SECOND", "100000")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let message = Message::text(json!({ "t": "msg", "roomId": room.id, "text": "x" }).to_string());
    let ping = Message::text(json!({ "t": "ping" }).to_string());
    let sent = [vec![message; AT_ONCE], vec![ping]].concat();
    let mut bursts = 0;
    while alice.send_all(&sent).await.is_ok() {
        bursts += 1;
        if bursts == BEFORE_THE_DRAIN {
            stage.nodes[0].signal(Signal::SIGTERM);
        }
    }
    alice.expect_closed(1012).await;
    let read = alice.seen.iter().filter(|frame| frame["t"] == "pong").count();
    let answered = alice.message_ids(&room.id).len();
    assert!(answered >= read * AT_ONCE, "{answered} of {} messages are answered", read * AT_ONCE);
    assert_eq!(alice.message_ids(&room.id), stage.redis.stream_ids(&room.id));
}

#[tokio::test]
async fn clients_come_back_elsewhere_and_nobody_notices() {
    let settings =
        [("DRAIN_TIMEOUT", "1s"), ("LEAVE_GRACE", "5s"), ("MESSAGES_PER_SECOND", "1000")];
    let mut stage = Stage::new(2, &settings).await;
    let room = stage.room("watcher").await;
    let mut watcher = stage.member(1, &room, &room.token).await;
    let mut mover = stage.nodes[0].client().await;
    let token = mover.join(&room.id, "mover").await["token"].as_str().unwrap().to_owned();
    let last = watcher.say(&room.id, "one").await["id"].as_str().unwrap().to_owned();
    mover.wait_for_kind("msg").await;

    stage.nodes[0].signal(Signal::SIGTERM);
    mover.expect_closed(1012).await;
    let missed = watcher.say(&room.id, "two").await;
    let mut moved = stage.nodes[1].client().await;
    let joined = moved.resume(&room.id, &token, &last).await;
    assert_eq!(joined["messages"][0]["id"], missed["id"]);
    assert!(stage.nodes[0].exit_status().await.success());

    let marker = stage.member(1, &room, "marker").await;
    marker.send(json!({ "t": "leave", "roomId": room.id })).await;
    watcher.wait_for_kind("user_left").await;
    let moves: Vec<_> = watcher.comings_and_goings().into_iter().map(|(_, name)| name).collect();
    assert_eq!(moves, ["mover", "marker", "marker"]);
}

#[tokio::test]
async fn one_that_does_not_come_back_leaves_once() {
    let settings = [("DRAIN_TIMEOUT", "500ms"), ("LEAVE_GRACE", "300ms"), ("PRESENCE_TTL", "4s")];
    let mut stage = Stage::new(2, &settings).await;
    let room = stage.room("watcher").await;
    let mut watcher = stage.member(1, &room, &room.token).await;
    watcher.keep_alive(Duration::from_secs(1));
    let mut gone = stage.member(0, &room, "gone").await;
    stage.nodes[0].signal(Signal::SIGTERM);
    gone.expect_closed(1012).await;
    watcher.wait_for_kind("user_left").await;
    assert!(stage.nodes[0].exit_status().await.success());
    assert_eq!(watcher.comings_and_goings().len(), 2);
}

#[tokio::test]
async fn an_idle_node_ends_soon_on_either_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut stage = Stage::new(1, &[]).await;
        let asked = Instant::now();
        stage.nodes[0].signal(signal);
        assert!(stage.nodes[0].exit_status().await.success());
        assert!(asked.elapsed() < Duration::from_secs(4), "{signal}: {:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn sigint_does_not_wait_for_clients() {
    let mut stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let asked = Instant::now();
    stage.nodes[0].signal(Signal::SIGINT);
    alice.closed().await;
    stage.nodes[0].exit_status().await;
    assert!(asked.elapsed() < Duration::from_secs(4), "took {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_node_drains_while_redis_is_away() {
    let mut stage = Stage::new(1, &[("DRAIN_TIMEOUT", "2s")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    stage.redis.kill();
    let asked = Instant::now();
    stage.nodes[0].signal(Signal::SIGTERM);
    alice.expect_closed(1012).await;
    assert!(stage.nodes[0].exit_status().await.success());
    assert!(asked.elapsed() < Duration::from_secs(5), "took {:?}", asked.elapsed());
}

#[tokio::test]
async fn who_connects_while_a_node_leaves_is_told_or_turned_away() {
    let mut stage = Stage::new(1, &[("DRAIN_TIMEOUT", "5s")]).await;
    let addr = stage.nodes[0].addr();
    let mut connecting = tokio::task::JoinSet::new();
    for _ in 0..300 {
        connecting.spawn(async move {
            match Client::connect_with(addr, &[]).await {
                Ok(mut client) => client.closed().await,
                Err(_) => Some(1012),
            }
        });
    }
    let mut early = stage.client().await;
    stage.nodes[0].signal(Signal::SIGTERM);
    early.expect_closed(1012).await;
    while let Some(code) = connecting.join_next().await {
        assert_eq!(code.unwrap(), Some(1012));
    }
    assert!(stage.nodes[0].exit_status().await.success());
    assert!(!stage.nodes[0].log().contains("shut down before"), "{}", stage.nodes[0].log());
}
