//! The base URL of links to this service.

use axum::http::{HeaderMap, header};

use crate::settings::Settings;

/// The base URL of links: the setting, or else the address that the request was sent to.
pub fn base_url(settings: &Settings, headers: &HeaderMap) -> String {
    if let Some(url) = &settings.public_url {
        return url.to_string();
    }
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let secure =
        header("x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
    let scheme = if secure { "https" } else { "http" };
    match header(header::HOST.as_str()).filter(|host| !host.is_empty()) {
        Some(host) => format!("{scheme}://{host}"),
        None => format!("{scheme}://{}", settings.listen_addr),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn links_lead_where_the_request_came_to() {
        let link = |arguments: &[&str], headers: &[(&'static str, &'static str)]| {
            let words = std::iter::once("linkroom").chain(arguments.iter().copied());
            let settings = Settings::read(words.map(Into::into)).unwrap();
            let headers = headers.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            base_url(&settings, &headers.collect())
        };
        let host = ("host", "10.0.0.5:8080");
        assert_eq!(link(&[], &[host]), "http://10.0.0.5:8080");
        assert_eq!(link(&[], &[host, ("x-forwarded-proto", "https")]), "https://10.0.0.5:8080");
        assert_eq!(link(&["--public-url=https://r.example/"], &[host]), "https://r.example");
        for nowhere in [&[][..], &[("host", "")]] {
            assert_eq!(link(&["--listen-addr=127.0.0.1:9"], nowhere), "http://127.0.0.1:9");
        }
    }
}
