//! An HTTP client. It checks the envelope of every answer.

use std::net::SocketAddr;

use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::Value;

use super::{
    shape::is_instant,
    time::{DEADLINE, within},
};

/// One node's HTTP side.
#[derive(Clone)]
pub struct Http {
    base: String,
    client: reqwest::Client,
}

impl Http {
    pub fn new(addr: SocketAddr) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: format!("http://{addr}"), client }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request to finish by hand; send it with [`send`](Self::send).
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// An answer of the API, its envelope checked.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = within(DEADLINE, "an HTTP answer", request.send()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = within(DEADLINE, "an HTTP body", response.text()).await.unwrap();
        let body = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("status {status} without the envelope: {text:?}"));
        check_envelope(status, &headers, &body);
        Answer { status, headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    /// Requests a change with this token.
    pub async fn patch(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).bearer_auth(token).json(&body)).await
    }

    /// Requests a deletion with this token.
    pub async fn delete(&self, path: &str, token: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).bearer_auth(token)).await
    }

    /// Posts a message with this token.
    pub async fn say(&self, room: &str, token: &str, body: Value) -> Answer {
        let path = format!("/api/rooms/{room}/messages");
        self.send(self.request(Method::POST, &path).bearer_auth(token).json(&body)).await
    }

    /// An answer that is not the API's: a file, the metrics.
    pub async fn file(&self, path: &str) -> reqwest::Response {
        let request = self.request(Method::GET, path);
        within(DEADLINE, "an HTTP answer", request.send()).await.unwrap()
    }
}

/// One answer of the API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The data of an answer that succeeded with this status.
    #[track_caller]
    pub fn data(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body["data"].clone()
    }

    /// The error of an answer that failed with this status and code.
    #[track_caller]
    pub fn error(&self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status, self.body["error"]["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.body
        );
        self.body["error"].clone()
    }

    /// The details of a `VALIDATION_FAILED`, which must have this field.
    #[track_caller]
    pub fn invalid(&self, field: &str) {
        let error = self.error(400, "VALIDATION_FAILED");
        let sentence = error["details"][field].as_str();
        assert!(sentence.is_some_and(|text| !text.is_empty()), "no details.{field}: {error}");
    }

    /// A header that must be present.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }
}

/// Checks the envelope: exactly `{"success","data","message","error","timestamp"}`, consistent with
/// the status.
fn check_envelope(status: u16, headers: &HeaderMap, body: &Value) {
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
    assert!(
        content_type.is_some_and(|kind| kind.starts_with("application/json")),
        "{content_type:?}"
    );
    assert_eq!(fields_of(body), ["data", "error", "message", "success", "timestamp"], "{body}");
    let failed = status >= 400;
    assert_eq!(body["success"], !failed, "status {status}: {body}");
    assert_eq!(body["error"].is_object(), failed, "{body}");
    assert!(failed || body["error"].is_null(), "{body}");
    assert!(body["message"].is_string() || body["message"].is_null(), "{body}");
    assert!(is_instant(&body["timestamp"]), "{body}");
    if failed {
        check_error(status, headers, body);
    }
}

fn check_error(status: u16, headers: &HeaderMap, body: &Value) {
    let error = &body["error"];
    assert_eq!(fields_of(error), ["code", "details", "message"], "{body}");
    assert!(body["data"].is_null(), "{body}");
    assert!(error["code"].is_string() && error["message"].is_string(), "{body}");
    let retry_after = headers.get("retry-after").and_then(|value| value.to_str().ok());
    if matches!(status, 429 | 503) {
        let seconds = retry_after.and_then(|value| value.parse::<u32>().ok());
        assert!(seconds.is_some(), "{status} without Retry-After in seconds: {retry_after:?}");
    }
}

/// The names of an object's fields, sorted.
pub fn fields_of(object: &Value) -> Vec<&str> {
    let mut fields: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    fields
}
