//! Measures the delay of the event loop. It is the first metric to rise when a node is overloaded
//! or something blocks it.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::ticks;

/// Interval of the measurements. Each one wakes an idle node, so there are few.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Measures how late a timer fires, until `stop`.
pub async fn watch(metrics: Arc<Metrics>, stop: CancellationToken) {
    loop {
        let due = tokio::select! {
            () = stop.cancelled() => return,
            due = ticks::next(LOOK_EVERY) => due,
        };
        metrics.event_loop_lag.observe(due.elapsed().as_secs_f64());
    }
}
