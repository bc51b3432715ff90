//! When a room's queued frames are written. A message is written at once. Events of members may wait a moment for
//! others: each is a write to everybody in the room, and members who come, go and read do so together.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Events are written at most once in this time.
const PAUSE: Duration = Duration::from_millis(25);

/// What of a room waits to be written to its connections.
pub(super) struct Unwritten(Mutex<State>);

struct State {
    waiting: Waiting,
    /// When something was written last.
    written: Option<Instant>,
    /// Whether a task will write what waits.
    is_planned: bool,
}

/// The most urgent frame that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Waiting {
    /// There is none.
    Nothing,
    /// Something about members.
    Event,
    /// Anything else.
    Urgent,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Everything that waits is to be written.
    Now,
    /// The caller has to see to it that it is written at this moment.
    At(Instant),
}

impl Unwritten {
    /// Nothing waits.
    pub fn new() -> Self {
        let (waiting, written, is_planned) = (Waiting::Nothing, None, false);
        Self(Mutex::new(State { waiting, written, is_planned }))
    }

    /// Frames were queued, the most urgent of which is this.
    pub fn add(&self, waiting: Waiting) {
        let mut state = self.0.lock();
        state.waiting = state.waiting.max(waiting);
    }

    /// What is to be done now; where that is to write, it counts as done.
    pub fn take(&self, now: Instant) -> Due {
        let mut state = self.0.lock();
        let soonest = state.written.map(|written| written + PAUSE).filter(|soonest| *soonest > now);
        match (state.waiting, soonest) {
            (Waiting::Nothing, _) => Due::Nothing,
            (Waiting::Event, Some(soonest)) => {
                let is_planned = std::mem::replace(&mut state.is_planned, true);
                if is_planned { Due::Nothing } else { Due::At(soonest) }
            }
            _ => {
                (state.waiting, state.written) = (Waiting::Nothing, Some(now));
                Due::Now
            }
        }
    }

    /// The planned moment is here.
    pub fn wait_is_over(&self) {
        let mut state = self.0.lock();
        state.is_planned = false;
        state.written = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_at_once_and_the_next_ones_together_after_a_pause() {
        let (unwritten, begun) = (Unwritten::new(), Instant::now());
        assert_eq!(unwritten.take(begun), Due::Nothing);
        unwritten.add(Waiting::Event);
        assert_eq!(unwritten.take(begun), Due::Now);
        assert_eq!(unwritten.take(begun), Due::Nothing);
        unwritten.add(Waiting::Event);
        assert_eq!(unwritten.take(begun), Due::At(begun + PAUSE));
        unwritten.add(Waiting::Event);
        assert_eq!(unwritten.take(begun + PAUSE / 2), Due::Nothing, "that is planned");
        unwritten.wait_is_over();
        assert_eq!(unwritten.take(begun + PAUSE), Due::Now);
        unwritten.add(Waiting::Event);
        assert_eq!(unwritten.take(begun + PAUSE * 3), Due::Now, "nothing was written lately");
    }

    #[test]
    fn a_message_takes_along_what_waits() {
        let (unwritten, begun) = (Unwritten::new(), Instant::now());
        unwritten.add(Waiting::Urgent);
        assert_eq!(unwritten.take(begun), Due::Now);
        unwritten.add(Waiting::Event);
        assert_eq!(unwritten.take(begun), Due::At(begun + PAUSE));
        unwritten.add(Waiting::Urgent);
        unwritten.add(Waiting::Event);
        assert_eq!(unwritten.take(begun), Due::Now);
        // Nothing is left for the task that was to write it.
        unwritten.wait_is_over();
        assert_eq!(unwritten.take(begun + PAUSE), Due::Nothing);
    }
}
