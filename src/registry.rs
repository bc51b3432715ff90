//! The connections of this node, WebSockets and live tails: closes those that are silent or
//! stalled, and all of them at shutdown.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{metrics::Metrics, outbox::Outbox, protocol::close::CloseReason};

/// How often connections are checked per timeout.
const LOOKS_PER_TIMEOUT: u32 = 10;

/// The connections of this node.
pub struct Registry {
    node: String,
    opened: AtomicU64,
    outboxes: Mutex<HashMap<Arc<str>, Arc<Outbox>>>,
    left: Notify,
    /// Whether the node shuts down.
    leaving: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Registry {
    /// An empty registry of the node with this id.
    pub fn new(node: String, metrics: Arc<Metrics>) -> Self {
        let (opened, leaving) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { node, opened, outboxes: Mutex::default(), left: Notify::new(), leaving, metrics }
    }

    /// An id for a new connection, unique over all nodes.
    pub fn next_id(&self) -> Arc<str> {
        format!("{}-{}", self.node, self.opened.fetch_add(1, Ordering::Relaxed)).into()
    }

    /// Registers a connection until the guard is dropped. A connection whose upgrade was in
    /// progress when the shutdown began is closed at once.
    pub fn register(self: &Arc<Self>, outbox: Arc<Outbox>) -> Registered {
        self.outboxes.lock().insert(outbox.id().clone(), outbox.clone());
        if self.leaving.load(Ordering::SeqCst) {
            outbox.close(CloseReason::Leaving);
        }
        self.metrics.connections.inc();
        self.metrics.connections_opened.inc();
        Registered { registry: self.clone(), outbox }
    }

    /// Closes connections that were silent for too long, until `stop`.
    pub async fn close_silent(self: Arc<Self>, timeout: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(timeout / LOOKS_PER_TIMEOUT) => {}
            }
            for outbox in self.all() {
                if outbox.silent_for() > timeout {
                    outbox.close(CloseReason::Silent);
                }
            }
        }
    }

    /// Cuts off connections that read nothing of their outbox for too long, until `stop`: otherwise
    /// a client that never reads would hold its queue without a limit in time.
    pub async fn cut_off_stalled(self: Arc<Self>, timeout: Duration, stop: CancellationToken) {
        let mut stalls = HashMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(timeout / LOOKS_PER_TIMEOUT) => {}
            }
            stalls = look_for_stalls(&self.all(), stalls, timeout);
        }
    }

    /// Closes every connection because the node shuts down, evenly over `spread`, so that the
    /// clients do not all reconnect at once.
    pub async fn close_all(&self, spread: Duration) {
        // Connections that register from here on see the flag; the others are in this list.
        self.leaving.store(true, Ordering::SeqCst);
        let outboxes = self.all();
        let pause = spread / u32::try_from(outboxes.len().max(1)).unwrap_or(u32::MAX);
        let mut turns = tokio::time::interval(pause.max(Duration::from_micros(1)));
        for outbox in outboxes {
            turns.tick().await;
            outbox.close(CloseReason::Leaving);
        }
    }

    /// Waits until no connection is left.
    pub async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.outboxes.lock().is_empty() {
                return;
            }
            left.await;
        }
    }

    /// Totals of the outboxes of these connections.
    pub fn waiting(&self) -> OutboxTotals {
        let mut waiting = OutboxTotals::default();
        for outbox in self.all() {
            let (frames, bytes) = outbox.waiting();
            waiting.frames += frames;
            waiting.bytes += bytes;
            waiting.deepest = waiting.deepest.max(frames);
        }
        waiting
    }

    fn all(&self) -> Vec<Arc<Outbox>> {
        self.outboxes.lock().values().cloned().collect()
    }
}

/// Connections with queued frames: the bytes that each has read so far, and since when that number
/// is the same.
type Stalls = HashMap<Arc<str>, (u64, Instant)>;

/// Cuts off connections that have read nothing for `timeout`; returns those to check again.
fn look_for_stalls(outboxes: &[Arc<Outbox>], before: Stalls, timeout: Duration) -> Stalls {
    let now = Instant::now();
    let mut stalls = Stalls::new();
    for outbox in outboxes {
        let Some(taken) = outbox.bytes_taken() else { continue };
        let stall = before.get(outbox.id()).copied().filter(|(earlier, _)| *earlier == taken);
        let (_, since) = stall.unwrap_or((taken, now));
        if now - since > timeout {
            outbox.overflow();
        } else {
            stalls.insert(outbox.id().clone(), (taken, since));
        }
    }
    stalls
}

/// Totals of outboxes.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutboxTotals {
    /// Frames of all connections.
    pub frames: usize,
    /// Bytes of all connections.
    pub bytes: usize,
    /// Frames of the longest outbox.
    pub deepest: usize,
}

/// Keeps a connection in the registry.
pub struct Registered {
    registry: Arc<Registry>,
    outbox: Arc<Outbox>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.outboxes.lock().remove(self.outbox.id());
        self.registry.metrics.connections.dec();
        self.registry.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::{
        i18n::Language,
        outbox::{OutboxLimits, Wire},
    };

    async fn outbox(id: &str) -> (Arc<Outbox>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let limits = OutboxLimits { frames: 1000, bytes: 100_000_000 };
        (
            Arc::new(Outbox::new(id.into(), Language::En, limits, Wire::Socket(Arc::new(socket)))),
            client,
        )
    }

    #[tokio::test]
    async fn one_that_takes_nothing_of_what_waits_is_cut_off_and_nobody_else() {
        let (asleep, _client) = outbox("asleep").await;
        let (slow, mut reads) = outbox("slow").await;
        let (idle, _client) = outbox("idle").await;
        let all = [asleep.clone(), slow.clone(), idle.clone()];
        for outbox in &all[..2] {
            (0..50).for_each(|_| outbox.push(Bytes::from_static(&[0; 1 << 20])));
        }
        let stalls = look_for_stalls(&all, Stalls::new(), Duration::from_secs(60));
        assert_eq!(stalls.len(), 2);
        let before = slow.bytes_taken();
        while slow.bytes_taken() == before {
            reads.read_exact(&mut vec![0; 1 << 16]).await.unwrap();
        }
        let stalls = look_for_stalls(&all, stalls, Duration::ZERO);
        assert_eq!(stalls.into_keys().collect::<Vec<_>>(), ["slow".into()]);
        assert_eq!(asleep.work().await.close, Some(CloseReason::TooSlow));
        assert!(slow.work().now_or_never().is_none() && idle.work().now_or_never().is_none());
    }
}
