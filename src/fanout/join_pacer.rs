//! Paces the joins of a node: how many are under way at once follows from how long they take, so that a herd that
//! comes back leaves Redis and the node to those who are talking. The others wait, room by room in turn. Who would
//! wait too long is told when to come again, each at a moment of its own.
//!
//! The controller is that of LEDBAT (RFC 6817, section 2.4.2), made for traffic that yields to any other: it aims at
//! a fixed delay above the least that was seen lately. Rooms take turns as flows do in fair queueing (Nagle, RFC 970).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout};

use super::jittered;
use crate::{error::Error, names::RoomId};

/// Joins of one call: no call may keep Redis for long.
pub(super) const JOINS_A_CALL: usize = 16;
/// How much longer than the least time a join may take: what a message may have to wait behind joins.
const TARGET: Duration = Duration::from_millis(5);
/// Joins under way at once: at least, at first, and at most.
const LEAST: f64 = 8.0;
const FIRST: f64 = 16.0;
const MOST: f64 = 64.0;
/// The least time is that of the last one or two periods of this length.
const PERIOD: Duration = Duration::from_secs(30);
/// The weight of the latest join in the average time.
const WEIGHT: f64 = 1.0 / 16.0;
/// Nobody is told to come again later than this, nor, when so many wait that all are told to come within it, earlier
/// than the first.
const LONGEST_RETRY: Duration = Duration::from_secs(4);
const SHORTEST_RETRY: Duration = Duration::from_millis(500);

/// The joins of one node.
pub struct JoinPacer {
    state: Mutex<State>,
    /// How long a join may wait for its turn.
    patience: Duration,
}

struct State {
    pace: Pace,
    under_way: usize,
    /// Who waits, by room, and the rooms in the order of their turns.
    waiting: HashMap<RoomId, VecDeque<oneshot::Sender<JoinPermit>>>,
    turns: VecDeque<RoomId>,
    /// Joins of the first of these that were let in this turn.
    in_turn: usize,
    /// The moment up to which those who were told to come again have theirs.
    booked: Instant,
}

/// How many joins may be under way.
struct Pace {
    limit: f64,
    /// Average time of a join, in seconds.
    usual: f64,
    /// The least time in this period and in the one before, in seconds.
    least: [f64; 2],
    period_ends: Instant,
}

/// The turn of one join. Dropping it gives the turn to the next one.
pub struct JoinPermit {
    pacer: Arc<JoinPacer>,
    begun: Instant,
}

impl JoinPacer {
    /// Nobody joins. A join waits `patience` at most.
    pub fn new(patience: Duration) -> Arc<Self> {
        let now = Instant::now();
        let state = State {
            pace: Pace::new(now),
            under_way: 0,
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            in_turn: 0,
            booked: now,
        };
        Arc::new(Self { state: Mutex::new(state), patience })
    }

    /// Waits for a join's turn; the permit must be held while it is under way.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE`, with the wait until it is worth trying again, if it would take longer than the
    /// pacer's patience.
    pub async fn admit(self: &Arc<Self>, room: &RoomId) -> Result<JoinPermit, Error> {
        let turn = {
            let mut state = self.state.lock();
            if state.turns.is_empty() && state.has_space() {
                return Ok(state.begin(self));
            }
            if state.wait_of(room) > self.patience {
                return Err(state.come_again());
            }
            state.queue(room)
        };
        match timeout(self.patience, turn).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(self.state.lock().come_again()),
        }
    }
}

impl State {
    fn has_space(&self) -> bool {
        (self.under_way as f64) < self.pace.limit
    }

    fn begin(&mut self, pacer: &Arc<JoinPacer>) -> JoinPermit {
        self.under_way += 1;
        JoinPermit { pacer: pacer.clone(), begun: Instant::now() }
    }

    fn queue(&mut self, room: &RoomId) -> oneshot::Receiver<JoinPermit> {
        let (gives, turn) = oneshot::channel();
        let queue = self.waiting.entry(room.clone()).or_default();
        if queue.is_empty() {
            self.turns.push_back(room.clone());
        }
        queue.push_back(gives);
        turn
    }

    /// Who is next, of those that have not given up. A room has as many in its turn as can go together: what a call
    /// reads and writes of the room costs several times as much as one of its joins.
    fn next(&mut self) -> Option<oneshot::Sender<JoinPermit>> {
        loop {
            let room = self.turns.pop_front()?;
            let queue = self.waiting.get_mut(&room)?;
            let next = queue.pop_front()?;
            self.in_turn += usize::from(!next.is_closed());
            if queue.is_empty() {
                self.waiting.remove(&room);
                self.in_turn = 0;
            } else if self.in_turn < JOINS_A_CALL {
                self.turns.push_front(room);
            } else {
                self.turns.push_back(room);
                self.in_turn = 0;
            }
            if !next.is_closed() {
                return Some(next);
            }
        }
    }

    /// How long one more join of this room would wait: until those before it and as many of each other room that
    /// waits have had their turns.
    fn wait_of(&self, room: &RoomId) -> Duration {
        let before = self.waiting.get(room).map_or(0, VecDeque::len);
        self.pace.time_of((before + 1) * self.turns.len().max(1))
    }

    /// Tells a join to come again when those have had their turn who were told so before.
    fn come_again(&mut self) -> Error {
        let (now, waiting) = (Instant::now(), self.waiting.values().map(VecDeque::len).sum());
        let first = now + self.pace.time_of(waiting);
        self.booked = self.booked.max(first) + self.pace.time_of(1);
        let wait = self.booked - now;
        let wait = if wait <= LONGEST_RETRY {
            wait
        } else {
            self.booked = now + LONGEST_RETRY;
            // The rate was measured while their connections were opened as well, so it is better than that: some
            // of them find a place early.
            SHORTEST_RETRY + jittered(LONGEST_RETRY - SHORTEST_RETRY)
        };
        Error::come_again(wait, "too many joins wait")
    }
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { limit: FIRST, usual: 0.0, least: [f64::MAX; 2], period_ends: now + PERIOD }
    }

    /// How long so many joins take in a row.
    fn time_of(&self, joins: usize) -> Duration {
        Duration::from_secs_f64(joins as f64 * self.usual / self.limit)
    }

    /// A join took so long.
    fn note(&mut self, now: Instant, took: Duration) {
        let took = took.as_secs_f64();
        self.usual += if self.usual == 0.0 { took } else { (took - self.usual) * WEIGHT };
        if now >= self.period_ends {
            (self.least, self.period_ends) = ([f64::MAX, self.least[0]], now + PERIOD);
        }
        self.least[0] = self.least[0].min(took);
        let delay = took - self.least[0].min(self.least[1]);
        let off_target = (1.0 - delay / TARGET.as_secs_f64()).max(-1.0);
        self.limit = (self.limit + off_target / self.limit).clamp(LEAST, MOST);
    }
}

impl JoinPermit {
    /// The join was answered: the time that it took counts for the pace.
    pub fn answered(self) {
        let now = Instant::now();
        self.pacer.state.lock().pace.note(now, now - self.begun);
    }
}

impl Drop for JoinPermit {
    fn drop(&mut self) {
        let mut state = self.pacer.state.lock();
        state.under_way -= 1;
        let mut unwanted = Vec::new();
        while state.has_space()
            && let Some(next) = state.next()
        {
            let permit = state.begin(&self.pacer);
            unwanted.extend(next.send(permit).err());
        }
        // Those of joins that have given up since give their turns on.
        drop(state);
        drop(unwanted);
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use futures_util::FutureExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn pace_after(times_ms: impl IntoIterator<Item = u64>) -> Pace {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        times_ms.into_iter().for_each(|ms| pace.note(now, Duration::from_millis(ms)));
        pace
    }

    #[test]
    fn joins_that_take_no_longer_than_the_least_one_become_more_and_others_fewer() {
        assert_eq!(pace_after([2; 5_000]).limit, MOST);
        let slow = std::iter::repeat_n(20, 5_000);
        assert_eq!(pace_after([2].into_iter().chain(slow)).limit, LEAST);
        // A Redis that is far away is not a slow one.
        assert_eq!(pace_after([40; 5_000]).limit, MOST);
    }

    #[test]
    fn the_least_time_is_forgotten() {
        let mut pace = pace_after([2]);
        for period in 1..=2 {
            pace.note(Instant::now() + PERIOD * period, Duration::from_millis(40));
        }
        assert_eq!(pace.least.map(|least| (least * 1000.0) as u64), [40, 40]);
    }

    #[tokio::test]
    async fn rooms_take_turns_and_whoever_gave_up_has_none() {
        let (pacer, crowd, quiet) = (JoinPacer::new(PATIENCE), RoomId::random(), RoomId::random());
        let admit = |room| Box::pin(pacer.admit(room));
        let mut held: Vec<_> = (0..FIRST as usize)
            .map(|_| pacer.admit(&crowd).now_or_never().unwrap().ok().unwrap())
            .collect();
        let mut waiting: Vec<_> =
            iter::repeat_n(&crowd, JOINS_A_CALL + 2).chain([&quiet]).map(admit).collect();
        for turn in &mut waiting {
            assert!(turn.now_or_never().is_none(), "as many are under way as may be");
        }
        // One of a whole call gives up, so one more takes part in it; the last of the crowd comes after the other room.
        drop(waiting.remove(1));
        let last = waiting.len() - 1;
        waiting.swap(last - 1, last);
        for mut turn in waiting {
            held.remove(0);
            held.push((&mut turn).now_or_never().expect("its turn").ok().unwrap());
        }
        drop(held);
        assert_eq!(pacer.state.lock().under_way, 0);
    }

    #[tokio::test]
    async fn whoever_would_wait_too_long_comes_again_when_nobody_else_does() {
        let (pacer, room) = (JoinPacer::new(PATIENCE), RoomId::random());
        let hold = || pacer.admit(&room).now_or_never();
        let held: Vec<_> = std::iter::from_fn(hold).collect();
        pacer.state.lock().pace.usual = 1.0;
        let mut turns = Vec::new();
        let mut refused = Vec::new();
        for _ in 0..40 {
            let mut turn = Box::pin(pacer.admit(&room));
            match (&mut turn).now_or_never() {
                None => turns.push(turn),
                Some(refusal) => refused.push(refusal.err().unwrap().retry_after.unwrap()),
            }
        }
        // Sixteen a second, and who waits for longer than a second does not wait. The one that gave up when all
        // were held counts until its turn comes.
        assert_eq!((turns.len(), held.len()), (15, 16));
        assert!(refused.is_sorted() && refused[0] >= PATIENCE, "{refused:?}");
        let spread = *refused.last().unwrap() - refused[0];
        assert!(spread >= PATIENCE && spread <= PATIENCE * 2, "{refused:?}");
        assert!(
            (0..200).all(|_| pacer.state.lock().come_again().retry_after <= Some(LONGEST_RETRY))
        );
    }
}
