//! Group commit: messages of a room that arrive while a publish script runs go to Redis together,
//! in the next call. A single message goes at once.
//!
//! The name and the idea are from databases: DeWitt et al., "Implementation Techniques for Main
//! Memory Database Systems", 1984.

use std::{collections::VecDeque, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::LocalRoom;
use crate::{
    error::{Code, Error},
    redis::scripts::{Draft, Published, Scripts},
    settings::Durability,
};

/// Maximum number of messages in one script call. More would save Redis little, and delay other
/// calls.
pub const BATCH_MAX: usize = 8;
/// Approximate maximum bytes of text in one script call.
const BYTES: usize = 32 * 1024;

/// The drafts of a room that are not in Redis yet.
pub(super) struct PublishQueue {
    queue: Mutex<DraftQueue>,
    scripts: Scripts,
    scripts_at_once: usize,
    tasks: TaskTracker,
}

#[derive(Default)]
struct DraftQueue {
    waiting: VecDeque<Pending>,
    /// Script calls in progress.
    under_way: usize,
}

/// Consecutive drafts of one client, which go into the same call, and the channel for their outcomes.
struct Pending {
    run: Arc<[Draft]>,
    answer: oneshot::Sender<Vec<Result<Published, Error>>>,
}

impl PublishQueue {
    /// An empty queue that sends through `scripts`, at most `scripts_at_once` calls at a time, in `tasks`.
    pub fn new(scripts: Scripts, scripts_at_once: usize, tasks: TaskTracker) -> Self {
        Self { queue: Mutex::default(), scripts, scripts_at_once, tasks }
    }
}

impl DraftQueue {
    /// Adds drafts. Returns whether the caller has to start a task that sends them.
    fn push(&mut self, waiting: Pending, scripts_at_once: usize) -> bool {
        self.waiting.push_back(waiting);
        let begins = self.under_way < scripts_at_once;
        self.under_way += usize::from(begins);
        begins
    }

    /// The drafts of the next call; `None` if nothing is left, and the calling task ends.
    fn next(&mut self) -> Option<Vec<Pending>> {
        let (mut messages, mut bytes) = (0, 0);
        let fits = self.waiting.iter().take_while(|waiting| {
            let is_first = messages == 0;
            messages += waiting.run.len();
            bytes += waiting.run.iter().map(|draft| draft.text.len()).sum::<usize>();
            is_first || messages <= BATCH_MAX && bytes <= BYTES
        });
        let count = fits.count();
        if count == 0 {
            self.under_way -= 1;
            self.waiting = VecDeque::new();
            return None;
        }
        Some(self.waiting.drain(..count).collect())
    }

    /// Fails all waiting drafts with this error.
    fn refuse_all(&mut self, error: &Error) {
        for Pending { run, answer } in self.waiting.drain(..) {
            let _ = answer.send(all_failed(run.len(), error));
        }
    }
}

/// Maximum number of concurrent publish scripts of one room.
pub fn scripts_at_once(durability: Durability) -> usize {
    match durability {
        Durability::Memory => 1,
        // A call lasts until its messages are durable, so others must not wait for it.
        Durability::Local | Durability::Replicated => 1024,
    }
}

impl LocalRoom {
    /// Stores consecutive drafts of a client, and publishes them. Returns the outcome of each.
    ///
    /// # Errors
    /// Each may have `ROOM_NOT_FOUND`, `NOT_IN_ROOM` or `RATE_LIMITED`, or Redis is out of reach.
    pub async fn publish(self: &Arc<Self>, run: Arc<[Draft]>) -> Vec<Result<Published, Error>> {
        let (answer, answered) = oneshot::channel();
        let count = run.len();
        let PublishQueue { queue, tasks, scripts_at_once, .. } = &self.publish_queue;
        if queue.lock().push(Pending { run, answer }, *scripts_at_once) {
            let room = self.clone();
            tasks.spawn(async move {
                // After a panic, the senders of the batch get an error; the rest of the queue goes on.
                while AssertUnwindSafe(room.publish_queued()).catch_unwind().await.is_err() {}
            });
        }
        answered.await.unwrap_or_else(|_| all_failed(count, &Error::unavailable("the node leaves")))
    }

    /// Sends batches until the queue is empty.
    async fn publish_queued(&self) {
        loop {
            // Let other tasks that are ready run first, so that their messages join this batch.
            tokio::task::yield_now().await;
            self.inbox.has_space().await;
            let Some(batch) = self.publish_queue.queue.lock().next() else { return };
            self.publish_batch(batch).await;
        }
    }

    async fn publish_batch(&self, batch: Vec<Pending>) {
        let drafts: Vec<_> = batch.iter().flat_map(|waiting| waiting.run.iter()).collect();
        let outcomes = self.publish_queue.scripts.publish(&self.id, &drafts).await;
        if let Err(error) = &outcomes
            && error.code == Code::ServiceUnavailable
        {
            // The others would only wait for the same timeout.
            self.publish_queue.queue.lock().refuse_all(error);
        }
        let mut outcomes =
            outcomes.unwrap_or_else(|error| all_failed(drafts.len(), &error)).into_iter();
        for Pending { run, answer } in batch {
            // The client may be gone.
            let _ = answer.send(outcomes.by_ref().take(run.len()).collect());
        }
    }
}

/// The outcomes of messages that failed together.
pub fn all_failed(count: usize, error: &Error) -> Vec<Result<Published, Error>> {
    (0..count).map(|_| Err(error.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names::UserId, redis::scripts::Sender};

    const TEXT: &str = "hi";

    fn waiting(texts: &[&str]) -> Pending {
        let draft = |text: &&str| Draft {
            user: UserId::stored("alice"),
            sender: Sender::Connection { id: "c".into(), confirmed: true },
            text: (*text).to_owned(),
            key: None,
        };
        Pending { run: texts.iter().map(draft).collect(), answer: oneshot::channel().0 }
    }

    /// How many messages each of the next scripts gets.
    fn batches(queue: &mut DraftQueue) -> Vec<usize> {
        let next = || Some(queue.next()?.iter().map(|waiting| waiting.run.len()).sum());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn what_comes_while_a_script_is_under_way_goes_together() {
        let mut queue = DraftQueue::default();
        assert!(queue.push(waiting(&[TEXT]), 1), "who comes first sees to it");
        assert_eq!(queue.next().unwrap().len(), 1);
        for _ in 0..BATCH_MAX + 3 {
            assert!(!queue.push(waiting(&[TEXT]), 1), "somebody does already");
        }
        assert_eq!(batches(&mut queue), [BATCH_MAX, 3]);
        assert!(queue.push(waiting(&[TEXT]), 1), "nobody does any more");
    }

    #[test]
    fn where_scripts_take_long_each_message_has_its_own() {
        let mut queue = DraftQueue::default();
        for _ in 0..3 {
            assert!(queue.push(waiting(&[TEXT]), 3));
        }
        assert!(!queue.push(waiting(&[TEXT]), 3));
    }

    #[test]
    fn a_script_gets_so_much_and_what_is_said_in_a_row_is_not_taken_apart() {
        let mut queue = DraftQueue::default();
        let long = "x".repeat(BYTES);
        for texts in [&[TEXT; 6][..], &[TEXT; 3], &[TEXT], &[&long, &long], &[TEXT], &[&long]] {
            queue.push(waiting(texts), 1);
        }
        assert_eq!(batches(&mut queue), [6, 4, 2, 1, 1]);
    }
}
