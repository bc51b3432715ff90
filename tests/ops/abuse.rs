//! Floods are turned away, counted, and told in a way that people understand; nobody else notices.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    metrics::{Reading, expect_value},
    support::{Answer, Client, DEADLINE, Room, Stage, within},
};

fn turned_away(limit: &str) -> String {
    format!("linkroom_turned_away_total{{limit=\"{limit}\"}}")
}

/// Asks for a room as somebody behind a proxy.
async fn room_for(stage: &Stage, forwarded_for: &str) -> Answer {
    let http = stage.http();
    let request = http.request(Method::POST, "/api/rooms").header("x-forwarded-for", forwarded_for);
    http.send(request.json(&json!({ "creatorName": "alice" }))).await
}

#[tokio::test]
async fn an_address_makes_so_many_rooms_a_minute() {
    let stage = Stage::new(1, &[("ROOMS_PER_MINUTE", "2")]).await;
    let room = stage.room("alice").await;
    stage.room("alice").await;
    let refused = stage.http().post("/api/rooms", json!({ "creatorName": "alice" })).await;
    let error = refused.error(429, "RATE_LIMITED");
    assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() <= 60);
    stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200);
    expect_value(&stage.nodes[0], &turned_away("rooms"), 1.0).await;
}

#[tokio::test]
async fn who_guesses_rooms_has_to_wait() {
    let stage = Stage::new(1, &[("MISSES_PER_MINUTE", "3")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    for _ in 0..4 {
        stage.http().get("/api/rooms/nosuchroom00").await.error(404, "ROOM_NOT_FOUND");
    }
    let right = stage.http().get(&format!("/api/rooms/{}", room.id)).await;
    right.error(429, "RATE_LIMITED");
    let mut bob = stage.client().await;
    bob.try_join(json!({ "t": "join", "roomId": room.id, "token": "bob" })).await;
    assert_eq!(bob.seen[0]["code"], "RATE_LIMITED");
    expect_value(&stage.nodes[0], &turned_away("misses"), 2.0).await;
    alice.say(&room.id, "I am in already").await;
}

#[tokio::test]
async fn who_guesses_tokens_has_to_wait() {
    let stage = Stage::new(1, &[("MISSES_PER_MINUTE", "3")]).await;
    let room = stage.room("alice").await;
    let mut mallory = stage.client().await;
    let mut codes = Vec::new();
    for _ in 0..6 {
        let join = json!({ "t": "join", "roomId": room.id, "token": "lr_YWxpY2U.guess" });
        codes.push(mallory.try_join(join).await["code"].as_str().unwrap().to_owned());
    }
    assert_eq!(codes[..4], ["INVALID_TOKEN"; 4]);
    assert!(codes[4..].contains(&"RATE_LIMITED".to_owned()), "{codes:?}");
}

#[tokio::test]
async fn a_trusted_proxy_says_whose_request_it_is() {
    let settings = [("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.1"), ("ROOMS_PER_MINUTE", "1")];
    let stage = Stage::new(1, &settings).await;
    room_for(&stage, "192.0.2.1").await.data(201);
    room_for(&stage, "192.0.2.1").await.error(429, "RATE_LIMITED");
    room_for(&stage, "192.0.2.2").await.data(201);
    room_for(&stage, "192.0.2.9, 192.0.2.2, 10.0.0.1").await.error(429, "RATE_LIMITED");
}

#[tokio::test]
async fn a_stranger_says_nothing() {
    let stage = Stage::new(1, &[("ROOMS_PER_MINUTE", "1")]).await;
    room_for(&stage, "192.0.2.1").await.data(201);
    room_for(&stage, "192.0.2.2").await.error(429, "RATE_LIMITED");
}

#[tokio::test]
async fn connections_are_counted_for_the_client_behind_the_proxy() {
    let settings = [("TRUSTED_PROXIES", "127.0.0.1"), ("CONNECTIONS_PER_IP", "1")];
    let stage = Stage::new(1, &settings).await;
    let addr = stage.nodes[0].addr();
    let connect = async |from: &str| Client::connect_with(addr, &[("x-forwarded-for", from)]).await;
    let _first = connect("192.0.2.1").await.unwrap();
    assert!(connect("192.0.2.1").await.is_err_and(|error| error.to_string().contains("429")));
    let _other = connect("192.0.2.2").await.unwrap();
    expect_value(&stage.nodes[0], &turned_away("connections"), 1.0).await;
}

#[tokio::test]
async fn requests_and_frames_over_the_limit_are_counted() {
    let stage = Stage::new(1, &[("REQUESTS_PER_SECOND", "5"), ("FRAMES_PER_SECOND", "5")]).await;
    let mut client = stage.client().await;
    for _ in 0..50 {
        client.send(json!({ "t": "ping" })).await;
    }
    client.wait_for("refusal", |frame| frame["code"] == "RATE_LIMITED").await;
    let mut refused = false;
    for _ in 0..50 {
        refused |= stage.http().get("/api/rooms/nosuchroom00").await.status == 429;
    }
    assert!(refused);
    let reading = Reading::of(&stage.nodes[0]).await;
    assert!(reading.value(&turned_away("frames")) > 0.0);
    assert!(reading.value(&turned_away("requests")) > 0.0);
}

#[tokio::test]
async fn headers_may_not_be_slow_or_long() {
    let stage = Stage::new(1, &[("HEADER_TIMEOUT", "300ms")]).await;
    let addr = stage.nodes[0].addr();
    let mut slow = TcpStream::connect(addr).await.unwrap();
    slow.write_all(b"GET /ws HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut answer = Vec::new();
    // However it ends, it ends.
    let _ = within(DEADLINE, "the end of a slow request", slow.read_to_end(&mut answer)).await;
    expect_value(&stage.nodes[0], &turned_away("header_time"), 1.0).await;

    let mut long = TcpStream::connect(addr).await.unwrap();
    let header = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(20_000));
    let _ = long.write_all(header.as_bytes()).await;
    let mut status = [0; 12];
    within(DEADLINE, "an answer", long.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
    expect_value(&stage.nodes[0], &turned_away("header_size"), 1.0).await;
}

#[tokio::test]
async fn foreign_pages_are_counted() {
    let stage = Stage::new(1, &[]).await;
    let addr = stage.nodes[0].addr();
    let foreign = Client::connect_with(addr, &[("origin", "https://evil.example")]).await;
    assert!(foreign.is_err());
    expect_value(&stage.nodes[0], &turned_away("origin"), 1.0).await;
}

/// The slowest of some messages, but for the slowest tenth.
async fn pace(talker: &mut Client, room: &Room) -> Duration {
    let mut times = Vec::new();
    for number in 0..30 {
        let begun = Instant::now();
        talker.say(&room.id, &format!("message {number}")).await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times[times.len() * 9 / 10]
}

/// Garbage of every kind, as long as this is not dropped.
async fn flood(addr: SocketAddr, room: String) {
    let mut half_open = Vec::new();
    for _ in 0..200 {
        let mut socket = TcpStream::connect(addr).await.unwrap();
        let _ = socket.write_all(b"GET /ws HTTP/1.1\r\nx-slow: ").await;
        half_open.push(socket);
    }
    loop {
        let garbage = Client::connect(addr).await;
        for _ in 0..12 {
            let _ = garbage.send_raw(Message::text("{\"t\":")).await;
        }
        let large = Client::connect(addr).await;
        let _ = large.send_raw(Message::text("x".repeat(2_000_000))).await;
        let guesser = Client::connect(addr).await;
        for number in 0..20 {
            let token = format!("lr_YWxpY2U.guess{number}");
            let join = json!({ "t": "join", "roomId": room, "token": token }).to_string();
            let _ = guesser.send_raw(Message::text(join)).await;
        }
    }
}

#[tokio::test]
async fn whoever_is_in_a_room_does_not_notice_a_flood() {
    let stage = Stage::new(1, &[("MESSAGES_PER_SECOND", "1000")]).await;
    let node = &stage.nodes[0];
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let quiet = pace(&mut alice, &room).await;
    let memory = "process_resident_memory_bytes";
    let before = Reading::of(node).await.value(memory);
    let flood = tokio::spawn(flood(node.addr(), room.id.clone()));
    let flooded = pace(&mut alice, &room).await;
    flood.abort();
    // The flood itself takes its part of the machine that both run on.
    let allowed = quiet * 2 + Duration::from_millis(150);
    assert!(flooded < allowed, "quiet {quiet:?}, flooded {flooded:?}");
    expect_value(node, "linkroom_connections", 1.0).await;
    let after = Reading::of(node).await.value(memory);
    assert!(after < before + 64e6, "{before} bytes before, {after} after");
}
