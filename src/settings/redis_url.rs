//! The Redis URL. It may contain passwords: it is parsed once, and never printed.

use std::{fmt, str::FromStr};

use url::Url;

/// The valid schemes. Each may end in `-sentinel` or `-cluster`.
const SCHEMES: [&str; 2] = ["redis", "rediss"];
/// The valid query parameters: `NODE` for Sentinel and Cluster, `SENTINEL` for Sentinel only.
const NODE: &str = "node";
const SENTINEL: [&str; 3] = ["sentinelServiceName", "sentinelUsername", "sentinelPassword"];

/// The Redis URL. `Display` and `Debug` leave out everything that may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(Url);

#[derive(Clone, Copy, PartialEq, Eq)]
enum UrlKind {
    One,
    Sentinel,
    Cluster,
}

impl RedisUrl {
    /// The whole URL with its secrets, only for the client library.
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    /// The error never quotes the input, because any part of it may be a secret.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(wrong("blanks are written as %20"));
        }
        if !text.contains("://") {
            return Err(wrong("it begins with redis:// or rediss://"));
        }
        let url = Url::parse(text).map_err(|error| {
            wrong(&format!("{error} (in a password, write / as %2F, @ as %40, # as %23, ? as %3F)"))
        })?;
        let kind = kind(url.scheme())?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("the host is missing"));
        }
        if url.fragment().is_some() {
            return Err(wrong("in a password, write # as %23"));
        }
        check_database(url.path().trim_start_matches('/'), kind)?;
        check_parameters(&url, kind)?;
        Ok(Self(url))
    }
}

fn kind(scheme: &str) -> Result<UrlKind, String> {
    let (base, kind) = match scheme.split_once('-') {
        None => (scheme, UrlKind::One),
        Some((base, "sentinel")) => (base, UrlKind::Sentinel),
        Some((base, "cluster")) => (base, UrlKind::Cluster),
        Some(_) => ("", UrlKind::One),
    };
    match SCHEMES.contains(&base) {
        true => Ok(kind),
        false => {
            Err(wrong("it begins with redis:// or rediss://, or either with -sentinel or -cluster"))
        }
    }
}

fn check_database(path: &str, kind: UrlKind) -> Result<(), String> {
    match path {
        "" => Ok(()),
        "0" if kind == UrlKind::Cluster => Ok(()),
        _ if kind == UrlKind::Cluster => Err(wrong("a cluster has database 0 alone")),
        number if number.parse::<u8>().is_ok() => Ok(()),
        _ => Err(wrong("behind the slash is the number of a database, 0 to 255")),
    }
}

fn check_parameters(url: &Url, kind: UrlKind) -> Result<(), String> {
    let mut has_service = false;
    for (name, value) in url.query_pairs() {
        let is_known = match kind {
            UrlKind::One => false,
            UrlKind::Cluster => name == NODE,
            UrlKind::Sentinel => name == NODE || SENTINEL.contains(&name.as_ref()),
        };
        if !is_known {
            return Err(wrong(match kind {
                UrlKind::One => "there is nothing behind a question mark",
                UrlKind::Cluster => "behind the question mark are more nodes alone: node=host:port",
                UrlKind::Sentinel => {
                    "behind the question mark may be node, sentinelServiceName, \
                                   sentinelUsername and sentinelPassword"
                }
            }));
        }
        if name == NODE && !is_node(&value) {
            return Err(wrong("a further node is written as node=host:port"));
        }
        has_service |= name == SENTINEL[0] && !value.is_empty();
    }
    match kind == UrlKind::Sentinel && !has_service {
        true => Err(wrong("for Sentinel, name the service: ?sentinelServiceName=mymaster")),
        false => Ok(()),
    }
}

fn is_node(text: &str) -> bool {
    text.split_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn wrong(why: &str) -> String {
    format!("write it as redis://user:password@host:6379/0; {why}")
}

/// Without user, password and query parameters.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "pa55w0rd";

    #[test]
    fn what_is_taken_is_shown_without_secrets() {
        let cases = [
            ("redis://host", "redis://host"),
            (" REDIS://host:6379/1 ", "redis://host:6379/1"),
            ("redis://:pa55w0rd@host:6380", "redis://host:6380"),
            ("rediss://pa55w0rd:pa55w0rd@host/0", "rediss://host/0"),
            ("redis://app:%40pa55w0rd%2F@[::1]:6379", "redis://[::1]:6379"),
            (
                "redis-sentinel://u:pa55w0rd@s1:26379/1?sentinelServiceName=m&node=s2:26379\
                 &sentinelUsername=pa55w0rd&sentinelPassword=pa55w0rd",
                "redis-sentinel://s1:26379/1",
            ),
            ("rediss-cluster://:pa55w0rd@c1:7000?node=c2:7001", "rediss-cluster://c1:7000"),
        ];
        for (written, shown) in cases {
            let url: RedisUrl =
                written.parse().unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.into(), shown.into()));
            assert!(fred::types::config::Config::from_url(url.expose()).is_ok(), "{written}");
        }
    }

    #[test]
    fn what_is_refused_is_not_quoted() {
        let wrong = [
            "pa55w0rd",
            ":pa55w0rd@host:6379",
            "host:6379",
            "http://:pa55w0rd@host",
            "redis://",
            "redis://:pa55w0rd@host:bad",
            "redis://:pa55w0rd@:6379",
            "redis://:pa55w0rd#x@host:6379",
            "redis://:pa55w0rd/x@host:6379",
            "redis://:pa55 w0rd@host",
            "redis://:pa55w0rd@host:99999",
            "redis://host?password=pa55w0rd",
            "redis://host/pa55w0rd",
            "redis://host/256",
            "redis://host/1/2",
            "redis://host#pa55w0rd",
            "redis-sentinel://:pa55w0rd@s1:26379",
            "unix:///tmp/pa55w0rd",
            "redis-sentinel://s1?sentinelservicename=m&sentinelPassword=pa55w0rd",
            "redis-sentinel://s1?sentinelServiceName=m&node=pa55w0rd",
            "redis-cluster://:pa55w0rd@c1/1",
            "redis-cluster://c1?sentinelPassword=pa55w0rd",
            "redis-proxy://:pa55w0rd@host",
            "redis://:pa55w0rd\n@host",
        ];
        for text in wrong {
            let refusal = text.parse::<RedisUrl>().expect_err(text);
            assert!(
                refusal.starts_with("write it as ") && !refusal.contains(SECRET),
                "{text}: {refusal}"
            );
            assert!(!refusal.contains('\n'), "{refusal}");
        }
    }
}
