//! What a connection's client asks for: each frame becomes work for the room service. Knows no
//! socket: answers go into the connection's outbox.

mod publish;

use std::{
    collections::VecDeque,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::value::RawValue;

use publish::take_batch;

use crate::{
    app::App,
    boxed,
    error::{Code, Error},
    fanout::{Fanout, LocalRoom, Membership, Seat, feed::Answered, jittered},
    limits::{FrameBudget, Limit},
    message::newest_within,
    names::{MessageId, RoomId},
    outbox::Outbox,
    problem::Problem,
    protocol::{ClientFrame, Msg, ServerFrame},
    redis::scripts::{Leave, LeaveOutcome, Snapshot},
    room::Identity,
};

/// How long what is under way may take when the connection has ended.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// So many messages in the answer to a join count as a frame more.
const MESSAGES_A_FRAME: usize = 100;
/// Between two attempts to join again while Redis is away, at most.
const REJOIN_RETRY: Duration = Duration::from_millis(400);
/// Between two looks whether what was said has come back.
const DELIVERY_LOOK: Duration = Duration::from_millis(2);
/// How much longer than the grace the room is looked at again: clocks do not run alike.
const AFTER_GRACE: Duration = Duration::from_millis(20);

/// Work for Redis on behalf of a connection.
pub type Operation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a connection's operations share.
pub struct Client {
    /// The node.
    pub app: App,
    /// The connection.
    pub outbox: Arc<Outbox>,
    /// Whose guesses its wrong joins are.
    ip: IpAddr,
    /// How many frames it may send.
    pub frames: FrameBudget,
    rooms: Mutex<Vec<Joined>>,
    /// Where the last answer to a guest's join ends, in bytes to the client; 0 where the client is known to
    /// have its tokens.
    unproven: AtomicU64,
    /// The identity of a join that was not answered: a second try is the same guest.
    unanswered: Mutex<Option<(RoomId, Identity)>>,
}

/// A room that the connection is in.
#[derive(Clone)]
struct Joined {
    local: Arc<LocalRoom>,
    membership: Arc<Membership>,
}

/// What waits for its turn.
pub enum Request {
    /// A frame of the client's.
    Frame(ClientFrame),
    /// To join a room again, from the message given.
    Rejoin(RoomId, MessageId),
}

/// What a frame is answered with if it fails: its own room and key, as they stood there.
#[derive(Default)]
pub struct Echo {
    /// its room
    pub room_id: Option<String>,
    /// its key
    pub key: Option<String>,
}

impl Client {
    /// The client of a connection that was just opened.
    pub fn new(app: &App, outbox: Arc<Outbox>, ip: IpAddr) -> Arc<Self> {
        let frames = FrameBudget::new(app.settings.frames_per_second());
        let (rooms, unanswered) = (Mutex::default(), Mutex::default());
        let unproven = AtomicU64::new(0);
        Arc::new(Self { app: app.clone(), outbox, ip, frames, rooms, unproven, unanswered })
    }

    /// The client sent something. What it was answered before, it has: the sessions of a guest are its
    /// own from now on.
    pub fn confirm_sessions(&self) {
        let end = self.unproven.load(Ordering::Relaxed);
        if end == 0 || self.outbox.written() < end {
            return;
        }
        for joined in &*self.rooms.lock() {
            joined.membership.proven.store(true, Ordering::Relaxed);
        }
        self.unproven.store(0, Ordering::Relaxed);
    }

    /// Begins what the next request asks for, together with what goes with it; what fails is answered.
    /// A join waits until the client has read most of what it was sent: whoever comes back to many
    /// rooms reads slowly, maybe, but reads.
    pub fn begin_next(self: &Arc<Self>, pending: &mut VecDeque<Request>) -> Option<Operation> {
        if pending.front()?.brings_much() && !self.outbox.has_room() {
            return None;
        }
        let request = pending.pop_front()?;
        let more = match &request {
            Request::Frame(ClientFrame::Msg(first)) => take_batch(first, pending),
            _ => Vec::new(),
        };
        let client = self.clone();
        Some(boxed::in_place(|| async move {
            let echo = request.echo();
            if let Err(error) = client.obey(request, more).await {
                client.answer_error(&error, &echo);
            }
        }))
    }

    async fn obey(self: &Arc<Self>, request: Request, more: Vec<Msg>) -> Result<(), Error> {
        self.rooms.lock().retain(|joined| joined.membership.is_in());
        let frame = match request {
            Request::Frame(frame) => frame,
            Request::Rejoin(room, since) => return self.rejoin(&room, since).await,
        };
        match frame {
            ClientFrame::Join { room_id, token, since, secret } => {
                self.limit_misses(self.join(&room_id, &token, since, secret.as_deref())).await
            }
            ClientFrame::Msg(first) => {
                self.publish(first, more).await;
                Ok(())
            }
            ClientFrame::Ping { room_id, read, .. } => self.report(room_id.as_deref(), read).await,
            ClientFrame::Leave { room_id } => {
                let joined = self.joined(room_id.as_deref())?;
                let patience = self.app.settings.redis_timeout;
                // What was said before is acknowledged before the connection is out.
                let _ =
                    tokio::time::timeout(patience, joined.own_messages_delivered(self.outbox.id()))
                        .await;
                self.leave(&joined, Duration::ZERO).await;
                Ok(())
            }
        }
    }

    /// A join that may be a guess at a room or a token: whoever is often wrong has to wait.
    async fn limit_misses(
        &self,
        join: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let (limits, metrics) = (&self.app.limits, &self.app.metrics);
        limits.check_misses(self.ip).inspect_err(|_| metrics.turned_away(Limit::Misses))?;
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
        secret: Option<&str>,
    ) -> Result<(), Error> {
        let room = RoomId::parse(room_id).ok_or(Code::RoomNotFound)?;
        let identity = self.identity(&room, token, secret).await?;
        self.check_rooms(&room, &identity)?;
        let mut entered = self.enter(&room, &identity, since).await;
        if let Err(Error { code: Code::RoomNotFound, .. }) = entered
            && let Some(local) = self.app.fanout.find(&room)
        {
            // Redis came back empty, and nobody has put back yet what this node knows of the room.
            self.app.heartbeat.beat(&local).await;
            entered = self.enter(&room, &identity, since).await;
        }
        entered?;
        if since.is_some() {
            self.app.metrics.resumes.inc();
        }
        Ok(())
    }

    /// Who a join wants to be. A nickname whose first try was not answered gets the same token
    /// again, where it did not choose one itself: Redis may know it by now.
    async fn identity(
        &self,
        room: &RoomId,
        token: &str,
        secret: Option<&str>,
    ) -> Result<Identity, Error> {
        let identity = self.app.rooms.identity(room, token, secret).await?;
        let unanswered = self.unanswered.lock();
        let same = unanswered.as_ref().filter(|(tried, earlier)| {
            identity.guest && secret.is_none() && tried == room && earlier.user == identity.user
        });
        Ok(same.map_or(identity, |(_, earlier)| earlier.clone()))
    }

    fn check_rooms(&self, room: &RoomId, identity: &Identity) -> Result<(), Error> {
        let rooms = self.rooms.lock();
        let max = self.app.settings.rooms_per_connection;
        match rooms.iter().find(|joined| joined.local.id == *room) {
            Some(joined) if joined.membership.token == identity.token => Ok(()),
            Some(joined) if identity.guest && joined.membership.user == identity.user => {
                Err(Error::new(Code::NameTaken))
            }
            Some(_) => Err(Error::invalid("roomId", Problem::AlreadyJoined)),
            None if rooms.len() >= max => {
                self.app.metrics.turned_away(Limit::RoomsPerConnection);
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
        let membership = match self.joined(Some(room.as_str())) {
            Ok(joined) => joined.membership,
            Err(_) => {
                let (user, token) = (identity.user.clone(), identity.token.clone());
                Arc::new(Membership::new(user, token, !identity.guest))
            }
        };
        let mut seat = SeatGuard::new(&self.app.fanout, room, self.outbox.id());
        let entered = self.app.fanout.enter(room, self.outbox.clone(), membership.clone()).await;
        let answer = match entered {
            Ok((local, tag)) => {
                let permit = local.admit_join().await;
                let (id, status) = (self.outbox.id(), self.outbox.status());
                let snapshot = self.app.rooms.join(room, identity, id, status, since, &tag).await;
                drop(permit);
                snapshot.map(|snapshot| (local, snapshot))
            }
            Err(error) => Err(error),
        };
        seat.is_answered = true;
        match answer {
            Ok((local, snapshot)) => match self.entered(local, membership, snapshot)? {
                Answered::Overtaken => Box::pin(self.enter(room, identity, since)).await,
                Answered::Sent | Answered::Gone => Ok(()),
            },
            Err(error) => {
                self.not_entered(room, identity, &error);
                Err(error)
            }
        }
    }

    fn entered(
        &self,
        local: Arc<LocalRoom>,
        membership: Arc<Membership>,
        snapshot: Snapshot,
    ) -> Result<Answered, Error> {
        membership.joined_at_ms.store(snapshot.joined_at_ms, Ordering::Relaxed);
        // What costs Redis much is asked for less often.
        self.frames.spend(snapshot.messages.len() / MESSAGES_A_FRAME);
        let joined = self.joined_frame(&local.id, &membership, &snapshot)?;
        *self.unanswered.lock() = None;
        let mut rooms = self.rooms.lock();
        rooms.retain(|joined| joined.local.id != local.id);
        rooms.push(Joined { local: local.clone(), membership: membership.clone() });
        drop(rooms);
        self.app.metrics.joins.inc();
        let is_proven = membership.is_proven();
        let answered = local.answered(&self.outbox, joined, snapshot);
        if !is_proven {
            self.unproven.store(self.outbox.queued(), Ordering::Relaxed);
        }
        Ok(answered)
    }

    fn not_entered(&self, room: &RoomId, identity: &Identity, error: &Error) {
        if !self.app.fanout.refused(room, self.outbox.id()) {
            self.rooms.lock().retain(|joined| joined.local.id != *room);
        }
        if error.code == Code::RateLimited {
            self.app.metrics.turned_away(Limit::ConnectionsPerUser);
        }
        let may_have_happened = identity.guest && error.code == Code::ServiceUnavailable;
        *self.unanswered.lock() = may_have_happened.then(|| (room.clone(), identity.clone()));
    }

    /// The answer, with as many messages as fit into it.
    fn joined_frame(
        &self,
        room_id: &RoomId,
        membership: &Membership,
        snapshot: &Snapshot,
    ) -> Result<Bytes, Error> {
        let list = |json: &str| {
            let not_json = |_| Error::internal("a script's list of members is not JSON");
            RawValue::from_string(json.to_owned()).map_err(not_json)
        };
        let (members, away) = (list(&snapshot.members)?, list(&snapshot.away)?);
        let frame = |messages, more| {
            let frame = ServerFrame::Joined {
                room_id,
                me: membership.user.as_str(),
                token: membership.token.secret(),
                members: &members,
                away: &away,
                member_count: snapshot.member_count,
                creator: &snapshot.facts.creator,
                locked: false,
                topic: snapshot.facts.topic.as_deref(),
                messages,
                more,
                heartbeat: ServerFrame::seconds(self.app.settings.heartbeat()),
                e2e: snapshot.facts.e2e,
            };
            frame.encode()
        };
        let whole = frame(&snapshot.messages, snapshot.more);
        let most = self.app.settings.joined_bytes;
        if whole.len() <= most {
            return Ok(whole);
        }
        let left = most.saturating_sub(frame(&[], true).len());
        Ok(frame(newest_within(&snapshot.messages, left), true))
    }

    /// Joins again because messages were lost that the stream no longer holds, unless the client
    /// has done so itself by now.
    async fn rejoin(self: &Arc<Self>, room: &RoomId, since: MessageId) -> Result<(), Error> {
        let Ok(joined) = self.joined(Some(room.as_str())) else { return Ok(()) };
        if !joined.local.is_behind(self.outbox.id()) {
            return Ok(());
        }
        let done = self.try_rejoin(&joined, since).await;
        if done.is_err() {
            // It is told so, and not left in a room of which it hears nothing.
            self.app.fanout.leave(room, self.outbox.id());
            self.rooms.lock().retain(|joined| joined.local.id != *room);
        }
        done
    }

    async fn try_rejoin(self: &Arc<Self>, joined: &Joined, since: MessageId) -> Result<(), Error> {
        let (user, token) = (joined.membership.user.clone(), joined.membership.token.clone());
        let identity = Identity { user, token, guest: false };
        let room = &joined.local.id;
        let mut done = self.enter(room, &identity, Some(since)).await;
        if let Err(Error { code: Code::RoomNotFound | Code::InvalidToken, .. }) = done {
            self.app.heartbeat.beat(&joined.local).await;
            done = self.enter(room, &identity, Some(since)).await;
        }
        match done {
            Err(Error { code: Code::ServiceUnavailable, .. }) => {
                self.rejoin_later(room.clone(), since);
                Ok(())
            }
            done => done,
        }
    }

    /// Asks for another attempt. Until then the connection's other frames are answered.
    fn rejoin_later(&self, room: RoomId, since: MessageId) {
        let outbox = self.outbox.clone();
        self.app.tasks.spawn(async move {
            tokio::time::sleep(jittered(REJOIN_RETRY)).await;
            outbox.rejoin(room, since);
        });
    }

    /// Waits until what the connection said has come back to it.
    pub async fn own_messages_delivered(&self) {
        let rooms = self.rooms.lock().clone();
        for joined in rooms {
            joined.own_messages_delivered(self.outbox.id()).await;
        }
    }

    /// Reports what a ping said: its `read` about one room, its status in all of them.
    async fn report(&self, room_id: Option<&str>, read: Option<MessageId>) -> Result<(), Error> {
        let about = match (room_id, read) {
            (None, None) => None,
            _ => Some(self.joined(room_id)?),
        };
        if let (Some(about), Some(read)) = (&about, read) {
            // As it was said last: the script knows how far anybody can have read, and never goes back.
            *about.membership.read.lock() = Some(read);
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
        self.app.fanout.leave(room, self.outbox.id());
        joined.local.reported().await;
        let (user, connection) = (&joined.membership.user, &**self.outbox.id());
        let leave = Leave { user, connection, grace, proven: joined.membership.is_proven() };
        let left = self.app.rooms.leave(room, leave).await;
        if let Ok(LeaveOutcome::Grace) = left {
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
    pub async fn end(&self, operation: Option<Operation>) {
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
        Seat::new(self.outbox.clone(), joined.membership.clone(), joined.local.id.clone())
    }

    /// Whether a client that was silent for so long has to be reported at once.
    pub fn is_urgent(&self, silent_for: Duration) -> bool {
        self.app.heartbeat.is_urgent(silent_for)
    }

    /// Tells the client that it sends more than is read of it.
    pub fn tell_too_fast(&self) {
        self.app.metrics.turned_away(Limit::Frames);
        let max = self.app.settings.frames_per_second();
        let problems = [("frame".into(), Problem::TooManyFrames { max })].into();
        let error = Error { problems, ..Error::new(Code::RateLimited) };
        self.answer_error(&error, &Echo::default());
    }

    /// Answers what failed.
    pub fn answer_error(&self, error: &Error, echo: &Echo) {
        self.app.metrics.error(error.code);
        if error.code == Code::Internal {
            tracing::error!(%error, "frame failed");
        }
        let (room_id, key) = (echo.room_id.as_deref(), echo.key.as_deref());
        let frame = ServerFrame::error(error, self.outbox.language(), room_id, key);
        self.outbox.push(frame.encode());
    }
}

impl Joined {
    /// Waits until what the connection said in this room has come back to it.
    async fn own_messages_delivered(&self, connection: &str) {
        let last_sent = *self.membership.last_sent.lock();
        while last_sent.is_some_and(|id| !self.local.has_delivered(connection, id)) {
            tokio::time::sleep(DELIVERY_LOOK).await;
        }
    }
}

impl Request {
    fn brings_much(&self) -> bool {
        matches!(self, Self::Frame(ClientFrame::Join { .. }) | Self::Rejoin(..))
    }

    fn echo(&self) -> Echo {
        match self {
            Self::Frame(frame) => frame.echo(),
            Self::Rejoin(room, _) => Echo { room_id: Some(room.to_string()), key: None },
        }
    }
}

impl ClientFrame {
    /// What its answer repeats of it if it fails.
    pub fn echo(&self) -> Echo {
        match self {
            ClientFrame::Join { room_id, .. } => Echo { room_id: Some(room_id.clone()), key: None },
            ClientFrame::Msg(msg) => msg.echo(),
            ClientFrame::Ping { room_id, .. } | ClientFrame::Leave { room_id } => {
                Echo { room_id: room_id.clone(), key: None }
            }
        }
    }
}

impl Msg {
    fn echo(&self) -> Echo {
        Echo { room_id: self.room_id.clone(), key: self.key.clone() }
    }
}

/// Gives a seat back where the join is given up before it was answered.
struct SeatGuard<'a> {
    fanout: &'a Fanout,
    room: &'a RoomId,
    connection: &'a str,
    is_answered: bool,
}

impl<'a> SeatGuard<'a> {
    fn new(fanout: &'a Fanout, room: &'a RoomId, connection: &'a str) -> Self {
        Self { fanout, room, connection, is_answered: false }
    }
}

impl Drop for SeatGuard<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.fanout.refused(self.room, self.connection);
        }
    }
}
