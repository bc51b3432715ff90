//! What a call says of the connections of a room: one entry per session, however many connections it has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use crate::{
    fanout::{Membership, Reported, Seat},
    redis::scripts::{ConnectionReport, UserHeartbeat},
    removal::Session,
};

/// The combined reports of some seats.
pub struct Beats {
    /// One for each session.
    pub users: Vec<UserHeartbeat>,
    /// The seats, in the order of their connections in these.
    seats: Vec<(Seat, Arc<Membership>)>,
    begun: Instant,
}

impl Beats {
    /// What can be said of these seats now.
    pub fn of(seats: impl IntoIterator<Item = Seat>) -> Self {
        let begun = Instant::now();
        let members = seats.into_iter().filter_map(|seat| Some((seat.membership.clone()?, seat)));
        let mut seats: Vec<_> =
            members.map(|(member, seat)| (joined_at(&member), seat, member)).collect();
        seats.sort_by(|(a_joined, _, a), (b_joined, _, b)| {
            (&a.user, a_joined).cmp(&(&b.user, b_joined))
        });
        let mut users: Vec<UserHeartbeat> = Vec::new();
        for (joined_at_ms, seat, member) in &seats {
            let heard = ConnectionReport {
                connection: seat.outbox.id().clone(),
                age: seat.outbox.silent_for(),
                status: seat.outbox.status(),
            };
            let confirmed = member.confirmation();
            match users.last_mut() {
                Some(known)
                    if (&known.user, known.joined_at_ms) == (&member.user, *joined_at_ms) =>
                {
                    known.confirmed = known.confirmed.max(confirmed);
                    known.connections.push(heard);
                }
                _ => users.push(UserHeartbeat {
                    user: member.user.clone(),
                    joined_at_ms: *joined_at_ms,
                    read: None,
                    confirmed,
                    connections: vec![heard],
                }),
            }
        }
        let seats = seats.into_iter().map(|(_, seat, member)| (seat, member)).collect();
        Self { users, seats, begun }
    }

    /// Each session, and the membership of one of its connections.
    pub fn sessions(self) -> impl Iterator<Item = (UserHeartbeat, Arc<Membership>)> {
        let mut seats = self.seats.into_iter();
        self.users.into_iter().filter_map(move |user| {
            let (_, member) = seats.nth(user.connections.len().checked_sub(1)?)?;
            Some((user, member))
        })
    }

    /// Notes with the seats that Redis has processed this.
    pub fn processed(&self) {
        let said = self.users.iter().flat_map(|user| {
            user.connections.iter().map(move |connection| (user.confirmed, connection))
        });
        for ((_, member), (confirmed, connection)) in self.seats.iter().zip(said) {
            let Self { begun, .. } = *self;
            let heard = begun.checked_sub(connection.age).unwrap_or(begun);
            let status = connection.status;
            member.reported(Reported { begun, heard, status, confirmed });
        }
    }
}

/// Where the connections of each session come from.
pub fn addresses(seats: &[Seat]) -> HashMap<Session, Vec<IpAddr>> {
    let mut addresses: HashMap<Session, Vec<IpAddr>> = HashMap::new();
    for seat in seats {
        if let (Some(session), Some(membership)) = (seat.session(), &seat.membership) {
            addresses.entry(session).or_default().push(membership.address);
        }
    }
    addresses
}

/// The session that a report is about.
pub fn session_of(beat: &UserHeartbeat) -> Session {
    Session { user: beat.user.clone(), joined_at_ms: beat.joined_at_ms }
}

fn joined_at(member: &Membership) -> u64 {
    member.joined_at_ms.load(Ordering::Relaxed)
}
