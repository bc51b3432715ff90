//! The WebSocket side: the upgrade, and what stands in front of it.

mod client;
mod connection;
mod pace;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request::Parts,
    },
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hyper::upgrade::OnUpgrade;
use sha1::{Digest, Sha1};
use tracing::Instrument;

use crate::{
    address::ClientAddress,
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

/// What a server shows that it has read the client's key with (RFC 6455, section 1.3).
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `GET /ws`: turns the request into a connection.
///
/// # Errors
/// `UPGRADE_REQUIRED` for a plain request, `NOT_FOUND` for a page of a foreign origin,
/// `SERVICE_UNAVAILABLE` while the node leaves or has no files left, `RATE_LIMITED` where the address has enough.
pub async fn upgrade(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let (mut parts, _) = request.into_parts();
    let accept = accept_key(&parts).ok_or(Error::new(Code::UpgradeRequired))?;
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or(Error::new(Code::UpgradeRequired))?;
    if app.drain.is_cancelled() {
        return Err(Error::unavailable("the node leaves"));
    }
    let slot = parts.extensions.remove::<Slot>();
    if slot.as_ref().is_some_and(|slot| slot.is_last) {
        app.metrics.turned_away(Limit::Files);
        return Err(Error::unavailable("no more files may be open"));
    }
    let Settings { public_url, allowed_origins, .. } = &*app.settings;
    if !origin::is_welcome(&parts.headers, public_url.as_ref(), allowed_origins) {
        app.metrics.turned_away(Limit::Origin);
        let problems = [("origin".into(), Problem::ForeignOrigin)].into();
        return Err(Error { problems, ..Error::new(Code::NotFound) });
    }
    let ClientAddress(ip) = ClientAddress::of(&app, &parts.extensions, &parts.headers);
    let full = |_: &Error| app.metrics.turned_away(Limit::Connections);
    let permit = app.limits.open_connection(ip).inspect_err(full)?;
    let language = accept_language(&parts.headers);
    app.tasks.clone().spawn(async move {
        // Where it fails, the client went away before it was answered.
        if let Some((socket, early)) = upgrade.await.ok().and_then(socket::bare) {
            let connection = Connection::open(&app, language, ip, socket);
            drop(app);
            // At the highest level, as any line that is written may be about a connection.
            let span = tracing::error_span!("connection", connection = connection.id());
            connection.run(early).instrument(span).await;
        }
        drop((permit, slot));
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// What to accept the upgrade with; `None` where the request asks for none, or for another version.
fn accept_key(parts: &Parts) -> Option<HeaderValue> {
    let asks = |name: HeaderName, wanted: &str| {
        let values = parts.headers.get_all(name);
        let mut words =
            values.iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    let is_upgrade = parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && asks(header::CONNECTION, "upgrade")
        && asks(header::UPGRADE, "websocket")
        && asks(header::SEC_WEBSOCKET_VERSION, "13");
    let key = parts.headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_upgrade)?;
    let digest = Sha1::new().chain_update(key.as_bytes()).chain_update(ACCEPT_SUFFIX).finalize();
    HeaderValue::try_from(BASE64.encode(digest)).ok()
}

fn accept_language(headers: &HeaderMap) -> Language {
    let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Language::from_accept(wanted.unwrap_or_default())
}
