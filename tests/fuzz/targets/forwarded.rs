//! `X-Forwarded-For`: a peer that is not a trusted proxy cannot spoof an address.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use linkroom::address::ClientIp;

const TRUSTED: [&str; 3] = ["10.0.0.0/8", "fd00::/8", "::1/128"];
const PROXY: &str = "10.0.0.1";
const STRANGER: &str = "192.0.2.1";

/// The client address of a request that this peer forwards with this header.
fn client(trusted: &[IpNet], peer: &str, header: &[u8]) -> Option<IpAddr> {
    let value = HeaderValue::from_bytes(header).ok()?;
    let headers = HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), value)]);
    Some(ClientIp::named(trusted, peer.parse().unwrap(), &headers).0)
}

pub fn check(data: &[u8]) {
    let trusted = TRUSTED.map(|network| network.parse::<IpNet>().unwrap());
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(&ip));
    let Some(found) = client(&trusted, PROXY, data) else { return };
    assert_eq!(client(&trusted, STRANGER, data), STRANGER.parse().ok());
    // Only entries of the proxies count: earlier entries by an untrusted client change nothing.
    let said = [b"198.51.100.7, ", data].concat();
    if !is_trusted(found) {
        assert_eq!(client(&trusted, PROXY, &said), Some(found));
    }
    let text = String::from_utf8_lossy(data);
    assert!(found.to_string() == PROXY || !text.is_empty(), "{found} comes from nowhere");
}
