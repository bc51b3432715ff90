//! Promise 2: what a client sent before it closed properly is processed.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::CloseFrame},
};

use crate::support::{Client, DEADLINE, Room, Stage, eventually, within};

const UNHURRIED: [(&str, &str); 3] =
    [("MESSAGES_PER_SECOND", "1000"), ("FRAMES_PER_SECOND", "10000"), ("LEAVE_GRACE", "60s")];

fn frame(frame: &Value) -> Message {
    Message::text(frame.to_string())
}

/// This many messages of one connection.
fn drafts(room: &Room, count: usize) -> Vec<Message> {
    let draft = |n: usize| {
        frame(
            &json!({ "t": "msg", "roomId": room.id, "text": n.to_string(), "key": n.to_string() }),
        )
    };
    (0..count).map(draft).collect()
}

fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: 4000.into(), reason: "bye".into() }))
}

/// Waits until this many messages are stored, and checks that they are in the order in which they
/// were sent.
async fn expect_stored(stage: &Stage, room: &Room, count: usize) {
    let path = format!("/api/rooms/{}/messages?limit=1000", room.id);
    let texts = eventually(DEADLINE, "all of them are stored", async || {
        let page = stage.http().get(&path).await.data(200)["messages"].clone();
        let text = |message: &Value| message["text"].as_str().unwrap().parse::<usize>().unwrap();
        let texts: Vec<usize> = page.as_array().unwrap().iter().map(text).collect();
        (texts.len() >= count).then_some(texts)
    })
    .await;
    assert_eq!(texts, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_sent_before_a_close_frame_is_stored_acknowledged_and_then_closed() {
    let stage = Stage::new(1, &UNHURRIED).await;
    // More than the queue holds, and more than one read takes.
    for count in [1, 30, 400] {
        let room = stage.room("alice").await;
        let mut alice = stage.member(0, &room, &room.token).await;
        let mut sent = drafts(&room, count);
        sent.push(goodbye());
        alice.send_all(&sent).await.unwrap();
        alice.expect_closed(4000).await;
        expect_stored(&stage, &room, count).await;
        assert_eq!(alice.message_ids(&room.id), stage.redis.stream_ids(&room.id));
    }
}

#[tokio::test]
async fn a_connection_that_is_held_back_is_obeyed_as_well() {
    let settings = [("MESSAGES_PER_SECOND", "1000"), ("FRAMES_PER_SECOND", "40")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut sent = drafts(&room, 60);
    sent.push(goodbye());
    alice.send_all(&sent).await.unwrap();
    alice.expect_closed(4000).await;
    expect_stored(&stage, &room, 60).await;
}

#[tokio::test]
async fn everything_in_one_write_is_obeyed_in_its_order() {
    let stage = Stage::new(1, &UNHURRIED).await;
    let room = stage.room("watcher").await;
    let mut watcher = stage.member(0, &room, &room.token).await;
    let passing = stage.client().await;
    let leave = frame(&json!({ "t": "leave", "roomId": room.id }));
    let join = frame(&json!({ "t": "join", "roomId": room.id, "token": "passing" }));
    let sent = [vec![join], drafts(&room, 3), vec![leave, goodbye()]].concat();
    passing.send_all(&sent).await.unwrap();
    // At once, not after the grace.
    watcher.wait_for_kind("user_left").await;
    let kinds: Vec<_> = watcher.seen[1..].iter().map(|frame| frame["t"].clone()).collect();
    assert_eq!(kinds, ["user_joined", "msg", "msg", "msg", "user_left"]);
}

async fn socket(stage: &Stage) -> WebSocketStream<TcpStream> {
    let addr = stage.nodes[0].addr();
    let stream = TcpStream::connect(addr).await.unwrap();
    client_async(format!("ws://{addr}/ws"), stream).await.unwrap().0
}

#[tokio::test]
async fn one_that_closes_its_half_still_hears_its_acknowledgements() {
    let stage = Stage::new(1, &UNHURRIED).await;
    let room = stage.room("alice").await;
    let mut alice = socket(&stage).await;
    let join = frame(&json!({ "t": "join", "roomId": room.id, "token": room.token }));
    for sent in [vec![join], drafts(&room, 100)].concat() {
        alice.feed(sent).await.unwrap();
    }
    alice.flush().await.unwrap();
    alice.get_mut().shutdown().await.unwrap();
    let mut keys = Vec::new();
    while let Some(Ok(answer)) = within(DEADLINE, "an answer or the end", alice.next()).await {
        let answer: Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
        keys.extend(answer["key"].as_str().map(|key| key.parse::<usize>().unwrap()));
    }
    assert_eq!(keys, (0..100).collect::<Vec<_>>());
    expect_stored(&stage, &room, 100).await;
}

#[tokio::test]
async fn one_that_is_gone_is_obeyed_as_well() {
    let stage = Stage::new(1, &UNHURRIED).await;
    let room = stage.room("alice").await;
    let alice = stage.member(0, &room, &room.token).await;
    alice.send_all(&drafts(&room, 100)).await.unwrap();
    drop(alice);
    expect_stored(&stage, &room, 100).await;
}

/// The upgrade request, a frame and the end of the input in one write.
#[tokio::test]
async fn what_comes_with_the_upgrade_is_obeyed_too() {
    let stage = Stage::new(1, &UNHURRIED).await;
    let room = stage.room("watcher").await;
    let mut watcher = stage.member(0, &room, &room.token).await;
    let addr = stage.nodes[0].addr();
    let request = format!(
        "GET /ws HTTP/1.1\r\nhost: {addr}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    let join = json!({ "t": "join", "roomId": room.id, "token": "early" }).to_string();
    let masked = |first: u8, payload: &[u8]| {
        [&[first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0], payload].concat()
    };
    let sent = [request.into_bytes(), masked(0x81, join.as_bytes()), masked(0x88, b"")].concat();
    let mut early = TcpStream::connect(addr).await.unwrap();
    early.write_all(&sent).await.unwrap();
    let mut answers = Vec::new();
    within(DEADLINE, "the end", early.read_to_end(&mut answers)).await.unwrap();
    let answers = String::from_utf8_lossy(&answers);
    assert!(answers.contains(r#""t":"joined""#), "{answers}");
    watcher.wait_for_kind("user_joined").await;
}

/// Nothing waits forever for a connection that sent much and ended while Redis does not answer.
#[tokio::test]
async fn an_end_does_not_wait_for_redis_without_end() {
    let stage = Stage::new(1, &[("REDIS_TIMEOUT", "30s")]).await;
    let room = stage.room("alice").await;
    let mut alice: Client = stage.member(0, &room, &room.token).await;
    stage.redis.cmd(["CLIENT", "PAUSE", "20000", "ALL"]);
    let mut sent = drafts(&room, 3);
    sent.push(goodbye());
    alice.send_all(&sent).await.unwrap();
    within(Duration::from_secs(10), "the end", alice.expect_closed(4000)).await;
}
