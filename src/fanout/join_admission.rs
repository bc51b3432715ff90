//! Limits the concurrent joins of one room, so that a crowd waits in front of its own room, and not
//! in front of Redis, where it would block other rooms.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Maximum number of concurrent joins of one room: more would only wait in Redis.
const JOINS_AT_ONCE: usize = 32;
/// The weight of a join in a crowded room, where it is also more work for the node.
const CROWD_WEIGHT: u32 = 8;

/// The join admission of one room.
pub(super) struct JoinAdmission(Semaphore);

impl JoinAdmission {
    /// No join is in progress.
    pub fn new() -> Self {
        Self(Semaphore::new(JOINS_AT_ONCE))
    }

    /// Waits for admission; the permit must be held during the join.
    pub async fn take(&self, is_crowded: bool) -> Option<SemaphorePermit<'_>> {
        let weight = if is_crowded { CROWD_WEIGHT } else { 1 };
        // The semaphore is never closed.
        self.0.acquire_many(weight).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn expect_so_many_at_once(how_many: usize, is_crowded: bool) {
        let (loud, quiet) = (JoinAdmission::new(), JoinAdmission::new());
        let mut held: Vec<_> =
            (0..how_many).map(|_| loud.take(is_crowded).now_or_never().unwrap()).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(loud.take(is_crowded).now_or_never().is_none());
        assert!(quiet.take(is_crowded).now_or_never().is_some());
        held.pop();
        assert!(loud.take(is_crowded).now_or_never().is_some());
    }

    #[test]
    fn a_crowd_waits_for_its_turn_in_its_own_room() {
        expect_so_many_at_once(32, false);
        expect_so_many_at_once(4, true);
    }
}
