//! What a node counts, for Prometheus. Labels take few values: never a room, a user or an address.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::error::Code;

/// Upper bounds of the histogram of Redis commands, in seconds.
const COMMAND_SECONDS: [f64; 11] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// Every count and level of this node. Counting is an atomic addition.
pub struct Metrics {
    registry: Registry,
    /// WebSocket connections that are open.
    pub connections: Gauge,
    /// Rooms with a connection on this node.
    pub rooms: Gauge,
    /// Joins that succeeded.
    pub joins: Counter,
    /// Messages that were accepted from this node's users.
    pub messages: Counter,
    /// Reads of a stream because something may have been missed.
    pub catchups: Counter,
    /// Messages that such a read found and delivered.
    pub recovered: Counter,
    /// Connections closed because they read too slowly.
    pub slow_consumers: Counter,
    /// 1 while Redis can be reached, else 0.
    pub redis_up: Gauge,
    /// Times that the subscription was set up again.
    pub subscriber_reconnects: Counter,
    deliveries: Counter,
    foreign_passed: Counter,
    foreign_dropped: Counter,
    errors: Family<CodeLabel, Counter>,
    redis_commands: Family<ScriptLabel, Histogram>,
    http_requests: Family<RequestLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScriptLabel {
    script: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabel {
    version: &'static str,
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("linkroom");
        let foreign = Family::<OutcomeLabel, Counter>::default();
        let metrics = Self {
            connections: level(&mut registry, "connections", "WebSocket connections open"),
            rooms: level(&mut registry, "rooms", "Rooms with a connection on this node"),
            joins: count(&mut registry, "joins", "Joins that succeeded"),
            messages: count(&mut registry, "messages", "Messages accepted by this node"),
            deliveries: count(&mut registry, "deliveries", "Messages queued to connections"),
            foreign_passed: with_outcome(&foreign, "passed"),
            foreign_dropped: with_outcome(&foreign, "dropped"),
            catchups: count(&mut registry, "catchups", "Reads of a stream after a gap"),
            recovered: count(
                &mut registry,
                "recovered_messages",
                "Messages found by a read after a gap and delivered",
            ),
            slow_consumers: count(
                &mut registry,
                "slow_consumers",
                "Connections closed because they read too slowly",
            ),
            redis_up: level(&mut registry, "redis_up", "1 while Redis can be reached"),
            subscriber_reconnects: count(
                &mut registry,
                "subscriber_reconnects",
                "Times that the subscription was set up again",
            ),
            errors: Family::default(),
            redis_commands: Family::new_with_constructor(|| Histogram::new(COMMAND_SECONDS)),
            http_requests: Family::default(),
            registry,
        };
        metrics.with_labelled(foreign)
    }

    /// Registers what has labels. Every code is there from the start, so that the first error
    /// shows as a rise and not as a new series.
    fn with_labelled(mut self, foreign: Family<OutcomeLabel, Counter>) -> Self {
        for code in Code::ALL {
            self.errors.get_or_create_owned(&CodeLabel { code: code.as_str() });
        }
        let build = Family::<BuildLabel, Gauge>::default();
        build.get_or_create_owned(&BuildLabel { version: env!("CARGO_PKG_VERSION") }).set(1);

        let registry = &mut self.registry;
        let frames = "Frames of others on a room's channel";
        registry.register("foreign_frames", frames, foreign);
        registry.register("errors", "Errors answered, by code", self.errors.clone());
        registry.register_with_unit(
            "redis_command",
            "Time that a script took, as seen from here",
            Unit::Seconds,
            self.redis_commands.clone(),
        );
        registry.register("http_requests", "HTTP requests answered", self.http_requests.clone());
        registry.register("build_info", "The version that runs", build);
        self
    }

    /// Counts one error answer, in HTTP or WebSocket.
    pub fn error(&self, code: Code) {
        self.errors.get_or_create(&CodeLabel { code: code.as_str() }).inc();
    }

    /// Counts one message that was queued to so many connections.
    pub fn delivered(&self, connections: usize) {
        self.deliveries.inc_by(connections as u64);
    }

    /// Counts one frame of others on a room's channel.
    pub fn foreign_frame(&self, passed: bool) {
        if passed {
            self.foreign_passed.inc()
        } else {
            self.foreign_dropped.inc()
        };
    }

    /// Notes how long a script took.
    pub fn observe_script(&self, script: &'static str, took: Duration) {
        self.redis_commands.get_or_create(&ScriptLabel { script }).observe(took.as_secs_f64());
    }

    /// Counts one HTTP answer; `route` is the pattern of the path, never the path itself.
    pub fn http_request(&self, method: &'static str, route: &str, status: u16) {
        let labels = RequestLabels { method, route: route.to_owned(), status };
        self.http_requests.get_or_create(&labels).inc();
    }

    /// All metrics as OpenMetrics text, which Prometheus' older text parser reads too.
    ///
    /// # Errors
    /// None in practice: a `String` takes whatever is written into it.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn count(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn level(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn with_outcome(family: &Family<OutcomeLabel, Counter>, outcome: &'static str) -> Counter {
    family.get_or_create_owned(&OutcomeLabel { outcome })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_dashboards_use() {
        let metrics = Metrics::new();
        metrics.error(Code::NameTaken);
        metrics.foreign_frame(false);
        metrics.observe_script("publish", Duration::from_millis(2));
        metrics.http_request("GET", "/api/rooms/{id}", 200);
        let text = metrics.encode().unwrap();
        let lines = [
            "linkroom_connections 0",
            "linkroom_rooms 0",
            "linkroom_joins_total 0",
            "linkroom_messages_total 0",
            "linkroom_deliveries_total 0",
            "linkroom_errors_total{code=\"NAME_TAKEN\"} 1",
            "linkroom_errors_total{code=\"INTERNAL\"} 0",
            "linkroom_foreign_frames_total{outcome=\"dropped\"} 1",
            "linkroom_foreign_frames_total{outcome=\"passed\"} 0",
            "linkroom_catchups_total 0",
            "linkroom_recovered_messages_total 0",
            "linkroom_slow_consumers_total 0",
            "linkroom_redis_up 0",
            "linkroom_redis_command_seconds_bucket{le=\"0.0025\",script=\"publish\"} 1",
            "linkroom_subscriber_reconnects_total 0",
            "linkroom_http_requests_total{method=\"GET\",route=\"/api/rooms/{id}\",status=\"200\"} 1",
            &format!("linkroom_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
        ];
        for line in lines {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
