//! The handle that every request and every connection gets. It has no state of rooms.

use std::{net::IpAddr, ops::Deref, sync::Arc};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    error::Error,
    fanout::Fanout,
    heartbeat::Heartbeat,
    limits::{Limit, Limits},
    metrics::Metrics,
    push::Push,
    redis::Redis,
    registry::Registry,
    room::Rooms,
    settings::Settings,
};

/// Everything that a node shares, behind one reference, because every layer of a request clones it.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// What is behind an [`App`].
pub struct Shared {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The room service.
    pub rooms: Rooms,
    /// The connections to Redis.
    pub redis: Redis,
    /// Web Push, where this deployment has it.
    pub push: Option<Push>,
    /// The rooms of this node and their connections.
    pub fanout: Fanout,
    /// Keeps this node's members alive.
    pub heartbeat: Heartbeat,
    /// The connections of this node.
    pub registry: Arc<Registry>,
    /// Limits for an address and a connection.
    pub limits: Arc<Limits>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the shutdown begins: no new connections.
    pub drain: CancellationToken,
    /// Cancelled when the node is about to end: background work stops.
    pub stop: CancellationToken,
    /// Every task that must end before the process does.
    pub tasks: TaskTracker,
    /// Turns of connections that their clients have closed, until they have left their rooms on this node.
    pub ends: Arc<Semaphore>,
}

/// Connections that end at the same time.
pub const ENDS_AT_ONCE: usize = 4;

impl From<Shared> for App {
    fn from(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Shared {
    /// Counts bytes that an address is about to have stored in Redis.
    ///
    /// # Errors
    /// `RATE_LIMITED`, with the wait until this many may be stored.
    pub fn charge(&self, ip: IpAddr, bytes: usize) -> Result<(), Error> {
        let refused = |_: &Error| self.metrics.turned_away(Limit::Storage);
        self.limits.check_storage(ip, bytes).inspect_err(refused)
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
