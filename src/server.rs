//! The listener: accepts connections and hands each to the router.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use hyper::{
    Request, StatusCode, body::Incoming, server::conn::http1::Builder, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::yield_now,
    time::sleep,
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
};

/// After a failed accept (too many open files, usually) it is tried again this much later.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Whoever goes on asking after 429 waits so long for each answer: it has the next request read later.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

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
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            // Room first: what was accepted has a file.
            accepted = async { (slots.take().await, listener.accept().await) } => accepted,
        };
        match accepted {
            (slot, Ok((stream, peer))) => {
                // It may have waited for long.
                let slot = slots.better(slot);
                if slot.is_last {
                    warn!("no more files may be open: clients get an answer, and no connection");
                }
                let peer = Peer { addr: peer, slot };
                connections.spawn(talk(stream, peer, router.clone(), app.clone(), stop.clone()));
            }
            (_, Err(error)) => {
                warn!(%error, "not accepted");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
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
        // Where it does not fit into an empty buffer, nobody waits for it.
        let _ = stream.try_write(&envelope::unread(Code::RateLimited.into()));
        return;
    };
    let mut http = Builder::new();
    http.timer(TokioTimer::new())
        // Counts from the first moment, so that silence is no way to hold a socket.
        .header_read_timeout(app.settings.header_timeout)
        .max_buf_size(app.settings.max_header_bytes)
        .keep_alive(!peer.slot.is_last);
    let manners = Manners::default();
    let answer = service_fn(|request| hand_to(router.clone(), peer.clone(), request, &manners));
    let connection = http.serve_connection(io(stream), answer);
    let mut connection = pin!(connection.with_upgrades());
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended badly");
        if let Some(limit) = limit_behind(&error, manners.asked.load(Ordering::Relaxed)) {
            app.metrics.turned_away(limit);
        }
    }
}

/// The limit that ended a connection, if one did. One that was asked on, and then was quiet, is how
/// browsers leave them.
fn limit_behind(error: &hyper::Error, asked: bool) -> Option<Limit> {
    match () {
        () if error.is_timeout() => (!asked).then_some(Limit::HeaderTime),
        () if error.is_parse_too_large() => Some(Limit::HeaderSize),
        () => None,
    }
}

fn io(stream: TcpStream) -> TokioIo<TcpStream> {
    // Without it a small frame waits for the acknowledgement of the one before. Fails only where
    // the peer is gone.
    let _ = stream.set_nodelay(true);
    TokioIo::new(stream)
}

/// How a connection behaves.
#[derive(Default)]
struct Manners {
    /// Whether it has asked anything.
    asked: AtomicBool,
    /// Whether it was told the last time that it asks too much.
    refused: AtomicBool,
}

async fn hand_to(
    router: Router,
    peer: Peer,
    request: Request<Incoming>,
    manners: &Manners,
) -> Result<Response, Infallible> {
    if manners.asked.swap(true, Ordering::Relaxed) {
        // One that asks without end never waits for the socket, so all others come first.
        yield_now().await;
    }
    if manners.refused.load(Ordering::Relaxed) {
        sleep(REFUSED_PAUSE).await;
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer.addr));
    request.extensions_mut().insert(peer.slot);
    let response = router.oneshot(request).await;
    let refused =
        response.as_ref().is_ok_and(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS);
    manners.refused.store(refused, Ordering::Relaxed);
    response
}
