//! The bytes that one address may store in Redis: rooms, sessions, connections, messages and their
//! keys, counted together, so that no kind of request can fill Redis.
//!
//! The costs are a little above what Redis 7 needs for each (`tests/it/defaults_hold.rs` measures
//! it), including indexes, expiry times and lists of members.

use std::time::Duration;

use governor::Quota;

use super::Buckets;

/// Bytes per unit: a bucket of governor's holds 32 bits.
const UNIT: u64 = 64;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The part of a day's bytes that may be stored at once.
const BURST_PARTS: u64 = 10;

/// A new room with its creator, and all its keys.
pub const ROOM: usize = 5120;
/// A new session.
pub const SESSION: usize = 1536;
/// A connection in a room.
pub const CONNECTION: usize = 1024;
/// A session that is remembered as removed.
pub const REMOVAL: usize = 512;
/// A subscription to pushes, and what waits for it.
pub const SUBSCRIPTION: usize = 3072;
/// A message besides its text and its key.
const MESSAGE: usize = 640;

/// A topic: its bytes, and what Redis reserves for them.
pub fn topic(topic: Option<&str>) -> usize {
    topic.map_or(0, |topic| 2 * topic.len())
}

/// A message: its text in the stream; its key in the stream, and in the hash of its sender's keys.
pub fn message(text: &str, key: Option<&str>) -> usize {
    MESSAGE + text.len() + text.len() / 4 + key.map_or(0, |key| 3 * key.len())
}

/// The maximum that one address can store in a day, with this many bytes a day as the setting.
pub fn most_in_a_day(bytes_per_day: u64) -> u64 {
    bytes_per_day + bytes_per_day / BURST_PARTS
}

/// Buckets that refill with this many bytes a day.
pub(super) fn buckets(bytes_per_day: u64) -> Buckets {
    let units = (bytes_per_day / UNIT).max(1);
    let period = Duration::from_nanos((DAY.as_nanos() as u64 / units).max(1));
    let burst = u32::try_from(units / BURST_PARTS).unwrap_or(u32::MAX);
    let quota = Quota::with_period(period).expect("a period is not zero");
    Buckets::new(quota.allow_burst(super::count(burst as usize)))
}

/// Bytes as units, rounded up.
pub(super) fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn per_day() -> u64 {
        Settings::read([std::ffi::OsString::from("linkroom")]).unwrap().stored_bytes_per_day
    }

    #[test]
    fn one_address_does_not_fill_a_gigabyte_in_a_day() {
        const GIGABYTE: u64 = 1_000_000_000;
        assert!(most_in_a_day(per_day()) < GIGABYTE * 3 / 4, "the rest is for everybody else");
    }

    #[test]
    fn an_office_behind_one_address_notices_nothing() {
        const PEOPLE: usize = 200;
        let text = "x".repeat(200);
        let message = message(&text, Some("0123456789abcdef0123456789abcdef"));
        // All of them join at once in the morning, with two tabs and a room each.
        let morning = PEOPLE * (ROOM + SESSION + 2 * CONNECTION + message);
        assert!((morning as u64) < per_day() / BURST_PARTS / 4, "{morning}");
        // All of them send for eight hours, each twice a minute, and reconnect every ten minutes.
        let each = 8 * 60 * 2 * message + 8 * 6 * CONNECTION;
        assert!(((PEOPLE * each) as u64) < per_day(), "{}", PEOPLE * each);
    }
}
