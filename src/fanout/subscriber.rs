//! The subscription of this node on one island: subscribing and unsubscribing, receiving, and the check that it works.
//!
//! Order matters here: a room counts as subscribed only after Redis has confirmed it. After every reconnect, all channels
//! are subscribed again and every room is asked for its tip. On a cluster rooms come and go with their slots: a room that
//! comes is subscribed and asked in the same way.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fred::{
    error::{Error as RedisError, ErrorKind},
    types::Message as Payload,
};
use futures_util::{StreamExt, stream};
use tokio::{
    sync::{
        broadcast::{
            self,
            error::{RecvError, TryRecvError},
        },
        mpsc, watch,
    },
    time::Instant,
};
use tracing::{info, warn};

use super::{
    Fanout, Hearing, LocalRoom, Shore,
    feed::Inbound,
    frame::{Frame, NodeSignal},
    local_room::{NOBODY, TAKEN_AWAY},
};
use crate::{
    error::redacted,
    names::RoomId,
    redis::{
        Access, Condition,
        keys::{KeyStyle, node_channel},
    },
    removal::Removal,
};

/// Maximum number of channels in one SUBSCRIBE.
const CHUNK: usize = 500;
/// Maximum number of payloads that are processed before the rooms write.
const READ_AT_ONCE: usize = 256;
/// Groups of rooms that are subscribed at the same time; each takes a command of its own.
const GROUPS_AT_ONCE: usize = 256;
/// Wait between two attempts to subscribe.
const RETRY: Duration = Duration::from_millis(100);
/// The node reconnects after each time this number of probes has not arrived.
const RECONNECTS_EVERY: u32 = 16;

/// A change of the subscription.
pub(super) enum Change {
    /// A connection has a seat in a room that is not subscribed yet.
    Subscribe(Arc<LocalRoom>),
    /// The last connection may have left this room.
    Release(RoomId),
}

/// Starts the tasks of the subscription on one island.
pub(super) fn start(fanout: &Fanout, shore: &Arc<Shore>, wanted: mpsc::Receiver<Change>) {
    let (signs, island) = (Arc::new(SignsOfLife::default()), &shore.island);
    // Receiving begins before the first connection is up, so that no payload is missed.
    let payloads = island.payloads();
    let keeper = Keeper { fanout: fanout.clone(), shore: shore.clone() };
    let keeps = keeper.run(wanted, island.reconnects(), island.gone());
    let reads = read(fanout.clone(), shore.clone(), payloads, signs.clone());
    island.spawn("the reader of the subscription", reads);
    island.spawn("the keeper of the subscription", keeps);
    let listens = listen_for_probes(fanout.clone(), shore.clone(), signs);
    island.spawn("the probe of the subscription", listens);
}

/// Evidence that the subscription works.
#[derive(Default)]
struct SignsOfLife {
    /// Number of received payloads.
    payloads: AtomicU64,
    /// The latest probe that has arrived.
    probed: watch::Sender<u64>,
}

/// Passes on payloads. The rooms write only after all available payloads are read, so that frames
/// that arrive together are written together. This task waits only for the subscription.
async fn read(
    fanout: Fanout,
    shore: Arc<Shore>,
    mut payloads: broadcast::Receiver<Payload>,
    signs: Arc<SignsOfLife>,
) {
    let mut waiting = Vec::new();
    loop {
        let mut next = tokio::select! {
            () = shore.island.stop().cancelled() => return,
            payload = payloads.recv() => payload.map_err(no_more),
        };
        fanout.0.metrics.subscription_queue.set(payloads.len() as i64);
        for taken in 1.. {
            match next {
                Ok(payload) => waiting.extend(on_payload(&fanout, &shore, &payload, &signs)),
                Err(TryRecvError::Lagged(lost)) => on_loss(&fanout, &shore, lost),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Closed) => return,
            }
            if taken == READ_AT_ONCE {
                break;
            }
            next = payloads.try_recv();
        }
        for room in waiting.drain(..) {
            // A panic is logged where it happens; the room was given up, and other rooms continue.
            let _ = catch_unwind(AssertUnwindSafe(|| fanout.serve(&room)));
        }
    }
}

/// Processes one payload. Returns the room if it has to be served.
fn on_payload(
    fanout: &Fanout,
    shore: &Shore,
    payload: &Payload,
    signs: &SignsOfLife,
) -> Option<Arc<LocalRoom>> {
    signs.payloads.fetch_add(1, Ordering::Relaxed);
    let text = payload.value.as_str().unwrap_or_default();
    let word = match fanout.0.redis.key_style().room_of_channel(&payload.channel) {
        Some(room) => Frame::decode(&text, fanout.0.frame_max).map(|frame| {
            let removal = Removal::parse(&text);
            let word = match removal {
                Some(removal) => Inbound::Removal(removal, frame),
                None => Inbound::Frame(frame),
            };
            (room, word)
        }),
        None => match NodeSignal::decode(&text) {
            Some(NodeSignal::Fence(room, fence)) => Some((room, Inbound::Fence(fence))),
            Some(NodeSignal::Members(room, events, truth)) => {
                Some((room, Inbound::Members(events, truth)))
            }
            Some(NodeSignal::Probe(number)) => {
                // A primary that was frozen tells an old one.
                signs.probed.send_if_modified(|latest| {
                    let is_newer = number > *latest;
                    *latest = number.max(*latest);
                    is_newer
                });
                return None;
            }
            None => None,
        },
    };
    let Some((room, word)) = word else {
        // Not text, or not a valid frame.
        fanout.0.metrics.foreign_frame(false);
        return None;
    };
    // What a former primary says of a room does not count; the room is asked for its tip where it is now.
    let is_here = fanout.0.redis.island(&room).id() == shore.island.id();
    is_here.then(|| fanout.on_inbound(&room, word)).flatten()
}

fn on_loss(fanout: &Fanout, shore: &Shore, lost: u64) {
    fanout.0.metrics.subscription_lost.inc_by(lost);
    warn!(lost, "subscription read too slowly; checking every room for missed messages");
    fanout.missed_something(shore);
}

/// Makes all changes of the subscription on one island.
struct Keeper {
    fanout: Fanout,
    shore: Arc<Shore>,
}

impl Keeper {
    /// Makes changes one after the other, and subscribes again after every reconnect.
    async fn run(
        self,
        mut wanted: mpsc::Receiver<Change>,
        mut reconnects: broadcast::Receiver<fred::types::config::Server>,
        mut gone: Option<broadcast::Receiver<String>>,
    ) {
        let (fanout, island) = (&self.fanout, &self.shore.island);
        let mut changes = Vec::new();
        let mut islands = fanout.0.redis.islands();
        self.subscribe_all().await;
        // The first connection is reported as a reconnect too, but nothing was interrupted.
        while reconnects.try_recv().is_ok() {}
        // When to look for rooms that are here and not subscribed.
        let mut look: Option<Instant> = None;
        loop {
            let looks = look;
            let taken = tokio::select! {
                () = island.stop().cancelled() => return,
                event = reconnects.recv() => {
                    if matches!(event, Err(RecvError::Closed)) {
                        return;
                    }
                    fanout.0.metrics.subscriber_reconnects.inc();
                    fanout.missed_something(&self.shore);
                    self.subscribe_all().await;
                    Ok(())
                }
                _ = wanted.recv_many(&mut changes, CHUNK) => self.make(changes.drain(..)).await,
                Ok(()) = islands.changed() => self.take_over().await,
                channel = taken_away(&mut gone) => {
                    self.lost(channel);
                    look = Some(Instant::now() + RETRY);
                    Ok(())
                }
                () = tokio::time::sleep_until(looks.unwrap_or_else(Instant::now)), if looks.is_some() => {
                    look = None;
                    self.take_over().await
                }
            };
            if let Err(error) = taken {
                // Waiting joins time out; the reconnect or the probe repairs the subscription.
                warn!(error = redacted(&error), "cannot change the subscription");
                self.refused(&error).await;
                look = Some(Instant::now() + RETRY);
            }
        }
    }

    /// Subscribes to all rooms of this node that are here; retries until it succeeds.
    async fn subscribe_all(&self) {
        let island = &self.shore.island;
        let mut conditions = island.conditions();
        loop {
            tokio::select! {
                () = island.stop().cancelled() => return,
                _ = conditions.wait_for(|condition| condition.allows(Access::Writes)) => {}
            }
            match self.try_subscribe_all().await {
                Ok(rooms) => {
                    info!(rooms = rooms.len(), "subscribed");
                    self.shore.check(rooms);
                    // Publications until now were missed.
                    island.probe_now();
                    return;
                }
                Err(error) => {
                    tracing::debug!(error = redacted(&error), "not subscribed");
                    self.refused(&error).await;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// What to do about an error of a subscription. With one connection for all slots, nobody waited for a refusal, so
    /// that it would be taken for the answer to the next command: reconnect.
    async fn refused(&self, error: &RedisError) {
        if *error.kind() == ErrorKind::Cluster {
            self.fanout.0.redis.note_moved(error.details());
        } else if !matches!(error.kind(), ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Timeout)
        {
            self.shore.island.restart_subscription().await;
        }
    }

    async fn try_subscribe_all(&self) -> Result<Vec<Arc<LocalRoom>>, RedisError> {
        self.subscribe_to_probes().await?;
        let rooms = self.fanout.rooms_of(&self.shore);
        self.subscribe(&rooms).await?;
        Ok(rooms)
    }

    /// Listens for probes. On a cluster, they come by the channel of a group whose slot is here.
    async fn subscribe_to_probes(&self) -> Result<(), RedisError> {
        let (redis, island) = (&self.fanout.0.redis, &self.shore.island);
        let group = redis.group_of(island);
        island.subscribe(vec![node_channel(&group, redis.node())]).await?;
        island.set_group(group);
        Ok(())
    }

    /// Subscribes to the rooms that came here with their slots, or whose subscription was refused or taken away, and has
    /// them checked for what was published meanwhile.
    async fn take_over(&self) -> Result<(), RedisError> {
        let (redis, island) = (&self.fanout.0.redis, &self.shore.island);
        if redis.group_of(island) != island.group() {
            self.subscribe_to_probes().await?;
        }
        let mut rooms = self.fanout.rooms_of(&self.shore);
        rooms.retain(|room| !self.shore.hears(room));
        if rooms.is_empty() {
            return Ok(());
        }
        self.subscribe(&rooms).await?;
        self.shore.check(rooms);
        Ok(())
    }

    /// Redis took a channel away, because its slot is no longer here.
    fn lost(&self, channel: Option<String>) {
        let redis = &self.fanout.0.redis;
        redis.doubt_islands();
        // Without a name, any of them.
        let named = channel.map(|channel| redis.key_style().room_of_channel(&channel));
        let rooms = match named {
            Some(room) => room.and_then(|room| self.fanout.find(&room)).into_iter().collect(),
            None => self.fanout.rooms(),
        };
        for room in rooms.iter().filter(|room| self.shore.hears(room)) {
            room.subscribed.send_replace(TAKEN_AWAY);
        }
    }

    /// Subscribes to rooms; on a cluster by groups, each by itself.
    async fn subscribe(&self, rooms: &[Arc<LocalRoom>]) -> Result<(), RedisError> {
        let results = stream::iter(self.batches(rooms))
            .map(|(group, batch)| async move { self.subscribe_batch(&group, &batch).await })
            .buffer_unordered(GROUPS_AT_ONCE)
            .collect::<Vec<_>>();
        results.await.into_iter().collect()
    }

    async fn subscribe_batch(
        &self,
        group: &str,
        batch: &[Arc<LocalRoom>],
    ) -> Result<(), RedisError> {
        let (redis, island) = (&self.fanout.0.redis, &self.shore.island);
        let channel = |room: &Arc<LocalRoom>| redis.key_style().room(&room.id).channel();
        let mut channels: Vec<String> = batch.iter().map(channel).collect();
        if !group.is_empty() {
            channels.push(node_channel(group, redis.node()));
        }
        island.subscribe(channels).await?;
        for room in batch {
            let before = room.subscribed.send_replace(island.id());
            if before != NOBODY && before != island.id() {
                room.feed.lock().members_stale();
            }
        }
        Ok(())
    }

    /// Rooms by group, a limited number in each batch.
    fn batches(&self, rooms: &[Arc<LocalRoom>]) -> Vec<(String, Vec<Arc<LocalRoom>>)> {
        let style = self.fanout.0.redis.key_style();
        let mut groups: HashMap<String, Vec<Arc<LocalRoom>>> = HashMap::new();
        for room in rooms {
            let group = match style {
                KeyStyle::Plain => String::new(),
                KeyStyle::HashTag => style.room(&room.id).group().to_owned(),
            };
            groups.entry(group).or_default().push(room.clone());
        }
        let chunks = |(group, rooms): (String, Vec<Arc<LocalRoom>>)| {
            let chunks: Vec<_> = rooms.chunks(CHUNK).map(<[_]>::to_vec).collect();
            chunks.into_iter().map(move |chunk| (group.clone(), chunk))
        };
        groups.into_iter().flat_map(chunks).collect()
    }

    async fn make(&self, changes: impl Iterator<Item = Change>) -> Result<(), RedisError> {
        // Only the last of several changes of one room counts.
        let (mut subscribes, mut releases) = (HashMap::new(), Vec::new());
        for change in changes {
            match change {
                Change::Subscribe(room) => {
                    subscribes.insert(room.id.clone(), room);
                }
                Change::Release(room) => releases.push(room),
            }
        }
        let fanout = &self.fanout;
        let mut gone: HashMap<String, Vec<String>> = HashMap::new();
        for room in releases.iter().filter(|room| fanout.remove_if_empty(room)) {
            let keys = fanout.0.redis.key_style().room(room);
            gone.entry(keys.group().to_owned()).or_default().push(keys.channel());
        }
        let unsubscribed =
            gone.into_values().map(|channels| self.shore.island.unsubscribe(channels));
        let unsubscribed = futures_util::future::join_all(unsubscribed).await;
        // The join may have been given up, and the room released since. Or it is elsewhere by now, where it is taken over.
        let mut rooms: Vec<_> = subscribes.into_values().collect();
        let is_here =
            |room: &Arc<LocalRoom>| fanout.0.redis.island(&room.id).id() == self.shore.island.id();
        rooms.retain(|room| fanout.serves(room) && is_here(room));
        if !rooms.is_empty() {
            self.subscribe(&rooms).await?;
        }
        unsubscribed.into_iter().collect()
    }
}

/// Waits until Redis takes a channel away; `None` if too many went to name them.
async fn taken_away(gone: &mut Option<broadcast::Receiver<String>>) -> Option<String> {
    match gone {
        Some(gone) => match gone.recv().await {
            Ok(channel) => Some(channel),
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Checks whether the probes arrive that Redis publishes to this node: a subscription can die
/// without an error while its connection looks healthy. A subscription that recently received
/// anything is only busy.
async fn listen_for_probes(fanout: Fanout, shore: Arc<Shore>, signs: Arc<SignsOfLife>) {
    let island = &shore.island;
    let mut probes = island.probes();
    let mut misses: u32 = 0;
    loop {
        tokio::select! {
            () = island.stop().cancelled() => return,
            _ = probes.changed() => {}
        }
        let number = *probes.borrow_and_update();
        if signs.seen(number, fanout.0.patience).await {
            misses = 0;
            fanout.set_hearing(&shore, Hearing::Receives);
        } else if island.condition() == Condition::Serves {
            fanout.set_hearing(&shore, Hearing::Silent);
            misses += 1;
            // Less and less often: the cause may affect every new subscription, and each reconnect
            // makes the node ask every room for its tip.
            if misses.is_power_of_two() || misses.is_multiple_of(RECONNECTS_EVERY) {
                warn!("the subscription is dead; reconnecting");
                // If it fails, a later probe triggers it again.
                island.restart_subscription().await;
            }
        }
    }
}

impl SignsOfLife {
    /// Waits until the probe arrives, and as long as any payloads arrive. `false` if none did for
    /// `patience`.
    async fn seen(&self, probe: u64, patience: Duration) -> bool {
        let mut probed = self.probed.subscribe();
        loop {
            let before = self.payloads.load(Ordering::Relaxed);
            let back = probed.wait_for(|latest| *latest >= probe);
            if tokio::time::timeout(patience, back).await.is_ok() {
                return true;
            }
            if self.payloads.load(Ordering::Relaxed) == before {
                return false;
            }
        }
    }
}

/// Converts the error of waiting for a payload into that of polling for one.
fn no_more(error: RecvError) -> TryRecvError {
    match error {
        RecvError::Closed => TryRecvError::Closed,
        RecvError::Lagged(lost) => TryRecvError::Lagged(lost),
    }
}
