//! Health checks and metrics.

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::IntoResponse,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    envelope::{Envelope, Failure, Success},
    openapi::NotReady,
};
use crate::{
    app::App,
    error::{Code, Error},
    fanout::Hearing,
    i18n::Outage,
    redis::Condition,
};

const OPENMETRICS: &str = "application/openmetrics-text";

/// The state of the node.
#[derive(Serialize, ToSchema)]
pub struct NodeState {
    /// `live` or `ready`.
    #[schema(value_type = String, example = "ready")]
    status: &'static str,
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
    Success::Found(NodeState { status: "live" })
}

/// Should the node get traffic?
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "getReadiness",
    tag = "node",
    responses((status = 200, description = "It should", body = Envelope<NodeState>), NotReady)
)]
pub async fn ready(State(app): State<App>) -> Result<Success<NodeState>, Failure> {
    let outages = outages(&app);
    match outages.is_empty() {
        true => Ok(Success::Found(NodeState { status: "ready" })),
        false => Err(Failure { error: Code::ServiceUnavailable.into(), outages }),
    }
}

/// The reasons why the node cannot serve.
fn outages(app: &App) -> Vec<Outage> {
    let leaves = app.drain.is_cancelled().then_some(Outage::Node);
    leaves.into_iter().chain(outage_of_redis(app)).collect()
}

/// The reason why Redis cannot be used, if any.
fn outage_of_redis(app: &App) -> Option<Outage> {
    if let (Condition::Serves, Some(waits)) = (app.redis.condition(), app.redis.unanswered_for()) {
        return Some(Outage::Away(format!("no answer for {} ms", waits.as_millis())));
    }
    match app.redis.condition() {
        Condition::Away(why) => Some(Outage::Away(why)),
        Condition::Refuses(why) => Some(Outage::Refuses(why)),
        Condition::Lacks(missing) => Some(Outage::Lacks(missing)),
        Condition::Serves if app.fanout.hearing() != Hearing::Receives => {
            Some(Outage::NoPublications)
        }
        Condition::Serves => None,
    }
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
    metrics.ready.set(outages(app).is_empty().into());
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
