//! The connections to Redis, and whether Redis is there.
//!
//! Knows no room: what is said over the connections is `scripts`' business, what comes in over the
//! subscription is `fanout`'s.

pub mod child;
mod durable;
pub mod keys;
pub mod scripts;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fred::{
    clients::Client,
    error::{Error as RedisError, ErrorKind},
    interfaces::{ClientLike, EventInterface},
    prelude::{FredResult, PubsubInterface, Value},
    types::{
        ClusterHash, CustomCommand, InfoKind,
        config::{
            Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, TcpConfig,
            UnresponsiveConfig,
        },
        scripts::Script,
    },
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    background::Background,
    boxed,
    metrics::Metrics,
    settings::{Durability, Settings},
    ticks,
};
use durable::Durable;
use keys::KeyStyle;

/// How a Redis refuses that became a replica: the connections have to find the new primary.
const DEMOTED: &str = "READONLY";
/// Older ones lack what the scripts use.
const LEAST_MAJOR_VERSION: u32 = 7;
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
/// Events of any other client that wait: errors, of which one is enough. fred allocates this for
/// every kind of event.
const EVENT_BUFFER: usize = 16;
/// Commands that may wait for a connection. Beyond it they fail at once.
const COMMAND_BUFFER: usize = 20_000;
/// A connection on which nothing came back for so many command timeouts is closed.
const UNRESPONSIVE_TIMEOUTS: u32 = 2;

/// Handle on all connections to Redis.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    /// One for all: a second would make pipelines shorter, and Redis runs one command after the other.
    commands: Client,
    subscriber: Client,
    keeper: Option<Keeper>,
    up: watch::Sender<bool>,
    suspicion: Notify,
    demoted: Notify,
    node_channel: String,
    key_style: KeyStyle,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

/// What keeps messages before they are told; only where the operator wants it.
struct Keeper {
    durability: Durability,
    clients: Vec<Client>,
    timeout: Duration,
    queue: Durable,
}

/// What a Redis says when it is asked whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Pong,
    Error,
    Silence,
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
        background: &Background,
    ) -> Result<Self, RedisError> {
        let mut config = Config::from_url(url)?;
        config.fail_fast = false;
        let key_style =
            if config.server.is_clustered() { KeyStyle::HashTag } else { KeyStyle::Plain };
        let client =
            |events, nodelay| connect(config.clone(), settings.redis_timeout, events, nodelay);
        let up = watch::Sender::new(false);
        let keeper = (settings.durability != Durability::Memory)
            .then(|| Keeper::start(&config, settings, up.subscribe(), background));
        let redis = Self(Arc::new(Inner {
            commands: client(EVENT_BUFFER, false),
            subscriber: client(SUBSCRIPTION_BUFFER, true),
            keeper,
            up,
            suspicion: Notify::new(),
            demoted: Notify::new(),
            node_channel: keys::node_channel(node),
            key_style,
            timeout: settings.redis_timeout,
            metrics,
        }));
        let stop = &background.stop;
        let errors = mark_down_on_errors(redis.clone(), stop.clone());
        background.spawn_vital("the watch over Redis's connections", errors);
        background.spawn_vital("the probe of Redis", probe(redis.clone(), stop.clone()));
        let demoted = leave_demoted(redis.clone(), stop.clone());
        background.spawn_vital("the look for a new primary", demoted);
        Ok(redis)
    }

    /// Waits until Redis answers, then says why this Redis cannot serve, if it cannot.
    ///
    /// # Errors
    /// It is too old, or cannot keep messages as the settings want.
    pub async fn check(&self) -> anyhow::Result<()> {
        // A WAIT asks one shard, and a batch is for rooms on all of them.
        anyhow::ensure!(
            self.0.keeper.is_none() || self.0.key_style == KeyStyle::Plain,
            "DURABILITY must be memory on Redis Cluster"
        );
        let mut up = self.ups_and_downs();
        loop {
            // The sender lives as long as `self`.
            let _ = up.wait_for(|up| *up).await;
            match self.version().await {
                Ok(version) => return self.check_version(&version).await,
                Err(_) => tokio::time::sleep(PROBE_WHILE_DOWN).await,
            }
        }
    }

    async fn version(&self) -> FredResult<String> {
        let info: String = self.0.commands.info(Some(InfoKind::Server)).await?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.unwrap_or_default().trim().to_owned())
    }

    async fn check_version(&self, version: &str) -> anyhow::Result<()> {
        let major: u32 = version.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        anyhow::ensure!(
            major >= LEAST_MAJOR_VERSION,
            "linkroom needs Redis {LEAST_MAJOR_VERSION} or newer, this is {version}"
        );
        let Some(keeper) = &self.0.keeper else { return Ok(()) };
        match durable::confirm(&keeper.clients[0], keeper.durability, keeper.timeout).await {
            Err(error) if keeper.durability == Durability::Local => anyhow::bail!(
                "DURABILITY=local needs Redis 7.2 or newer with `appendonly yes`; this is \
                 {version}, and says: {}",
                error.details()
            ),
            Ok(false) => warn!("messages are not kept as DURABILITY wants; none is acknowledged"),
            _ => {}
        }
        Ok(())
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

    /// What Redis's clock should say, milliseconds since 1970; 0 while that is not known. It saves
    /// scripts work; what they decide is decided by the clock itself.
    pub fn now_ms(&self) -> u64 {
        self.0.metrics.deliveries.clock.now_ms().unwrap_or_default()
    }

    /// Sends this node a word over Redis, to see whether the subscription lives.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn publish_to_self(&self, word: &str) -> FredResult<()> {
        self.refuse_while_down()?;
        self.0.commands.publish(self.node_channel(), word).await
    }

    /// Runs a script, sending its text first where Redis has forgotten it. `args` are all of its
    /// arguments, packed.
    ///
    /// # Errors
    /// The script failed, or Redis is out of reach. A command that was under way when the
    /// connection broke is not sent again, so a script that failed may have run, but only once.
    pub async fn evalsha(
        &self,
        name: &'static str,
        script: &Script,
        keys: Vec<String>,
        args: Value,
    ) -> FredResult<Vec<Value>> {
        self.refuse_while_down()?;
        let begun = Instant::now();
        // Boxed: fred's future is large, and everything that waits for it would be.
        let reply =
            boxed::in_place(|| script.evalsha_with_reload(&self.0.commands, keys, args)).await;
        self.note(name, begun, &reply);
        reply
    }

    /// Runs a script of whose messages a room will be told, and waits until they are where the
    /// operator wants them. One that stores a message leaves telling the room to us, and we wait
    /// before we tell `channel`; what one reads may have been stored and not confirmed yet.
    ///
    /// # Errors
    /// As [`Redis::evalsha`], and where the messages are not kept in time.
    pub async fn evalsha_kept(
        &self,
        name: &'static str,
        script: &Script,
        keys: Vec<String>,
        args: Value,
        channel: Option<&str>,
    ) -> FredResult<Vec<Value>> {
        let Some(keeper) = &self.0.keeper else {
            return self.evalsha(name, script, keys, args).await;
        };
        self.refuse_while_down()?;
        let begun = Instant::now();
        let reply = keeper.queue.run(script, keys, args, channel.map(str::to_owned)).await;
        self.note(name, begun, &reply);
        reply
    }

    /// Counts what a script took, and looks into why it failed.
    fn note(&self, name: &'static str, begun: Instant, reply: &FredResult<Vec<Value>>) {
        self.0.metrics.observe_script(name, begun.elapsed());
        if let Err(error) = reply {
            self.0.metrics.redis_failures.inc();
            self.suspect(error);
        }
    }

    /// Closes the connections.
    pub async fn quit(&self) {
        // Fails where the connection is gone already, which is what is wanted.
        let quits =
            self.clients().map(|client| tokio::time::timeout(self.0.timeout, client.quit()));
        futures_util::future::join_all(quits).await;
    }

    fn clients(&self) -> impl Iterator<Item = &Client> {
        let keeper = self.0.keeper.iter().flat_map(|keeper| &keeper.clients);
        [&self.0.commands, &self.0.subscriber].into_iter().chain(keeper)
    }

    /// Drops the connections of the clients chosen, which then look for Redis again. Nothing is
    /// done about one that fails: it is tried again as long as Redis is away.
    async fn connect_anew(&self, chosen: impl Fn(&Client) -> bool) {
        let dropped = self
            .clients()
            .filter(|client| chosen(client))
            .map(|client| tokio::time::timeout(self.0.timeout, client.force_reconnection()));
        futures_util::future::join_all(dropped).await;
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
            _ if error.details().starts_with(DEMOTED) => {
                warn!("this redis became a replica; connecting anew");
                self.0.demoted.notify_one();
            }
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

    /// Asks Redis what time it is, which costs it nothing: how long that takes is the way there
    /// and back, and how long Redis is busy with others.
    async fn read_clock(&self) {
        let begun = Instant::now();
        let time = CustomCommand::new_static("TIME", ClusterHash::FirstKey, false);
        let answer: FredResult<(u64, u64)> =
            self.0.commands.custom(time, Vec::<String>::new()).await;
        if let Ok((seconds, micros)) = answer {
            self.0.metrics.deliveries.clock.read(begun, seconds * 1_000_000 + micros);
            self.0.metrics.observe_script("time", begun.elapsed());
        }
    }

    async fn ask(&self) -> Answer {
        match tokio::time::timeout(self.0.timeout, self.0.commands.ping::<()>(None)).await {
            Ok(Ok(())) => Answer::Pong,
            Ok(Err(error)) if *error.kind() != ErrorKind::Timeout => Answer::Error,
            _ => Answer::Silence,
        }
    }
}

impl Keeper {
    fn start(
        config: &Config,
        settings: &Settings,
        up: watch::Receiver<bool>,
        background: &Background,
    ) -> Self {
        let durability = settings.durability;
        let timeout = durable::timeout(durability, settings.redis_timeout);
        let client = |_| connect(config.clone(), timeout, EVENT_BUFFER, true);
        let clients: Vec<_> = (0..durable::CLIENTS).map(client).collect();
        let (queue, worker) =
            Durable::new(clients.clone(), durability, timeout, up, background.stop.clone());
        background.spawn_vital("the keeper of messages", worker);
        Self { durability, clients, timeout, queue }
    }
}

/// fred's defaults are unbounded and patient: every limit is set here.
///
/// fred writes each script by itself, however many are waiting. Without `nodelay` the system gathers
/// (RFC 896) what is written until Redis has answered what is under way, which every command is: one
/// alone goes out at once, and many go out together, a round trip later at most.
fn connect(config: Config, timeout: Duration, events: usize, nodelay: bool) -> Client {
    let performance = PerformanceConfig {
        default_command_timeout: timeout,
        broadcast_channel_capacity: events,
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
        tcp: TcpConfig { nodelay: Some(nodelay), ..Default::default() },
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

async fn mark_down_on_errors(redis: Redis, stop: CancellationToken) {
    let mut errors = redis.0.commands.error_rx();
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
        // At once: asked after a pong, a Redis that is busy now and then would always be quick. The
        // clock first, since what is behind it may wait for its answer.
        let ((), answer) = tokio::join!(redis.read_clock(), redis.ask());
        let up = answer == Answer::Pong;
        redis.set_up(up);
        if !up {
            redis.0.metrics.deliveries.clock.forget();
        }
        if answer == Answer::Silence {
            // A frozen Redis keeps its connections open, and a Sentinel may name another by now.
            redis.connect_anew(|client| client.is_connected()).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks::next(if up { PROBE_EVERY } else { PROBE_WHILE_DOWN }) => {}
            () = redis.0.suspicion.notified(), if up => {}
        }
    }
}

/// Connects anew when the Redis that we are connected to turns out to be a replica.
async fn leave_demoted(redis: Redis, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = redis.0.demoted.notified() => {}
        }
        redis.connect_anew(|_| true).await;
    }
}
