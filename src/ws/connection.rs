//! One connection: reads frames, runs the requests of the client, and writes what the socket did
//! not accept at once.
//!
//! One task does all three. Requests that need Redis run one after the other, in the order of the
//! frames, concurrently with reading and writing, so a ping is answered even when Redis is slow.
//! One read takes a bounded number of bytes, and then other connections have their turn. The number
//! of frames per second is limited too; frames over the limit stay in the socket.

mod end;
mod frame_reader;

use std::{
    io,
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    io::Interest,
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    task::yield_now,
    time::{Sleep, sleep},
};
use tracing::debug;

use super::{
    client::{Client, Operation, Request},
    pace::OverBudget,
};
use crate::{
    app::App,
    i18n::Language,
    outbox::{Outbox, OutboxLimits, Wire},
    protocol::{close::CloseReason, codec::Decoder},
};
use end::End;
use frame_reader::FrameReader;

/// Bytes of one read, into a buffer on the stack: a connection has no buffer of its own.
const READ_SIZE: usize = 4096;
/// How long the rest of what a client sent is read after it closed its end, if it is over its frame
/// budget.
const CLOSED_FLOOD_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of a connection's task.
pub struct Connection {
    socket: Arc<TcpStream>,
    decoder: Decoder,
    reader: FrameReader,
    /// Pauses reading while the frame budget is spent. Boxed, because few connections need it.
    held: Option<Pin<Box<Sleep>>>,
    /// The turn of a connection that the client has closed. Thousands may close at the same moment, and a message would
    /// wait for all of them at each step of its way. It is not kept while a request is in progress.
    turn: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// A connection that was just upgraded.
    pub fn open(app: &App, language: Language, ip: IpAddr, socket: TcpStream) -> Self {
        let settings = &app.settings;
        let limits = OutboxLimits { frames: settings.outbox_frames, bytes: settings.outbox_bytes };
        let socket = Arc::new(socket);
        let outbox =
            Outbox::new(app.registry.next_id(), language, limits, Wire::Socket(socket.clone()));
        let reader = FrameReader::new(Client::new(app, Arc::new(outbox), ip));
        let decoder = Decoder::new(settings.max_body_bytes);
        Self { socket, decoder, reader, held: None, turn: None }
    }

    /// Its id, unique over all nodes.
    pub fn id(&self) -> &str {
        self.reader.client.outbox.id()
    }

    /// Serves the connection until it ends, then removes it from its rooms. `early` has the bytes
    /// that were read after the upgrade request.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has `self` in it twice"
    )]
    pub fn run(mut self, mut early: Vec<u8>) -> impl Future<Output = ()> {
        async move {
            let client = self.reader.client.clone();
            debug!("opened");
            let registered = client.app.registry.register(client.outbox.clone());
            let mut operation: Option<Operation> = None;
            let served = self.serve_to_the_end(&mut early, &mut operation);
            let served = AssertUnwindSafe(served).catch_unwind().await;
            let (end, turn) = served.unwrap_or_else(|_panic| {
                // After a panic the operation may be inconsistent and is dropped; the rooms are still
                // left.
                operation = None;
                (End::Gone, None)
            });
            Box::pin(self.close(end)).await;
            client.outbox.hang_up();
            drop(self);
            Box::pin(client.end(operation, turn)).await;
            drop(registered);
            debug!("ended");
        }
    }

    /// Returns how the connection ends, and its turn if it still has it.
    async fn serve_to_the_end(
        &mut self,
        early: &mut Vec<u8>,
        operation: &mut Option<Operation>,
    ) -> (End, Option<OwnedSemaphorePermit>) {
        let begun = self.take(early);
        *early = Vec::new();
        let end = match begun {
            Err(end) => end,
            Ok(_) => self.serve(operation).await,
        };
        let mut turn = self.turn.take();
        // Boxed, like everything that seldom runs: the task of a connection is as large as the
        // largest future that it awaits.
        let mut finished = Box::pin(self.finish(operation, end));
        if (&mut finished).now_or_never().is_none() {
            turn = None;
            finished.await;
        }
        (end, turn)
    }

    async fn serve(&mut self, operation: &mut Option<Operation>) -> End {
        let outbox = self.reader.client.outbox.clone();
        loop {
            if operation.is_none() {
                *operation = self.reader.begin_next();
            }
            if operation.is_some() {
                self.turn = None;
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
                    // The socket stays readable, so yield explicitly to other connections.
                    Ok(true) => yield_now().await,
                    Ok(false) => {}
                }
            }
        }
    }

    /// Waits until there is something to read and the frame budget allows it.
    async fn ready(&mut self) {
        if let Some(held) = &mut self.held {
            held.await;
            self.held = None;
        }
        if !self.decoder.has_more() {
            // An error shows up in the next read.
            let _ = self.socket.readable().await;
            if self.turn.is_none() && is_closed(&self.socket) {
                let ends = self.reader.client.app.ends.clone();
                self.turn = Box::pin(ends.acquire_owned()).await.ok();
            }
        }
    }

    /// Reads once, or continues with frames that are left from the last read. Returns whether more
    /// may be available right now.
    ///
    /// # Errors
    /// How the connection ends.
    fn turn(&mut self) -> Result<bool, End> {
        let mut space = [0; READ_SIZE];
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

    /// Decodes bytes that were read. Returns whether some frames are left for the next turn.
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

    /// Applies backpressure to a connection that is over its frame budget: sends an error, or ends
    /// it.
    fn hold_back(&mut self) -> Result<(), End> {
        let FrameReader { client, pace, is_spent, .. } = &mut self.reader;
        if !*is_spent {
            return Ok(());
        }
        let flood_timeout = client.app.settings.flood_timeout;
        let (patience, end) = match is_closed(&self.socket) {
            true => (CLOSED_FLOOD_TIMEOUT.min(flood_timeout), End::Gone),
            false => (flood_timeout, End::Close(CloseReason::Flooding)),
        };
        match pace.over_budget(Instant::now(), patience) {
            OverBudget::Tell => client.answer_too_many_frames(),
            OverBudget::Wait => {}
            OverBudget::CutOff => return Err(end),
        }
        Ok(())
    }
}

/// Whether the client has shut down its half, even if there is still input to read.
fn is_closed(socket: &TcpStream) -> bool {
    let ready = socket.ready(Interest::READABLE).now_or_never();
    ready.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed()))
}

/// Reads once. A short read means that there is no more input: reporting this saves another system
/// call.
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

/// Waits until the operation is done; forever if there is none.
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
    use crate::{
        app::ENDS_AT_ONCE, background::Background, metrics::Metrics, node, settings::Settings,
    };

    /// Bytes of a flood: as many as a socket holds while nobody reads.
    const FLOOD: usize = 64 * READ_SIZE;

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

    /// Floods a connection with these frames, then ends. Returns how often other tasks ran until
    /// all of it was read.
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
            assert!(turns >= FLOOD / READ_SIZE, "{turns} turns beside {kind}");
        }
    }

    /// What the client was sent.
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
            for _ in 0..frame_reader::PENDING_MAX {
                client.write_all(&[&head, join.as_bytes()].concat()).await.unwrap();
            }
            client
        });
        while connection.reader.has_room() {
            connection.ready().await;
            connection.turn().unwrap();
        }
        assert_eq!(connection.reader.pending.len(), frame_reader::PENDING_BYTES / 60_000 + 1);
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

    /// Bytes that a connection reads in the second in which it waits for the client's close frame:
    /// what is under way at once, and in each of the pauses, with what the socket's buffers hold.
    const READ_AT_THE_END: usize = 32 << 20;

    #[tokio::test]
    async fn one_that_goes_on_sending_after_the_end_is_read_slowly() {
        let floods = every_kind().into_iter().map(async |(kind, frames)| {
            let (connection, mut client) = connection(&["--flood-timeout=0s"]).await;
            let ended = tokio::spawn(connection.run(Vec::new()));
            let (flood, mut sent) = (frames.repeat(READ_SIZE), 0);
            while let Ok(written) = client.write(&flood).await {
                sent += written;
            }
            assert!(sent < READ_AT_THE_END, "{sent} bytes of {kind} were read");
            ended.await.unwrap();
        });
        futures_util::future::join_all(floods).await;
    }

    /// Whoever has no turn stays in its rooms, and takes no time from others.
    #[tokio::test]
    async fn connections_that_are_closed_at_the_same_time_end_one_after_the_other() {
        let (connection, client) = connection(&[]).await;
        let (app, socket) = (connection.reader.client.app.clone(), connection.socket.clone());
        let turns = app.ends.clone().acquire_many_owned(ENDS_AT_ONCE as u32).await.unwrap();
        let mut ends = Box::pin(connection.run(Vec::new()));
        assert!((&mut ends).now_or_never().is_none());
        drop(client);
        while !is_closed(&socket) {
            yield_now().await;
        }
        for _ in 0..100 {
            assert!((&mut ends).now_or_never().is_none(), "it has no turn");
            yield_now().await;
        }
        assert_eq!(app.metrics.connections.get(), 1);
        drop(turns);
        ends.await;
        assert_eq!(app.metrics.connections.get(), 0);
        assert_eq!(app.ends.available_permits(), ENDS_AT_ONCE);
    }
}
