//! The seats of a room's connections on one node, found by the id of the connection.

use std::{collections::BTreeMap, sync::Arc};

use super::{Sink, seat::SeatState};

/// Seats, each found in O(log seats).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seats<S> {
    list: Vec<SeatState<S>>,
    /// Where in the list the seat of a connection is.
    places: BTreeMap<Arc<str>, usize>,
}

impl<S> Default for Seats<S> {
    fn default() -> Self {
        Self { list: Vec::new(), places: BTreeMap::new() }
    }
}

impl<S> Seats<S> {
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &SeatState<S>> {
        self.list.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut SeatState<S>> {
        self.list.iter_mut()
    }

    pub fn get(&self, connection: &str) -> Option<&SeatState<S>> {
        self.places.get(connection).map(|place| &self.list[*place])
    }

    pub fn get_mut(&mut self, connection: &str) -> Option<&mut SeatState<S>> {
        self.places.get(connection).map(|place| &mut self.list[*place])
    }
}

impl<S: Sink> Seats<S> {
    /// Adds the seat of a connection that has none.
    pub fn add(&mut self, seat: SeatState<S>) {
        self.places.insert(seat.sink.connection().clone(), self.list.len());
        self.list.push(seat);
    }

    /// Keeps the seats for which this holds. Returns the connections of the others. O(seats).
    pub fn retain(&mut self, stays: impl Fn(&SeatState<S>) -> bool) -> Vec<Arc<str>> {
        let gone = self.list.iter().filter(|seat| !stays(seat));
        let gone: Vec<Arc<str>> = gone.map(|seat| seat.sink.connection().clone()).collect();
        for connection in &gone {
            self.remove(connection);
        }
        gone
    }

    /// Removes the seat of a connection; the last seat takes its place.
    pub fn remove(&mut self, connection: &str) -> Option<SeatState<S>> {
        let place = self.places.remove(connection)?;
        let seat = self.list.swap_remove(place);
        if let Some(moved) = self.list.get(place) {
            self.places.insert(moved.sink.connection().clone(), place);
        }
        Some(seat)
    }
}
