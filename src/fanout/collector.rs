//! Collects requests that many connections of a room make to Redis at the same time. Requests that
//! arrive while a call is in progress go together in the next call.

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::Error;

/// The requests `T` of one kind of one room's connections, which are answered with `A`.
pub struct Collector<T, A = ()>(Mutex<Waiting<T, A>>);

struct Waiting<T, A> {
    requests: Vec<Request<T, A>>,
    /// Whether a task takes the queued requests.
    is_served: bool,
}

/// The request of one connection.
pub struct Request<T, A = ()> {
    /// The request itself.
    pub content: T,
    answer: oneshot::Sender<Result<A, Error>>,
}

/// The future result of a request.
pub type Answer<A> = oneshot::Receiver<Result<A, Error>>;

impl<T, A> Collector<T, A> {
    /// Adds a request. Returns its future result, and whether the caller has to start a task that
    /// takes the queued requests until none is left.
    pub fn push(&self, content: T) -> (Answer<A>, bool) {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.0.lock();
        waiting.requests.push(Request { content, answer });
        let begins = !std::mem::replace(&mut waiting.is_served, true);
        (answered, begins)
    }

    /// Takes all queued requests; `None` if there are none, and the task ends.
    pub fn take(&self) -> Option<Vec<Request<T, A>>> {
        self.take_beside(0)
    }

    /// Takes all queued requests, where the task has so many taken that are not done; `None` if there are
    /// none of either, and the task ends.
    pub fn take_beside(&self, taken: usize) -> Option<Vec<Request<T, A>>> {
        let mut waiting = self.0.lock();
        waiting.is_served = taken > 0 || !waiting.requests.is_empty();
        waiting.is_served.then(|| std::mem::take(&mut waiting.requests))
    }
}

impl<T, A> Default for Collector<T, A> {
    fn default() -> Self {
        Self(Mutex::new(Waiting { requests: Vec::new(), is_served: false }))
    }
}

impl<T, A> Request<T, A> {
    /// Whether the connection still waits for the result. If not, it may have left.
    pub fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    /// Sends the result.
    pub fn answer(self, result: Result<A, Error>) {
        // The connection may be gone.
        let _ = self.answer.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_task_takes_all_and_another_begins_when_it_has_ended() {
        let collector = Collector::default();
        let (first, begins) = collector.push(1);
        assert!(begins && !collector.push(2).1, "the task is there");
        let taken = collector.take().unwrap();
        assert_eq!(taken.iter().map(|request| request.content).collect::<Vec<_>>(), [1, 2]);
        assert!(taken[0].is_wanted() && !taken[1].is_wanted());
        let (third, begins) = collector.push(3);
        assert!(!begins);
        for request in taken.into_iter().chain(collector.take().unwrap()) {
            request.answer(Ok(()));
        }
        assert!(first.await.unwrap().is_ok() && third.await.unwrap().is_ok());
        assert!(collector.take().is_none() && collector.push(4).1);
    }
}
