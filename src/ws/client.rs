//! Runs the requests of one connection: each frame becomes an operation of the room service. Knows
//! no socket: answers go into the outbox.

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

/// A request of a connection that waits for Redis.
pub type Operation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The state that the operations of a connection share.
pub struct Client {
    /// The node.
    pub app: App,
    /// The connection.
    pub outbox: Arc<Outbox>,
    /// The client's address; its failed joins are counted there.
    ip: IpAddr,
    /// The connection's frame budget.
    pub frames: FrameBudget,
    rooms: Mutex<Vec<Joined>>,
    /// The position in the bytes to the client at which the last answer to a guest's join ends; 0
    /// if no session waits for confirmation.
    unconfirmed: AtomicU64,
    /// The identity of a join without an answer: a retry gets the same one.
    unanswered: Mutex<Option<(RoomId, Identity)>>,
}

/// A room that the connection is in.
#[derive(Clone)]
struct Joined {
    local: Arc<LocalRoom>,
    membership: Arc<Membership>,
}

/// A request that waits for its turn.
pub enum Request {
    /// A frame from the client.
    Frame(ClientFrame),
    /// Join a room again, from this message on.
    Rejoin(RoomId, MessageId),
}

/// The parts of a frame that its error repeats, unchecked.
#[derive(Default)]
pub struct Echo {
    /// its `roomId`
    pub room_id: Option<String>,
    /// its `key`
    pub key: Option<String>,
}

impl Client {
    /// The client of a new connection.
    pub fn new(app: &App, outbox: Arc<Outbox>, ip: IpAddr) -> Arc<Self> {
        let frames = FrameBudget::new(app.settings.frames_per_second());
        let (rooms, unanswered) = (Mutex::default(), Mutex::default());
        let unconfirmed = AtomicU64::new(0);
        Arc::new(Self { app: app.clone(), outbox, ip, frames, rooms, unconfirmed, unanswered })
    }

    /// Called for every text frame: the client has read the answers that were written before. This
    /// confirms the sessions of its guests, which is reported to Redis soon, because this node may die.
    pub fn confirm_sessions(&self) {
        let end = self.unconfirmed.load(Ordering::Relaxed);
        if end == 0 || self.outbox.written() < end {
            return;
        }
        self.unconfirmed.store(0, Ordering::Relaxed);
        for joined in self.rooms.lock().iter().filter(|joined| joined.membership.confirm()) {
            self.app.heartbeat.report_confirmed(&joined.local, self.seat(joined));
        }
    }

    /// Starts the next request, in a batch with those that can go with it; errors are answered. A
    /// join waits until the client has read most of its outbox: a client that rejoins many rooms
    /// may read slowly.
    pub fn begin_next(self: &Arc<Self>, pending: &mut VecDeque<Request>) -> Option<Operation> {
        if pending.front()?.has_large_answer() && !self.outbox.has_room() {
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
                // Earlier messages are acknowledged before the connection leaves the room.
                let _ =
                    tokio::time::timeout(patience, joined.own_messages_delivered(self.outbox.id()))
                        .await;
                self.leave(&joined, Duration::ZERO).await;
                Ok(())
            }
        }
    }

    /// Reports the contents of a ping: its `read` in one room, its status in all rooms.
    async fn report(&self, room_id: Option<&str>, read: Option<MessageId>) -> Result<(), Error> {
        let about = match (room_id, read) {
            (None, None) => None,
            _ => Some(self.joined(room_id)?),
        };
        if let (Some(about), Some(read)) = (&about, read) {
            // Not checked here: the script limits it to the last message, and never moves it back.
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

    /// The room that a frame is about.
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

    /// Whether a client that was silent for this long must be reported to Redis at once.
    pub fn is_urgent(&self, silent_for: Duration) -> bool {
        self.app.heartbeat.is_urgent(silent_for)
    }

    /// Sends the error that the client exceeds its frame budget.
    pub fn answer_too_many_frames(&self) {
        self.app.metrics.turned_away(Limit::Frames);
        let max = self.app.settings.frames_per_second();
        let problems = [("frame".into(), Problem::TooManyFrames { max })].into();
        let error = Error { problems, ..Error::new(Code::RateLimited) };
        self.answer_error(&error, &Echo::default());
    }

    /// Sends an error to the client.
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
    fn has_large_answer(&self) -> bool {
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
    /// The parts of the frame that its error repeats.
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
