//! Reports of a room's connections that do not wait for the next heartbeat: a changed status, the
//! last message read. Reports that arrive while a call runs, or a moment after it, go together in
//! the next call.

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Seat;
use crate::error::Error;

/// The reports of one room's connections.
#[derive(Default)]
pub struct Reports(Mutex<ReportQueue>);

#[derive(Default)]
struct ReportQueue {
    waiting: Vec<Report>,
    /// Whether a task takes the queued reports.
    is_served: bool,
}

/// The report of one connection.
pub struct Report {
    /// The connection, in this room.
    pub seat: Seat,
    /// Whether its read position has changed.
    pub read: bool,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// The outcome of a report.
pub type Answer = oneshot::Receiver<Result<(), Error>>;

impl Reports {
    /// Adds a report. Returns its outcome, and whether the caller has to start a task that takes
    /// the reports until none is left.
    pub fn push(&self, seat: Seat, read: bool) -> (Answer, bool) {
        let (answer, answered) = oneshot::channel();
        let mut queue = self.0.lock();
        queue.waiting.push(Report { seat, read, answer });
        let begins = !std::mem::replace(&mut queue.is_served, true);
        (answered, begins)
    }

    /// Takes all queued reports; `None` if there are none, and the calling task ends.
    pub fn take(&self) -> Option<Vec<Report>> {
        let mut queue = self.0.lock();
        queue.is_served = !queue.waiting.is_empty();
        queue.is_served.then(|| std::mem::take(&mut queue.waiting))
    }
}

impl Report {
    /// Whether the connection still waits for the outcome. If not, it may have left.
    pub fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    /// Sends the outcome.
    pub fn answer(self, answer: Result<(), Error>) {
        // The connection may be gone.
        let _ = self.answer.send(answer);
    }
}
