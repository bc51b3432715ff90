//! Timeouts of a connection: for the head of a request, between two requests, while nothing of what was said
//! is read, and while it closes.

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

/// How long a connection that was told to end is still read from, while nothing comes and in all.
const LINGER_QUIET: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(10);

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestStage {
    /// Nothing of a request has come.
    Quiet,
    /// A request's head comes.
    Asking,
    /// The request has its head; its body comes, its answer is made and written.
    Answering,
    /// We said all.
    Closing,
}

struct State {
    stage: RequestStage,
    /// When the stage has lasted too long; `Answering` may last, as long as what is written is read.
    until: Instant,
    /// When `Closing` ends, whatever comes.
    end: Option<Instant>,
    /// Whether a request has come.
    asked: bool,
    /// When a quiet connection ends because the node does.
    leave: Option<Instant>,
    /// When the connection ends where nothing more is read of what waits for it.
    stalls: Option<Instant>,
    /// Whether that is somebody else's to look after, for the answer under way.
    is_entrusted: bool,
}

/// What a connection is waited for, and until when.
pub struct Patience {
    head: Duration,
    quiet: Duration,
    stall: Duration,
    state: Mutex<State>,
    cut_off: Notify,
}

impl Patience {
    /// Of a connection that was just accepted, whose first request counts from now on. `head`: for a
    /// request's head, from its first byte on. `quiet`: between two requests. `stall`: while nothing is read of
    /// what waits for it.
    pub fn new(head: Duration, quiet: Duration, stall: Duration) -> Self {
        let until = Instant::now() + head;
        let state = State {
            stage: RequestStage::Quiet,
            until,
            end: None,
            asked: false,
            leave: None,
            stalls: None,
            is_entrusted: false,
        };
        Self { head, quiet, stall, state: Mutex::new(state), cut_off: Notify::new() }
    }

    /// Bytes have come.
    pub fn received(&self) {
        let mut state = self.state.lock();
        match state.stage {
            RequestStage::Quiet => {
                state.stage = RequestStage::Asking;
                if state.asked {
                    state.until = Instant::now() + self.head;
                }
            }
            RequestStage::Closing => state.until = Instant::now() + LINGER_QUIET,
            RequestStage::Asking | RequestStage::Answering => {}
        }
    }

    /// A request's head has come.
    pub fn asked(&self) {
        let mut state = self.state.lock();
        (state.stage, state.asked) = (RequestStage::Answering, true);
    }

    /// An answer was handed over to be written.
    pub fn answered(&self) {
        let mut state = self.state.lock();
        state.is_entrusted = false;
        if state.stage == RequestStage::Answering {
            (state.stage, state.until) = (RequestStage::Quiet, Instant::now() + self.quiet);
        }
    }

    /// The socket was given something to write, and took some of it or nothing.
    pub fn written(&self, took_some: bool) {
        let mut state = self.state.lock();
        if took_some || state.is_entrusted {
            state.stalls = None;
        } else {
            state.stalls.get_or_insert_with(|| Instant::now() + self.stall);
        }
    }

    /// Whoever makes the answer under way sees to it that it is read.
    pub fn entrust(&self) {
        self.state.lock().is_entrusted = true;
    }

    /// Nothing more will be said.
    pub fn closing(&self) {
        let mut state = self.state.lock();
        let now = Instant::now();
        (state.stage, state.until) = (RequestStage::Closing, now + LINGER_QUIET);
        state.end = Some(now + LINGER);
    }

    /// The node leaves: whoever is quiet may ask once more for so long.
    pub fn leave(&self, grace: Duration) {
        self.state.lock().leave = Some(Instant::now() + grace);
    }

    /// Ends the connection as it is: whoever should take an answer does not.
    pub fn cut_off(&self) {
        self.cut_off.notify_one();
    }

    /// Waits until the connection is to be ended as it is.
    pub async fn is_cut_off(&self) {
        self.cut_off.notified().await;
    }

    /// Whether the time ran out in which a request should have come.
    pub fn is_slow(&self) -> bool {
        let state = self.state.lock();
        !state.asked || state.stage == RequestStage::Asking
    }

    /// Whether nothing was read for too long of what waits.
    pub fn is_stalled(&self) -> bool {
        self.state.lock().stalls.is_some_and(|until| until <= Instant::now())
    }

    fn deadline(&self) -> Option<Instant> {
        let state = self.state.lock();
        let of_stage = match state.stage {
            RequestStage::Answering => None,
            RequestStage::Asking => Some(state.until),
            RequestStage::Quiet | RequestStage::Closing => {
                [Some(state.until), state.leave, state.end].into_iter().flatten().min()
            }
        };
        of_stage.into_iter().chain(state.stalls).min()
    }

    /// Ready when it has waited for too long. To be asked after the connection had its turn, so that
    /// nothing that has come is overlooked.
    pub fn poll_late(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(deadline) = self.deadline() {
            // One that is set too early is set anew when it fires, not with every request.
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

    /// Whether it has waited for too long.
    pub fn is_over(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const QUIET: Duration = Duration::from_secs(75);
    const STALL: Duration = Duration::from_secs(30);

    /// Seconds that are left, to the next one.
    fn left(patience: &Patience) -> Option<u64> {
        let left = patience.deadline()?.saturating_duration_since(Instant::now());
        Some(left.as_millis().div_ceil(1000).try_into().unwrap())
    }

    #[test]
    fn each_stage_has_its_time() {
        let patience = Patience::new(HEAD, QUIET, STALL);
        let first = patience.deadline();
        patience.received();
        assert_eq!(patience.deadline(), first, "of a new connection the first moment counts");
        assert!(left(&patience) == Some(10) && patience.is_slow());

        patience.asked();
        patience.received();
        assert_eq!(left(&patience), None, "an answer may last");
        patience.answered();
        assert!(left(&patience) == Some(75) && !patience.is_slow());

        patience.received();
        assert!(left(&patience) == Some(10) && patience.is_slow(), "then the first byte counts");
        patience.asked();
        patience.answered();
        patience.leave(Duration::from_secs(1));
        assert_eq!(left(&patience), Some(1));
        patience.received();
        assert_eq!(left(&patience), Some(10), "what was begun may be ended");
        patience.asked();
        patience.closing();
        patience.answered();
        assert_eq!(left(&patience), Some(1));

        let patience = Patience::new(HEAD, QUIET, STALL);
        patience.closing();
        patience.received();
        assert!(left(&patience) == Some(2) && !patience.is_over(), "the end is waited for");
    }

    #[test]
    fn an_answer_may_last_as_long_as_it_is_read() {
        let patience = Patience::new(HEAD, QUIET, STALL);
        patience.asked();
        patience.written(true);
        assert_eq!(left(&patience), None);
        patience.written(false);
        let first = patience.deadline();
        patience.written(false);
        assert!(
            left(&patience) == Some(30) && patience.deadline() == first && !patience.is_stalled()
        );
        patience.written(true);
        assert_eq!(left(&patience), None);
        patience.written(false);
        patience.answered();
        assert_eq!(left(&patience), Some(30), "what was handed over has not been read");
    }

    #[tokio::test]
    async fn a_deadline_that_comes_nearer_is_kept() {
        let patience = Patience::new(Duration::from_millis(1), QUIET, STALL);
        patience.asked();
        patience.answered();
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut turns = 0;
        let late = poll_fn(|cx| {
            let late = patience.poll_late(timer.as_mut(), cx);
            if turns == 0 {
                patience.received();
                cx.waker().wake_by_ref();
            }
            turns += 1;
            late
        });
        tokio::time::timeout(HEAD, late).await.unwrap();
    }
}
