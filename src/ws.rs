//! The WebSocket side: the upgrade, and what stands in front of it.

pub mod close;
mod connection;
pub mod handle;
pub mod protocol;
pub mod registry;

use axum::{
    extract::{FromRequestParts, Request, State, WebSocketUpgrade},
    http::{HeaderMap, header},
    response::Response,
};

use crate::{
    app::App,
    error::{Code, Error},
    http::client::Client,
    i18n::Language,
    limits::Limit,
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
        app.metrics.turned_away(Limit::Origin);
        return Err(Error::new(Code::NotFound));
    }
    let Client(ip) = Client::of(&app, &parts.extensions, &parts.headers);
    let full = |_: &Error| app.metrics.turned_away(Limit::Connections);
    let permit = app.limits.open_connection(ip).inspect_err(full)?;
    let language = accept_language(&parts.headers);
    let max = app.settings.max_body_bytes;
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_frame_size(max)
        .max_message_size(max);
    Ok(upgrade.on_upgrade(move |socket| {
        let connection = Connection::open(&app, language, ip);
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
        || settings.public_url.as_deref().is_some_and(|url| is_origin_of(origin, url))
        || settings.allowed_origins.iter().any(|allowed| allowed == "*" || allowed == origin)
}

/// Whether a page under `url` has this origin: scheme, host and port, and nothing more.
fn is_origin_of(origin: &str, url: &str) -> bool {
    url.strip_prefix(origin).is_some_and(|path| path.is_empty() || path.starts_with('/'))
}

fn accept_language(headers: &HeaderMap) -> Language {
    let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Language::from_accept(wanted.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::is_origin_of;

    #[test]
    fn an_origin_is_all_of_it() {
        assert!(is_origin_of("https://rooms.example", "https://rooms.example"));
        assert!(is_origin_of("https://rooms.example", "https://rooms.example/chat"));
        for other in
            ["https://rooms", "https://", "http://rooms.example", "https://rooms.example.x"]
        {
            assert!(!is_origin_of(other, "https://rooms.example"), "{other}");
        }
    }
}
