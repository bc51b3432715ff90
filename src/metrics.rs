//! The metrics of a node, for Prometheus. Labels have few values: never a room, a user or an
//! address.
//!
//! `docs/operations.md` says what each metric means and when to worry; a test compares the two.

mod clock;
mod delivery;
mod event_loop;
mod jwt;
mod process;
mod webhooks;

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{error::Code, limits::Limit, protocol::close::CloseReason};

pub use clock::RedisClock;
pub use delivery::{Deliveries, Followed};
pub use event_loop::watch as watch_event_loop;
pub use jwt::JwtMetrics;
pub use webhooks::{PushMetrics, WebhookMetrics};

/// The prefix of every name, except for the usual `process_…`.
const PREFIX: &str = "linkroom";
/// Upper bounds of the histogram of Redis commands, in seconds.
const COMMAND_SECONDS: [f64; 11] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];
/// Upper bounds of the histogram of the event loop's lag, in seconds.
const LAG_SECONDS: [f64; 10] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// All counters and gauges of this node. Counting is one atomic addition.
pub struct Metrics {
    registry: Registry,
    /// WebSocket connections and live tails that are open.
    pub connections: Gauge,
    /// WebSocket connections and live tails that were opened.
    pub connections_opened: Counter,
    /// Rooms with a connection on this node.
    pub rooms: Gauge,
    /// Joins that succeeded.
    pub joins: Counter,
    /// Joins that resumed from an earlier message.
    pub resumes: Counter,
    /// Messages that were accepted from this node's users.
    pub messages: Counter,
    /// Latencies of messages until they are written to the sockets.
    pub deliveries: Arc<Deliveries>,
    /// Reads of a stream because something may have been missed.
    pub catchups: Counter,
    /// Messages that catch-ups found and delivered.
    pub recovered: Counter,
    /// Connections closed because they read too slowly.
    pub slow_consumers: Counter,
    /// Frames in the outboxes of all connections.
    pub outbox_frames: Gauge,
    /// Bytes in the outboxes of all connections.
    pub outbox_bytes: Gauge,
    /// Frames in the longest outbox.
    pub outbox_deepest: Gauge,
    /// 1 while Redis can be reached, else 0.
    pub redis_up: Gauge,
    /// Scripts that failed or were not answered in time.
    pub redis_failures: Counter,
    /// Times that the subscription was set up again.
    pub subscriber_reconnects: Counter,
    /// Publications that were received and not processed yet.
    pub subscription_queue: Gauge,
    /// Publications that were dropped because the node did not read fast enough.
    pub subscription_lost: Counter,
    /// Delay of the event loop.
    pub event_loop_lag: Histogram,
    /// Threads that run tasks.
    pub worker_threads: Gauge,
    /// Tasks that are alive.
    pub tasks: Gauge,
    /// 1 while the node shuts down, else 0.
    pub draining: Gauge,
    /// 1 while the node should get traffic, else 0.
    pub ready: Gauge,
    /// Log lines that could not be written to standard error or standard output.
    pub log_lines_lost: Counter,
    /// Metrics of webhooks.
    pub webhooks: WebhookMetrics,
    /// Metrics of JWTs.
    pub jwt: JwtMetrics,
    /// What becomes of pushes.
    pub pushes: PushMetrics,
    delivered: Counter,
    foreign_passed: Counter,
    foreign_dropped: Counter,
    errors: Family<CodeLabel, Counter>,
    closes: Family<CloseLabel, Counter>,
    turned_away: Family<LimitLabel, Counter>,
    redis_commands: Family<ScriptLabel, Histogram>,
    http_requests: Family<RequestLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabel {
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
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
        let mut root = Registry::default();
        process::register(&mut root);
        let registry = root.sub_registry_with_prefix(PREFIX);
        let foreign = family::<OutcomeLabel>(registry, "foreign_frames", FOREIGN_FRAMES);
        let build = Family::<BuildLabel, Gauge>::default();
        build.get_or_create_owned(&BuildLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version that runs", build);
        Self {
            connections: level(
                registry,
                "connections",
                "WebSocket connections and live tails open",
            ),
            connections_opened: count(registry, "connections_opened", "Connections opened"),
            rooms: level(registry, "rooms", "Rooms with a connection on this node"),
            joins: count(registry, "joins", "Joins that succeeded"),
            resumes: count(registry, "resumes", "Joins that resumed from a message"),
            messages: count(registry, "messages", "Messages accepted by this node"),
            deliveries: Arc::new(Deliveries::new(registry)),
            delivered: count(registry, "deliveries", "Messages queued to connections"),
            foreign_passed: with_outcome(&foreign, "passed"),
            foreign_dropped: with_outcome(&foreign, "dropped"),
            catchups: count(registry, "catchups", "Reads of a stream after a gap"),
            recovered: count(registry, "recovered_messages", "Messages found by catch-ups"),
            slow_consumers: count(registry, "slow_consumers", "Connections closed as too slow"),
            outbox_frames: level(registry, "outbox_frames", "Frames that wait to be written"),
            outbox_bytes: level(registry, "outbox_bytes", "Bytes that wait to be written"),
            outbox_deepest: level(registry, "outbox_deepest_frames", "Longest outbox in frames"),
            redis_up: level(registry, "redis_up", "1 while Redis can be reached"),
            redis_failures: count(registry, "redis_failures", "Scripts that failed"),
            subscriber_reconnects: count(registry, "subscriber_reconnects", RECONNECTS),
            subscription_queue: level(registry, "subscription_queue", "Publications that wait"),
            subscription_lost: count(registry, "subscription_lost", "Publications dropped unread"),
            event_loop_lag: seconds(registry, "event_loop_lag", EVENT_LOOP_LAG, LAG_SECONDS),
            worker_threads: level(registry, "worker_threads", "Worker threads"),
            tasks: level(registry, "tasks", "Running tasks"),
            draining: level(registry, "draining", "1 while the node shuts down"),
            ready: level(registry, "ready", "1 while the node should get traffic"),
            log_lines_lost: count(registry, "log_lines_lost", "Log lines that were not written"),
            errors: errors(registry),
            closes: closes(registry),
            turned_away: turned_away(registry),
            redis_commands: redis_commands(registry),
            http_requests: family(registry, "http_requests", "HTTP requests answered"),
            webhooks: WebhookMetrics::new(registry),
            jwt: JwtMetrics::new(registry),
            pushes: PushMetrics::new(registry),
            registry: root,
        }
    }

    /// Counts one error answer, in HTTP or WebSocket.
    pub fn error(&self, code: Code) {
        self.errors.get_or_create(&CodeLabel { code: code.as_str() }).inc();
    }

    /// Counts one connection that this node closed.
    pub fn closed(&self, code: u16) {
        self.closes.get_or_create(&CloseLabel { code }).inc();
    }

    /// Counts one request, connection or frame that a limit refused.
    pub fn turned_away(&self, limit: Limit) {
        self.turned_away.get_or_create(&LimitLabel { limit: limit.name() }).inc();
    }

    /// Counts one message that was queued to this many connections.
    pub fn delivered(&self, connections: usize) {
        self.delivered.inc_by(connections as u64);
    }

    /// Counts one frame that others published on a room's channel.
    pub fn foreign_frame(&self, passed: bool) {
        if passed {
            self.foreign_passed.inc()
        } else {
            self.foreign_dropped.inc()
        };
    }

    /// Records the latency of one script call.
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
    /// None in practice: writing into a `String` cannot fail.
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

const FOREIGN_FRAMES: &str = "Frames that others published";
const RECONNECTS: &str = "Times that the subscription was set up again";
const EVENT_LOOP_LAG: &str = "Delay of the event loop";

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

fn seconds(
    registry: &mut Registry,
    name: &str,
    help: &str,
    bounds: impl IntoIterator<Item = f64>,
) -> Histogram {
    let histogram = Histogram::new(bounds);
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    histogram
}

fn family<L>(registry: &mut Registry, name: &str, help: &str) -> Family<L, Counter>
where
    L: EncodeLabelSet + Clone + Eq + std::hash::Hash + std::fmt::Debug + Send + Sync + 'static,
{
    let family = Family::default();
    registry.register(name, help, family.clone());
    family
}

fn with_outcome(family: &Family<OutcomeLabel, Counter>, outcome: &'static str) -> Counter {
    family.get_or_create_owned(&OutcomeLabel { outcome })
}

/// Every label value exists from the start, so that the first error shows as an increase and not as
/// a new series. The same holds below.
fn errors(registry: &mut Registry) -> Family<CodeLabel, Counter> {
    let errors = family(registry, "errors", "Errors answered, by code");
    for code in Code::ALL {
        errors.get_or_create_owned(&CodeLabel { code: code.as_str() });
    }
    errors
}

fn closes(registry: &mut Registry) -> Family<CloseLabel, Counter> {
    let closes = family(registry, "closes", "Connections that the node closed, by close code");
    for reason in CloseReason::ALL {
        closes.get_or_create_owned(&CloseLabel { code: reason.code().0 });
    }
    closes
}

fn turned_away(registry: &mut Registry) -> Family<LimitLabel, Counter> {
    let turned_away = family(registry, "turned_away", "Refused by a limit");
    for limit in Limit::ALL {
        turned_away.get_or_create_owned(&LimitLabel { limit: limit.name() });
    }
    turned_away
}

fn redis_commands(registry: &mut Registry) -> Family<ScriptLabel, Histogram> {
    let commands: Family<ScriptLabel, Histogram> =
        Family::new_with_constructor(|| Histogram::new(COMMAND_SECONDS));
    let help = "Latency of a script, measured by the node";
    registry.register_with_unit("redis_command", help, Unit::Seconds, commands.clone());
    commands
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
        metrics.closed(1013);
        metrics.turned_away(Limit::Rooms);
        let text = metrics.encode().unwrap();
        let lines = [
            "linkroom_connections 0",
            "linkroom_connections_opened_total 0",
            "linkroom_rooms 0",
            "linkroom_joins_total 0",
            "linkroom_resumes_total 0",
            "linkroom_messages_total 0",
            "linkroom_deliveries_total 0",
            "linkroom_fanout_seconds_count 0",
            "linkroom_end_to_end_seconds_count 0",
            "linkroom_errors_total{code=\"NAME_TAKEN\"} 1",
            "linkroom_errors_total{code=\"INTERNAL\"} 0",
            "linkroom_foreign_frames_total{outcome=\"dropped\"} 1",
            "linkroom_foreign_frames_total{outcome=\"passed\"} 0",
            "linkroom_catchups_total 0",
            "linkroom_recovered_messages_total 0",
            "linkroom_slow_consumers_total 0",
            "linkroom_closes_total{code=\"1013\"} 1",
            "linkroom_closes_total{code=\"1012\"} 0",
            "linkroom_turned_away_total{limit=\"rooms\"} 1",
            "linkroom_turned_away_total{limit=\"requests\"} 0",
            "linkroom_redis_up 0",
            "linkroom_redis_command_seconds_bucket{le=\"0.0025\",script=\"publish\"} 1",
            "linkroom_subscriber_reconnects_total 0",
            "linkroom_event_loop_lag_seconds_count 0",
            "linkroom_http_requests_total{method=\"GET\",route=\"/api/rooms/{id}\",status=\"200\"} 1",
            &format!("linkroom_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
        ];
        for line in lines {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_node_on_linux_says_what_it_uses() {
        let text = Metrics::new().encode().unwrap();
        for name in ["process_cpu_seconds_total", "process_resident_memory_bytes"] {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() >= 0.0, "{line}");
        }
    }
}
