//! Joining a room: first the seat, then the join script, then the answer. And joining again when
//! the stream no longer holds the messages that a connection missed.

use std::{
    iter,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Client, Joined};
use crate::{
    error::{Code, Error},
    fanout::{Fanout, LocalRoom, Membership, Seat, feed::Answered, jittered, roster::own_lists},
    limits::{Limit, storage},
    message::newest_within,
    names::{MessageId, RoomId, Status},
    problem::Problem,
    protocol::ServerFrame,
    redis::scripts::{Entry, Join, Snapshot, json_of},
    room::Identity,
};

/// This many messages in the answer to a join count as one frame more.
const MESSAGES_A_FRAME: usize = 100;
/// Maximum wait between two attempts to join again while Redis is unavailable.
const REJOIN_RETRY: Duration = Duration::from_millis(400);

impl Client {
    /// A join that may be a guess of a room id or a token: an address with many wrong ones has to
    /// wait.
    pub(super) async fn limit_misses(
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

    pub(super) async fn join(
        self: &Arc<Self>,
        room_id: &str,
        token: &str,
        since: Option<MessageId>,
        secret: Option<&str>,
    ) -> Result<(), Error> {
        let room = RoomId::parse(room_id).ok_or(Code::RoomNotFound)?;
        let mut identity = self.identity(&room, token, secret).await;
        if is_missing(&identity) && self.is_restored(&room).await {
            identity = self.identity(&room, token, secret).await;
        }
        let identity = identity?;
        self.check_rooms(&room, &identity)?;
        let permit = self.app.fanout.admit_join(&room).await?;
        let session = if identity.guest { storage::SESSION } else { 0 };
        self.app.charge(self.ip, session + storage::CONNECTION)?;
        let mut entered = self.enter(&room, &identity, since).await;
        if is_missing(&entered) && self.is_restored(&room).await {
            entered = self.enter(&room, &identity, since).await;
        }
        entered?;
        permit.answered();
        if since.is_some() {
            self.app.metrics.resumes.inc();
        }
        Ok(())
    }

    /// If Redis came back empty and no node has restored a room yet, restores one that this node
    /// knows.
    async fn is_restored(&self, room: &RoomId) -> bool {
        let Some(local) = self.app.fanout.find(room) else { return false };
        self.app.heartbeat.send(&local).await;
        true
    }

    /// The identity of a join. A nickname whose first attempt was not answered gets the same token
    /// again unless the client chose one: Redis may already know it.
    pub(super) async fn identity(
        &self,
        room: &RoomId,
        token: &str,
        secret: Option<&str>,
    ) -> Result<Identity, Error> {
        let identity = self.app.rooms.identity(room, token, secret, self.ip).await?;
        let unanswered = self.unanswered.lock();
        let same = unanswered.as_ref().filter(|(tried, earlier)| {
            identity.guest && secret.is_none() && tried == room && earlier.user == identity.user
        });
        Ok(same.map_or(identity, |(_, earlier)| earlier.clone()))
    }

    pub(super) fn check_rooms(&self, room: &RoomId, identity: &Identity) -> Result<(), Error> {
        let rooms = self.rooms.lock();
        let max = self.app.settings.rooms_per_connection;
        match rooms.iter().find(|joined| joined.local.id == *room) {
            Some(joined) if joined.membership.token == identity.token => {
                joined.membership.renew(&identity.token);
                Ok(())
            }
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

    /// Takes a seat before the script runs, so that no frame is missed in between.
    pub(super) async fn enter(
        self: &Arc<Self>,
        room: &RoomId,
        identity: &Identity,
        since: Option<MessageId>,
    ) -> Result<(), Error> {
        let membership = match self.joined(Some(room.as_str())) {
            Ok(joined) => joined.membership,
            Err(_) => {
                let (user, token) = (identity.user.clone(), identity.token.clone());
                Arc::new(Membership::new(user, token, !identity.guest, self.ip))
            }
        };
        let mut seat = SeatGuard::new(&self.app.fanout, room, self.outbox.id());
        let wanted = Seat::new(self.outbox.clone(), membership.clone(), room.clone());
        let entered = self.app.fanout.enter(wanted).await;
        let answer = match entered {
            Ok((local, tag)) => {
                let (connection, status) = (self.outbox.id().clone(), self.outbox.status());
                let entry = Entry { connection, address: self.ip, status, since, tag };
                let Identity { user, token, guest } = identity.clone();
                let join = Join { user, token, guest, entry };
                self.app.fanout.join(&local, join).await.map(|snapshot| (local, snapshot))
            }
            Err(error) => Err(error),
        };
        seat.is_answered = true;
        match answer {
            Ok((local, snapshot)) => match self.entered(local, membership, snapshot) {
                Answered::Overtaken => Box::pin(self.enter(room, identity, since)).await,
                Answered::Sent | Answered::Gone => Ok(()),
            },
            Err(error) => {
                self.not_entered(room, identity, &error);
                Err(error)
            }
        }
    }

    pub(super) fn entered(
        &self,
        local: Arc<LocalRoom>,
        membership: Arc<Membership>,
        snapshot: Snapshot,
    ) -> Answered {
        membership.joined_at_ms.store(snapshot.joined_at_ms, Ordering::Relaxed);
        // Expensive requests may be made less often.
        self.frames.spend(snapshot.messages.len() / MESSAGES_A_FRAME);
        let joined = self.joined_frame(&local.id, &membership, &snapshot);
        let joined = with_deleted(joined, &local.id, &snapshot.deleted);
        *self.unanswered.lock() = None;
        let mut rooms = self.rooms.lock();
        rooms.retain(|joined| joined.local.id != local.id);
        rooms.push(Joined { local: local.clone(), membership: membership.clone() });
        drop(rooms);
        self.app.metrics.joins.inc();
        let is_confirmed = membership.is_confirmed();
        let again = snapshot.again;
        let answered = local.answered(&self.outbox, joined, snapshot);
        again.into_iter().for_each(|wait| self.app.fanout.sweep_after(&local.id, wait));
        if answered == Answered::Gone {
            // Its session, or the room, ended while it joined, and the client was told.
            membership.evict();
        }
        if !is_confirmed {
            self.unconfirmed.store(self.outbox.queued(), Ordering::Relaxed);
        }
        answered
    }

    pub(super) fn not_entered(&self, room: &RoomId, identity: &Identity, error: &Error) {
        if !self.app.fanout.refused(room, self.outbox.id()) {
            self.rooms.lock().retain(|joined| joined.local.id != *room);
        }
        if error.code == Code::RateLimited {
            self.app.metrics.turned_away(Limit::ConnectionsPerUser);
        }
        let may_have_happened = identity.guest && error.code == Code::ServiceUnavailable;
        *self.unanswered.lock() = may_have_happened.then(|| (room.clone(), identity.clone()));
    }

    /// The answer, with as many of the newest messages as fit.
    pub(super) fn joined_frame(
        &self,
        room_id: &RoomId,
        membership: &Membership,
        snapshot: &Snapshot,
    ) -> Bytes {
        let is_away = self.outbox.status() == Status::Away;
        let own = own_lists(snapshot, membership.user.as_str(), is_away);
        let (members, away) = match &own {
            Some((members, away)) => (&**members, &**away),
            None => (&*snapshot.members, &*snapshot.away),
        };
        let frame = |messages: &RawValue, more| {
            let frame = ServerFrame::Joined {
                room_id,
                me: membership.user.as_str(),
                token: membership.token.secret(),
                members,
                away,
                member_count: snapshot.member_count,
                creator: &snapshot.facts.creator,
                creator_name_taken: snapshot.facts.creator_name_taken,
                locked: snapshot.facts.options.locked,
                topic: snapshot.facts.options.topic.as_deref(),
                messages,
                more,
                heartbeat: ServerFrame::seconds(self.app.settings.heartbeat()),
                e2e: snapshot.facts.options.e2e,
            };
            frame.encode()
        };
        let whole = frame(&snapshot.messages.json(), snapshot.more);
        let most = self.app.settings.joined_bytes;
        if whole.len() <= most {
            return whole;
        }
        let left = most.saturating_sub(frame(&json_of(&[]), true).len());
        frame(&json_of(newest_within(&snapshot.messages, left)), true)
    }

    /// Joins again because messages were lost that the stream no longer holds, unless the client
    /// has done so itself by now.
    pub(super) async fn rejoin(
        self: &Arc<Self>,
        room: &RoomId,
        since: MessageId,
    ) -> Result<(), Error> {
        let Ok(joined) = self.joined(Some(room.as_str())) else { return Ok(()) };
        if !joined.local.is_behind(self.outbox.id()) {
            return Ok(());
        }
        let done = self.try_rejoin(&joined, since).await;
        if done.is_err() {
            // The client gets the error, and must not stay in a room without events.
            self.app.fanout.leave(room, self.outbox.id());
            self.rooms.lock().retain(|joined| joined.local.id != *room);
        }
        done
    }

    pub(super) async fn try_rejoin(
        self: &Arc<Self>,
        joined: &Joined,
        since: MessageId,
    ) -> Result<(), Error> {
        let (user, token) = (joined.membership.user.clone(), joined.membership.token.clone());
        let identity = Identity { user, token, guest: false };
        let room = &joined.local.id;
        let permit = match self.app.fanout.admit_join(room).await {
            Ok(permit) => permit,
            Err(error) => {
                self.rejoin_later(room.clone(), since, error.retry_after);
                return Ok(());
            }
        };
        let mut done = self.enter(room, &identity, Some(since)).await;
        if let Err(Error { code: Code::RoomNotFound | Code::InvalidToken, .. }) = done {
            self.app.heartbeat.send(&joined.local).await;
            if !joined.membership.is_in() {
                // Its session has ended, and the client was told.
                return Ok(());
            }
            done = self.enter(room, &identity, Some(since)).await;
        }
        match done {
            Err(Error { code: Code::ServiceUnavailable, .. }) => {
                self.rejoin_later(room.clone(), since, None);
                Ok(())
            }
            done => {
                permit.answered();
                done
            }
        }
    }

    /// Requests another attempt, after `wait` if that is given. Until then the connection's other frames are processed.
    pub(super) fn rejoin_later(&self, room: RoomId, since: MessageId, wait: Option<Duration>) {
        let outbox = self.outbox.clone();
        self.app.tasks.spawn(async move {
            tokio::time::sleep(wait.unwrap_or(jittered(REJOIN_RETRY))).await;
            outbox.rejoin(room, since);
        });
    }
}

/// Whether there is no such room.
fn is_missing<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error { code: Code::RoomNotFound, .. }))
}

/// The answer to a join, followed by deletions of messages that the client may still show.
fn with_deleted(joined: Bytes, room: &RoomId, deleted: &[MessageId]) -> Bytes {
    if deleted.is_empty() {
        return joined;
    }
    let frames = deleted.iter().map(|id| ServerFrame::Deleted { room_id: room, id: *id }.encode());
    iter::once(joined).chain(frames).flatten().collect()
}

/// Releases a seat if the join is cancelled before it was answered.
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
