//! The one subscription of this node: SUBSCRIBE and UNSUBSCRIBE, receiving, and the check that it
//! works.
//!
//! Order matters here: a room counts as subscribed only after Redis has answered a command that was
//! sent after the SUBSCRIBE. After every reconnect, all channels are subscribed again and every
//! room is asked for its tip.

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
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::Message as Payload,
};
use tokio::sync::{
    broadcast::error::{RecvError, TryRecvError},
    mpsc, watch,
};
use tracing::{info, warn};

use super::{
    Fanout, Hearing, LocalRoom,
    feed::Inbound,
    frame::{Frame, NodeSignal},
};
use crate::{
    background::Background,
    error::redacted,
    names::RoomId,
    redis::{Access, Condition},
    removal::Removal,
};

/// Maximum number of channels in one SUBSCRIBE.
const CHUNK: usize = 500;
/// Maximum number of payloads that are processed before the rooms write.
const READ_AT_ONCE: usize = 256;
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

/// Starts the subscription's tasks.
pub(super) fn start(fanout: &Fanout, wanted: mpsc::Receiver<Change>, background: &Background) {
    let signs = Arc::new(SignsOfLife::default());
    // Receiving begins before the first connection is up, so that no payload is missed.
    let payloads = fanout.0.redis.subscriber().message_rx();
    let reconnects = fanout.0.redis.subscriber().reconnect_rx();
    let reads = read(fanout.clone(), payloads, signs.clone());
    background.spawn_vital("the reader of the subscription", reads);
    let keeps = keep_subscribed(fanout.clone(), wanted, reconnects);
    background.spawn_vital("the keeper of the subscription", keeps);
    let listens = listen_for_probes(fanout.clone(), signs);
    background.spawn_vital("the probe of the subscription", listens);
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
    mut payloads: tokio::sync::broadcast::Receiver<Payload>,
    signs: Arc<SignsOfLife>,
) {
    let mut waiting = Vec::new();
    loop {
        let mut next = tokio::select! {
            () = fanout.0.stop.cancelled() => return,
            payload = payloads.recv() => payload.map_err(no_more),
        };
        fanout.0.metrics.subscription_queue.set(payloads.len() as i64);
        for taken in 1.. {
            match next {
                Ok(payload) => waiting.extend(on_payload(&fanout, &payload, &signs)),
                Err(TryRecvError::Lagged(lost)) => on_loss(&fanout, lost),
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
fn on_payload(fanout: &Fanout, payload: &Payload, signs: &SignsOfLife) -> Option<Arc<LocalRoom>> {
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
                signs.probed.send_replace(number);
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
    fanout.on_inbound(&room, word)
}

fn on_loss(fanout: &Fanout, lost: u64) {
    fanout.0.metrics.subscription_lost.inc_by(lost);
    warn!(lost, "subscription read too slowly; checking every room for missed messages");
    fanout.members_stale();
    fanout.0.resync.notify_one();
}

/// Makes all changes of the subscription, one after the other, and subscribes again after every
/// reconnect.
async fn keep_subscribed(
    fanout: Fanout,
    mut wanted: mpsc::Receiver<Change>,
    mut reconnects: tokio::sync::broadcast::Receiver<fred::types::config::Server>,
) {
    let mut changes = Vec::new();
    subscribe_all(&fanout).await;
    // The first connection is reported as a reconnect too, but nothing was interrupted.
    while reconnects.try_recv().is_ok() {}
    loop {
        tokio::select! {
            () = fanout.0.stop.cancelled() => return,
            event = reconnects.recv() => match event {
                Err(RecvError::Closed) => return,
                _ => {
                    fanout.0.metrics.subscriber_reconnects.inc();
                    fanout.members_stale();
                    subscribe_all(&fanout).await;
                }
            },
            _ = wanted.recv_many(&mut changes, CHUNK) => {
                if let Err(error) = make(&fanout, changes.drain(..)).await {
                    // Waiting joins time out; the reconnect or the probe repairs the subscription.
                    warn!(error = redacted(&error), "cannot change the subscription");
                    start_over(&fanout, &error).await;
                }
            }
        }
    }
}

/// Subscribes to all rooms of this node; retries until it succeeds.
async fn subscribe_all(fanout: &Fanout) {
    let mut conditions = fanout.0.redis.conditions();
    loop {
        tokio::select! {
            () = fanout.0.stop.cancelled() => return,
            _ = conditions.wait_for(|condition| condition.allows(Access::Writes)) => {}
        }
        match try_subscribe_all(fanout).await {
            Ok(rooms) => {
                info!(rooms, "subscribed");
                fanout.0.resync.notify_one();
                // Publications until now were missed.
                fanout.0.redis.probe_now();
                return;
            }
            Err(error) => {
                tracing::debug!(error = redacted(&error), "not subscribed");
                start_over(fanout, &error).await;
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Reconnects if Redis refused a SUBSCRIBE: nobody waited for that answer, so it would be taken for
/// the answer to the next command.
async fn start_over(fanout: &Fanout, error: &RedisError) {
    if !matches!(error.kind(), ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Timeout) {
        // It fails if there is no connection.
        let _ = fanout.0.redis.subscriber().force_reconnection().await;
    }
}

async fn try_subscribe_all(fanout: &Fanout) -> Result<usize, RedisError> {
    let redis = &fanout.0.redis;
    redis.subscriber().subscribe(redis.node_channel().to_owned()).await?;
    let rooms = fanout.rooms();
    for chunk in rooms.chunks(CHUNK) {
        subscribe(fanout, chunk).await?;
    }
    Ok(rooms.len())
}

/// Subscribes and has Redis confirm it: the answer to a PING comes after the SUBSCRIBE took effect.
async fn subscribe(fanout: &Fanout, rooms: &[Arc<LocalRoom>]) -> Result<(), RedisError> {
    let redis = &fanout.0.redis;
    let channels: Vec<String> =
        rooms.iter().map(|room| redis.key_style().room(&room.id).channel()).collect();
    redis.subscriber().subscribe(channels).await?;
    redis.subscriber().ping::<()>(None).await?;
    for room in rooms {
        room.subscribed.send_replace(true);
    }
    Ok(())
}

async fn make(fanout: &Fanout, changes: impl Iterator<Item = Change>) -> Result<(), RedisError> {
    // Only the last of several changes of one room counts.
    let mut subscribes = HashMap::new();
    let mut releases = Vec::new();
    for change in changes {
        match change {
            Change::Subscribe(room) => {
                subscribes.insert(room.id.clone(), room);
            }
            Change::Release(room) => releases.push(room),
        }
    }
    let redis = &fanout.0.redis;
    let gone: Vec<String> = releases
        .iter()
        .filter(|room| fanout.remove_if_empty(room))
        .map(|room| redis.key_style().room(room).channel())
        .collect();
    if !gone.is_empty() {
        redis.subscriber().unsubscribe(gone).await?;
    }
    // The join may have been given up, and the room released since.
    let rooms: Vec<_> = subscribes.into_values().filter(|room| fanout.serves(room)).collect();
    if rooms.is_empty() { Ok(()) } else { subscribe(fanout, &rooms).await }
}

/// Checks whether the probes arrive that Redis publishes to this node: a subscription can die
/// without an error while its connection looks healthy. A subscription that recently received
/// anything is only busy.
async fn listen_for_probes(fanout: Fanout, signs: Arc<SignsOfLife>) {
    let redis = &fanout.0.redis;
    let mut probes = redis.probes();
    let mut misses: u32 = 0;
    loop {
        tokio::select! {
            () = fanout.0.stop.cancelled() => return,
            _ = probes.changed() => {}
        }
        let number = *probes.borrow_and_update();
        if signs.seen(number, fanout.0.patience).await {
            misses = 0;
            fanout.set_hearing(Hearing::Receives);
        } else if redis.condition() == Condition::Serves {
            fanout.set_hearing(Hearing::Silent);
            misses += 1;
            // Less and less often: the cause may affect every new subscription, and each reconnect
            // makes the node ask every room for its tip.
            if misses.is_power_of_two() || misses.is_multiple_of(RECONNECTS_EVERY) {
                warn!("the subscription is dead; reconnecting");
                // If it fails, a later probe triggers it again.
                let _ = redis.subscriber().force_reconnection().await;
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
