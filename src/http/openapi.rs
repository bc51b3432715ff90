//! The parts of `/openapi.json` besides the handlers' own descriptions: the title, the token, the
//! WebSocket, and groups of errors that several calls share, from the one table of codes.

pub mod bounds;

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        Components, Content, Ref, RefOr,
        path::{HttpMethod, OperationBuilder},
        response::{Response, ResponseBuilder, ResponsesBuilder},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::envelope::{Envelope, Nothing};
use crate::{
    error::Code,
    i18n::{self, Language},
};

/// The base of the description; the routes are added to it.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "linkroom",
        description = "Rooms with a link. Every answer has one shape, the envelope; unknown paths \
                       (NOT_FOUND) and wrong methods (METHOD_NOT_ALLOWED) too.",
    ),
    components(schemas(Envelope<Nothing>)),
    modifiers(&BearerScheme, &WebSocketPath, &Itself)
)]
pub struct Description;

/// The authentication.
struct BearerScheme;

impl Modify for BearerScheme {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let description = "The secret that room creation, a session or a join hands out; or the JWT of an embedding application, which \
             makes a session where there is none";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let scheme = SecurityScheme::Http(scheme.description(Some(description)).build());
        openapi.components.get_or_insert_with(Components::new).add_security_scheme("token", scheme);
    }
}

/// Errors of a request for a WebSocket; a page of another origin gets `NOT_FOUND`.
const SOCKET: [Code; 6] = [
    Code::ValidationFailed,
    Code::NotFound,
    Code::UpgradeRequired,
    Code::RateLimited,
    Code::Internal,
    Code::ServiceUnavailable,
];

/// The WebSocket: OpenAPI can describe its path, but not its protocol.
struct WebSocketPath;

impl Modify for WebSocketPath {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let upgraded = ResponseBuilder::new().description("The connection is a WebSocket now");
        let responses = ResponsesBuilder::new()
            .response("101", upgraded)
            .responses_from_iter(failures(&SOCKET));
        let operation = OperationBuilder::new()
            .tag("messages")
            .operation_id(Some("connect"))
            .summary(Some("Talk"))
            .description(Some(
                "One JSON object a text frame. The client sends join, msg, ping and leave; it \
                 gets joined, msg, user_joined, user_left, presence, read, members, room, deleted, removed, pong and error.",
            ))
            .responses(responses);
        openapi.paths.add_path_operation("/ws", vec![HttpMethod::Get], operation);
    }
}

/// This description.
struct Itself;

impl Modify for Itself {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let description = ResponseBuilder::new()
            .description("OpenAPI 3.1")
            .content("application/json", Content::default());
        let operation = OperationBuilder::new()
            .tag("node")
            .operation_id(Some("getDescription"))
            .summary(Some("This description"))
            .response("200", description);
        openapi.paths.add_path_operation("/openapi.json", vec![HttpMethod::Get], operation);
    }
}

/// Answers of these codes, by status. Codes that share a status share an entry.
fn failures(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut sentences = BTreeMap::<String, Vec<String>>::new();
    for code in codes {
        let sentence = format!("`{}`: {}", code.as_str(), i18n::message(*code, Language::En));
        sentences.entry(code.status().to_string()).or_default().push(sentence);
    }
    let content = || Content::new(Some(Ref::from_schema_name("Envelope_Nothing")));
    let response = |text: Vec<String>| {
        let response = ResponseBuilder::new().description(text.join("\n\n"));
        RefOr::T(response.content("application/json", content()).build())
    };
    sentences.into_iter().map(|(status, text)| (status, response(text))).collect()
}

/// A group of failures that `#[utoipa::path]` takes by its name.
macro_rules! failure_groups {
    ($($(#[$doc:meta])* $name:ident: $($code:ident),+;)+) => {$(
        $(#[$doc])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                failures(&[$(Code::$code),+])
            }
        }
    )+};
}

failure_groups! {
    /// Errors that every call of the API can return.
    Always: RateLimited, Internal, ServiceUnavailable;
    /// The node does not take traffic.
    NotReady: ServiceUnavailable;
    /// The body is invalid.
    BadBody: ValidationFailed, PayloadTooLarge, UnsupportedMediaType;
    /// The query is invalid.
    BadQuery: ValidationFailed;
    /// The room does not exist.
    NoSuchRoom: RoomNotFound;
    /// Nothing exists at the path.
    Nowhere: NotFound;
    /// The room does not exist, or has no such message.
    NoSuchMessage: RoomNotFound, NotFound;
    /// Somebody else has the name.
    NameTaken: NameTaken;
    /// The token is invalid.
    Unproven: InvalidToken;
    /// Guests are not allowed.
    NoGuests: Forbidden;
    /// The client may not do this, or may not enter.
    NotAllowed: Forbidden, RoomLocked, Banned;
    /// The room does not exist, or has no such user.
    NoSuchUser: RoomNotFound, NotFound;
    /// The room is not there, or there is no Web Push here.
    NoPush: RoomNotFound, NotFound;
    /// The room has as many of them as it may.
    TooMany: RoomFull;
}
