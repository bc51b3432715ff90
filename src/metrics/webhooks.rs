//! What is counted of webhooks and pushes. Levels are those of the whole deployment: each node reads them from Redis.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::{OutcomeLabel, family, level, with_outcome};

/// Counters and gauges of webhooks; all zero without a webhook.
pub struct WebhookMetrics {
    /// Number of waiting events.
    pub events: Gauge,
    /// Age of the oldest waiting event in seconds.
    pub oldest: Gauge<f64, AtomicU64>,
    /// Dead letters.
    pub letters: Gauge,
    /// Events and dead letters that were dropped as too old or too many.
    pub dropped: Gauge,
    /// How full the events or dead letters are, by number or by age, whichever is more: at 1 the oldest
    /// are dropped.
    pub fill: Gauge<f64, AtomicU64>,
    /// 1 while the receiver wants no events.
    pub stopped: Gauge,
    /// Tries of this node that the receiver accepted.
    pub delivered: Counter,
    /// Tries of this node that failed.
    pub failed: Counter,
    /// Events that became dead letters on this node.
    pub dead: Counter,
}

impl WebhookMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let tries = family::<OutcomeLabel>(registry, "webhook_tries", "Events posted, by outcome");
        Self {
            events: level(registry, "webhook_events", "Events that wait to be posted"),
            oldest: share(registry, "webhook_oldest_seconds", "Age of the oldest of them"),
            letters: level(registry, "webhook_dead_letters", "Events that could not be delivered"),
            dropped: level(registry, "webhook_dropped", "Events and dead letters dropped, ever"),
            fill: share(registry, "webhook_fill_ratio", "How near the next drop is: 1 is there"),
            stopped: level(registry, "webhook_stopped", "1 while the receiver wants no events"),
            delivered: with_outcome(&tries, "delivered"),
            failed: with_outcome(&tries, "failed"),
            dead: with_outcome(&tries, "dead"),
        }
    }
}

/// Counts of pushes.
pub struct PushMetrics {
    /// Those that a push service took.
    pub sent: Counter,
    /// Tries that failed.
    pub failed: Counter,
    /// Subscriptions that a push service no longer knew.
    pub ended: Counter,
    /// Those that there was no need for any more.
    pub needless: Counter,
}

impl PushMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let tries = family::<OutcomeLabel>(registry, "push_tries", "Pushes sent, by outcome");
        Self {
            sent: with_outcome(&tries, "sent"),
            failed: with_outcome(&tries, "failed"),
            ended: with_outcome(&tries, "ended"),
            needless: with_outcome(&tries, "needless"),
        }
    }
}

fn share(registry: &mut Registry, name: &str, help: &str) -> Gauge<f64, AtomicU64> {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}
