//! Messages that are told only once Redis has them where the operator wants them.
//!
//! A WAIT blocks its connection and counts only that connection's writes, so this is one client of
//! its own and one task: many messages are stored, then one WAIT for all of them, then all are
//! told, in the order of the stream. What Redis does not confirm in time is not told: its sender
//! gets an error, and its retry with the same key waits again.

use std::time::Duration;

use fred::{
    clients::Client,
    error::Error as RedisError,
    interfaces::{ClientLike, PubsubInterface, ServerInterface},
    prelude::{FredResult, Value},
    types::{ClusterHash, CustomCommand, scripts::Script},
};
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{error::Error, settings::Durability};

/// Messages that may wait for their turn. Beyond it senders are told to try again.
const QUEUE: usize = 1024;
/// Messages that one WAIT is for.
const BATCH: usize = 256;

/// A message to store and, once it is kept, to tell.
pub(super) struct Job {
    pub script: Script,
    pub keys: Vec<String>,
    pub args: Vec<Value>,
    pub channel: String,
    pub reply: oneshot::Sender<Result<Vec<Value>, Error>>,
}

/// The queue of messages to be kept.
#[derive(Clone)]
pub(super) struct Durable(mpsc::Sender<Job>);

impl Durable {
    /// A queue, and the worker that has to be spawned for it.
    pub fn new(
        client: Client,
        durability: Durability,
        timeout: Duration,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let worker = Worker { client, durability, timeout };
        (Self(jobs), worker.run(waiting, stop))
    }

    /// Stores a message, waits until it is kept, tells it, and returns what the script said.
    ///
    /// # Errors
    /// Redis is out of reach, or did not confirm in time.
    pub async fn publish(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
        channel: String,
    ) -> Result<Vec<Value>, Error> {
        let (reply, answer) = oneshot::channel();
        let job = Job { script: script.clone(), keys, args, channel, reply };
        self.0.try_send(job).map_err(|_| Error::unavailable("too many messages wait"))?;
        answer.await.unwrap_or_else(|_| Err(Error::unavailable("the node leaves")))
    }
}

/// Where a stored message's frame stands in the script's answer; refusals are shorter.
const FRAME: usize = 3;

struct Worker {
    client: Client,
    durability: Durability,
    timeout: Duration,
}

impl Worker {
    async fn run(self, mut waiting: mpsc::Receiver<Job>, stop: CancellationToken) {
        let mut jobs = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                count = waiting.recv_many(&mut jobs, BATCH) => if count == 0 { return },
            }
            self.keep(std::mem::take(&mut jobs)).await;
        }
    }

    async fn keep(&self, jobs: Vec<Job>) {
        let stored = join_all(jobs.iter().map(|job| {
            job.script.evalsha_with_reload::<Vec<Value>, _, _>(
                &self.client,
                job.keys.clone(),
                job.args.clone(),
            )
        }));
        let stored: Vec<FredResult<Vec<Value>>> = stored.await;
        let any = stored.iter().flatten().any(|reply| reply.len() > FRAME);
        let kept =
            if any { confirm(&self.client, self.durability, self.timeout).await } else { Ok(true) };
        for (job, stored) in jobs.into_iter().zip(stored) {
            let answer = self.tell(&job.channel, stored, &kept).await;
            // Whoever asked may be gone.
            let _ = job.reply.send(answer);
        }
    }

    /// Tells the room of a message that is kept.
    async fn tell(
        &self,
        channel: &str,
        stored: FredResult<Vec<Value>>,
        kept: &FredResult<bool>,
    ) -> Result<Vec<Value>, Error> {
        let reply = stored?;
        let Some(frame) = reply.get(FRAME).and_then(Value::as_string) else { return Ok(reply) };
        match kept {
            Ok(true) => {
                self.client.publish::<(), _, _>(channel, frame).await?;
                Ok(reply)
            }
            Ok(false) => Err(Error::unavailable("redis did not confirm the message in time")),
            Err(error) => Err(error.clone().into()),
        }
    }
}

/// Waits until this connection's writes are where `durability` wants them. `false` where that
/// takes longer than `timeout`.
///
/// # Errors
/// Redis is out of reach, or cannot do it at all.
pub(super) async fn confirm(
    client: &Client,
    durability: Durability,
    timeout: Duration,
) -> Result<bool, RedisError> {
    // Somewhat less than a command may take, so that it is Redis that gives up.
    let patience_ms = i64::try_from(timeout.as_millis() * 4 / 5).unwrap_or(i64::MAX).max(1);
    match durability {
        Durability::Memory => Ok(true),
        Durability::Replicated => {
            let replicas: i64 = client.wait(1, patience_ms).await?;
            Ok(replicas >= 1)
        }
        Durability::Local => {
            let command = CustomCommand::new("WAITAOF", ClusterHash::FirstKey, false);
            let args = vec!["1".to_owned(), "0".to_owned(), patience_ms.to_string()];
            let (local, _replicas): (i64, i64) = client.custom(command, args).await?;
            Ok(local >= 1)
        }
    }
}
