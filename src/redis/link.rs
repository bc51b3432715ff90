//! A connection to one primary of Redis Cluster, in RESP3: pipelined commands, and sharded publications.
//!
//! fred serves all shards by one task, knows one channel in an SSUBSCRIBE, says nothing of channels that Redis took
//! away, and hangs up on CLUSTERDOWN. So there is this: one task for each connection, each answer as Redis gave it, and
//! a word for each channel that is gone. Nothing is sent twice, and nothing waits for a connection.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use fred::{
    error::{Error as RedisError, ErrorKind},
    prelude::{FredResult, Value},
    types::{Message as Payload, MessageKind, config::Server},
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, broadcast, mpsc, oneshot},
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_util::sync::CancellationToken;

use super::{
    EVENT_BUFFER, SUBSCRIPTION_BUFFER,
    resp::{Frame, command, decode},
};

/// Wait between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(50);
/// Maximum number of commands that wait to be written. Further ones fail at once.
const COMMANDS: usize = 20_000;
/// Commands that are written together at most.
const WRITTEN_AT_ONCE: usize = 256;
/// Free space for a read.
const READ: usize = 16 * 1024;

/// How the nodes of a cluster are reached.
#[derive(Clone)]
pub(super) struct Way {
    /// The user and its password.
    pub login: Option<(String, String)>,
    pub tls: Option<TlsConnector>,
    /// How long to wait for a connection, and for an answer.
    pub timeout: Duration,
}

/// The handle on one connection; cheap to clone.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    server: Server,
    timeout: Duration,
    requests: mpsc::Sender<Request>,
    is_connected: AtomicBool,
    drop: Notify,
    payloads: broadcast::Sender<Payload>,
    gone: broadcast::Sender<String>,
    reconnects: broadcast::Sender<Server>,
    errors: broadcast::Sender<(RedisError, Option<Server>)>,
}

struct Request {
    text: Bytes,
    waiting: Waiting,
}

/// What waits for an answer.
struct Waiting {
    kind: Kind,
    answer: oneshot::Sender<FredResult<Value>>,
}

enum Kind {
    Command,
    /// Redis confirms each of so many channels, or answers with one error.
    Subscribe(usize),
    /// Redis confirms each of these channels.
    Unsubscribe(HashSet<String>),
}

impl Link {
    /// Starts to connect, and connects again and again until `stop`. The task has to be spawned.
    pub fn new(
        server: Server,
        way: Way,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (requests, wanted) = mpsc::channel(COMMANDS);
        let link = Self(Arc::new(Inner {
            server,
            timeout: way.timeout,
            requests,
            is_connected: AtomicBool::new(false),
            drop: Notify::new(),
            payloads: broadcast::Sender::new(SUBSCRIPTION_BUFFER),
            gone: broadcast::Sender::new(SUBSCRIPTION_BUFFER),
            reconnects: broadcast::Sender::new(EVENT_BUFFER),
            errors: broadcast::Sender::new(EVENT_BUFFER),
        }));
        (link.clone(), link.run(way, wanted, stop))
    }

    /// Runs one command.
    ///
    /// # Errors
    /// Redis's own, there is no connection, or no answer in time. If the connection broke meanwhile, the command may
    /// have run.
    pub async fn call(&self, words: &[&[u8]]) -> FredResult<Value> {
        self.request(command(words), Kind::Command).await
    }

    /// Subscribes to sharded channels of one slot, and waits until Redis has confirmed it.
    ///
    /// # Errors
    /// Redis's own, such as MOVED, or there is no connection.
    pub async fn subscribe(&self, channels: &[String]) -> FredResult<()> {
        self.request(about("SSUBSCRIBE", channels), Kind::Subscribe(channels.len()))
            .await
            .map(|_| ())
    }

    /// Ends the subscription to channels of one slot.
    ///
    /// # Errors
    /// As [`Link::subscribe`].
    pub async fn unsubscribe(&self, channels: &[String]) -> FredResult<()> {
        let kind = Kind::Unsubscribe(channels.iter().cloned().collect());
        self.request(about("SUNSUBSCRIBE", channels), kind).await.map(|_| ())
    }

    async fn request(&self, text: Bytes, kind: Kind) -> FredResult<Value> {
        if !self.is_connected() {
            return Err(no_connection());
        }
        let (answer, answered) = oneshot::channel();
        let request = Request { text, waiting: Waiting { kind, answer } };
        let full = |_| RedisError::new(ErrorKind::Backpressure, "too many commands wait");
        self.0.requests.try_send(request).map_err(full)?;
        match timeout(self.0.timeout, answered).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(no_connection())),
            Err(_) => Err(no_answer()),
        }
    }

    pub fn is_connected(&self) -> bool {
        self.0.is_connected.load(Ordering::Acquire)
    }

    /// Closes the connection; another one is made at once.
    pub fn reconnect(&self) {
        self.0.drop.notify_one();
    }

    /// What is published on the channels.
    pub fn payloads(&self) -> broadcast::Receiver<Payload> {
        self.0.payloads.subscribe()
    }

    /// Channels that Redis took away, because their slot is no longer in its shard.
    pub fn gone(&self) -> broadcast::Receiver<String> {
        self.0.gone.subscribe()
    }

    /// Each connection that was made.
    pub fn reconnects(&self) -> broadcast::Receiver<Server> {
        self.0.reconnects.subscribe()
    }

    /// Why connections failed or ended.
    pub fn errors(&self) -> broadcast::Receiver<(RedisError, Option<Server>)> {
        self.0.errors.subscribe()
    }

    async fn run(self, way: Way, mut wanted: mpsc::Receiver<Request>, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                let error = match connect(&self.0.server, &way).await {
                    Ok(stream) => self.serve(stream, &mut wanted).await,
                    Err(error) => error,
                };
                // It fails if nobody listens.
                let _ = self.0.errors.send((error, Some(self.0.server.clone())));
                tokio::time::sleep(RECONNECT).await;
            }
        })
        .await;
        self.0.is_connected.store(false, Ordering::Release);
    }

    /// Serves one connection until it ends. Returns why.
    async fn serve(
        &self,
        stream: Box<dyn Stream>,
        wanted: &mut mpsc::Receiver<Request>,
    ) -> RedisError {
        let (reader, writer) = tokio::io::split(stream);
        let pending = Mutex::new(VecDeque::new());
        self.0.is_connected.store(true, Ordering::Release);
        let _ = self.0.reconnects.send(self.0.server.clone());
        let error = tokio::select! {
            error = self.read(reader, &pending) => error,
            error = write(writer, wanted, &pending) => error,
            () = self.0.drop.notified() => RedisError::new_canceled(),
        };
        self.0.is_connected.store(false, Ordering::Release);
        // Nobody knows whether these ran.
        while let Ok(request) = wanted.try_recv() {
            pending.lock().push_back(request.waiting);
        }
        for waiting in pending.into_inner() {
            let _ = waiting.answer.send(Err(error.clone()));
        }
        error
    }

    async fn read(
        &self,
        mut reader: impl AsyncRead + Unpin,
        pending: &Mutex<VecDeque<Waiting>>,
    ) -> RedisError {
        let mut buffer = BytesMut::new();
        loop {
            loop {
                match decode(&mut buffer) {
                    Ok(Some(Frame::Answer(answer))) => settle(pending, answer),
                    Ok(Some(Frame::Push(push))) => self.push(pending, push),
                    Ok(None) => break,
                    Err(error) => return error,
                }
            }
            buffer.reserve(READ);
            match reader.read_buf(&mut buffer).await {
                Ok(0) => return no_connection(),
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
    }

    /// What comes without being an answer.
    fn push(&self, pending: &Mutex<VecDeque<Waiting>>, push: Vec<Value>) {
        let mut words = push.into_iter();
        let kind = words.next().and_then(Value::into_string).unwrap_or_default();
        let Some(Value::String(channel)) = words.next() else { return };
        match &*kind {
            "smessage" => {
                let value = words.next().unwrap_or(Value::Null);
                let (kind, server) = (MessageKind::SMessage, self.0.server.clone());
                let _ = self.0.payloads.send(Payload { channel, value, kind, server });
            }
            "ssubscribe" => {
                confirm(pending, &channel);
            }
            "sunsubscribe" if !confirm(pending, &channel) => {
                let _ = self.0.gone.send(channel.to_string());
            }
            _ => {}
        }
    }
}

/// Gives the first that waits its answer.
fn settle(pending: &Mutex<VecDeque<Waiting>>, answer: FredResult<Value>) {
    if let Some(waiting) = pending.lock().pop_front() {
        // It fails if the caller has given up.
        let _ = waiting.answer.send(answer);
    }
}

/// Counts a confirmation of a channel. `false` if the first that waits does not wait for it.
fn confirm(pending: &Mutex<VecDeque<Waiting>>, channel: &str) -> bool {
    let mut waiting = pending.lock();
    let is_done = match waiting.front_mut().map(|first| &mut first.kind) {
        Some(Kind::Subscribe(left)) => {
            *left = left.saturating_sub(1);
            *left == 0
        }
        Some(Kind::Unsubscribe(channels)) => {
            if !channels.remove(channel) {
                return false;
            }
            channels.is_empty()
        }
        _ => return false,
    };
    drop(waiting);
    if is_done {
        settle(pending, Ok(Value::Null));
    }
    true
}

/// Writes what is wanted, as much at once as there is.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    wanted: &mut mpsc::Receiver<Request>,
    pending: &Mutex<VecDeque<Waiting>>,
) -> RedisError {
    let (mut requests, mut text) = (Vec::new(), BytesMut::new());
    while wanted.recv_many(&mut requests, WRITTEN_AT_ONCE).await > 0 {
        text.clear();
        {
            let mut pending = pending.lock();
            for request in requests.drain(..) {
                text.extend_from_slice(&request.text);
                pending.push_back(request.waiting);
            }
        }
        let written = async {
            writer.write_all(&text).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return error.into();
        }
    }
    no_connection()
}

/// A connection, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Runs one command on a connection of its own.
///
/// # Errors
/// Redis's own, or it is out of reach.
pub(super) async fn ask(server: &Server, way: &Way, words: &[&[u8]]) -> FredResult<Value> {
    let asked = async {
        let mut stream = connect(server, way).await?;
        call(&mut stream, words).await
    };
    timeout(way.timeout, asked).await.unwrap_or_else(|_| Err(no_answer()))
}

/// Connects and logs in.
async fn connect(server: &Server, way: &Way) -> FredResult<Box<dyn Stream>> {
    let connecting = async {
        let stream = TcpStream::connect((&*server.host, server.port)).await?;
        stream.set_nodelay(true)?;
        let mut stream: Box<dyn Stream> = match &way.tls {
            None => Box::new(stream),
            Some(tls) => {
                let unnamed =
                    |_| RedisError::new(ErrorKind::Tls, "no certificate can have this name");
                let name = ServerName::try_from(server.host.to_string()).map_err(unnamed)?;
                Box::new(tls.connect(name, stream).await?)
            }
        };
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some((user, password)) = &way.login {
            hello.extend([b"AUTH".as_slice(), user.as_bytes(), password.as_bytes()]);
        }
        call(&mut stream, &hello).await?;
        Ok(stream)
    };
    timeout(way.timeout, connecting).await.unwrap_or_else(|_| Err(no_answer()))
}

/// Writes one command, and reads until its answer.
async fn call(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    words: &[&[u8]],
) -> FredResult<Value> {
    stream.write_all(&command(words)).await?;
    stream.flush().await?;
    let mut buffer = BytesMut::new();
    loop {
        match decode(&mut buffer)? {
            Some(Frame::Answer(answer)) => return answer,
            Some(Frame::Push(_)) => {}
            None if stream.read_buf(&mut buffer).await? == 0 => return Err(no_connection()),
            None => {}
        }
    }
}

fn about(name: &str, channels: &[String]) -> Bytes {
    let words = [name].into_iter().chain(channels.iter().map(String::as_str));
    command(&words.map(str::as_bytes).collect::<Vec<_>>())
}

fn no_connection() -> RedisError {
    RedisError::new(ErrorKind::IO, "no connection")
}

fn no_answer() -> RedisError {
    RedisError::new(ErrorKind::Timeout, "Request timed out.")
}
