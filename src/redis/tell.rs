//! Tells the operator what state Redis is in, once for each reason.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::condition::Condition;

/// How long is waited for the reason. When Redis goes, what was under way says less of it than what is
/// tried next; when it comes, not everything of it does at once.
const SETTLES_IN: Duration = Duration::from_millis(300);

/// Tells of each change until `stop`, and then of what was not told yet.
pub(super) async fn run(mut conditions: watch::Receiver<Condition>, stop: CancellationToken) {
    let mut known = None;
    while let Some(Ok(())) = stop.run_until_cancelled(conditions.changed()).await {
        let first = conditions.borrow_and_update().clone();
        if first != Condition::Serves {
            stop.run_until_cancelled(sleep(SETTLES_IN)).await;
        }
        let settled = conditions.borrow_and_update().clone();
        for news in news(known.as_ref(), first, settled) {
            say(&news);
            known = Some(news);
        }
    }
}

/// What is new, where `known` was told, then `first` was seen, and a moment later it had `settled`. One
/// that served and does again is no reason to keep quiet about what was between.
fn news(known: Option<&Condition>, first: Condition, settled: Condition) -> Vec<Condition> {
    let served = known == Some(&Condition::Serves);
    let between =
        Some(first).filter(|first| served && settled == Condition::Serves && *first != settled);
    let is_new = known != Some(&settled) || between.is_some();
    between.into_iter().chain(is_new.then_some(settled)).collect()
}

fn say(condition: &Condition) {
    match condition {
        Condition::Serves => info!("redis answers"),
        Condition::Refuses(why) => warn!(why, "redis refuses to write"),
        Condition::Lacks(missing) => warn!(missing, "redis does not allow what is needed"),
        Condition::Away(why) => warn!(why, "redis is out of reach"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once_by_its_last_reason() {
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
        for (known, first, settled, expected) in cases {
            let news = news(known, first.clone(), settled.clone());
            assert_eq!(
                news.iter().collect::<Vec<_>>(),
                expected,
                "{known:?} {first:?} {settled:?}"
            );
        }
    }
}
