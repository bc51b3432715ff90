//! A listener of a room: reads the history, takes a seat in the room's feed, and reads again if the
//! feed finds that messages are missing.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    app::App,
    error::{Code, Error},
    fanout::{LocalRoom, Seat, feed::Answered, jittered},
    heartbeat::wall_clock,
    i18n::Language,
    message::Message,
    names::{MessageId, RoomId},
    outbox::{Outbox, OutboxLimits, Wire},
    protocol::{ServerFrame, close::CloseReason, sse},
    removal::Reason,
    room::{ReadOn, Reader},
    socket::timeouts::Timeouts,
};

/// Messages of one read.
const PAGE: usize = 200;
/// Interval of comments.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// The minimum wait before a client reconnects, and the maximum random addition, so that not all
/// reconnect at once.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_SPREAD: Duration = Duration::from_secs(2);
/// Maximum time that a listener with an expiring JWT may stay; timers have a maximum.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);
/// Maximum wait between two attempts to read while Redis is unavailable.
const READ_RETRY: Duration = Duration::from_millis(400);

/// A listener of a room. Dropping it releases its seat.
pub struct Listener {
    app: App,
    room: RoomId,
    reader: Reader,
    outbox: Arc<Outbox>,
    /// The last message that it got while it had no seat.
    since: Option<MessageId>,
    /// The room in which it has its seat.
    local: Option<Arc<LocalRoom>>,
    /// Whether it has been without a seat since it first had one.
    missed_events: bool,
    /// Cancelled when the client has disconnected.
    gone: CancellationToken,
}

impl Listener {
    /// A listener that has everything up to `since`; without it, the listener gets no earlier
    /// messages.
    pub fn new(
        app: &App,
        room: RoomId,
        reader: Reader,
        language: Language,
        since: Option<MessageId>,
    ) -> Self {
        let settings = &app.settings;
        let limits = OutboxLimits { frames: settings.outbox_frames, bytes: settings.outbox_bytes };
        let wire = Wire::Answer(Arc::default());
        let outbox = Outbox::new(app.registry.next_id(), language, limits, wire);
        outbox.push(sse::retry(RETRY + jittered(RETRY_SPREAD)));
        let (outbox, gone) = (Arc::new(outbox), CancellationToken::new());
        Self {
            app: app.clone(),
            room,
            reader,
            outbox,
            since,
            local: None,
            missed_events: false,
            gone,
        }
    }

    /// Its outbox.
    pub fn outbox(&self) -> Arc<Outbox> {
        self.outbox.clone()
    }

    /// To be cancelled when the client disconnects.
    pub fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// Sends events until the client disconnects or the room ends. Checks itself whether the client
    /// reads; `timeouts` are those of its connection.
    pub async fn run(mut self, timeouts: Option<Arc<Timeouts>>) {
        let registered = self.app.registry.register(self.outbox.clone());
        timeouts.iter().for_each(|timeouts| timeouts.delegate_stall());
        let gone = self.gone.clone();
        let end = tokio::select! {
            () = gone.cancelled() => None,
            end = self.tell() => Some(end),
        };
        if end == Some(CloseReason::TooSlow) {
            info!("cut off: it reads too slowly");
            self.app.metrics.slow_consumers.inc();
            self.outbox.overflow();
            let _ = timeout(self.app.settings.slow_close_timeout, gone.cancelled()).await;
            timeouts.iter().for_each(|timeouts| timeouts.cut_off());
        }
        if let Some(end) = end {
            self.app.metrics.closed(end.code().0);
        }
        self.outbox.hang_up();
        drop(registered);
    }

    async fn tell(&mut self) -> CloseReason {
        let idle = self.app.settings.idle_timeout;
        let mut comments = interval(COMMENT_EVERY.min(idle / 3));
        comments.tick().await;
        let ends_at = self.reader.token.as_ref().and_then(|(token, _)| token.ends_at());
        let left = ends_at.unwrap_or(u64::MAX).saturating_sub(wall_clock()).saturating_add(1);
        let expiry = sleep(Duration::from_secs(left).min(LONGEST));
        tokio::pin!(expiry);
        loop {
            if self.local.is_none()
                && let Some(end) = self.read_on().await
            {
                return end;
            }
            self.told_members();
            tokio::select! {
                work = self.outbox.work() => {
                    if let Some(reason) = work.close {
                        return reason;
                    }
                    if work.must_recheck_access && !self.may_listen().await {
                        return CloseReason::Silent;
                    }
                    if let Some((_, since)) = work.rejoins.into_iter().next_back() {
                        self.leave_seat();
                        (self.since, self.missed_events) = (Some(since), true);
                    }
                }
                () = &mut expiry, if ends_at.is_some() => {
                    self.tell_removed(Reason::Expired).await;
                    return CloseReason::Silent;
                }
                _ = comments.tick() => match self.is_over().await {
                    true => return CloseReason::Silent,
                    false if self.outbox.silent_for() > idle => return CloseReason::TooSlow,
                    false => self.outbox.push(sse::COMMENT),
                }
            }
        }
    }

    /// Whether it may still listen, according to Redis.
    async fn may_listen(&self) -> bool {
        let may = self.app.rooms.may_listen(&self.room, &self.reader).await;
        !matches!(may, Err(Error { code: Code::InvalidToken, .. }))
    }

    /// Whether the room no longer exists. If its creator has deleted it, the listener is told.
    async fn is_over(&self) -> bool {
        let missing = self.local.as_ref().is_some_and(|local| local.is_missing());
        let looked = async || self.app.rooms.preview(&self.room).await;
        let is_over =
            missing && matches!(looked().await, Err(Error { code: Code::RoomNotFound, .. }));
        if is_over {
            self.tell_closed().await;
        }
        is_over
    }

    async fn tell_closed(&self) {
        if let Ok(true) = self.app.rooms.is_closed(&self.room).await {
            self.tell_removed(Reason::Closed).await;
        }
    }

    async fn tell_removed(&self, reason: Reason) {
        let removed = ServerFrame::Removed { room_id: &self.room, reason };
        self.outbox.push(sse::event(removed.json().as_bytes(), None));
        let _ = timeout(self.app.settings.slow_close_timeout, self.outbox.flushed()).await;
    }

    /// Reads on until nothing is left and it has its seat. Returns a reason if it has to end.
    async fn read_on(&mut self) -> Option<CloseReason> {
        while self.local.is_none() {
            let patience = self.app.settings.idle_timeout;
            tokio::select! {
                () = self.app.drain.cancelled() => return Some(CloseReason::Leaving),
                taken = timeout(patience, self.outbox.flushed()) => {
                    if taken.is_err() {
                        return Some(CloseReason::TooSlow);
                    }
                }
            }
            match self.take_seat().await {
                Ok(()) => {}
                Err(error) if error.code == Code::InvalidToken => return Some(CloseReason::Silent),
                Err(error) if error.code == Code::RoomNotFound => {
                    self.tell_closed().await;
                    return Some(CloseReason::Silent);
                }
                Err(error) => sleep(error.retry_after.unwrap_or(jittered(READ_RETRY))).await,
            }
        }
        None
    }

    /// If it has been without a seat, it may have missed joins and leaves, so it gets the list of
    /// members.
    fn told_members(&mut self) {
        if let Some(local) = self.local.as_ref().filter(|_| self.missed_events) {
            self.app.fanout.tell_members_again(local);
            self.missed_events = false;
        }
    }

    /// Takes a seat and reads a page. If nothing is left, it keeps the seat and gets everything from
    /// then on; otherwise it releases the seat, and messages that arrive meanwhile are read with the
    /// next page.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN` if listening needs a token, or Redis cannot be reached.
    pub async fn take_seat(&mut self) -> Result<(), Error> {
        let permit = self.app.fanout.admit_join(&self.room).await?;
        let seat = Seat::listener(self.outbox.clone(), self.room.clone());
        let mut guard = SeatGuard { listener: self, stays: false };
        let Listener { app, room, reader, .. } = &*guard.listener;
        let (local, tag) = app.fanout.enter(seat).await?;
        local.has_space().await;
        let read = app.rooms.read_on(room, reader, guard.listener.since, PAGE, &tag).await;
        let ReadOn { secret, tip, more, gap, messages, deleted } = read?;
        permit.answered();
        guard.listener.give(gap, &messages, if more { &[] } else { &deleted });
        if messages.is_empty() && guard.listener.since != Some(tip) {
            // A client that is cut off before the first message resumes from here.
            guard.listener.outbox.push(sse::position(tip));
        }
        guard.listener.since = match messages.last() {
            Some(last) if more => Some(last.id),
            _ => Some(tip),
        };
        if !more && local.listens(&guard.listener.outbox, tip, secret) == Answered::Sent {
            guard.stays = true;
            guard.listener.local = Some(local);
        }
        Ok(())
    }

    /// Sends what was read, as one piece, which fits however large it is, followed by deletions
    /// among the messages that it had before.
    fn give(&self, gap: bool, messages: &[Message], deleted: &[MessageId]) {
        let gap = self.since.filter(|_| gap).map(|since| sse::gap(&self.room, since));
        let events = messages.iter().map(|message| {
            let json = ServerFrame::Msg(message).json();
            sse::event(json.as_bytes(), Some(message.id))
        });
        let deleted = deleted.iter().map(|id| {
            let json = ServerFrame::Deleted { room_id: &self.room, id: *id }.json();
            sse::event(json.as_bytes(), None)
        });
        let all: Bytes = gap.into_iter().chain(events).chain(deleted).flatten().collect();
        if !all.is_empty() {
            self.outbox.push(all);
        }
    }

    fn leave_seat(&mut self) {
        self.app.fanout.leave(&self.room, self.outbox.id());
        self.local = None;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.leave_seat();
    }
}

/// Releases a seat unless it is kept.
struct SeatGuard<'a> {
    listener: &'a mut Listener,
    stays: bool,
}

impl Drop for SeatGuard<'_> {
    fn drop(&mut self) {
        if !self.stays {
            self.listener.leave_seat();
        }
    }
}
