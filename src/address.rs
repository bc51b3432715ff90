//! The client address of a request: the peer's, or the one that a trusted proxy reports.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Extensions, HeaderMap, HeaderName, request::Parts},
};
use ipnet::IpNet;

use crate::app::App;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that limits count for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIp(pub IpAddr);

impl ClientIp {
    /// The client address of the request with these parts.
    pub fn of(app: &App, extensions: &Extensions, headers: &HeaderMap) -> Self {
        // Requests without an address share a single limit.
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(peer)| peer.ip());
        Self::named(&app.settings.trusted_proxies, peer, headers)
    }

    /// The client address of a request that comes from this peer.
    pub fn named(trusted: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> Self {
        let named = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let named: Vec<_> = named.flat_map(|list| list.split(',')).collect();
        Self(nearest_stranger(trusted, peer, &named))
    }
}

impl FromRequestParts<App> for ClientIp {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::of(app, &parts.extensions, &parts.headers))
    }
}

/// The client address in `X-Forwarded-For`. Each proxy appends the address of its peer, so the list
/// is read from its end, as far as trusted proxies wrote it. Entries before an untrusted address
/// are invented by the client.
fn nearest_stranger(trusted: &[IpNet], peer: IpAddr, named: &[&str]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    let mut nearest = peer.to_canonical();
    let mut farther = named.iter().rev();
    while is_trusted(&nearest) {
        match farther.next().and_then(|text| address(text)) {
            Some(ip) => nearest = ip,
            None => break,
        }
    }
    nearest
}

/// Parses an address, optionally in brackets, optionally with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|addr| addr.ip());
    let ip = text.parse().ok().or_else(with_port).or_else(bare)?;
    Some(IpAddr::to_canonical(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &str, peer: &str, named: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.split_whitespace().map(|n| n.parse().unwrap()).collect();
        nearest_stranger(&trusted, peer.parse().unwrap(), named).to_string()
    }

    #[test]
    fn a_stranger_may_say_what_it_wants() {
        assert_eq!(client("", "192.0.2.1", &["10.0.0.1"]), "192.0.2.1");
        assert_eq!(client("10.0.0.0/8", "192.0.2.1", &["10.0.0.1"]), "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        let trusted = "10.0.0.0/8 ::1/128";
        assert_eq!(client(trusted, "10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(client(trusted, "::ffff:10.0.0.1", &[" 192.0.2.7:4711 "]), "192.0.2.7");
        assert_eq!(client(trusted, "::1", &["[2001:db8::7]:80"]), "2001:db8::7");
        assert_eq!(client(trusted, "::1", &["[2001:db8::7]"]), "2001:db8::7");
    }

    #[test]
    fn only_what_the_proxies_wrote_counts() {
        let trusted = "10.0.0.0/8";
        assert_eq!(client(trusted, "10.0.0.1", &["1.1.1.1", "192.0.2.7", "10.0.0.2"]), "192.0.2.7");
        assert_eq!(client(trusted, "10.0.0.1", &["1.1.1.1", "rubbish"]), "10.0.0.1");
        assert_eq!(client(trusted, "10.0.0.1", &["10.0.0.9"]), "10.0.0.9");
        assert_eq!(client(trusted, "10.0.0.1", &[]), "10.0.0.1");
    }
}
