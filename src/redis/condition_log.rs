//! Logs changes of Redis's condition, once for each reason.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::condition::Condition;

/// How long to wait until the condition is stable. When Redis becomes unavailable, the errors of
/// the next attempts explain more than those of the commands in progress; when it becomes available,
/// not everything works at once.
const STABLE_AFTER: Duration = Duration::from_millis(300);

/// Logs each change of the Redis with this name until `stop`, the last one included.
pub(super) async fn run(
    redis: String,
    mut conditions: watch::Receiver<Condition>,
    stop: CancellationToken,
) {
    let shard = (!redis.is_empty()).then_some(redis);
    let mut known = None;
    while let Some(Ok(())) = stop.run_until_cancelled(conditions.changed()).await {
        let first = conditions.borrow_and_update().clone();
        if first != Condition::Serves {
            stop.run_until_cancelled(sleep(STABLE_AFTER)).await;
        }
        let last = conditions.borrow_and_update().clone();
        for change in changes(known.as_ref(), first, last) {
            log(&change, shard.as_deref());
            known = Some(change);
        }
    }
}

/// The conditions to log: `known` was logged last, then `first` was seen, and a moment later `last`.
/// `first` is logged too if Redis served before and serves again.
fn changes(known: Option<&Condition>, first: Condition, last: Condition) -> Vec<Condition> {
    let served = known == Some(&Condition::Serves);
    let between = Some(first).filter(|first| served && last == Condition::Serves && *first != last);
    let is_new = known != Some(&last) || between.is_some();
    between.into_iter().chain(is_new.then_some(last)).collect()
}

fn log(condition: &Condition, shard: Option<&str>) {
    match condition {
        Condition::Serves => info!(shard, "redis answers"),
        Condition::Refuses(why) => warn!(shard, why, "redis refuses to write"),
        Condition::Lacks(missing) => warn!(shard, missing, "redis does not allow what is needed"),
        Condition::Away(why) => warn!(shard, why, "redis is out of reach"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_logged_once_with_its_last_reason() {
        use Condition::Serves;
        let away = |why: &str| Condition::Away(why.to_owned());
        let (broken, refused) = (away("broken"), away("refused"));
        let cases: [(Option<&Condition>, &Condition, &Condition, &[&Condition]); 8] = [
            (None, &Serves, &Serves, &[&Serves]),
            (None, &broken, &Serves, &[&Serves]),
            (Some(&Serves), &broken, &refused, &[&refused]),
            (Some(&Serves), &broken, &broken, &[&broken]),
            (Some(&Serves), &broken, &Serves, &[&broken, &Serves]),
            (Some(&refused), &broken, &Serves, &[&Serves]),
            (Some(&refused), &broken, &refused, &[]),
            (Some(&refused), &Serves, &Serves, &[&Serves]),
        ];
        for (known, first, last, expected) in cases {
            let logged = changes(known, first.clone(), last.clone());
            assert_eq!(logged.iter().collect::<Vec<_>>(), expected, "{known:?} {first:?} {last:?}");
        }
    }
}
