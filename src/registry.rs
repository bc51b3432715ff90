//! The WebSocket connections of this node, for what concerns all of them: silence and leaving.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{metrics::Metrics, outbox::Outbox, protocol::close::CloseReason};

/// Parts of the idle timeout after which silent connections are looked for.
const LOOKS_PER_TIMEOUT: u32 = 10;

/// The WebSocket connections of this node.
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
