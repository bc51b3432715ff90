//! Limits how fast the rest of what a client sends is read and discarded, once it was told that the
//! connection ends. It has to be read: a socket that is closed while bytes arrive is reset, and then
//! its client loses an answer that it has not read yet. But whoever goes on sending must not take
//! the node's time from others.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

/// Bytes that are read without a pause: more than a client usually has under way.
const AT_ONCE: usize = 1 << 20;
/// Bytes between two pauses after that.
const BETWEEN_PAUSES: usize = 1 << 16;
const PAUSE: Duration = Duration::from_millis(5);

/// The pace of one connection that ends.
pub struct Linger {
    /// Bytes until the next pause.
    left: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Linger {
    pub fn new() -> Self {
        Self { left: AT_ONCE, pause: None }
    }

    /// Ready when more may be read.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    /// Called with the number of bytes that were read.
    pub fn discarded(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            self.left = BETWEEN_PAUSES;
            self.pause = Some(Box::pin(sleep(PAUSE)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    /// How long it takes to discard so many bytes.
    async fn time_for(bytes: usize) -> Duration {
        let (mut linger, began) = (Linger::new(), Instant::now());
        for _ in 0..bytes / 4096 {
            poll_fn(|cx| linger.poll_ready(cx)).await;
            linger.discarded(4096);
        }
        began.elapsed()
    }

    #[tokio::test]
    async fn what_is_under_way_is_read_at_once_and_a_flood_slowly() {
        let (pauses, at_once) = (20, time_for(AT_ONCE - 4096).await);
        let slowly = time_for(AT_ONCE + pauses * BETWEEN_PAUSES).await;
        assert!(at_once < PAUSE && slowly >= PAUSE * pauses as u32, "{at_once:?}, {slowly:?}");
    }
}
