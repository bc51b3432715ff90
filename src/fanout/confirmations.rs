//! Confirmed guest sessions of a room that are not reported to Redis yet. They are reported
//! together after a pause, so that many joins do not cost one call each.

use parking_lot::Mutex;

use super::Seat;

/// The confirmed connections of one room that wait for the report.
#[derive(Default)]
pub struct Confirmations(Mutex<Vec<Seat>>);

impl Confirmations {
    /// Adds a connection. Returns whether it is the first, for which the caller starts the report.
    pub fn push(&self, seat: Seat) -> bool {
        let mut waiting = self.0.lock();
        waiting.push(seat);
        waiting.len() == 1
    }

    /// Takes all, without those that left or were reported by a message.
    pub fn take(&self) -> Vec<Seat> {
        let mut waiting = std::mem::take(&mut *self.0.lock());
        waiting
            .retain(|seat| seat.membership.as_ref().is_some_and(|member| member.is_unreported()));
        waiting
    }
}
