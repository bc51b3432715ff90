//! The connections to Redis, and the condition that Redis is in.
//!
//! Knows no room: `scripts` has the commands, `fanout` the subscription.

mod absence;
pub mod child;
mod condition;
mod condition_log;
mod connect;
mod durable;
mod hooks;
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

/// How long the other nodes need, once Redis is back, to notice it and to report their connections.
const ROOMS_RETURN_IN: Duration = Duration::from_millis(700);
/// The URL scheme of Redis over TLS.
const OVER_TLS: &str = "rediss";
/// Older versions lack commands that the scripts use.
const LEAST_MAJOR_VERSION: u32 = 7;
/// Maximum number of messages between the socket and the task that reads the subscription. Further
/// ones are dropped, which the fences show.
const SUBSCRIPTION_BUFFER: usize = 8192;
/// Maximum number of queued events of any other client: errors, of which one is enough. fred
/// allocates this for every kind of event.
const EVENT_BUFFER: usize = 16;

/// Handle on all connections to Redis.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    /// One for all: a second connection would make pipelines shorter, and Redis runs one command
    /// after the other anyway.
    commands: Client,
    subscriber: Client,
    keeper: Option<DurableStore>,
    /// Waits for rooms whose events are to be posted; only where there is a webhook.
    hooks: Option<Client>,
    has_webhook: bool,
    condition: watch::Sender<Condition>,
    /// Why the last attempt to connect failed, in the words of whoever refused it.
    refused: Mutex<Option<String>>,
    /// When the probe that is under way began.
    asked: Mutex<Option<Instant>>,
    /// The number of the latest probe that Redis published.
    probes: watch::Sender<u64>,
    /// Redis's version, once it is known.
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

/// Makes messages durable before they are published; only with `DURABILITY`.
struct DurableStore {
    durability: Durability,
    clients: Vec<Client>,
    timeout: Duration,
    queue: Durable,
}

impl Redis {
    /// Starts to connect, and retries until it succeeds. `node` is this process's own id.
    ///
    /// # Errors
    /// The URL is not a Redis URL, or it requires TLS and no certificate authorities are available.
    pub fn start(
        url: &str,
        node: &str,
        settings: &Settings,
        metrics: Arc<Metrics>,
        background: &Background,
    ) -> anyhow::Result<Self> {
        if url.starts_with(OVER_TLS) {
            // Otherwise the client library would trust no certificate, or report a wrong address.
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
            hooks: hooks::client(&config, settings, background),
            has_webhook: settings.webhooks.are_on(),
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
    /// It is too old, or does not support `DURABILITY`.
    pub async fn check(&self) -> anyhow::Result<()> {
        // A WAIT covers one shard, but a batch has rooms of all shards.
        anyhow::ensure!(
            self.0.keeper.is_none() || self.0.key_style == KeyStyle::Plain,
            "DURABILITY must be memory on Redis Cluster"
        );
        anyhow::ensure!(
            !self.0.has_webhook || self.0.hooks.is_some(),
            "WEBHOOK_URL cannot be used on Redis Cluster yet"
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

    /// The condition of Redis at the last probe. Calls that it does not allow fail at once.
    pub fn condition(&self) -> Condition {
        self.0.condition.borrow().clone()
    }

    /// How long the running probe has been waiting, if that is at least half of the command
    /// timeout: then Redis may not serve any more.
    pub fn unanswered_for(&self) -> Option<Duration> {
        let waits = self.0.asked.lock().map(|asked| asked.elapsed())?;
        (waits >= self.0.timeout / 2).then_some(waits)
    }

    /// Changes of [`Redis::condition`].
    pub fn conditions(&self) -> watch::Receiver<Condition> {
        self.0.condition.subscribe()
    }

    /// Whether Redis came back recently after so long that presences may have lapsed without an
    /// event.
    pub fn is_returning(&self) -> bool {
        self.0.absence.lock().returned_for(Instant::now()).is_some()
    }

    /// How long no heartbeat could keep members alive recently; zero once all nodes have reported
    /// again.
    pub fn deadline_extension(&self) -> Duration {
        self.0.absence.lock().deadline_extension(Instant::now())
    }

    /// Waits until a new member may be shown the list of members: after a long outage the members
    /// have to be reported again first.
    ///
    /// # Errors
    /// Redis does not accept writes.
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

    /// The numbers of the probes that Redis published to this node.
    pub fn probes(&self) -> watch::Receiver<u64> {
        self.0.probes.subscribe()
    }

    /// Starts a probe at once.
    pub fn probe_now(&self) {
        self.0.suspicion.notify_one();
    }

    /// The client that is used only for the subscription.
    pub fn subscriber(&self) -> &Client {
        &self.0.subscriber
    }

    /// The channel on which scripts publish to this node alone.
    pub fn node_channel(&self) -> &str {
        &self.0.node_channel
    }

    /// How key names are written on this deployment.
    pub fn key_style(&self) -> KeyStyle {
        self.0.key_style
    }

    /// The estimated time of Redis, milliseconds since 1970; 0 if unknown. It saves scripts work;
    /// their decisions use Redis's own clock.
    pub fn now_ms(&self) -> u64 {
        self.0.metrics.deliveries.clock.now_ms().unwrap_or_default()
    }

    /// Runs a script, and loads it first if Redis does not have it. `args` are all its arguments,
    /// packed.
    ///
    /// # Errors
    /// The script failed, or Redis is out of reach. A command that was running when the connection
    /// broke is not sent again, so a failed script may have run, but only once.
    async fn evalsha(
        &self,
        named: &Named,
        keys: Vec<String>,
        args: Value,
    ) -> FredResult<Vec<Value>> {
        self.check_allowed(named.access)?;
        let begun = Instant::now();
        // Boxed: fred's future is large, and so would be every future that awaits it.
        let run = || named.script.evalsha_with_reload(&self.0.commands, keys, args);
        let reply = boxed::in_place(run).await;
        self.note(named.name, begun, &reply);
        reply
    }

    /// Runs a script whose messages will be delivered to a room, and waits until they are durable.
    /// A script that stores messages does not publish them itself: this waits, and then publishes
    /// them on `channel`. Messages that a script reads may be stored but not confirmed yet.
    ///
    /// # Errors
    /// As [`Redis::evalsha`], and if the messages are not durable in time.
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

    /// Records the latency of a script, and checks the error if it failed.
    fn note(&self, name: &'static str, begun: Instant, reply: &FredResult<Vec<Value>>) {
        self.0.metrics.observe_script(name, begun.elapsed());
        if let Err(error) = reply {
            self.0.metrics.redis_failures.inc();
            self.suspect(error);
        }
    }

    /// Closes the connections.
    pub async fn quit(&self) {
        // It fails if the connection is already closed, which is fine.
        let quits =
            self.clients().map(|client| tokio::time::timeout(self.0.timeout, client.quit()));
        futures_util::future::join_all(quits).await;
    }

    fn clients(&self) -> impl Iterator<Item = &Client> {
        let keeper = self.0.keeper.iter().flat_map(|keeper| &keeper.clients);
        [&self.0.commands, &self.0.subscriber].into_iter().chain(keeper).chain(&self.0.hooks)
    }

    /// Closes the connections of the chosen clients, which then reconnect. A failure is ignored,
    /// because this is retried as long as Redis is away.
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

    /// Records why there is no connection; a command that waits for one only gets a timeout.
    fn connection_failed(&self, error: &RedisError) {
        if self.0.commands.is_connected() {
            return self.suspect(error);
        }
        let way = Reach { tls: self.0.tls, is_known: self.0.version.borrow().is_some() };
        let why = reason::explain(redacted(error), way);
        *self.0.refused.lock() = Some(why.clone());
        self.set_condition(Condition::Away(why));
        self.probe_now();
    }

    /// Why Redis is unavailable; the error of the connection explains more.
    fn why_away(&self, seen: &str) -> String {
        let refused = self.0.refused.lock().clone();
        let way = Reach { tls: false, is_known: true };
        let seen = || reason::explain(seen, way);
        refused.filter(|_| !self.0.commands.is_connected()).unwrap_or_else(seen)
    }

    /// Starts a probe at once after an error that may mean that Redis is unavailable.
    fn suspect(&self, error: &RedisError) {
        match error.kind() {
            ErrorKind::IO | ErrorKind::Canceled => {
                self.set_condition(Condition::Away(redacted(error).to_owned()));
                self.probe_now();
            }
            ErrorKind::Timeout => self.probe_now(),
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

/// The error of a call that this condition does not allow.
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

/// Reconnects when the connected Redis has become a replica.
async fn leave_replica(redis: Redis, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = redis.0.demoted.notified() => {}
        }
        redis.reconnect(|_| true).await;
    }
}
