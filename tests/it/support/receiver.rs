//! A webhook receiver that answers as the test wants, and checks every signature.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use ring::hmac;
use serde_json::Value;
use tokio::{net::TcpListener, task::AbortHandle};

use super::time::{DEADLINE, eventually};

/// The signing secret of the nodes.
pub const SECRET: &str = "whsec_bGlua3Jvb20gdGVzdHMgbmVlZCBubyByZWFsIHNlY3JldA==";

/// One received event.
#[derive(Clone, Debug)]
pub struct Post {
    pub id: String,
    pub body: Value,
    pub at: Instant,
    /// The status of its answer; `None` if it was not answered.
    pub answered: Option<u16>,
}

impl Post {
    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    pub fn data(&self) -> &Value {
        &self.body["data"]
    }

    pub fn room(&self) -> &str {
        self.data()["roomId"].as_str().unwrap()
    }
}

/// How to answer a post.
#[derive(Clone, Debug)]
pub enum PostReply {
    /// With this status.
    Status(u16),
    /// With this status, after this delay.
    Late(u16, Duration),
    /// With a redirect to another URL.
    Redirect(String),
    /// Never.
    Hang,
}

type Answer = Box<dyn FnMut(&Post, usize) -> PostReply + Send>;

#[derive(Clone)]
pub struct Receiver {
    addr: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    answer: Arc<Mutex<Answer>>,
    server: AbortHandle,
}

impl Receiver {
    /// A receiver that accepts everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let posts = Arc::default();
        let answer: Answer = Box::new(|_, _| PostReply::Status(204));
        let answer = Arc::new(Mutex::new(answer));
        let state = (Arc::clone(&posts), Arc::clone(&answer));
        let router = Router::new().fallback(move |headers, body| {
            let (posts, answer) = state.clone();
            async move { take(&posts, &answer, &headers, &body).await }
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, posts, answer, server: server.abort_handle() }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.addr)
    }

    /// Answers like this from now on, given the post and the number of earlier posts with the same
    /// id.
    pub fn answers(&self, answer: impl FnMut(&Post, usize) -> PostReply + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// Every post so far.
    pub fn posts(&self) -> MutexGuard<'_, Vec<Post>> {
        self.posts.lock().unwrap()
    }

    /// The accepted events of a room, each once, in the order of their first arrival.
    pub fn taken(&self, room: &str) -> Vec<Post> {
        let mut taken: Vec<Post> = Vec::new();
        let posts = self.posts();
        let is_taken = |post: &&Post| post.answered.is_some_and(|status| status < 300);
        for post in posts.iter().filter(is_taken).filter(|post| post.room() == room) {
            if !taken.iter().any(|known| known.id == post.id) {
                taken.push(post.clone());
            }
        }
        taken
    }

    /// The accepted events of a room, once there are this many.
    pub async fn wait_for(&self, room: &str, count: usize) -> Vec<Post> {
        let what = format!("{count} events of a room");
        eventually(DEADLINE * 2, &what, async || {
            let taken = self.taken(room);
            (taken.len() >= count).then_some(taken)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(
    posts: &Mutex<Vec<Post>>,
    answer: &Mutex<Answer>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response {
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let (id, at) = (text("webhook-id"), text("webhook-timestamp"));
    let key = BASE64_STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let signed = [format!("{id}.{at}.").as_bytes(), body].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
    let expected = format!("v1,{}", BASE64_STANDARD.encode(tag));
    assert_eq!(text("webhook-signature"), expected);
    let body = serde_json::from_slice(body).unwrap();
    let mut post = Post { id, body, at: Instant::now(), answered: None };
    let (reply, place) = {
        let mut posts = posts.lock().unwrap();
        let before = posts.iter().filter(|known| known.id == post.id).count();
        let reply = (*answer.lock().unwrap())(&post, before);
        post.answered = match &reply {
            PostReply::Status(status) => Some(*status),
            _ => None,
        };
        posts.push(post);
        (reply, posts.len() - 1)
    };
    match reply {
        PostReply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        PostReply::Late(status, late) => {
            tokio::time::sleep(late).await;
            posts.lock().unwrap()[place].answered = Some(status);
            StatusCode::from_u16(status).unwrap().into_response()
        }
        PostReply::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        PostReply::Hang => std::future::pending().await,
    }
}
