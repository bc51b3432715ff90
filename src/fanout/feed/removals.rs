//! Takes connections out of a room after a script has ended their session, or the room.
//!
//! A removal does not wait behind messages that have to be read first, because later messages are
//! not for the removed user. Only the count of events keeps its order.

use super::{Feed, JoinStage, Outcome, SeatState, Sink};
use crate::{
    fanout::frame::{Frame, FrameKind},
    removal::{Reason, Removal},
};

/// Maximum number of removals kept for joins in progress. The next heartbeat finds others.
const KEPT_MAX: usize = 64;

impl<S: Sink> Feed<S> {
    /// A session or the room has ended. `frame` is the published event; one that no script wrote is
    /// passed on like any other.
    pub fn removal(&mut self, removal: Removal, frame: Frame) -> Outcome {
        let is_known = !self.secret.is_empty();
        if is_known && !removal.is_proved(&self.secret) {
            return self.frame(frame).0;
        }
        self.end(&removal);
        self.frame(Frame { kind: FrameKind::Removed, ..frame }).0
    }

    /// Sessions that have ended, as an answer says, or the whole truth: whether that was published or not.
    pub fn ended(&mut self, removals: &[Removal]) {
        for removal in removals {
            if self.secret.is_empty() || removal.is_proved(&self.secret) {
                self.end(removal);
            }
        }
    }

    fn end(&mut self, removal: &Removal) {
        self.forget_removals();
        if self.seats.iter().any(SeatState::is_joining) {
            self.removals.truncate(KEPT_MAX - 1);
            self.removals.insert(0, removal.clone());
        }
        if !self.secret.is_empty() {
            self.evict(removal);
        }
    }

    /// The room has ended, as an answer says.
    pub fn closed(&mut self) {
        self.keep(|seat| {
            let stays = seat.is_outside();
            if !stays {
                seat.sink.evict(Reason::Closed);
            }
            stays
        });
    }

    /// Keeps the seats that match.
    fn keep(&mut self, stays: impl Fn(&SeatState<S>) -> bool) {
        for connection in self.seats.retain(stays) {
            self.answered.remove(&connection);
        }
    }

    fn evict(&mut self, removal: &Removal) {
        if removal.whom.is_none() {
            return self.closed();
        }
        self.keep(|seat| {
            let stays = !seat.sink.is_target(removal);
            match stays {
                true => seat.sink.recheck_access(),
                false => seat.sink.evict(removal.reason),
            }
            stays
        });
    }

    /// A join was answered. The session that its connection had before may have ended meanwhile.
    /// Returns whether the connection was taken out.
    pub(super) fn is_evicted(&mut self, connection: &str) -> bool {
        let Some(sink) = self.sink(connection) else { return false };
        let is_target = |removal: &&Removal| {
            let is_target = removal.whom.is_none() || sink.is_target(removal);
            is_target && removal.is_proved(&self.secret)
        };
        let Some(reason) = self.removals.iter().find(is_target).map(|removal| removal.reason)
        else {
            return false;
        };
        if let Some(sink) = self.leave(connection) {
            sink.evict(reason);
        }
        true
    }

    /// Removals are kept only while joins are under way.
    pub(super) fn forget_removals(&mut self) {
        if !self.removals.is_empty() && !self.seats.iter().any(SeatState::is_joining) {
            self.removals.clear();
        }
    }
}

impl<S> SeatState<S> {
    /// Whether its first join has not been answered: then the answer includes the end of the room
    /// or session.
    fn is_outside(&self) -> bool {
        matches!(self.stage, JoinStage::Joining { from: super::Origin::Outside, .. })
    }
}
