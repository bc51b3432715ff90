//! Logs and counts every request, and adds the common headers of all answers.
//!
//! Log lines have the route's pattern; they never have the path, the query, an address or a text.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

use super::{envelope::Failure, headers};
use crate::{app::App, error::Code};

/// Identifies the request in the answer and in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_LENGTH: usize = 12;

/// The outermost middleware: counts, logs, and adds the common headers.
pub async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let begun = Instant::now();
    let id = nanoid::nanoid!(REQUEST_ID_LENGTH);
    // At the highest level, so that log lines of every level name the request.
    let span = tracing::error_span!("request", request_id = id);
    let mut response = next.run(request).instrument(span.clone()).await;

    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let failure = response.extensions_mut().remove::<Arc<Failure>>();
    app.metrics.http_request(method, route, response.status().as_u16());
    if let Some(failure) = &failure {
        app.metrics.error(failure.error.code);
    }
    let line = AccessLine { method, route, begun, status: response.status().as_u16() };
    span.in_scope(|| line.write(failure.as_deref()));
    headers::secure(response.headers_mut());
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

struct AccessLine<'a> {
    method: &'static str,
    route: &'a str,
    begun: Instant,
    status: u16,
}

impl AccessLine<'_> {
    fn write(&self, failure: Option<&Failure>) {
        let AccessLine { method, route, status, .. } = *self;
        let took_ms = self.begun.elapsed().as_millis() as u64;
        match failure.map(|failure| &failure.error) {
            Some(error) if error.code == Code::Internal => {
                tracing::error!(method, route, status, took_ms, %error, "failed");
            }
            Some(error) => tracing::debug!(method, route, status, took_ms, %error, "refused"),
            None => tracing::debug!(method, route, status, took_ms, "answered"),
        }
    }
}

/// The label of a method. A method that a client invented must not become a label.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
