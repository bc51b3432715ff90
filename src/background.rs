//! Background tasks of a node, and what happens when one of them ends.
//!
//! If a background task ends unexpectedly, the node looks alive but does not work. So the vital
//! tasks are supervised, and the node shuts down when the first of them ends.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The tasks of a node; cheap to clone.
#[derive(Clone)]
pub struct Background {
    /// Every task that must end before the process does.
    pub tasks: TaskTracker,
    /// Cancelled when the node is about to end: background work stops.
    pub stop: CancellationToken,
    lost: watch::Sender<Option<EndedTask>>,
}

/// A vital task that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{task} {}, and the node cannot do without it", if *.panicked { "panicked" } else { "ended" })]
pub struct EndedTask {
    /// Its name.
    pub task: &'static str,
    /// Whether it panicked; the log has the panic.
    pub panicked: bool,
}

impl Background {
    /// No task yet.
    pub fn new() -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Self { tasks, stop, lost: watch::Sender::new(None) }
    }

    /// Spawns a task that must run until `stop`. `name` describes it for the operator.
    pub fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_vital_until(self.stop.clone(), name, task);
    }

    /// Spawns a task that must run until this `stop`, a child of the node's.
    pub fn spawn_vital_until(
        &self,
        stop: CancellationToken,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let lost = self.lost.clone();
        self.tasks.spawn(async move {
            // Its state is not used after a panic: the node shuts down.
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            if !stop.is_cancelled() {
                lost.send_replace(Some(EndedTask { task: name, panicked: ended.is_err() }));
            }
        });
    }

    /// Waits until a vital task has ended.
    pub async fn lost(&self) -> EndedTask {
        let mut lost = self.lost.subscribe();
        // The sender lives as long as `self`.
        let lost = lost.wait_for(Option::is_some).await.ok().and_then(|lost| *lost);
        match lost {
            Some(lost) => lost,
            None => std::future::pending().await,
        }
    }
}

impl Default for Background {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_vital_task_that_ends_or_panics_is_named() {
        let background = Background::new();
        background.spawn_vital("the heartbeat", async {});
        let lost = background.lost().await;
        assert_eq!(lost, EndedTask { task: "the heartbeat", panicked: false });
        assert_eq!(lost.to_string(), "the heartbeat ended, and the node cannot do without it");

        let background = Background::new();
        background.spawn_vital("the probe", async { panic!("as wished") });
        assert_eq!(background.lost().await, EndedTask { task: "the probe", panicked: true });
    }

    #[tokio::test]
    async fn a_vital_task_may_end_when_it_is_told_to() {
        let background = Background::new();
        let stop = background.stop.clone();
        background.spawn_vital("the heartbeat", async move { stop.cancelled().await });
        background.stop.cancel();
        background.tasks.close();
        background.tasks.wait().await;
        assert!(background.lost().now_or_never().is_none());
    }
}
