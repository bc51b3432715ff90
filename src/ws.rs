//! The upgrade to a WebSocket, and the checks before it.

mod client;
mod connection;
mod handshake;
mod pace;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use hyper::upgrade::OnUpgrade;
use tracing::Instrument;

use crate::{
    address::ClientIp,
    app::App,
    error::{Code, Error},
    i18n::Language,
    limits::Limit,
    origin,
    problem::Problem,
    settings::Settings,
    slots::Slot,
    socket,
};
use connection::Connection;

/// `GET /ws`: upgrades the request to a connection.
///
/// # Errors
/// Those of `handshake::accept`; `NOT_FOUND` for a page of an origin that is not allowed;
/// `SERVICE_UNAVAILABLE` while the node shuts down or has no file descriptors left; `RATE_LIMITED`
/// if the address has its maximum of connections.
pub async fn upgrade(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let accept = handshake::accept(&request)?;
    let (mut parts, _) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or(Error::new(Code::UpgradeRequired))?;
    if app.drain.is_cancelled() {
        return Err(Error::unavailable("the node leaves"));
    }
    let slot = parts.extensions.remove::<Slot>();
    if slot.as_ref().is_some_and(|slot| slot.is_reserve) {
        app.metrics.turned_away(Limit::Files);
        return Err(Error::unavailable("no more files may be open"));
    }
    let Settings { public_url, allowed_origins, .. } = &*app.settings;
    if !origin::is_allowed(&parts.headers, public_url.as_ref(), allowed_origins) {
        app.metrics.turned_away(Limit::Origin);
        let problems = [("origin".into(), Problem::ForeignOrigin)].into();
        return Err(Error { problems, ..Error::new(Code::NotFound) });
    }
    let ClientIp(ip) = ClientIp::of(&app, &parts.extensions, &parts.headers);
    let full = |_: &Error| app.metrics.turned_away(Limit::Connections);
    let permit = app.limits.open_connection(ip).inspect_err(full)?;
    let language = accept_language(&parts.headers);
    app.tasks.clone().spawn(async move {
        let _until_the_end = (permit, slot);
        // It fails if the client disconnected before it was answered.
        let Some((socket, early)) = upgrade.await.ok().and_then(socket::bare) else { return };
        serve(Connection::open(&app, language, ip, socket), early).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

fn serve(connection: Connection, early: Vec<u8>) -> impl Future<Output = ()> {
    // At the highest level, so that log lines of every level name the connection.
    let span = tracing::error_span!("connection", connection = connection.id());
    connection.run(early).instrument(span)
}

fn accept_language(headers: &HeaderMap) -> Language {
    let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Language::from_accept(wanted.unwrap_or_default())
}
