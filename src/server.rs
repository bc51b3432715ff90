//! The listener: accepts connections and hands each to the router.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::{app::App, limits::Limit};

/// After a failed accept (too many open files, usually) it is tried again this much later.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Accepts connections until `stop`, then waits until the requests in hand are answered. WebSocket
/// connections are not waited for: they are the registry's.
pub async fn serve(listener: TcpListener, router: Router, app: App, stop: CancellationToken) {
    let mut http = Builder::new(TokioExecutor::new()).http1_only();
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(app.settings.header_timeout)
        .max_buf_size(app.settings.max_header_bytes);
    let requests = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = http.serve_connection_with_upgrades(
                    io(stream),
                    service_fn(hand_to(router.clone(), peer)),
                );
                let connection = requests.watch(connection.into_owned());
                let metrics = app.metrics.clone();
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        debug!(%error, "connection ended badly");
                        if let Some(limit) = limit_behind(&*error) {
                            metrics.turned_away(limit);
                        }
                    }
                });
            }
            Err(error) => {
                warn!(%error, "not accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    requests.shutdown().await;
}

/// The limit that ended a connection, if one did.
fn limit_behind(error: &(dyn std::error::Error + 'static)) -> Option<Limit> {
    let error = error.downcast_ref::<hyper::Error>()?;
    match () {
        () if error.is_timeout() => Some(Limit::HeaderTime),
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

fn hand_to(
    router: Router,
    peer: SocketAddr,
) -> impl Fn(
    Request<Incoming>,
) -> futures_util::future::BoxFuture<'static, Result<axum::response::Response, Infallible>> {
    move |request| {
        let router = router.clone();
        Box::pin(async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.oneshot(request).await
        })
    }
}
