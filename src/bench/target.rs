//! The address of the deployment, and connections to it, with TLS if the address requires it.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, Uri, header},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config, tungstenite::protocol::WebSocketConfig,
};

use crate::{authorities, names::MessageId};

/// Timeout of connecting, of the upgrade, and of one HTTP call.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum bytes of an answer.
const ANSWER_MAX: usize = 1024 * 1024;
/// Bytes of each connection's read buffer. The library's default is so large that ten thousand
/// connections would take a gigabyte.
const READ_BUFFER: usize = 4096;
/// Messages requested per page.
const PAGE: usize = 200;

/// One page of a room's messages, oldest first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The messages.
    pub messages: Vec<Received>,
    /// Whether there are more after them.
    pub has_more: bool,
}

/// The parts of a message that matter here.
#[derive(Deserialize)]
pub struct Received {
    /// Its id.
    pub id: MessageId,
    /// Its text; empty if it was deleted.
    #[serde(default)]
    pub text: String,
    /// The key that its sender gave it.
    pub key: Option<String>,
}

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The WebSocket of a user.
pub type Socket = WebSocketStream<Box<dyn Stream>>;

/// A deployment.
#[derive(Clone)]
pub struct Target {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let bad_url = || "write it as https://rooms.example".to_owned();
        let uri: Uri = raw.trim_end_matches('/').parse().map_err(|_| bad_url())?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => None,
            Some("https" | "wss") => Some(connector().map_err(|error| format!("{error:#}"))?),
            _ => return Err(bad_url()),
        };
        if uri.path() != "/" || uri.query().is_some() {
            return Err(bad_url());
        }
        let host = uri.host().ok_or_else(bad_url)?.to_owned();
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Self { host, port, tls })
    }
}

fn connector() -> anyhow::Result<TlsConnector> {
    let roots = authorities::load()?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Target {
    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        let stream = timeout(PATIENCE, TcpStream::connect(self.authority())).await??;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.host.clone())?;
        Ok(Box::new(timeout(PATIENCE, tls.connect(name, stream)).await??))
    }

    /// Opens a WebSocket.
    pub async fn open(&self) -> anyhow::Result<Socket> {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://{}/ws", self.authority());
        let stream = self.connect().await?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let upgrade = client_async_with_config(url, stream, Some(config));
        Ok(timeout(PATIENCE, upgrade).await??.0)
    }

    /// Makes a room and returns its id and its creator's token.
    pub async fn make_room(&self) -> anyhow::Result<(String, String)> {
        let creator = json!({ "creatorName": "bench" });
        let answer = timeout(PATIENCE, self.ask(Method::POST, "/api/rooms", Some(creator)));
        let answer = answer.await?.with_context(|| format!("{self} makes no room"))?;
        let made = |field: &str| answer["data"][field].as_str().map(str::to_owned);
        made("roomId")
            .zip(made("token"))
            .ok_or_else(|| anyhow!("{self} makes no room: {}", answer["message"]))
    }

    /// Reads the page of a room's messages after this one.
    pub async fn page(&self, room: &str, after: MessageId) -> anyhow::Result<Page> {
        let path = format!("/api/rooms/{room}/messages?after={after}&limit={PAGE}");
        let mut answer = timeout(PATIENCE, self.ask(Method::GET, &path, None)).await??;
        Ok(serde_json::from_value(answer["data"].take())?)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let bytes = to_bytes(Body::new(response.into_body()), ANSWER_MAX).await?;
            anyhow::Ok(serde_json::from_slice(&bytes)?)
        };
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            // The server may close the connection after its answer.
            _ = connection => answer.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn addresses() {
        let shown = |raw: &str| raw.parse::<Target>().map(|target| target.to_string());
        assert_eq!(shown("http://127.0.0.1:8080/"), Ok("http://127.0.0.1:8080".to_owned()));
        assert_eq!(shown("ws://rooms.example"), Ok("http://rooms.example:80".to_owned()));
        for bad_url in ["rooms.example", "ftp://rooms.example", "http://rooms.example/r/abc"] {
            assert!(shown(bad_url).is_err(), "{bad_url}");
        }
    }
}
