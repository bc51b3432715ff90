//! The common shape of all answers, and the layer that writes it for every error.
//!
//! Handlers return an [`Error`] and know no language. The error is passed in the response's
//! extensions to [`render`], which reads `Accept-Language` and writes the body. Errors of the
//! framework (unknown paths, wrong methods, panics) pass through it too.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Extension, Json,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::{ObjectBuilder, Schema, Type},
};

use crate::{
    error::{Code, Error},
    i18n::{self, Language, Outage},
    message,
};

/// The shape of all answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<T> {
    /// Whether the request succeeded.
    success: bool,
    /// The result; null on errors.
    #[schema(required = true)]
    data: Option<T>,
    /// A sentence for people, or null.
    #[schema(required = true)]
    message: Option<&'static str>,
    /// What went wrong; null on success.
    #[schema(required = true)]
    error: Option<Fault>,
    /// The time of the answer: RFC 3339, UTC.
    timestamp: String,
}

/// The data of an answer without data: null.
#[derive(Debug, Serialize, ToSchema)]
pub struct Nothing;

/// What went wrong, for programs by its code and for people by its sentence.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    /// A code of the contract.
    #[schema(schema_with = codes)]
    code: &'static str,
    /// A sentence in the reader's language.
    message: &'static str,
    /// A sentence in the reader's language for each field, or for each component that is down.
    #[schema(required = true)]
    details: Option<BTreeMap<String, String>>,
}

/// The schema of an error's code: one of the table.
fn codes() -> Schema {
    let names = Code::ALL.map(Code::as_str);
    let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    schema.description(Some("A code of the contract")).build().into()
}

/// A successful answer.
pub enum Success<T> {
    /// 200: found.
    Found(T),
    /// 201: created.
    Created(T),
}

impl<T: Serialize> IntoResponse for Success<T> {
    fn into_response(self) -> Response {
        let (status, data) = match self {
            Success::Found(data) => (StatusCode::OK, data),
            Success::Created(data) => (StatusCode::CREATED, data),
        };
        let envelope = Envelope {
            success: true,
            data: Some(data),
            message: None,
            error: None,
            timestamp: timestamp(),
        };
        (status, Json(envelope)).into_response()
    }
}

/// An error on its way to [`render`].
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// The reasons why the node cannot serve, for `/readyz`.
    pub outages: Vec<Down>,
}

/// Something that is down.
#[derive(Debug)]
pub struct Down {
    /// What it is: `node`, `redis`, or `redis` and the address of a shard.
    pub component: String,
    /// Why.
    pub outage: Outage,
}

impl Down {
    /// Its component, and a sentence in the reader's language.
    pub fn told(&self, language: Language) -> (String, String) {
        (self.component.clone(), i18n::outage(&self.outage, language))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (status(&self.error), Extension(Arc::new(self))).into_response()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Failure { error: self, outages: Vec::new() }.into_response()
    }
}

/// Middleware that writes the body of every error, in the reader's language.
pub async fn render(request: Request, next: Next) -> Response {
    let language = language(request.headers());
    let mut response = next.run(request).await;
    let status = response.status();
    let failure = response.extensions().get::<Arc<Failure>>().cloned();
    match failure.or_else(|| is_error(status).then(|| of_framework(status).into())) {
        Some(failure) => {
            response.extensions_mut().insert(Arc::clone(&failure));
            write(&failure, language, response)
        }
        None => response,
    }
}

/// Turns a panic in a handler into an answer; for `CatchPanicLayer`. The panic is already in the
/// log, without its message, which may contain a user's text.
pub fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Error::internal("a task panicked").into_response()
}

/// The contract's error for a status that the framework returned.
fn of_framework(status: StatusCode) -> Failure {
    let error = match status {
        StatusCode::NOT_FOUND => Code::NotFound.into(),
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed.into(),
        StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge.into(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType.into(),
        StatusCode::UPGRADE_REQUIRED => Code::UpgradeRequired.into(),
        status if status.is_client_error() => Code::ValidationFailed.into(),
        status => Error::internal(format!("the framework answered {status}")),
    };
    Failure { error, outages: Vec::new() }
}

/// A complete HTTP/1.1 answer to a request that is not read: in the default language, and the last
/// one on its connection.
pub fn unread(error: Error) -> Vec<u8> {
    let failure = Failure { error, outages: Vec::new() };
    let body = serde_json::to_string(&envelope(&failure, Language::default())).unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now())) {
        headers.insert(header::DATE, date);
    }
    add_headers(&failure.error, &mut headers);
    super::headers::secure(&mut headers);
    super::headers::share(&mut headers);
    let mut answer = format!("HTTP/1.1 {}\r\n", status(&failure.error)).into_bytes();
    for (name, value) in &headers {
        answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    answer.extend(b"\r\n");
    answer.extend(body.into_bytes());
    answer
}

fn envelope(failure: &Failure, language: Language) -> Envelope<Nothing> {
    let error = &failure.error;
    let message = i18n::message(error.code, language);
    let fault = Fault { code: error.code.as_str(), message, details: details(failure, language) };
    Envelope {
        success: false,
        data: None,
        message: Some(message),
        error: Some(fault),
        timestamp: timestamp(),
    }
}

/// Puts the envelope into a response, whose other headers (`Allow`) stay.
fn write(failure: &Failure, language: Language, response: Response) -> Response {
    let error = &failure.error;
    let (mut parts, body) = Json(envelope(failure, language)).into_response().into_parts();
    let (framework, _) = response.into_parts();
    parts.status = status(error);
    parts.extensions = framework.extensions;
    for (name, value) in &framework.headers {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            parts.headers.append(name, value.clone());
        }
    }
    add_headers(error, &mut parts.headers);
    Response::from_parts(parts, Body::new(body))
}

/// When to retry if nothing better is known.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Adds the headers that belong to the status: when to retry, how to authenticate, which protocol
/// to use.
fn add_headers(error: &Error, headers: &mut HeaderMap) {
    if matches!(error.code, Code::RateLimited | Code::ServiceUnavailable) {
        let wait = error.retry_after.unwrap_or(DEFAULT_RETRY_AFTER);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
    match error.code {
        Code::InvalidToken => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Code::UpgradeRequired => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        Code::UnsupportedMediaType if error.problems.contains_key("content-encoding") => {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        _ => {}
    }
}

fn details(failure: &Failure, language: Language) -> Option<BTreeMap<String, String>> {
    let problems = failure.error.problems.iter();
    let problems = problems.map(|(field, p)| (field.to_string(), i18n::problem(*p, language)));
    let outages = failure.outages.iter().map(|down| down.told(language));
    let details: BTreeMap<_, _> = problems.chain(outages).collect();
    (!details.is_empty()).then_some(details)
}

/// The language that a request asks for.
pub fn language(headers: &HeaderMap) -> Language {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    accepted.map(Language::from_accept).unwrap_or_default()
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn status(error: &Error) -> StatusCode {
    if error.problems.contains_key(header::IF_MATCH.as_str()) {
        return StatusCode::PRECONDITION_FAILED;
    }
    StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// `Retry-After` counts in whole seconds; less than one would mean at once.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

fn timestamp() -> String {
    let now = now().duration_since(UNIX_EPOCH).unwrap_or_default();
    message::timestamp(now.as_millis().try_into().unwrap_or(u64::MAX))
}

#[allow(
    clippy::disallowed_methods,
    reason = "says when this node answered; nothing is decided by it"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware, routing::get};
    use serde_json::Value;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;
    use crate::problem::Problem;

    fn router() -> Router {
        Router::new()
            .route("/found", get(async || Success::Found("it")))
            .route("/panic", get(async || -> StatusCode { panic!("as wished") }))
            .route("/wait", get(async || Error::rate_limited(Duration::from_millis(1_001))))
            .route("/field", get(async || Error::invalid("name", Problem::NameEmpty)))
            .route("/teapot", get(async || (StatusCode::IM_A_TEAPOT, "no envelope")))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn(render))
    }

    async fn call(method: &str, path: &str, language: &str) -> (StatusCode, HeaderMap, Value) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("accept-language", language).body(Body::empty()).unwrap();
        let response = router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn success_has_data_and_nothing_else() {
        let (status, _, body) = call("GET", "/found", "ko").await;
        assert_eq!(
            (status, &body["success"], &body["data"]),
            (StatusCode::OK, &true.into(), &"it".into())
        );
        assert!(body["error"].is_null() && body["message"].is_null());
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[tokio::test]
    async fn what_the_framework_turns_away_has_the_envelope() {
        let cases = [
            ("GET", "/nowhere", Code::NotFound),
            ("POST", "/found", Code::MethodNotAllowed),
            ("GET", "/panic", Code::Internal),
            ("GET", "/teapot", Code::ValidationFailed),
        ];
        for (method, path, code) in cases {
            let (status, headers, body) = call(method, path, "").await;
            assert_eq!(status.as_u16(), code.status(), "{path}");
            assert_eq!(body["error"]["code"], code.as_str(), "{path}");
            assert!(body["success"] == false && body["data"].is_null(), "{path}");
            assert_eq!(headers[header::CONTENT_TYPE], "application/json", "{path}");
        }
        let (_, headers, _) = call("POST", "/found", "").await;
        assert_eq!(headers[header::ALLOW], "GET,HEAD");
    }

    #[tokio::test]
    async fn details_and_message_speak_the_readers_language() {
        for (header, language) in [("en", Language::En), ("ko-KR", Language::Ko)] {
            let (_, _, body) = call("GET", "/field", header).await;
            let sentence = i18n::problem(Problem::NameEmpty, language);
            assert_eq!(body["error"]["details"]["name"], sentence);
            assert_eq!(body["error"]["message"], i18n::message(Code::ValidationFailed, language));
        }
    }

    #[tokio::test]
    async fn retry_after_is_rounded_up() {
        let (status, headers, body) = call("GET", "/wait", "").await;
        assert_eq!((status.as_u16(), &headers[header::RETRY_AFTER]), (429, &HeaderValue::from(2)));
        assert!(body["error"]["details"].is_null());
        assert_eq!(whole_seconds(Duration::ZERO), 1);
    }
}
