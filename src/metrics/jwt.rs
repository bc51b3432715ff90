//! What is counted of the JWTs of embedding applications.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::family;
use crate::problem::Problem;

/// Counts of JWTs; all zero where there are none.
pub struct JwtMetrics {
    refused: Family<ReasonLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl JwtMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let refused = family(registry, "jwts_refused", "JWTs refused, by reason");
        let metrics = Self { refused };
        Problem::OF_JWTS.into_iter().for_each(|problem| drop(metrics.of(problem)));
        metrics
    }

    /// A JWT was refused for this.
    pub fn refused(&self, problem: Problem) {
        self.of(problem).inc();
    }

    fn of(&self, problem: Problem) -> Counter {
        self.refused.get_or_create_owned(&ReasonLabel { reason: problem.name() })
    }
}
