//! `If-Match`: a request that is valid for only one state of its resource (RFC 9110, section
//! 13.1.1). Only the client's files have ETags; for everything else no ETag matches.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{error::Error, problem::Problem};

/// Middleware that refuses requests for another state. A request that changes something is refused
/// before the change.
pub async fn check(request: Request, next: Next) -> Response {
    let Some(wanted) = tags(request.headers()) else { return next.run(request).await };
    if !request.method().is_safe() {
        return match matches(&wanted, None) {
            true => next.run(request).await,
            false => failed(),
        };
    }
    let response = next.run(request).await;
    let is_found = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
    if is_found && !matches(&wanted, tag) { failed() } else { response }
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
