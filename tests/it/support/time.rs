//! Waiting with a deadline: for a condition, or for a future. Nothing here waits for silence.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// The deadline of everything without a deadline in the contract. Generous, because the machine may
/// be busy; a test that passes never waits for it.
pub const DEADLINE: Duration = Duration::from_secs(15);

const POLL_EVERY: Duration = Duration::from_millis(15);

/// Polls until there is a result, and returns it; panics after `deadline`.
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// The future's output; panics after `deadline`.
pub async fn within<T>(deadline: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(deadline, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}
