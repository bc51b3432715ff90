//! One connection: reads frames, has the room service do what they ask, writes what waits.
//!
//! One task does all three. What a frame asks of Redis is done one after the other, in the order
//! of the frames, beside reading and writing, so that a ping is answered whatever Redis does.

use std::{
    collections::VecDeque,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message as WsMessage, Utf8Bytes, WebSocket};
use futures_util::{FutureExt, SinkExt};
use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::{
    close::CloseReason,
    handle::{Handle, Limits, Work},
    protocol::{BadFrame, ClientFrame, ServerFrame},
};
use crate::{
    app::App,
    error::{Code, Error},
    fanout::{LocalRoom, Occupant, Seat},
    i18n::Language,
    limits::{FrameLimit, Limit},
    message::Message,
    names::{MessageId, RoomId},
    problem::Problem,
    redis::scripts::{Departure, Published, Snapshot},
    room::Identity,
};

/// Frames that may wait for their turn; with so many waiting, the socket is not read.
const PENDING_MAX: usize = 64;
/// How long the client may take to answer a close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// How long a connection may take to have its last frames answered when the node leaves.
const FINISH_PATIENCE: Duration = Duration::from_secs(1);
/// How long what is under way may take when the connection has ended.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// Between two attempts to join again while Redis is away.
const REJOIN_RETRY: Duration = Duration::from_millis(200);
/// Between two looks whether what was said has come back.
const DELIVERY_LOOK: Duration = Duration::from_millis(2);
/// How much longer than the grace the room is looked at again: clocks do not run alike.
const AFTER_GRACE: Duration = Duration::from_millis(20);

/// Work for Redis on behalf of this connection.
type Operation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a connection's task owns.
pub struct Connection {
    client: Arc<Client>,
    pending: VecDeque<Request>,
    bad_frames: usize,
    frame_limit: FrameLimit,
}

/// What a connection's operations share.
struct Client {
    app: App,
    handle: Arc<Handle>,
    /// Whose guesses its wrong joins are.
    ip: IpAddr,
    rooms: Mutex<Vec<Joined>>,
    /// The identity of a join that was not answered: a second try is the same guest.
    unanswered: Mutex<Option<(RoomId, Identity)>>,
}

/// A room that the connection is in.
#[derive(Clone)]
struct Joined {
    local: Arc<LocalRoom>,
    who: Arc<Occupant>,
}

/// What waits for its turn.
enum Request {
    Frame(ClientFrame),
    Rejoin(RoomId, MessageId),
}

/// What a frame is answered with if it fails: its own room and key, as they stood there.
#[derive(Default)]
struct Echo {
    room_id: Option<String>,
    key: Option<String>,
}

impl Connection {
    /// A connection that was just opened.
    pub fn open(app: &App, language: Language, ip: IpAddr) -> Self {
        let settings = &app.settings;
        let limits = Limits { frames: settings.outbox_frames, bytes: settings.outbox_bytes };
        let handle = Arc::new(Handle::new(app.registry.next_id(), language, limits));
        let rooms = Mutex::default();
        let (app, unanswered) = (app.clone(), Mutex::default());
        let frame_limit = FrameLimit::new(settings.frames_per_second());
        let client = Client { app, handle, ip, rooms, unanswered };
        Self { client: Arc::new(client), pending: VecDeque::new(), bad_frames: 0, frame_limit }
    }

    /// Serves the connection until it ends, then takes it out of its rooms.
    pub async fn run(mut self, mut socket: WebSocket) {
        let registered = self.client.app.registry.register(self.client.handle.clone());
        let mut operation: Option<Operation> = None;
        if let Some(reason) = self.serve(&mut socket, &mut operation).await {
            self.close(&mut socket, reason).await;
        }
        drop(socket);
        self.client.end(operation).await;
        drop(registered);
    }

    /// Returns why the connection is to be closed; `None` where the client did so or is gone.
    async fn serve(
        &mut self,
        socket: &mut WebSocket,
        operation: &mut Option<Operation>,
    ) -> Option<CloseReason> {
        let handle = self.client.handle.clone();
        loop {
            if operation.is_none() {
                *operation = self.pending.pop_front().map(|request| self.client.begin(request));
            }
            tokio::select! {
                work = handle.work() => {
                    let close = work.close;
                    if let Err(reason) = self.write(socket, work).await {
                        return reason;
                    }
                    if close == Some(CloseReason::Leaving) {
                        let finished = self.finish(socket, operation);
                        // What takes longer is sent again by the client, elsewhere.
                        let _ = tokio::time::timeout(FINISH_PATIENCE, finished).await;
                    }
                    if close.is_some() {
                        return close;
                    }
                }
                () = finished(operation) => *operation = None,
                frame = socket.recv(), if self.pending.len() < PENDING_MAX => {
                    match frame? {
                        Ok(frame) => self.read(frame),
                        Err(error) => return close_reason(error),
                    }
                }
            }
        }
    }

    /// Answers what the client sent before it was told that the node leaves.
    async fn finish(&mut self, socket: &mut WebSocket, operation: &mut Option<Operation>) {
        loop {
            while self.pending.len() < PENDING_MAX
                && let Some(Some(Ok(frame))) = socket.recv().now_or_never()
            {
                self.read(frame);
            }
            if let Some(operation) = operation.take() {
                operation.await;
            }
            match self.pending.pop_front() {
                Some(request) => *operation = Some(self.client.begin(request)),
                None => break,
            }
        }
        self.client.said_is_delivered().await;
        let work = self.client.handle.work().await;
        // A client that is gone needs no answer.
        let _ = self.write(socket, work).await;
    }

    /// Writes all that waits, in one go if the socket takes it.
    async fn write(
        &mut self,
        socket: &mut WebSocket,
        work: Work,
    ) -> Result<(), Option<CloseReason>> {
        let rejoins = work.rejoins.into_iter();
        self.pending.extend(rejoins.map(|(room, since)| Request::Rejoin(room, since)));
        let frames = work.frames;
        let written = async {
            for frame in frames {
                socket.feed(WsMessage::Text(frame)).await?;
            }
            socket.flush().await
        };
        tokio::select! {
            written = written => written.map_err(|_| None),
            () = self.client.handle.too_slow() => Err(Some(CloseReason::TooSlow)),
        }
    }

    fn read(&mut self, frame: WsMessage) {
        let handle = self.client.handle.clone();
        match frame {
            WsMessage::Text(text) => self.read_text(&text),
            WsMessage::Binary(_) => self.refuse(BadFrame::unreadable(Problem::Binary)),
            WsMessage::Ping(_) | WsMessage::Pong(_) => handle.heard(),
            WsMessage::Close(_) => {}
        }
    }

    fn read_text(&mut self, text: &Utf8Bytes) {
        let silent_for = self.client.handle.silent_for();
        self.client.handle.heard();
        let frame = match ClientFrame::parse(text) {
            Ok(frame) => frame,
            Err(bad) => return self.refuse(bad),
        };
        self.bad_frames = 0;
        if let Err(error) = self.frame_limit.check() {
            self.client.app.metrics.turned_away(Limit::Frames);
            return self.client.answer_error(&error, &frame.echo());
        }
        if let ClientFrame::Ping { status, read, .. } = &frame {
            self.client.handle.push(ServerFrame::Pong.to_text());
            let changed = status.is_some_and(|status| self.client.handle.show(status));
            if !changed && read.is_none() && !self.client.is_urgent(silent_for) {
                return;
            }
        }
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
            self.client.handle.close(CloseReason::Unreadable);
        }
    }

    /// Sends a close frame and waits for the client's, so that it arrives before the socket ends.
    async fn close(&self, socket: &mut WebSocket, reason: CloseReason) {
        let (code, text) = reason.code();
        self.client.app.metrics.closed(code);
        let patience = match reason {
            CloseReason::TooSlow => {
                self.client.app.metrics.slow_consumers.inc();
                self.client.app.settings.slow_close_timeout
            }
            _ => CLOSE_PATIENCE,
        };
        let goodbye = async {
            let frame = CloseFrame { code, reason: text.into() };
            if socket.send(WsMessage::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = socket.recv().await {}
            }
        };
        // A client that does not answer is dropped.
        let _ = tokio::time::timeout(patience, goodbye).await;
    }
}

impl Client {
    /// Begins what a request asks for; what fails is answered.
    fn begin(self: &Arc<Self>, request: Request) -> Operation {
        let client = self.clone();
        Box::pin(async move {
            let (echo, done) = match request {
                Request::Frame(frame) => (frame.echo(), client.obey(frame).await),
                Request::Rejoin(room, since) => {
                    let echo = Echo { room_id: Some(room.to_string()), key: None };
                    (echo, client.rejoin(&room, since).await)
                }
            };
            if let Err(error) = done {
                client.answer_error(&error, &echo);
            }
        })
    }

    async fn obey(self: &Arc<Self>, frame: ClientFrame) -> Result<(), Error> {
        match frame {
            ClientFrame::Join { room_id, token, since } => {
                self.guess(self.join(&room_id, &token, since)).await
            }
            ClientFrame::Msg { room_id, text, key } => {
                let joined = self.joined(room_id.as_deref())?;
                self.say(&joined, &text, key.as_deref()).await
            }
            ClientFrame::Ping { room_id, read, .. } => self.report(room_id.as_deref(), read).await,
            ClientFrame::Leave { room_id } => {
                let joined = self.joined(room_id.as_deref())?;
                let patience = self.app.settings.redis_timeout;
                // What was said before is acknowledged before the connection is out.
                let _ = tokio::time::timeout(patience, joined.said_is_delivered(self.handle.id()))
                    .await;
                self.leave(&joined, Duration::ZERO).await;
                Ok(())
            }
        }
    }

    /// A join that may be a guess at a room or a token: whoever is often wrong has to wait.
    async fn guess(&self, join: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let (limits, metrics) = (&self.app.limits, &self.app.metrics);
        limits.check_guess(self.ip).inspect_err(|_| metrics.turned_away(Limit::Misses))?;
        let done = join.await;
        let code = done.as_ref().err().map(|error| error.code);
        if let Some(Code::RoomNotFound | Code::InvalidToken) = code {
            limits.note_miss(self.ip);
        }
        done
    }

    async fn join(
        self: &Arc<Self>,
        room_id: &str,
        token: &str,
        since: Option<MessageId>,
    ) -> Result<(), Error> {
        let room = RoomId::parse(room_id).ok_or(Code::RoomNotFound)?;
        let identity = self.identity(&room, token).await?;
        self.check_rooms(&room, &identity)?;
        self.enter(&room, &identity, since).await?;
        if since.is_some() {
            self.app.metrics.resumes.inc();
        }
        Ok(())
    }

    /// Who a join wants to be. A nickname whose first try was not answered gets the same token
    /// again: Redis may know it by now.
    async fn identity(&self, room: &RoomId, token: &str) -> Result<Identity, Error> {
        let identity = self.app.rooms.identity(room, token).await?;
        let unanswered = self.unanswered.lock();
        let same = unanswered.as_ref().filter(|(tried, earlier)| {
            identity.guest && tried == room && earlier.user == identity.user
        });
        Ok(same.map_or(identity, |(_, earlier)| earlier.clone()))
    }

    fn check_rooms(&self, room: &RoomId, identity: &Identity) -> Result<(), Error> {
        let rooms = self.rooms.lock();
        let max = self.app.settings.rooms_per_connection;
        match rooms.iter().find(|joined| joined.local.id == *room) {
            Some(joined) if joined.who.token == identity.token => Ok(()),
            Some(joined) if identity.guest && joined.who.user == identity.user => {
                Err(Error::new(Code::NameTaken))
            }
            Some(_) => Err(Error::invalid("roomId", Problem::AlreadyJoined)),
            None if rooms.len() >= max => {
                Err(Error::invalid("roomId", Problem::TooManyRooms { max }))
            }
            None => Ok(()),
        }
    }

    /// Sits down first, then has the script run, so that nothing falls in between.
    async fn enter(
        self: &Arc<Self>,
        room: &RoomId,
        identity: &Identity,
        since: Option<MessageId>,
    ) -> Result<(), Error> {
        let who = match self.joined(Some(room.as_str())) {
            Ok(joined) => joined.who,
            Err(_) => Arc::new(Occupant::new(identity.user.clone(), identity.token.clone())),
        };
        let entered = self.app.fanout.enter(room, self.handle.clone(), who.clone()).await;
        let answer = match entered {
            Ok((local, tag)) => {
                let (id, status) = (self.handle.id(), self.handle.status());
                let snapshot = self.app.rooms.join(room, identity, id, status, since, &tag).await;
                snapshot.map(|snapshot| (local, snapshot))
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok((local, snapshot)) => self.entered(local, who, snapshot),
            Err(error) => {
                self.not_entered(room, identity, &error);
                Err(error)
            }
        }
    }

    fn entered(
        &self,
        local: Arc<LocalRoom>,
        who: Arc<Occupant>,
        snapshot: Snapshot,
    ) -> Result<(), Error> {
        who.joined_at_ms.store(snapshot.joined_at_ms, Ordering::Relaxed);
        let joined = self.joined_frame(&local.id, &who, &snapshot)?;
        *self.unanswered.lock() = None;
        let mut rooms = self.rooms.lock();
        rooms.retain(|joined| joined.local.id != local.id);
        rooms.push(Joined { local: local.clone(), who });
        drop(rooms);
        self.app.metrics.joins.inc();
        local.answered(self.handle.id(), joined, snapshot);
        Ok(())
    }

    fn not_entered(&self, room: &RoomId, identity: &Identity, error: &Error) {
        if !self.app.fanout.refused(room, self.handle.id()) {
            self.rooms.lock().retain(|joined| joined.local.id != *room);
        }
        let may_have_happened = identity.guest && error.code == Code::ServiceUnavailable;
        *self.unanswered.lock() = may_have_happened.then(|| (room.clone(), identity.clone()));
    }

    fn joined_frame(
        &self,
        room_id: &RoomId,
        who: &Occupant,
        snapshot: &Snapshot,
    ) -> Result<Utf8Bytes, Error> {
        let list = |json: &str| {
            let odd = |_| Error::internal("a script's list of members is not JSON");
            RawValue::from_string(json.to_owned()).map_err(odd)
        };
        let (members, away) = (list(&snapshot.members)?, list(&snapshot.away)?);
        let frame = ServerFrame::Joined {
            room_id,
            me: who.user.as_str(),
            token: who.token.secret(),
            members: &members,
            away: &away,
            messages: &snapshot.messages,
            more: snapshot.more,
            heartbeat: ServerFrame::seconds(self.app.settings.heartbeat()),
            e2e: snapshot.facts.e2e,
        };
        Ok(frame.to_text())
    }

    /// Joins again because messages were lost that the stream no longer holds.
    async fn rejoin(self: &Arc<Self>, room: &RoomId, since: MessageId) -> Result<(), Error> {
        let Ok(joined) = self.joined(Some(room.as_str())) else { return Ok(()) };
        let (user, token) = (joined.who.user.clone(), joined.who.token.clone());
        let identity = Identity { user, token, guest: false };
        loop {
            match self.enter(room, &identity, Some(since)).await {
                Err(error) if error.code == Code::ServiceUnavailable => {}
                Err(error) if matches!(error.code, Code::RoomNotFound | Code::InvalidToken) => {
                    self.app.heartbeat.beat(&joined.local).await;
                    return self.enter(room, &identity, Some(since)).await;
                }
                done => return done,
            }
            tokio::time::sleep(REJOIN_RETRY).await;
        }
    }

    /// Says something. Where Redis has forgotten the connection, it is reported first.
    async fn say(&self, joined: &Joined, text: &str, key: Option<&str>) -> Result<(), Error> {
        let (room, user, id) = (&joined.local.id, &joined.who.user, self.handle.id());
        let said = match self.app.rooms.say(room, user, id, text, key).await {
            Err(error) if matches!(error.code, Code::NotInRoom | Code::RoomNotFound) => {
                self.app.heartbeat.report(&joined.local, &self.seat(joined), false).await?;
                self.app.rooms.say(room, user, id, text, key).await
            }
            said => said,
        };
        let said = said.inspect_err(|error| {
            if error.code == Code::RateLimited {
                self.app.metrics.turned_away(Limit::Messages);
            }
        })?;
        self.app.metrics.messages.inc();
        let (Published::Stored(said_id) | Published::Repeat { id: said_id, .. }) = said;
        *joined.who.said.lock() = Some(said_id);
        if let Published::Repeat { id, text } = said {
            let key = key.map(str::to_owned);
            let message = Message::new(room, id, user.to_string(), text, key);
            joined.local.answer_repeat(&self.handle, &message);
        }
        Ok(())
    }

    /// Waits until what the connection said has come back to it.
    async fn said_is_delivered(&self) {
        let rooms = self.rooms.lock().clone();
        for joined in rooms {
            joined.said_is_delivered(self.handle.id()).await;
        }
    }

    /// Reports what a ping said: its `read` about one room, its status in all of them.
    async fn report(&self, room_id: Option<&str>, read: Option<MessageId>) -> Result<(), Error> {
        let about = match (room_id, read) {
            (None, None) => None,
            _ => Some(self.joined(room_id)?),
        };
        if let (Some(about), Some(read)) = (&about, read) {
            let mut known = about.who.read.lock();
            *known = (*known).max(Some(read));
        }
        let rooms = self.rooms.lock().clone();
        for joined in rooms {
            let is_about = about.as_ref().is_some_and(|about| about.local.id == joined.local.id);
            let seat = self.seat(&joined);
            self.app.heartbeat.report(&joined.local, &seat, is_about && read.is_some()).await?;
        }
        Ok(())
    }

    /// Takes the connection out of a room. Here it is out at once; where Redis cannot be told, the
    /// user's presence lapses.
    async fn leave(&self, joined: &Joined, grace: Duration) {
        let room = &joined.local.id;
        self.rooms.lock().retain(|other| other.local.id != *room);
        self.app.fanout.leave(room, self.handle.id());
        joined.local.reported().await;
        let left = self.app.rooms.leave(room, &joined.who.user, self.handle.id(), grace).await;
        if let Ok(Departure::Grace) = left {
            self.sweep_after(room.clone(), grace + AFTER_GRACE);
        }
    }

    /// Has the room looked at again when the grace is over. If this node is gone by then, another
    /// node's heartbeat does it.
    fn sweep_after(&self, room: RoomId, pause: Duration) {
        let (rooms, stop) = (self.app.rooms.clone(), self.app.stop.clone());
        self.app.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {
                    // Where it fails, the next heartbeat of the room does it.
                    let _ = rooms.sweep(&room).await;
                }
            }
        });
    }

    /// Takes the connection out of every room, with the grace. A join under way is finished
    /// first, or nobody would know that it ended.
    async fn end(&self, operation: Option<Operation>) {
        if let Some(operation) = operation {
            let _ = tokio::time::timeout(END_PATIENCE, operation).await;
        }
        let rooms = self.rooms.lock().clone();
        let grace = self.app.settings.leave_grace;
        for joined in rooms {
            self.leave(&joined, grace).await;
        }
    }

    /// The room that a frame means.
    fn joined(&self, room_id: Option<&str>) -> Result<Joined, Error> {
        let rooms = self.rooms.lock();
        let found = match room_id {
            Some(id) => rooms.iter().find(|joined| joined.local.id.as_str() == id),
            None if rooms.len() > 1 => {
                return Err(Error::invalid("roomId", Problem::RoomIdNeeded));
            }
            None => rooms.first(),
        };
        found.cloned().ok_or_else(|| Error::new(Code::NotInRoom))
    }

    fn seat(&self, joined: &Joined) -> Seat {
        Seat::new(self.handle.clone(), joined.who.clone(), joined.local.id.clone())
    }

    fn is_urgent(&self, silent_for: Duration) -> bool {
        self.app.heartbeat.is_urgent(silent_for)
    }

    fn answer_error(&self, error: &Error, echo: &Echo) {
        self.app.metrics.error(error.code);
        if error.code == Code::Internal {
            tracing::error!(connection = %self.handle.id(), %error, "frame failed");
        }
        let (room_id, key) = (echo.room_id.as_deref(), echo.key.as_deref());
        let frame = ServerFrame::error(error, self.handle.language(), room_id, key);
        self.handle.push(frame.to_text());
    }
}

impl Joined {
    /// Waits until what the connection said in this room has come back to it.
    async fn said_is_delivered(&self, connection: &str) {
        let said = *self.who.said.lock();
        while said.is_some_and(|id| !self.local.has_delivered(connection, id)) {
            tokio::time::sleep(DELIVERY_LOOK).await;
        }
    }
}

impl ClientFrame {
    fn echo(&self) -> Echo {
        match self {
            ClientFrame::Join { room_id, .. } => Echo { room_id: Some(room_id.clone()), key: None },
            ClientFrame::Msg { room_id, key, .. } => {
                Echo { room_id: room_id.clone(), key: key.clone() }
            }
            ClientFrame::Ping { room_id, .. } | ClientFrame::Leave { room_id } => {
                Echo { room_id: room_id.clone(), key: None }
            }
        }
    }
}

/// Resolves when the operation is done; never where there is none.
async fn finished(operation: &mut Option<Operation>) {
    match operation {
        Some(operation) => operation.await,
        None => std::future::pending().await,
    }
}

/// What to say to a client whose frame the WebSocket layer refused; nothing where it is gone.
fn close_reason(error: axum::Error) -> Option<CloseReason> {
    use tungstenite::Error as Ws;
    match error.into_inner().downcast_ref::<Ws>()? {
        Ws::Capacity(_) => Some(CloseReason::TooLarge),
        Ws::Utf8(_) | Ws::Protocol(tungstenite::error::ProtocolError::InvalidOpcode(_)) => {
            Some(CloseReason::Malformed)
        }
        _ => None,
    }
}
