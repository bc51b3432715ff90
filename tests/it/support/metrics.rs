//! The metrics of a node.

use super::Node;

/// One reading of a node's metrics.
pub struct Reading(pub String);

impl Reading {
    pub async fn of(node: &Node) -> Self {
        Self(node.http().file("/metrics").await.text().await.unwrap())
    }

    /// The value of a series, written as in the text.
    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{}", self.0)).parse().unwrap()
    }
}
