//! What handlers take from a request, read and checked once: the room of the path, the bearer
//! token, the JSON body.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, header, request::Parts},
};
use futures_util::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use validator::{ValidateArgs, ValidationError, ValidationErrors};

use crate::{
    app::App,
    error::{Code, Error},
    names::{self, RoomId, UserId},
    problem::Problem,
    settings::Settings,
};

/// Bytes over the limit that are still read and thrown away. A client that has not finished
/// sending would otherwise see its connection break instead of the answer.
const OVERFLOW_READ_BYTES: usize = 1 << 20;
/// How long that may take.
const OVERFLOW_READ_TIME: Duration = Duration::from_secs(1);
/// Under this name a validation error carries the [`Problem`] that it stands for.
const PROBLEM: &str = "problem";
/// Under this one the field that it is about, where that takes looking at others too.
const FIELD: &str = "field";

/// The room that the path names.
pub struct Room(pub RoomId);

impl FromRequestParts<App> for Room {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let path = Path::<String>::from_request_parts(parts, app).await.ok();
        let room = path.and_then(|Path(id)| RoomId::parse(&id));
        room.map(Self).ok_or(Code::RoomNotFound.into())
    }
}

/// The token of `Authorization: Bearer TOKEN`, as it was presented.
pub struct Bearer(pub String);

impl FromRequestParts<App> for Bearer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Error> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        value.and_then(bearer).ok_or(Code::InvalidToken.into())
    }
}

fn bearer(value: &str) -> Option<Bearer> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Bearer(token.trim().to_owned()))
}

/// A JSON body that passed its checks.
pub struct Checked<T>(pub T);

impl<T> FromRequest<App> for Checked<T>
where
    T: DeserializeOwned + for<'a> ValidateArgs<'a, Args = &'a Settings>,
{
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        if !is_json(request.headers()) {
            return Err(Code::UnsupportedMediaType.into());
        }
        let settings = &*app.settings;
        let reading = read(request.into_body(), settings.max_body_bytes);
        let body = tokio::time::timeout(settings.header_timeout, reading).await;
        let value: T = parse(&body.map_err(|_| unreadable())??)?;
        value.validate_with_args(settings).map_err(invalid)?;
        Ok(Self(value))
    }
}

/// `application/json` or `application/*+json`, whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    let subtype = kind.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// Reads a body of at most `max` bytes.
async fn read(body: Body, max: usize) -> Result<Bytes, Error> {
    let mut chunks = body.into_data_stream();
    let mut kept = Vec::new();
    while let Some(chunk) = chunks.next().await {
        kept.extend_from_slice(&chunk.map_err(|_| unreadable())?);
        if kept.len() > max {
            // Where it does not end soon, the connection does.
            let _ = tokio::time::timeout(OVERFLOW_READ_TIME, read_on(chunks)).await;
            return Err(Code::PayloadTooLarge.into());
        }
    }
    Ok(kept.into())
}

/// Reads the rest of a body that is too large, so that its sender gets to read the answer.
async fn read_on(mut chunks: BodyDataStream) {
    let mut left = OVERFLOW_READ_BYTES;
    while let Some(Ok(chunk)) = chunks.next().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Reads a JSON object into a request; a value of the wrong type is named by its field.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // serde would take an array for a struct as well.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(unreadable());
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        match error.inner().classify() {
            _ if field == "." => unreadable(),
            Category::Data => Error::invalid(field, Problem::WrongType),
            Category::Syntax if is_well_formed(body) => {
                Error::invalid(field, Problem::HalfCharacter)
            }
            _ => unreadable(),
        }
    })?;
    json.end().map_err(|_| unreadable())?;
    Ok(value)
}

/// Whether this is JSON, whatever its texts' escapes stand for.
fn is_well_formed(body: &[u8]) -> bool {
    str::from_utf8(body).is_ok_and(|json| serde_json::from_str::<IgnoredAny>(json).is_ok())
}

fn unreadable() -> Error {
    Error::invalid("body", Problem::NotJson)
}

/// What the validator found, by the fields' names on the wire.
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

/// The validator speaks of fields as Rust names them.
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

/// What a check of several fields found wrong with this one.
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
        #[serde(default)]
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
        assert_eq!(bearer("Bearer lr_a.b").unwrap().0, "lr_a.b");
        assert_eq!(bearer("bearer  x").unwrap().0, "x");
        assert!(bearer("Basic x").is_none() && bearer("Bearer").is_none());
    }
}
