//! Reports of a room's connections that do not wait for the next heartbeat: a changed status, the
//! last message read. Reports that arrive while a call runs, or a moment after it, go together in
//! the next call.

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Seat;
use crate::error::Error;

/// What the connections of one room have to report.
#[derive(Default)]
pub struct Reports(Mutex<ReportQueue>);

#[derive(Default)]
struct ReportQueue {
    waiting: Vec<Report>,
    /// Whether somebody takes what waits.
    is_served: bool,
}

/// What one connection has to report.
pub struct Report {
    /// The connection, in this room.
    pub seat: Seat,
    /// Whether what it has read is news.
    pub read: bool,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// What will become of a report.
pub type Answer = oneshot::Receiver<Result<(), Error>>;

impl Reports {
    /// Adds a report. Returns what will become of it, and whether the caller has to see to it that what
    /// waits is taken until nothing is left.
    pub fn push(&self, seat: Seat, read: bool) -> (Answer, bool) {
        let (answer, answered) = oneshot::channel();
        let mut queue = self.0.lock();
        queue.waiting.push(Report { seat, read, answer });
        let begins = !std::mem::replace(&mut queue.is_served, true);
        (answered, begins)
    }

    /// Takes all that waits; `None` where there is nothing, and the caller is done.
    pub fn take(&self) -> Option<Vec<Report>> {
        let mut queue = self.0.lock();
        queue.is_served = !queue.waiting.is_empty();
        queue.is_served.then(|| std::mem::take(&mut queue.waiting))
    }
}

impl Report {
    /// Whether the connection still waits for it. One that does not may have left.
    pub fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    /// Says what became of it.
    pub fn answer(self, answer: Result<(), Error>) {
        // Whoever asked may be gone.
        let _ = self.answer.send(answer);
    }
}
