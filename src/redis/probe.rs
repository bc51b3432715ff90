//! Checks the condition of Redis continuously: it serves if a script that may write runs. The
//! script also publishes a probe to this node, and `fanout` checks that it arrives.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fred::{
    error::{Error as RedisError, ErrorKind},
    prelude::{FredResult, Value},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    absence::PROBE_EVERY,
    condition::Condition,
    connection::NO_SCRIPT,
    durable,
    island::Island,
    keys,
    rights::{self, Denied},
    script::{Named, pack, script},
};
use crate::{error::redacted, names::RoomId, ticks};

/// Interval of probes while Redis answers but does not serve.
const PROBE_WHILE_REFUSED: Duration = Duration::from_millis(250);
/// Interval of probes while Redis does not answer.
const PROBE_WHILE_DOWN: Duration = Duration::from_millis(50);
/// The version to report for a Redis that rejects the first line of our scripts.
const OLDER: &str = "older";
/// The error of such a Redis.
const NOT_COMPILED: &str = "Error compiling script";
/// The error of a cluster with slots that nobody serves.
const CLUSTER_DOWN: &str = "CLUSTERDOWN";
/// How long a cluster may take to choose a primary; Redis itself waits for up to a second before it votes.
const CHOICE: Duration = Duration::from_secs(3);
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

/// Probes an island as long as it is one. Until the first probe it refuses every call.
pub(super) fn start(island: &Arc<Island>) {
    island.spawn("the probe of Redis", run(island.clone(), island.stop().clone()));
}

async fn run(island: Arc<Island>, stop: CancellationToken) {
    let probe = script!("probe");
    let mut number = 0;
    let mut served = Instant::now();
    loop {
        number += 1;
        *island.asked.lock() = Some(Instant::now());
        // Both at the same time: right after an answer Redis is rarely busy, and the measured
        // latency would be too low. The clock first, because the script may wait.
        let (clock, report) = tokio::join!(island.read_clock(), island.try_write(&probe, number));
        *island.asked.lock() = None;
        let condition = match report {
            // Its slot moves, which says nothing about the other slots; or the cluster chooses a primary for others.
            Err(error) if is_passing(&error, served.elapsed()) => {
                island.common.changed.notify_one();
                island.condition()
            }
            report => {
                let found = judge(clock.is_ok(), report, island.common.timeout);
                let condition = found.condition.clone();
                island.apply(found, number).await;
                served = if condition == Condition::Serves { Instant::now() } else { served };
                condition
            }
        };
        let pause = match condition {
            Condition::Serves => PROBE_EVERY,
            Condition::Refuses(_) | Condition::Lacks(_) => PROBE_WHILE_REFUSED,
            Condition::Away(_) => PROBE_WHILE_DOWN,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks::next(pause) => {}
            () = island.suspicion.notified(), if condition.is_up() => {}
        }
    }
}

impl Island {
    /// Asks Redis for its time, which costs Redis almost nothing: the latency is that of the
    /// network and of Redis's queue.
    async fn read_clock(&self) -> FredResult<()> {
        let begun = Instant::now();
        let (seconds, micros) = in_time(self.common.timeout, self.commands.time()).await?;
        let now_us = seconds * 1_000_000 + micros;
        self.clock.read(begun, now_us);
        self.common.metrics.deliveries.clock.read(begun, now_us);
        self.common.metrics.observe_script("time", begun.elapsed());
        Ok(())
    }

    async fn try_write(&self, probe: &Named, number: u64) -> FredResult<Vec<Value>> {
        // A room that does not exist.
        let room = self.common.key_style.room(&RoomId::random());
        let besides = durable::command(self.common.durability);
        let word = format!("{PROBE_WORD}{number}");
        let (group, channel) = (self.group(), self.probe_channel());
        // Where rooms have groups, the names are those of the group: its slot is here.
        let (keys, names) = match group.is_empty() {
            true => (Vec::new(), [room.room(), room.users(), room.channel()]),
            false => {
                let of_group = |prefix: &str| [prefix, &group].concat();
                (vec![keys::never(&group)], ["room:", "user:", "chan:"].map(of_group))
            }
        };
        let args = [&names[0], &names[1], &names[2], &channel, &word, besides];
        let script = self.commands.evalsha(&probe.script, keys, vec![pack(&args)]);
        in_time(self.common.timeout, script).await
    }

    /// Applies the result of a probe.
    async fn apply(&self, found: Found, number: u64) {
        if found.condition == Condition::Serves {
            self.probes.send_replace(number);
        }
        if let Some(version) = found.version {
            self.common.version.send_if_modified(|known| known.replace(version).is_none());
        }
        if !found.condition.is_up() {
            self.clock.forget();
            self.common.metrics.deliveries.clock.forget();
        }
        self.set_condition(found.condition);
        match found.silence {
            Some(Silence::Whole) => self.reconnect(true).await,
            Some(Silence::OfScripts) => self.reconnect(false).await,
            None => {}
        }
    }
}

/// Whether an error says nothing about the condition of a Redis that served so long ago. Somebody may have flushed
/// the scripts right after the probe loaded its own. Unless `cluster-require-full-coverage` is off, all shards of a
/// cluster refuse everything from when one is lost until another primary is chosen for it.
fn is_passing(error: &RedisError, served: Duration) -> bool {
    let is_down = error.details().starts_with(CLUSTER_DOWN);
    if error.details().starts_with(NO_SCRIPT) {
        return served < CHOICE;
    }
    *error.kind() == ErrorKind::Cluster && (!is_down || served < CHOICE)
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

    #[test]
    fn scripts_that_were_flushed_under_a_probe_say_nothing_of_redis_for_a_while() {
        let flushed = RedisError::new(ErrorKind::Unknown, "NOSCRIPT No matching script.");
        assert!(is_passing(&flushed, Duration::ZERO) && !is_passing(&flushed, CHOICE));
        assert!(!is_passing(&RedisError::new(ErrorKind::Unknown, "OOM"), Duration::ZERO));
    }

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
