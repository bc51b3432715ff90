//! A deployment as browsers see it: the same address, and from some moment on files of another
//! version.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::Http;

const AGES: Duration = Duration::from_secs(600);

/// A proxy for a node's files, as version 1 or a later one, and for calls of its API; no sockets.
/// The page has its version in `<meta name="version">`, the style sheet in `--version`; the room
/// imports something from `dom.js` that exists only in its own version.
pub struct Deployment {
    addr: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    now: Mutex<Now>,
    /// The requested paths, oldest first.
    asked: Mutex<Vec<String>>,
}

/// What browsers get at the moment.
#[derive(Clone, Copy, Default)]
pub struct Now {
    pub version: u32,
    /// This file comes from a node with the previous version.
    pub behind: Option<&'static str>,
    /// This file is so slow that every client gives up.
    pub slow: Option<&'static str>,
    /// Every answer is a maintenance page with status 200.
    pub maintenance: bool,
}

impl Deployment {
    pub async fn of(node: Http) -> Self {
        let state = Arc::<State>::default();
        state.now.lock().version = 1;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let routes = Router::new().fallback(answer).with_state((node, Arc::clone(&state)));
        let serving = tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
        Self { addr, state, serving }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves this version of all files from now on.
    pub fn deploy(&self, version: u32) {
        self.become_now(Now { version, ..Now::default() });
    }

    pub fn become_now(&self, now: Now) {
        *self.state.now.lock() = now;
    }

    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().clone()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    extract::State((node, state)): extract::State<(Http, Arc<State>)>,
    method: Method,
    uri: Uri,
    asked: HeaderMap,
    call: Bytes,
) -> Response {
    state.asked.lock().push(uri.to_string());
    let now = *state.now.lock();
    if now.maintenance {
        let page = "<!doctype html><title>Back soon</title><h1>Back soon</h1>";
        return ([(header::ETAG, "\"65a1-1f4\"")], axum::response::Html(page)).into_response();
    }
    if now.slow == Some(uri.path()) {
        tokio::time::sleep(AGES).await;
    }
    let kind = asked.get(header::CONTENT_TYPE).map(|kind| (header::CONTENT_TYPE, kind.clone()));
    let request = node.request(method, uri.path()).headers(kind.into_iter().collect()).body(call);
    let file = request.send().await.unwrap();
    let (status, mut headers) = (file.status(), file.headers().clone());
    let version = now.version - u32::from(now.behind == Some(uri.path()));
    let body = mark(uri.path(), file.text().await.unwrap(), version);
    let etag = headers.get(header::ETAG).map_or("", |etag| etag.to_str().unwrap());
    let etag = format!("\"{}-{version}\"", etag.trim_matches('"'));
    let is_known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| *known == *etag);
    headers.insert(header::ETAG, HeaderValue::from_str(&etag).unwrap());
    headers.remove(header::CONTENT_LENGTH);
    match is_known {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (status, headers, body).into_response(),
    }
}

/// Adds the version to a file.
fn mark(path: &str, body: String, version: u32) -> String {
    match path {
        page if page == "/" || page.starts_with("/r/") => body
            .replace("</head>", &format!("<meta name=\"version\" content=\"{version}\"></head>")),
        "/static/js/dom.js" => format!("{body}\nexport const version{version} = true;\n"),
        "/static/js/room/view.js" => {
            format!("import {{ version{version} }} from '../dom.js';\n{body}")
        }
        "/static/app.css" => format!("{body}\n:root {{ --version: {version}; }}\n"),
        _ => body,
    }
}
