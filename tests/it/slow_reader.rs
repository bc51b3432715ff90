//! Promise 6: a slow reader affects only itself.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::support::{DEADLINE, Room, Stage, ids_of, within};

/// A connection with a small receive buffer that is read only when the test reads it.
struct Sleeper {
    socket: WebSocketStream<TcpStream>,
    token: String,
}

impl Sleeper {
    /// Joins, reads the answer, and stops reading.
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

    /// Reads to the end: the messages that came, and the close code if there was one.
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

/// Far more than the kernel's buffers and a small outbox hold; each member receives all of it.
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
    let settings =
        [SETTINGS[0], SETTINGS[1], ("SLOW_CLOSE_TIMEOUT", "30s"), ("JOINED_BYTES", "100000000")];
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
async fn one_that_asks_for_much_and_reads_nothing_is_dropped() {
    let settings = [
        SETTINGS[0],
        SETTINGS[1],
        ("STALL_TIMEOUT", "300ms"),
        ("SLOW_CLOSE_TIMEOUT", "200ms"),
        ("LEAVE_GRACE", "100ms"),
    ];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("writer").await;
    let mut watcher = stage.member(0, &room, &room.token).await;
    for _ in 0..20 {
        watcher.say(&room.id, &"🎉".repeat(4000)).await;
    }
    let mut asleep = Sleeper::join(&stage, &room, "asleep").await;
    let join = json!({ "t": "join", "roomId": room.id, "token": asleep.token });
    for _ in 0..40 {
        asleep.socket.send(Message::text(join.to_string())).await.unwrap();
    }
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

/// A `joined` frame is not larger than its limit, whatever it contains.
#[tokio::test]
async fn the_answer_to_a_join_is_no_larger_than_it_may_be() {
    const MOST: usize = 100_000;
    let settings = [("MESSAGES_PER_SECOND", "10000"), ("JOINED_BYTES", "100000")];
    let stage = Stage::new(1, &settings).await;
    for character in ["a", "\u{1}", "가", "\""] {
        let room = stage.room("writer").await;
        let mut writer = stage.member(0, &room, &room.token).await;
        for length in [4000, 1, 3999, 2000, 4000, 100, 4000, 4000, 4000, 4000, 4000, 4000, 4000] {
            for _ in 0..3 {
                writer.say(&room.id, &format!("{}x", character.repeat(length - 1))).await;
            }
        }
        let ids = stage.redis.stream_ids(&room.id);
        let mut reader = stage.member(0, &room, "reader").await;
        for since in [None, Some("1-1"), Some(&*ids[0]), Some(&*ids[ids.len() - 2])] {
            let token = &reader.seen[0]["token"];
            let join = json!({ "t": "join", "roomId": room.id, "token": token, "since": since });
            let joined = reader.try_join(join).await;
            let size = joined.to_string().len();
            assert!(size <= MOST, "{size} bytes of {character:?} since {since:?}");
            let got = ids_of(joined["messages"].as_array().unwrap());
            assert_eq!(got, ids[ids.len() - got.len()..], "the newest");
            let next = ids.len().checked_sub(got.len() + 1);
            let is_all = match since.and_then(|since| ids.iter().position(|id| id == since)) {
                Some(at) => next == Some(at),
                None => next.is_none(),
            };
            assert_eq!(joined["more"], !is_all, "{} of {} messages", got.len(), ids.len());
            assert!(is_all || size + 25_000 > MOST, "{size} bytes, and one more would have fit");
        }
    }
}

/// Reads a connection at this many bytes per second, over a network with small packets.
async fn read_slowly(stage: &Stage, join: &Value, a_second: usize) -> (Vec<Value>, bool) {
    const EVERY: Duration = Duration::from_millis(20);
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(8192).unwrap();
    SockRef::from(&tcp).set_tcp_mss(1400).unwrap();
    let addr = stage.nodes[0].addr();
    let stream = tcp.connect(addr).await.unwrap();
    let (mut socket, _) = client_async(format!("ws://{addr}/ws"), stream).await.unwrap();
    socket.send(Message::text(join.to_string())).await.unwrap();
    let mut stream = socket.into_inner();
    let (mut bytes, mut ticks) = (Vec::new(), tokio::time::interval(EVERY));
    let ended = loop {
        ticks.tick().await;
        let mut space = vec![0; a_second * EVERY.as_millis() as usize / 1000];
        match within(DEADLINE, "something to read", stream.read(&mut space)).await {
            Ok(0) | Err(_) => break true,
            Ok(length) => bytes.extend_from_slice(&space[..length]),
        }
        if frames_in(&bytes).last().is_some_and(is_the_end) {
            break false;
        }
    };
    (frames_in(&bytes), ended)
}

/// Whether a frame contains the last message, possibly in the answer to a join.
fn is_the_end(frame: &Value) -> bool {
    let last = frame["messages"].as_array().map_or(Some(frame), |messages| messages.last());
    last.is_some_and(|message| message["text"] == "the end")
}

/// The complete text frames in a server's output.
fn frames_in(mut bytes: &[u8]) -> Vec<Value> {
    let mut frames = Vec::new();
    while let [0x81, short, ..] = *bytes {
        let (length, start) = match short {
            126 if bytes.len() >= 4 => (u16::from_be_bytes([bytes[2], bytes[3]]).into(), 4),
            127 if bytes.len() >= 10 => {
                (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10)
            }
            126 | 127 => break,
            short => (usize::from(short), 2),
        };
        let Some(text) = bytes.get(start..start + length) else { break };
        frames.push(serde_json::from_slice(text).unwrap());
        bytes = &bytes[start + length..];
    }
    frames
}

/// The missed and the new messages are more than the client can read: each connection makes
/// progress, and when the room is quiet the client gets the rest.
#[tokio::test]
async fn one_that_reads_slowly_but_steadily_gets_somewhere() {
    let settings = [("MESSAGES_PER_SECOND", "10000"), ("OUTBOX_BYTES", "131072")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("writer").await;
    let token = stage.guest(&room, "reader").await;
    let mut writer = stage.member(0, &room, &room.token).await;
    let text = "가".repeat(4000);
    for _ in 0..200 {
        writer.say(&room.id, &text).await;
    }
    let say_more = async {
        for _ in 0..100 {
            writer.say(&room.id, &text).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        writer.say(&room.id, "the end").await;
    };
    let read_all = async {
        let (mut since, mut connections) = ("1-1".to_owned(), 0);
        loop {
            let join = json!({ "t": "join", "roomId": room.id, "token": token, "since": since });
            let (frames, was_cut_off) = read_slowly(&stage, &join, 400_000).await;
            assert_eq!(frames[0]["t"], "joined", "the answer came as a whole");
            let mut messages = frames[0]["messages"].as_array().unwrap().clone();
            messages.extend(frames[1..].iter().filter(|frame| frame["t"] == "msg").cloned());
            let last = ids_of(&messages).pop().expect("something new");
            assert_ne!(last, since);
            since = last;
            connections += 1;
            let is_last = messages.last().unwrap()["text"] == "the end";
            if is_last || !was_cut_off {
                return connections;
            }
        }
    };
    let ((), connections) = tokio::join!(say_more, read_all);
    assert!(connections < 20, "{connections} connections");
}
