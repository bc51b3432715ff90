//! Durability: messages are published only after Redis has stored them as `DURABILITY` requires.
//!
//! A WAIT blocks its connection and covers only the writes of that connection, so this module has
//! clients of its own: many scripts run, then one WAIT for all of them, then all their messages are
//! published. With a file that is synced once a second, messages that arrive during a WAIT would
//! wait twice; so if a WAIT takes long, later messages start on the next client. Messages are
//! published in the order of the calls. Catch-ups wait in the same way. A message that Redis does
//! not confirm in time is not published: its sender gets an error, and a retry with the same key
//! waits again.

use std::time::Duration;

use fred::{
    clients::Client,
    error::{Error as RedisError, ErrorKind},
    interfaces::{ClientLike, EventInterface, PubsubInterface, ServerInterface},
    prelude::{FredResult, Value},
    types::{ClusterHash, CustomCommand, config::Server, scripts::Script},
};
use futures_util::{StreamExt, future::join_all, stream::FuturesOrdered};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::condition::Condition;
use crate::settings::Durability;

/// Maximum number of waiting jobs; they run together. Beyond it, callers get an error and may
/// retry.
const QUEUE: usize = 1024;
/// Number of connections, each with one WAIT at a time.
pub(super) const CLIENTS: usize = 4;
/// How long a WAIT runs before the next client starts another one; a second for all clients
/// together.
const TURN: Duration = Duration::from_millis(250);
/// Maximum wait of a sender; the documented limit is 2 s.
const GIVE_UP: Duration = Duration::from_millis(1900);
/// The command that waits for the append-only file.
const WAIT_FOR_FILE: &str = "WAITAOF";
/// A channel without subscribers.
const KEPT_CHANNEL: &str = "node:kept";

/// A script to run, whose answer is passed on once the messages that it stored or read are durable.
struct Job {
    script: Script,
    keys: Vec<String>,
    args: Value,
    /// The channel on which its stored messages are published; `None` for a script that only reads.
    channel: Option<String>,
    until: Instant,
    reply: oneshot::Sender<FredResult<Vec<Value>>>,
}

/// The queue of jobs.
#[derive(Clone)]
pub(super) struct Durable(mpsc::Sender<Job>);

impl Durable {
    /// A queue, and its worker, which has to be spawned. `condition` is that of Redis.
    pub fn new(
        clients: Vec<Client>,
        durability: Durability,
        timeout: Duration,
        condition: watch::Receiver<Condition>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let worker = Worker { clients, durability, timeout, condition };
        (Self(jobs), worker.run(waiting, stop))
    }

    /// Runs a script, waits until the messages that it stored or read are durable, publishes the
    /// stored ones on `channel`, and returns the script's answer.
    ///
    /// # Errors
    /// Redis is unavailable, or did not confirm in time.
    pub async fn run(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Value,
        channel: Option<String>,
    ) -> FredResult<Vec<Value>> {
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + GIVE_UP;
        let job = Job { script: script.clone(), keys, args, channel, until, reply };
        self.0
            .try_send(job)
            .map_err(|_| RedisError::new(ErrorKind::Backpressure, "too many messages wait"))?;
        match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(RedisError::new(ErrorKind::Unknown, "the node leaves")),
            Err(_) => Err(not_confirmed()),
        }
    }
}

fn not_confirmed() -> RedisError {
    RedisError::new(ErrorKind::Timeout, "redis did not confirm in time")
}

/// The frames of stored messages, at the end of a script's answer; its second value is their
/// number.
fn frames(said: &[Value]) -> &[Value] {
    let count = said.get(1).and_then(Value::as_usize).unwrap_or_default();
    &said[said.len().saturating_sub(count)..]
}

impl Job {
    /// Whether the script's answer has messages that must become durable.
    fn waits(&self, said: &[Value]) -> bool {
        self.channel.is_none() || !frames(said).is_empty()
    }

    async fn run(&self, client: &Client) -> FredResult<Vec<Value>> {
        self.script.evalsha_with_reload(client, self.keys.clone(), self.args.clone()).await
    }

    fn answer(self, answer: FredResult<Vec<Value>>) {
        // The caller may be gone.
        let _ = self.reply.send(answer);
    }
}

/// A job, and the answer of its script.
type Said = (Job, Vec<Value>);
/// The connections that a client has made since this was subscribed.
type Reconnects = broadcast::Receiver<Server>;

/// Jobs that share one WAIT.
struct Batch<'a> {
    client: &'a Client,
    waiting: Vec<Said>,
    kept: FredResult<()>,
}

struct Worker {
    clients: Vec<Client>,
    durability: Durability,
    timeout: Duration,
    condition: watch::Receiver<Condition>,
}

impl Worker {
    async fn run(self, mut waiting: mpsc::Receiver<Job>, stop: CancellationToken) {
        let mut jobs = Vec::with_capacity(QUEUE);
        let mut under_way = FuturesOrdered::new();
        let mut clients = self.clients.iter().cycle();
        let mut begun = Instant::now();
        loop {
            let turn = wait_for_turn(under_way.len(), begun);
            tokio::select! {
                () = stop.cancelled() => return,
                Some(batch) = under_way.next() => Batch::tell(batch).await,
                count = async { turn.await; waiting.recv_many(&mut jobs, QUEUE).await } => {
                    let Some(client) = clients.next().filter(|_| count > 0) else { return };
                    begun = Instant::now();
                    // The callers of the others have given up.
                    jobs.retain(|job| job.until > begun);
                    under_way.push_back(self.keep(client, std::mem::take(&mut jobs)));
                }
            }
        }
    }

    /// Runs the scripts, and waits until the messages that they stored and read are durable.
    async fn keep<'a>(&self, client: &'a Client, jobs: Vec<Job>) -> Batch<'a> {
        let mut batch = Batch { client, waiting: Vec::with_capacity(jobs.len()), kept: Ok(()) };
        if !self.reaches(client).await {
            let refusal = RedisError::new(ErrorKind::IO, "redis is out of reach");
            jobs.into_iter().for_each(|job| job.answer(Err(refusal.clone())));
            return batch;
        }
        let reconnects = client.reconnect_rx();
        let said = join_all(jobs.iter().map(|job| job.run(client))).await;
        for (job, said) in jobs.into_iter().zip(said) {
            match said {
                Ok(said) if job.waits(&said) => batch.waiting.push((job, said)),
                said => job.answer(said),
            }
        }
        if !batch.waiting.is_empty() {
            batch.kept = self.confirmed(&batch, &reconnects).await;
        }
        batch
    }

    /// Whether the client is connected; waits if it is connecting, because a connection that is
    /// made later would look like a reconnect.
    async fn reaches(&self, client: &Client) -> bool {
        let connected = tokio::time::timeout(self.timeout, client.wait_for_connect());
        self.condition.borrow().is_up() && matches!(connected.await, Ok(Ok(())))
    }

    async fn confirmed(&self, batch: &Batch<'_>, reconnects: &Reconnects) -> FredResult<()> {
        if batch.waiting.iter().any(|(job, _)| job.channel.is_none()) {
            // A WAIT covers the last write of its own connection, and all earlier writes.
            batch.client.publish::<(), _, _>(KEPT_CHANNEL, "").await?;
        }
        let is_kept = confirm(batch.client, self.durability, self.timeout).await?;
        // On another connection, perhaps to another Redis, the WAIT did not cover our writes.
        if is_kept && reconnects.is_empty() { Ok(()) } else { Err(not_confirmed()) }
    }
}

/// Waits until the next client may start: at once if none is running, forever while all are.
async fn wait_for_turn(under_way: usize, begun: Instant) {
    match under_way {
        0 => {}
        CLIENTS => std::future::pending().await,
        _ => tokio::time::sleep_until(begun + TURN).await,
    }
}

impl Batch<'_> {
    /// Publishes the durable messages and answers the callers.
    async fn tell(self) {
        let outcome = match self.kept {
            Ok(()) => self.publish().await,
            Err(ref error) => Err(error.clone()),
        };
        for (job, said) in self.waiting {
            job.answer(outcome.clone().map(|()| said));
        }
    }

    async fn publish(&self) -> FredResult<()> {
        let pipeline = self.client.pipeline();
        for (job, said) in &self.waiting {
            let Some(channel) = &job.channel else { continue };
            for frame in frames(said).iter().filter_map(Value::as_string) {
                pipeline.publish::<(), _, _>(channel, frame).await?;
            }
        }
        pipeline.all().await
    }
}

/// Timeout of a command of these clients.
pub(super) fn timeout(durability: Durability, redis_timeout: Duration) -> Duration {
    match durability {
        // With `appendfsync everysec` Redis syncs its file only once a second.
        Durability::Local => redis_timeout.max(GIVE_UP),
        Durability::Memory | Durability::Replicated => redis_timeout,
    }
}

/// The command that `durability` needs.
pub(super) fn command(durability: Durability) -> &'static str {
    match durability {
        Durability::Memory => "",
        Durability::Local => WAIT_FOR_FILE,
        Durability::Replicated => "WAIT",
    }
}

/// Waits until this connection's writes are as durable as `durability` requires. `false` if that
/// takes longer than `timeout`.
///
/// # Errors
/// Redis is unavailable, or does not support it.
pub(super) async fn confirm(
    client: &Client,
    durability: Durability,
    timeout: Duration,
) -> Result<bool, RedisError> {
    // Less than the command timeout, so that Redis gives up first.
    let patience_ms = i64::try_from(timeout.as_millis() * 4 / 5).unwrap_or(i64::MAX).max(1);
    match durability {
        Durability::Memory => Ok(true),
        Durability::Replicated => {
            let replicas: i64 = client.wait(1, patience_ms).await?;
            Ok(replicas >= 1)
        }
        Durability::Local => {
            let command = CustomCommand::new(WAIT_FOR_FILE, ClusterHash::FirstKey, false);
            let args = vec!["1".to_owned(), "0".to_owned(), patience_ms.to_string()];
            let (local, _replicas): (i64, i64) = client.custom(command, args).await?;
            Ok(local >= 1)
        }
    }
}
