//! What creators did, as it was answered.

use crate::stream::{Id, Stored};

/// What creators did.
#[derive(Debug, Default)]
pub struct Rulings {
    pub deleted: Vec<Deleted>,
    pub removed: Vec<Removed>,
    pub locked: Vec<Locked>,
    pub ended: Vec<Ended>,
}

/// A message that was to be deleted.
#[derive(Clone, Debug)]
pub struct Deleted {
    pub room: String,
    pub id: Id,
    /// What it was.
    pub stored: Stored,
    /// When that was answered, in seconds since the round began.
    pub at: f64,
}

/// Somebody who was removed.
#[derive(Clone, Debug)]
pub struct Removed {
    pub room: String,
    pub name: String,
    /// The last message of the room then.
    pub last: Id,
}

/// A room that took nobody new.
#[derive(Clone, Debug)]
pub struct Locked {
    pub room: String,
    /// From the answer to the lock until it was to be opened, in seconds since the round began.
    pub from: f64,
    pub to: f64,
}

/// A room that was ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub room: String,
    /// When that was answered, in seconds since the round began.
    pub at: f64,
}
