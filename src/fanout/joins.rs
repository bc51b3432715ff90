//! Joins of a room that come while a join script runs go to Redis together, in the next call: what they have in common
//! is done and read once. Each has its seat, and its node's subscription is confirmed, before it gets here: the
//! snapshot that they share is newer than both.

use std::{collections::VecDeque, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;

use super::{
    Fanout, LocalRoom,
    collector::Request,
    join_pacer::{JOINS_A_CALL, JoinPermit},
};
use crate::{
    error::{Code, Error},
    names::RoomId,
    redis::scripts::{Join, Joined, Snapshot},
};

/// The joins of a room that wait for the next call.
type Waiting = VecDeque<Request<Join, Snapshot>>;

impl Fanout {
    /// Waits for a join's turn among all joins of this node; the permit must be held while it is under way.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE`, with the wait until a retry, if its turn does not come in time.
    pub async fn admit_join(&self, room: &RoomId) -> Result<JoinPermit, Error> {
        if let Some(local) = self.find(room) {
            // A room that is behind holds none of the turns meanwhile.
            local.inbox.has_space().await;
        }
        self.shore(room).joins_paced.admit(room).await
    }

    /// Lets a seated connection into a room.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `BANNED`, `ROOM_LOCKED`, `NAME_TAKEN`, `INVALID_TOKEN`, `ROOM_FULL`, `RATE_LIMITED`, or Redis
    /// is out of reach.
    pub async fn join(&self, room: &Arc<LocalRoom>, join: Join) -> Result<Snapshot, Error> {
        let (answer, begins) = room.joins.push(join);
        if begins {
            let (fanout, room) = (self.clone(), room.clone());
            self.0.tasks.spawn(async move {
                // After a panic, those of its call get an error; the rest goes on.
                while AssertUnwindSafe(fanout.join_all(&room)).catch_unwind().await.is_err() {}
            });
        }
        answer.await.unwrap_or_else(|_| Err(Error::unavailable("the node leaves")))
    }

    /// Makes calls until no join is left.
    async fn join_all(&self, room: &LocalRoom) {
        let mut waiting = Waiting::new();
        loop {
            // Let other tasks that are ready run first, so that their joins are in this call.
            tokio::task::yield_now().await;
            room.inbox.has_space().await;
            let Some(more) = room.joins.take_beside(waiting.len()) else { return };
            waiting.extend(more.into_iter().filter(Request::is_wanted));
            if !waiting.is_empty() {
                self.join_together(room, &mut waiting).await;
            }
        }
    }

    /// One call, for the first of those that wait.
    async fn join_together(&self, room: &LocalRoom, waiting: &mut Waiting) {
        let mut going: Vec<_> = waiting.drain(..waiting.len().min(JOINS_A_CALL)).collect();
        // Whoever has seen less reads what the others read as well.
        going.sort_by_key(|request| request.content.entry.since);
        let joins: Vec<&Join> = going.iter().map(|request| &request.content).collect();
        match self.0.scripts.join(&room.id, &joins).await {
            Ok(became) => {
                for (request, became) in going.into_iter().zip(became) {
                    match became {
                        Joined::In(snapshot) => request.answer(Ok(snapshot)),
                        Joined::Refused(error) => request.answer(Err(error)),
                        Joined::Later => waiting.push_front(request),
                    }
                }
            }
            Err(error) => {
                if error.code == Code::ServiceUnavailable {
                    // The others would only wait for the same timeout.
                    going.extend(waiting.drain(..));
                    going.extend(room.joins.take_beside(going.len()).into_iter().flatten());
                }
                going.into_iter().for_each(|request| request.answer(Err(error.clone())));
            }
        }
    }
}
