//! Requests to URLs that others provide: limited in time and bytes, with verified TLS, without
//! redirects, and to no private address unless the operator allows it.

mod address;
mod connector;

use std::time::Duration;

use axum::http::{Request, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};

pub use address::is_public;
use connector::Connector;

/// How this program calls itself.
pub const USER_AGENT: &str = concat!("linkroom/", env!("CARGO_PKG_VERSION"));
/// Bytes of an answer that are read, at most.
const ANSWER_MAX: usize = 64 * 1024;
/// Connections that are kept for another request.
const IDLE_MAX: usize = 64;
/// How long they are kept. Shorter than servers usually do.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// A client for requests to foreign addresses; cheap to clone.
#[derive(Clone)]
pub struct HttpClient(Client<Connector, Full<Bytes>>);

/// The answer of a server.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The beginning of its body, as far as it arrived in time: at most 64 KiB.
    pub body: Bytes,
    /// Whether the body was longer than what was read.
    pub is_cut: bool,
}

impl HttpClient {
    /// A client that connects to private addresses only if that is allowed.
    pub fn new(allow_private: bool) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(Connector::new(allow_private));
        Self(client)
    }

    /// Sends a request, and waits at most `patience` for the answer's status and its body.
    ///
    /// # Errors
    /// Why there was no answer, in one line.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<Answer, String> {
        let until = Instant::now() + patience;
        let answered = timeout_at(until, self.0.request(request)).await;
        let answered = answered.map_err(|_| format!("no answer in {patience:?}"))?;
        let (head, body) = answered.map_err(|error| innermost(&error))?.into_parts();
        let (body, is_cut) = read(body, until).await;
        Ok(Answer { status: head.status, body, is_cut })
    }
}

/// Reads a body until it ends, is too long or breaks off, or until the time is over.
async fn read(mut body: Incoming, until: Instant) -> (Bytes, bool) {
    let mut read = BytesMut::new();
    loop {
        match timeout_at(until, body.frame()).await {
            Ok(None) => return (read.freeze(), false),
            Ok(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                let fits = data.len().min(ANSWER_MAX - read.len());
                read.extend_from_slice(&data[..fits]);
                if fits < data.len() {
                    return (read.freeze(), true);
                }
            }
            Ok(Some(Err(_))) | Err(_) => return (read.freeze(), true),
        }
    }
}

/// The innermost cause of an error: the outer ones only describe where it occurred.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let cause = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
    cause.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use url::Url;

    use super::*;

    /// Spellings of this machine's address.
    const FORMS: [&str; 14] = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.01",
        "0.0.0.0",
        "0",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
    ];

    async fn ask(client: &HttpClient, host: &str, port: u16) -> Result<Answer, String> {
        let url = Url::parse(&format!("http://{host}:{port}/")).unwrap();
        let request = Request::post(url.as_str()).body(Full::default()).unwrap();
        client.send(request, Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn this_machine_is_not_connected_to_in_whatever_form_it_is_written() {
        let listener = TcpListener::bind("[::]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let guarded = HttpClient::new(false);
        for host in FORMS {
            let refusal = ask(&guarded, host, port).await.unwrap_err();
            assert_eq!(refusal, "the host's address is not a public one", "{host}");
        }
        let nobody = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await;
        assert!(nobody.is_err(), "somebody connected");
    }

    #[tokio::test]
    async fn where_it_is_allowed_it_is_connected_to_and_the_answer_read_so_far() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = axum::Router::new().fallback(async || vec![b'x'; ANSWER_MAX + 1]);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let answer = ask(&HttpClient::new(true), "0x7f.1", port).await.unwrap();
        assert_eq!(
            (answer.status, answer.body.len(), answer.is_cut),
            (StatusCode::OK, ANSWER_MAX, true)
        );
    }
}
