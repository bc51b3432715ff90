//! The headers of every answer.

use axum::http::{HeaderMap, HeaderValue, header};

/// The policy of answers that are not pages: they load nothing and may not be framed.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Adds the security headers. Caching headers and the policy of a page are kept if the answer
/// already has them.
pub fn secure(headers: &mut HeaderMap) {
    let default = |value| HeaderValue::from_static(value);
    headers.entry(header::CACHE_CONTROL).or_insert(default("no-store"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(default(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// Allows pages of any origin to read an answer and its useful headers.
pub fn share(headers: &mut HeaderMap) {
    let readable = HeaderValue::from_static("retry-after, x-request-id");
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, readable);
}
