//! The requests of one connection: each frame becomes an operation on the room service. Knows no
//! socket: answers go into the outbox.

mod join;
mod leave;
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

use parking_lot::Mutex;

use publish::take_batch;

use crate::{
    app::App,
    boxed,
    error::{Code, Error},
    fanout::{LocalRoom, Membership, Seat},
    limits::{FrameBudget, Limit},
    names::{MessageId, RoomId},
    outbox::Outbox,
    problem::Problem,
    protocol::{ClientFrame, Msg, ServerFrame},
    room::Identity,
};

/// How long the connection's next frame waits until Redis knows that the client has its tokens.
const PROOF_PATIENCE: Duration = Duration::from_millis(500);

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
    /// To tell Redis that the client has its tokens of these rooms.
    Prove(Vec<RoomId>),
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
    /// own from now on, and Redis is told soon, since this node may die. Returns the request that does.
    pub fn confirm_sessions(&self) -> Option<Request> {
        let end = self.unproven.load(Ordering::Relaxed);
        if end == 0 || self.outbox.written() < end {
            return None;
        }
        self.unproven.store(0, Ordering::Relaxed);
        let rooms = self.rooms.lock();
        let proven =
            rooms.iter().filter(|joined| !joined.membership.proven.swap(true, Ordering::Relaxed));
        Some(Request::Prove(proven.map(|joined| joined.local.id.clone()).collect()))
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
            Request::Prove(rooms) => {
                self.prove(&rooms).await;
                return Ok(());
            }
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

    /// Tells Redis that the client has its tokens. What fails or takes long is told by the next heartbeat.
    async fn prove(&self, rooms: &[RoomId]) {
        for room in rooms {
            let Ok(joined) = self.joined(Some(room.as_str())) else { continue };
            let seat = self.seat(&joined);
            let told = self.app.heartbeat.report(&joined.local, &seat, false);
            let _ = tokio::time::timeout(PROOF_PATIENCE, told).await;
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

impl Request {
    fn brings_much(&self) -> bool {
        matches!(self, Self::Frame(ClientFrame::Join { .. }) | Self::Rejoin(..))
    }

    fn echo(&self) -> Echo {
        match self {
            Self::Frame(frame) => frame.echo(),
            Self::Rejoin(room, _) => Echo { room_id: Some(room.to_string()), key: None },
            Self::Prove(_) => Echo::default(),
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
