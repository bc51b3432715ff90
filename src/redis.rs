//! The connections to Redis, and whether Redis is there.
//!
//! Knows no room: what is said over the connections is `scripts`' business, what comes in over the
//! subscription is `fanout`'s.

pub mod child;
pub mod keys;
pub mod scripts;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fred::{
    clients::Client,
    error::{Error as RedisError, ErrorKind},
    interfaces::{ClientLike, EventInterface},
    prelude::{FredResult, PubsubInterface, Value},
    types::{
        config::{
            Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, TcpConfig,
            UnresponsiveConfig,
        },
        scripts::Script,
    },
};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{metrics::Metrics, settings::Settings};
use keys::KeyStyle;

/// Connections for commands. More than a few lose throughput: pipelines get shorter.
const COMMAND_CLIENTS: usize = 2;
/// Between two looks at a Redis that answers.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Between two looks at a Redis that does not.
const PROBE_WHILE_DOWN: Duration = Duration::from_millis(50);
/// Between two attempts to connect, give or take the jitter.
const RECONNECT_DELAY_MS: u32 = 100;
const RECONNECT_JITTER_MS: u32 = 50;
/// Messages that may wait between the socket and the one task that reads the subscription. Beyond
/// it they are dropped, which the fences show.
const SUBSCRIPTION_BUFFER: usize = 8192;
/// Commands that may wait for a connection. Beyond it they fail at once.
const COMMAND_BUFFER: usize = 20_000;
/// A connection on which nothing came back for so many command timeouts is closed.
const UNRESPONSIVE_TIMEOUTS: u32 = 2;

/// Handle on all connections to Redis.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    commands: Vec<Client>,
    next: AtomicUsize,
    subscriber: Client,
    up: watch::Sender<bool>,
    suspicion: Notify,
    node_channel: String,
    key_style: KeyStyle,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

impl Redis {
    /// Begins to connect, and goes on until it succeeds. `node` is this process's own id.
    ///
    /// # Errors
    /// The URL is not one of Redis.
    pub fn start(
        url: &str,
        node: &str,
        settings: &Settings,
        metrics: Arc<Metrics>,
    ) -> Result<Self, RedisError> {
        let mut config = Config::from_url(url)?;
        config.fail_fast = false;
        let key_style =
            if config.server.is_clustered() { KeyStyle::HashTag } else { KeyStyle::Plain };
        let client = || connect(config.clone(), settings.redis_timeout);
        Ok(Self(Arc::new(Inner {
            commands: (0..COMMAND_CLIENTS).map(|_| client()).collect(),
            next: AtomicUsize::new(0),
            subscriber: client(),
            up: watch::Sender::new(false),
            suspicion: Notify::new(),
            node_channel: keys::node_channel(node),
            key_style,
            timeout: settings.redis_timeout,
            metrics,
        })))
    }

    /// Watches over the connections until `stop`.
    pub fn watch(&self, tasks: &TaskTracker, stop: CancellationToken) {
        for client in &self.0.commands {
            tasks.spawn(mark_down_on_errors(self.clone(), client.clone(), stop.clone()));
        }
        tasks.spawn(probe(self.clone(), stop));
    }

    /// Whether Redis answered when last asked. While it did not, commands fail at once.
    pub fn is_up(&self) -> bool {
        *self.0.up.borrow()
    }

    /// Changes of [`Redis::is_up`].
    pub fn ups_and_downs(&self) -> watch::Receiver<bool> {
        self.0.up.subscribe()
    }

    /// The client whose only use is the subscription.
    pub fn subscriber(&self) -> &Client {
        &self.0.subscriber
    }

    /// The channel on which scripts speak to this node alone.
    pub fn node_channel(&self) -> &str {
        &self.0.node_channel
    }

    /// How key names are written on this deployment.
    pub fn key_style(&self) -> KeyStyle {
        self.0.key_style
    }

    /// Sends this node a word over Redis, to see whether the subscription lives.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn publish_to_self(&self, word: &str) -> FredResult<()> {
        self.refuse_while_down()?;
        self.client().publish(self.node_channel(), word).await
    }

    /// Runs a script, sending its text first where Redis has forgotten it.
    ///
    /// # Errors
    /// The script failed, or Redis is out of reach. A command that was under way when the
    /// connection broke is not sent again, so a script that failed may have run, but only once.
    pub async fn evalsha(
        &self,
        name: &'static str,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> FredResult<Vec<Value>> {
        self.refuse_while_down()?;
        let begun = Instant::now();
        let reply = script.evalsha_with_reload(self.client(), keys, args).await;
        self.0.metrics.observe_script(name, begun.elapsed());
        if let Err(error) = &reply {
            self.suspect(error);
        }
        reply
    }

    /// Closes the connections.
    pub async fn quit(&self) {
        for client in self.0.commands.iter().chain([&self.0.subscriber]) {
            // Fails where the connection is gone already, which is what is wanted.
            let _ = tokio::time::timeout(self.0.timeout, client.quit()).await;
        }
    }

    fn client(&self) -> &Client {
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
        &self.0.commands[turn % COMMAND_CLIENTS]
    }

    fn refuse_while_down(&self) -> FredResult<()> {
        if self.is_up() {
            return Ok(());
        }
        Err(RedisError::new(ErrorKind::IO, "redis is out of reach"))
    }

    /// Has Redis looked at right away after an error that may mean that it is gone.
    fn suspect(&self, error: &RedisError) {
        match error.kind() {
            ErrorKind::IO | ErrorKind::Canceled => {
                self.set_up(false);
                self.0.suspicion.notify_one();
            }
            ErrorKind::Timeout => self.0.suspicion.notify_one(),
            _ => {}
        }
    }

    fn set_up(&self, up: bool) {
        let changed = self.0.up.send_if_modified(|was| std::mem::replace(was, up) != up);
        if changed {
            self.0.metrics.redis_up.set(i64::from(up));
            if up { info!("redis answers") } else { warn!("redis is out of reach") }
        }
    }

    async fn answers(&self) -> bool {
        let pings = self.0.commands.iter().map(|client| {
            let ping = client.ping::<()>(None);
            async move { matches!(tokio::time::timeout(self.0.timeout, ping).await, Ok(Ok(()))) }
        });
        futures_util::future::join_all(pings).await.into_iter().all(|answered| answered)
    }
}

/// fred's defaults are unbounded and patient: every limit is set here.
fn connect(config: Config, timeout: Duration) -> Client {
    let performance = PerformanceConfig {
        default_command_timeout: timeout,
        broadcast_channel_capacity: SUBSCRIPTION_BUFFER,
        ..Default::default()
    };
    let connection = ConnectionConfig {
        connection_timeout: timeout,
        internal_command_timeout: timeout,
        // A script that was under way when the connection broke must not run a second time.
        max_command_attempts: 1,
        max_command_buffer_len: COMMAND_BUFFER,
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(timeout * UNRESPONSIVE_TIMEOUTS),
            interval: timeout / 2,
        },
        tcp: TcpConfig { nodelay: Some(true), ..Default::default() },
        ..Default::default()
    };
    let policy = ReconnectPolicy::Constant {
        attempts: 0,
        max_attempts: 0,
        delay: RECONNECT_DELAY_MS,
        jitter: RECONNECT_JITTER_MS,
    };
    let client = Client::new(config, Some(performance), Some(connection), Some(policy));
    client.connect();
    client
}

async fn mark_down_on_errors(redis: Redis, client: Client, stop: CancellationToken) {
    let mut errors = client.error_rx();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            error = errors.recv() => match error {
                Ok((error, _)) => redis.suspect(&error),
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            },
        }
    }
}

async fn probe(redis: Redis, stop: CancellationToken) {
    loop {
        let up = redis.answers().await;
        redis.set_up(up);
        let pause = tokio::time::sleep(if up { PROBE_EVERY } else { PROBE_WHILE_DOWN });
        tokio::select! {
            () = stop.cancelled() => return,
            () = pause => {}
            () = redis.0.suspicion.notified(), if up => {}
        }
    }
}
