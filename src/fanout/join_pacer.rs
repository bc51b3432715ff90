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
    state: Mutex<State<Turn>>,
    /// How long a join may wait for its turn.
    patience: Duration,
}

/// The rules, without a clock of their own. `W` is how whoever waits is told.
struct State<W> {
    pace: Pace,
    under_way: usize,
    /// Who waits, by room, and the rooms in the order of their turns.
    waiting: HashMap<RoomId, VecDeque<W>>,
    turns: VecDeque<RoomId>,
    /// Joins of the first of these that were let in this turn.
    in_turn: usize,
    /// The moment up to which those who were told to come again have theirs.
    booked: Instant,
}

/// How a join that waits is given its turn.
type Turn = oneshot::Sender<JoinPermit>;

/// Somebody who waits, and may give up.
trait Waits {
    /// Whether it has.
    fn has_given_up(&self) -> bool;
}

impl Waits for Turn {
    fn has_given_up(&self) -> bool {
        self.is_closed()
    }
}

/// What becomes of a join that arrives.
#[derive(Debug, PartialEq, Eq)]
enum Arrival {
    /// It is under way.
    Begins,
    /// It has to wait.
    Waits,
    /// It has to come again after this time.
    ComesAgain(Duration),
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
        Arc::new(Self { state: Mutex::new(State::new(Instant::now())), patience })
    }

    /// Waits for a join's turn; the permit must be held while it is under way.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE`, with the wait until it is worth trying again, if it would take longer than the
    /// pacer's patience.
    pub async fn admit(self: &Arc<Self>, room: &RoomId) -> Result<JoinPermit, Error> {
        let turn = {
            let mut state = self.state.lock();
            match state.arrive(Instant::now(), room, self.patience) {
                Arrival::Begins => return Ok(self.permit()),
                Arrival::ComesAgain(wait) => return Err(come_again(wait)),
                Arrival::Waits => {
                    let (gives, turn) = oneshot::channel();
                    state.queue(room, gives);
                    turn
                }
            }
        };
        match timeout(self.patience, turn).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(come_again(self.state.lock().book(Instant::now()))),
        }
    }

    fn permit(self: &Arc<Self>) -> JoinPermit {
        JoinPermit { pacer: self.clone(), begun: Instant::now() }
    }
}

/// The error of a join that has to come again after this time.
fn come_again(wait: Duration) -> Error {
    Error::come_again(wait, "too many joins wait")
}

impl<W: Waits> State<W> {
    /// Nobody joins.
    fn new(now: Instant) -> Self {
        Self {
            pace: Pace::new(now),
            under_way: 0,
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            in_turn: 0,
            booked: now,
        }
    }

    /// A join arrives that would wait `patience` at most.
    fn arrive(&mut self, now: Instant, room: &RoomId, patience: Duration) -> Arrival {
        if self.turns.is_empty() && self.has_space() {
            self.under_way += 1;
            return Arrival::Begins;
        }
        if self.wait_of(room) > patience {
            return Arrival::ComesAgain(self.book(now));
        }
        Arrival::Waits
    }

    fn has_space(&self) -> bool {
        (self.under_way as f64) < self.pace.limit
    }

    fn queue(&mut self, room: &RoomId, waits: W) {
        let queue = self.waiting.entry(room.clone()).or_default();
        if queue.is_empty() {
            self.turns.push_back(room.clone());
        }
        queue.push_back(waits);
    }

    /// Begins the next join, if there is space and somebody waits.
    fn begin_next(&mut self) -> Option<W> {
        let next = if self.has_space() { self.next() } else { None }?;
        self.under_way += 1;
        Some(next)
    }

    /// Who is next, of those that have not given up. A room has as many in its turn as can go together: what a call
    /// reads and writes of the room costs several times as much as one of its joins.
    fn next(&mut self) -> Option<W> {
        loop {
            let room = self.turns.pop_front()?;
            let queue = self.waiting.get_mut(&room)?;
            let next = queue.pop_front()?;
            self.in_turn += usize::from(!next.has_given_up());
            if queue.is_empty() {
                self.waiting.remove(&room);
                self.in_turn = 0;
            } else if self.in_turn < JOINS_A_CALL {
                self.turns.push_front(room);
            } else {
                self.turns.push_back(room);
                self.in_turn = 0;
            }
            if !next.has_given_up() {
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

    /// When a join is to come again: when those have had their turn who were told so before.
    fn book(&mut self, now: Instant) -> Duration {
        let waiting = self.waiting.values().map(VecDeque::len).sum();
        let first = now + self.pace.time_of(waiting);
        self.booked = self.booked.max(first) + self.pace.time_of(1);
        let wait = self.booked - now;
        if wait <= LONGEST_RETRY {
            return wait;
        }
        self.booked = now + LONGEST_RETRY;
        // The rate was measured while their connections were opened as well, so it is better than that: some
        // of them find a place early.
        SHORTEST_RETRY + jittered(LONGEST_RETRY - SHORTEST_RETRY)
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
        while let Some(next) = state.begin_next() {
            unwanted.extend(next.send(self.pacer.permit()).err());
        }
        // Those of joins that have given up since give their turns on.
        drop(state);
        drop(unwanted);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeSet, iter, rc::Rc};

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
        let mut state = pacer.state.lock();
        assert!((0..200).all(|_| state.book(Instant::now()) <= LONGEST_RETRY));
    }

    /// A join of a simulated herd.
    struct Joins {
        number: usize,
        gives_up_at: Instant,
        now: Rc<Cell<Instant>>,
    }

    impl Waits for Joins {
        fn has_given_up(&self) -> bool {
            self.now.get() >= self.gives_up_at
        }
    }

    /// What a herd met.
    #[derive(Debug, Default)]
    struct Met {
        all_in: Duration,
        retries: usize,
        most_under_way: usize,
        /// The time that a message would have waited behind joins, at the end of each join.
        behind: Vec<Duration>,
    }

    /// A herd of `clients` in `rooms` comes at once to a node whose Redis takes `each` for a join, one after the other,
    /// and is so `far` away.
    fn simulate(clients: usize, rooms: usize, each: Duration, far: Duration) -> Met {
        let begun = Instant::now();
        let now = Rc::new(Cell::new(begun));
        let rooms: Vec<RoomId> = (0..rooms).map(|_| RoomId::random()).collect();
        let (mut state, mut met) = (State::<Joins>::new(begun), Met::default());
        // What happens next, and when: a client arrives, or a join that began then is answered.
        let mut events: BTreeSet<(Instant, usize, Option<Instant>)> =
            (0..clients).map(|number| (begun, number, None)).collect();
        let mut free_at = begun;
        while let Some((at, number, answers)) = events.pop_first() {
            now.set(at);
            let mut begins = Vec::new();
            if let Some(began) = answers {
                state.pace.note(at, at - began);
                state.under_way -= 1;
                met.behind.push(free_at.saturating_duration_since(at));
                begins.extend(iter::from_fn(|| state.begin_next()).map(|joins| joins.number));
            } else {
                let room = &rooms[number % rooms.len()];
                match state.arrive(at, room, PATIENCE) {
                    Arrival::Begins => begins.push(number),
                    Arrival::Waits => {
                        let gives_up_at = at + PATIENCE;
                        state.queue(room, Joins { number, gives_up_at, now: now.clone() });
                        // If it has to give up, it comes again like those that are told to.
                    }
                    Arrival::ComesAgain(wait) => {
                        assert!(wait <= LONGEST_RETRY && wait > Duration::ZERO, "{wait:?}");
                        met.retries += 1;
                        events.insert((at + wait, number, None));
                    }
                }
            }
            for number in begins {
                free_at = free_at.max(at + far / 2) + each;
                events.insert((free_at + far / 2, number, Some(at)));
            }
            met.most_under_way = met.most_under_way.max(state.under_way);
            met.all_in = at - begun;
        }
        assert_eq!(state.under_way, 0);
        met
    }

    #[test]
    fn a_herd_is_let_in_at_the_pace_of_redis_and_messages_wait_for_few_of_it() {
        let us = Duration::from_micros;
        for (each, far) in [(us(150), us(200)), (us(150), us(20_000)), (us(1_000), us(500))] {
            let mut met = simulate(5_000, 1_000, each, far);
            let what = format!("{each:?} {far:?} {:?} {}", met.all_in, met.retries);
            assert!(met.most_under_way <= MOST as usize, "{what}");
            // What the joins take one after the other, or as many at once as a far Redis allows, and the last retry.
            let least = (each * 5_000).max(far * 5_000 / MOST as u32);
            assert!(met.all_in <= least * 2 + LONGEST_RETRY, "{what}");
            met.behind.sort();
            let p99 = met.behind[met.behind.len() * 99 / 100];
            assert!(p99 <= TARGET * 2 + each * LEAST as u32, "{p99:?} {what}");
        }
    }

    #[test]
    fn a_crowd_at_one_room_keeps_nobody_else_waiting() {
        let (begun, crowd, other) = (Instant::now(), RoomId::random(), RoomId::random());
        let now = Rc::new(Cell::new(begun));
        let mut state = State::<Joins>::new(begun);
        let joins = |number| Joins { number, gives_up_at: begun + PATIENCE, now: now.clone() };
        while state.arrive(begun, &crowd, PATIENCE) == Arrival::Begins {}
        (0..500).for_each(|number| state.queue(&crowd, joins(number)));
        state.queue(&other, joins(500));
        // The crowd goes together as far as one call takes it.
        state.under_way = 0;
        let next: Vec<usize> = iter::from_fn(|| state.begin_next()).map(|it| it.number).collect();
        assert_eq!(next, (0..FIRST as usize).collect::<Vec<_>>());
        state.under_way -= 1;
        assert_eq!(state.begin_next().map(|it| it.number), Some(500));
        // Nobody waits any more, and nobody is begun.
        now.set(begun + PATIENCE);
        state.under_way = 0;
        assert!(state.begin_next().is_none() && state.turns.is_empty() && state.under_way == 0);
    }
}
