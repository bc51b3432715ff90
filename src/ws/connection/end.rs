//! The end of a connection: finishes the client's requests, then closes the socket so that the
//! client can read everything that was written.

use std::{future::poll_fn, ops::ControlFlow, time::Duration};

use tokio::{task::yield_now, time::timeout};
use tracing::info;

use super::{Connection, READ_SIZE, finished};
use crate::{
    protocol::{
        close::CloseReason,
        codec::{self, Incoming},
    },
    socket::linger::Linger,
    ws::client::Operation,
};

/// How long the client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of frames among which the client's close frame is looked for. Behind more, only the
/// end of the input counts.
const FRAMES_BEFORE_CLOSE: usize = 1024;
/// How long a slow client may take to read the rest of the frame that is being written.
const LAST_FRAME_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the requests that a client sent before the end may take.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);
/// The same when the node shuts down: the client sends unanswered requests again to another node.
const SHUTDOWN_FINISH_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of reads when the node shuts down.
const SHUTDOWN_READS: usize = 64;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client has disconnected, or has shut down its half.
    Gone,
    /// The client sent a close frame, with this code if it has one.
    Closes(Option<u16>),
    /// The node closes the connection.
    Close(CloseReason),
}

impl Connection {
    /// Finishes the requests that the client sent before the end, in order, and writes the answers
    /// as far as the socket accepts them. An operation that is still running at the timeout stays in
    /// `operation`.
    pub(super) async fn finish(&mut self, operation: &mut Option<Operation>, end: End) {
        let patience = match end {
            // The client does not read answers; it sends unacknowledged messages again.
            End::Close(CloseReason::TooSlow) => return,
            End::Close(CloseReason::Leaving) => SHUTDOWN_FINISH_TIMEOUT,
            _ => FINISH_TIMEOUT,
        };
        let client = self.reader.client.clone();
        let all_answered = async {
            if end == End::Close(CloseReason::Leaving) {
                self.read_last_frames().await;
            }
            loop {
                if operation.is_none() {
                    *operation = self.reader.begin_next();
                }
                if operation.is_none() {
                    break;
                }
                finished(operation).await;
                *operation = None;
            }
            client.own_messages_delivered().await;
            client.outbox.flushed().await;
        };
        let finished = async {
            tokio::select! {
                () = all_answered => {}
                () = client.outbox.keep_writing() => {}
            }
        };
        let _ = timeout(patience, finished).await;
    }

    /// Reads the frames that the client has sent so far. Later ones are not read, otherwise a client
    /// that keeps sending would keep the connection open.
    async fn read_last_frames(&mut self) {
        for _ in 0..SHUTDOWN_READS {
            let has_room = self.reader.has_room() && self.held.is_none();
            // An `End` is ignored: how the connection ends is already decided.
            if !has_room || !matches!(self.turn(), Ok(true)) {
                return;
            }
            yield_now().await;
        }
    }

    /// Sends a close frame and waits for the client's, so that it arrives before the socket closes.
    pub(super) async fn close(&mut self, end: End) {
        let (settings, metrics) = {
            let app = &self.reader.client.app;
            (app.settings.clone(), app.metrics.clone())
        };
        if end == End::Close(CloseReason::TooSlow) {
            self.cut_off(settings.slow_close_timeout).await;
        }
        let (frame, patience, answered) = match end {
            End::Gone => return,
            End::Closes(code) => (codec::close(code, ""), CLOSE_TIMEOUT, true),
            End::Close(reason) => {
                let (code, text) = reason.code();
                metrics.closed(code);
                let patience = match reason {
                    CloseReason::TooSlow => settings.slow_close_timeout,
                    _ => CLOSE_TIMEOUT,
                };
                (codec::close(Some(code), text), patience, false)
            }
        };
        let goodbye = async {
            self.reader.client.outbox.push_last(frame);
            self.reader.client.outbox.flushed().await;
            if !answered {
                self.until_closed().await;
            }
        };
        // The socket of a client that does not answer is dropped.
        let _ = timeout(patience, goodbye).await;
    }

    /// Finishes the frame that is being written, however slowly the client reads: otherwise a client
    /// that reads slowly but steadily would get the same frame again after each reconnect.
    async fn cut_off(&self, patience: Duration) {
        info!("cut off: it reads too slowly");
        self.reader.client.app.metrics.slow_consumers.inc();
        self.reader.client.outbox.flushed_bit_by_bit(patience, LAST_FRAME_TIMEOUT).await;
    }

    /// Reads until the client sends a close frame or disconnects.
    async fn until_closed(&mut self) {
        let (mut space, mut length) = ([0; READ_SIZE], 0);
        let (mut linger, mut frames) = (Linger::new(), 0);
        loop {
            let mut closed = false;
            if frames < FRAMES_BEFORE_CLOSE {
                // After an invalid frame nothing more is decoded; only the end of the input counts.
                let _ = self.decoder.take(&mut space[..length], |incoming| {
                    frames += 1;
                    closed |= matches!(incoming, Incoming::Close(_));
                    match frames < FRAMES_BEFORE_CLOSE {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                });
            }
            if closed {
                return;
            }
            poll_fn(|cx| linger.poll_ready(cx)).await;
            length = match self.read(&mut space) {
                Err(_) => return,
                Ok(length) => length,
            };
            linger.discarded(length);
            if length == space.len() {
                yield_now().await;
            } else if length == 0 && self.socket.readable().await.is_err() {
                return;
            }
        }
    }
}
