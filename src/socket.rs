//! A socket that reports activity to the connection's timeouts, and closes so that the client can
//! still read the last answer.

pub mod body;
pub mod linger;
pub mod timeouts;

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

use linger::Linger;
use timeouts::Timeouts;

/// Bytes that are discarded in one read.
const CHUNK: usize = 8192;

/// One end of a TCP connection.
pub struct Socket {
    stream: TcpStream,
    timeouts: Arc<Timeouts>,
    /// The pace at which input is discarded; `None` before our half is shut down. Boxed, because a
    /// connection needs it only at its end.
    linger: Option<Box<Linger>>,
}

impl Socket {
    /// Activity on this socket is reported to `timeouts`.
    pub fn new(stream: TcpStream, timeouts: Arc<Timeouts>) -> Self {
        Self { stream, timeouts, linger: None }
    }
}

/// The plain socket of an upgraded connection, and the bytes that were read after the request.
pub fn bare(upgraded: Upgraded) -> Option<(TcpStream, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<Socket>>().ok()?;
    // Copied, because hyper's large buffer would live as long as these bytes.
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
            self.timeouts.received();
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
        self.timeouts.written(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.timeouts.written(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Shuts down our half, and then waits for the client's. `timeouts` limits the wait.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, timeouts, linger } = &mut *self;
        if linger.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            timeouts.closing();
        }
        let linger = linger.get_or_insert_with(|| Box::new(Linger::new()));
        let mut space = [0; CHUNK];
        while !timeouts.is_over() {
            ready!(linger.poll_ready(cx));
            let mut chunk = ReadBuf::new(&mut space);
            let received = ready!(Pin::new(&mut *stream).poll_read(cx, &mut chunk));
            timeouts.received();
            let read = chunk.filled().len();
            linger.discarded(read);
            // An error does not matter here: everything was sent.
            if received.is_err() || read == 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
