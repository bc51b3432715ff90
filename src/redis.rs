//! The connections to Redis, and the condition that Redis is in.
//!
//! Knows no room: `scripts` has the commands, `fanout` the subscription. On a cluster, each primary is an [`Island`].

mod absence;
pub mod child;
mod cluster;
mod condition;
mod condition_log;
mod connect;
mod connection;
mod durable;
mod hooks;
mod island;
pub mod keys;
mod link;
pub mod probe;
mod reason;
mod resp;
mod rights;
mod script;
pub mod scripts;
mod shards;
mod topology;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use fred::{
    clients::Client,
    error::{Error as RedisError, ErrorKind},
    prelude::{FredResult, Value},
    types::config::Config,
};
use tokio::sync::{Notify, Semaphore, watch};
use tracing::warn;

use crate::{
    authorities,
    background::Background,
    error::redacted,
    metrics::Metrics,
    names::RoomId,
    settings::{Durability, Settings},
};
pub use condition::{Access, Condition};
use connect::connect;
use durable::Durable;
use island::Common;
pub use island::Island;
use keys::KeyStyle;
use script::Named;
use shards::Shards;
use topology::Hint;

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
/// Wait before a call whose slot is on its way to another primary is made again.
const SLOT_MOVES: Duration = Duration::from_millis(20);
/// How long such a call takes in all at most, in command timeouts: a sender has its answer in the time of the contract.
const MOVES_FOR: f64 = 1.9;

/// Handle on all connections to Redis.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    shards: Arc<Shards>,
    /// That of the best island.
    condition: watch::Sender<Condition>,
    keeper: Option<DurableStore>,
    /// Waits for rooms whose events are to be posted; only where there is a webhook.
    hooks: Option<Client>,
    has_webhook: bool,
    node_channel: String,
    common: Arc<Common>,
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
        let is_clustered = config.server.is_clustered();
        let common = Arc::new(Common {
            node: node.to_owned(),
            key_style: if is_clustered { KeyStyle::HashTag } else { KeyStyle::Plain },
            tls: config.tls.is_some(),
            timeout: settings.redis_timeout,
            presence_ttl: settings.presence_ttl,
            durability: settings.durability,
            metrics,
            version: watch::Sender::new(None),
            changed: Notify::new(),
            background: background.clone(),
        });
        let hooks = hooks::client(&config, settings, background);
        let (shards, condition, keeper) = match is_clustered {
            true => {
                let (shards, condition) = cluster::start(&config, common.clone());
                (shards, condition, None)
            }
            false => {
                let client = |events, nodelay| {
                    connect(config.clone(), settings.redis_timeout, events, nodelay, background)
                };
                let durable = settings.durability != Durability::Memory;
                let condition = island::no_answer_yet();
                let keeper = durable.then(|| {
                    DurableStore::start(&config, settings, condition.subscribe(), background)
                });
                let others = keeper.iter().flat_map(|keeper| &keeper.clients).chain(&hooks);
                let clients = [client(EVENT_BUFFER, false), client(SUBSCRIPTION_BUFFER, true)];
                let others = others.cloned().collect();
                let island = Island::only(clients, others, condition.clone(), common.clone());
                probe::start(&island);
                (Arc::new(Shards::one(island)), condition, keeper)
            }
        };
        Ok(Self(Arc::new(Inner {
            shards,
            condition,
            keeper,
            hooks,
            has_webhook: settings.webhooks.are_on(),
            node_channel: keys::node_channel("", node),
            common,
        })))
    }

    /// Waits until Redis answers, then says why this Redis cannot serve, if it cannot.
    ///
    /// # Errors
    /// It is too old, or does not support `DURABILITY`.
    pub async fn check(&self) -> anyhow::Result<()> {
        let common = &self.0.common;
        // A WAIT covers one shard, but a batch has rooms of all shards.
        anyhow::ensure!(
            common.durability == Durability::Memory || common.key_style == KeyStyle::Plain,
            "DURABILITY must be memory on Redis Cluster"
        );
        anyhow::ensure!(
            !self.0.has_webhook || self.0.hooks.is_some(),
            "WEBHOOK_URL cannot be used on Redis Cluster yet"
        );
        let mut version = common.version.subscribe();
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

    /// The condition of the best island: serving if any does.
    pub fn condition(&self) -> Condition {
        self.0.condition.borrow().clone()
    }

    /// Changes of [`Redis::condition`].
    pub fn conditions(&self) -> watch::Receiver<Condition> {
        self.0.condition.subscribe()
    }

    /// The island that has a room.
    pub fn island(&self, room: &RoomId) -> Arc<Island> {
        match self.key_style() {
            KeyStyle::Plain => self.0.shards.of(""),
            style => self.0.shards.of(&style.room(room).room()),
        }
    }

    /// All islands; a new value whenever slots moved.
    pub fn islands(&self) -> watch::Receiver<Vec<Arc<Island>>> {
        self.0.shards.islands()
    }

    /// A group of rooms that an island has, for its probes: the present one, if it has that.
    pub fn group_of(&self, island: &Island) -> String {
        self.0.shards.group_of(island, &island.group())
    }

    /// The islands may no longer be what they were: the cluster is asked at once.
    pub fn doubt_islands(&self) {
        self.0.shards.doubt();
    }

    /// Another node serves a slot, as this error of Redis says; anything else is a reason to ask.
    pub fn note_moved(&self, words: &str) {
        match Hint::of(words) {
            Some(Hint::Moved(slot, address)) if !self.0.common.tls => {
                self.0.shards.moved(slot, address);
            }
            // With TLS a node is known by its name, which is not what the error says.
            _ => self.0.shards.doubt(),
        }
    }

    /// The channel on which scripts publish to this node alone where rooms have no groups; elsewhere a name for it.
    pub fn node_channel(&self) -> &str {
        &self.0.node_channel
    }

    /// This process's own id.
    pub fn node(&self) -> &str {
        &self.0.common.node
    }

    /// How key names are written on this deployment.
    pub fn key_style(&self) -> KeyStyle {
        self.0.common.key_style
    }

    /// The turns of the calls of one script, on the island with this key.
    fn turns(&self, named: &Named, key: &str) -> Arc<Semaphore> {
        self.0.shards.of(key).turns(named.name)
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
        let shards = &self.0.shards;
        let key = keys.first().map(String::as_str).unwrap_or_default();
        match self.key_style() {
            KeyStyle::Plain => shards.of(key).evalsha(named, keys, vec![args]).await,
            KeyStyle::HashTag => self.evalsha_where_slots_move(named, keys, args).await,
        }
    }

    /// The same on a cluster. An error that says that the script did not run because of where its slot is does not
    /// reach the caller: the call is made again, wherever the slot is by then.
    async fn evalsha_where_slots_move(
        &self,
        named: &Named,
        mut keys: Vec<String>,
        args: Value,
    ) -> FredResult<Vec<Value>> {
        let timeout = self.0.common.timeout;
        let ends = tokio::time::Instant::now() + timeout.mul_f64(MOVES_FOR);
        let key = keys.first().cloned().unwrap_or_default();
        // No script runs while its slot is between two primaries, where the keys that it makes up itself may be gone.
        keys.extend(keys::never_beside(&key));
        loop {
            let island = self.0.shards.of(&key);
            // A primary that was just heard of is not away, it is new.
            let _ = tokio::time::timeout(timeout, island.first_answer()).await;
            let mut args = vec![args.clone()];
            if let Some(now_ms) = island.clock.now_ms().filter(|_| named.access == Access::Writes) {
                let until =
                    now_ms.saturating_add(timeout.as_millis().try_into().unwrap_or(u64::MAX));
                args.push(until.to_string().into());
            }
            let call = island.evalsha(named, keys.clone(), args);
            let error = match tokio::time::timeout_at(ends, call).await {
                Ok(Err(error)) => error,
                Ok(Ok(reply)) => return Ok(reply),
                Err(_) => return Err(RedisError::new(ErrorKind::Timeout, "no answer in time")),
            };
            match Hint::of(error.details()) {
                _ if tokio::time::Instant::now() + SLOT_MOVES > ends => return Err(error),
                Some(Hint::Late) => {
                    island.clock.forget();
                    island.probe_now();
                }
                Some(_) => self.note_moved(error.details()),
                None => return Err(error),
            }
            tokio::time::sleep(SLOT_MOVES).await;
        }
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
        // There is only one.
        let island = self.0.shards.of("");
        island.check_allowed(named.access)?;
        let begun = Instant::now();
        let channel = channel.map(str::to_owned);
        let reply = keeper.queue.run(&named.script, keys, args, channel).await;
        island.note(named.name, begun, &reply);
        reply
    }

    /// Closes the connections.
    pub async fn quit(&self) {
        let islands = self.0.shards.all();
        futures_util::future::join_all(islands.iter().map(|island| island.quit())).await;
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
