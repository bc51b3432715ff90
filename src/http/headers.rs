//! The headers that every answer carries, whatever it is.

use axum::http::{HeaderMap, HeaderValue, header};

/// What is no page runs nothing and is framed by nobody.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Adds them. Who made the answer may have said something better about caching, and what a page may do.
pub fn secure(headers: &mut HeaderMap) {
    let default = |value| HeaderValue::from_static(value);
    headers.entry(header::CACHE_CONTROL).or_insert(default("no-store"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(default(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// Lets pages of any origin read an answer, and of its headers those that tell them something.
pub fn share(headers: &mut HeaderMap) {
    let readable = HeaderValue::from_static("retry-after, x-request-id");
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, readable);
}
