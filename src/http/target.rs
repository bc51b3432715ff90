//! Checks the target and the host of a request (RFC 9112, section 3.2).

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{error::Error, problem::Problem};

/// The answer to `OPTIONS *`: the methods of all paths.
const METHODS: &str = "GET, HEAD, POST, PATCH, DELETE, OPTIONS";

/// Middleware that refuses requests without a valid target and host. If the target is an absolute
/// URL, its host replaces `Host`, because it has precedence.
pub async fn check(mut request: Request, next: Next) -> Response {
    if request.method() == Method::OPTIONS && request.uri() == "*" {
        return (StatusCode::NO_CONTENT, [(header::ALLOW, METHODS)]).into_response();
    }
    if !is_target(request.method(), request.uri()) {
        return Error::invalid("target", Problem::Target).into_response();
    }
    if !is_for_one_host(request.version(), request.headers(), request.uri()) {
        return Error::invalid(header::HOST.as_str(), Problem::OneHost).into_response();
    }
    let named = request.uri().authority().map(|host| HeaderValue::from_str(host.as_str()));
    if let Some(Ok(host)) = named {
        request.headers_mut().insert(header::HOST, host);
    }
    next.run(request).await
}

/// Whether the target is a path, an absolute URL, or a host and a port for CONNECT.
fn is_target(method: &Method, target: &Uri) -> bool {
    target.path().starts_with('/') || method == Method::CONNECT
}

fn is_for_one_host(version: Version, headers: &HeaderMap, target: &Uri) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let is_named = match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => host.is_empty() || host.as_bytes().try_into().is_ok_and(is_host),
        (Some(_), Some(_)) => false,
    };
    is_named && target.authority().cloned().is_none_or(is_host)
}

/// Whether this is a host with an optional port, without user information.
fn is_host(authority: Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    let is_port = |port: &str| {
        port.is_empty()
            || port == ":"
            || port.strip_prefix(':').is_some_and(|n| n.parse::<u16>().is_ok())
    };
    !authority.host().is_empty() && port.is_some_and(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_read(version: Version, hosts: &[&'static str], target: &str) -> bool {
        let hosts = hosts.iter().map(|host| (header::HOST, HeaderValue::from_static(host)));
        let mut headers = HeaderMap::new();
        for (name, host) in hosts {
            headers.append(name, host);
        }
        is_for_one_host(version, &headers, &target.parse().unwrap())
    }

    #[test]
    fn a_request_is_for_one_host_that_can_be_one() {
        let hosts =
            ["a", "A.example:80", "10.0.0.5:8080", "[::1]", "[::1]:80", "a_b", "a:", "a.", ""];
        for host in hosts {
            assert!(is_read(Version::HTTP_11, &[host], "/"), "{host}");
        }
        let odd = [
            "a b", "a, b", "a/b", "u@a", "u:p@a", "a:b", "a:99999", "a?b", "[::1", ":80",
            "http://a",
        ];
        for host in odd {
            assert!(!is_read(Version::HTTP_11, &[host], "/"), "{host}");
        }
        assert!(!is_read(Version::HTTP_11, &[], "/") && is_read(Version::HTTP_10, &[], "/"));
        assert!(!is_read(Version::HTTP_11, &["a", "a"], "/"));
        assert!(
            is_read(Version::HTTP_11, &["a"], "http://b:80/")
                && !is_read(Version::HTTP_11, &["a"], "http://u@b/")
        );
    }

    #[test]
    fn a_target_is_a_path_or_a_whole_address() {
        let is_target = |method: Method, target: &str| is_target(&method, &target.parse().unwrap());
        for target in ["/", "//", "/r/a?b", "http://a", "http://a/b"] {
            assert!(is_target(Method::GET, target), "{target}");
        }
        for target in ["healthz", "*", "a:80"] {
            assert!(!is_target(Method::GET, target), "{target}");
        }
        assert!(is_target(Method::CONNECT, "a:80"));
    }
}
