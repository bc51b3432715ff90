//! Promise 6: a slow reader hurts only itself.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::support::{DEADLINE, Room, Stage, ids_of, within};

/// A connection with a small receive buffer that is read only when the test does so.
struct Sleeper {
    socket: WebSocketStream<TcpStream>,
    token: String,
}

impl Sleeper {
    /// Joins, reads the answer, and falls asleep.
    async fn join(stage: &Stage, room: &Room, name: &str) -> Self {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4096).unwrap();
        let addr = stage.nodes[0].addr();
        let stream = tcp.connect(addr).await.unwrap();
        let (mut socket, _) = client_async(format!("ws://{addr}/ws"), stream).await.unwrap();
        let join = json!({ "t": "join", "roomId": room.id, "token": name }).to_string();
        socket.send(Message::text(join)).await.unwrap();
        let joined = within(DEADLINE, "joined", socket.next()).await.unwrap().unwrap();
        let joined: Value = serde_json::from_str(joined.to_text().unwrap()).unwrap();
        let token = joined["token"].as_str().unwrap().to_owned();
        Self { socket, token }
    }

    /// Wakes up and reads to the end: the messages that came, and the close code if one came.
    async fn read_to_the_end(&mut self) -> (Vec<Value>, Option<u16>) {
        let (mut messages, mut code) = (Vec::new(), None);
        while let Some(Ok(message)) =
            within(DEADLINE, "a frame or the end", self.socket.next()).await
        {
            match message {
                Message::Text(text) => messages.push(serde_json::from_str(&text).unwrap()),
                Message::Close(close) => code = close.map(|close| close.code.into()),
                _ => {}
            }
        }
        messages.retain(|frame: &Value| frame["t"] == "msg");
        (messages, code)
    }
}

/// Far more than the kernel's buffers and a small outbox hold; each member hears all of it.
async fn flood(stage: &Stage, room: &Room) {
    let mut writer = stage.member(0, room, &room.token).await;
    let text = "🎉".repeat(4000);
    for _ in 0..600 {
        writer.say(&room.id, &text).await;
    }
}

const SETTINGS: [(&str, &str); 2] = [("MESSAGES_PER_SECOND", "10000"), ("OUTBOX_BYTES", "65536")];

#[tokio::test]
async fn a_slow_reader_is_closed_with_1013_and_resumes() {
    let settings = [SETTINGS[0], SETTINGS[1], ("SLOW_CLOSE_TIMEOUT", "30s")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("writer").await;
    let mut slow = Sleeper::join(&stage, &room, "slow").await;
    flood(&stage, &room).await;

    let (messages, code) = slow.read_to_the_end().await;
    assert_eq!(code, Some(1013));
    let ids = stage.redis.stream_ids(&room.id);
    let got = ids_of(&messages);
    assert!(got.len() < ids.len(), "the queue is bounded");
    assert_eq!(got, ids[..got.len()], "what came is the stream without a hole");

    let last = got.last().map_or("0-0", String::as_str);
    let joined = stage.client().await.resume(&room.id, &slow.token, last).await;
    assert_eq!(ids_of(joined["messages"].as_array().unwrap()), ids[got.len()..]);
    assert_eq!(joined["more"], false);
}

#[tokio::test]
async fn one_that_does_not_even_take_the_close_is_dropped() {
    let settings =
        [SETTINGS[0], SETTINGS[1], ("SLOW_CLOSE_TIMEOUT", "200ms"), ("LEAVE_GRACE", "100ms")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("writer").await;
    let mut watcher = stage.member(0, &room, "watcher").await;
    let _asleep = Sleeper::join(&stage, &room, "asleep").await;
    flood(&stage, &room).await;
    watcher
        .wait_for("the drop", |frame| frame["t"] == "user_left" && frame["userId"] == "asleep")
        .await;
}

#[tokio::test]
async fn a_slow_reader_delays_nobody_else() {
    let settings = [SETTINGS[0], SETTINGS[1], ("SLOW_CLOSE_TIMEOUT", "30s")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("writer").await;
    let mut sleepers = Vec::new();
    for number in 0..3 {
        sleepers.push(Sleeper::join(&stage, &room, &format!("slow {number}")).await);
    }
    let other = stage.room("elsewhere").await;
    let mut elsewhere = stage.member(0, &other, &other.token).await;
    let mut fast = stage.member(0, &room, "fast").await;
    let talk = async {
        for _ in 0..50 {
            let said = elsewhere.say(&other.id, "hello");
            within(Duration::from_secs(2), "an answer in another room", said).await;
        }
    };
    tokio::join!(flood(&stage, &room), talk);
    let ids = stage.redis.stream_ids(&room.id);
    while fast.message_ids(&room.id).len() < ids.len() {
        fast.next().await;
    }
    assert_eq!(fast.message_ids(&room.id), ids);
}
