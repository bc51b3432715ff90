//! Gives up a room on this node after a panic in its work, without affecting other rooms. Its
//! connections are closed and reconnect to a new `LocalRoom`, which starts with the state in Redis.

use std::{sync::Arc, thread};

use super::{Fanout, LocalRoom};
use crate::protocol::close::CloseReason;

/// Gives a room up if it is dropped by a panic. Every task that works on the room holds it, and
/// acquires it before any of the room's locks, because inconsistent state would leave the room
/// stuck.
pub(super) struct Watch<'a> {
    fanout: &'a Fanout,
    room: &'a Arc<LocalRoom>,
}

impl Fanout {
    pub(super) fn watch<'a>(&'a self, room: &'a Arc<LocalRoom>) -> Watch<'a> {
        Watch { fanout: self, room }
    }

    fn give_up(&self, room: &Arc<LocalRoom>) {
        let mut rooms = self.0.rooms.write();
        let is_served = rooms.get(&room.id).is_some_and(|current| Arc::ptr_eq(current, room));
        if !is_served {
            return;
        }
        rooms.insert(room.id.clone(), LocalRoom::new(&room.id, &self.0));
        drop(rooms);
        let seats = room.seats(|_| true);
        tracing::error!(connections = seats.len(), "a room was given up after a panic");
        seats.iter().for_each(|seat| seat.outbox.close(CloseReason::Failed));
        // Releases the room if no client reconnects.
        self.release(&room.id);
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.fanout.give_up(self.room);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{
        background::Background,
        fanout::{Membership, Seat},
        i18n::Language,
        metrics::Metrics,
        names::{RoomId, Token, UserId},
        node,
        outbox::{Outbox, OutboxLimits, Wire},
        settings::Settings,
    };

    async fn fanout() -> Fanout {
        let words = ["linkroom", "--redis-url=redis://127.0.0.1:1"].map(Into::into);
        let settings = Settings::read(words).unwrap();
        node::build(settings, Arc::new(Metrics::new()), &Background::new()).unwrap().fanout.clone()
    }

    /// Somebody in a room, and the other end of its socket.
    async fn sit(fanout: &Fanout, room: &RoomId) -> (Arc<LocalRoom>, Arc<Outbox>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let limits = OutboxLimits { frames: 10, bytes: 1000 };
        let outbox =
            Arc::new(Outbox::new("c".into(), Language::En, limits, Wire::Socket(Arc::new(socket))));
        let user = UserId::stored("alice");
        let who = Arc::new(Membership::new(
            user.clone(),
            Token::random(&user),
            true,
            [127, 0, 0, 1].into(),
        ));
        let local = fanout.seat(Seat::new(outbox.clone(), who, room.clone()), String::new());
        (local, outbox, client)
    }

    #[tokio::test]
    async fn a_room_whose_work_panics_is_given_up_alone_and_begins_anew() {
        let fanout = fanout().await;
        let (broken, sound) = (RoomId::random(), RoomId::random());
        let (local, outbox, _client) = sit(&fanout, &broken).await;
        let (other, neighbour, _client) = sit(&fanout, &sound).await;
        let work = |room: &Arc<LocalRoom>, fails: bool| {
            let _watch = fanout.watch(room);
            assert!(!fails, "as wished");
        };
        work(&local, false);
        assert!(fanout.serves(&local), "work that ends well gives nothing up");
        for _ in 0..2 {
            assert!(catch_unwind(AssertUnwindSafe(|| work(&local, true))).is_err());
        }
        assert_eq!(outbox.work().await.close, Some(CloseReason::Failed));
        assert!(!fanout.serves(&local) && fanout.find(&broken).unwrap().is_empty());
        assert!(fanout.serves(&other));
        neighbour.close(CloseReason::Leaving);
        assert_eq!(neighbour.work().await.close, Some(CloseReason::Leaving), "not closed before");
        let (again, ..) = sit(&fanout, &broken).await;
        assert!(fanout.serves(&again));
    }
}
