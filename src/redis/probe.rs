//! Checks the condition of Redis continuously: it serves if a script that may write runs. The
//! script also publishes a probe to this node, and `fanout` checks that it arrives.

use std::time::{Duration, Instant};

use fred::{
    error::{Error as RedisError, ErrorKind},
    interfaces::ClientLike,
    prelude::{FredResult, Value},
    types::{ClusterHash, CustomCommand},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    Redis,
    condition::Condition,
    durable,
    rights::{self, Denied},
    script::{Named, pack, script},
};
use crate::{error::redacted, names::RoomId, ticks};

/// Interval of probes while Redis serves.
pub(super) const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Interval of probes while Redis answers but does not serve.
const PROBE_WHILE_REFUSED: Duration = Duration::from_millis(250);
/// Interval of probes while Redis does not answer.
const PROBE_WHILE_DOWN: Duration = Duration::from_millis(50);
/// The version to report for a Redis that rejects the first line of our scripts.
const OLDER: &str = "older";
/// The error of such a Redis.
const NOT_COMPILED: &str = "Error compiling script";
/// The prefix of the payload of a probe.
pub const PROBE_WORD: &str = "probe ";

/// The result of a probe.
struct Found {
    condition: Condition,
    /// Redis's version, if known.
    version: Option<String>,
    /// What did not answer in time.
    silence: Option<Silence>,
}

/// What does not answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// Nothing answers: the connections stay open, and a Sentinel may name another primary by now.
    Whole,
    /// Scripts do not answer. Unless their connections are closed, the waiting scripts would run
    /// after their callers have given up.
    OfScripts,
}

/// Probes Redis until `stop`.
pub(super) async fn run(redis: Redis, stop: CancellationToken) {
    let probe = script!("probe");
    let mut number = 0;
    loop {
        number += 1;
        *redis.0.asked.lock() = Some(Instant::now());
        // Both at the same time: right after an answer Redis is rarely busy, and the measured
        // latency would be too low. The clock first, because the script may wait.
        let (clock, report) = tokio::join!(redis.read_clock(), redis.try_write(&probe, number));
        *redis.0.asked.lock() = None;
        let found = judge(clock.is_ok(), report, redis.0.timeout);
        let condition = found.condition.clone();
        redis.found(found, number).await;
        let pause = match condition {
            Condition::Serves => PROBE_EVERY,
            Condition::Refuses(_) | Condition::Lacks(_) => PROBE_WHILE_REFUSED,
            Condition::Away(_) => PROBE_WHILE_DOWN,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks::next(pause) => {}
            () = redis.0.suspicion.notified(), if condition.is_up() => {}
        }
    }
}

impl Redis {
    /// Asks Redis for its time, which costs Redis almost nothing: the latency is that of the
    /// network and of Redis's queue.
    async fn read_clock(&self) -> FredResult<()> {
        let begun = Instant::now();
        let time = CustomCommand::new_static("TIME", ClusterHash::FirstKey, false);
        let answer = self.0.commands.custom(time, Vec::<String>::new());
        let (seconds, micros): (u64, u64) = in_time(self.0.timeout, answer).await?;
        self.0.metrics.deliveries.clock.read(begun, seconds * 1_000_000 + micros);
        self.0.metrics.observe_script("time", begun.elapsed());
        Ok(())
    }

    async fn try_write(&self, probe: &Named, number: u64) -> FredResult<Vec<Value>> {
        // A room that does not exist.
        let keys = self.key_style().room(&RoomId::random());
        let besides =
            self.0.keeper.as_ref().map_or("", |keeper| durable::command(keeper.durability));
        let word = format!("{PROBE_WORD}{number}");
        let (room, users, channel) = (keys.room(), keys.users(), keys.channel());
        let args = [&room, &users, &channel, self.node_channel(), &word, besides];
        let script =
            probe.script.evalsha_with_reload(&self.0.commands, Vec::<String>::new(), pack(&args));
        in_time(self.0.timeout, script).await
    }

    /// Applies the result of a probe.
    async fn found(&self, found: Found, number: u64) {
        if found.condition == Condition::Serves {
            self.0.probes.send_replace(number);
        }
        if let Some(version) = found.version {
            self.0.version.send_if_modified(|known| known.replace(version).is_none());
        }
        if !found.condition.is_up() {
            self.0.metrics.deliveries.clock.forget();
        }
        self.set_condition(found.condition);
        match found.silence {
            Some(Silence::Whole) => self.reconnect(|client| client.is_connected()).await,
            Some(Silence::OfScripts) => {
                self.reconnect(|client| client.id() != self.0.subscriber.id()).await;
            }
            None => {}
        }
    }
}

/// Waits for an answer, at most for the command timeout.
async fn in_time<T>(
    patience: Duration,
    answer: impl Future<Output = FredResult<T>>,
) -> FredResult<T> {
    let late = |_| RedisError::new(ErrorKind::Timeout, "no answer in time");
    timeout(patience, answer).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
}

/// The result of a probe with this answer. `is_answering` says whether the clock was read.
fn judge(is_answering: bool, report: FredResult<Vec<Value>>, patience: Duration) -> Found {
    let error = match report {
        Ok(report) => return read(report),
        Err(error) => error,
    };
    let of_condition = |condition| Found { condition, version: None, silence: None };
    if *error.kind() != ErrorKind::Timeout {
        let version = redacted(&error).contains(NOT_COMPILED).then(|| OLDER.to_owned());
        return Found { version, ..of_condition(Condition::of_error(redacted(&error))) };
    }
    let (silence, what) = match is_answering {
        true => {
            (Silence::OfScripts, "it answers, but not to scripts (CLIENT PAUSE, or a slow one)")
        }
        false => (Silence::Whole, "no answer"),
    };
    let condition = Condition::Away(format!("{what} in {patience:?}"));
    Found { silence: Some(silence), ..of_condition(condition) }
}

/// Parses the script's answer.
fn read(report: Vec<Value>) -> Found {
    let mut words = report.into_iter().map(|word| word.into_string().unwrap_or_default());
    let (_status, version) = (words.next(), words.next());
    let mut denied = Vec::new();
    while let (Some(command), Some(about), Some(words)) = (words.next(), words.next(), words.next())
    {
        denied.push(Denied { command, about, words });
    }
    let condition = match denied.is_empty() {
        true => Condition::Serves,
        false => Condition::Lacks(rights::missing(&denied)),
    };
    Found { condition, version, silence: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn said(words: &[&str]) -> FredResult<Vec<Value>> {
        Ok(words.iter().map(|word| Value::from(*word)).collect())
    }

    fn failed(kind: ErrorKind, words: &'static str) -> FredResult<Vec<Value>> {
        Err(RedisError::new(kind, words))
    }

    #[test]
    fn a_redis_serves_only_where_a_script_may_write() {
        let condition = |report| judge(true, report, PATIENCE).condition;
        assert_eq!(condition(said(&["OK", "7.0.15"])), Condition::Serves);
        let refused = ["DENIED", "7.0.15", "PUBLISH", "chan:x", "can't publish to the channel"];
        assert_eq!(condition(said(&refused)), Condition::Lacks("&chan:*".to_owned()));
        let full = failed(ErrorKind::Unknown, "OOM command not allowed");
        assert_eq!(condition(full), Condition::Refuses("OOM command not allowed".to_owned()));
        let gone = failed(ErrorKind::IO, "Connection refused");
        assert_eq!(condition(gone), Condition::Away("Connection refused".to_owned()));
    }

    #[test]
    fn who_is_silent_is_away_and_its_connections_are_made_anew() {
        for (is_answering, silence) in [(true, Silence::OfScripts), (false, Silence::Whole)] {
            let found = judge(is_answering, failed(ErrorKind::Timeout, ""), PATIENCE);
            assert!(!found.condition.is_up());
            assert!(found.silence == Some(silence));
        }
        assert!(judge(true, failed(ErrorKind::IO, ""), PATIENCE).silence.is_none());
    }

    #[test]
    fn a_redis_without_script_flags_is_too_old() {
        let words =
            "ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'";
        let found = judge(true, failed(ErrorKind::Unknown, words), PATIENCE);
        assert_eq!(found.version.as_deref(), Some(OLDER));
    }
}
