//! The listener: accepts connections and passes their requests to the router.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderValue, StatusCode, header},
};
use futures_util::FutureExt;
use hyper::{Request, Response, body::Incoming, server::conn::http1::Builder, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::yield_now,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::{
    app::App,
    error::Code,
    http::envelope,
    limits::Limit,
    slots::{Slot, Slots},
    socket::{
        Socket,
        body::{AnswerBody, TrackedBody},
        timeouts::Timeouts,
    },
};

/// Connections that are accepted in a row, before everything that is ready runs. A herd that comes back is
/// thousands of them, and a message of those who stayed would wait for each at every step of its way.
const ACCEPTED_AT_ONCE: usize = 4;
/// Wait after a failed accept (usually because of too many open files).
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Delay of each answer on a connection that continues to send requests after 429: its next request
/// is read later.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// How long a refused connection is read, so that the client can read the error.
const REFUSED_LINGER: Duration = Duration::from_secs(1);
/// How long an idle connection may send one more request at the end of a shutdown, because a
/// balancer may have just chosen it; and its maximum share of the drain time, in percent.
const LAST_REQUEST: Duration = Duration::from_secs(1);
const LAST_REQUEST_PERCENT: u32 = 5;

/// Accepts connections until `stop`, then waits until the current requests are answered. It does
/// not wait for WebSocket connections: the registry closes these.
pub async fn serve(
    listener: TcpListener,
    slots: Slots,
    router: Router,
    app: App,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let greet = |(slot, accepted)| match accepted {
        Ok((stream, addr)) => {
            // A client's slot may have become free meanwhile.
            let slot = slots.upgrade_slot(slot);
            if slot.is_reserve {
                warn!("limit of open files reached: new connections are refused");
            }
            let peer = Peer { addr, slot };
            connections.spawn(serve_connection(
                stream,
                peer,
                router.clone(),
                app.clone(),
                stop.clone(),
            ));
            Ok(())
        }
        Err(error) => Err(error),
    };
    for number in 1.. {
        if number % ACCEPTED_AT_ONCE == 0 {
            yield_now().await;
        }
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            // The slot first: an accepted connection already uses a file.
            accepted = async { (slots.take().await, listener.accept().await) } => accepted,
        };
        if let Err(error) = greet(accepted) {
            warn!(%error, "cannot accept a connection");
            sleep(ACCEPT_RETRY).await;
        }
    }
    // The kernel has already accepted some connections, which would be reset.
    if let Ok(listener) = listener.into_std() {
        while let Some(slot) = slots.take().now_or_never()
            && greet((slot, accept_waiting(&listener))).is_ok()
        {}
    }
    connections.close();
    connections.wait().await;
}

/// Accepts a connection that waits in the listener's queue.
fn accept_waiting(listener: &std::net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, addr) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((TcpStream::from_std(stream)?, addr))
}

/// The peer of a socket, and the socket's slot.
#[derive(Clone)]
struct Peer {
    addr: SocketAddr,
    slot: Slot,
}

/// Answers the requests of one connection, until it ends or is upgraded to a WebSocket.
async fn serve_connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    app: App,
    stop: CancellationToken,
) {
    let Ok(_permit) = app.limits.open_socket(peer.addr.ip()) else {
        app.metrics.turned_away(Limit::Sockets);
        return refuse(stream, peer, &app).await;
    };
    let settings = &app.settings;
    let timeouts =
        Timeouts::new(settings.header_timeout, settings.keepalive_timeout, settings.stall_timeout);
    let timeouts = Arc::new(timeouts);
    let mut http = Builder::new();
    http.header_read_timeout(None)
        .half_close(true)
        .max_buf_size(settings.max_header_bytes)
        .keep_alive(!peer.slot.is_reserve);
    let history = RequestHistory::default();
    let answer = service_fn(|request| {
        timeouts.head_received();
        let (answered, timeouts) =
            (answer_request(&router, &app, &peer, request, &history, &timeouts), timeouts.clone());
        async { Ok::<_, Infallible>(answered.await.map(|body| AnswerBody { body, timeouts })) }
    });
    let connection = http.serve_connection(io(stream, timeouts.clone()), answer);
    let mut connection = pin!(connection.with_upgrades());
    let ended = tokio::select! {
        ended = until_late(connection.as_mut(), &timeouts) => ended,
        () = timeouts.is_cut_off() => None,
        () = stop.cancelled() => {
            timeouts.shut_down(LAST_REQUEST.min(settings.drain_timeout * LAST_REQUEST_PERCENT / 100));
            tokio::select! {
                ended = until_late(connection.as_mut(), &timeouts) => ended,
                () = timeouts.is_cut_off() => None,
            }
        }
    };
    if timeouts.is_stalled() {
        app.metrics.slow_consumers.inc();
    }
    if let Some(limit) = limit_behind(ended, &timeouts) {
        app.metrics.turned_away(limit);
    }
}

/// Answers a connection over the limit. Input after the socket is closed would reset it, and the
/// client would lose the answer, so a few of them are read for a while.
async fn refuse(stream: TcpStream, peer: Peer, app: &App) {
    // If it does not fit into an empty buffer, it is dropped.
    let _ = stream.try_write(&envelope::unread(Code::RateLimited.into()));
    if let Some(_permit) = app.limits.linger(peer.addr.ip()) {
        let never = Arc::new(Timeouts::new(REFUSED_LINGER, REFUSED_LINGER, REFUSED_LINGER));
        // The result does not matter: everything was sent.
        let _ = timeout(REFUSED_LINGER, Socket::new(stream, never).shutdown()).await;
    }
}

/// Waits until a connection ends. `None` after a timeout.
async fn until_late<C: Future>(
    mut connection: Pin<&mut C>,
    timeouts: &Timeouts,
) -> Option<C::Output> {
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        ready!(timeouts.poll_late(timer.as_mut(), cx));
        // A closing connection ends now by itself, with its own result.
        match connection.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => Poll::Ready(None),
        }
    })
    .await
}

/// The limit that ended a connection, if one did. An idle connection after a request is not
/// counted, because browsers leave them open.
fn limit_behind(ended: Option<hyper::Result<()>>, timeouts: &Timeouts) -> Option<Limit> {
    let Some(ended) = ended else { return timeouts.is_head_late().then_some(Limit::HeaderTime) };
    let error = ended.err()?;
    debug!(%error, "connection ended badly");
    error.is_parse_too_large().then_some(Limit::HeaderSize)
}

fn io(stream: TcpStream, timeouts: Arc<Timeouts>) -> TokioIo<Socket> {
    // Otherwise a small frame waits for the TCP acknowledgement of the one before. Fails only if
    // the peer has disconnected.
    let _ = stream.set_nodelay(true);
    TokioIo::new(Socket::new(stream, timeouts))
}

/// Earlier requests of a connection.
#[derive(Default)]
struct RequestHistory {
    /// Whether there was a request.
    has_request: AtomicBool,
    /// Whether the last request got 429.
    refused: AtomicBool,
}

/// Answers one request. The answer announces that it is the last one on its connection if the
/// request's body was not read, or if the node shuts down: no request should be sent on a
/// connection that is about to end.
async fn answer_request(
    router: &Router,
    app: &App,
    peer: &Peer,
    request: Request<Incoming>,
    history: &RequestHistory,
    timeouts: &Arc<Timeouts>,
) -> Response<Body> {
    if history.has_request.swap(true, Ordering::Relaxed) {
        // A connection with many pending requests never waits for the socket, so it yields to all
        // others first.
        yield_now().await;
    }
    if history.refused.load(Ordering::Relaxed) {
        sleep(REFUSED_PAUSE).await;
    }
    let (head, body) = request.into_parts();
    let (body, read) = TrackedBody::new(body);
    let mut request = Request::from_parts(head, Body::new(body));
    request.extensions_mut().insert(ConnectInfo(peer.addr));
    request.extensions_mut().insert(peer.slot.clone());
    request.extensions_mut().insert(timeouts.clone());
    let Ok(mut response) = router.clone().oneshot(request).await;
    history.refused.store(response.status() == StatusCode::TOO_MANY_REQUESTS, Ordering::Relaxed);
    let is_last = app.drain.is_cancelled() || !read.load(Ordering::Relaxed);
    if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().append(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
