//! The inbox of one room: received frames that are not ordered yet, and the flag that lets only one
//! task at a time process them.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU8, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::feed::Inbound;

/// From this length on, the room's own clients wait before they add to it.
const LONG: usize = 64;
/// Maximum length. Further frames are dropped: a message leaves a gap and an event a wrong count,
/// and the next message or fence shows both.
const MAX: usize = 8192;

/// A room's inbox.
#[derive(Default)]
pub struct Inbox {
    waiting: Mutex<VecDeque<Inbound>>,
    server: AtomicU8,
    shorter: Notify,
}

/// No task serves the room.
const IDLE: u8 = 0;
/// A task serves the room.
const SERVES: u8 = 1;
/// A task serves the room, and there is new input since its round began.
const SERVES_AGAIN: u8 = 2;

impl Inbox {
    /// Adds input. Returns the length, or `None` if the inbox is full.
    pub fn push(&self, word: Inbound) -> Option<usize> {
        let mut waiting = self.waiting.lock();
        if waiting.len() == MAX {
            return None;
        }
        waiting.push_back(word);
        Some(waiting.len())
    }

    /// Removes the oldest input.
    pub fn pop(&self) -> Option<Inbound> {
        let mut waiting = self.waiting.lock();
        let oldest = waiting.pop_front();
        if waiting.len() + 1 == LONG {
            self.shorter.notify_waiters();
        }
        if waiting.is_empty() {
            *waiting = VecDeque::new();
        }
        oldest
    }

    /// Waits until the inbox is short enough for the room's clients to add to it.
    pub async fn has_space(&self) {
        loop {
            let shorter = self.shorter.notified();
            if self.waiting.lock().len() < LONG {
                return;
            }
            shorter.await;
        }
    }

    /// Reports that the room has work. Returns whether the caller has to serve it; otherwise
    /// another task does, and will see the work.
    pub fn begin(&self) -> bool {
        self.server.swap(SERVES_AGAIN, Ordering::SeqCst) == IDLE
    }

    /// The serving task begins a round.
    pub fn begin_round(&self) {
        self.server.store(SERVES, Ordering::SeqCst);
    }

    /// Ends a round. Returns whether nothing came in since the round began.
    pub fn end_round(&self) -> bool {
        self.waiting.lock().is_empty()
            && self
                .server
                .compare_exchange(SERVES, IDLE, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::fanout::frame::Truth;

    fn word(number: u64) -> Inbound {
        Inbound::Members(number, Truth::default())
    }

    fn fill(inbox: &Inbox, words: usize) -> Option<usize> {
        (0..words).filter_map(|_| inbox.push(word(0))).last()
    }

    #[test]
    fn what_came_first_is_first() {
        let inbox = Inbox::default();
        assert_eq!((inbox.push(word(1)), inbox.push(word(2))), (Some(1), Some(2)));
        assert_eq!((inbox.pop(), inbox.pop(), inbox.pop()), (Some(word(1)), Some(word(2)), None));
        assert_eq!(inbox.push(word(3)), Some(1));
    }

    #[test]
    fn one_serves_until_nothing_is_left() {
        let inbox = Inbox::default();
        assert!(inbox.begin());
        inbox.begin_round();
        assert!(!inbox.begin(), "somebody serves already");
        assert!(!inbox.end_round(), "and has to look again");
        inbox.begin_round();
        inbox.push(word(1));
        assert!(!inbox.end_round(), "something is left");
        inbox.pop();
        assert!(inbox.end_round());
        assert!(inbox.begin());
    }

    #[test]
    fn a_long_inbox_is_waited_for() {
        let inbox = Inbox::default();
        assert_eq!(fill(&inbox, LONG - 1), Some(LONG - 1));
        assert!(inbox.has_space().now_or_never().is_some());
        inbox.push(word(0));
        let mut waits = std::pin::pin!(inbox.has_space());
        assert!(waits.as_mut().now_or_never().is_none());
        inbox.pop();
        assert!(waits.now_or_never().is_some());
    }

    #[test]
    fn what_is_too_much_is_dropped() {
        let inbox = Inbox::default();
        assert_eq!(fill(&inbox, MAX), Some(MAX));
        assert_eq!(inbox.push(word(0)), None);
    }
}
