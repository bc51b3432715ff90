//! One Redis: its connections, and the condition that it is in. On a cluster, each primary is one.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fred::{
    clients::Client,
    error::{Error as RedisError, ErrorKind},
    prelude::{FredResult, Value},
    types::{Message as Payload, config::Server},
};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    absence::Absence,
    condition::{self, Access, Condition},
    condition_log,
    connection::Connection,
    keys::{self, KeyStyle},
    link::{Link, Way},
    reason::{self, Reach},
    script::{CALLS_AT_ONCE, Named},
    topology::{self, Address},
};
use crate::{
    background::Background,
    error::redacted,
    metrics::{Metrics, RedisClock},
    settings::Durability,
};

/// How long the other nodes need, once Redis is back, to notice it and to report their connections.
const ROOMS_RETURN_IN: Duration = Duration::from_millis(700);
/// The condition before the first probe.
const NO_ANSWER_YET: &str = "no answer yet";

/// What all islands of a deployment have in common.
pub(super) struct Common {
    /// This process's own id.
    pub node: String,
    pub key_style: KeyStyle,
    pub tls: bool,
    pub timeout: Duration,
    pub presence_ttl: Duration,
    pub durability: Durability,
    pub metrics: Arc<Metrics>,
    /// Redis's version, once it is known.
    pub version: watch::Sender<Option<String>>,
    /// The condition of some island changed.
    pub changed: Notify,
    pub background: Background,
}

/// One Redis, with all connections of this node to it.
pub struct Island {
    id: u64,
    /// Its address; empty where there is only one Redis.
    name: String,
    /// One for all commands: a second connection would make pipelines shorter, and Redis runs one
    /// command after the other anyway.
    pub(super) commands: Connection,
    pub(super) subscriber: Connection,
    /// Further connections to the same Redis.
    others: Vec<Connection>,
    pub(super) condition: watch::Sender<Condition>,
    /// Why the last attempt to connect failed, in the words of whoever refused it.
    refused: Mutex<Option<String>>,
    /// When the probe that is under way began.
    pub(super) asked: Mutex<Option<Instant>>,
    /// The number of the latest probe that Redis published.
    pub(super) probes: watch::Sender<u64>,
    absence: Mutex<Absence>,
    pub(super) suspicion: Notify,
    demoted: Notify,
    /// The group on whose channel of this node the probes are published.
    group: Mutex<String>,
    pub(super) clock: RedisClock,
    turns: Mutex<HashMap<&'static str, Arc<Semaphore>>>,
    pub(super) common: Arc<Common>,
    /// Cancelled when this is no primary any more.
    stop: CancellationToken,
    /// Cancelled when its last calls have been answered.
    links: CancellationToken,
}

/// The condition before the first probe.
pub(super) fn no_answer_yet() -> watch::Sender<Condition> {
    watch::Sender::new(Condition::Away(NO_ANSWER_YET.to_owned()))
}

impl Island {
    fn new(
        name: String,
        [commands, subscriber]: [Connection; 2],
        others: Vec<Connection>,
        condition: watch::Sender<Condition>,
        absence: Absence,
        common: Arc<Common>,
    ) -> Self {
        static LATEST: AtomicU64 = AtomicU64::new(0);
        let stop = common.background.stop.child_token();
        let links = common.background.stop.child_token();
        Self {
            id: LATEST.fetch_add(1, Ordering::Relaxed) + 1,
            name,
            commands,
            subscriber,
            others,
            condition,
            refused: Mutex::default(),
            asked: Mutex::default(),
            probes: watch::Sender::new(0),
            absence: Mutex::new(absence),
            suspicion: Notify::new(),
            demoted: Notify::new(),
            group: Mutex::default(),
            clock: RedisClock::new(),
            turns: Mutex::default(),
            common,
            stop,
            links,
        }
    }

    /// The only Redis of a deployment.
    pub(super) fn only(
        clients: [Client; 2],
        others: Vec<Client>,
        condition: watch::Sender<Condition>,
        common: Arc<Common>,
    ) -> Arc<Self> {
        let absence = Absence::new(common.presence_ttl);
        let connections = clients.map(Connection::Fred);
        let others = others.into_iter().map(Connection::Fred).collect();
        Self::new(String::new(), connections, others, condition, absence, common).started()
    }

    /// Where slots are that no node serves: every call is refused.
    pub(super) fn nowhere(common: Arc<Common>) -> Arc<Self> {
        let absence = Absence::new(common.presence_ttl);
        let connections = [Connection::Nowhere, Connection::Nowhere];
        Arc::new(Self::new(
            String::new(),
            connections,
            Vec::new(),
            no_answer_yet(),
            absence,
            common,
        ))
    }

    /// A primary of a cluster, which goes on with the absence of the one before it.
    pub(super) fn found(
        address: &Address,
        way: &Way,
        absence: Absence,
        common: Arc<Common>,
    ) -> Arc<Self> {
        let links = common.background.stop.child_token();
        let connections = [(), ()].map(|()| {
            let (link, runs) = Link::new(topology::server(address), way.clone(), links.clone());
            common.background.spawn_vital_until(links.clone(), "a connection to Redis", runs);
            Connection::Link(link)
        });
        let name = format!("{}:{}", address.0, address.1);
        Self { links, ..Self::new(name, connections, Vec::new(), no_answer_yet(), absence, common) }
            .started()
    }

    fn started(self) -> Arc<Self> {
        let island = Arc::new(self);
        let stop = island.stop.clone();
        let errors = island.clone().mark_down_on_errors(stop.clone());
        island.spawn("the watch over Redis's connections", errors);
        island.spawn("the look for a new primary", island.clone().leave_replica(stop.clone()));
        let told = condition_log::run(island.name.clone(), island.conditions(), stop);
        island.spawn("the word about Redis", told);
        island
    }

    /// Spawns a task that must run as long as this is a primary. `name` describes it for the operator.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.common.background.spawn_vital_until(self.stop.clone(), name, task);
    }

    /// This is no primary any more. What it was asked before may still be answered.
    pub(super) fn leave(&self) {
        self.stop.cancel();
        let (links, timeout) = (self.links.clone(), self.common.timeout);
        self.common.background.tasks.spawn(async move {
            links.clone().run_until_cancelled(tokio::time::sleep(timeout)).await;
            links.cancel();
        });
    }

    /// Cancelled when this is no primary any more.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Its number: no other island of this process has the same.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its address, on a cluster; empty where there is only one Redis.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is where slots are that no node serves.
    pub fn is_nowhere(&self) -> bool {
        matches!(self.commands, Connection::Nowhere)
    }

    /// The group on whose channel of this node the probes are published; empty where rooms have none.
    pub fn group(&self) -> String {
        self.group.lock().clone()
    }

    /// Has the probes published on this node's channel of another group.
    pub fn set_group(&self, group: String) {
        *self.group.lock() = group;
    }

    /// The channel of the probes.
    pub fn probe_channel(&self) -> String {
        keys::node_channel(&self.group.lock(), &self.common.node)
    }

    pub(super) fn absence(&self) -> Absence {
        self.absence.lock().clone()
    }

    /// Its condition at the last probe. Calls that it does not allow fail at once.
    pub fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// How long the running probe has been waiting, if that is at least half of the command
    /// timeout: then Redis may not serve any more.
    pub fn unanswered_for(&self) -> Option<Duration> {
        let waits = self.asked.lock().map(|asked| asked.elapsed())?;
        (waits >= self.common.timeout / 2).then_some(waits)
    }

    /// Changes of [`Island::condition`].
    pub fn conditions(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Waits for the first result of a probe.
    pub(super) async fn first_answer(&self) {
        let is_result = |condition: &Condition| !matches!(condition, Condition::Away(why) if why == NO_ANSWER_YET);
        // The sender lives as long as `self`.
        let _ = self.conditions().wait_for(is_result).await;
    }

    /// Whether Redis came back recently after so long that presences may have lapsed without an
    /// event.
    pub fn is_returning(&self) -> bool {
        self.absence.lock().returned_for(Instant::now()).is_some()
    }

    /// How long no heartbeat could keep members alive recently; zero once all nodes have reported
    /// again.
    pub fn deadline_extension(&self) -> Duration {
        self.absence.lock().deadline_extension(Instant::now())
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
        let since = self.absence.lock().returned_for(Instant::now());
        if let Some(left) = since.and_then(|since| ROOMS_RETURN_IN.checked_sub(since)) {
            tokio::time::sleep(left).await;
        }
        Ok(())
    }

    /// The numbers of the probes that Redis published to this node.
    pub fn probes(&self) -> watch::Receiver<u64> {
        self.probes.subscribe()
    }

    /// Starts a probe at once.
    pub fn probe_now(&self) {
        self.suspicion.notify_one();
    }

    /// The estimated time of Redis, milliseconds since 1970; 0 if unknown. It saves scripts work;
    /// their decisions use Redis's own clock.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms().unwrap_or_default()
    }

    /// The turns of the calls of one script.
    pub(super) fn turns(&self, script: &'static str) -> Arc<Semaphore> {
        let mut turns = self.turns.lock();
        turns.entry(script).or_insert_with(|| Arc::new(Semaphore::new(CALLS_AT_ONCE))).clone()
    }

    /// Subscribes to channels, of one group on a cluster, and has Redis confirm it.
    ///
    /// # Errors
    /// Redis refuses it, or is out of reach.
    pub async fn subscribe(&self, channels: Vec<String>) -> FredResult<()> {
        self.subscriber.subscribe(channels).await
    }

    /// Ends the subscription to channels, of one group on a cluster.
    ///
    /// # Errors
    /// As [`Island::subscribe`].
    pub async fn unsubscribe(&self, channels: Vec<String>) -> FredResult<()> {
        self.subscriber.unsubscribe(channels).await
    }

    /// Makes the connection of the subscription anew.
    pub async fn restart_subscription(&self) {
        self.subscriber.reconnect().await;
    }

    /// What is published on the channels.
    pub fn payloads(&self) -> broadcast::Receiver<Payload> {
        self.subscriber.payloads()
    }

    /// Channels that Redis took away; `None` where it takes none.
    pub fn gone(&self) -> Option<broadcast::Receiver<String>> {
        self.subscriber.gone()
    }

    /// Each connection of the subscription that was made.
    pub fn reconnects(&self) -> broadcast::Receiver<Server> {
        self.subscriber.reconnects()
    }

    /// Runs a script once.
    ///
    /// # Errors
    /// The script failed, or Redis is out of reach.
    pub(super) async fn evalsha(
        &self,
        named: &Named,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> FredResult<Vec<Value>> {
        self.check_allowed(named.access)?;
        let begun = Instant::now();
        let reply = self.commands.evalsha(&named.script, keys, args).await;
        self.note(named.name, begun, &reply);
        reply
    }

    /// Records the latency of a script, and checks the error if it failed.
    pub(super) fn note(&self, name: &'static str, begun: Instant, reply: &FredResult<Vec<Value>>) {
        self.common.metrics.observe_script(name, begun.elapsed());
        if let Err(error) = reply {
            self.common.metrics.redis_failures.inc();
            self.suspect(error);
        }
    }

    /// Closes the connections, which are then made again; with that of the subscription or without.
    pub(super) async fn reconnect(&self, with_subscriber: bool) {
        let subscriber = with_subscriber.then_some(&self.subscriber);
        let connections = [&self.commands].into_iter().chain(subscriber).chain(&self.others);
        // It is retried as long as Redis is away.
        let dropped = connections
            .map(|connection| tokio::time::timeout(self.common.timeout, connection.reconnect()));
        futures_util::future::join_all(dropped).await;
    }

    /// Closes the connections.
    pub(super) async fn quit(&self) {
        let connections = [&self.commands, &self.subscriber].into_iter().chain(&self.others);
        let quits = connections
            .map(|connection| tokio::time::timeout(self.common.timeout, connection.quit()));
        futures_util::future::join_all(quits).await;
        self.links.cancel();
    }

    pub(super) fn check_allowed(&self, access: Access) -> FredResult<()> {
        let condition = self.condition.borrow();
        if condition.allows(access) { Ok(()) } else { Err(refusal(&condition)) }
    }

    /// Records why there is no connection; a command that waits for one only gets a timeout.
    fn connection_failed(&self, error: &RedisError) {
        if self.commands.is_connected() {
            return self.suspect(error);
        }
        let way = Reach { tls: self.common.tls, is_known: self.common.version.borrow().is_some() };
        let why = reason::explain(redacted(error), way);
        *self.refused.lock() = Some(why.clone());
        self.set_condition(Condition::Away(why));
        self.probe_now();
    }

    /// Why Redis is unavailable; the error of the connection explains more.
    fn why_away(&self, seen: &str) -> String {
        let refused = self.refused.lock().clone();
        let way = Reach { tls: false, is_known: true };
        let seen = || reason::explain(seen, way);
        refused.filter(|_| !self.commands.is_connected()).unwrap_or_else(seen)
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
                self.demoted.notify_one();
            }
            _ => {}
        }
    }

    pub(super) fn set_condition(&self, condition: Condition) {
        let condition = match condition {
            Condition::Away(seen) => Condition::Away(self.why_away(&seen)),
            other => other,
        };
        self.absence.lock().note(condition == Condition::Serves, Instant::now());
        let changed = self.condition.send_if_modified(|was| {
            let changed = *was != condition;
            *was = condition.clone();
            changed
        });
        if !changed {
            return;
        }
        if self.name.is_empty() {
            self.common.metrics.redis_up.set(i64::from(condition.is_up()));
        }
        self.common.changed.notify_one();
    }

    async fn mark_down_on_errors(self: Arc<Self>, stop: CancellationToken) {
        let mut errors = self.commands.errors();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                error = errors.recv() => match error {
                    Ok((error, _)) => self.connection_failed(&error),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            }
        }
    }

    /// Reconnects when the connected Redis has become a replica.
    async fn leave_replica(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.demoted.notified() => {}
            }
            self.reconnect(true).await;
        }
    }
}

/// The error of a call that this condition does not allow.
pub(super) fn refusal(condition: &Condition) -> RedisError {
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
