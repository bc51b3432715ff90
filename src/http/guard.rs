//! Cross-origin rules, and the limits of an address.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::{Instant, sleep};

use super::{envelope::Failure, headers};
use crate::{address::ClientIp, app::App, error::Code, limits::Limit};

/// Middleware that refuses requests of an address over its limit.
pub async fn limit(
    State(app): State<App>,
    ClientIp(ip): ClientIp,
    request: Request,
    next: Next,
) -> Response {
    match app.limits.check_request(ip) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            app.metrics.turned_away(Limit::Requests);
            error.into_response()
        }
    }
}

/// What one answer with metrics is worth in health checks: it is written anew for each request.
const COST_OF_METRICS: usize = 5;
/// The least pause of a request over the limit, so that many that wait cost little.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// How long a request over the limit is held back before it is refused.
const LONGEST_HOLD: Duration = Duration::from_secs(1);

/// Middleware that holds back an address that asks too often for health or metrics. A refusal would
/// have a balancer give up a node that is well, so it is the last resort.
pub async fn pace(
    State(app): State<App>,
    ClientIp(ip): ClientIp,
    request: Request,
    next: Next,
) -> Response {
    let cost = if request.uri().path() == "/metrics" { COST_OF_METRICS } else { 1 };
    let began = Instant::now();
    while let Err(error) = app.limits.check_health(ip, cost) {
        if began.elapsed() >= LONGEST_HOLD {
            app.metrics.turned_away(Limit::Requests);
            return error.into_response();
        }
        let pause = error.retry_after.unwrap_or_default();
        sleep(pause.clamp(LEAST_PAUSE, LONGEST_HOLD)).await;
    }
    next.run(request).await
}

/// Middleware that refuses new rooms of an address over its limit.
pub async fn limit_rooms(
    State(app): State<App>,
    ClientIp(ip): ClientIp,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::POST
        && let Err(error) = app.limits.check_room(ip)
    {
        app.metrics.turned_away(Limit::Rooms);
        return error.into_response();
    }
    next.run(request).await
}

/// Middleware that slows down an address that guesses room ids or tokens.
pub async fn limit_guesses(
    State(app): State<App>,
    ClientIp(ip): ClientIp,
    request: Request,
    next: Next,
) -> Response {
    if let Err(error) = app.limits.check_misses(ip) {
        app.metrics.turned_away(Limit::Misses);
        return error.into_response();
    }
    let posts = request.method() == Method::POST;
    let response = next.run(request).await;
    let failure = response.extensions().get::<Arc<Failure>>();
    match failure.map(|failure| (failure.error.code, &failure.error.cause)) {
        Some((Code::RoomNotFound | Code::InvalidToken, _)) => app.limits.note_miss(ip),
        // A POST behind this middleware has two more limits: a user's messages, whose error has no
        // cause and is counted here, and the bytes that an address stores, which are counted where
        // they are checked.
        Some((Code::RateLimited, None)) if posts => app.metrics.turned_away(Limit::Messages),
        _ => {}
    }
    response
}

/// Middleware that allows pages of any origin to use the API: requests are authenticated by a
/// token, and there are no cookies that another site could abuse.
pub async fn allow_any_origin(request: Request, next: Next) -> Response {
    if !is_api(request.uri().path()) {
        return next.run(request).await;
    }
    let mut response = match is_preflight(&request) {
        true => preflight(),
        false => next.run(request).await,
    };
    headers::share(response.headers_mut());
    response
}

/// Whether a path belongs to the API. The client's files are for its own pages, and the metrics for
/// operators.
fn is_api(path: &str) -> bool {
    let is_below =
        |root| path.strip_prefix(root).is_some_and(|p| p.is_empty() || p.starts_with('/'));
    ["/api", "/ws", "/healthz", "/readyz", "/openapi.json"].into_iter().any(is_below)
}

fn is_preflight(request: &Request) -> bool {
    let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    request.method() == Method::OPTIONS && asks
}

fn preflight() -> Response {
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH, PUT, DELETE"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, idempotency-key, last-event-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, allowed).into_response()
}
