//! The listener: accepts connections and hands each to the router.

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
        body::{Answer, Asked},
        patience::Patience,
    },
};

/// After a failed accept (too many open files, usually) it is tried again this much later.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Whoever goes on asking after 429 waits so long for each answer: it has the next request read later.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// How long one that was refused is read from, so that it can read why.
const REFUSED_LINGER: Duration = Duration::from_secs(1);
/// How long a quiet connection is given for one more request when the node is about to end, as a
/// balancer may have chosen it a moment ago; and the part of the drain time that this is at most.
const LAST_REQUEST: Duration = Duration::from_secs(1);
const LAST_REQUEST_PERCENT: u32 = 5;

/// Accepts connections until `stop`, then waits until the requests in hand are answered. WebSocket
/// connections are not waited for: they are the registry's.
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
            // It may have waited for long.
            let slot = slots.upgrade_slot(slot);
            if slot.is_reserve {
                warn!("limit of open files reached: new connections are refused");
            }
            let peer = Peer { addr, slot };
            connections.spawn(talk(stream, peer, router.clone(), app.clone(), stop.clone()));
            Ok(())
        }
        Err(error) => Err(error),
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            // Room first: what was accepted has a file.
            accepted = async { (slots.take().await, listener.accept().await) } => accepted,
        };
        if let Err(error) = greet(accepted) {
            warn!(%error, "cannot accept a connection");
            sleep(ACCEPT_RETRY).await;
        }
    }
    // The kernel has let some in already, who would be cut off.
    if let Ok(listener) = listener.into_std() {
        while let Some(slot) = slots.take().now_or_never()
            && greet((slot, accept_waiting(&listener))).is_ok()
        {}
    }
    connections.close();
    connections.wait().await;
}

/// Accepts one who waits.
fn accept_waiting(listener: &std::net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, addr) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((TcpStream::from_std(stream)?, addr))
}

/// Who is at the other end of a socket, and the room that it takes.
#[derive(Clone)]
struct Peer {
    addr: SocketAddr,
    slot: Slot,
}

/// Answers the requests of one connection, until it ends or becomes a WebSocket.
async fn talk(stream: TcpStream, peer: Peer, router: Router, app: App, stop: CancellationToken) {
    let Ok(_permit) = app.limits.open_socket(peer.addr.ip()) else {
        app.metrics.turned_away(Limit::Sockets);
        return turn_away(stream, peer, &app).await;
    };
    let settings = &app.settings;
    let patience =
        Patience::new(settings.header_timeout, settings.keepalive_timeout, settings.stall_timeout);
    let patience = Arc::new(patience);
    let mut http = Builder::new();
    http.header_read_timeout(None)
        .half_close(true)
        .max_buf_size(settings.max_header_bytes)
        .keep_alive(!peer.slot.is_reserve);
    let manners = Manners::default();
    let answer = service_fn(|request| {
        patience.asked();
        let (answered, patience) =
            (hand_to(&router, &app, &peer, request, &manners, &patience), patience.clone());
        async { Ok::<_, Infallible>(answered.await.map(|body| Answer { body, patience })) }
    });
    let connection = http.serve_connection(io(stream, patience.clone()), answer);
    let mut connection = pin!(connection.with_upgrades());
    let ended = tokio::select! {
        ended = until_late(connection.as_mut(), &patience) => ended,
        () = patience.is_cut_off() => None,
        () = stop.cancelled() => {
            patience.leave(LAST_REQUEST.min(settings.drain_timeout * LAST_REQUEST_PERCENT / 100));
            tokio::select! {
                ended = until_late(connection.as_mut(), &patience) => ended,
                () = patience.is_cut_off() => None,
            }
        }
    };
    if patience.is_stalled() {
        app.metrics.slow_consumers.inc();
    }
    if let Some(limit) = limit_behind(ended, &patience) {
        app.metrics.turned_away(limit);
    }
}

/// Answers one that is too many. What it sends after its socket was closed would have the answer lost
/// to a reset, so a few are read from for a while.
async fn turn_away(stream: TcpStream, peer: Peer, app: &App) {
    // Where it does not fit into an empty buffer, nobody waits for it.
    let _ = stream.try_write(&envelope::unread(Code::RateLimited.into()));
    if let Some(_permit) = app.limits.linger(peer.addr.ip()) {
        let never = Arc::new(Patience::new(REFUSED_LINGER, REFUSED_LINGER, REFUSED_LINGER));
        // However it ends: all was said.
        let _ = timeout(REFUSED_LINGER, Socket::new(stream, never).shutdown()).await;
    }
}

/// Waits until a connection ends. `None` where it was waited for too long.
async fn until_late<C: Future>(
    mut connection: Pin<&mut C>,
    patience: &Patience,
) -> Option<C::Output> {
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        ready!(patience.poll_late(timer.as_mut(), cx));
        // One that only lingers knows now that it may end, and why it did.
        match connection.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => Poll::Ready(None),
        }
    })
    .await
}

/// The limit that ended a connection, if one did. One that was asked on, and then was quiet, is how
/// browsers leave them.
fn limit_behind(ended: Option<hyper::Result<()>>, patience: &Patience) -> Option<Limit> {
    let Some(ended) = ended else { return patience.is_slow().then_some(Limit::HeaderTime) };
    let error = ended.err()?;
    debug!(%error, "connection ended badly");
    error.is_parse_too_large().then_some(Limit::HeaderSize)
}

fn io(stream: TcpStream, patience: Arc<Patience>) -> TokioIo<Socket> {
    // Without it a small frame waits for the acknowledgement of the one before. Fails only where
    // the peer is gone.
    let _ = stream.set_nodelay(true);
    TokioIo::new(Socket::new(stream, patience))
}

/// How a connection behaves.
#[derive(Default)]
struct Manners {
    /// Whether it has asked anything.
    asked: AtomicBool,
    /// Whether it was told the last time that it asks too much.
    refused: AtomicBool,
}

/// Answers one request. Its answer says that it is the last one on its connection where the request's
/// body was not read, and once the node leaves: nobody is to ask on one that is about to end.
async fn hand_to(
    router: &Router,
    app: &App,
    peer: &Peer,
    request: Request<Incoming>,
    manners: &Manners,
    patience: &Arc<Patience>,
) -> Response<Body> {
    if manners.asked.swap(true, Ordering::Relaxed) {
        // One that asks without end never waits for the socket, so all others come first.
        yield_now().await;
    }
    if manners.refused.load(Ordering::Relaxed) {
        sleep(REFUSED_PAUSE).await;
    }
    let (head, body) = request.into_parts();
    let (body, read) = Asked::new(body);
    let mut request = Request::from_parts(head, Body::new(body));
    request.extensions_mut().insert(ConnectInfo(peer.addr));
    request.extensions_mut().insert(peer.slot.clone());
    request.extensions_mut().insert(patience.clone());
    let Ok(mut response) = router.clone().oneshot(request).await;
    manners.refused.store(response.status() == StatusCode::TOO_MANY_REQUESTS, Ordering::Relaxed);
    let is_reserve = app.drain.is_cancelled() || !read.load(Ordering::Relaxed);
    if is_reserve && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().append(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
