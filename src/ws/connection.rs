//! One connection: reads frames, has the client's wishes done, writes what the socket did not take
//! at once.
//!
//! One task does all three. What a frame asks of Redis is done one after the other, in the order
//! of the frames, beside reading and writing, so that a ping is answered whatever Redis does.

use std::{
    collections::VecDeque, io, net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration,
};

use futures_util::FutureExt;
use tokio::{io::Interest, net::TcpStream};
use tracing::{debug, info};

use super::client::{Client, Echo, Operation, Request};
use crate::{
    app::App,
    error::Error,
    i18n::Language,
    limits::Limit,
    outbox::{Handle, Limits},
    problem::Problem,
    protocol::{
        BadFrame, ClientFrame, ServerFrame,
        close::CloseReason,
        codec::{self, Decoder, Incoming},
    },
};

/// Frames that may wait for their turn; with so many waiting, the socket is not read.
const PENDING_MAX: usize = 64;
/// Bytes that are read at once, on the stack: a connection keeps no buffer of its own.
const READ_AT_ONCE: usize = 4096;
/// How long the client may take to answer a close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// How long a connection may take to have its last frames answered when the node leaves.
const FINISH_PATIENCE: Duration = Duration::from_secs(1);

/// What a connection's task owns.
pub struct Connection {
    socket: Arc<TcpStream>,
    decoder: Decoder,
    reader: Reader,
}

/// What becomes of the client's frames.
struct Reader {
    client: Arc<Client>,
    pending: VecDeque<Request>,
    bad_frames: usize,
    /// Set when the client closes: the code to close with in turn.
    closes: Option<Option<u16>>,
}

/// How a connection ends.
enum End {
    /// The client is gone.
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
        let limits = Limits { frames: settings.outbox_frames, bytes: settings.outbox_bytes };
        let socket = Arc::new(socket);
        let handle = Handle::new(app.registry.next_id(), language, limits, socket.clone());
        let reader = Reader {
            client: Client::new(app, Arc::new(handle), ip),
            pending: VecDeque::new(),
            bad_frames: 0,
            closes: None,
        };
        Self { socket, decoder: Decoder::new(settings.max_body_bytes), reader }
    }

    /// Its id, unique over all nodes.
    pub fn id(&self) -> &str {
        self.reader.client.handle.id()
    }

    /// Serves the connection until it ends, then takes it out of its rooms. `early` is what came
    /// right behind the request for the upgrade.
    pub async fn run(mut self, early: Vec<u8>) {
        let client = self.reader.client.clone();
        debug!("opened");
        let registered = client.app.registry.register(client.handle.clone());
        let mut operation: Option<Operation> = None;
        let served = async {
            match self.take(early) {
                Some(end) => end,
                None => self.serve(&mut operation).await,
            }
        };
        let served = AssertUnwindSafe(served).catch_unwind().await;
        let end = served.unwrap_or_else(|_panic| {
            // Whatever it was, what was under way is not to be trusted; the rooms have to be left.
            operation = None;
            End::Gone
        });
        Box::pin(self.close(end)).await;
        client.handle.hang_up();
        drop(self);
        // Boxed, as all that seldom runs: a connection is as large as the largest thing it waits for.
        Box::pin(client.end(operation)).await;
        drop(registered);
        debug!("ended");
    }

    async fn serve(&mut self, operation: &mut Option<Operation>) -> End {
        let handle = self.reader.client.handle.clone();
        loop {
            if operation.is_none() {
                *operation = self.reader.begin_next();
            }
            tokio::select! {
                work = handle.work() => {
                    let rejoins = work.rejoins.into_iter();
                    self.reader.pending.extend(rejoins.map(|(room, at)| Request::Rejoin(room, at)));
                    if work.close == Some(CloseReason::Leaving) {
                        let finished = Box::pin(self.finish(operation));
                        // What takes longer is sent again by the client, elsewhere.
                        let _ = tokio::time::timeout(FINISH_PATIENCE, finished).await;
                    }
                    if let Some(reason) = work.close {
                        return End::Close(reason);
                    }
                }
                () = finished(operation) => *operation = None,
                _ = self.socket.readable(), if self.reader.pending.len() < PENDING_MAX => {
                    if let Some(end) = self.read() {
                        return end;
                    }
                }
            }
        }
    }

    /// Answers what the client has sent so far. What it sends from here on is not read, or one that
    /// goes on talking would never be done.
    async fn finish(&mut self, operation: &mut Option<Operation>) {
        // How the connection ends is decided already.
        while self.reader.pending.len() < PENDING_MAX && self.read_once().is_ok_and(|n| n > 0) {}
        if let Some(under_way) = operation.take() {
            under_way.await;
        }
        while let Some(next) = self.reader.begin_next() {
            next.await;
        }
        self.reader.client.said_is_delivered().await;
        self.reader.client.handle.flushed().await;
    }

    /// Reads what is there, once. Returns how the connection ends if that ends it.
    fn read(&mut self) -> Option<End> {
        match self.read_once() {
            Ok(0) => Some(End::Gone),
            Ok(_) => self.reader.closes.map(End::Closes),
            Err(ReadError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(ReadError::Socket(_)) => Some(End::Gone),
            Err(ReadError::Frame(reason)) => Some(End::Close(reason)),
        }
    }

    fn read_once(&mut self) -> Result<usize, ReadError> {
        let mut space = [0; READ_AT_ONCE];
        let length = read_some(&self.socket, &mut space).map_err(ReadError::Socket)?;
        let Self { decoder, reader, .. } = self;
        let taken = decoder.take(&mut space[..length], |incoming| reader.take(incoming));
        taken.map_err(ReadError::Frame)?;
        Ok(length)
    }

    fn take(&mut self, mut early: Vec<u8>) -> Option<End> {
        let Self { decoder, reader, .. } = self;
        let taken = decoder.take(&mut early, |incoming| reader.take(incoming));
        taken.err().map(End::Close).or_else(|| reader.closes.map(End::Closes))
    }

    /// Sends a close frame and waits for the client's, so that it arrives before the socket ends.
    async fn close(&mut self, end: End) {
        let (settings, metrics) = {
            let app = &self.reader.client.app;
            (app.settings.clone(), app.metrics.clone())
        };
        let (frame, patience, answered) = match end {
            End::Gone => return,
            End::Closes(code) => (codec::close(code, ""), CLOSE_PATIENCE, true),
            End::Close(reason) => {
                let (code, text) = reason.code();
                metrics.closed(code);
                let patience = match reason {
                    CloseReason::TooSlow => {
                        info!("cut off: it reads too slowly");
                        metrics.slow_consumers.inc();
                        settings.slow_close_timeout
                    }
                    _ => CLOSE_PATIENCE,
                };
                (codec::close(Some(code), text), patience, false)
            }
        };
        let goodbye = async {
            self.reader.client.handle.push_last(frame);
            self.reader.client.handle.flushed().await;
            if !answered {
                self.until_closed().await;
            }
        };
        // A client that does not answer is dropped.
        let _ = tokio::time::timeout(patience, goodbye).await;
    }

    /// Reads on until the client closes in turn, or is gone.
    async fn until_closed(&mut self) {
        loop {
            let mut space = [0; READ_AT_ONCE];
            let mut closed = false;
            match read_some(&self.socket, &mut space) {
                Ok(0) => return,
                Ok(length) => {
                    let look = |incoming: Incoming<'_>| {
                        closed |= matches!(incoming, Incoming::Close(_));
                    };
                    // After a broken frame nothing more is understood: the client's end is awaited.
                    let _ = self.decoder.take(&mut space[..length], look);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.socket.readable().await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
            if closed {
                return;
            }
        }
    }
}

impl Reader {
    fn begin_next(&mut self) -> Option<Operation> {
        self.client.begin_next(&mut self.pending)
    }

    fn take(&mut self, incoming: Incoming<'_>) {
        match incoming {
            Incoming::Text(text) => self.take_text(text),
            Incoming::Binary => self.refuse(BadFrame::unreadable(Problem::Binary)),
            Incoming::Ping(payload) => {
                self.client.handle.heard();
                // One too many is not answered: who floods waits for nothing.
                if self.check_limit().is_ok() {
                    self.client.handle.push(codec::pong(payload));
                }
            }
            Incoming::Pong => self.client.handle.heard(),
            Incoming::Close(code) => self.closes = Some(code),
        }
    }

    fn take_text(&mut self, text: &str) {
        let silent_for = self.client.handle.silent_for();
        self.client.handle.heard();
        let frame = match ClientFrame::parse(text) {
            Ok(frame) => frame,
            Err(bad) => return self.refuse(bad),
        };
        self.bad_frames = 0;
        if let Err(error) = self.check_limit() {
            return self.client.answer_error(&error, &frame.echo());
        }
        if let ClientFrame::Ping { status, read, .. } = &frame {
            self.client.handle.push(ServerFrame::pong());
            let changed = status.is_some_and(|status| self.client.handle.show(status));
            if !changed && read.is_none() && !self.client.is_urgent(silent_for) {
                return;
            }
        }
        self.pending.push_back(Request::Frame(frame));
    }

    /// Counts one frame, whatever it is.
    fn check_limit(&self) -> Result<(), Error> {
        let count = |_: &Error| self.client.app.metrics.turned_away(Limit::Frames);
        self.client.frame_limit.check().inspect_err(count)
    }

    fn refuse(&mut self, bad: BadFrame) {
        let too_many = self.check_limit().err();
        let error = too_many.unwrap_or_else(|| Error::invalid(bad.field, bad.problem));
        self.client.answer_error(&error, &Echo { room_id: bad.room_id, key: bad.key });
        if !bad.unreadable {
            self.bad_frames = 0;
            return;
        }
        self.bad_frames += 1;
        if self.bad_frames >= self.client.app.settings.bad_frames_max {
            self.client.handle.close(CloseReason::Unreadable);
        }
    }
}

/// Why reading gave nothing.
enum ReadError {
    Socket(io::Error),
    Frame(CloseReason),
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
