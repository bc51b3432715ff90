//! Parses the values of settings. Surrounding blanks and upper case do not matter; an error shows the
//! valid form.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use ipnet::{IpNet, Ipv4Net};

use crate::origin::{Allowed, Origin};

/// The maximum of every count. Redis and the limits can count that far.
pub const MOST: usize = 1_000_000_000;

/// `30s`, `10m`, `500ms`, or seconds without a unit.
pub fn duration(raw: &str) -> Result<Duration, String> {
    /// Ten years. Our clocks and Redis's cannot count much further.
    const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
    // In lower case, so that 10M is ten minutes and not ten months.
    let raw = raw.trim().to_ascii_lowercase();
    let seconds = raw.parse().ok().map(Duration::from_secs);
    match seconds.or_else(|| humantime::parse_duration(&raw).ok()) {
        Some(duration) if duration <= LONGEST => Ok(duration),
        Some(_) => Err("write a duration of at most 10 years".to_owned()),
        None => Err("write a duration as 30s, 10m, 500ms or plain seconds".to_owned()),
    }
}

/// A count that must not be zero.
pub fn at_least_one(raw: &str) -> Result<usize, String> {
    between(1, MOST, raw)
}

/// Bytes a day, with an upper limit that is out of reach.
pub fn bytes_per_day(raw: &str) -> Result<u64, String> {
    const MOST: u64 = 1_000_000_000_000_000;
    let bytes = raw.trim().parse().ok().filter(|bytes| (1..=MOST).contains(bytes));
    bytes.ok_or_else(|| format!("write a whole number from 1 to {MOST}"))
}

/// Bytes of headers; hyper cannot enforce a lower limit.
pub fn header_bytes(raw: &str) -> Result<usize, String> {
    between(8192, MOST, raw)
}

/// Bytes of the answer to a join; without messages it may already need that many.
pub fn joined_bytes(raw: &str) -> Result<usize, String> {
    between(1024, MOST, raw)
}

/// A number of names that one script call can take.
pub fn roster(raw: &str) -> Result<usize, String> {
    between(1, 1000, raw)
}

/// A number of threads, up to more cores than any machine has.
pub fn threads(raw: &str) -> Result<usize, String> {
    between(1, 1024, raw)
}

fn between(least: usize, most: usize, raw: &str) -> Result<usize, String> {
    let number = raw.trim().parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("write a whole number from {least} to {most}"))
}

/// `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or `:8080` for every address of IPv4.
pub fn listen_addr(raw: &str) -> Result<SocketAddr, String> {
    let raw = raw.trim();
    let named = || {
        let (host, port) = raw.rsplit_once(':')?;
        let ip = match host.to_ascii_lowercase().as_str() {
            "" | "*" => Ipv4Addr::UNSPECIFIED,
            "localhost" => Ipv4Addr::LOCALHOST,
            _ => return None,
        };
        Some(SocketAddr::from((ip, port.parse().ok()?)))
    };
    raw.parse().ok().or_else(named).ok_or_else(|| {
        "write it as 127.0.0.1:8080, [::1]:8080, localhost:8080, or :8080 for every address of IPv4"
            .to_owned()
    })
}

/// Comma-separated networks.
pub fn networks(raw: &str) -> Result<Vec<IpNet>, String> {
    list(raw, network)
}

/// Comma-separated origins whose pages may connect.
pub fn allowed_origins(raw: &str) -> Result<Vec<Allowed>, String> {
    list(raw, allowed_origin)
}

/// Comma-separated values; empty ones are ignored.
pub fn list<T>(raw: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    raw.split(',').filter(|part| !part.trim().is_empty()).map(one).collect()
}

/// A network, or one address. IPv4-mapped IPv6 becomes IPv4, as it does for peers.
fn network(raw: &str) -> Result<IpNet, String> {
    let raw = raw.trim();
    let bare = raw.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(raw);
    let network = raw.parse().or_else(|_| bare.parse::<IpAddr>().map(IpNet::from));
    network.map(canonical).map_err(|_| {
        "write each as 10.0.0.0/8, 10.0.0.1 or fd00::/8, with commas between them".to_owned()
    })
}

fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(v6) = network else { return network.trunc() };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_BITS));
    let v4 = mapped.and_then(|(addr, bits)| Ipv4Net::new(addr, bits).ok());
    v4.map_or(network, IpNet::V4).trunc()
}

/// The public address: http(s) without a path, because no route is below one.
pub fn public_url(raw: &str) -> Result<Origin, String> {
    let web = raw.trim().to_ascii_lowercase();
    let is_web = web.starts_with("http://") || web.starts_with("https://");
    let origin = raw.parse().ok().filter(|_| is_web);
    origin.ok_or_else(|| {
        "write it as https://rooms.example or http://10.0.0.5:8080, with nothing behind it"
            .to_owned()
    })
}

/// An origin whose pages may connect, or `*` for all.
pub fn allowed_origin(raw: &str) -> Result<Allowed, String> {
    match raw.trim() {
        "*" => Ok(Allowed::All),
        one => one.parse().map(Allowed::One).map_err(|_| {
            "write each as https://other.example, with nothing but a comma behind it, or * for all"
                .to_owned()
        }),
    }
}

/// Parses an enumeration, in upper or lower case.
#[derive(Clone)]
pub struct Word<T: clap::ValueEnum + Clone + Send + Sync + 'static>(EnumValueParser<T>);

impl<T: clap::ValueEnum + Clone + Send + Sync + 'static> Word<T> {
    /// A parser for the words of `T`.
    pub fn new() -> Self {
        Self(EnumValueParser::new())
    }
}

impl<T: clap::ValueEnum + Clone + Send + Sync + 'static> TypedValueParser for Word<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<T, clap::Error> {
        let word = value.to_string_lossy().trim().to_ascii_lowercase();
        self.0.parse_ref(command, arg, word.as_ref())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |seconds| Ok(Duration::from_secs(seconds));
        let cases =
            [("30s", 30), ("10m", 600), ("45", 45), (" 10M ", 600), ("1H", 3600), ("1h 30m", 5400)];
        for (text, expected) in cases {
            assert_eq!(duration(text), seconds(expected), "{text}");
        }
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("soon").is_err() && duration("-1").is_err() && duration("").is_err());
        assert!(duration("10y").is_ok() && duration("11y").is_err());
        assert!(duration("18446744073709551615").is_err());
    }

    #[test]
    fn addresses_to_listen_on() {
        let cases = [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (" 0.0.0.0:80 ", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
            (":8080", "0.0.0.0:8080"),
            ("*:8080", "0.0.0.0:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("LocalHost:8080", "127.0.0.1:8080"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                listen_addr(text).map(|addr| addr.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
        for text in
            ["8080", "localhost", "host.example:80", ":99999", "::1:8080x", "http://a:80", ":", ""]
        {
            assert!(listen_addr(text).is_err(), "{text}");
        }
    }

    #[test]
    fn proxies_are_compared_as_their_peers_are() {
        let cases = [
            ("10.0.0.0/8", "10.0.0.0/8"),
            (" 10.0.0.7/8 ", "10.0.0.0/8"),
            ("::1", "::1/128"),
            ("[::1]", "::1/128"),
            ("::ffff:127.0.0.1", "127.0.0.1/32"),
            ("::FFFF:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ];
        for (text, expected) in cases {
            assert_eq!(network(text).map(|net| net.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for text in [
            "10.0.0.0/33",
            "10.0.0.1:80",
            "proxy.example",
            "*",
            "10.0.0.1 10.0.0.2",
            "[::1",
            "::1]",
            "",
        ] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_comma_too_many_is_no_part_of_a_list() {
        for text in ["10.0.0.1,::1", "10.0.0.1, ::1,", ",10.0.0.1,, ::1 , "] {
            assert_eq!(networks(text).map(|list| list.len()), Ok(2), "{text}");
        }
        assert!(
            networks("10.0.0.1,x").is_err() && networks(" , ").is_ok_and(|list| list.is_empty())
        );
        assert_eq!(allowed_origins("https://a.example,*,").map(|list| list.len()), Ok(2));
    }

    #[test]
    fn public_addresses() {
        let cases = [
            ("https://R.example/", "https://r.example"),
            (" https://r.example:443 ", "https://r.example"),
            ("HTTP://10.0.0.5:8080", "http://10.0.0.5:8080"),
            ("http://localhost", "http://localhost"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                public_url(text).map(|url| url.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
        for text in [
            "r.example",
            "https://r.example/chat",
            "https://r.example/?a",
            "https://r.example#a",
            "https://r .example",
            "https://u:p@r.example",
            "https://r\n.example",
            "ftp://r.example",
            "https://",
            "*",
        ] {
            assert!(public_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_that_may_connect() {
        assert_eq!(allowed_origin(" * "), Ok(Allowed::All));
        let one = |text: &str| text.parse().map(Allowed::One).map_err(|_| String::new());
        assert_eq!(allowed_origin(" https://B.example:443/ "), one("https://b.example"));
        assert!(
            allowed_origin("b.example").is_err() && allowed_origin("https://*.b.example").is_err()
        );
    }
}
