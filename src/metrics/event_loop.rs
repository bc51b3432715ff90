//! How late the event loop runs what is due: the first number to rise where a node has too much
//! to do, or something blocks it.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::ticks;

/// Between two looks. Each wakes a node that has nothing to do, so they are few.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks how late a timer fires, until `stop`.
pub async fn watch(metrics: Arc<Metrics>, stop: CancellationToken) {
    loop {
        let due = tokio::select! {
            () = stop.cancelled() => return,
            due = ticks::next(LOOK_EVERY) => due,
        };
        metrics.event_loop_lag.observe(due.elapsed().as_secs_f64());
    }
}
