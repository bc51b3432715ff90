//! The connections of this node, WebSockets and live tails, for what concerns all of them: silence,
//! stalls and leaving.

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

/// Parts of a timeout after which the connections are looked for that it is about.
const LOOKS_PER_TIMEOUT: u32 = 10;

/// The connections of this node.
pub struct Registry {
    node: String,
    opened: AtomicU64,
    outboxes: Mutex<HashMap<Arc<str>, Arc<Outbox>>>,
    left: Notify,
    /// Whether the node leaves.
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

    /// Notes a connection until the guard is dropped. One whose upgrade was under way when the node
    /// began to leave is closed at once.
    pub fn register(self: &Arc<Self>, outbox: Arc<Outbox>) -> Registered {
        self.outboxes.lock().insert(outbox.id().clone(), outbox.clone());
        if self.leaving.load(Ordering::SeqCst) {
            outbox.close(CloseReason::Leaving);
        }
        self.metrics.connections.inc();
        self.metrics.connections_opened.inc();
        Registered { registry: self.clone(), outbox }
    }

    /// Closes the connections that were silent for too long, until `stop`.
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

    /// Cuts off the connections that read nothing of what waits for them, until `stop`: else one that reads
    /// nothing at all would hold what it was given for as long as it likes.
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

    /// Closes every connection because the node leaves, evenly over `spread`, so that the clients
    /// do not all come back elsewhere at once.
    pub async fn close_all(&self, spread: Duration) {
        // Who is noted from here on sees it, and the others are among these.
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

    /// What waits for these connections.
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

/// Connections for which something waits: how much each has taken so far, and since when it is no more.
type Stalls = HashMap<Arc<str>, (u64, Instant)>;

/// Cuts off those that have taken nothing for so long; returns those that may be cut off later.
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

/// What waits to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutboxTotals {
    /// Frames, for all connections together.
    pub frames: usize,
    /// Bytes, for all connections together.
    pub bytes: usize,
    /// Frames, for the connection that has most of them.
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
