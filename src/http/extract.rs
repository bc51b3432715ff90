//! What handlers take from a request, read and checked once: the room in the path, the bearer
//! token, the JSON body.

use std::{borrow::Cow, collections::BTreeMap, ops::RangeInclusive};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, HeaderName, header, request::Parts},
};
use futures_util::StreamExt;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use validator::{ValidateArgs, ValidationError, ValidationErrors};

use crate::{
    address::ClientIp,
    app::App,
    error::{Code, Error},
    idempotency::IdempotentRequest,
    names::{self, MessageId, RoomId, UserId},
    problem::Problem,
    protocol::fields::Fields,
    room::{Caller, Reader},
    settings::Settings,
};

/// The parameter of a validation error that holds its [`Problem`].
const PROBLEM: &str = "problem";
/// The parameter that names the field, for checks that concern several fields.
const FIELD: &str = "field";

/// The room in the path.
pub struct RoomPath(pub RoomId);

impl FromRequestParts<App> for RoomPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let path = Path::<String>::from_request_parts(parts, app).await.ok();
        let room = path.and_then(|Path(id)| RoomId::parse(&id));
        room.map(Self).ok_or(Code::RoomNotFound.into())
    }
}

/// The room and the message in the path.
pub struct MessagePath(pub RoomId, pub MessageId);

impl FromRequestParts<App> for MessagePath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let (room, id) = path_of_two(parts, app).await?;
        Ok(Self(room, id.parse().map_err(|_| Code::NotFound)?))
    }
}

/// The room and the user name in the path.
pub struct MemberPath(pub RoomId, pub String);

impl FromRequestParts<App> for MemberPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let (room, name) = path_of_two(parts, app).await?;
        Ok(Self(room, name))
    }
}

/// A reader of the room in the path: with or without a token, and its address.
pub struct RoomReader(pub Reader);

impl FromRequestParts<App> for RoomReader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let RoomPath(room) = RoomPath::from_request_parts(parts, app).await?;
        let ClientIp(address) = ClientIp::of(app, &parts.extensions, &parts.headers);
        let token = presented(&parts.headers);
        app.rooms.reader(&room, token.as_deref(), address).await.map(Self)
    }
}

/// The room in the path, and the segment after it.
async fn path_of_two(parts: &mut Parts, app: &App) -> Result<(RoomId, String), Error> {
    let path = Path::<(String, String)>::from_request_parts(parts, app).await.ok();
    let named = path.and_then(|Path((id, rest))| Some((RoomId::parse(&id)?, rest)));
    named.ok_or(Code::RoomNotFound.into())
}

/// The caller that presents a token: `Authorization: Bearer TOKEN`.
pub struct Bearer(pub Caller);

impl FromRequestParts<App> for Bearer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let token = presented(&parts.headers).ok_or(Code::InvalidToken)?;
        let ClientIp(address) = ClientIp::of(app, &parts.extensions, &parts.headers);
        Ok(Self(Caller { token, address }))
    }
}

/// The bearer token of a request, unchecked.
pub fn presented(headers: &HeaderMap) -> Option<String> {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer)
}

fn bearer(value: &str) -> Option<String> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// A JSON body that passed its checks.
pub struct Checked<T>(pub T);

impl<T> FromRequest<App> for Checked<T>
where
    T: DeserializeOwned + for<'a> ValidateArgs<'a, Args = &'a Settings>,
{
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        checked(&json_body(request, &app.settings).await?, &app.settings, false).map(Self)
    }
}

/// A JSON body that passed its checks, and the idempotency key if the request has one. Names that a
/// JWT provides may be missing in the body.
pub struct Repeatable<T>(pub T, pub Option<IdempotentRequest>);

impl<T> FromRequest<App> for Repeatable<T>
where
    T: DeserializeOwned + for<'a> ValidateArgs<'a, Args = &'a Settings>,
{
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let ClientIp(ip) = ClientIp::of(app, request.extensions(), request.headers());
        let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
        let body = json_body(request, &app.settings).await?;
        let is_named = presented(&headers).is_some_and(|token| app.rooms.is_jwt(&token));
        let value = checked(&body, &app.settings, is_named)?;
        let mut keys = headers.get_all(names::REQUEST_KEY).iter();
        let Some(key) = keys.next() else { return Ok(Self(value, None)) };
        // Two keys are invalid.
        let key = if keys.next().is_none() { key.as_bytes() } else { &[] };
        let once = IdempotentRequest::new(key, &path, ip, &body);
        let once = once.map_err(|problem| Error::invalid(names::REQUEST_KEY, problem))?;
        Ok(Self(value, Some(once)))
    }
}

/// Reads the JSON body of a request.
async fn json_body(request: Request, settings: &Settings) -> Result<Bytes, Error> {
    check_media(request.headers())?;
    let reading = read(request.into_body(), settings.max_body_bytes);
    tokio::time::timeout(settings.header_timeout, reading).await.map_err(|_| late())?
}

fn late() -> Error {
    Error::invalid("body", Problem::BodyLate)
}

/// Parses and checks a JSON body. If `is_named`, the name is known already and may be missing.
fn checked<T>(body: &[u8], settings: &Settings, is_named: bool) -> Result<T, Error>
where
    T: DeserializeOwned + for<'a> ValidateArgs<'a, Args = &'a Settings>,
{
    let value: T = parse(body)?;
    let Err(mut error) = value.validate_with_args(settings).map_err(invalid) else {
        return Ok(value);
    };
    // Only names are required.
    error.problems.retain(|_, problem| !is_named || *problem != Problem::Required);
    if error.problems.is_empty() { Ok(value) } else { Err(error) }
}

/// Whether the type is `application/json` or `application/*+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    let subtype = kind.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// Whether a body with these headers can be read.
fn check_media(headers: &HeaderMap) -> Result<(), Error> {
    let refused = |problems| Error { problems, ..Code::UnsupportedMediaType.into() };
    if !is_json(headers) {
        return Err(refused(BTreeMap::new()));
    }
    if !is_utf8(headers) {
        return Err(refused([(header_name(header::CONTENT_TYPE), Problem::NotUtf8)].into()));
    }
    // The supported value of each.
    let known = [(header::CONTENT_ENCODING, "identity"), (header::TRANSFER_ENCODING, "chunked")];
    match known.into_iter().find(|(name, word)| !says_at_most(headers, name, word)) {
        Some((name, _)) => Err(refused([(header_name(name), Problem::Encoded)].into())),
        None => Ok(()),
    }
}

/// Whether a header is missing, or has exactly this value.
fn says_at_most(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    let is_word =
        values.next().is_none_or(|it| it.as_bytes().eq_ignore_ascii_case(word.as_bytes()));
    is_word && values.next().is_none()
}

/// Whether there is no `charset`, or that of JSON.
fn is_utf8(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let parameters = value.into_iter().flat_map(|value| value.split(';').skip(1));
    parameters.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset") || value.eq_ignore_ascii_case("utf-8")
    })
}

fn header_name(name: HeaderName) -> Cow<'static, str> {
    name.as_str().to_owned().into()
}

/// Reads a body of at most `max` bytes. The rest of a larger body is not read here; the client
/// still gets the answer, because the connection stays open for a while (see `socket`).
async fn read(body: Body, max: usize) -> Result<Bytes, Error> {
    if body.size_hint().lower() > max as u64 {
        return Err(Code::PayloadTooLarge.into());
    }
    let mut chunks = body.into_data_stream();
    let mut kept = Vec::new();
    while let Some(chunk) = chunks.next().await {
        kept.extend_from_slice(&chunk.map_err(|_| Error::invalid("body", Problem::BodyCut))?);
        if kept.len() > max {
            return Err(Code::PayloadTooLarge.into());
        }
    }
    Ok(kept.into())
}

/// Parses a JSON object with the rules of WebSocket frames.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let json = str::from_utf8(body).map_err(|_| unreadable())?;
    let fields: Fields<'_> = serde_json::from_str(json).map_err(|_| unreadable())?;
    fields.read().map_err(|(field, problem)| Error::invalid(field, problem))
}

/// Deserializer of a field for which null means the same as leaving it out.
pub fn or_default<'de, D, T>(field: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(field).map(Option::unwrap_or_default)
}

/// Deserializer of a field for which null differs from leaving it out.
pub fn present<'de, D, T>(field: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(field).map(Some)
}

fn unreadable() -> Error {
    Error::invalid("body", Problem::NotJson)
}

/// Converts the validator's errors, with the field names on the wire.
fn invalid(errors: ValidationErrors) -> Error {
    let fields = errors.field_errors().into_iter();
    let problems: BTreeMap<_, _> = fields
        .filter_map(|(field, errors)| {
            let error = errors.first()?;
            let named = error.params.get(FIELD).and_then(|name| name.as_str());
            Some((camel_case(named.unwrap_or(&field)).into(), problem(error)))
        })
        .collect();
    Error { problems, ..Code::ValidationFailed.into() }
}

/// The problem inside a validation error; the validator's own `required` has none.
fn problem(error: &ValidationError) -> Problem {
    let carried = error.params.get(PROBLEM).cloned();
    carried.and_then(|value| serde_json::from_value(value).ok()).unwrap_or(Problem::Required)
}

/// Converts a field's Rust name to its name on the wire.
fn camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_ascii_uppercase() + rest
    })
}

fn carry(problem: Problem) -> ValidationError {
    let mut error = ValidationError::new(problem.name());
    error.add_param(Cow::Borrowed(PROBLEM), &problem);
    error
}

/// The error of a check of several fields, for this field.
pub fn carry_for(field: &'static str, problem: Problem) -> ValidationError {
    let mut error = carry(problem);
    error.add_param(Cow::Borrowed(FIELD), &field);
    error
}

/// Validator function for nicknames.
pub fn check_name(name: &str, settings: &Settings) -> Result<(), ValidationError> {
    UserId::parse(name, settings.name_max).map(drop).map_err(carry)
}

/// Validator function for texts.
pub fn check_text(text: &str, settings: &Settings) -> Result<(), ValidationError> {
    names::check_text(text, settings.text_max).map_err(carry)
}

/// Whether a number is in its range.
pub fn check_range(number: usize, range: RangeInclusive<usize>) -> Result<(), ValidationError> {
    if range.contains(&number) {
        return Ok(());
    }
    Err(carry(Problem::OutOfRange { min: *range.start(), max: *range.end() }))
}

/// Validator function for idempotency keys.
pub fn check_key(key: &str, settings: &Settings) -> Result<(), ValidationError> {
    names::check_key(key, settings.key_max).map_err(carry)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde::Deserialize;
    use validator::Validate;

    use super::*;

    #[derive(Debug, Deserialize, Validate)]
    #[serde(rename_all = "camelCase")]
    #[validate(context = Settings)]
    struct Sample {
        #[validate(required, custom(function = check_name, use_context))]
        creator_name: Option<String>,
        #[validate(custom(function = check_key, use_context))]
        key: Option<String>,
        #[serde(default, deserialize_with = "or_default")]
        e2e: bool,
    }

    fn check(body: &str) -> Result<Sample, BTreeMap<String, Problem>> {
        let settings = Settings::read([std::ffi::OsString::from("linkroom")]).unwrap();
        let named = |error: Error| {
            error
                .problems
                .into_iter()
                .map(|(field, problem)| (field.into_owned(), problem))
                .collect::<BTreeMap<String, Problem>>()
        };
        let sample: Sample = parse(body.as_bytes()).map_err(named)?;
        sample.validate_with_args(&settings).map_err(|errors| named(invalid(errors)))?;
        Ok(sample)
    }

    #[test]
    fn a_body_that_is_right() {
        let sample = check(r#" {"creatorName": "홍길동", "key": null, "later": [1]}"#).unwrap();
        assert_eq!(sample.creator_name.as_deref(), Some("홍길동"));
        assert!(sample.key.is_none() && !sample.e2e);
    }

    /// As in a frame.
    #[test]
    fn what_comes_twice_counts_the_second_time_and_what_is_unknown_not_at_all() {
        let deep = format!(r#"{{"x":{}{},"creatorName":"a"}}"#, "[".repeat(1000), "]".repeat(1000));
        let cases = [
            (r#"{"creatorName":7,"creatorName":"a"}"#, "a"),
            (r#"{"creatorName":"b","creator\u004eame":"a"}"#, "a"),
            (r#"{"x":1,"x":2,"creatorName":"a","x":"\ud800","e2e":null}"#, "a"),
            (r#"{"x":1e999,"creatorName":"a"}"#, "a"),
            (&deep, "a"),
        ];
        for (body, name) in cases {
            assert_eq!(check(body).unwrap().creator_name.as_deref(), Some(name), "{body}");
        }
        let wrong = BTreeMap::from([("creatorName".to_owned(), Problem::WrongType)]);
        assert_eq!(check(r#"{"creatorName":"a","creatorName":[]}"#).map(drop), Err(wrong));
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let cases: [(&str, &[(&str, Problem)]); 13] = [
            ("", &[("body", Problem::NotJson)]),
            ("{", &[("body", Problem::NotJson)]),
            ("[\"a\"]", &[("body", Problem::NotJson)]),
            ("{} {}", &[("body", Problem::NotJson)]),
            (r#"{"creatorName":"\ud83d"}"#, &[("creatorName", Problem::HalfCharacter)]),
            (r#"{"creatorName":"\ude00!"}"#, &[("creatorName", Problem::HalfCharacter)]),
            (r#"{"creatorName":"\ud83d"} {}"#, &[("body", Problem::NotJson)]),
            (r#"{"creatorName":"\u12"}"#, &[("body", Problem::NotJson)]),
            ("{}", &[("creatorName", Problem::Required)]),
            (r#"{"creatorName":7}"#, &[("creatorName", Problem::WrongType)]),
            (r#"{"creatorName":"a","e2e":"yes"}"#, &[("e2e", Problem::WrongType)]),
            (
                r#"{"creatorName":null,"key":""}"#,
                &[("creatorName", Problem::Required), ("key", Problem::KeyLength { max: 64 })],
            ),
            (r#"{"creatorName":" "}"#, &[("creatorName", Problem::NameEmpty)]),
        ];
        for (body, problems) in cases {
            let problems = problems.iter().map(|(field, p)| ((*field).to_owned(), *p)).collect();
            assert_eq!(check(body).map(drop), Err(problems), "{body}");
        }
    }

    #[test]
    fn json_is_declared() {
        let declared = |kind: &'static str| {
            is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]))
        };
        assert!(declared("application/json") && declared("Application/JSON; charset=utf-8"));
        assert!(declared("application/merge-patch+json"));
        assert!(!declared("text/plain") && !declared("application/jsonp") && !declared(""));
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_body_is_utf8_and_as_it_is() {
        let refused = |kind: &'static str, encoding: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            if let Some(encoding) = encoding {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            let error = check_media(&headers).err()?;
            assert_eq!(error.code, Code::UnsupportedMediaType);
            Some(error.problems.into_values().next())
        };
        let json = "application/json";
        for kind in [json, "application/json;charset=UTF-8", "application/json; Charset=\"utf-8\""]
        {
            assert_eq!(refused(kind, None), None);
            assert_eq!(refused(kind, Some("identity")), None);
        }
        for kind in ["application/json; charset=euc-kr", "application/json;a=b;charset=\"utf-16\""]
        {
            assert_eq!(refused(kind, None), Some(Some(Problem::NotUtf8)), "{kind}");
        }
        for encoding in ["gzip", "br, identity", "", "x"] {
            assert_eq!(refused(json, Some(encoding)), Some(Some(Problem::Encoded)), "{encoding}");
        }
        assert_eq!(refused("text/plain", None), Some(None));
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let code = |error: Error| error.code;
        assert_eq!(read(Body::from("1234"), 4).await.map_err(code), Ok("1234".into()));
        for length in [5, 100_000, 2 << 20] {
            let body = Body::from("x".repeat(length));
            assert_eq!(read(body, 4).await.map_err(code), Err(Code::PayloadTooLarge));
        }
    }

    #[test]
    fn bearer_tokens() {
        assert_eq!(bearer("Bearer lr_a.b").unwrap(), "lr_a.b");
        assert_eq!(bearer("bearer  x").unwrap(), "x");
        assert!(bearer("Basic x").is_none() && bearer("Bearer").is_none());
    }
}
