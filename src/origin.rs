//! Origins of pages (RFC 6454): scheme, host and port, compared as browsers do.

use std::{fmt, str::FromStr};

use axum::http::{HeaderMap, header, uri::Authority};
use url::Url;

/// The origin of a page: in lower case, with its host as on the wire (IDNA), and its port if that
/// is not the scheme's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    /// `None` if the scheme has no default and none is given.
    port: Option<u16>,
}

/// The error for a text that is not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnOrigin;

impl Origin {
    /// Whether its pages can come from `authority`, a `Host` header. That has no scheme, and a port
    /// only if it is not the default of the page's scheme.
    fn is_at(&self, authority: &Authority) -> bool {
        let usual = match self.scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        // Text after the colon that is not a number is not a port.
        let has_port = authority.as_str().len() > authority.host().len();
        let port = authority.port_u16().or((!has_port).then_some(usual));
        self.host.eq_ignore_ascii_case(authority.host()) && self.port == port
    }
}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    /// Surrounding blanks, a trailing slash, upper case and the scheme's default port do not
    /// matter.
    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let text = text.trim();
        // A URL parser would drop or encode some of these, and accept something that was not meant.
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || "@\\?#*".contains(c)) {
            return Err(NotAnOrigin);
        }
        let (_, rest) = text.split_once("://").ok_or(NotAnOrigin)?;
        if rest.strip_suffix('/').unwrap_or(rest).contains('/') {
            return Err(NotAnOrigin);
        }
        let url = Url::parse(text).map_err(|_| NotAnOrigin)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(NotAnOrigin)?;
        Ok(Self {
            scheme: url.scheme().to_owned(),
            host: host.to_ascii_lowercase(),
            port: url.port_or_known_default(),
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (self.scheme.as_str(), self.port) {
            ("http", Some(80)) | ("https", Some(443)) | (_, None) => Ok(()),
            (_, Some(port)) => write!(f, ":{port}"),
        }
    }
}

/// An origin that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Pages of any origin.
    All,
    /// Pages of this origin.
    One(Origin),
}

impl Allowed {
    /// As a source in a page's policy (CSP). `None` for a host that no policy can name: an IPv6 address, and what is
    /// no name at all.
    pub fn source(&self) -> Option<String> {
        let Self::One(origin) = self else { return Some("*".to_owned()) };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        origin.host.chars().all(is_plain).then(|| origin.to_string())
    }
}

/// Whether the page that sends these headers may connect. Programs send no origin; pages of the
/// same host are always allowed.
pub fn is_allowed(headers: &HeaderMap, own: Option<&Origin>, allowed: &[Allowed]) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|value| {
        // An origin has only these characters on the wire.
        let Ok(text) = value.to_str() else { return false };
        if allowed.contains(&Allowed::All) {
            return true;
        }
        let Ok(origin) = text.parse::<Origin>() else { return false };
        let host = headers.get(header::HOST).and_then(|host| host.as_bytes().try_into().ok());
        own == Some(&origin)
            || host.is_some_and(|host| origin.is_at(&host))
            || allowed.contains(&Allowed::One(origin))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_the_same() {
        let groups: [&[&str]; 6] = [
            &[
                "https://a.example",
                " https://a.example/ ",
                "HTTPS://A.Example:443",
                "https://a.example:443/",
            ],
            &["http://a.example", "http://A.EXAMPLE:80"],
            &["https://a.example:8443", "https://A.example:8443/"],
            &["https://b\u{fc}cher.example", "https://xn--bcher-kva.example"],
            &["http://[::1]:8080", "http://[0:0:0:0:0:0:0:1]:8080/"],
            &["capacitor://localhost", "Capacitor://LocalHost"],
        ];
        for (at, group) in groups.iter().enumerate() {
            for text in *group {
                let origin: Origin = text.parse().unwrap();
                assert_eq!(
                    origin.to_string(),
                    groups[at][0].replace("b\u{fc}cher", "xn--bcher-kva")
                );
                let same = groups.iter().position(|other| other[0].parse() == Ok(origin.clone()));
                assert_eq!(same, Some(at), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "a.example",
            "https://",
            "https:///",
            "https://a.example/path",
            "https://a.example//",
            "https://a.example?x",
            "https://a.example/#x",
            "https://user@a.example",
            "https://*.a.example",
            "https://a.example, https://b.example",
            "https://a.example https://b.example",
            "https://a.example:99999",
            "https://a.example:x",
            "https://a\n.example",
            "null",
            "mailto:a@b",
            "https:a.example",
            "https://a.example\\",
            "/r/abc",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_policy_names_hosts_and_nothing_else() {
        let source = |text: &str| Allowed::One(text.parse().unwrap()).source();
        assert_eq!(Allowed::All.source().as_deref(), Some("*"));
        for origin in ["https://a.example", "http://127.0.0.1:8080", "capacitor://localhost"] {
            assert_eq!(source(origin).as_deref(), Some(origin));
        }
        for origin in ["http://[::1]:8080", "app://a;b", "app://a'b", "app://a,b"] {
            assert_eq!(source(origin), None, "{origin}");
        }
    }

    fn welcome(host: &str, origins: &[&[u8]], own: &str, allowed: &[Allowed]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        for origin in origins {
            headers.append(header::ORIGIN, axum::http::HeaderValue::from_bytes(origin).unwrap());
        }
        is_allowed(&headers, own.parse().ok().as_ref(), allowed)
    }

    #[test]
    fn a_page_of_the_own_host_is_welcome_however_it_is_written() {
        let cases: [(&str, &str, bool); 14] = [
            ("a.example", "https://a.example", true),
            ("a.example:443", "https://a.example", true),
            ("a.example", "https://a.example:443", true),
            ("A.Example", "https://a.example", true),
            ("a.example:80", "http://a.example", true),
            ("a.example", "http://a.example:80", true),
            ("a.example:8080", "http://a.example:8080", true),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("a.example:8080", "http://a.example", false),
            ("a.example", "http://a.example:8080", false),
            ("a.example", "https://a.example.evil", false),
            ("a.example", "https://evil/a.example", false),
            ("a.example", "null", false),
            ("a.example", "ftp://a.example", false),
        ];
        for (host, origin, expected) in cases {
            assert_eq!(welcome(host, &[origin.as_bytes()], "", &[]), expected, "{host} {origin}");
        }
    }

    #[test]
    fn pages_of_others_need_to_be_allowed_and_programs_do_not() {
        let a = b"https://a.example".as_slice();
        let allowed = [Allowed::One("https://a.example".parse().unwrap())];
        assert!(welcome("h", &[], "", &[]), "no page");
        assert!(!welcome("h", &[a], "", &[]));
        assert!(welcome("h", &[a], "https://a.example", &[]), "the public address");
        assert!(welcome("h", &[b"https://A.EXAMPLE:443"], "", &allowed));
        assert!(!welcome("h", &[a, b"https://b.example"], "", &allowed), "each of them counts");
        for odd in [&b"https://a.example\xff"[..], "https://\u{e4}.example".as_bytes()] {
            assert!(!welcome("h", &[odd], "", &[Allowed::All]));
        }
        assert!(welcome("h", &[b"null"], "", &[Allowed::All]));
    }
}
