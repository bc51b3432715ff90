//! Limits how many sockets are open: a number of them for clients, and a few more that answer
//! health checks and refuse clients.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Additional sockets. Each is closed after one answer.
const RESERVE: usize = 8;

/// Limits the open sockets.
pub struct Slots {
    clients: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
}

/// The place of one open socket, until the last clone is dropped.
#[derive(Clone)]
pub struct Slot {
    _permit: Arc<OwnedSemaphorePermit>,
    /// Whether it is one of the additional sockets, and must be closed after one answer.
    pub is_reserve: bool,
}

impl Slots {
    /// Slots for this many clients.
    pub fn new(clients: usize) -> Self {
        let clients = clients.min(Semaphore::MAX_PERMITS);
        Self {
            clients: Arc::new(Semaphore::new(clients)),
            reserve: Arc::new(Semaphore::new(RESERVE)),
        }
    }

    /// Waits for a slot. A call that is dropped takes none.
    pub async fn take(&self) -> Slot {
        let (permit, is_reserve) = tokio::select! {
            biased;
            permit = self.clients.clone().acquire_owned() => (permit, false),
            permit = self.reserve.clone().acquire_owned() => (permit, true),
        };
        match permit {
            Ok(permit) => Slot { _permit: Arc::new(permit), is_reserve },
            // The semaphores are never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Exchanges an additional slot for a client's, if one is free by now.
    pub fn upgrade_slot(&self, slot: Slot) -> Slot {
        match self.clients.clone().try_acquire_owned() {
            Ok(permit) if slot.is_reserve => Slot { _permit: Arc::new(permit), is_reserve: false },
            _ => slot,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_last_ones_are_marked_and_a_client_that_leaves_makes_room() {
        let slots = Slots::new(2);
        let take = || slots.take().now_or_never();
        let mut clients = vec![take().unwrap(), take().unwrap()];
        let reserve: Vec<_> = (0..RESERVE).map(|_| take().unwrap()).collect();
        assert!(
            clients.iter().all(|slot| !slot.is_reserve)
                && reserve.iter().all(|slot| slot.is_reserve)
        );
        assert!(take().is_none());
        let (gone, kept) = (clients.pop(), clients[0].clone());
        drop(gone);
        assert!(!take().unwrap().is_reserve);
        drop(clients);
        assert_eq!(slots.clients.available_permits(), 1, "the other is still held");
        assert!(!slots.upgrade_slot(reserve.into_iter().next().unwrap()).is_reserve);
        assert_eq!(slots.reserve.available_permits(), RESERVE);
        drop(kept);
        assert_eq!(slots.clients.available_permits(), 2);
    }
}
