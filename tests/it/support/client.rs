//! A WebSocket client with assertions: it checks that every frame has the contract's shape, and
//! keeps it.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{
    SinkExt, StreamExt,
    stream::{self, SplitSink, SplitStream},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc},
    task::JoinSet,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use super::{
    shape::{check_frame, ids_of},
    time::{DEADLINE, within},
};

/// Frames that may wait for the test to read them: more than any test sends, so that a client is
/// never a slow reader by accident.
const UNREAD_MAX: usize = 1 << 16;

type Sink = SplitSink<WebSocketStream<TcpStream>, Message>;

/// What the socket delivers.
enum Incoming {
    Frame(Value),
    /// The close code, if there was one; without a close frame `None`.
    Closed(Option<u16>),
}

/// One connection. Dropping it cuts the connection without a close frame, as a crash would.
pub struct Client {
    sink: Arc<Mutex<Sink>>,
    incoming: mpsc::Receiver<Incoming>,
    tasks: JoinSet<()>,
    checks_shape: bool,
    /// every frame so far, oldest first
    pub seen: Vec<Value>,
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, &[]).await.expect("the upgrade is accepted")
    }

    /// Connects with further headers, such as `Accept-Language` or `Origin`.
    pub async fn connect_with(
        addr: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{addr}/ws").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let upgrade = within(DEADLINE, "the upgrade", client_async(request, stream));
        let (sink, stream) = upgrade.await?.0.split();
        let (sender, incoming) = mpsc::channel(UNREAD_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(read(stream, sender));
        let sink = Arc::new(Mutex::new(sink));
        Ok(Self { sink, incoming, tasks, checks_shape: true, seen: Vec::new() })
    }

    /// For tests that publish frames of their own.
    pub fn accept_any_frame(&mut self) {
        self.checks_shape = false;
    }

    /// Sends a heartbeat at once and then every `every`, as a real client does.
    pub fn keep_alive(&mut self, every: Duration) {
        let sink = Arc::clone(&self.sink);
        self.tasks.spawn(async move {
            let mut ticks = tokio::time::interval(every);
            loop {
                ticks.tick().await;
                let ping = Message::text(json!({ "t": "ping" }).to_string());
                if sink.lock().await.send(ping).await.is_err() {
                    return;
                }
            }
        });
    }

    pub async fn send(&self, frame: Value) {
        self.send_raw(Message::text(frame.to_string())).await.expect("the connection is open");
    }

    pub async fn send_raw(&self, message: Message) -> Result<(), tungstenite::Error> {
        self.sink.lock().await.send(message).await
    }

    /// Sends several frames at once, without a pause between them.
    pub async fn send_all(&self, messages: &[Message]) -> Result<(), tungstenite::Error> {
        let mut messages = stream::iter(messages.iter().cloned().map(Ok));
        self.sink.lock().await.send_all(&mut messages).await
    }

    /// Closes as a browser does when a tab is closed.
    pub async fn close(self) {
        let _ = self.send_raw(Message::Close(None)).await;
    }

    /// The next frame of any kind.
    pub async fn next(&mut self) -> Value {
        match self.receive(DEADLINE).await {
            Incoming::Frame(frame) => frame,
            Incoming::Closed(code) => panic!("closed with {code:?} after {}", self.recent()),
        }
    }

    /// The next frame, which must be of this kind.
    pub async fn expect(&mut self, t: &str) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["t"], t, "{frame} after {}", self.recent());
        frame
    }

    /// The next frame, which must be an error with this code.
    pub async fn expect_error(&mut self, code: &str) -> Value {
        let frame = self.expect("error").await;
        assert_eq!(frame["code"], code, "{frame}");
        frame
    }

    /// The first frame from now on that matches.
    pub async fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let search = async {
            loop {
                let frame = self.next().await;
                if is_it(&frame) {
                    return frame;
                }
            }
        };
        match tokio::time::timeout(DEADLINE, search).await {
            Ok(frame) => frame,
            Err(_) => panic!("no {what}; the latest frames: {}", self.recent()),
        }
    }

    /// The first frame of this kind from now on.
    pub async fn wait_for_kind(&mut self, t: &str) -> Value {
        self.wait_for(t, |frame| frame["t"] == t).await
    }

    /// Joins and returns the answer, even an error.
    pub async fn try_join(&mut self, join: Value) -> Value {
        self.send(join).await;
        self.wait_for("answer to join", |frame| frame["t"] == "joined" || frame["t"] == "error")
            .await
    }

    /// Joins and returns `joined`.
    pub async fn join(&mut self, room: &str, token: &str) -> Value {
        self.joined(json!({ "t": "join", "roomId": room, "token": token })).await
    }

    /// Joins after the message `since` and returns `joined`.
    pub async fn resume(&mut self, room: &str, token: &str, since: &str) -> Value {
        self.joined(json!({ "t": "join", "roomId": room, "token": token, "since": since })).await
    }

    async fn joined(&mut self, join: Value) -> Value {
        let answer = self.try_join(join).await;
        assert_eq!(answer["t"], "joined", "{answer}");
        answer
    }

    /// Sends a message and returns the acknowledgement.
    pub async fn say(&mut self, room: &str, text: &str) -> Value {
        let key = format!("{:032x}", rand::random::<u128>());
        self.say_once(room, text, &key).await
    }

    /// Sends a message with this key and returns its acknowledgement.
    pub async fn say_once(&mut self, room: &str, text: &str, key: &str) -> Value {
        self.send(json!({ "t": "msg", "roomId": room, "text": text, "key": key })).await;
        let answer = self.wait_for("acknowledgement", |frame| frame["key"] == key).await;
        assert_eq!(answer["t"], "msg", "{answer}");
        answer
    }

    /// All frames before the answer to a ping that is sent now. Cannot be used with
    /// [`keep_alive`](Self::keep_alive), whose pongs look the same.
    pub async fn until_pong(&mut self) -> Vec<Value> {
        let before = self.seen.len();
        self.send(json!({ "t": "ping" })).await;
        self.wait_for_kind("pong").await;
        self.seen[before..self.seen.len() - 1].to_vec()
    }

    /// Waits for the close and checks its code; frames before it are kept in `seen`.
    pub async fn expect_closed(&mut self, code: u16) {
        let closed = self.closed().await;
        assert_eq!(closed, Some(code), "after {}", self.recent());
    }

    /// Waits for the end of the connection.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Incoming::Closed(code) = self.receive(DEADLINE).await {
                return code;
            }
        }
    }

    /// Whether the connection is still open, according to what has arrived.
    pub fn is_open(&self) -> bool {
        !self.incoming.is_closed()
    }

    /// The ids of all messages of a room that came live, in the order they came.
    pub fn message_ids(&self, room: &str) -> Vec<String> {
        let of_room = |frame: &&Value| frame["t"] == "msg" && frame["roomId"] == room;
        ids_of(self.seen.iter().filter(of_room))
    }

    /// Kinds and names of the joins and leaves seen, in the order they came.
    pub fn comings_and_goings(&self) -> Vec<(String, String)> {
        let text = |frame: &Value, field: &str| frame[field].as_str().unwrap().to_owned();
        let moves = |frame: &&Value| frame["t"] == "user_joined" || frame["t"] == "user_left";
        let pair = |frame: &Value| (text(frame, "t"), text(frame, "userId"));
        self.seen.iter().filter(moves).map(pair).collect()
    }

    /// The members of the room, as this client knows them from `joined` and later frames. Panics if
    /// a present member joins, or an absent one leaves.
    pub fn view(&self, room: &str) -> BTreeSet<String> {
        let mut here = BTreeSet::new();
        for frame in self.seen.iter().filter(|frame| frame["roomId"] == room) {
            let user = frame["userId"].as_str().unwrap_or_default();
            match frame["t"].as_str().unwrap() {
                "joined" | "members" => {
                    let Some(names) = frame["members"].as_array() else { continue };
                    let names = names.iter();
                    here = names.map(|name| name.as_str().unwrap().to_owned()).collect();
                }
                "user_joined" => assert!(here.insert(user.to_owned()), "{user} joins twice"),
                "user_left" => assert!(here.remove(user), "{user} leaves but is not here"),
                _ => {}
            }
        }
        here
    }

    async fn receive(&mut self, deadline: Duration) -> Incoming {
        let Ok(incoming) = tokio::time::timeout(deadline, self.incoming.recv()).await else {
            panic!("nothing came for {deadline:?} after {}", self.recent());
        };
        let incoming = incoming.unwrap_or(Incoming::Closed(None));
        if let Incoming::Frame(frame) = &incoming {
            if self.checks_shape {
                check_frame(frame);
            }
            self.seen.push(frame.clone());
        }
        incoming
    }

    fn recent(&self) -> String {
        let start = self.seen.len().saturating_sub(8);
        self.seen[start..].iter().map(|frame| format!("\n  {frame}")).collect()
    }
}

/// Passes on what arrives until the connection ends.
async fn read(mut stream: SplitStream<WebSocketStream<TcpStream>>, sender: mpsc::Sender<Incoming>) {
    let mut code = None;
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Text(text) => {
                let frame = serde_json::from_str(&text).expect("frames are JSON");
                let _ = sender.send(Incoming::Frame(frame)).await;
            }
            Message::Close(close) => code = close.map(|close| close.code.into()),
            other => assert!(other.is_ping() || other.is_pong(), "only text is sent: {other:?}"),
        }
    }
    let _ = sender.send(Incoming::Closed(code)).await;
}
