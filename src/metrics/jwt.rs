//! Metrics of the JWTs of embedding applications.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{OutcomeLabel, family, level, with_outcome};
use crate::problem::Problem;

/// Counts of JWTs; all zero if there are none.
pub struct JwtMetrics {
    /// Keys that are published and can be used.
    pub keys: Gauge,
    /// Times that published keys were read.
    pub key_reads: Counter,
    /// Times that they could not be read.
    pub key_failures: Counter,
    refused: Family<ReasonLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl JwtMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let refused = family(registry, "jwts_refused", "JWTs refused, by reason");
        let reads = family::<OutcomeLabel>(registry, "jwks_reads", "Readings of published keys");
        let metrics = Self {
            keys: level(registry, "jwks_keys", "Published keys that can be used"),
            key_reads: with_outcome(&reads, "read"),
            key_failures: with_outcome(&reads, "failed"),
            refused,
        };
        Problem::OF_JWTS.into_iter().for_each(|problem| drop(metrics.of(problem)));
        metrics
    }

    /// Counts a JWT that was refused for this reason.
    pub fn refused(&self, problem: Problem) {
        self.of(problem).inc();
    }

    fn of(&self, problem: Problem) -> Counter {
        self.refused.get_or_create_owned(&ReasonLabel { reason: problem.name() })
    }
}
