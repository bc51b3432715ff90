//! A socket that reports activity, and closes so that the client can still read the last answer.

pub mod body;
pub mod patience;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use patience::Patience;

/// Bytes that are still read, and thrown away, once all has been said. A socket that is closed while
/// bytes arrive is reset, and with it goes an answer that its client has not read yet.
const LINGER_BYTES: usize = 64 << 20;
/// Bytes that are thrown away at once.
const CHUNK: usize = 8192;

/// One end of a TCP connection.
pub struct Socket {
    stream: TcpStream,
    patience: Arc<Patience>,
    /// Bytes that are still thrown away; `None` before the end.
    lingering: Option<usize>,
}

impl Socket {
    /// What this socket hears counts for `patience`.
    pub fn new(stream: TcpStream, patience: Arc<Patience>) -> Self {
        Self { stream, patience, lingering: None }
    }
}

/// The bare socket of a connection that speaks another protocol now, and what was read of it beyond
/// the request.
pub fn bare(upgraded: Upgraded) -> Option<(TcpStream, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<Socket>>().ok()?;
    // Copied, as hyper's buffer is large and would live as long as what is in it.
    Some((parts.io.into_inner().stream, parts.read_buf.to_vec()))
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        if into.filled().len() > before {
            self.patience.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.patience.written(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.patience.written(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends our half, and then waits for the other one. How long that may take, `patience` knows.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.patience.closing();
            self.lingering = Some(LINGER_BYTES);
        }
        let mut space = [0; CHUNK];
        while !self.patience.is_over() {
            let mut chunk = ReadBuf::new(&mut space);
            let received = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk));
            self.patience.received();
            let read = chunk.filled().len();
            self.lingering = self.lingering.and_then(|left| left.checked_sub(read));
            // However it ended: all was said.
            if received.is_err() || read == 0 || self.lingering.is_none() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
