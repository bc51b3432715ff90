//! `If-Match`: a request that is valid for only one state of its resource (RFC 9110, section
//! 13.1.1). Only the client's files have ETags; for everything else no ETag matches.

use axum::{
    extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::extract::Bearer;
use crate::{
    app::App,
    error::{Code, Error},
    names::RoomId,
    problem::Problem,
};

/// The calls about a room that change something, need a token, and are not its creator's alone.
const OF_OTHERS: [(Method, &str); 5] = [
    (Method::POST, "/api/rooms/{id}/messages"),
    (Method::DELETE, "/api/rooms/{id}/messages/{messageId}"),
    (Method::DELETE, "/api/rooms/{id}/members/{name}"),
    (Method::PUT, "/api/rooms/{id}/push"),
    (Method::DELETE, "/api/rooms/{id}/push"),
];
/// The call about a room that changes something without a token.
const OF_ANYBODY: (Method, &str) = (Method::POST, "/api/rooms/{id}/sessions");

/// Middleware that refuses requests for another state. A request that changes something is refused
/// before the change; whoever has no right to the change is told that instead (section 13.2.1).
pub async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(wanted) = tags(request.headers()) else { return next.run(request).await };
    if !request.method().is_safe() {
        if matches(&wanted, None) {
            return next.run(request).await;
        }
        let (mut parts, _) = request.into_parts();
        return match right(&app, &mut parts).await {
            Ok(()) => failed(),
            Err(error) => error.into_response(),
        };
    }
    let response = next.run(request).await;
    let is_found = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
    if is_found && !matches(&wanted, tag) { failed() } else { response }
}

/// Whether a request may change what it is about.
///
/// # Errors
/// The error of the token or of the room; or Redis is out of reach.
async fn right(app: &App, parts: &mut Parts) -> Result<(), Error> {
    let route = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let Some(route) = route else { return Ok(()) };
    let Ok(params) = RawPathParams::from_request_parts(parts, app).await else { return Ok(()) };
    let Some((_, id)) = params.iter().find(|(name, _)| *name == "id") else { return Ok(()) };
    let room = RoomId::parse(id).ok_or(Code::RoomNotFound)?;
    let method = parts.method.clone();
    let is = |(of, path): &(Method, &str)| method == *of && route == *path;
    if is(&OF_ANYBODY) {
        return app.rooms.preview(&room).await.map(drop);
    }
    let Bearer(caller) = Bearer::from_request_parts(parts, app).await?;
    match app.rooms.right(&room, &caller).await {
        Err(error) if error.code == Code::Forbidden && OF_OTHERS.iter().any(is) => Ok(()),
        other => other,
    }
}

/// The value of the header, if there is one.
fn tags(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::IF_MATCH).iter();
    let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// Whether the condition matches this strong ETag. A weak one never matches.
fn matches(wanted: &str, tag: Option<&str>) -> bool {
    let is_tag = |wanted: &str| tag.is_some_and(|tag| wanted.trim() == tag);
    wanted.trim() == "*" || wanted.split(',').any(is_tag)
}

fn failed() -> Response {
    Error::invalid(header::IF_MATCH.as_str(), Problem::Precondition).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_tag_and_a_star_match() {
        let cases = [
            ("*", true),
            (" * ", true),
            ("\"a\"", true),
            ("\"b\", \"a\"", true),
            ("\"b\",\"a\"", true),
            ("W/\"a\"", false),
            ("a", false),
            ("\"b\"", false),
            ("", false),
        ];
        for (wanted, expected) in cases {
            assert_eq!(matches(wanted, Some("\"a\"")), expected, "{wanted}");
            assert_eq!(matches(wanted, None), wanted.trim() == "*", "{wanted}");
        }
    }
}
