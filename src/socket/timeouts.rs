//! The timeouts of an HTTP connection: for the headers of a request, between two requests, while
//! the client reads nothing of an answer, and while the connection closes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, Sleep},
};

/// How long a closing connection is still read: without any input, and in total.
const LINGER_IDLE: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(10);

/// The stage of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestStage {
    /// No part of a request has arrived.
    Idle,
    /// The headers of a request are arriving.
    ReadingHead,
    /// The headers are complete; the body arrives, the answer is made and written.
    Answering,
    /// Everything was sent.
    Closing,
}

struct State {
    stage: RequestStage,
    /// The deadline of the stage; `Answering` has none while the client reads.
    until: Instant,
    /// When `Closing` ends, whatever arrives.
    end: Option<Instant>,
    /// Whether a request has arrived.
    has_request: bool,
    /// When an idle connection ends because the node shuts down.
    shutdown: Option<Instant>,
    /// When the connection ends if the client reads nothing until then.
    stalled_at: Option<Instant>,
    /// Whether the handler of the current answer checks that itself.
    is_delegated: bool,
}

/// The timeouts of one connection.
pub struct Timeouts {
    head: Duration,
    idle: Duration,
    stall: Duration,
    state: Mutex<State>,
    cut_off: Notify,
}

impl Timeouts {
    /// For a new connection, whose first request is timed from now on. `head`: for the headers of a
    /// request, from their first byte on. `idle`: between two requests. `stall`: while the client
    /// reads nothing of an answer.
    pub fn new(head: Duration, idle: Duration, stall: Duration) -> Self {
        let until = Instant::now() + head;
        let state = State {
            stage: RequestStage::Idle,
            until,
            end: None,
            has_request: false,
            shutdown: None,
            stalled_at: None,
            is_delegated: false,
        };
        Self { head, idle, stall, state: Mutex::new(state), cut_off: Notify::new() }
    }

    /// Bytes have arrived.
    pub fn received(&self) {
        let mut state = self.state.lock();
        match state.stage {
            RequestStage::Idle => {
                state.stage = RequestStage::ReadingHead;
                if state.has_request {
                    state.until = Instant::now() + self.head;
                }
            }
            RequestStage::Closing => state.until = Instant::now() + LINGER_IDLE,
            RequestStage::ReadingHead | RequestStage::Answering => {}
        }
    }

    /// The headers of a request are complete.
    pub fn head_received(&self) {
        let mut state = self.state.lock();
        (state.stage, state.has_request) = (RequestStage::Answering, true);
    }

    /// An answer was passed on to be written.
    pub fn answered(&self) {
        let mut state = self.state.lock();
        state.is_delegated = false;
        if state.stage == RequestStage::Answering {
            (state.stage, state.until) = (RequestStage::Idle, Instant::now() + self.idle);
        }
    }

    /// The socket accepted some bytes, or none.
    pub fn written(&self, took_some: bool) {
        let mut state = self.state.lock();
        if took_some || state.is_delegated {
            state.stalled_at = None;
        } else {
            state.stalled_at.get_or_insert_with(|| Instant::now() + self.stall);
        }
    }

    /// The handler of the current answer checks itself that the client reads.
    pub fn delegate_stall(&self) {
        self.state.lock().is_delegated = true;
    }

    /// Nothing more will be sent.
    pub fn closing(&self) {
        let mut state = self.state.lock();
        let now = Instant::now();
        (state.stage, state.until) = (RequestStage::Closing, now + LINGER_IDLE);
        state.end = Some(now + LINGER);
    }

    /// The node shuts down: an idle connection may send one more request within `grace`.
    pub fn shut_down(&self, grace: Duration) {
        self.state.lock().shutdown = Some(Instant::now() + grace);
    }

    /// Ends the connection at once, because the client does not read.
    pub fn cut_off(&self) {
        self.cut_off.notify_one();
    }

    /// Waits until the connection has to end at once.
    pub async fn is_cut_off(&self) {
        self.cut_off.notified().await;
    }

    /// Whether the deadline was that of a request's headers.
    pub fn is_head_late(&self) -> bool {
        let state = self.state.lock();
        !state.has_request || state.stage == RequestStage::ReadingHead
    }

    /// Whether the client has read nothing for too long.
    pub fn is_stalled(&self) -> bool {
        self.state.lock().stalled_at.is_some_and(|until| until <= Instant::now())
    }

    fn deadline(&self) -> Option<Instant> {
        let state = self.state.lock();
        let of_stage = match state.stage {
            RequestStage::Answering => None,
            RequestStage::ReadingHead => Some(state.until),
            RequestStage::Idle | RequestStage::Closing => {
                [Some(state.until), state.shutdown, state.end].into_iter().flatten().min()
            }
        };
        of_stage.into_iter().chain(state.stalled_at).min()
    }

    /// Ready when a deadline has passed. Must be polled after the connection, so that bytes that
    /// have arrived are not overlooked.
    pub fn poll_late(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(deadline) = self.deadline() {
            // A timer that is set too early is reset when it fires, not with every request.
            if timer.is_elapsed() || deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            if self.is_over() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Whether a deadline has passed.
    pub fn is_over(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);
    const STALL: Duration = Duration::from_secs(30);

    /// Seconds that are left, rounded up.
    fn left(timeouts: &Timeouts) -> Option<u64> {
        let left = timeouts.deadline()?.saturating_duration_since(Instant::now());
        Some(left.as_millis().div_ceil(1000).try_into().unwrap())
    }

    #[test]
    fn each_stage_has_its_time() {
        let timeouts = Timeouts::new(HEAD, IDLE, STALL);
        let first = timeouts.deadline();
        timeouts.received();
        assert_eq!(timeouts.deadline(), first, "of a new connection the first moment counts");
        assert!(left(&timeouts) == Some(10) && timeouts.is_head_late());

        timeouts.head_received();
        timeouts.received();
        assert_eq!(left(&timeouts), None, "an answer may last");
        timeouts.answered();
        assert!(left(&timeouts) == Some(75) && !timeouts.is_head_late());

        timeouts.received();
        assert!(
            left(&timeouts) == Some(10) && timeouts.is_head_late(),
            "then the first byte counts"
        );
        timeouts.head_received();
        timeouts.answered();
        timeouts.shut_down(Duration::from_secs(1));
        assert_eq!(left(&timeouts), Some(1));
        timeouts.received();
        assert_eq!(left(&timeouts), Some(10), "what was begun may be ended");
        timeouts.head_received();
        timeouts.closing();
        timeouts.answered();
        assert_eq!(left(&timeouts), Some(1));

        let timeouts = Timeouts::new(HEAD, IDLE, STALL);
        timeouts.closing();
        timeouts.received();
        assert!(left(&timeouts) == Some(2) && !timeouts.is_over(), "the end is waited for");
    }

    #[test]
    fn an_answer_may_last_as_long_as_it_is_read() {
        let timeouts = Timeouts::new(HEAD, IDLE, STALL);
        timeouts.head_received();
        timeouts.written(true);
        assert_eq!(left(&timeouts), None);
        timeouts.written(false);
        let first = timeouts.deadline();
        timeouts.written(false);
        assert!(
            left(&timeouts) == Some(30) && timeouts.deadline() == first && !timeouts.is_stalled()
        );
        timeouts.written(true);
        assert_eq!(left(&timeouts), None);
        timeouts.written(false);
        timeouts.answered();
        assert_eq!(left(&timeouts), Some(30), "what was handed over has not been read");
    }

    #[tokio::test]
    async fn a_deadline_that_comes_nearer_is_kept() {
        let timeouts = Timeouts::new(Duration::from_millis(1), IDLE, STALL);
        timeouts.head_received();
        timeouts.answered();
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut turns = 0;
        let late = poll_fn(|cx| {
            let late = timeouts.poll_late(timer.as_mut(), cx);
            if turns == 0 {
                timeouts.received();
                cx.waker().wake_by_ref();
            }
            turns += 1;
            late
        });
        tokio::time::timeout(HEAD, late).await.unwrap();
    }
}
