//! Limits that a node enforces by itself: requests, new rooms, guesses, connections and sockets of
//! one address, frames of one connection. The messages of a user are counted in Redis instead, for
//! all nodes together.

pub mod storage;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use ipnet::IpNet;
use parking_lot::Mutex;

use crate::{
    error::{Code, Error},
    settings::Settings,
};

/// After this many checks, idle addresses are forgotten: often enough to keep the map small, and
/// seldom enough to cost nothing.
const CHECKS_BETWEEN_CLEANINGS: usize = 4096;

/// The limits, as in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `REQUESTS_PER_SECOND`
    Requests,
    /// `CONNECTIONS_PER_IP`
    Connections,
    /// `SOCKETS_PER_IP`
    Sockets,
    /// `ROOMS_PER_MINUTE`
    Rooms,
    /// `STORED_BYTES_PER_DAY`
    Storage,
    /// `MISSES_PER_MINUTE`
    Misses,
    /// `FRAMES_PER_SECOND`
    Frames,
    /// `MESSAGES_PER_SECOND`
    Messages,
    /// `CONNECTIONS_PER_USER`
    ConnectionsPerUser,
    /// `ROOMS_PER_CONNECTION`
    RoomsPerConnection,
    /// `HEADER_TIMEOUT`
    HeaderTime,
    /// `MAX_HEADER_BYTES`
    HeaderSize,
    /// `ALLOWED_ORIGINS`
    Origin,
    /// The system's limit of open files.
    Files,
}

impl Limit {
    /// All limits.
    pub const ALL: [Limit; 14] = [
        Limit::Requests,
        Limit::Connections,
        Limit::Sockets,
        Limit::Rooms,
        Limit::Storage,
        Limit::Misses,
        Limit::Frames,
        Limit::Messages,
        Limit::ConnectionsPerUser,
        Limit::RoomsPerConnection,
        Limit::HeaderTime,
        Limit::HeaderSize,
        Limit::Origin,
        Limit::Files,
    ];

    /// The name in the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Limit::Requests => "requests",
            Limit::Connections => "connections",
            Limit::Sockets => "sockets",
            Limit::Rooms => "rooms",
            Limit::Storage => "storage",
            Limit::Misses => "misses",
            Limit::Frames => "frames",
            Limit::Messages => "messages",
            Limit::ConnectionsPerUser => "connections_per_user",
            Limit::RoomsPerConnection => "rooms_per_connection",
            Limit::HeaderTime => "header_time",
            Limit::HeaderSize => "header_size",
            Limit::Origin => "origin",
            Limit::Files => "files",
        }
    }
}

/// Health checks that one address may make each second. Not a setting: it is far more than anybody
/// needs, and who runs a node must be able to see how it is.
pub const HEALTH_CHECKS_PER_SECOND: usize = 1000;

/// The wait for more than a bucket holds.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);
/// Sockets over the limit that one address may have at the same time to read its error.
const REFUSED_SOCKETS: usize = 16;

/// The limits of each address on one node.
pub struct Limits {
    requests: Buckets,
    health: Buckets,
    rooms: Buckets,
    storage: Buckets,
    misses: Buckets,
    /// Addresses that guessed too often, and until when they are refused.
    blocked: Mutex<HashMap<IpAddr, Instant>>,
    connections: Arc<Held>,
    sockets: Arc<Held>,
    /// Refused sockets that are still open.
    refused: Arc<Held>,
    /// Trusted proxies: each represents many clients, and limits their sockets itself.
    proxies: Vec<IpNet>,
}

impl Limits {
    /// Limits from the settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            requests: Buckets::new(Quota::per_second(count(settings.requests_per_second))),
            health: Buckets::new(Quota::per_second(count(HEALTH_CHECKS_PER_SECOND))),
            rooms: Buckets::new(Quota::per_minute(count(settings.rooms_per_minute))),
            storage: storage::buckets(settings.stored_bytes_per_day),
            misses: Buckets::new(Quota::per_minute(count(settings.misses_per_minute))),
            blocked: Mutex::default(),
            connections: Held::at_most(settings.connections_per_ip),
            sockets: Held::at_most(settings.sockets_per_ip),
            refused: Held::at_most(REFUSED_SOCKETS),
            proxies: settings.trusted_proxies.clone(),
        }
    }

    /// Counts one request of an address.
    ///
    /// # Errors
    /// [`Code::RateLimited`], with the wait until the next one is allowed.
    pub fn check_request(&self, ip: IpAddr) -> Result<(), Error> {
        self.requests.take(ip).map_err(Error::rate_limited)
    }

    /// Counts a health check of an address. `cost`: how many small ones it is worth.
    ///
    /// # Errors
    /// [`Code::RateLimited`], with the wait until the next one is allowed.
    pub fn check_health(&self, ip: IpAddr, cost: usize) -> Result<(), Error> {
        self.health.take_many(ip, cost).map_err(Error::rate_limited)
    }

    /// Counts one new room of an address.
    ///
    /// # Errors
    /// [`Code::RateLimited`], with the wait until the next one is allowed.
    pub fn check_room(&self, ip: IpAddr) -> Result<(), Error> {
        self.rooms.take(ip).map_err(Error::rate_limited)
    }

    /// Counts bytes that an address is about to have stored in Redis.
    ///
    /// # Errors
    /// [`Code::RateLimited`], with the wait until this many may be stored.
    pub fn check_storage(&self, ip: IpAddr, bytes: usize) -> Result<(), Error> {
        let cause = || Some("the address has stored as much as it may".to_owned());
        let refused = |wait| Error { cause: cause(), ..Error::rate_limited(wait) };
        self.storage.take_many(ip, storage::units(bytes)).map_err(refused)
    }

    /// Checks whether an address may request a room or use a token. After too many wrong guesses it
    /// has to wait, right or wrong, so that the wait reveals nothing.
    ///
    /// # Errors
    /// [`Code::RateLimited`], with the wait.
    pub fn check_misses(&self, ip: IpAddr) -> Result<(), Error> {
        let mut blocked = self.blocked.lock();
        let Some(until) = blocked.get(&holder(ip)) else { return Ok(()) };
        let wait = until.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            blocked.remove(&holder(ip));
            return Ok(());
        }
        Err(Error::rate_limited(wait))
    }

    /// Counts an unknown room or a wrong token.
    pub fn note_miss(&self, ip: IpAddr) {
        if let Err(wait) = self.misses.take(ip) {
            let now = Instant::now();
            let mut blocked = self.blocked.lock();
            if blocked.len() >= CHECKS_BETWEEN_CLEANINGS {
                blocked.retain(|_, until| *until > now);
            }
            blocked.insert(holder(ip), now + wait);
        }
    }

    /// Takes one of the WebSockets that an address may hold; dropping the permit returns it.
    ///
    /// # Errors
    /// [`Code::RateLimited`] when the address holds all of them.
    pub fn open_connection(&self, ip: IpAddr) -> Result<Permit, Error> {
        self.connections.take(ip).ok_or(Code::RateLimited.into())
    }

    /// Takes one of the sockets that a peer may hold which are not WebSockets (yet).
    ///
    /// # Errors
    /// [`Code::RateLimited`] when the peer holds all of them.
    pub fn open_socket(&self, peer: IpAddr) -> Result<Option<Permit>, Error> {
        let peer = peer.to_canonical();
        if self.proxies.iter().any(|network| network.contains(&peer)) {
            return Ok(None);
        }
        self.sockets.take(peer).map(Some).ok_or(Code::RateLimited.into())
    }

    /// Takes one of the few sockets over its limit on which a peer gets time to read the error.
    pub fn linger(&self, peer: IpAddr) -> Option<Permit> {
        self.refused.take(peer)
    }
}

/// A token bucket per address.
struct Buckets {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    checks: AtomicUsize,
}

impl Buckets {
    fn new(quota: Quota) -> Self {
        Self { limiter: RateLimiter::keyed(quota), checks: AtomicUsize::new(1) }
    }

    /// Takes a token, or returns the wait until there is one.
    fn take(&self, ip: IpAddr) -> Result<(), Duration> {
        self.take_many(ip, 1)
    }

    /// Takes this many tokens; or takes none, and returns the wait until there are enough.
    fn take_many(&self, ip: IpAddr, tokens: usize) -> Result<(), Duration> {
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(CHECKS_BETWEEN_CLEANINGS) {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let now = self.limiter.clock().now();
        match self.limiter.check_key_n(&holder(ip), count(tokens)) {
            Ok(taken) => taken.map_err(|refusal| refusal.wait_time_from(now)),
            // More than the bucket can ever hold.
            Err(_) => Err(NEVER),
        }
    }
}

/// Counts what each address holds, up to a maximum.
struct Held {
    max: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Held {
    fn at_most(max: usize) -> Arc<Self> {
        Arc::new(Self { max, by_address: Mutex::default() })
    }

    fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Permit> {
        let holder = holder(ip);
        let mut held = self.by_address.lock();
        let count = held.entry(holder).or_insert(0);
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Permit { held: Arc::clone(self), holder })
    }
}

/// One unit that an address holds, until it is dropped.
pub struct Permit {
    held: Arc<Held>,
    holder: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.held.by_address.lock();
        if let Some(count) = held.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.holder);
            }
        }
    }
}

/// The frame budget of one connection: a token bucket with the frames of one second. Unlike
/// governor's it can be overdrawn, because the size of the answer to a join is known only
/// afterwards. It is small, because every connection has one.
pub struct FrameBudget {
    per_second: u64,
    began: Instant,
    /// When it is full again, in nanoseconds since it was created.
    full_at: AtomicU64,
}

/// How long an empty bucket takes to fill, in nanoseconds; it can be overdrawn by as much.
const BUCKET: u64 = 1_000_000_000;
/// The share of the bucket (one in this many) that must refill before a connection is read again: a
/// smaller share would cause many wake-ups.
const PARTS_OF_BUCKET: u64 = 10;

impl FrameBudget {
    /// A full bucket.
    pub fn new(per_second: usize) -> Self {
        let per_second = (per_second as u64).clamp(1, BUCKET);
        Self { per_second, began: Instant::now(), full_at: AtomicU64::new(0) }
    }

    /// Takes this many frames. Returns whether less than one is left.
    pub fn spend(&self, frames: usize) -> bool {
        self.spend_at(Instant::now(), frames)
    }

    /// How long it takes until a share of the bucket has refilled.
    pub fn pause(&self) -> Duration {
        self.wait(Instant::now(), (self.per_second / PARTS_OF_BUCKET).max(1))
    }

    fn spend_at(&self, now: Instant, frames: usize) -> bool {
        let since = self.since_began(now);
        self.full_at.fetch_max(since, Ordering::Relaxed);
        self.full_at.fetch_add(self.cost(frames as u64), Ordering::Relaxed);
        self.full_at.fetch_min(since + 2 * BUCKET, Ordering::Relaxed);
        !self.wait(now, 1).is_zero()
    }

    fn wait(&self, now: Instant, frames: u64) -> Duration {
        let full_at = self.full_at.load(Ordering::Relaxed);
        let missing = full_at.saturating_sub(self.since_began(now)) + self.cost(frames);
        Duration::from_nanos(missing.saturating_sub(BUCKET))
    }

    fn cost(&self, frames: u64) -> u64 {
        frames.saturating_mul(BUCKET) / self.per_second
    }

    fn since_began(&self, now: Instant) -> u64 {
        u64::try_from(now.duration_since(self.began).as_nanos()).unwrap_or(u64::MAX / 2)
    }
}

fn count(wanted: usize) -> NonZeroU32 {
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
    NonZeroU32::new(wanted).unwrap_or(NonZeroU32::MIN)
}

/// The address that is counted. In IPv6 one subscriber has a whole /64.
pub fn holder(ip: IpAddr) -> IpAddr {
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
        assert!(refusal.retry_after.unwrap() <= Duration::from_millis(500));
        assert!(limits.check_request(ip(2)).is_ok());
    }

    #[test]
    fn who_guesses_waits_right_or_wrong() {
        let limits = limits(&["--misses-per-minute=2"]);
        for _ in 0..2 {
            limits.note_miss(ip(1));
            assert!(limits.check_misses(ip(1)).is_ok());
        }
        limits.note_miss(ip(1));
        let refusal = limits.check_misses(ip(1)).unwrap_err();
        assert_eq!(refusal.code, Code::RateLimited);
        assert!(refusal.retry_after.unwrap() <= Duration::from_secs(30));
        assert!(limits.check_misses(ip(2)).is_ok());
    }

    #[test]
    fn rooms_are_counted_apart_from_requests() {
        let limits = limits(&["--rooms-per-minute=1"]);
        assert!(limits.check_room(ip(1)).is_ok() && limits.check_room(ip(1)).is_err());
        assert!(limits.check_request(ip(1)).is_ok() && limits.check_room(ip(2)).is_ok());
    }

    #[test]
    fn a_closed_connection_makes_room_and_leaves_nothing_behind() {
        let limits = limits(&["--connections-per-ip=1"]);
        let permit = limits.open_connection(ip(1)).ok().unwrap();
        assert!(limits.open_connection(ip(1)).is_err());
        assert!(limits.open_connection(ip(2)).is_ok());
        drop(permit);
        assert!(limits.connections.by_address.lock().is_empty());
        assert!(limits.open_connection(ip(1)).is_ok());
    }

    #[test]
    fn a_proxy_may_hold_as_many_sockets_as_it_likes() {
        let limits = limits(&["--sockets-per-ip=1", "--trusted-proxies=127.0.0.2"]);
        let _first = limits.open_socket(ip(1)).ok().unwrap();
        assert!(limits.open_socket(ip(1)).is_err());
        let _proxy =
            [limits.open_socket(ip(2)).ok().unwrap(), limits.open_socket(ip(2)).ok().unwrap()];
    }

    #[test]
    fn one_ipv6_network_is_one_holder() {
        let parsed = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(holder(parsed("2001:db8::1")), holder(parsed("2001:db8::ffff:2")));
        assert_ne!(holder(parsed("2001:db8::1")), holder(parsed("2001:db8:0:1::1")));
        assert_eq!(holder(parsed("::ffff:127.0.0.1")), ip(1));
    }

    /// Takes frames until none is left, this many milliseconds after the beginning.
    fn frames_at(budget: &FrameBudget, ms: u64) -> usize {
        let now = budget.began + Duration::from_millis(ms);
        (1..).find(|_| budget.spend_at(now, 1)).unwrap()
    }

    #[test]
    fn frames_are_limited_and_the_limit_is_small() {
        let budget = FrameBudget::new(20);
        assert_eq!(frames_at(&budget, 0), 20);
        assert_eq!(budget.wait(budget.began, 2), Duration::from_millis(100));
        assert_eq!(frames_at(&budget, 500), 10);
        assert_eq!(frames_at(&budget, 60_000), 20, "no more than a second's worth");
        assert!(size_of::<FrameBudget>() <= 64, "{}", size_of::<FrameBudget>());
    }

    #[test]
    fn what_a_join_brings_is_paid_back_but_no_more_than_a_second_of_it() {
        let budget = FrameBudget::new(20);
        let began = budget.began;
        assert!(!budget.spend_at(began, 10));
        assert!(budget.spend_at(began, 20));
        assert_eq!(budget.wait(began, 1), Duration::from_millis(550));
        assert!(budget.spend_at(began, 1000));
        assert_eq!(budget.wait(began, 1), Duration::from_millis(1050));
    }
}
