//! The connections to Redis, and the condition that Redis is in.
//!
//! Knows no room: `scripts` has the commands, `fanout` the subscription.

mod absence;
pub mod child;
mod condition;
mod condition_log;
mod connect;
mod durable;
pub mod keys;
pub mod probe;
mod reason;
mod rights;
mod script;
pub mod scripts;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use fred::{
    clients::Client,
    error::{Error as RedisError, ErrorKind},
    interfaces::{ClientLike, EventInterface},
    prelude::{FredResult, Value},
    types::config::Config,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    authorities,
    background::Background,
    boxed,
    error::redacted,
    metrics::Metrics,
    settings::{Durability, Settings},
};
use absence::Absence;
pub use condition::{Access, Condition};
use connect::connect;
use durable::Durable;
use keys::KeyStyle;
use reason::Reach;
use script::Named;

/// What other nodes need, where Redis is back, to notice it and to say who is in their rooms.
const ROOMS_RETURN_IN: Duration = Duration::from_millis(700);
/// What the address of a Redis over TLS begins with.
const OVER_TLS: &str = "rediss";
/// Older ones lack what the scripts use.
const LEAST_MAJOR_VERSION: u32 = 7;
/// Messages that may wait between the socket and the one task that reads the subscription. Beyond
/// it they are dropped, which the fences show.
const SUBSCRIPTION_BUFFER: usize = 8192;
/// Events of any other client that wait: errors, of which one is enough. fred allocates this for
/// every kind of event.
const EVENT_BUFFER: usize = 16;

/// Handle on all connections to Redis.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    /// One for all: a second would make pipelines shorter, and Redis runs one command after the other.
    commands: Client,
    subscriber: Client,
    keeper: Option<DurableStore>,
    condition: watch::Sender<Condition>,
    /// Why the last attempt to connect failed, in the words of whoever refused it.
    refused: Mutex<Option<String>>,
    /// When the probe that is under way began.
    asked: Mutex<Option<Instant>>,
    /// The number of the latest probe that Redis took.
    probes: watch::Sender<u64>,
    /// Redis's version, once it said so.
    version: watch::Sender<Option<String>>,
    absence: Mutex<Absence>,
    suspicion: Notify,
    demoted: Notify,
    node_channel: String,
    key_style: KeyStyle,
    tls: bool,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

/// What keeps messages before they are told; only where the operator wants it.
struct DurableStore {
    durability: Durability,
    clients: Vec<Client>,
    timeout: Duration,
    queue: Durable,
}

impl Redis {
    /// Begins to connect, and goes on until it succeeds. `node` is this process's own id.
    ///
    /// # Errors
    /// The URL is not one of Redis, or it wants TLS and there are no certificates of authorities to trust.
    pub fn start(
        url: &str,
        node: &str,
        settings: &Settings,
        metrics: Arc<Metrics>,
        background: &Background,
    ) -> anyhow::Result<Self> {
        if url.starts_with(OVER_TLS) {
            // The client library would trust nobody, or say that it is the address which is wrong.
            authorities::load()?;
        }
        let mut config =
            Config::from_url(url).context("REDIS_URL is not the address of a Redis")?;
        config.fail_fast = false;
        let key_style =
            if config.server.is_clustered() { KeyStyle::HashTag } else { KeyStyle::Plain };
        let timeout = settings.redis_timeout;
        let client =
            |events, nodelay| connect(config.clone(), timeout, events, nodelay, background);
        let condition = watch::Sender::new(Condition::Away("no answer yet".to_owned()));
        let keeper = (settings.durability != Durability::Memory)
            .then(|| DurableStore::start(&config, settings, condition.subscribe(), background));
        let redis = Self(Arc::new(Inner {
            commands: client(EVENT_BUFFER, false),
            subscriber: client(SUBSCRIPTION_BUFFER, true),
            keeper,
            condition,
            refused: Mutex::default(),
            asked: Mutex::default(),
            probes: watch::Sender::new(0),
            version: watch::Sender::new(None),
            absence: Mutex::new(Absence::new(settings.presence_ttl)),
            suspicion: Notify::new(),
            demoted: Notify::new(),
            node_channel: keys::node_channel(node),
            key_style,
            tls: config.tls.is_some(),
            timeout,
            metrics,
        }));
        let stop = &background.stop;
        let errors = mark_down_on_errors(redis.clone(), stop.clone());
        background.spawn_vital("the watch over Redis's connections", errors);
        background.spawn_vital("the probe of Redis", probe::run(redis.clone(), stop.clone()));
        let demoted = leave_replica(redis.clone(), stop.clone());
        background.spawn_vital("the look for a new primary", demoted);
        let told = condition_log::run(redis.conditions(), stop.clone());
        background.spawn_vital("the word about Redis", told);
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
        let mut version = self.0.version.subscribe();
        // The sender lives as long as `self`.
        let version = version.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
        self.check_version(&version.unwrap_or_default()).await
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
                redacted(&error)
            ),
            Ok(false) => warn!("DURABILITY is not met; messages are not acknowledged"),
            _ => {}
        }
        Ok(())
    }

    /// What state Redis was in when it was last asked. What it does not allow fails at once.
    pub fn condition(&self) -> Condition {
        self.0.condition.borrow().clone()
    }

    /// How long the probe under way has been waiting, where that is so long that Redis may not serve any
    /// more: half of what a command may take.
    pub fn unanswered_for(&self) -> Option<Duration> {
        let waits = self.0.asked.lock().map(|asked| asked.elapsed())?;
        (waits >= self.0.timeout / 2).then_some(waits)
    }

    /// Changes of [`Redis::condition`].
    pub fn conditions(&self) -> watch::Receiver<Condition> {
        self.0.condition.subscribe()
    }

    /// Whether Redis was away lately for so long that presences may have lapsed with nobody told.
    pub fn is_returning(&self) -> bool {
        self.0.absence.lock().returned_for(Instant::now()).is_some()
    }

    /// For how long nobody could be kept alive of late; nothing once everybody had time to be heard.
    pub fn spared(&self) -> Duration {
        self.0.absence.lock().spared(Instant::now())
    }

    /// Waits until somebody new may be shown who is in a room: where Redis was away for long, its
    /// members have to be reported again first.
    ///
    /// # Errors
    /// Redis does not write.
    pub async fn rooms_returned(&self) -> FredResult<()> {
        let condition = self.condition();
        if condition != Condition::Serves {
            return Err(refusal(&condition));
        }
        let since = self.0.absence.lock().returned_for(Instant::now());
        if let Some(left) = since.and_then(|since| ROOMS_RETURN_IN.checked_sub(since)) {
            tokio::time::sleep(left).await;
        }
        Ok(())
    }

    /// The numbers of the probes that Redis took, whose words were published to this node.
    pub fn probes(&self) -> watch::Receiver<u64> {
        self.0.probes.subscribe()
    }

    /// Has Redis looked at right away.
    pub fn look(&self) {
        self.0.suspicion.notify_one();
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

    /// Runs a script, sending its text first where Redis has forgotten it. `args` are all of its
    /// arguments, packed.
    ///
    /// # Errors
    /// The script failed, or Redis is out of reach. A command that was under way when the
    /// connection broke is not sent again, so a script that failed may have run, but only once.
    async fn evalsha(
        &self,
        named: &Named,
        keys: Vec<String>,
        args: Value,
    ) -> FredResult<Vec<Value>> {
        self.check_allowed(named.access)?;
        let begun = Instant::now();
        // Boxed: fred's future is large, and everything that waits for it would be.
        let run = || named.script.evalsha_with_reload(&self.0.commands, keys, args);
        let reply = boxed::in_place(run).await;
        self.note(named.name, begun, &reply);
        reply
    }

    /// Runs a script of whose messages a room will be told, and waits until they are where the
    /// operator wants them. One that stores a message leaves telling the room to us, and we wait
    /// before we tell `channel`; what one reads may have been stored and not confirmed yet.
    ///
    /// # Errors
    /// As [`Redis::evalsha`], and where the messages are not kept in time.
    async fn evalsha_durable(
        &self,
        named: &Named,
        keys: Vec<String>,
        args: Value,
        channel: Option<&str>,
    ) -> FredResult<Vec<Value>> {
        let Some(keeper) = &self.0.keeper else {
            return self.evalsha(named, keys, args).await;
        };
        self.check_allowed(named.access)?;
        let begun = Instant::now();
        let channel = channel.map(str::to_owned);
        let reply = keeper.queue.run(&named.script, keys, args, channel).await;
        self.note(named.name, begun, &reply);
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
    async fn reconnect(&self, chosen: impl Fn(&Client) -> bool) {
        let dropped = self
            .clients()
            .filter(|client| chosen(client))
            .map(|client| tokio::time::timeout(self.0.timeout, client.force_reconnection()));
        futures_util::future::join_all(dropped).await;
    }

    fn check_allowed(&self, access: Access) -> FredResult<()> {
        let condition = self.0.condition.borrow();
        if condition.allows(access) { Ok(()) } else { Err(refusal(&condition)) }
    }

    /// Notes why there is no connection. What waits for one only knows that it waited in vain.
    fn connection_failed(&self, error: &RedisError) {
        if self.0.commands.is_connected() {
            return self.suspect(error);
        }
        let way = Reach { tls: self.0.tls, is_known: self.0.version.borrow().is_some() };
        let why = reason::explain(redacted(error), way);
        *self.0.refused.lock() = Some(why.clone());
        self.set_condition(Condition::Away(why));
        self.look();
    }

    /// Why Redis is away, which whoever refused the connection knows better.
    fn why_away(&self, seen: &str) -> String {
        let refused = self.0.refused.lock().clone();
        let way = Reach { tls: false, is_known: true };
        let seen = || reason::explain(seen, way);
        refused.filter(|_| !self.0.commands.is_connected()).unwrap_or_else(seen)
    }

    /// Has Redis looked at right away after an error that may mean that it is gone.
    fn suspect(&self, error: &RedisError) {
        match error.kind() {
            ErrorKind::IO | ErrorKind::Canceled => {
                self.set_condition(Condition::Away(redacted(error).to_owned()));
                self.look();
            }
            ErrorKind::Timeout => self.look(),
            _ if condition::is_demoted(error.details()) => {
                warn!("this redis became a replica; reconnecting");
                self.0.demoted.notify_one();
            }
            _ => {}
        }
    }

    fn set_condition(&self, condition: Condition) {
        let condition = match condition {
            Condition::Away(seen) => Condition::Away(self.why_away(&seen)),
            other => other,
        };
        self.0.absence.lock().note(condition == Condition::Serves, Instant::now());
        let changed = self.0.condition.send_if_modified(|was| {
            let changed = *was != condition;
            *was = condition.clone();
            changed
        });
        if !changed {
            return;
        }
        self.0.metrics.redis_up.set(i64::from(condition.is_up()));
    }
}

/// What something fails with that Redis does not allow in this condition.
fn refusal(condition: &Condition) -> RedisError {
    match condition {
        Condition::Lacks(missing) => {
            RedisError::new(ErrorKind::Auth, format!("missing rights: {missing}"))
        }
        Condition::Refuses(why) => RedisError::new(ErrorKind::Unknown, why.clone()),
        Condition::Away(_) | Condition::Serves => {
            RedisError::new(ErrorKind::IO, "redis is out of reach")
        }
    }
}

impl DurableStore {
    fn start(
        config: &Config,
        settings: &Settings,
        condition: watch::Receiver<Condition>,
        background: &Background,
    ) -> Self {
        let durability = settings.durability;
        let timeout = durable::timeout(durability, settings.redis_timeout);
        let client = |_| connect(config.clone(), timeout, EVENT_BUFFER, true, background);
        let clients: Vec<_> = (0..durable::CLIENTS).map(client).collect();
        let (queue, worker) =
            Durable::new(clients.clone(), durability, timeout, condition, background.stop.clone());
        background.spawn_vital("the keeper of messages", worker);
        Self { durability, clients, timeout, queue }
    }
}

async fn mark_down_on_errors(redis: Redis, stop: CancellationToken) {
    let mut errors = redis.0.commands.error_rx();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            error = errors.recv() => match error {
                Ok((error, _)) => redis.connection_failed(&error),
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            },
        }
    }
}

/// Connects anew when the Redis that we are connected to turns out to be a replica.
async fn leave_replica(redis: Redis, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = redis.0.demoted.notified() => {}
        }
        redis.reconnect(|_| true).await;
    }
}
