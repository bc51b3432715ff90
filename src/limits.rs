//! Floods that a node turns away by itself: requests and connections of one address, frames of
//! one connection. What a user may send is counted in Redis instead, for all nodes together.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use governor::{
    DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter,
    clock::{Clock, MonotonicClock, Reference},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use parking_lot::Mutex;

use crate::{
    error::{Code, Error},
    settings::Settings,
};

/// Addresses that have been quiet are forgotten each time this many requests were counted: often
/// enough to stay small, and rare enough to cost nothing.
const CHECKS_BETWEEN_CLEANINGS: usize = 4096;

/// What one node allows one address.
pub struct Limits {
    requests: DefaultKeyedRateLimiter<IpAddr>,
    checks: AtomicUsize,
    connections: Arc<Connections>,
}

impl Limits {
    /// Limits as the settings give them.
    pub fn new(settings: &Settings) -> Self {
        let connections =
            Connections { max: settings.connections_per_ip, open: Mutex::new(HashMap::new()) };
        Self {
            requests: RateLimiter::keyed(per_second(settings.requests_per_second)),
            checks: AtomicUsize::new(1),
            connections: Arc::new(connections),
        }
    }

    /// Counts one request of an address.
    ///
    /// # Errors
    /// [`Code::RateLimited`], with the wait until the next one is allowed.
    pub fn check_request(&self, ip: IpAddr) -> Result<(), Error> {
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(CHECKS_BETWEEN_CLEANINGS) {
            self.requests.retain_recent();
            self.requests.shrink_to_fit();
        }
        let now = self.requests.clock().now();
        self.requests.check_key(&holder(ip)).map_err(|refusal| wait(&refusal, now))
    }

    /// Takes one of the connections that an address may hold; dropping the permit gives it back.
    ///
    /// # Errors
    /// [`Code::RateLimited`] when the address holds all of them.
    pub fn open_connection(&self, ip: IpAddr) -> Result<ConnectionPermit, Error> {
        let holder = holder(ip);
        let mut open = self.connections.open.lock();
        let count = open.entry(holder).or_insert(0);
        if *count >= self.connections.max {
            return Err(Code::RateLimited.into());
        }
        *count += 1;
        drop(open);
        Ok(ConnectionPermit { connections: Arc::clone(&self.connections), holder })
    }
}

/// Connections that are open, by address.
struct Connections {
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of an address, until it is dropped.
pub struct ConnectionPermit {
    connections: Arc<Connections>,
    holder: IpAddr,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        if let Some(count) = open.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.holder);
            }
        }
    }
}

/// A token bucket for the frames of one connection; small, as there are as many as connections.
pub struct FrameLimit(
    RateLimiter<
        NotKeyed,
        InMemoryState,
        MonotonicClock,
        NoOpMiddleware<<MonotonicClock as Clock>::Instant>,
    >,
);

impl FrameLimit {
    /// A full bucket that holds one second's worth.
    pub fn new(per_second: usize) -> Self {
        Self(RateLimiter::direct_with_clock(self::per_second(per_second), MonotonicClock))
    }

    /// Counts one frame.
    ///
    /// # Errors
    /// [`Code::RateLimited`], with the wait until the next one is allowed.
    pub fn check(&self) -> Result<(), Error> {
        let now = self.0.clock().now();
        self.0.check().map_err(|refusal| wait(&refusal, now))
    }
}

fn per_second(count: usize) -> Quota {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    Quota::per_second(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN))
}

fn wait<P: Reference>(refusal: &NotUntil<P>, now: P) -> Error {
    Error::rate_limited(refusal.wait_time_from(now))
}

/// Whom an address stands for. In IPv6 one subscriber has a whole /64 to choose from.
fn holder(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(arguments: &[&str]) -> Limits {
        let words = std::iter::once("linkroom").chain(arguments.iter().copied());
        Limits::new(&Settings::read(words.map(Into::into)).unwrap())
    }

    fn ip(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    #[test]
    fn a_flood_of_one_address_leaves_others_alone() {
        let limits = limits(&["--requests-per-second=2"]);
        assert!(limits.check_request(ip(1)).is_ok() && limits.check_request(ip(1)).is_ok());
        let refusal = limits.check_request(ip(1)).unwrap_err();
        assert_eq!(refusal.code, Code::RateLimited);
        assert!(refusal.retry_after.unwrap() <= std::time::Duration::from_millis(500));
        assert!(limits.check_request(ip(2)).is_ok());
    }

    #[test]
    fn a_closed_connection_makes_room_and_leaves_nothing_behind() {
        let limits = limits(&["--connections-per-ip=1"]);
        let permit = limits.open_connection(ip(1)).ok().unwrap();
        assert!(limits.open_connection(ip(1)).is_err());
        assert!(limits.open_connection(ip(2)).is_ok());
        drop(permit);
        assert!(limits.connections.open.lock().is_empty());
        assert!(limits.open_connection(ip(1)).is_ok());
    }

    #[test]
    fn one_ipv6_network_is_one_holder() {
        let parsed = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(holder(parsed("2001:db8::1")), holder(parsed("2001:db8::ffff:2")));
        assert_ne!(holder(parsed("2001:db8::1")), holder(parsed("2001:db8:0:1::1")));
        assert_eq!(holder(parsed("::ffff:127.0.0.1")), ip(1));
    }

    #[test]
    fn frames_are_limited_and_the_limit_is_small() {
        let limit = FrameLimit::new(1);
        assert!(limit.check().is_ok() && limit.check().is_err());
        assert!(size_of::<FrameLimit>() <= 64, "{}", size_of::<FrameLimit>());
    }
}
