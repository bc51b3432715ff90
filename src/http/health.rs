//! Health checks and metrics.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::IntoResponse,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    envelope::{self, Down, Envelope, Failure, Success},
    openapi::NotReady,
};
use crate::{
    app::App,
    error::{Code, Error},
    fanout::{Hearing, Shore},
    i18n::Outage,
    redis::Condition,
};

/// The components that can be down.
const NODE: &str = "node";
const REDIS: &str = "redis";
const OPENMETRICS: &str = "application/openmetrics-text";

/// The state of the node.
#[derive(Serialize, ToSchema)]
pub struct NodeState {
    /// `live` or `ready`.
    #[schema(value_type = String, example = "ready")]
    status: &'static str,
    /// A sentence in the reader's language for each shard of Redis Cluster that is down, while others serve.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    details: BTreeMap<String, String>,
}

impl NodeState {
    fn new(status: &'static str) -> Self {
        Self { status, details: BTreeMap::new() }
    }
}

/// Does the process live?
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "getHealth",
    tag = "node",
    responses((status = 200, description = "It does", body = Envelope<NodeState>))
)]
pub async fn live() -> Success<NodeState> {
    Success::Found(NodeState::new("live"))
}

/// Should the node get traffic?
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "getReadiness",
    tag = "node",
    responses((status = 200, description = "It should", body = Envelope<NodeState>), NotReady)
)]
pub async fn ready(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Success<NodeState>, Failure> {
    let (outages, in_part) = outages(&app);
    if !outages.is_empty() {
        return Err(Failure { error: Code::ServiceUnavailable.into(), outages });
    }
    let language = envelope::language(&headers);
    let details = in_part.iter().map(|down| down.told(language)).collect();
    Ok(Success::Found(NodeState { details, ..NodeState::new("ready") }))
}

/// The reasons why the node cannot serve; and why it cannot serve some rooms, if it can serve others.
fn outages(app: &App) -> (Vec<Down>, Vec<Down>) {
    let node = || Down { component: NODE.to_owned(), outage: Outage::Node };
    let mut outages: Vec<Down> = app.drain.is_cancelled().then(node).into_iter().collect();
    let mut shores = app.fanout.shores().borrow().clone();
    shores.retain(|shore| !shore.island.is_nowhere());
    let of_shores: Vec<Down> = shores.iter().filter_map(|shore| outage_of(shore)).collect();
    if of_shores.len() < shores.len() {
        return (outages, of_shores);
    }
    // Of a cluster that nobody has reached, no shard is known.
    let unknown = || match app.redis.condition() {
        Condition::Away(why) => {
            Some(Down { component: REDIS.to_owned(), outage: Outage::Away(why) })
        }
        _ => None,
    };
    outages.extend(of_shores.is_empty().then(unknown).flatten());
    outages.extend(of_shores);
    (outages, Vec::new())
}

/// The reason why this Redis cannot be used, if any.
fn outage_of(shore: &Shore) -> Option<Down> {
    let island = &shore.island;
    let outage = match (island.condition(), island.unanswered_for()) {
        (Condition::Serves, Some(waits)) => {
            Outage::Away(format!("no answer for {} ms", waits.as_millis()))
        }
        (Condition::Away(why), _) => Outage::Away(why),
        (Condition::Refuses(why), _) => Outage::Refuses(why),
        (Condition::Lacks(missing), _) => Outage::Lacks(missing),
        (Condition::Serves, None) if shore.hearing() != Hearing::Receives => Outage::NoPublications,
        (Condition::Serves, None) => return None,
    };
    let component = [REDIS, island.name()].join(" ").trim_end().to_owned();
    Some(Down { component, outage })
}

/// What the node counts
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "getMetrics",
    tag = "node",
    responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain"))
)]
pub async fn metrics(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Error> {
    measure(&app);
    let text = app.metrics.encode().map_err(|error| Error::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, text_format(&headers))], text))
}

/// Sets the gauges that are measured only on request.
fn measure(app: &App) {
    let metrics = &app.metrics;
    let level = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let waiting = app.registry.waiting();
    metrics.outbox_frames.set(level(waiting.frames));
    metrics.outbox_bytes.set(level(waiting.bytes));
    metrics.outbox_deepest.set(level(waiting.deepest));
    let runtime = tokio::runtime::Handle::current().metrics();
    metrics.tasks.set(level(runtime.num_alive_tasks()));
    metrics.worker_threads.set(level(runtime.num_workers()));
    metrics.draining.set(app.drain.is_cancelled().into());
    metrics.ready.set(outages(app).0.is_empty().into());
}

/// The text is OpenMetrics, and has that content type for clients that accept it. Other clients
/// read it as the older Prometheus format, in which it means the same.
fn text_format(headers: &HeaderMap) -> &'static str {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    match accepted.is_some_and(|kinds| kinds.contains(OPENMETRICS)) {
        true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        false => "text/plain; version=0.0.4; charset=utf-8",
    }
}
