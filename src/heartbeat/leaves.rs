//! Leaving a room. Connections that leave at the same time are reported to Redis together: many
//! connections of one user, or a crowd, cost only a few script calls.

use std::{sync::Arc, time::Duration};

use tokio::{task::yield_now, time::timeout};

use super::{Heartbeat, USERS_A_CALL};
use crate::{
    error::Error,
    fanout::{LocalRoom, collector::Request},
    redis::scripts::Leave,
};

/// How long a room whose connections leave waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_millis(250);

impl Heartbeat {
    /// Removes a connection from a room. If Redis is unavailable, the user's presence lapses.
    pub async fn leave(&self, room: &Arc<LocalRoom>, leave: Leave) {
        let (answer, begins) = room.leaves.push(leave);
        if begins {
            self.spawn_taker(
                room,
                |heartbeat, room| async move { heartbeat.leave_all(&room).await },
            );
        }
        // A failed leave is not retried.
        let _ = answer.await;
    }

    /// Reports leaving connections to Redis until none is left.
    async fn leave_all(&self, room: &Arc<LocalRoom>) {
        loop {
            // Let other tasks that are ready run first, so that their connections join this call.
            yield_now().await;
            // Rooms whose shard does not answer keep nobody else from leaving.
            let _turn = timeout(TURN_PATIENCE, self.leaves.acquire()).await;
            let Some(mut leaving) = room.leaves.take() else { return };
            while !leaving.is_empty() {
                let later = leaving.split_off(leaving.len().min(USERS_A_CALL));
                let left = self.leave_together(room, &leaving).await;
                leaving.into_iter().for_each(|request| request.answer(left.clone()));
                leaving = later;
            }
        }
    }

    async fn leave_together(
        &self,
        room: &LocalRoom,
        leaving: &[Request<Leave>],
    ) -> Result<(), Error> {
        let leaves: Vec<&Leave> = leaving.iter().map(|request| &request.content).collect();
        let left = self.scripts.leave(&room.id, &leaves).await?;
        if !left.graces.is_empty() {
            self.fanout.sweep_after_graces(&room.id, self.settings.leave_grace, left.graces);
        }
        left.again.into_iter().for_each(|wait| self.fanout.sweep_after(&room.id, wait));
        Ok(())
    }
}
