//! The heartbeat of this node: one call per room and interval, for any number of connections.
//!
//! It keeps members alive, sweeps lapsed ones, requests a fence, which shows lost publications, and
//! restores rooms that Redis has lost. Rooms are spread over the interval, so the load is even.

mod beats;
mod expiries;
mod leaves;

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

pub use beats::Beats;
use beats::{addresses, session_of};
pub use expiries::now as wall_clock;

use crate::{
    background::Background,
    error::{Code, Error},
    fanout::{
        Fanout, Hearing, LocalRoom, News, Report, Seat, Shore, collector::Request,
        frame::heartbeat_tag,
    },
    names::{MessageId, RoomId, UserId},
    protocol::ServerFrame,
    redis::{
        Access, Condition,
        scripts::{HeartbeatReply, Restoration, Restored, Scripts, UserHeartbeat},
    },
    removal::{Reason, Session},
    settings::Settings,
    ticks,
};

/// Number of slots in an interval.
const SLOTS: u32 = 16;
/// The interval while publications do not reach this node.
const DEAF_PERIOD: Duration = Duration::from_secs(1);
/// Rooms with a heartbeat in one second then, at most.
const DEAF_ROOMS_A_SECOND: u32 = 1000;
/// How much later than its answer a heartbeat's fence may arrive.
const FENCE_PATIENCE: Duration = Duration::from_secs(1);
/// Calls under way at once, so that a return of Redis makes no herd.
const CALLS_AT_ONCE: usize = 32;
/// A connection that would lapse within the interval and this part of a presence after a heartbeat is reported by it:
/// the next heartbeat may be late.
const SPARE: u32 = 5;
/// Users that one call only names.
const NAMES_A_CALL: usize = 1000;
/// Between two reports of one room, be it that each of its users has something to say every moment.
const REPORT_PAUSE: Duration = Duration::from_millis(25);
/// How long a confirmed session waits for others of its room, or for a message that confirms it. If this
/// node dies in that time, the session ends soon after the presence.
const CONFIRM_PAUSE: Duration = Duration::from_secs(1);
/// Users that one call speaks of: no call may keep Redis for long.
const USERS_A_CALL: usize = 128;
/// Rooms whose leaving connections are reported at the same time. While the others wait, more of theirs leave and are
/// in the same call.
const LEAVES_AT_ONCE: usize = 8;

/// The node's heartbeat; cheap to clone.
#[derive(Clone)]
pub struct Heartbeat {
    fanout: Fanout,
    scripts: Scripts,
    settings: Arc<Settings>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Turns of rooms whose connections leave.
    leaves: Arc<Semaphore>,
}

impl Heartbeat {
    /// A heartbeat of the rooms that `fanout` serves; its reports run in the `background`.
    pub fn new(
        fanout: Fanout,
        scripts: Scripts,
        settings: Arc<Settings>,
        background: &Background,
    ) -> Self {
        let (tasks, stop) = (background.tasks.clone(), background.stop.clone());
        let leaves = Arc::new(Semaphore::new(LEAVES_AT_ONCE));
        Self { fanout, scripts, settings, tasks, stop, leaves }
    }

    /// Starts the heartbeats, until `stop`.
    pub fn start(&self, background: &Background) {
        let beats = self.clone().run_everywhere(background.stop.clone());
        background.spawn_vital("the heartbeats", beats);
        if self.settings.identity.has_jwts() {
            let expiries = self.clone().expire(background.stop.clone());
            background.spawn_vital("the look for JWTs that end", expiries);
        }
    }

    /// Has a heartbeat for each island, so that none waits for another's.
    async fn run_everywhere(self, stop: CancellationToken) {
        let mut shores = self.fanout.shores();
        let mut known = BTreeSet::new();
        loop {
            let now = shores.borrow_and_update().clone();
            for shore in now.into_iter().filter(|shore| known.insert(shore.island.id())) {
                let island = shore.island.clone();
                island.spawn("the heartbeat", self.clone().run(shore));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = shores.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn run(self, shore: Arc<Shore>) {
        let mut conditions = shore.island.conditions();
        let mut slot = 0;
        let mut heartbeat_answered = VecDeque::new();
        loop {
            let (all, chosen) = tokio::select! {
                () = shore.island.stop().cancelled() => return,
                _ = ticks::next(self.pace(&shore) / SLOTS) => (false, None),
                rooms = shore.unchecked() => (true, Some(rooms)),
                _ = conditions.changed() => (true, None),
            };
            self.look_for_fences(&mut heartbeat_answered);
            let condition = conditions.borrow_and_update().clone();
            if !condition.allows(Access::Writes) || all && condition != Condition::Serves {
                continue;
            }
            slot = (slot + 1) % SLOTS;
            let mut rooms = chosen.unwrap_or_else(|| self.fanout.rooms_of(&shore));
            rooms.retain(|room| all || slot_of(&room.id) == slot);
            let beats = rooms.clone().into_iter().map(|room| {
                let heartbeat = self.clone();
                async move {
                    match all {
                        true => heartbeat.send(&room).await,
                        false => heartbeat.send_changes(&room).await,
                    }
                }
            });
            stream::iter(beats).buffer_unordered(CALLS_AT_ONCE).collect::<()>().await;
            heartbeat_answered.push_back((Instant::now(), rooms));
        }
    }

    /// Uses the answer of a room's heartbeat if its fence did not arrive.
    fn look_for_fences(&self, heartbeat_answered: &mut VecDeque<(Instant, Vec<Arc<LocalRoom>>)>) {
        while heartbeat_answered.front().is_some_and(|(at, _)| at.elapsed() >= FENCE_PATIENCE) {
            for room in heartbeat_answered.pop_front().into_iter().flat_map(|(_, rooms)| rooms) {
                self.fanout.fall_back(&room, FENCE_PATIENCE);
            }
        }
    }

    /// In how long each room has its heartbeat. Where publications do not reach this node, it finds out by its
    /// heartbeats what happened: then they come faster, for as many rooms as Redis hardly notices.
    fn pace(&self, shore: &Shore) -> Duration {
        if shore.hearing() != Hearing::Silent {
            return self.period();
        }
        let rooms = u32::try_from(self.fanout.rooms_of(shore).len()).unwrap_or(u32::MAX);
        DEAF_PERIOD.max(Duration::from_secs(1) / DEAF_ROOMS_A_SECOND * rooms).min(self.period())
    }

    /// A little shorter than the clients' interval, so that a loss is found within theirs.
    fn period(&self) -> Duration {
        self.settings.heartbeat() * 4 / 5
    }

    /// Whether a connection that was silent for this long would lapse before the next heartbeat.
    pub fn is_urgent(&self, silent_for: Duration) -> bool {
        silent_for + self.period() * 2 >= self.settings.presence_ttl
    }

    /// One heartbeat of one room, for all connections. A failed one is retried in the next
    /// interval.
    pub async fn send(&self, room: &Arc<LocalRoom>) {
        room.forget_heartbeat();
        self.send_changes(room).await;
    }

    /// One heartbeat of one room, for the connections that were active since they were reported last, and would not
    /// last until long after the next heartbeat. The deadlines of the others do not move.
    async fn send_changes(&self, room: &Arc<LocalRoom>) {
        if room.is_empty() {
            return self.fanout.release(&room.id);
        }
        let begun = Instant::now();
        match self.try_send(room).await {
            Ok(()) => room.heartbeat_taken(begun),
            Err(error) => warn!(%error, "a heartbeat failed"),
        }
    }

    async fn try_send(&self, room: &Arc<LocalRoom>) -> Result<(), Error> {
        let _reporting = room.reporting().await;
        let since = room.last_heartbeat();
        let spare = self.settings.presence_ttl / SPARE;
        let lasts = self.settings.presence_ttl.saturating_sub(self.period() + spare);
        let news = |seat: &Seat| since.map_or(News::Due, |since| seat.news(since, lasts));
        let (mut due, mut here) = (Vec::new(), HashSet::new());
        let is_news = |seat: &Seat| self.is_live(seat) && news(seat) != News::Nothing;
        for seat in room.seats(is_news) {
            match (news(&seat), &seat.membership) {
                (News::Due, _) => due.push(seat),
                (News::Here, Some(member)) => drop(here.insert(member.user.clone())),
                _ => {}
            }
        }
        self.tell_all(room, due, here.into_iter().collect()).await
    }

    /// Reports these seats to Redis, and those of the users `here` that are no members there any more.
    async fn tell_all(
        &self,
        room: &Arc<LocalRoom>,
        due: Vec<Seat>,
        here: Vec<UserId>,
    ) -> Result<(), Error> {
        let beats = Beats::of(due);
        let gone = self.tell(room, &beats.users, &here, || self.live(room)).await?;
        beats.processed();
        if gone.is_empty() {
            return Ok(());
        }
        let beats = Beats::of(room.seats(|seat| self.is_live(seat) && seat.is_of(&gone)));
        self.tell(room, &beats.users, &[], || self.live(room)).await?;
        beats.processed();
        Ok(())
    }

    /// Reports these users to Redis, and restores those of the `seats` that Redis does not know.
    /// The room is swept even without users. Returns which users of `here` are no members.
    async fn tell(
        &self,
        room: &Arc<LocalRoom>,
        beats: &[UserHeartbeat],
        here: &[UserId],
        seats: impl Fn() -> Vec<Seat>,
    ) -> Result<HashSet<UserId>, Error> {
        let mut gone = HashSet::new();
        let calls = beats.len().div_ceil(USERS_A_CALL).max(here.len().div_ceil(NAMES_A_CALL));
        let (mut beats, mut here) = (beats.chunks(USERS_A_CALL), here.chunks(NAMES_A_CALL));
        for _ in 0..calls.max(1) {
            let (chunk, names) =
                (beats.next().unwrap_or_default(), here.next().unwrap_or_default());
            match self.call(room, chunk, names).await {
                Ok((number, reply)) => {
                    gone.extend(reply.gone.iter().cloned());
                    if !reply.lost.is_empty() {
                        let lost = reply.lost.iter().cloned().collect();
                        let mut seats = seats();
                        seats.retain(|seat| seat.is_of(&lost));
                        self.restore(room, &seats).await?;
                    }
                    // Users who turn out to be removed must not get messages since then.
                    self.fanout.heartbeat_answered(room, number, &reply);
                    if let Some(wait) = reply.again {
                        self.fanout.sweep_after(&room.id, wait);
                    }
                }
                Err(error) if error.code == Code::RoomNotFound => {
                    let seats = seats();
                    room.set_missing(seats.is_empty());
                    self.restore(room, &seats).await?;
                    return Ok(HashSet::new());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(gone)
    }

    /// Reports these users to Redis. Returns the number of the heartbeat, and the answer.
    async fn call(
        &self,
        room: &Arc<LocalRoom>,
        beats: &[UserHeartbeat],
        here: &[UserId],
    ) -> Result<(u64, HeartbeatReply), Error> {
        let number = room.next_heartbeat();
        let reply = self.scripts.heartbeat(&room.id, &heartbeat_tag(number), beats, here).await?;
        room.set_missing(false);
        if reply.bounded {
            self.fanout.sweep_after(&room.id, self.settings.leave_grace);
            self.fanout.sweep_after(&room.id, self.settings.presence_ttl);
        }
        Ok((number, reply))
    }

    /// Reports a change of one connection before the next heartbeat, together with other pending
    /// reports of the room.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub async fn report(
        &self,
        room: &Arc<LocalRoom>,
        seat: &Seat,
        read: bool,
    ) -> Result<(), Error> {
        let (answer, begins) = room.reports.push(Report { seat: seat.clone(), read });
        if begins {
            self.spawn_taker(
                room,
                |heartbeat, room| async move { heartbeat.report_all(&room).await },
            );
        }
        answer.await.unwrap_or_else(|_| Err(Error::unavailable("the node leaves")))
    }

    /// Reports a confirmed session to Redis after a pause, unless a message confirms it first.
    pub fn report_confirmed(&self, room: &Arc<LocalRoom>, seat: Seat) {
        let (_, begins) = room.confirmations.push(seat);
        if begins {
            self.spawn_taker(room, |heartbeat, room| async move {
                heartbeat.report_all_confirmed(&room).await;
            });
        }
    }

    /// Reports confirmed sessions, those of a pause together, until none is left.
    async fn report_all_confirmed(&self, room: &Arc<LocalRoom>) {
        loop {
            tokio::select! {
                // The leave of each connection reports it.
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(CONFIRM_PAUSE) => {}
            }
            let _reporting = room.reporting().await;
            let Some(confirmed) = room.confirmations.take() else { return };
            let seats = confirmed.into_iter().map(|request| request.content);
            // Some have left since, or a message reported them.
            let seats: Vec<Seat> = seats.filter(Seat::is_unreported).collect();
            if seats.is_empty() {
                continue;
            }
            let beats = Beats::of(seats.iter().cloned());
            // After an error, the next heartbeat reports it.
            if self.tell(room, &beats.users, &[], || seats.clone()).await.is_ok() {
                beats.processed();
            }
        }
    }

    /// Starts a task that processes a collector's requests until none is left. After a panic, the
    /// requests in progress get an error, and the rest continue.
    fn spawn_taker<F: Future<Output = ()> + Send + 'static>(
        &self,
        room: &Arc<LocalRoom>,
        take_all: impl Fn(Self, Arc<LocalRoom>) -> F + Send + 'static,
    ) {
        let (heartbeat, room) = (self.clone(), room.clone());
        self.tasks.spawn(async move {
            loop {
                let taken = take_all(heartbeat.clone(), room.clone());
                if AssertUnwindSafe(taken).catch_unwind().await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Sends reports until none is left.
    async fn report_all(&self, room: &Arc<LocalRoom>) {
        while let Some(reports) = room.reports.take() {
            let reported = self.report_together(room, &reports).await;
            reports.into_iter().for_each(|report| report.answer(reported.clone()));
            tokio::time::sleep(REPORT_PAUSE).await;
        }
    }

    async fn report_together(
        &self,
        room: &Arc<LocalRoom>,
        reports: &[Request<Report>],
    ) -> Result<(), Error> {
        let _reporting = room.reporting().await;
        let (mut seats, mut reads) = (Vec::new(), HashMap::new());
        // A connection that has left would become a member again.
        let wanted = reports.iter().filter(|report| report.is_wanted());
        for Report { seat, read } in wanted.map(|report| &report.content) {
            if let Some(membership) = seat.membership.as_ref().filter(|_| *read) {
                let known: &mut Option<MessageId> = reads.entry(&membership.user).or_default();
                *known = (*known).max(*membership.read.lock());
            }
            seats.push(seat.clone());
        }
        let mut beats = Beats::of(seats.iter().cloned());
        for user in &mut beats.users {
            user.read = reads.get(&user.user).copied().flatten();
        }
        self.tell(room, &beats.users, &[], || seats.clone()).await?;
        beats.processed();
        Ok(())
    }

    /// Restores the users of a room that Redis lost. Connections whose session ended, or whose name
    /// somebody else took, are told and leave the room.
    async fn restore(&self, room: &Arc<LocalRoom>, seats: &[Seat]) -> Result<(), Error> {
        let Some(facts) = room.facts() else { return Ok(()) };
        let mut addresses = addresses(seats);
        let users: Vec<Restored> = Beats::of(seats.iter().cloned())
            .sessions()
            .filter(|(_, membership)| membership.is_in())
            .map(|(beat, membership)| Restored {
                addresses: addresses.remove(&session_of(&beat)).unwrap_or_default(),
                beat: UserHeartbeat { read: *membership.read.lock(), ..beat },
                token: membership.token.clone(),
            })
            .collect();
        if users.is_empty() {
            return Ok(());
        }
        let mut others = HashMap::new();
        for users in users.chunks(USERS_A_CALL) {
            let tag = heartbeat_tag(room.next_heartbeat());
            match self.scripts.restore(&room.id, &tag, &facts, users).await? {
                Restoration::Closed => {
                    self.fanout.close(room);
                    // Whoever closed it may have died before nothing was left.
                    return self.scripts.clear_room(&room.id).await;
                }
                Restoration::Done { others: not_restored, again } => {
                    others.extend(not_restored);
                    again.into_iter().for_each(|wait| self.fanout.sweep_after(&room.id, wait));
                }
            }
        }
        if others.len() < users.len() {
            info!(users = users.len() - others.len(), "restored a room");
        }
        self.not_restored(room, seats, &others);
        Ok(())
    }

    /// Tells the connections of these sessions why they are out of the room.
    fn not_restored(
        &self,
        room: &Arc<LocalRoom>,
        seats: &[Seat],
        sessions: &HashMap<Session, Option<Reason>>,
    ) {
        for seat in seats {
            let session = seat.session();
            let Some(reason) = session.and_then(|session| sessions.get(&session)) else { continue };
            if let Some(reason) = reason {
                self.fanout.evict(room, seat, *reason);
                continue;
            }
            // Somebody else has the name.
            seat.membership.iter().for_each(|membership| membership.evict());
            self.fanout.leave(&room.id, seat.outbox.id());
            let error = Error::new(Code::InvalidToken);
            let room_id = Some(room.id.as_str());
            let frame = ServerFrame::error(&error, seat.outbox.language(), room_id, None);
            seat.outbox.push(frame.encode());
        }
    }

    /// The connections with activity within the presence TTL; the others may lapse.
    fn live(&self, room: &Arc<LocalRoom>) -> Vec<Seat> {
        room.seats(|seat| self.is_live(seat))
    }

    fn is_live(&self, seat: &Seat) -> bool {
        seat.is_in() && seat.outbox.silent_for() < self.settings.presence_ttl
    }
}

/// The slot of a room in the interval.
fn slot_of(room: &RoomId) -> u32 {
    let mut hasher = DefaultHasher::new();
    room.hash(&mut hasher);
    (hasher.finish() % u64::from(SLOTS)) as u32
}
