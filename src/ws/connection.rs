//! One connection: reads frames, runs the requests of the client, and writes what the socket did
//! not accept at once.
//!
//! One task does all three. Requests that need Redis run one after the other, in the order of the
//! frames, concurrently with reading and writing, so a ping is answered even when Redis is slow.
//! One read takes a bounded number of bytes, and then other connections have their turn. The number
//! of frames per second is limited too; frames over the limit stay in the socket.

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    ops::ControlFlow,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    io::Interest,
    net::TcpStream,
    task::yield_now,
    time::{Sleep, sleep, timeout},
};
use tracing::{debug, info};

use super::{
    client::{Client, Echo, Operation, Request},
    pace::{OverBudget, Pace},
};
use crate::{
    app::App,
    error::Error,
    i18n::Language,
    outbox::{Outbox, OutboxLimits, Wire},
    problem::Problem,
    protocol::{
        BadFrame, ClientFrame, ServerFrame,
        close::CloseReason,
        codec::{self, Decoder, Incoming},
    },
};

/// Frames that may wait for their turn; with so many waiting, the socket is not read.
const PENDING_MAX: usize = 64;
/// Bytes of frames that may have been read since nothing waited; with so many, the socket is not read
/// either.
const PENDING_BYTES: usize = 256 * 1024;
/// Bytes that are read at once, on the stack: a connection keeps no buffer of its own.
const READ_AT_ONCE: usize = 4096;
/// How long the client may take to answer a close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// How long one that is cut off may take for the rest of the frame that it was reading.
const SLOWEST: Duration = Duration::from_secs(60);
/// How long one that sent too much and has closed its end is still read.
const REST_PATIENCE: Duration = Duration::from_secs(5);
/// How long what a client asked for before its end may take.
const FINISH_PATIENCE: Duration = Duration::from_secs(3);
/// The same when the node leaves: what takes longer is sent again by the client, elsewhere.
const LEAVING_PATIENCE: Duration = Duration::from_secs(1);
/// Readings that a connection may still have when the node leaves.
const LAST_READINGS: usize = 64;

/// What a connection's task owns.
pub struct Connection {
    socket: Arc<TcpStream>,
    decoder: Decoder,
    reader: FrameReader,
    /// Until when nothing is read, where the connection has spent its frames. Boxed, as few have.
    held: Option<Pin<Box<Sleep>>>,
}

/// What becomes of the client's frames.
struct FrameReader {
    client: Arc<Client>,
    pending: VecDeque<Request>,
    /// Bytes of the frames that were added to them since there were none.
    pending_bytes: usize,
    bad_frames: usize,
    pace: Pace,
    /// Whether it has spent its frames.
    is_spent: bool,
    /// How the connection ends, once a frame has said so.
    end: Option<End>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client is gone, or will say nothing more.
    Gone,
    /// The client closes, with this code if any.
    Closes(Option<u16>),
    /// The node closes.
    Close(CloseReason),
}

impl Connection {
    /// A connection that was just upgraded.
    pub fn open(app: &App, language: Language, ip: IpAddr, socket: TcpStream) -> Self {
        let settings = &app.settings;
        let limits = OutboxLimits { frames: settings.outbox_frames, bytes: settings.outbox_bytes };
        let socket = Arc::new(socket);
        let outbox =
            Outbox::new(app.registry.next_id(), language, limits, Wire::Socket(socket.clone()));
        let reader = FrameReader {
            client: Client::new(app, Arc::new(outbox), ip),
            pending: VecDeque::new(),
            pending_bytes: 0,
            bad_frames: 0,
            pace: Pace::default(),
            is_spent: false,
            end: None,
        };
        Self { socket, decoder: Decoder::new(settings.max_body_bytes), reader, held: None }
    }

    /// Its id, unique over all nodes.
    pub fn id(&self) -> &str {
        self.reader.client.outbox.id()
    }

    /// Serves the connection until it ends, then takes it out of its rooms. `early` is what came
    /// right behind the request for the upgrade.
    pub async fn run(mut self, early: Vec<u8>) {
        let client = self.reader.client.clone();
        debug!("opened");
        let registered = client.app.registry.register(client.outbox.clone());
        let mut operation: Option<Operation> = None;
        let served = async {
            let begun = self.take(&mut { early });
            let end = match begun {
                Err(end) => end,
                Ok(_) => self.serve(&mut operation).await,
            };
            // Boxed, as all that seldom runs: a connection is as large as the largest thing it waits
            // for.
            Box::pin(self.finish(&mut operation, end)).await;
            end
        };
        let served = AssertUnwindSafe(served).catch_unwind().await;
        let end = served.unwrap_or_else(|_panic| {
            // Whatever it was, what was under way is not to be trusted; the rooms have to be left.
            operation = None;
            End::Gone
        });
        Box::pin(self.close(end)).await;
        client.outbox.hang_up();
        drop(self);
        Box::pin(client.end(operation)).await;
        drop(registered);
        debug!("ended");
    }

    async fn serve(&mut self, operation: &mut Option<Operation>) -> End {
        let outbox = self.reader.client.outbox.clone();
        loop {
            if operation.is_none() {
                *operation = self.reader.begin_next();
            }
            let may_read = self.reader.has_room();
            tokio::select! {
                work = outbox.work() => {
                    let rejoins = work.rejoins.into_iter();
                    self.reader.pending.extend(rejoins.map(|(room, at)| Request::Rejoin(room, at)));
                    if let Some(reason) = work.close {
                        return End::Close(reason);
                    }
                }
                () = finished(operation) => *operation = None,
                () = self.ready(), if may_read => match self.turn() {
                    Err(end) => return end,
                    // The socket would never say that others are waiting as well.
                    Ok(true) => yield_now().await,
                    Ok(false) => {}
                }
            }
        }
    }

    /// Waits until there is something to take, and the connection may have it taken.
    async fn ready(&mut self) {
        if let Some(held) = &mut self.held {
            held.await;
            self.held = None;
        }
        if !self.decoder.has_more() {
            // Where it fails, reading says so.
            let _ = self.socket.readable().await;
        }
    }

    /// Reads what is there, once, or takes what is left of the last time. Returns whether there may be
    /// more right now.
    ///
    /// # Errors
    /// How the connection ends.
    fn turn(&mut self) -> Result<bool, End> {
        let mut space = [0; READ_AT_ONCE];
        let was_left = self.decoder.has_more();
        let length = if was_left { 0 } else { self.read(&mut space)? };
        let is_left = self.take(&mut space[..length])?;
        if was_left || is_left || length == space.len() {
            self.hold_back()?;
            return Ok(true);
        }
        self.reader.pace.caught_up();
        Ok(false)
    }

    fn read(&self, space: &mut [u8]) -> Result<usize, End> {
        match read_some(&self.socket, space) {
            Ok(0) => Err(End::Gone),
            Ok(length) => Ok(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(End::Gone),
        }
    }

    /// Takes what was read. Returns whether some of it is left for the next time.
    fn take(&mut self, bytes: &mut [u8]) -> Result<bool, End> {
        let Self { decoder, reader, .. } = self;
        reader.is_spent = false;
        let taken = decoder.take(bytes, |incoming| reader.take(incoming));
        taken.map_err(End::Close)?;
        if let Some(end) = reader.end {
            return Err(end);
        }
        if reader.is_spent {
            self.held = Some(Box::pin(sleep(reader.client.frames.pause())));
        }
        Ok(decoder.has_more())
    }

    /// Tells a connection that has spent its frames and sent more, or ends it.
    fn hold_back(&mut self) -> Result<(), End> {
        let FrameReader { client, pace, is_spent, .. } = &mut self.reader;
        if !*is_spent {
            return Ok(());
        }
        let flood_timeout = client.app.settings.flood_timeout;
        let (patience, end) = match is_closed(&self.socket) {
            true => (REST_PATIENCE.min(flood_timeout), End::Gone),
            false => (flood_timeout, End::Close(CloseReason::Flooding)),
        };
        match pace.over_budget(Instant::now(), patience) {
            OverBudget::Tell => client.tell_too_fast(),
            OverBudget::Wait => {}
            OverBudget::CutOff => return Err(end),
        }
        Ok(())
    }

    /// Does what the client asked for before the end, in its order, and has the answers written as
    /// far as they are taken. What is still under way when the patience ends is left in `operation`.
    async fn finish(&mut self, operation: &mut Option<Operation>, end: End) {
        let patience = match end {
            // It cannot be told, and sends again what was not acknowledged.
            End::Close(CloseReason::TooSlow) => return,
            End::Close(CloseReason::Leaving) => LEAVING_PATIENCE,
            _ => FINISH_PATIENCE,
        };
        let client = self.reader.client.clone();
        let obeyed = async {
            if end == End::Close(CloseReason::Leaving) {
                self.read_the_last().await;
            }
            loop {
                if operation.is_none() {
                    *operation = self.reader.begin_next();
                }
                if operation.is_none() {
                    break;
                }
                finished(operation).await;
                *operation = None;
            }
            client.own_messages_delivered().await;
            client.outbox.flushed().await;
        };
        let finished = async {
            tokio::select! {
                () = obeyed => {}
                () = client.outbox.keep_writing() => {}
            }
        };
        let _ = timeout(patience, finished).await;
    }

    /// Takes what the client has sent so far. What it sends from here on is not read, or one that
    /// goes on talking would never be done.
    async fn read_the_last(&mut self) {
        for _ in 0..LAST_READINGS {
            let has_room = self.reader.has_room() && self.held.is_none();
            // How the connection ends is decided already.
            if !has_room || !matches!(self.turn(), Ok(true)) {
                return;
            }
            yield_now().await;
        }
    }

    /// Sends a close frame and waits for the client's, so that it arrives before the socket ends.
    async fn close(&mut self, end: End) {
        let (settings, metrics) = {
            let app = &self.reader.client.app;
            (app.settings.clone(), app.metrics.clone())
        };
        if end == End::Close(CloseReason::TooSlow) {
            self.cut_off(settings.slow_close_timeout).await;
        }
        let (frame, patience, answered) = match end {
            End::Gone => return,
            End::Closes(code) => (codec::close(code, ""), CLOSE_PATIENCE, true),
            End::Close(reason) => {
                let (code, text) = reason.code();
                metrics.closed(code);
                let patience = match reason {
                    CloseReason::TooSlow => settings.slow_close_timeout,
                    _ => CLOSE_PATIENCE,
                };
                (codec::close(Some(code), text), patience, false)
            }
        };
        let goodbye = async {
            self.reader.client.outbox.push_last(frame);
            self.reader.client.outbox.flushed().await;
            if !answered {
                self.until_closed().await;
            }
        };
        // A client that does not answer is dropped.
        let _ = timeout(patience, goodbye).await;
    }

    /// Has what was begun written to its end, however slowly that is read: or one that reads steadily would
    /// be given the same again, and never get any further.
    async fn cut_off(&self, patience: Duration) {
        info!("cut off: it reads too slowly");
        self.reader.client.app.metrics.slow_consumers.inc();
        self.reader.client.outbox.flushed_bit_by_bit(patience, SLOWEST).await;
    }

    /// Reads on until the client closes in turn, or is gone.
    async fn until_closed(&mut self) {
        let (mut space, mut length) = ([0; READ_AT_ONCE], 0);
        loop {
            let mut closed = false;
            let look = |incoming: Incoming<'_>| {
                closed |= matches!(incoming, Incoming::Close(_));
                ControlFlow::Continue(())
            };
            // After a broken frame nothing more is understood: the client's end is awaited.
            let _ = self.decoder.take(&mut space[..length], look);
            if closed {
                return;
            }
            length = match self.read(&mut space) {
                Err(_) => return,
                Ok(length) => length,
            };
            if length == space.len() {
                yield_now().await;
            } else if length == 0 && self.socket.readable().await.is_err() {
                return;
            }
        }
    }
}

impl FrameReader {
    /// Whether more may wait for its turn.
    fn has_room(&self) -> bool {
        self.pending.is_empty()
            || self.pending.len() < PENDING_MAX && self.pending_bytes < PENDING_BYTES
    }

    fn begin_next(&mut self) -> Option<Operation> {
        self.client.begin_next(&mut self.pending)
    }

    /// Takes one frame. Says to stop where the next one has to wait.
    fn take(&mut self, incoming: Incoming<'_>) -> ControlFlow<()> {
        match incoming {
            Incoming::Text(text) => self.take_text(text),
            Incoming::Binary(_) => self.refuse(BadFrame::unreadable(Problem::Binary)),
            Incoming::Part => {}
            Incoming::Ping(payload) => {
                self.client.outbox.note_activity();
                self.client.outbox.push(codec::pong(payload));
            }
            Incoming::Pong => self.client.outbox.note_activity(),
            Incoming::Close(code) => self.end = Some(End::Closes(code)),
        }
        self.is_spent = self.client.frames.spend(1);
        if self.is_spent || self.end.is_some() || !self.has_room() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn take_text(&mut self, text: &str) {
        let silent_for = self.client.outbox.silent_for();
        self.client.outbox.note_activity();
        let proof = self.client.confirm_sessions();
        self.take_frame(text, silent_for);
        // Behind the frame, which does not wait for it.
        self.pending.extend(proof);
    }

    fn take_frame(&mut self, text: &str, silent_for: Duration) {
        let frame = match ClientFrame::parse(text) {
            Ok(frame) => frame,
            Err(bad) => return self.refuse(bad),
        };
        self.bad_frames = 0;
        if let ClientFrame::Ping { status, read, .. } = &frame {
            self.client.outbox.push(ServerFrame::pong());
            let changed = status.is_some_and(|status| self.client.outbox.show(status));
            if !changed && read.is_none() && !self.client.is_urgent(silent_for) {
                return;
            }
        }
        if self.pending.is_empty() {
            self.pending_bytes = 0;
        }
        self.pending_bytes += text.len();
        self.pending.push_back(Request::Frame(frame));
    }

    fn refuse(&mut self, bad: BadFrame) {
        let error = Error::invalid(bad.field, bad.problem);
        self.client.answer_error(&error, &Echo { room_id: bad.room_id, key: bad.key });
        if !bad.unreadable {
            self.bad_frames = 0;
            return;
        }
        self.bad_frames += 1;
        if self.bad_frames >= self.client.app.settings.bad_frames_max {
            self.end = Some(End::Close(CloseReason::Unreadable));
        }
    }
}

/// Whether the client has closed its end, whatever is left to be read.
fn is_closed(socket: &TcpStream) -> bool {
    let ready = socket.ready(Interest::READABLE).now_or_never();
    ready.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed()))
}

/// Reads once. Less than there is space for means that there is no more: saying so spares asking
/// the system again.
fn read_some(socket: &TcpStream, space: &mut [u8]) -> io::Result<usize> {
    let mut last = None;
    let length = socket.try_io(Interest::READABLE, || {
        let length = nix::unistd::read(socket, space)?;
        if length == space.len() {
            return Ok(length);
        }
        last = Some(length);
        Err(io::ErrorKind::WouldBlock.into())
    });
    last.map_or(length, Ok)
}

/// Resolves when the operation is done; never where there is none.
async fn finished(operation: &mut Option<Operation>) {
    match operation {
        Some(operation) => operation.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        rc::Rc,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        task::{LocalSet, spawn_local},
    };

    use super::*;
    use crate::{background::Background, metrics::Metrics, node, settings::Settings};

    /// Bytes of a flood: as much as a socket holds without being read.
    const FLOOD: usize = 64 * READ_AT_ONCE;

    /// Every kind of frame, as a client sends it, masked with zeros.
    fn every_kind() -> Vec<(&'static str, Vec<u8>)> {
        let masked = |first: u8, payload: &[u8]| {
            [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
        };
        vec![
            ("text", masked(0x81, br#"{"t":"ping"}"#)),
            ("garbage", masked(0x81, b"[")),
            ("msg", masked(0x81, br#"{"t":"msg","text":"x"}"#)),
            ("ping", masked(0x89, b"")),
            ("pong", masked(0x8a, b"")),
            ("binary", masked(0x82, b"x")),
            ("fragments", [masked(0x01, b""), masked(0x00, b""), masked(0x80, b"[")].concat()),
        ]
    }

    /// A connection of a node that has no Redis, and its client's end.
    async fn connection(settings: &[&str]) -> (Connection, TcpStream) {
        let words = ["linkroom", "--redis-url=redis://127.0.0.1:1"];
        let words = words.iter().chain(settings).map(Into::into);
        let settings = Settings::read(words).unwrap();
        let app = node::build(settings, Arc::new(Metrics::new()), &Background::new()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let ip = Ipv4Addr::LOCALHOST.into();
        (Connection::open(&app, Language::En, ip, socket), client)
    }

    /// Floods a connection with these frames, and ends. Returns how many turns others had until it had
    /// all been taken.
    async fn turns_beside(frames: &[u8]) -> usize {
        let unlimited = ["--frames-per-second=1000000000", "--bad-frames-max=1000000000"];
        let (connection, mut client) = connection(&unlimited).await;
        let flood = frames.repeat(FLOOD / frames.len());
        let (mut reads, mut writes) = client.split();
        let wrote = async {
            writes.write_all(&flood).await.unwrap();
            writes.shutdown().await.unwrap();
        };
        let turns = Rc::new(AtomicUsize::new(0));
        let counted = turns.clone();
        let others = spawn_local(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        let mut answers = Vec::new();
        let ended = spawn_local(connection.run(Vec::new()));
        let (_, read) = tokio::join!(wrote, reads.read_to_end(&mut answers));
        read.unwrap();
        ended.await.unwrap();
        others.abort();
        turns.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn others_have_their_turn_after_every_reading() {
        for (kind, frames) in every_kind() {
            let turns = LocalSet::new().run_until(turns_beside(&frames)).await;
            assert!(turns >= FLOOD / READ_AT_ONCE, "{turns} turns beside {kind}");
        }
    }

    /// What the connection's client was answered.
    async fn answers(client: &mut TcpStream) -> String {
        let mut answers = vec![0; 1 << 16];
        let length = client.read(&mut answers).await.unwrap();
        String::from_utf8_lossy(&answers[..length]).into_owned()
    }

    #[tokio::test]
    async fn one_over_its_frames_is_read_no_further_and_told_so_once() {
        for (kind, frames) in every_kind() {
            let limits = ["--frames-per-second=10", "--bad-frames-max=1000000"];
            let (mut connection, mut client) = connection(&limits).await;
            client.write_all(&frames.repeat(2000)).await.unwrap();
            for _ in 0..2 {
                connection.ready().await;
                assert_eq!(connection.turn(), Ok(true), "{kind}");
                assert!(connection.held.is_some() && connection.decoder.has_more(), "{kind}");
            }
            let answers = answers(&mut client).await;
            assert_eq!(answers.matches("RATE_LIMITED").count(), 1, "{kind}: {answers}");
            let answered = answers.matches(r#"{"t":"pong"}"#).count();
            assert!(answered <= 12, "{answered} frames were taken");
        }
    }

    #[tokio::test]
    async fn one_that_asks_for_much_is_read_no_further_until_it_is_done() {
        let (mut connection, mut client) = connection(&[]).await;
        let name = "x".repeat(60_000);
        let join = format!(r#"{{"t":"join","roomId":"r","token":"{name}"}}"#);
        let head = [&[0x81, 0xfe][..], &(join.len() as u16).to_be_bytes(), &[0; 4]].concat();
        let writes = tokio::spawn(async move {
            for _ in 0..PENDING_MAX {
                client.write_all(&[&head, join.as_bytes()].concat()).await.unwrap();
            }
            client
        });
        while connection.reader.has_room() {
            connection.ready().await;
            connection.turn().unwrap();
        }
        assert_eq!(connection.reader.pending.len(), PENDING_BYTES / 60_000 + 1);
        connection.reader.pending.clear();
        assert!(connection.reader.has_room());
        writes.abort();
    }

    #[tokio::test]
    async fn one_over_its_frames_for_too_long_is_cut_off() {
        for (kind, frames) in every_kind() {
            let limits = ["--frames-per-second=5", "--flood-timeout=0s"];
            let (mut connection, mut client) = connection(&limits).await;
            client.write_all(&frames.repeat(9)).await.unwrap();
            connection.ready().await;
            assert_eq!(connection.turn(), Err(End::Close(CloseReason::Flooding)), "{kind}");
        }
    }
}
