//! A flood of every kind, from its own address. What the node answers is sent at a limited rate,
//! because both ends run on this machine; what the node does not read is sent as fast as it is
//! accepted.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// The source address. The other users have another one.
pub const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Idle sockets, half of them with an endless header.
pub const HALF_OPEN: usize = 1000;
/// Bytes of a frame that is announced, and sent as far as the node accepts it.
const HUGE: usize = 20 << 20;
/// Invalid frames of one connection.
const GARBAGE: usize = 250;
/// Connections that send garbage at the same time, each replaced when it ends.
const SPOILERS: usize = 8;
/// Sockets per kind that repeat the same bytes as fast as they are accepted.
const EAGER_OF_A_KIND: usize = 7;
/// Bytes of each of their writes.
const EAGER_BYTES: usize = 1 << 14;
/// Wrong tokens of one connection.
const GUESSES: usize = 25;
/// Maximum time until the node answers, or closes the connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// What these sockets send: requests on a keep-alive connection, and frames of every kind: a text,
/// a ping, a pong, a binary one, an empty one, and fragments without end.
const EAGER: [&[u8]; 9] = [
    b"GET /healthz HTTP/1.1\r\nhost: node\r\n\r\n",
    b"GET /readyz HTTP/1.1\r\nhost: node\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nhost: node\r\n\r\n",
    b"\x81\x8c\0\0\0\0{\"t\":\"ping\"}",
    b"\x89\x84\0\0\0\0ping",
    b"\x8a\x80\0\0\0\0",
    b"\x82\x81\0\0\0\0x",
    b"\x89\x80\0\0\0\0",
    b"\x01\x80\0\0\0\0\0\x80\0\0\0\0\x80\x81\0\0\0\0[",
];

/// A flood; ends when it is dropped.
pub struct Flood {
    tasks: JoinSet<()>,
    /// Number of invalid frames so far.
    pub garbage: Arc<AtomicUsize>,
}

impl Flood {
    /// Begins to flood a node, which has this room.
    pub fn start(node: SocketAddr, room: &str) -> Self {
        let mut flood = Self { tasks: JoinSet::new(), garbage: Arc::default() };
        let tasks = &mut flood.tasks;
        for number in 0..HALF_OPEN {
            tasks.spawn(again(5, async move || hold(node, number % 2 == 0).await));
        }
        for _ in 0..SPOILERS {
            let garbage = flood.garbage.clone();
            tasks.spawn(again(20, async move || spoil(node, &garbage).await));
        }
        for frames in EAGER {
            for _ in 0..EAGER_OF_A_KIND {
                tasks.spawn(again(5, async move || rush(node, frames).await));
            }
        }
        tasks.spawn(again(5, async move || oversize(node).await));
        let room = room.to_owned();
        tasks.spawn(again(20, async move || guess(node, &room).await));
        tasks.spawn(again(20, async move || crowd(node).await));
        tasks.spawn(again(100, async move || {
            ask(node, "/api/rooms/nosuchroom00", "").await;
        }));
        tasks.spawn(again(100, async move || {
            ask(node, "/api/rooms", r#"{"creatorName":"flood"}"#).await;
        }));
        flood
    }
}

/// Does it so many times a second, one after the other.
async fn again(a_second: u32, act: impl AsyncFn()) {
    let mut ticks = interval(Duration::from_secs(1) / a_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The node may hang up whenever it likes.
        let _ = timeout(PATIENCE, act()).await;
    }
}

async fn connect(node: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((FROM, 0).into()).ok()?;
    socket.connect(node).await.ok()
}

async fn websocket(node: SocketAddr) -> Option<WebSocketStream<TcpStream>> {
    let stream = connect(node).await?;
    Some(client_async(format!("ws://{node}/ws"), stream).await.ok()?.0)
}

/// Holds a socket until the node hangs up: in silence, or with a header a byte at a time.
async fn hold(node: SocketAddr, speaks: bool) {
    let Some(mut socket) = connect(node).await else { return };
    if !speaks {
        let _ = socket.read(&mut [0]).await;
        return;
    }
    let mut header = b"GET /ws HTTP/1.1\r\nx-slow: ".to_vec();
    while socket.write_all(&header).await.is_ok() {
        header = b"a".to_vec();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Sends invalid frames at once, but not as many in a row as the node closes the connection for; at
/// the end, that many.
async fn spoil(node: SocketAddr, count: &AtomicUsize) {
    let Some(mut socket) = websocket(node).await else { return };
    for number in 0..GARBAGE {
        let garbage = match number % 3 {
            0 => Message::text("{\"t\":"),
            1 => Message::binary(vec![0xff; 100]),
            _ => Message::text("[".repeat(1000)),
        };
        let _ = socket.feed(garbage).await;
        if number % 9 == 8 && number < GARBAGE - 20 {
            let _ = socket.feed(Message::text("{\"t\":\"ping\"}")).await;
        }
    }
    if socket.flush().await.is_ok() {
        count.fetch_add(GARBAGE, Ordering::Relaxed);
    }
    while let Some(Ok(_)) = socket.next().await {}
}

/// Sends the same bytes repeatedly, as fast as they are accepted, and reads the answers.
async fn rush(node: SocketAddr, what: &[u8]) {
    let socket = match what.starts_with(b"GET") {
        true => connect(node).await,
        false => websocket(node).await.map(WebSocketStream::into_inner),
    };
    let Some(mut socket) = socket else { return };
    let (mut reads, mut writes) = socket.split();
    let burst = what.repeat(EAGER_BYTES / what.len());
    let mut answers = vec![0; EAGER_BYTES];
    tokio::select! {
        () = async { while writes.write_all(&burst).await.is_ok() {} } => {}
        () = async { while reads.read(&mut answers).await.is_ok_and(|length| length > 0) {} } => {}
    }
}

/// A frame that is far too large.
async fn oversize(node: SocketAddr) {
    let Some(mut socket) = websocket(node).await else { return };
    let _ = socket.send(Message::binary(vec![0; HUGE])).await;
}

/// Wrong tokens.
async fn guess(node: SocketAddr, room: &str) {
    let Some(mut socket) = websocket(node).await else { return };
    for number in 0..GUESSES {
        let token = format!("lr_YWxpY2U.{number:022}");
        let join = json!({ "t": "join", "roomId": room, "token": token }).to_string();
        let _ = socket.send(Message::text(join)).await;
    }
    for _ in 0..GUESSES {
        let _ = socket.next().await;
    }
}

/// Joins and leaves its own room repeatedly.
async fn crowd(node: SocketAddr) {
    let Some(answer) = ask(node, "/api/rooms", r#"{"creatorName":"flood"}"#).await else { return };
    let Some((_, rest)) = answer.split_once("\"roomId\":\"") else { return };
    let room = rest.split('"').next().unwrap_or_default();
    let Some(mut socket) = websocket(node).await else { return };
    for number in 0..10 {
        let join = json!({ "t": "join", "roomId": room, "token": format!("guest {number}") });
        let leave = json!({ "t": "leave", "roomId": room });
        for frame in [join, leave] {
            let _ = socket.send(Message::text(frame.to_string())).await;
        }
        let _ = socket.next().await;
    }
}

/// Sends one request, with a body if there is one, on its own connection.
async fn ask(node: SocketAddr, path: &str, body: &str) -> Option<String> {
    let mut socket = connect(node).await?;
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {node}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}
