//! Connects to a host by its name or address, over TLS for https. Addresses are checked after the
//! name was resolved, and the connection goes to the checked address itself, so a DNS answer that
//! changes in between has no effect.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::http::Uri;
use futures_util::future::BoxFuture;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_util::either::Either;

use super::is_public;
use crate::authorities;

/// Makes connections for the HTTP client.
#[derive(Clone)]
pub(super) struct Connector {
    /// The error instead, if the certificates of authorities cannot be read.
    tls: Result<TlsConnector, String>,
    allow_private: bool,
}

impl Connector {
    /// A connector that trusts the same authorities as Redis's connections. Without any, https
    /// fails.
    pub fn new(allow_private: bool) -> Self {
        let connector = |roots| {
            let config = ClientConfig::builder();
            Arc::new(config.with_root_certificates(roots).with_no_client_auth()).into()
        };
        let tls = authorities::load().map(connector).map_err(|error| format!("{error:#}"));
        Self { tls, allow_private }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<Stream>> {
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or_else(|| io::Error::other("the address names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
        let stream = self.reach(&addresses).await?;
        stream.set_nodelay(true)?;
        if !is_tls {
            return Ok(TokioIo::new(Stream(Either::Left(stream))));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let tls = self.tls.map_err(io::Error::other)?;
        let stream = tls.connect(name, stream).await?;
        Ok(TokioIo::new(Stream(Either::Right(Box::new(stream)))))
    }

    /// Connects to the first of these addresses that is allowed and answers.
    async fn reach(&self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let mut failure = io::Error::other("the host has no address");
        for address in addresses {
            if !self.allow_private && !is_public(address.ip()) {
                failure = io::Error::other("the host's address is not a public one");
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection, encrypted or not.
pub(super) struct Stream(Either<TcpStream, Box<TlsStream<TcpStream>>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
