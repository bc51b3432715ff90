//! Measures how long a message takes from Redis to the sockets of this node.
//!
//! A frame is shared by the outboxes of all its readers, and each drops its reference after writing
//! the frame to the socket. The last reference is dropped when the last reader was served, so the
//! frame itself measures the time, and a delivery costs nothing more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use prometheus_client::{metrics::histogram::Histogram, registry::Registry};

use super::{RedisClock, seconds};

/// Upper bounds of the histograms, in seconds. The time in an id has a resolution of a millisecond.
const SECONDS: [f64; 13] =
    [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The histograms of delivery.
pub struct Deliveries {
    /// Redis's clock, from which the times in message ids come.
    pub clock: RedisClock,
    fanout: Histogram,
    end_to_end: Histogram,
}

impl Deliveries {
    /// Empty histograms.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let fanout = "From a message's acceptance until it is queued for all who hear it here";
        let end_to_end = "From a message's acceptance until it is written to all who hear it here";
        Self {
            clock: RedisClock::new(),
            fanout: seconds(registry, "fanout", fanout, SECONDS),
            end_to_end: seconds(registry, "end_to_end", end_to_end, SECONDS),
        }
    }

    /// Wraps `text` in a frame whose delivery is measured. The frame is delivered in place of
    /// `text`.
    pub fn follow(self: &Arc<Self>, text: Bytes, accepted_ms: u64) -> (Bytes, Followed) {
        let way =
            Delivery { deliveries: self.clone(), accepted_ms, counts: AtomicBool::new(false) };
        let followed = Followed(Arc::new(Underway { text, way }));
        (Bytes::from_owner(followed.clone()), followed)
    }
}

/// The measurement of one frame. While this is kept, the frame does not count as delivered.
#[derive(Clone)]
pub struct Followed(Arc<Underway>);

impl Followed {
    /// Records that the frame was queued to this many connections; with none, the measurement ends.
    pub fn queued(self, connections: usize) {
        let Delivery { deliveries, accepted_ms, counts } = &self.0.way;
        if connections > 0
            && let Some(age) = deliveries.clock.since(*accepted_ms)
        {
            deliveries.fanout.observe(age.as_secs_f64());
            counts.store(true, Ordering::Relaxed);
        }
    }
}

impl AsRef<[u8]> for Followed {
    fn as_ref(&self) -> &[u8] {
        &self.0.text
    }
}

struct Underway {
    text: Bytes,
    way: Delivery,
}

struct Delivery {
    deliveries: Arc<Deliveries>,
    accepted_ms: u64,
    counts: AtomicBool,
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.counts.load(Ordering::Relaxed)
            && let Some(age) = self.deliveries.clock.since(self.accepted_ms)
        {
            self.deliveries.end_to_end.observe(age.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use prometheus_client::encoding::text;

    use super::*;

    fn counts(registry: &Registry) -> (u64, u64) {
        let mut all = String::new();
        text::encode(&mut all, registry).unwrap();
        let count = |name: &str| {
            let line = all.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse().unwrap()
        };
        (count("fanout_seconds_count"), count("end_to_end_seconds_count"))
    }

    #[test]
    fn the_last_reader_ends_the_way() {
        let mut registry = Registry::default();
        let deliveries = Arc::new(Deliveries::new(&mut registry));
        deliveries.clock.read(Instant::now(), 1_000_000);
        let (frame, followed) = deliveries.follow("hello".into(), 990);
        let outboxes = vec![frame.clone(), frame.clone()];
        drop(frame);
        followed.queued(2);
        assert_eq!((&outboxes[0][..], counts(&registry)), (&b"hello"[..], (1, 0)));
        drop(outboxes);
        assert_eq!(counts(&registry), (1, 1));
    }

    #[test]
    fn what_reaches_nobody_is_not_counted() {
        let mut registry = Registry::default();
        let deliveries = Arc::new(Deliveries::new(&mut registry));
        deliveries.clock.read(Instant::now(), 1_000_000);
        let (_, followed) = deliveries.follow("hello".into(), 990);
        followed.queued(0);
        let (_, foreign) = deliveries.follow("hello".into(), 990);
        drop(foreign);
        assert_eq!(counts(&registry), (0, 0));
    }
}
