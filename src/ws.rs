//! The WebSocket side: the upgrade, and what stands in front of it.

pub mod close;
mod connection;
pub mod handle;
pub mod protocol;
pub mod registry;

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State, WebSocketUpgrade},
    http::{HeaderMap, header, request::Parts},
    response::Response,
};

use crate::{
    app::App,
    error::{Code, Error},
    i18n::Language,
};
use connection::Connection;

/// Bytes that a connection's read buffer begins with: most frames fit, and there are many
/// connections.
const READ_BUFFER: usize = 1024;
/// Bytes after which what was queued is written without waiting for more.
const WRITE_BUFFER: usize = 16 * 1024;

/// `GET /ws`: turns the request into a connection.
///
/// # Errors
/// `UPGRADE_REQUIRED` for a plain request, `NOT_FOUND` for a page of a foreign origin,
/// `SERVICE_UNAVAILABLE` while the node leaves, `RATE_LIMITED` where the address has enough.
pub async fn upgrade(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &app)
        .await
        .map_err(|_| Error::new(Code::UpgradeRequired))?;
    if app.drain.is_cancelled() {
        return Err(Error::unavailable("the node leaves"));
    }
    if !is_welcome(&app, &parts.headers) {
        return Err(Error::new(Code::NotFound));
    }
    let permit = app.limits.open_connection(address(&parts))?;
    let language = accept_language(&parts.headers);
    let max = app.settings.max_body_bytes;
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_frame_size(max)
        .max_message_size(max);
    Ok(upgrade.on_upgrade(move |socket| {
        let connection = Connection::open(&app, language);
        app.tasks.clone().track_future(async move {
            connection.run(socket).await;
            drop(permit);
        })
    }))
}

/// Whether the page that connects may. Programs send no origin; a page's own host is always
/// welcome.
fn is_welcome(app: &App, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return true };
    let host = origin.split_once("://").map(|(_, host)| host);
    let settings = &app.settings;
    host == text(header::HOST)
        || settings.public_url.as_deref().is_some_and(|url| url.starts_with(origin))
        || settings.allowed_origins.iter().any(|allowed| allowed == "*" || allowed == origin)
}

fn accept_language(headers: &HeaderMap) -> Language {
    let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Language::from_accept(wanted.unwrap_or_default())
}

fn address(parts: &Parts) -> std::net::IpAddr {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(address)| address.ip())
}
